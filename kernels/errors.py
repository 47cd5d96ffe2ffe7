"""MinidlError, the one exception whose message is meant for people."""


class MinidlError(ValueError):
    """Something the user gave cannot be used: one sentence that says what, where and what to do.

    ``train.py`` prints it without a traceback and ends with exit status 2.
    """
