"""The home of one node: its directories, its network, its settings file, and who is running it."""

import contextlib
import errno
import fcntl
import json
import os
import shlex
import struct
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lucid_tron_console.tor_way import OFF, TorWay
from services.kit.errors import Conflict, Invalid, Unavailable

SERVICES = ("devnet", "wallet", "tron", "payout")
"""The daemons that a node can have, in the order in which they are started."""

SOCKET_PATH_MAX = 107
"""Bytes in the path of a Unix socket (unix(7): 108 with the closing zero)."""

_FLOCK = struct.Struct("@hhqqi4x")
"""struct flock of fcntl(2) on 64-bit Linux: type, whence, start, length, pid."""


def state_root() -> Path:
    """The XDG state directory of this user.

    Raises:
        Invalid: the user has no home directory.
    """
    try:
        return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    except RuntimeError as error:
        raise Invalid("this user has no home directory: say --home, or set LUCID_HOME", field="home") from error


def default_home() -> Path:
    """`LUCID_HOME`, else `lucid-tron` in the XDG state directory."""
    return Path(os.environ.get("LUCID_HOME") or state_root() / "lucid-tron")


def demo_home() -> Path:
    """`LUCID_HOME`, else a home of its own, so that a demo never meets real wallets."""
    return Path(os.environ.get("LUCID_HOME") or state_root() / "lucid-tron-demo")


