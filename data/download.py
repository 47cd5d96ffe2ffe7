"""Download of a file from a list of mirrors: resumed where it broke off, checked, put in place in one step.

A mirror is never trusted. The download keeps no more bytes than the file has, waits no longer than a least speed
allows, and after any other error of a mirror asks the next one.
"""

import errno
import fcntl
import os
import socket
import stat
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from tqdm.auto import tqdm

from minidl.data import regular_file
from minidl.kernels.errors import MinidlError

_BLOCK = 1 << 18
_REQUESTS = 5
"""How often one mirror is asked for the rest before the next one is."""


class _MirrorError(Exception):
    """A mirror did not deliver the file; the message says why."""


class _UnreachableError(_MirrorError):
    """There is no way to a mirror."""


class _SlowMirrorError(_MirrorError):
    """A mirror delivers, but another one may be faster."""


def fetch(
    mirrors: Sequence[str],
    target: Path,
    size: int,
    sha256: str,
    progress: bool = True,
    timeout: float = 30.0,
    patience: float = 15.0,
    min_speed: float = 200_000.0,
    least_speed: float = 10_000.0,
) -> None:
    """Download ``target`` from the first of the mirrors that delivers a file of this size and SHA-256 checksum.

    The bytes that have arrived are kept in ``target`` + ".part"; the next request, mirror or run continues it. A mirror
    that has sent nothing of the file for ``timeout`` seconds is cut off, whatever else it sends. A mirror slower than
    ``min_speed`` bytes a second over more than ``patience`` seconds has to wait until the others were asked; if it is
    then slower than ``least_speed``, it is not asked again. The environment's proxies are used. Raises MinidlError if
    no mirror delivers or the file cannot be written.
    """
    queue = deque((url, min_speed) for url in mirrors)
    failures: list[tuple[str, _MirrorError]] = []
    new_bar = partial(tqdm, desc=target.name, unit="B", unit_scale=True, unit_divisor=1024, disable=not progress)
    try:
        with _folder(target.parent), _part_of(target) as part:
            download = _Download(part, size, sha256, timeout, patience)
            while queue:
                url, speed = queue.popleft()
                try:
                    with new_bar() as bar:
                        download.receive(url, speed, bar)
                except _MirrorError as failure:
                    if isinstance(failure, _SlowMirrorError) and speed > least_speed:
                        queue.append((url, least_speed))
                    else:
                        failures.append((url, failure))
                else:
                    os.fsync(part.fileno())
                    os.replace(part.name, target)
                    return
    except OSError as problem:
        raise MinidlError(
            f"{target} could not be written ({problem.strerror or problem}); choose another folder with --data-root DIR"
        ) from problem
    offline = all(isinstance(failure, _UnreachableError) for _, failure in failures)
    cause = ", as no mirror can be reached; is this machine online, and does it need a proxy?" if offline else ""
    told = "; ".join(f"{url}: {failure}" for url, failure in failures)
    raise MinidlError(
        f"{target} could not be downloaded{cause} ({told}); run again to go on from where it "
        "broke off, or put the file into a folder by hand and name that folder with --data-root DIR"
    )


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Make a folder, and remove it at the end if it is still empty: its name may have been a mistake."""
    new = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if new:
            with suppress(OSError):  # it is not empty
                path.rmdir()


@contextmanager
def _part_of(target: Path) -> Iterator[BinaryIO]:
    """Open the part of a file that has arrived, or a new part; raise OSError if it is a link or a device.

    Somebody could put a link there to have another file overwritten.
    """
    path = target.with_name(target.name + ".part")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(path, "r+b", opener=lambda name, _: os.open(name, flags, 0o666)) as part:
        try:
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(errno.EBUSY, "another download of it is going on", str(path)) from None
        found = os.fstat(part.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or not os.path.samestat(found, os.lstat(path)):
            raise OSError(errno.EINVAL, "not a file of its own, but a link or a device; delete it", str(path))
        try:
            yield part
        finally:
            if not part.seek(0, os.SEEK_END):
                path.unlink()


@dataclass(frozen=True)
class _Download:
    """A file that mirrors complete: what has arrived of it, its size and checksum; timeout, patience: see ``fetch``."""

    part: BinaryIO
    size: int
    sha256: str
    timeout: float
    patience: float

    def receive(self, url: str, speed: float, bar: tqdm) -> None:
        """Complete the file from one mirror and check it; a file with a wrong checksum is emptied."""
        all_from_here = False
        for _ in range(_REQUESTS):
            start = self.part.seek(0, os.SEEK_END)
            if start > self.size:
                start = self.part.truncate(0)
            all_from_here = all_from_here or start == 0
            if start < self.size and not self._append(url, start, speed, bar):
                continue
            if (found := regular_file.checksum(self.part)) == self.sha256:
                return
            self.part.truncate(0)
            if all_from_here:  # otherwise an earlier mirror may be to blame
                raise _MirrorError(f"the file has the checksum {found} instead of {self.sha256}")
        raise _MirrorError(f"the connection broke off {_REQUESTS} times")

    def _append(self, url: str, start: int, speed: float, bar: tqdm) -> bool:
        """Request the file from byte ``start`` on, append the answer, and return whether the file is complete."""
        with _Guard(self.timeout) as guard, guard.open(url, start) as response:
            start = _beginning(response, start, self.size)
            self.part.seek(start)
            self.part.truncate()
            bar.total, bar.initial, bar.n = self.size, start, start
            began, end = time.monotonic(), start
            while end < self.size:
                block = guard.read(response, min(_BLOCK, self.size - end))
                if not block:
                    return False
                self.part.write(block)
                end += len(block)
                bar.update(len(block))
                seconds = time.monotonic() - began
                if seconds > self.patience and end - start < speed * seconds and end < self.size:
                    raise _SlowMirrorError(f"it sends fewer than {speed:,.0f} bytes a second")
        return True


def _beginning(response: HTTPResponse, start: int, size: int) -> int:
    """Return the byte of the file with which an answer begins; raise _MirrorError if it cannot be from that file.

    A server that ignores the Range header sends status 200 and the whole file, which then replaces the part.
    """
    if response.status == 200:
        start = 0
    elif response.status != 206 or not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        raise _MirrorError("the server answers with another part of the file than it was asked for")
    if response.length not in (None, size - start):
        raise _MirrorError(f"its file has {start + response.length:,} bytes instead of {size:,}")
    return start


class _Guard:
    """Connections of one request, which are cut if nothing of the file has come for some seconds.

    The timeout of a socket starts again with each byte, and http.client reads any number of answers "100 Continue" and
    of trailers, at any pace.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout, self.deadline, self.cut = timeout, time.monotonic() + timeout, False
        self.sockets: list[socket.socket] = []
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_Guard":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()
        for connected in self.sockets:
            connected.close()

    def open(self, url: str, start: int) -> HTTPResponse:
        """Return the answer to a request for a file from byte ``start`` on; raise _MirrorError where there is none."""
        request = urllib.request.Request(url, headers={"User-Agent": "minidl", "Accept-Encoding": "identity"})
        if start:
            request.add_header("Range", f"bytes={start}-")
        opener = urllib.request.build_opener(_Connections(self), _Redirects)
        try:
            response: HTTPResponse = opener.open(request, timeout=self.timeout)
        except _MirrorError:
            raise
        except HTTPError as error:
            error.close()
            raise _MirrorError(f"the server answers {error.code} {error.reason}") from error
        except URLError as error:
            raise _UnreachableError(f"no connection ({error.reason})") from error
        except Exception as error:  # of any kind: an answer that is not HTTP
            raise _MirrorError(f"no connection ({'timed out' if self.cut else error})") from error
        return response

    def read(self, response: HTTPResponse, most: int) -> bytes:
        """Return some more of an answer, and nothing where it has ended or broken off."""
        try:
            block = response.read1(most)
        except Exception:  # of any kind: a broken connection, a chunk whose size is not a number
            return b""
        self.deadline = time.monotonic() + self.timeout
        return block

    def keep(self, connected: socket.socket) -> socket.socket:
        """Take a connection under guard and return it."""
        if self.cut:
            connected.close()
            raise TimeoutError("timed out")
        self.sockets.append(connected.dup())  # TLS takes the connection itself away
        return connected

    def _watch(self) -> None:
        while not self.done.wait(max(0.0, self.deadline - time.monotonic())):
            if time.monotonic() >= self.deadline:
                self.cut = True
                for connected in self.sockets:
                    with suppress(OSError):  # it has ended already
                        connected.shutdown(socket.SHUT_RDWR)
                return


class _Connections(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Opens connections that are guarded from their first byte on, also while a proxy or TLS answers."""

    def __init__(self, guard: _Guard) -> None:
        super().__init__()
        self.guard = guard

    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(partial(self._guarded, HTTPConnection), req)

    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(partial(self._guarded, HTTPSConnection), req)

    def _guarded(self, kind: type[HTTPConnection], *arguments: Any, **options: Any) -> HTTPConnection:
        connection: Any = kind(*arguments, **options)
        create = connection._create_connection
        connection._create_connection = lambda *address: self.guard.keep(create(*address))
        return connection


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to HTTP addresses, without reading their bodies, as urllib would."""

    def http_error_302(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any
    ) -> HTTPResponse | None:
        """Return the answer to the next request."""
        fp.close()
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the next request."""
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise _MirrorError(f"the server leads to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
