"""Directories that a daemon makes for itself, with the mode that was meant, whatever the umask says."""

import os
import stat
from pathlib import Path

PARENT_MODE = 0o755
"""Of directories that are made on the way: a stricter umask is honoured, a looser one never lets others write."""


TRUSTED = frozenset({0, os.geteuid()})
"""Users whose directory a daemon uses: root, and its own."""


def make(path: Path, mode: int) -> None:
    """Make a directory of exactly that mode, and its parents if they are missing; one that exists stays as it is.

    Raises:
        OSError: it cannot be made, or something else has that name.
    """
    if path.is_dir():
        return
    _make_parents(path.parent)
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        if not path.is_dir():
            raise
        return  # another process was quicker
    made = path.stat().st_mode
    if made & 0o777 != mode:  # the umask took something away; a set-group-id bit of the parent's stays
        path.chmod(stat.S_IMODE(made) | mode)


def _make_parents(path: Path) -> None:
    if not path.exists():
        _make_parents(path.parent)
        path.mkdir(mode=PARENT_MODE, exist_ok=True)


def why_unsafe(path: Path) -> str:
    """Say why others could replace files in a directory, and what to do about it; empty when they cannot."""
    found = path.stat()
    if found.st_uid not in TRUSTED:
        return f"{path} belongs to another user: use a directory of your own"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may replace what lies in {path}: run chmod go-w {path}"
    return ""
