"""One tor process of a lab: it can be paused, killed and started, and comes back by itself when it dies unasked."""

import asyncio
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from services.kit.errors import Conflict, Unavailable
from services.kit.log import get_logger
from services.tor.lab import control
from services.tor.lab.plan import Plan, Role, Server

FIRST_DELAY_S, LAST_DELAY_S = 0.25, 10.0
"""A node that died is started again after the first delay, doubled each time up to the last."""
STEADY_S = 20.0
"""A node that lived this long starts again with the first delay."""

_ENDING_S = 5.0
"""What tor gets to write its state after SIGTERM; ours need a quarter of a second."""
_LISTENING_S = 20.0

State = Literal["running", "paused", "waiting", "stopped"]
"""waiting: it died, and is started again in a moment."""

Spawn = Callable[["Node"], subprocess.Popen[bytes]]


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A node as it is now."""

    name: str
    role: Role
    state: State
    pid: int | None
    restarts: int
    """How often it came back after a death that nobody asked for."""
    fingerprint: str | None
    """40 upper-case hex digits; the client has none."""
    address: str
    or_port: int | None
    """None for the client: nobody connects to it."""
    country: str | None
    """What the lab's GeoIP file says: a code that no country has."""


class Node:
    """One server of the network."""

    def __init__(self, name: str, role: Role, directory: Path, spawn: Spawn) -> None:
        self.name = name
        """Its nickname."""
        self.role = role
        self.directory = directory
        """Its DataDirectory."""
        self.fingerprint = ""
        """40 upper-case hex digits; empty for the client."""
        self.address = ""
        self.or_port = 0
        self.country = ""
        self.restarts = 0
        """How often it came back after a death that nobody asked for."""
        self.supervised = False
        """Whether it is started again when it dies unasked; the lab sets it when it is ready."""
        self._spawn = spawn
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = asyncio.Event()
        self._paused = False
        self._again: asyncio.TimerHandle | None = None
        self._delay_s = FIRST_DELAY_S
        self._since = 0.0

    def __repr__(self) -> str:
        return f"<{self.role} {self.name} {self.state}>"

    @property
    def control_path(self) -> Path:
        """Its control port, a Unix socket."""
        return self.directory / "control"

    @property
    def cookie_path(self) -> Path:
        """What the control socket wants to see."""
        return self.directory / "control_auth_cookie"

    @property
    def log_path(self) -> Path:
        """Where tor writes its notices since the lab's start."""
        return self.directory / "tor.log"

    @property
    def torrc_path(self) -> Path:
        """Its configuration."""
        return self.directory / "torrc"

    @property
    def pid(self) -> int | None:
        """Of its process; None while it has none."""
        return self._process.pid if self._process else None

    @property
    def state(self) -> State:
        """What it does."""
        if self._process is not None:
            return "paused" if self._paused else "running"
        return "waiting" if self._again else "stopped"

    def status(self) -> NodeStatus:
        """Show it."""
        return NodeStatus(
            self.name,
            self.role,
            self.state,
            self.pid,
            self.restarts,
            self.fingerprint or None,
            self.address,
            self.or_port or None,
            self.country or None,
        )

    def place(self, server: Server, fingerprint: str) -> None:
        """Take its place in the network."""
        self.fingerprint, self.country = fingerprint, server.country
        self.address, self.or_port = server.address, server.or_port

    def control(self) -> AbstractAsyncContextManager[control.Control]:
        """Open an authenticated control connection.

        Raises:
            ControlError: it does not run, or not yet.
        """
        return control.connect(self.control_path, self.cookie_path)

    def launch(self) -> None:
        """Start its process, and return at once.

        Raises:
            Conflict: it runs already.
            Unavailable: the process could not be started.
        """
        if self._process is not None:
            raise Conflict(f"{self.name} runs already")
        self._cancel_restart()
        # A socket of a dead tor would be found before the new one listens.
        for path in (self.control_path, self.cookie_path):
            path.unlink(missing_ok=True)
        try:
            process = self._spawn(self)
        except OSError as error:
            raise Unavailable(f"{self.name} could not be started: {error.strerror or error}") from error
        self._process, self._paused, self._since = process, False, time.monotonic()
        self._ended.clear()
        on_end(process.pid, self._reap)

    async def start(self) -> None:
        """Start it again, with its identity and what it knew, and wait until it listens.

        Raises:
            Conflict: it runs already.
            Unavailable: it ended at once; its last words are in the message.
        """
        self.launch()
        await self.listening()
        self.supervised = True

    async def listening(self) -> None:
        """Wait until its control port answers.

        Raises:
            Unavailable: it ended, or does not get there.
        """
        deadline = time.monotonic() + _LISTENING_S
        while True:
            try:
                async with self.control() as connection:
                    await connection.info("process/pid")
                    return
            except control.ControlError:
                self.require_running()
                if time.monotonic() > deadline:
                    raise Unavailable(f"{self.name} runs but does not listen; see {self.log_path}") from None
                await asyncio.sleep(0.02)

    def require_running(self) -> None:
        """Do nothing while it runs.

        Raises:
            Unavailable: it does not; its last words are in the message.
        """
        if self._process is None:
            raise Unavailable(f"{self.name} ended: {self.last_words()} (see {self.log_path})")

    def pause(self) -> None:
        """Freeze it (SIGSTOP): it is there, and answers nothing.

        Raises:
            Conflict: it does not run.
        """
        self._send(signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """Let it go on (SIGCONT).

        Raises:
            Conflict: it does not run.
        """
        self._send(signal.SIGCONT)
        self._paused = False

    async def kill(self) -> None:
        """End it at once (SIGKILL), until `start`; nothing to do when it does not run."""
        self.supervised = False
        self._cancel_restart()
        if self._process is not None:
            self._process.kill()
            await self._ended.wait()

    def crash(self) -> None:
        """End it at once, as if by accident: it comes back by itself."""
        if self._process is not None:
            self._process.kill()

    def ask_to_end(self) -> None:
        """Tell it to write its state and end; `gone` waits for that."""
        self.supervised = False
        self._cancel_restart()
        if self._process is not None:
            self._process.terminate()
            # One that is paused hears nothing before that.
            self._process.send_signal(signal.SIGCONT)

    async def gone(self) -> None:
        """Wait until it ended; after five seconds it is killed."""
        if self._process is None:
            return
        try:
            async with asyncio.timeout(_ENDING_S):
                await self._ended.wait()
        except TimeoutError:
            await self.kill()

    def _send(self, number: signal.Signals) -> None:
        if self._process is None:
            raise Conflict(f"{self.name} does not run")
        self._process.send_signal(number)

    def _reap(self) -> None:
        if self._process is None:
            return
        code = self._process.wait()
        self._process, self._paused = None, False
        self._ended.set()
        if self.supervised:
            if time.monotonic() - self._since >= STEADY_S:
                self._delay_s = FIRST_DELAY_S
            get_logger().warning(
                "lab.node_died", node=self.name, exit_code=code, again_in_s=self._delay_s, said=self.last_words()
            )
            self._restart_later()

    def _restart_later(self) -> None:
        self._again = asyncio.get_running_loop().call_later(self._delay_s, self._restart)
        self._delay_s = min(self._delay_s * 2, LAST_DELAY_S)

    def _restart(self) -> None:
        self._again = None
        try:
            self.launch()
        except Unavailable as error:
            get_logger().error("lab.node_not_started", node=self.name, error=error.message, again_in_s=self._delay_s)
            self._restart_later()
        else:
            self.restarts += 1
            get_logger().info("lab.node_restarted", node=self.name, pid=self.pid, restarts=self.restarts)

    def _cancel_restart(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None

    def last_words(self) -> str:
        """The last two errors or warnings of its log, or else its last line."""
        try:
            lines = self.log_path.read_text(errors="replace").splitlines()[-20:]
        except OSError:
            return "it said nothing"
        worst = [line for line in lines if re.search(r"\[(err|warn)\]", line)]
        return " / ".join(worst[-2:] or lines[-1:] or ["it said nothing"])


class Client(Node):
    """The tor that programs use: its SOCKS ports isolate by user, its control port publishes onions."""

    def __init__(self, name: str, directory: Path, socks_directory: Path, spawn: Spawn) -> None:
        super().__init__(name, Role.CLIENT, directory, spawn)
        self.socks_path = socks_directory / "socks"
        """SOCKS5 on a Unix socket, in a directory of mode 0700."""
        self.socks_port = 0
        """SOCKS5 on 127.0.0.1."""
        self.control_port = 0
        """On 127.0.0.1; the Unix socket is `control_path`, the cookie for both `cookie_path`."""

    def settle(self, plan: Plan) -> None:
        """Take the ports that the plan gives it."""
        self.socks_port, self.control_port = plan.socks_port, plan.control_port
        self.address, self.or_port = "127.0.0.1", 0


def on_end(pid: int, call: Callable[[], None]) -> Callable[[], None]:
    """Have `call` called once by the running loop when the child `pid` ended; returns what calls it off.

    By a pidfd, which works in every loop and needs no handler of SIGCHLD. It is for `call` to reap the child.
    """
    loop = asyncio.get_running_loop()
    fd = os.pidfd_open(pid)

    def forget() -> None:
        loop.remove_reader(fd)
        os.close(fd)

    def ended() -> None:
        forget()
        call()

    loop.add_reader(fd, ended)
    return forget
