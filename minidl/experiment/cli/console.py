"""Console: what a command prints and draws; a failure of its output never ends the command."""

import errno
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import wraps
from typing import Any

Lost = Callable[[OSError], None]
Main = Callable[..., int]


class _Lenient:
    """A text stream: characters that it cannot encode become "?"; once closed or full, it is no longer used."""

    def __init__(self, stream: Any, lost: Lost) -> None:
        self.stream = io.StringIO() if stream is None else stream  # None: the program was started without it
        self.lost, self.gone = lost, 0  # the number of the error by which it was lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write the text, as far as possible."""
        try:
            self._try(self.stream.write, text)
        except UnicodeEncodeError as error:
            self._try(self.stream.write, text.encode(error.encoding, "replace").decode(error.encoding))
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        self._try(self.stream.flush)

    def _try(self, function: Callable[..., Any], *arguments: Any) -> None:
        if self.gone:
            return
        try:
            function(*arguments)
        except OSError as error:
            self.gone = error.errno or errno.EIO
            with suppress(OSError):  # discard what is left, or Python would try to write it again at exit
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.stream.fileno())
                os.close(nowhere)
            self.lost(error)


@contextmanager
def lenient(program: str) -> Iterator[None]:
    """Let no failing output end the work inside; report a lost standard output once, in the program's name."""

    def told(error: OSError) -> None:
        print(f"{program}: nothing more can be printed ({error.strerror}); the work continues", file=sys.stderr)

    def untold(error: OSError) -> None:
        pass

    out, err = _Lenient(sys.stdout, told), _Lenient(sys.stderr, untold)
    with redirect_stdout(out), redirect_stderr(err):
        try:
            yield
        finally:
            out.lost = untold  # no report: the work is done
            out.flush()
            err.flush()


def printed_result(main: Main) -> Main:
    """Let a command fail if its result, which is what it prints, is lost, as on a full disk.

    Nothing is lost if the reader has seen enough, such as head.
    """

    @wraps(main)
    def checked(*arguments: Any) -> int:
        out: Any = sys.stdout
        out.lost = lambda error: None  # it is reported once, at the end
        status = main(*arguments)
        out.flush()
        if (gone := out.gone) not in (0, errno.EPIPE):
            from minidl.kernels.errors import MinidlError  # here, as --help does not wait for NumPy

            raise MinidlError(f"the result could not be printed ({os.strerror(gone)}); print it to where there is room")
        return status

    return checked


@contextmanager
def decoration(program: str, what: str) -> Iterator[None]:
    """If drawing ``what`` fails, print one sentence, in the program's name, and nothing of the library's."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of fonts and of read-only folders
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # of any kind: a library's, a font's, a file's
        reason = " ".join(str(error).split()) or type(error).__name__
        print(f"{program}: {what} could not be drawn ({reason}); all else is done", file=sys.stderr)
    finally:
        logger.setLevel(level)
