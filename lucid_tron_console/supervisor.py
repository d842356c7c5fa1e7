"""Keeps the daemons of a home running: they are restarted when they die, and die with the supervisor."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from lucid_tron_console.home import Home, NodeRecord, ServiceRun
from lucid_tron_console.probe import health

STOP_GRACE_S = 10.0
"""What a daemon gets to finish its work after SIGTERM; the store survives SIGKILL too."""

FIRST_DELAY_S, LAST_DELAY_S = 0.25, 10.0
"""A daemon that died is started again after the first delay, doubled each time up to the last."""

STEADY_S = 20.0
"""A daemon that lived this long starts again with the first delay."""

PATIENCE_S, SAY_AGAIN_S = 5.0, 30.0
"""A service that is not ready after the first says why, and says it again when that changed, after the second."""

HOME_LOOK_S = 15.0
"""How often a supervisor looks whether its home is still there."""

LOG_BYTES = 16 * 1024 * 1024
"""A log larger than this is moved to `.1` when its daemon is started."""

_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when its parent dies."""


@dataclass(frozen=True, slots=True)
class Command:
    """How one daemon is started."""

    service: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    """Its whole environment. Never a secret: those come from files."""
    after: str = ""
    """It is first started when this other service was ready; empty: at once."""
    stdout: Path | None = None
    """Where its stdout goes, emptied at each start; None: into its log, as stderr does."""


@dataclass(slots=True)
class _Child:
    """One daemon as the supervisor keeps it."""

    command: Command
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    started_at: float | None = None
    """Unix time, for people."""
    alive_since: float = 0.0
    """Monotonic seconds."""
    start_at: float = 0.0
    """Monotonic time of the next start."""
    delay_s: float = FIRST_DELAY_S
    said: str = ""
    """Why it is not ready, as it was told last."""
    say_at: float = 0.0
    """Monotonic time from which on that may be told again."""

    def put_off(self) -> None:
        """Start it again after a pause, which is longer the next time."""
        self.start_at = time.monotonic() + self.delay_s
        self.delay_s = min(self.delay_s * 2, LAST_DELAY_S)

    def run(self) -> ServiceRun:
        """Show it as `node.json` does."""
        return ServiceRun(self.process.pid if self.process else None, self.restarts, self.started_at)


@dataclass(slots=True)
class Supervisor:
    """Keeps the daemons of a home running until it is told to stop.

    It blocks its signals and takes them one by one with sigtimedwait(2): no handler, no thread, no race between a
    child's death and a stop. It must run in the main thread of its process, and holds the home's lock while it runs.
    """

    home: Home
    record: NodeRecord
    """Network and ports; the services in it are filled in here."""
    commands: Sequence[Command]
    tell: Callable[[str], None]
    """Gets a line for people when something changes."""
    _children: list[_Child] = field(default_factory=list)
    _ready: set[str] = field(default_factory=set)

    def run(self) -> None:
        """Start everything, restart what dies, and return after SIGINT, SIGTERM or SIGHUP with everything stopped."""
        wanted = {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
        try:
            self._children = [_Child(command) for command in self.commands]
            self._watch(wanted)
        finally:
            self._stop()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _watch(self, wanted: set[signal.Signals]) -> None:
        while True:
            self._start_due()
            info = signal.sigtimedwait(wanted, self._pause_s())
            if info is not None and info.si_signo != signal.SIGCHLD:
                self.tell(f"{signal.Signals(info.si_signo).name}: stopping")
                return
            self._reap()
            self._announce()
            if self._is_homeless():
                self.tell(f"{self.home.path} was removed: stopping")
                return

    def _start_due(self) -> None:
        now = time.monotonic()
        due = [one for one in self._children if one.process is None and one.start_at <= now and not self._waits(one)]
        for child in due:
            try:
                child.process = self._spawn(child.command)
            except OSError as error:
                # No memory, no descriptors, no disk: the others must not go down with this one.
                self.tell(f"{child.command.service} cannot be started ({error.strerror}); again in {child.delay_s:g} s")
                child.put_off()
                continue
            child.started_at, child.alive_since = time.time(), time.monotonic()
        if due:
            self._publish()

    def _waits(self, child: _Child) -> bool:
        return bool(child.command.after) and child.command.after not in self._ready

    def _spawn(self, command: Command) -> subprocess.Popen[bytes]:
        path = self.home.log(command.service)
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as log, command.stdout.open("wb") if command.stdout else nullcontext(log) as out:
            return subprocess.Popen(
                command.argv,
                env=dict(command.env),
                cwd=self.home.path,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                # ^C in the terminal is for the supervisor alone: it stops them in order.
                process_group=0,
                # One thread only in this process, so nothing can hold a lock across the fork.
                preexec_fn=_die_with_parent(os.getpid()),  # noqa: PLW1509
            )

    def _pause_s(self) -> float:
        now = time.monotonic()
        due = [child for child in self._children if child.process is None and not self._waits(child)]
        pauses = [max(0.0, child.start_at - now) for child in due]
        pauses += [
            0.1 if now - child.alive_since < STEADY_S else 2.0
            for child in self._children
            if child.process is not None and child.command.service not in self._ready
        ]
        # When everything was ready once it sleeps until something happens, but for a look at its home.
        return min([*pauses, HOME_LOOK_S])

    def _reap(self) -> None:
        for child in self._children:
            if child.process is None or child.process.poll() is None:
                continue
            code = child.process.returncode
            if time.monotonic() - child.alive_since >= STEADY_S:
                child.delay_s = FIRST_DELAY_S
            child.process, child.restarts = None, child.restarts + 1
            self.tell(f"{child.command.service} {_ended(code)}; starting it again in {child.delay_s:g} s")
            child.put_off()
            self._publish()

    def _announce(self) -> None:
        for child in self._children:
            name = child.command.service
            if name in self._ready or child.process is None:
                continue
            found = health(self.home, self.record, name, 0.5)
            if found.state == "ready":
                self._ready.add(name)
                self.tell(f"{name} is ready")
            elif found.state == "not ready":
                self._say_why(child, found.detail)

    def _say_why(self, child: _Child, why: str) -> None:
        """Tell why a service is not ready yet, when it takes long, and now and then when that changes."""
        now = time.monotonic()
        if why != child.said and now - child.alive_since > PATIENCE_S and now >= child.say_at:
            child.said, child.say_at = why, now + SAY_AGAIN_S
            self.tell(f"{child.command.service} is not ready: {why}")

    def _is_homeless(self) -> bool:
        """Whether somebody removed the home: then nobody could ever find this node to stop it."""
        try:
            self.home.lock_file.lstat()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return False

    def _publish(self) -> None:
        services = {child.command.service: child.run() for child in self._children}
        self.record = replace(self.record, pid=os.getpid(), services=services)
        self._write(self.record)

    def _write(self, record: NodeRecord) -> None:
        """Write `node.json`; on a full disk the node goes on without it."""
        try:
            self.home.write_record(record)
        except OSError as error:
            self.tell(f"node.json cannot be written: {error.strerror}")

    def _stop(self) -> None:
        living = [child.process for child in reversed(self._children) if child.process]
        for process in living:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + STOP_GRACE_S
        for process in living:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._write(replace(self.record, pid=None, services={}))
        self.tell("stopped")


def _die_with_parent(parent: int) -> Callable[[], None]:
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        # SIGKILL: a daemon without its supervisor must not outlive it and hold the sockets of the next one.
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)  # the parent died between fork and prctl

    return prepare


def _ended(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
