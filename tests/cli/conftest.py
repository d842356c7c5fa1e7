"""A home with a short path, and the command line as a process of its own."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lucid_tron_console.home import Home

Lucid = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home() -> Iterator[Home]:
    """A new home; pytest's own folders are too deep for a Unix socket."""
    path = Path(tempfile.mkdtemp(prefix="lt-"))
    yield Home.at(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def lucid(home: Home) -> Lucid:
    """Run `lucid-tron` on the home and wait for its end."""

    def run(
        *arguments: str, env: dict[str, str] | None = None, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lucid_tron_console", *arguments],
            env={**os.environ, "LUCID_HOME": str(home.path), **(env or {})},
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
