"""Looks at everything that a node needs, and says in words what is wrong and what to do about it."""

import importlib.metadata
import locale
import os
import platform
import shutil
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from lucid_tron_console import tor_doctor
from lucid_tron_console.finding import Finding, Verdict
from lucid_tron_console.home import SERVICES, Home, NodeRecord
from lucid_tron_console.probe import ask, health, listens
from services.kit.errors import LucidError

LOW_DISK_BYTES = 512 * 1024 * 1024
"""Below this a node may not get through the night."""

CLOCK_TOLERANCE_S = 30
"""How far this machine's clock may be from the chain's; it decides nothing about money, but logs and leases use it."""


def examine(home: Home, environ: Mapping[str, str]) -> list[Finding]:
    """Look at everything, in the order in which an operator would."""
    looks: list[Callable[[], Iterator[Finding]]] = [
        _python,
        lambda: _home(home),
        lambda: _disk(home),
        lambda: _terminal(environ),
        _tools,
        lambda: tor_doctor.examine(home, environ),
        lambda: _services(home),
        lambda: _clock(home),
    ]
    return [finding for look in looks for finding in _safely(look)]


def _safely(look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except LucidError as error:
        yield Finding("home", Verdict.BAD, error.message)
    except OSError as error:
        yield Finding("system", Verdict.BAD, f"{error.filename or ''} {error.strerror or error}".strip())


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    advice = "" if fits else "use Python 3.11, 3.12 or 3.13"
    yield Finding("python", Verdict.OK if fits else Verdict.BAD, f"{version} on {platform.machine()}", advice)
    yield Finding("version", Verdict.OK, f"lucid-tron {importlib.metadata.version('lucid-tron-console')}")


def _home(home: Home) -> Iterator[Finding]:
    home.check()
    if not home.path.exists():
        yield Finding("home", Verdict.NOTE, f"{home.path} does not exist yet", f"`{home.command('up')}` makes it")
        return
    if not os.access(home.path, os.W_OK | os.X_OK):
        yield Finding("home", Verdict.BAD, f"{home.path} cannot be written", "make it yours, or choose another --home")
        return
    record = home.record()
    yield Finding("home", Verdict.OK, f"{home.path}, for {record.network or 'no network yet'}")
    yield from _mode(home.path, 0o027)
    yield from _mode(home.path / "state", 0o077)
    keys = home.path / "state" / "wallet" / "keys"
    for path in (keys, *sorted(keys.glob("*"))):
        yield from _mode(path, 0o077)


def _mode(path: Path, forbidden: int) -> Iterator[Finding]:
    """Complain of a path that others may open."""
    if not path.exists():
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & forbidden:
        words = f"{path} has mode {mode:o}: others may get at it"
        yield Finding("permissions", Verdict.BAD, words, f"chmod {mode & ~forbidden:o} {path}")


def _disk(home: Home) -> Iterator[Finding]:
    there = next(path for path in (home.path, *home.path.parents) if path.exists())
    free = shutil.disk_usage(there).free
    words = f"{free // 1024**2:,} MiB free at {there}"
    low = free < LOW_DISK_BYTES
    yield Finding(
        "disk", Verdict.BAD if low else Verdict.OK, words, "make room before the stores cannot write" if low else ""
    )


def _terminal(environ: Mapping[str, str]) -> Iterator[Finding]:
    term = environ.get("TERM", "")
    poor = term in {"", "dumb", "unknown"}
    advice = "the console needs a real terminal: set TERM, or use the commands" if poor else ""
    yield Finding("terminal", Verdict.NOTE if poor else Verdict.OK, f"TERM={term or 'unset'}", advice)
    encoding = locale.getpreferredencoding(do_setlocale=False)
    utf8 = encoding.lower().replace("-", "") == "utf8"
    advice = "" if utf8 else "export LC_ALL=C.UTF-8, else the console restarts itself in UTF-8 mode"
    yield Finding("locale", Verdict.OK if utf8 else Verdict.NOTE, encoding, advice)


def _tools() -> Iterator[Finding]:
    tmux = shutil.which("tmux")
    advice = "" if tmux else "apt install tmux: the console then survives a dropped line"
    yield Finding("tmux", Verdict.OK if tmux else Verdict.NOTE, tmux or "not installed", advice)


def _services(home: Home) -> Iterator[Finding]:
    record = home.record()
    running = home.holder() is not None
    if not running:
        yield Finding("node", Verdict.NOTE, "not running", f"`{home.command('up')}` starts it")
        yield from _ports(record)
    else:
        yield Finding("node", Verdict.OK, f"running, pid {record.pid}")
    # Without a supervisor, those that systemd or compose run; a socket that a dead one left behind does not count.
    for name in record.services if running else [one for one in (*SERVICES, "tor") if listens(home.socket(one))]:
        yield from _mode(home.socket(name), 0o007)
        found = health(home, record, name)
        run = record.services.get(name)
        words = found.state + (f", restarted {run.restarts} times" if run and run.restarts else "")
        if found.state == "ready":
            yield Finding(_subject(name), Verdict.OK, words)
        else:
            yield Finding(_subject(name), Verdict.BAD, f"{words}: {found.detail}", f"see {home.log(name)}")


def _subject(service: str) -> str:
    return {"tor": "tor service", "lab": "tor lab"}.get(service, service)


def _ports(record: NodeRecord) -> Iterator[Finding]:
    for port in record.devnet_ports:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                yield Finding(
                    "port", Verdict.NOTE, f"{port} is in use by another program; the devnet will take another"
                )


def _clock(home: Home) -> Iterator[Finding]:
    if home.holder() is None:
        return
    try:
        head = ask(home.socket("tron"), "/api/v1/tron/network/status", timeout_s=1.0).get("head")
    except LucidError:
        return
    if not isinstance(head, dict):
        return
    # For people only: this machine's clock decides nothing about money.
    off = time.time() - head["time_ms"] / 1000
    near = -CLOCK_TOLERANCE_S < off < CLOCK_TOLERANCE_S
    words = f"{abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the newest block"
    advice = "" if near else "set the clock (timedatectl), or see whether the chain stands still"
    yield Finding("clock", Verdict.OK if near else Verdict.NOTE, words, advice)