@dataclass(frozen=True, slots=True)
class ServiceRun:
    """One daemon under the node's supervisor."""

    pid: int | None
    """None while it waits to be started again."""
    restarts: int
    """How often it died and was started again since the node came up."""
    started_at: float | None
    """Unix time of its last start."""


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What `node.json` says; the pids in it mean something only while the lock is held."""

    network: str | None = None
    """The network that this home belongs to; None until the first `up`."""
    pid: int | None = None
    """The supervisor."""
    devnet_ports: tuple[int, ...] = ()
    """Ports of the home's own devnet, kept from run to run."""
    services: dict[str, ServiceRun] = field(default_factory=dict)
    tor: TorWay = OFF
    """How this home's node gets out; kept from run to run."""

    @property
    def devnet_urls(self) -> tuple[str, ...]:
        """The devnet's endpoints: several views of one chain, each with faults of its own."""
        return tuple(f"http://127.0.0.1:{port}" for port in self.devnet_ports)

    @property
    def devnet_url(self) -> str | None:
        """The first endpoint of the home's devnet."""
        return self.devnet_urls[0] if self.devnet_ports else None

    def to_json(self) -> str:
        """Write as `node.json` has it."""
        services = {
            name: {"pid": run.pid, "restarts": run.restarts, "started_at": run.started_at}
            for name, run in self.services.items()
        }
        body = {
            "network": self.network,
            "pid": self.pid,
            "devnet_url": self.devnet_url,
            "devnet_urls": list(self.devnet_urls),
            "devnet_ports": list(self.devnet_ports),
            "tor": self.tor.to_json(),
            "services": services,
        }
        return json.dumps(body, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        try:
            body: dict[str, Any] = json.loads(text)
            services = {
                str(name): ServiceRun(
                    _a(run["pid"], int, None), _a(run["restarts"], int), _a(run["started_at"], float, int, None)
                )
                for name, run in body["services"].items()
            }
            ports = tuple(_a(port, int) for port in body["devnet_ports"])
            tor = TorWay.from_json(body.get("tor"))
            return cls(_a(body["network"], str, None), _a(body["pid"], int, None), ports, services, tor)
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise ValueError(f"not a node.json: {error}") from error


def _a(value: Any, *kinds: type | None) -> Any:
    """Take a value of one of these types as it is (None for null).

    Raises:
        TypeError: it is of another.
    """
    if type(value) not in {type(None) if kind is None else kind for kind in kinds}:
        raise TypeError(f"{value!r} is not what stands there")
    return value


@dataclass(frozen=True, slots=True)
class Home:
    """The directory that holds everything of one node."""

    path: Path
    """Absolute."""
    run_dir: Path
    """One directory per service, each with its socket; `run` in the home unless `LUCID_RUN_DIR` says otherwise."""

    @classmethod
    def at(cls, path: Path, run_dir: Path | None = None) -> Self:
        """Take a directory as a home; `LUCID_RUN_DIR` counts unless `run_dir` is given."""
        home = path.expanduser().absolute()
        run_dir = run_dir or Path(os.environ.get("LUCID_RUN_DIR") or home / "run")
        return cls(home, run_dir.expanduser().absolute())

    @property
    def log_dir(self) -> Path:
        """One log per service, and `node.log` of a detached node."""
        return self.path / "log"

    @property
    def env_file(self) -> Path:
        """Settings, with the variable names of the environment."""
        return self.path / "lucid.env"

    @property
    def lock_file(self) -> Path:
        """Locked for as long as a node runs here; the kernel lets go when its process ends, however it ends."""
        return self.path / "run" / "node.lock"

    def socket(self, service: str) -> Path:
        """Path of a service's socket."""
        return self.run_dir / service / f"{service}.sock"

    def log(self, service: str) -> Path:
        """Path of a service's log."""
        return self.log_dir / f"{service}.log"

    def command(self, words: str) -> str:
        """Write a command of ours for people to copy; it names the home unless that is the one taken anyway."""
        with contextlib.suppress(Invalid):
            if self.path == Home.at(default_home()).path:
                return f"lucid-tron {words}"
        return shlex.join(["lucid-tron", *words.split(), "--home", str(self.path)])

    def devnet_dir(self) -> Path:
        """Where the home's devnet keeps its chain."""
        return self.path / "state" / "devnet"

    def check(self) -> None:
        """Refuse a home whose sockets could not be bound.

        Raises:
            Invalid: the path is too long for a Unix socket.
        """
        longest = max((self.socket(name) for name in SERVICES), key=lambda path: len(os.fsencode(path)))
        length = len(os.fsencode(longest))
        if length > SOCKET_PATH_MAX:
            raise Invalid(
                f"the home's path is {length - SOCKET_PATH_MAX} bytes too long for a Unix socket "
                f"({longest} has {length}, {SOCKET_PATH_MAX} are possible): choose a shorter --home",
                field="home",
            )

    def prepare(self) -> None:
        """Make the directories.

        Raises:
            Invalid: a path is too long, or something there cannot be made or written.
        """
        self.check()
        try:
            for path, mode in (
                (self.path, 0o750),
                (self.run_dir, 0o750),
                (self.lock_file.parent, 0o750),
                (self.log_dir, 0o750),
                (self.path / "state", 0o700),
            ):
                path.mkdir(mode=mode, parents=path == self.path, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise Invalid(
                f"the home {self.path} cannot be used ({error.strerror}: {error.filename or self.path}): "
                "choose another --home, or make it yours",
                field="home",
            ) from error

    def record(self) -> NodeRecord:
        """Read `node.json`; an empty record if there is none yet.

        Raises:
            Invalid: the file is there and is not ours.
        """
        path = self.path / "node.json"
        try:
            return NodeRecord.from_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return NodeRecord()
        except NotADirectoryError as error:
            raise Invalid(f"the home {self.path} is no directory: choose another --home", field="home") from error
        except PermissionError as error:
            raise Invalid(f"{path} cannot be read ({error.strerror}): is this home yours?", field="home") from error
        except (OSError, ValueError) as error:
            raise Invalid(f"{path} cannot be read ({error}): put it back, or remove it", field="home") from error

    def write_record(self, record: NodeRecord) -> None:
        """Replace `node.json` in one step: a reader sees the old or the new one, never a half."""
        path = self.path / "node.json"
        draft = path.with_suffix(".json.new")
        draft.write_text(record.to_json(), encoding="utf-8")
        draft.replace(path)

    def holder(self) -> int | None:
        """Pid of the process that runs this home's node, as the kernel knows it; None if nobody does.

        Not for that process itself: closing the file here would take its lock away.
        """
        try:
            fd = os.open(self.lock_file, os.O_RDWR)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Invalid(f"{self.lock_file} cannot be opened ({error.strerror}): is this home yours?") from error
        try:
            answer = fcntl.fcntl(fd, fcntl.F_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        finally:
            os.close(fd)
        kind, _, _, _, pid = _FLOCK.unpack(answer)
        return None if kind == fcntl.F_UNLCK else int(pid)

    def require_running(self) -> NodeRecord:
        """Read the record of a node that runs.

        Raises:
            Unavailable: it does not.
        """
        if self.holder() is None:
            raise self.not_running()
        return self.record()

    def not_running(self) -> Unavailable:
        """Say that no node runs here, and how to start it."""
        return Unavailable(f"the node of {self.path} is not running: start it with `{self.command('up')}`")


class NodeLock:
    """Held by the one process that runs a home's node.

    A POSIX record lock and not flock(2): the kernel tells a stranger the holder's pid, so that no stale
    number in a file can ever be taken for a running node. It is not inherited by children.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._fd = -1

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            Conflict: another process has it.
        """
        self._fd = os.open(self._home.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            if error.errno not in {errno.EACCES, errno.EAGAIN}:
                raise
            raise Conflict(f"a node is already running in {self._home.path}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go."""
        os.close(self._fd)
