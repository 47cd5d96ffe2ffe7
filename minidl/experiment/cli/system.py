"""Errors of the operating system, in plain words."""

import errno

MORE_FILES = "let it have more files open, as by: ulimit -n 4096"


def told(error: OSError) -> str:
    """Return an error's message, its file and, if known, a remedy."""
    what = error.strerror or str(error)
    named = f"{error.filename}: {what}" if error.filename else what
    return f"{named}; {MORE_FILES}" if too_many_files(error) else named


def too_many_files(error: OSError) -> bool:
    """Return whether there are no file handles left."""
    return error.errno in (errno.EMFILE, errno.ENFILE)
