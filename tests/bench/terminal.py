"""The console on a pseudo-terminal of 80×24: first frame beside nyx, key to paint beside urwid, and bytes when idle."""

import contextlib
import fcntl
import os
import pty
import select
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.bench.measure import Row, interleaved, until
from tests.bench.node import Node, running

RUNS = 7
KEYS = 60
DOWN, UP = b"\x1b[B", b"\x1b[A"
WALLETS = 12
IDLE_S = 6.0


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, command: Sequence[str], env: dict[str, str]) -> None:
        self.started = time.perf_counter()
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        environment = {**env, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        for name in ("TMUX", "NO_COLOR", "COLUMNS", "LINES"):
            environment.pop(name, None)

        def own_the_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self._process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            preexec_fn=own_the_terminal,  # noqa: PLW1509 - no threads
        )
        os.close(slave)

    def read(self, timeout_s: float) -> bytes:
        """Whatever comes next; nothing if nothing comes in time."""
        if not select.select([self._master], [], [], timeout_s)[0]:
            return b""
        try:
            return os.read(self._master, 65536)
        except OSError:
            return b""

    def until(self, mark: bytes, timeout_s: float = 30.0) -> float:
        """Read until a text has come; returns seconds since the start of the program."""
        seen = b""
        while mark not in seen:
            seen += self.read(1.0)
            if time.perf_counter() - self.started > timeout_s:
                raise TimeoutError(f"{mark!r} never came: {seen[-400:]!r}")
        return time.perf_counter() - self.started

    def quiet(self, for_s: float, at_most_s: float = 15.0) -> None:
        """Read until nothing has come for a while."""
        deadline = time.perf_counter() + at_most_s
        while self.read(for_s) and time.perf_counter() < deadline:
            pass

    def press(self, key: bytes) -> float:
        """Press a key; returns seconds until the first byte of what it paints."""
        started = time.perf_counter()
        os.write(self._master, key)
        if not self.read(5.0):
            raise TimeoutError(f"nothing is painted after {key!r}")
        took = time.perf_counter() - started
        self.quiet(0.03)
        return took

    def close(self) -> None:
        """End the program."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)
        self._process.kill()
        self._process.wait()
        os.close(self._master)


@contextlib.contextmanager
def terminal(command: Sequence[str], env: dict[str, str]) -> Iterator[Terminal]:
    """Run a program on a terminal while the block runs."""
    made = Terminal(command, env)
    try:
        yield made
    finally:
        made.close()


def _console(*words: str) -> list[str]:
    return [sys.executable, "-m", "lucid_tron_console", "console", *words]


def _first_frame(command: Sequence[str], env: dict[str, str], mark: bytes) -> Callable[[], float]:
    def once() -> float:
        with terminal(command, env) as screen:
            return screen.until(mark)

    return once


def _key_to_paint(command: Sequence[str], env: dict[str, str], mark: bytes) -> Callable[[], float]:
    def once() -> float:
        with terminal(command, env) as screen:
            screen.until(mark)
            screen.quiet(0.5)
            return statistics.median(screen.press(DOWN if number // 8 % 2 == 0 else UP) for number in range(KEYS))

    return once


@contextlib.contextmanager
def _tor() -> Iterator[dict[str, str]]:
    """A tor daemon without a network, for nyx to look at; yields the environment for nyx."""
    with tempfile.TemporaryDirectory(prefix="lucid-bench-") as folder:
        control = Path(folder, "control")
        Path(folder).chmod(0o700)
        settings = Path(folder, "torrc")
        settings.touch()
        options = ["--DisableNetwork", "1", "--SocksPort", "0", "--ControlPort", f"unix:{control}"]
        options += [
            "--DataDirectory",
            f"{folder}/data",
            "--CookieAuthentication",
            "0",
            "--Log",
            f"err file {folder}/log",
        ]
        tor = subprocess.Popen(["tor", "-f", str(settings), *options], stdout=subprocess.DEVNULL)
        try:
            until(control.exists)
            yield {**os.environ, "HOME": folder, "CONTROL": str(control)}
        finally:
            tor.terminate()
            tor.wait()


def _idle(node: Node, screen_name: str) -> float:
    """Bytes a second that the console sends when nothing changes: after a block, and before that one counts as old."""
    with terminal(_console(screen_name), node.env) as screen:
        screen.until(b"Dash")
        screen.quiet(2.0)
        node.run("devnet", "mine")
        screen.quiet(1.5)
        count = 0
        deadline = time.perf_counter() + IDLE_S
        while (left := deadline - time.perf_counter()) > 0:
            count += len(screen.read(left))
        return count / IDLE_S


def run() -> list[Row]:
    """Measure on a node whose chain stands still."""
    for program in ("nyx", "tor"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is missing: apt-get install nyx tor")
    urwid = [sys.executable, "-m", "tests.bench.urwid_list"]
    with running() as node, _tor() as tor:
        for number in range(WALLETS):
            node.wallet(f"w{number:02}")
        nyx = ["nyx", "--socket", tor["CONTROL"]]
        frame = interleaved(
            RUNS,
            ours=_first_frame(_console(), node.env, b"Dash"),
            ours_data=_first_frame(_console("wallets"), node.env, b"w00"),
            nyx=_first_frame(nyx, tor, b"page 1"),
            urwid=_first_frame(urwid, node.env, b"quit"),
        )
        key = interleaved(
            3,
            ours=_key_to_paint(_console("wallets"), node.env, b"w00"),
            urwid=_key_to_paint(urwid, node.env, b"quit"),
        )
        idle = {name: _idle(node, name) for name in ("dashboard", "wallets", "payouts", "services")}
    return [
        Row("console: first frame", frame["ours"] * 1000, "ms"),
        Row("console: wallets with their data on the screen", frame["ours_data"] * 1000, "ms"),
        Row("nyx: first frame", frame["nyx"] * 1000, "ms"),
        Row("urwid list: first frame", frame["urwid"] * 1000, "ms"),
        Row("first frame ÷ nyx", frame["ours"] / frame["nyx"], "×", at_most=1),
        Row("console: key to paint", key["ours"] * 1000, "ms"),
        Row("urwid list: key to paint", key["urwid"] * 1000, "ms"),
        Row("key to paint ÷ urwid", key["ours"] / key["urwid"], "×", at_most=2.5),
        *(Row(f"{name}: bytes a second when nothing changes", count, "B/s", at_most=0) for name, count in idle.items()),
    ]
