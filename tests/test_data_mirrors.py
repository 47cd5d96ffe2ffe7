"""Downloads from mirrors that give wrong answers: the next one is asked; nothing is kept, overwritten or waited for."""

import hashlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from minidl.data import download
from minidl.data.download import fetch
from minidl.kernels.errors import MinidlError

CONTENT = bytes(range(256)) * 200
SIZE, SHA256 = len(CONTENT), hashlib.sha256(CONTENT).hexdigest()
HEAD = b"HTTP/1.1 200 OK\r\n"
BODY = b"Content-Length: %d\r\n\r\n" % SIZE + CONTENT
Send = Callable[[bytes], None]


class Mirror:
    """A server that answers each request by a function, which gets ``send``; url: the address of its file."""

    def __init__(self, answer: Callable[[Send], None] | bytes) -> None:
        self.answer = (lambda send: send(answer)) if isinstance(answer, bytes) else answer
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/file"
        self.sent, self.requests = 0, []
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                self.serve_one(self.socket.accept()[0])

    def serve_one(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # the client has closed the connection
            self.requests.append(connection.recv(1 << 16))

            def send(content: bytes) -> None:
                connection.sendall(content)
                self.sent += len(content)

            self.answer(send)

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


@pytest.fixture
def mirror(monkeypatch) -> Iterator[Callable[..., Mirror]]:
    """Return a function that starts a mirror; it is closed when the test ends."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    started: list[Mirror] = []

    def start(answer: Callable[[Send], None] | bytes = HEAD + BODY) -> Mirror:
        started.append(Mirror(answer))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "archive.tar"


def get(target: Path, *mirrors: Mirror | str, **options: float) -> None:
    urls = [mirror if isinstance(mirror, str) else mirror.url for mirror in mirrors]
    fetch(urls, target, SIZE, SHA256, progress=False, **{"timeout": 0.3, **options})


def arrived(target: Path) -> bool:
    return target.read_bytes() == CONTENT and list(target.parent.iterdir()) == [target]


LIES = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing": b"",
    "a length that is no number": HEAD + b"Content-Length: x\r\n\r\nabc",
    "a negative length": HEAD + b"Content-Length: -5\r\n\r\nabc",
    "a huge length": HEAD + b"Content-Length: 999999999999999999999\r\n\r\nabc",
    "a length of thousands of digits": HEAD + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\nabc",
    "another length": HEAD + b"Content-Length: 5\r\n\r\nabcde",
    "a negative chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n",
    "a chunk that is no number": HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n",
    "a chunk of a line without end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 100_000,
    "a huge header": HEAD + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
    "many headers": HEAD + b"X: y\r\n" * 5_000 + b"\r\n",
    "a status that is no number": b"HTTP/1.1 OK\r\n\r\n",
    "part of it": b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 7-9/10\r\nContent-Length: 3\r\n\r\nabc",
    "nothing more": b"HTTP/1.1 416 Range Not Satisfiable\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "a redirect to a port that is none": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:port/\r\n\r\n",
    "a redirect to no host": b"HTTP/1.1 302 Found\r\nLocation: http://[::1/\r\n\r\n",
    "a redirect to a file": b"HTTP/1.1 302 Found\r\nLocation: file:///etc/hostname\r\n\r\n",
    "a redirect to FTP": b"HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/file\r\n\r\n",
    "a redirect to itself": b"HTTP/1.1 302 Found\r\nLocation: /file\r\nContent-Length: 0\r\n\r\n",
    "a redirect to nowhere": b"HTTP/1.1 308 Permanent Redirect\r\nContent-Length: 0\r\n\r\n",
    "a redirect of another kind": b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://[::1/\r\n\r\n",
    "a redirect to a name with a newline": b"HTTP/1.1 302 Found\r\nLocation: http://a\x00b\x1b/\r\n\r\n",
}


@pytest.mark.parametrize("lie", LIES)
def test_after_a_wrong_answer_the_next_mirror_is_asked(mirror, target, lie):
    get(target, mirror(LIES[lie]), mirror())
    assert arrived(target)


def test_a_longer_file_is_cut_at_the_length_that_is_known(mirror, target):
    endless = mirror(lambda send: [send(HEAD + b"\r\n"), *(send(bytes(1 << 16)) for _ in range(1_000))])
    with pytest.raises(MinidlError, match="has the checksum"):
        get(target, endless)
    assert endless.sent < 16 << 20  # bytes in buffers of the operating system
    assert list(target.parent.iterdir()) == []


def test_the_body_of_a_redirect_is_not_read(mirror, target):
    there = mirror()
    head = b"HTTP/1.1 302 Found\r\nLocation: " + there.url.encode() + b"\r\n\r\n"
    endless = mirror(lambda send: [send(head), *(send(bytes(1 << 16)) for _ in range(1_000))])
    get(target, endless)
    assert arrived(target)
    assert endless.sent < 16 << 20


@pytest.mark.parametrize(
    "first, again",
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 ", b"O"),
        (HEAD, b"X: y\r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1", b"0"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    ],
    ids=["continue", "status", "headers", "chunk", "trailers"],
)
def test_a_mirror_that_is_busy_without_end_is_left(mirror, target, first, again, monkeypatch):
    """With each of these, the timeout of a socket would begin again."""
    monkeypatch.setattr(download, "_REQUESTS", 1)

    def busy(send: Send) -> None:
        send(first)
        while True:
            send(again)
            time.sleep(0.02)

    began = time.monotonic()
    get(target, mirror(busy), mirror(), timeout=0.15)
    assert arrived(target)
    assert time.monotonic() - began < 2


def test_one_byte_at_a_time_is_not_waited_for_even_if_all_mirrors_are_slow(mirror, target):
    def slow(send: Send) -> None:
        send(HEAD + b"\r\n")
        while True:
            send(b"x")
            time.sleep(0.01)

    began = time.monotonic()
    with pytest.raises(MinidlError, match="it sends fewer than 10,000 bytes a second"):
        get(target, mirror(slow), mirror(slow), patience=0.05)
    assert time.monotonic() - began < 2


def test_a_part_that_an_earlier_mirror_has_spoilt_does_not_count_against_the_next_one(mirror, target):
    spoils = mirror(HEAD + b"Content-Length: %d\r\n\r\nwrong" % SIZE)

    def resumes(send: Send) -> None:
        start = 5 if b"\r\nRange: bytes=5-\r\n" in good.requests[-1] else 0
        status = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-\r\n" if start else HEAD
        send(status + b"\r\n" + CONTENT[start:])

    good = mirror(resumes)
    get(target, spoils, good)
    assert arrived(target)
    assert len(good.requests) == 2


@pytest.mark.parametrize("kind", ["symlink", "dangling", "hard link", "pipe", "folder"])
def test_a_part_that_leads_elsewhere_is_not_written_through(mirror, tmp_path, kind):
    target, victim = tmp_path / "sets" / "archive.tar", tmp_path / "victim"
    target.parent.mkdir()
    part = target.with_name("archive.tar.part")
    if kind != "dangling":
        victim.write_text("mine")
    if kind in ("symlink", "dangling"):
        part.symlink_to(victim)
    elif kind == "hard link":
        part.hardlink_to(victim)
    elif kind == "pipe":
        os.mkfifo(part)
    else:
        part.mkdir()
    with pytest.raises(MinidlError, match=r"archive\.tar could not be written \("):
        get(target, mirror())
    assert not target.exists()
    assert victim.read_text() == "mine" if kind != "dangling" else not victim.exists()


def test_two_downloads_of_one_file_do_not_mix(mirror, target):
    begun, go_on = threading.Event(), threading.Event()

    def waits(send: Send) -> None:
        send(HEAD + BODY[:1_000])
        begun.set()
        go_on.wait(5)
        send(BODY[1_000:])

    first = threading.Thread(target=get, args=(target, mirror(waits)), kwargs={"timeout": 5})
    first.start()
    begun.wait(5)
    with pytest.raises(MinidlError, match="another download of it is going on"):
        get(target, mirror())
    go_on.set()
    first.join()
    assert arrived(target)


def test_the_proxy_of_the_environment_is_asked(mirror, target, monkeypatch):
    proxy = mirror()
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", proxy.url)
    get(target, "http://mirror.invalid/file")
    assert arrived(target)
    assert proxy.requests[0].startswith(b"GET http://mirror.invalid/file HTTP/1.1\r\n")
    monkeypatch.setenv("https_proxy", mirror(b"HTTP/1.1 403 Forbidden\r\n\r\n").url)
    with pytest.raises(MinidlError, match=r"no connection .*403"):
        get(target.with_name("other"), "https://mirror.invalid/file")


def test_a_mirror_that_does_not_speak_tls_is_left(mirror, target):
    wrong = mirror(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    get(target, wrong.url.replace("http:", "https:"), mirror())
    assert arrived(target)


def test_an_unreachable_network_is_reported_plainly(target, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file"
    with pytest.raises(
        MinidlError, match="as no mirror can be reached; is this machine online, and does it need a proxy"
    ):
        get(target, url, url)
    assert list(target.parent.iterdir()) == []


def test_a_mirror_that_fails_in_the_middle_leaves_the_file_of_that_name_alone(mirror, target):
    target.write_bytes(b"earlier")
    with pytest.raises(MinidlError, match="broke off"):
        get(target, mirror(HEAD + BODY[:1_000]))
    assert target.read_bytes() == b"earlier"
