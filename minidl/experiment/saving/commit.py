"""Commit: the state of the sources that a run is made by, where they are a checkout of git's."""

import subprocess
from functools import cache
from pathlib import Path

import minidl

CHECKOUT = Path(minidl.__file__).resolve().parents[1]
DIGITS = 9
DESCRIBE = ("git", "describe", "--always", "--exclude=*", f"--abbrev={DIGITS}", "--dirty= with changes")


@cache
def commit() -> str:
    """Return the commit, with " with changes" behind it where files differ from it; nothing outside of a checkout."""
    if not (CHECKOUT / ".git").exists():
        return ""
    try:
        done = subprocess.run(DESCRIBE, cwd=CHECKOUT, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):  # there is no git, or it waits for something
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
