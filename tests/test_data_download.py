"""Downloads from a small server on this machine that misbehaves on demand."""

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from minidl.data import download
from minidl.data.download import fetch
from minidl.kernels.errors import MinidlError

CONTENT = bytes(range(256)) * 2_000
HALF = len(CONTENT) // 2
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SIZE = len(CONTENT)


class Server(ThreadingHTTPServer):
    """Serves CONTENT in the way that the path says, and records the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []
        self.closing = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        behaviour, asked = self.path[1:], self.headers.get("Range")
        first = behaviour not in self.server.paths
        self.server.requests.append((behaviour, asked))
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        content = CONTENT[::-1] if behaviour == "wrong" else CONTENT
        if behaviour == "missing":
            return self.send_error(404)
        if start >= len(content):
            return self.send_error(416)
        if behaviour == "without-range" or not asked:
            start = 0
            self.send_response(200)
        else:
            self.send_response(206)
            shift = 1 if behaviour == "shifted" else 0
            self.send_header("Content-Range", f"bytes {start + shift}-{len(content) - 1}/{len(content)}")
        content = content[start:]
        if behaviour != "without-length":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        try:
            if behaviour == "breaks-once" and first:
                self.wfile.write(content[:HALF])
            elif behaviour == "breaks":
                self.wfile.write(content[:1_000])
            elif behaviour == "silent":
                self.wfile.write(content[:1_000])
                self.server.closing.wait()
            elif behaviour == "slow":
                for piece in (content[:1_000], content[1_000:2_000], content[2_000:]):
                    self.wfile.write(piece)
                    time.sleep(0.2)
            else:
                self.wfile.write(content)
        except ConnectionError:
            pass  # the client has closed the connection, as it should for a slow server
        return None

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "archive.tar.gz"


def arrived(target: Path) -> bool:
    """Return whether the file is complete, and the only one in its folder."""
    return target.read_bytes() == CONTENT and list(target.parent.iterdir()) == [target]


def leave_part(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True)
    target.with_name(target.name + ".part").write_bytes(content)


@pytest.mark.parametrize("behaviour", ["good", "without-length"])
def test_a_whole_download(server: Server, target: Path, behaviour: str) -> None:
    fetch([server.url(behaviour)], target, SIZE, SHA256, progress=False)
    assert arrived(target)
    assert server.requests == [(behaviour, None)]


def test_the_progress_bar_shows_the_file_and_its_end(
    server: Server, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch([server.url("good")], target, SIZE, SHA256)
    written = capsys.readouterr().err
    assert "archive.tar.gz" in written
    assert "100%" in written


def test_a_broken_connection_is_taken_up_where_it_broke(server: Server, target: Path) -> None:
    fetch([server.url("breaks-once")], target, SIZE, SHA256, progress=False)
    assert arrived(target)
    assert server.requests == [("breaks-once", None), ("breaks-once", f"bytes={HALF}-")]


def test_a_later_run_continues_the_partial_download_of_an_earlier_one(server: Server, target: Path) -> None:
    leave_part(target, CONTENT[:1_234])
    fetch([server.url("good")], target, SIZE, SHA256, progress=False)
    assert arrived(target)
    assert server.requests == [("good", "bytes=1234-")]


def test_a_mirror_that_keeps_breaking_is_left_and_the_next_one_continues(server: Server, target: Path) -> None:
    fetch([server.url("breaks"), server.url("good")], target, SIZE, SHA256, progress=False)
    assert arrived(target)
    assert server.paths == ["breaks"] * 5 + ["good"]
    assert server.requests[-1] == ("good", "bytes=5000-")


def test_a_server_that_ignores_the_range_starts_again(server: Server, target: Path) -> None:
    leave_part(target, CONTENT[:HALF])
    fetch([server.url("without-range")], target, SIZE, SHA256, progress=False)
    assert arrived(target)
    assert server.requests == [("without-range", f"bytes={HALF}-")]


def test_a_server_that_sends_another_range_is_left(server: Server, target: Path) -> None:
    leave_part(target, CONTENT[:HALF])
    fetch([server.url("shifted"), server.url("good")], target, SIZE, SHA256, progress=False)
    assert arrived(target)
    assert server.paths == ["shifted", "good"]


def test_a_part_that_is_whole_is_only_checked(server: Server, target: Path) -> None:
    leave_part(target, CONTENT)
    fetch([server.url("good")], target, SIZE, SHA256, progress=False)
    assert arrived(target)
    assert server.requests == []


def test_a_part_that_is_too_long_is_thrown_away(server: Server, target: Path) -> None:
    leave_part(target, CONTENT + b"more")
    fetch([server.url("good")], target, SIZE, SHA256, progress=False)
    assert arrived(target)
    assert server.requests == [("good", None)]


def test_a_file_with_a_wrong_checksum_is_thrown_away(server: Server, target: Path) -> None:
    fetch([server.url("wrong"), server.url("good")], target, SIZE, SHA256, progress=False)
    assert arrived(target)
    assert server.requests == [("wrong", None), ("good", None)]


def test_a_silent_mirror_is_left(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_REQUESTS", 1)
    fetch([server.url("silent"), server.url("good")], target, SIZE, SHA256, progress=False, timeout=1.0)
    assert arrived(target)
    assert server.requests == [("silent", None), ("good", "bytes=1000-")]


def test_a_slow_mirror_is_put_behind_the_others(server: Server, target: Path) -> None:
    urls = [server.url("slow"), server.url("good")]
    fetch(urls, target, SIZE, SHA256, progress=False, patience=0.1, min_speed=1e12, least_speed=1)
    assert arrived(target)
    assert server.paths[:2] == ["slow", "good"]
    assert server.requests[1][1] is not None


def test_a_slow_mirror_is_better_than_none(server: Server, target: Path) -> None:
    urls = [server.url("slow"), server.url("missing")]
    fetch(urls, target, SIZE, SHA256, progress=False, patience=0.1, min_speed=1e12, least_speed=1)
    assert arrived(target)
    assert server.paths == ["slow", "missing", "slow"]


def test_the_error_lists_what_failed_and_says_what_to_do(server: Server, target: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}/x"
        urls = [server.url("missing"), server.url("wrong"), closed]
        with pytest.raises(MinidlError) as caught:
            fetch(urls, target, SIZE, SHA256, progress=False)
    wrong = hashlib.sha256(CONTENT[::-1]).hexdigest()
    message = str(caught.value)
    assert message.startswith(
        f"{target} could not be downloaded ({urls[0]}: the server answers 404 Not Found; "
        f"{urls[1]}: the file has the checksum {wrong} instead of {SHA256}; {closed}: no connection ("
    )
    assert message.endswith("put the file into a folder by hand and name that folder with --data-root DIR")
    assert not target.parent.exists()


def test_a_folder_that_was_there_stays(server: Server, target: Path) -> None:
    target.parent.mkdir()
    with pytest.raises(MinidlError, match="404 Not Found"):
        fetch([server.url("missing")], target, SIZE, SHA256, progress=False)
    assert list(target.parent.iterdir()) == []


def test_a_broken_download_is_kept_for_the_next_run(server: Server, target: Path) -> None:
    with pytest.raises(MinidlError, match="the connection broke off 5 times"):
        fetch([server.url("breaks")], target, SIZE, SHA256, progress=False)
    assert target.with_name("archive.tar.gz.part").read_bytes() == CONTENT[:5_000]


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MinidlError, match=r"could not be written .*choose another folder with --data-root DIR"):
        fetch([server.url("good")], tmp_path / "file" / "archive.tar.gz", SIZE, SHA256, progress=False)
    assert server.requests == []
