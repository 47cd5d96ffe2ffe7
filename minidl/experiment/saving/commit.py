"""Commit: the git commit of the sources with which a run is made."""

import subprocess
from functools import cache
from pathlib import Path

import minidl

CHECKOUT = Path(minidl.__file__).resolve().parents[1]
DIGITS = 9
DESCRIBE = ("git", "describe", "--always", "--exclude=*", f"--abbrev={DIGITS}", "--dirty= with changes")


@cache
def commit() -> str:
    """Return the commit, followed by " with changes" if files differ from it; "" outside a git checkout."""
    if not (CHECKOUT / ".git").exists():
        return ""
    try:
        done = subprocess.run(DESCRIBE, cwd=CHECKOUT, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):  # git is missing, or waits for something
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
