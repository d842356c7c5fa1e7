"""The private Tor network of a home: where it is, how it is started, how it is doing, and whether it could run."""

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lucid_tron_console.home import SOCKET_PATH_MAX, Home
from lucid_tron_console.python import PYTHON_M
from lucid_tron_console.tor_way import TorWay
from services.kit.errors import Invalid, Timeout, Unavailable

MODULE = "services.tor.lab"

START_S = 130.0
"""How long a start may take: 2 s warm, 6 to 8 s cold on two quiet cores, and the lab itself gives up after this."""

_STOP_S = 15.0
_LONGEST_INSIDE = "relay0/control"
"""The longest path of a socket in a lab's directory."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether this machine can run a private Tor network."""

    ok: bool
    message: str
    """tor's version; or what is missing and how to install it."""


def directory(home: Home) -> Path:
    """Where the lab of a home lives."""
    return home.path / "state" / "tor" / "lab"


def report_file(home: Home) -> Path:
    """What the lab says on its stdout: empty while it starts, then one line of JSON."""
    return home.path / "state" / "tor" / "lab.out"


def way(home: Home) -> TorWay:
    """The way out through the lab of a home.

    Raises:
        Invalid: the home's path is too long for the sockets in there.
    """
    longest = directory(home) / _LONGEST_INSIDE
    if len(os.fsencode(longest)) > SOCKET_PATH_MAX:
        raise Invalid(
            f"the home's path is too long for a private Tor network: {longest} has over {SOCKET_PATH_MAX} bytes; "
            "choose a shorter --home",
            field="home",
        )
    return TorWay("lab", str(directory(home) / "run" / "socks"), str(directory(home) / "client" / "control"))


def argv(home: Home) -> tuple[str, ...]:
    """The command that is the lab."""
    return (*PYTHON_M, MODULE, str(directory(home)))


def prepare(home: Home) -> None:
    """Make the directories around it."""
    directory(home).parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def available() -> Availability:
    """Ask whether the lab could run here."""
    done = subprocess.run([*PYTHON_M, MODULE, "--check"], capture_output=True, text=True, check=False)
    said = _line(done.stdout)
    return Availability(said.get("state") == "available", str(said.get("message") or done.stderr.strip()[-300:]))


def report(home: Home) -> dict[str, Any]:
    """What the lab said last; empty while it starts, or when there never was one."""
    with contextlib.suppress(OSError):
        return _line(report_file(home).read_text(encoding="utf-8"))
    return {}


def _line(text: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError, IndexError):
        said = json.loads(text.strip().splitlines()[-1])
        if isinstance(said, dict):
            return said
    return {}


def pid(home: Home) -> int | None:
    """The process that runs the lab of a home; None if nobody does.

    The number in the lab's lock file is believed only if that process says that it is this lab.
    """
    lock = directory(home) / "owner.lock"
    try:
        number = int(lock.read_text(encoding="ascii"))
        command = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    except PermissionError as error:
        raise Invalid(f"{lock} cannot be read ({error.strerror}): is this home yours?", field="home") from error
    except (OSError, ValueError):
        return None
    return number if {MODULE.encode(), os.fsencode(directory(home))} <= set(command) else None


def node_pids(home: Home) -> dict[str, int]:
    """The processes of a lab's nodes now, by the node's name: one that died was started again under another number."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            for word in path.read_bytes().split(b"\0"):
                torrc = Path(os.fsdecode(word))
                if torrc.name == "torrc" and torrc.parent.parent == directory(home):
                    found[torrc.parent.name] = int(path.parent.name)
    return found


def start(home: Home) -> dict[str, Any]:
    """Start the lab as a process of its own and wait until it is ready; returns what it says.

    Raises:
        Unavailable: tor is missing, or the network did not come up; says why.
        Timeout: it takes too long; it was stopped again.
    """
    way(home)
    prepare(home)
    with report_file(home).open("wb") as out, home.log("lab").open("ab") as log:
        process = subprocess.Popen(
            argv(home), cwd=home.path, stdin=subprocess.DEVNULL, stdout=out, stderr=log, start_new_session=True
        )
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        said = report(home)
        if said.get("state") == "ready":
            return said
        if process.poll() is not None:
            raise Unavailable(str(said.get("message") or f"the lab ended: see {home.log('lab')}"))
        time.sleep(0.05)
    process.terminate()
    process.wait()
    raise Timeout(f"the private Tor network is not ready after {START_S:g} s: see {home.log('lab')}")


def stop(home: Home) -> bool:
    """Stop the lab of a home, whoever started it, and wait for its end; False if there was none.

    Raises:
        Timeout: it does not end.
    """
    number = pid(home)
    if number is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(number)
        try:
            if pid(home) == number:  # still it, and the handle is for it alone
                signal.pidfd_send_signal(handle, signal.SIGTERM)
        finally:
            os.close(handle)
    deadline = time.monotonic() + _STOP_S
    while pid(home) is not None:
        if time.monotonic() > deadline:
            raise Timeout(f"the lab (pid {number}) does not end in {_STOP_S:g} s: end it with kill {number}")
        time.sleep(0.02)
    return True
