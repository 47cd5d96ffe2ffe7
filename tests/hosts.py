"""Hosts: network namespaces of this machine with different addresses; ranks on them talk by TCP. Needs root.

python tests/hosts.py --hosts 3           # compares the loss curve of three hosts with that of one process
python tests/hosts.py --hosts 3 --cut     # shows what is printed when the link to one of them is cut
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
BESIDE = Path(sys.executable).parent / "mpiexec"
MPIEXEC = str(BESIDE) if BESIDE.exists() else "mpiexec"
NAME, NET = "minidl", "10.213.77"
# What mpiexec calls in place of ssh, with options, a host, and a command.
REMOTE = f"""#!/bin/sh
while [ "${{1#-}}" != "$1" ]; do shift; done
host=$1; shift
exec ip netns exec {NAME}${{host##*.}} sh -c "$*"
"""
SMALL = (
    *("--train-size", "120", "--test-size", "60", "--batch-size", "12", "--threads", "1", "--loops", "numpy"),
    *("--optimizer", "sgd", "--learning-rate", "0.1"),
)


def ip(*words: str) -> None:
    """Run the command ip."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def network(hosts: int) -> Iterator[list[str]]:
    """Make ``hosts`` hosts, connected by a bridge in a separate namespace; yield their addresses."""
    spaces = [f"{NAME}{number}" for number in range(hosts + 1)]  # 0 is the bridge's
    try:
        for space in spaces:
            ip("netns", "add", space)
            ip("-n", space, "link", "set", "lo", "up")
        ip("-n", spaces[0], "link", "add", "bridge", "type", "bridge")
        ip("-n", spaces[0], "link", "set", "bridge", "up")
        for number, space in enumerate(spaces[1:], 1):
            ip("-n", spaces[0], "link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("-n", spaces[0], "link", "set", f"port{number}", "master", "bridge", "up")
            ip("-n", space, "address", "add", f"{NET}.{number}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
        yield [f"{NET}.{number}" for number in range(1, hosts + 1)]
    finally:
        for space in spaces:
            subprocess.run(["ip", "netns", "delete", space], check=False, capture_output=True)


def cut(host: int) -> None:
    """Cut the link to a host, counted from 1: packets are lost without an error."""
    ip("-n", f"{NAME}0", "link", "set", f"port{host}", "nomaster")


def start(hosts: list[str], folder: Path, *words: str) -> "subprocess.Popen[str]":
    """Start a training on a rank of each host."""
    remote = folder / "remote"
    remote.write_text(REMOTE)
    remote.chmod(0o755)
    launcher = ["-launcher", "ssh", "-launcher-exec", str(remote), "-hosts", ",".join(hosts), "-iface", "eth0"]
    command = [MPIEXEC, *launcher, "-n", str(len(hosts)), sys.executable, str(HERE.parent / "train.py"), *SMALL, *words]
    by_tcp = {"MPIR_CVAR_CH4_NETMOD": "ofi", "FI_PROVIDER": "tcp", "FI_TCP_IFACE": "eth0"}
    return subprocess.Popen(
        ["ip", "netns", "exec", f"{NAME}1", *command],
        env=os.environ | by_tcp,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def losses(folder: Path) -> list[float]:
    """Return the training losses of a run's log."""
    with open(folder / "log.csv", newline="") as file:
        return [float(line["train_loss"]) for line in csv.DictReader(file)]


def curves(hosts: int, folder: Path) -> tuple[list[float], list[float]]:
    """Return the losses of a training in one process, and of one with a rank on each of ``hosts`` hosts."""
    one, many = folder / "one", folder / "many"
    words = [*SMALL, "--epochs", "3", "--quiet", "--out", str(one)]
    subprocess.run([sys.executable, str(HERE.parent / "train.py"), *words], check=True, capture_output=True)
    with network(hosts) as addresses:
        process = start(addresses, folder, "--epochs", "3", "--quiet", "--out", str(many))
        _, error = process.communicate(timeout=600)
    if process.returncode:
        raise RuntimeError(error)
    return losses(one), losses(many)


def after_a_cut(hosts: int, folder: Path) -> tuple[float, str, float]:
    """Return the seconds from the cut of a link until rank 0 prints something, its text, and those until the job ends.

    At most a minute later the launcher is killed.
    """
    out = folder / "cut"
    with network(hosts) as addresses:
        process = start(addresses, folder, "--epochs", "100000", "--quiet", "--out", str(out))
        try:
            while not (out / "log.csv").exists() or len(losses(out)) < 2:
                time.sleep(0.1)
                assert process.poll() is None, process.communicate()
            cut(hosts)
            since = time.monotonic()
            assert process.stderr
            for line in process.stderr:
                if line.startswith("train.py"):
                    after = time.monotonic() - since
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(60)
                    return after, line.strip(), time.monotonic() - since
        finally:
            for number in range(1, hosts + 1):
                pids = subprocess.run(["ip", "netns", "pids", f"{NAME}{number}"], capture_output=True, text=True)
                for pid in pids.stdout.split():
                    os.kill(int(pid), 9)
            process.communicate()
    raise RuntimeError("the job has ended, and rank 0 has said nothing")


def main() -> None:
    """Read the command line and do what it asks for."""
    cli = argparse.ArgumentParser(description="Train on several hosts that are namespaces of this machine.")
    cli.add_argument("--hosts", type=int, default=2)
    cli.add_argument("--cut", action="store_true")
    options = cli.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if options.cut:
            print("after {:.0f} s: {}\nmpiexec ended after {:.0f} s".format(*after_a_cut(options.hosts, Path(name))))
        else:
            one, many = curves(options.hosts, Path(name))
            print("one process:", *one)
            print(f"{options.hosts} hosts:   ", *many)
            print("largest difference:", max(abs(a - b) for a, b in zip(one, many, strict=True)))


if __name__ == "__main__":
    main()
