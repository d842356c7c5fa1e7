"""Whose a lab's directory is, and that nothing of a lab outlives its owner.

Two locks of flock(2) say it without any pid in a file being believed. `owner.lock` is held by the one process that runs
the lab. `alive.lock` is inherited by every process of the lab: while one of them lives, whoever died, it is taken.

The anchor is a small shell that reads from a pipe whose other end only the owner has. When the owner ends, however
it ends, the read returns, and the anchor kills its process group: itself and every tor. Should the anchor die first,
each tor sees that within 15 seconds (`__OwningControllerProcess`) and ends.
"""

import asyncio
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Self

from services.kit.errors import Conflict, Unavailable

PLAN_FILE = "lab.json"
"""Marks a directory as a lab's."""
_OWNER_LOCK, _ALIVE_LOCK = "owner.lock", "alive.lock"

_DYING_S = 1.0
"""What the remains of a lab get to end by themselves: its anchor kills them in milliseconds."""
_KILLED_S = 10.0

_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_ARENA_MAX": "1"}
"""For glibc (mallopt(3)): give back at once what packing a consensus takes, 60 MB in each server, kept otherwise."""

_ANCHOR = 'trap "" TERM INT HUP; read -r _; kill -s KILL 0'


class Claim:
    """A lab's directory, held by this process."""

    def __init__(self, directory: Path, owner: int, alive: int) -> None:
        self.directory = directory
        self.alive = alive
        """Descriptor of `alive.lock`, for the lab's processes to inherit."""
        self._owner = owner

    @classmethod
    async def take(cls, directory: Path) -> Self:
        """Make the directory if need be (mode 0700) and hold it; what a crashed owner left running is ended first.

        Raises:
            Conflict: a lab runs there already, or the directory is something else.
            Unavailable: it cannot be made or written.
        """
        try:
            _require_lab(directory)
            owner = os.open(directory / _OWNER_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(f"{directory} cannot be used for a lab: {error.strerror or error}") from error
        try:
            if not _locked(owner):
                holder = os.pread(owner, 20, 0).decode("ascii", "replace").strip() or "unknown"
                raise Conflict(
                    f"a lab runs in {directory} already (pid {holder}): stop that one, or choose another place"
                )
            os.ftruncate(owner, 0)
            os.pwrite(owner, f"{os.getpid()}\n".encode(), 0)
            alive = await _outlive(directory)
        except BaseException:
            os.close(owner)
            raise
        return cls(directory, owner, alive)

    def release(self) -> None:
        """Let go; everything of the lab must have ended."""
        os.close(self.alive)
        os.close(self._owner)


def _require_lab(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    strangers = {entry.name for entry in directory.iterdir()} - {_OWNER_LOCK, _ALIVE_LOCK}
    if strangers and PLAN_FILE not in strangers:
        raise Conflict(f"{directory} holds something else than a lab: choose an empty directory")
    # Cookies and keys are in there, and tor refuses a control socket that others could reach.
    directory.chmod(0o700)


async def _outlive(directory: Path) -> int:
    """Open and hold `alive.lock`, after the end of everything that still has it."""
    path = directory / _ALIVE_LOCK
    alive = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        started = time.monotonic()
        killed = False
        while not _locked(alive):
            waited_s = time.monotonic() - started
            if waited_s > _DYING_S and not killed:
                killed = True
                for pid in _holders(path):
                    os.kill(pid, signal.SIGKILL)
            if waited_s > _KILLED_S:
                raise Conflict(f"processes of a lab that was here still live, and hold {path}: end them first")
            await asyncio.sleep(0.02)
    except BaseException:
        os.close(alive)
        raise
    return alive


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holders(lock: Path) -> list[int]:
    """Find the processes that were started for this lab and have its lock open, by what the kernel says of them."""
    wanted, found = lock.stat(), []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            # A child of the owner's that was forked for something else may have the file too: not ours to end.
            if os.fsencode(lock.parent) not in (process / "cmdline").read_bytes():
                continue
            files = [entry.stat() for entry in (process / "fd").iterdir()]
        except OSError:
            continue  # it ended meanwhile, or belongs to somebody else
        if any((file.st_dev, file.st_ino) == (wanted.st_dev, wanted.st_ino) for file in files):
            found.append(int(process.name))
    return found


class Anchor:
    """Ends what it holds when its owner ends."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self.process = subprocess.Popen(
            ("/bin/sh", "-c", _ANCHOR, f"anchor of {claim.directory}"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            pass_fds=(claim.alive,),
            process_group=0,
        )

    @property
    def pid(self) -> int:
        """Also the number of the process group that it kills."""
        return self.process.pid

    def spawn(self, argv: Sequence[str], log: BinaryIO) -> subprocess.Popen[bytes]:
        """Start a process that ends with the anchor.

        Raises:
            OSError: it could not be started, or the anchor is gone.
        """
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self._claim.directory,
            env={"HOME": str(self._claim.directory), "PATH": os.defpath, **_MEMORY},
            pass_fds=(self._claim.alive,),
            process_group=self.pid,
        )

    def end(self) -> None:
        """Kill whatever is left in the group, and the anchor."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait()
