"""Download of a file from a list of mirrors: resumed where it broke off, checked, put in place in one step."""

import hashlib
import os
import time
import urllib.request
from collections import deque
from collections.abc import Sequence
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError

from tqdm.auto import tqdm

from minidl.kernels.errors import MinidlError

_BLOCK = 1 << 18
_REQUESTS = 5
"""How often one mirror is asked to go on before the next one is."""


class _MirrorError(Exception):
    """A mirror did not deliver the file; the message says why."""


class _SlowMirrorError(_MirrorError):
    """A mirror delivers, but another one may be faster."""


def fetch(
    mirrors: Sequence[str],
    target: Path,
    md5: str,
    progress: bool = True,
    timeout: float = 30.0,
    patience: float = 15.0,
    min_speed: float = 200_000.0,
) -> None:
    """Download ``target`` from the first of the mirrors that delivers a file with this md5 checksum.

    What has arrived is kept in ``target`` + ".part" and is continued by the next request, mirror or run. A
    connection that is silent for ``timeout`` seconds counts as broken; a mirror slower than ``min_speed``
    bytes a second over more than ``patience`` seconds is put behind the others. Raises MinidlError if no
    mirror delivers or the file cannot be written.
    """
    part = target.with_name(target.name + ".part")
    queue = deque((url, min_speed) for url in mirrors)
    failures = []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        while queue:
            url, speed = queue.popleft()
            try:
                with tqdm(desc=target.name, unit="B", unit_scale=True, unit_divisor=1024, disable=not progress) as bar:
                    _receive(url, part, md5, timeout, patience, speed, bar)
            except _SlowMirrorError:
                queue.append((url, 0.0))
            except _MirrorError as failure:
                failures.append(f"{url}: {failure}")
            else:
                os.replace(part, target)
                return
    except OSError as problem:
        raise MinidlError(
            f"{target} could not be written ({problem}); choose another folder with --data-root DIR"
        ) from problem
    raise MinidlError(
        f"{target.name} could not be downloaded ({'; '.join(failures)}); run again to go on from where it "
        "broke off, or put the file into a folder by hand and name that folder with --data-root DIR"
    )


def md5_of(path: Path) -> str:
    """Return the md5 checksum of a file in hexadecimal digits."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _receive(url: str, part: Path, md5: str, timeout: float, patience: float, speed: float, bar: tqdm) -> None:
    """Complete ``part`` from one mirror and check it; a file with a wrong checksum is deleted."""
    for _ in range(_REQUESTS):
        start = part.stat().st_size if part.exists() else 0
        response = _open(url, start, timeout)
        if response is None:
            # Nothing is left to send: the part is whole, or it belongs to another file.
            if md5_of(part) == md5:
                return
            part.unlink()
            continue
        with response:
            if _store(response, part, start, patience, speed, bar):
                break
    else:
        raise _MirrorError(f"the connection broke off {_REQUESTS} times")
    found = md5_of(part)
    if found != md5:
        part.unlink()
        raise _MirrorError(f"the file has the checksum {found} instead of {md5}")


def _open(url: str, start: int, timeout: float) -> HTTPResponse | None:
    """Ask for the file from byte ``start`` on; None means that it has no such byte."""
    request = urllib.request.Request(url, headers={"User-Agent": "minidl", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response: HTTPResponse = urllib.request.urlopen(request, timeout=timeout)
    except HTTPError as error:
        error.close()
        if error.code == 416 and start:
            return None
        raise _MirrorError(f"the server answers {error.code} {error.reason}") from error
    except (OSError, HTTPException) as error:
        raise _MirrorError(f"no connection ({getattr(error, 'reason', error)})") from error
    return response


def _store(response: HTTPResponse, part: Path, start: int, patience: float, speed: float, bar: tqdm) -> bool:
    """Append the response to ``part`` and return whether it arrived to its end.

    A server that ignores the Range header sends status 200 and the whole file, which then replaces the part.
    """
    if response.status != 206:
        start = 0
    elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        raise _MirrorError("the server answers with another part of the file than it was asked for")
    length = response.headers.get("Content-Length")
    end = start + int(length) if length else None
    bar.total, bar.initial, bar.n = end, start, start
    began = time.monotonic()
    size = start
    with part.open("ab" if start else "wb") as file:
        while True:
            try:
                block = response.read1(_BLOCK)
            except (OSError, HTTPException):
                return False
            if not block:
                return end is None or size == end
            file.write(block)
            size += len(block)
            bar.update(len(block))
            seconds = time.monotonic() - began
            if seconds > patience and size - start < speed * seconds and size != end:
                raise _SlowMirrorError
