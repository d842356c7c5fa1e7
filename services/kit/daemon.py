"""A daemon: a table of routes on a Unix socket, from start-up to a clean end.

`run` reads top to bottom: bind the socket → start what the service needs → say that it is ready → serve until SIGTERM →
finish what is in flight → stop what was started.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import uvicorn
import uvloop
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from services.kit import directory, log, openapi
from services.kit import metrics as kit_metrics
from services.kit.clock import Clock, SystemClock
from services.kit.errors import Conflict, LucidError, Malformed, TooLarge, Unavailable
from services.kit.events import EventBus
from services.kit.http import PEER, TRANSPORT, Call, Endpoint, Raw, begin, not_allowed, problem, respond, router
from services.kit.metrics import Metrics
from services.kit.models import Checks, Health, Live, Status
from services.kit.peer import peer_of

SOCKET_MODE = 0o660
DIRECTORY_MODE = 0o750
LONGEST_SOCKET_PATH = 107
"""Bytes that `sun_path` holds, without its final zero (unix(7))."""

KEEP_ALIVE_S = 60
"""How long a quiet connection stays open. Longer than clients keep theirs (aiohttp: 15 s), so that none sends a request
into a connection that is being closed: it would not know whether the request was carried out."""

GRACE_S = 5
"""How long requests in flight may take when the daemon is asked to stop."""

MOST_HEAD_BYTES = 64 * 1024
"""What a request's line and headers may come to."""

Hook = Callable[[], Awaitable[None]]


async def _all_well() -> Checks:
    return {}


@dataclass
class Service:
    """What a daemon serves."""

    name: str
    """As in `python -m services.<name>`; also the name of its socket and its directory."""
    summary: str
    """One sentence."""
    version: str
    endpoints: Sequence[Endpoint]
    metrics: Metrics
    bus: EventBus = field(default_factory=EventBus)
    on_start: Sequence[Hook] = ()
    """Run in order before the first request; what raises ends the daemon with its words."""
    on_stop: Sequence[Hook] = ()
    """Run in order after the last request, each even if the one before failed."""
    ready: Callable[[], Awaitable[Checks]] = _all_well
    """Every dependency with `ok` or words; ready means all are `ok`."""
    details: Callable[[], dict[str, Any]] = dict
    """More for `/status`; must be JSON."""
    clock: Clock = field(default_factory=SystemClock)


class _Gathering:
    """A transport that can gather what is written: an answer's head and content then leave in one system call.

    Everything else is the transport's own.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._gathered: list[bytes] | None = None
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def gather(self) -> None:
        """Hold back what is written from now on."""
        self._gathered = []

    def flush(self) -> None:
        """Write what was held back, and hold back no more."""
        gathered, self._gathered = self._gathered, None
        if gathered:
            self._transport.write(b"".join(gathered))

    def write(self, data: bytes) -> None:
        """Write, or hold back."""
        if self._gathered is None:
            self._transport.write(data)
        else:
            self._gathered.append(data)

    def close(self) -> None:
        """Close, once all that was written is sent."""
        self.flush()
        self._transport.close()


class _PeerProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with the caller's credentials in every request's scope and an end to endless headers."""

    _unframed = 0
    """Bytes since the last complete head that are no body: headers under way, or what stands around chunks."""
    _last_cycle: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # uvicorn copies `app_state` into the `state` of every request's scope.
        gathering = _Gathering(transport)
        self.transport = cast("asyncio.Transport", gathering)
        self.app_state = {PEER: peer_of(transport.get_extra_info("socket")), TRANSPORT: gathering}

    def data_received(self, data: bytes) -> None:
        self._unframed += len(data)
        super().data_received(data)
        if self.cycle is not self._last_cycle:  # a head was completed
            self._last_cycle = self.cycle
            self._unframed = 0
        elif self._unframed > MOST_HEAD_BYTES:
            self._refuse(TooLarge(f"the head of the request is larger than {MOST_HEAD_BYTES:,} bytes"))

    def on_body(self, body: bytes) -> None:
        self._unframed -= len(body)
        super().on_body(body)

    def send_400_response(self, _msg: str) -> None:
        self._refuse(Malformed("this is no HTTP request"))

    def _refuse(self, error: LucidError) -> None:
        """Answer what cannot be routed, unless another answer is under way, and close the connection."""
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            answer = problem(error)
            head = f"content-type: {answer.content_type}\r\ncontent-length: {len(answer.content)}\r\nconnection: close"
            self.transport.write(STATUS_LINE[answer.status] + head.encode() + b"\r\n\r\n" + answer.content)
        self.transport.close()


class _Server(uvicorn.Server):
    """uvicorn's server; signals are the daemon's business, which may hold several."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _BuiltIn:
    """The routes that every service has."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._started_at = service.clock.now()
        self._started = service.clock.monotonic()

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("GET", "/health", self.health, response=Health, summary="Whether it can do its work"),
            Endpoint("GET", "/health/live", self.live, response=Live, summary="Whether it answers at all"),
            Endpoint(
                "GET", "/health/ready", self.readiness, response=Health, summary="200 when it can, 503 when it cannot",
                errors=(Unavailable,),
            ),
            Endpoint("GET", "/status", self.status, response=Status, summary="What runs here, and how it is"),
            Endpoint(
                "GET", "/metrics", self.metrics, summary="Prometheus text", content_type=kit_metrics.CONTENT_TYPE
            ),
            Endpoint("GET", "/openapi.json", self.openapi, summary="This document"),
        ]  # fmt: skip

    async def _health(self) -> Health:
        checks = await self._service.ready()
        well = all(word == "ok" for word in checks.values())
        return Health(status="ok" if well else "degraded", checks=checks)

    async def health(self, _call: Call) -> Health:
        return await self._health()

    async def live(self, _call: Call) -> Live:
        return Live()

    async def readiness(self, _call: Call) -> Health:
        health = await self._health()
        if health.status != "ok":
            wrong = {name: word for name, word in health.checks.items() if word != "ok"}
            words = "; ".join(f"{name}: {word}" for name, word in wrong.items())
            raise Unavailable(f"{self._service.name} is not ready: {words}", checks=health.checks)
        return health

    async def status(self, _call: Call) -> Status:
        health = await self._health()
        return Status(
            service=self._service.name,
            version=self._service.version,
            pid=os.getpid(),
            started_at=self._started_at,
            uptime_s=int(self._service.clock.monotonic() - self._started),
            status=health.status,
            checks=health.checks,
            details=self._service.details(),
        )

    async def metrics(self, _call: Call) -> Raw:
        return Raw(self._service.metrics.text(), kit_metrics.CONTENT_TYPE)

    async def openapi(self, _call: Call) -> Raw:
        document = openapi.document(
            self._service.name, self._service.version, self._service.summary, table(self._service)
        )
        return Raw(json.dumps(document).encode(), "application/json")


class _Stream:
    """`/events`: the service's events, as Server-Sent Events."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begin(scope)
        if scope["method"] != "GET":
            await respond(scope, send, not_allowed(scope["path"], ["GET"]))
            return
        headers = dict(scope["headers"])
        last = headers.get(b"last-event-id")
        start = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": start})
        chunks = self._service.bus.stream(last.decode("latin-1") if last else None)
        writing = asyncio.create_task(self._write(chunks, send))
        leaving = asyncio.create_task(_until_disconnect(receive))
        with self._service.metrics.subscribers.track_inprogress():
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        for task in (writing, leaving):
            task.cancel()
        await asyncio.gather(writing, leaving, return_exceptions=True)

    async def _write(self, chunks: AsyncIterator[bytes], send: Send) -> None:
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def table(service: Service) -> list[Endpoint]:
    """All rows of a service: those that every service has, and its own."""
    return [*service.endpoints, *_BuiltIn(service).endpoints()]


def application(service: Service) -> Any:
    """Make the ASGI application of a service."""
    return router(table(service), service.metrics, [Route("/events", _Stream(service))])


@contextlib.contextmanager
def bound_socket(path: Path) -> Iterator[socket.socket]:
    """Bind a Unix socket, mode 0660 in a directory of mode 0750, and remove it in the end.

    A lock beside it says whether a daemon lives; the file of a dead one is removed, a live one is left in peace.

    Raises:
        Conflict: a daemon serves this socket already, or the path is something else.
        Unavailable: the path is too long for a socket, cannot be written, or others can write there too.
    """
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise Unavailable(
            f"{path} is too long for a Unix socket (over {LONGEST_SOCKET_PATH} bytes): use a shorter home"
        )
    with _lock(path):
        _remove_dead(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            # Linux makes the file with the socket's own mode, less the umask: too narrow for a moment, never too wide.
            os.fchmod(listener.fileno(), SOCKET_MODE)
            try:
                listener.bind(str(path))
                path.chmod(SOCKET_MODE)
            except OSError as error:
                raise Unavailable(f"{path} cannot be made: {error.strerror}") from error
            listener.setblocking(False)
            with _removed_in_the_end(path):
                yield listener


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Make the socket's directory if it is missing, and keep others from this socket while the block runs."""
    try:
        directory.make(path.parent, DIRECTORY_MODE)
        if unsafe := directory.why_unsafe(path.parent):
            raise Unavailable(unsafe)
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Unavailable(f"{path.parent} cannot be written: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"{path} is served by another process: it was left in peace") from None
        yield
    finally:
        os.close(lock)


@contextlib.contextmanager
def _removed_in_the_end(path: Path) -> Iterator[None]:
    """Remove the file that is there now, and no other that may have taken its place meanwhile."""
    ours = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)  # while it is open, its inode is not used again
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(ours), path.lstat()):
                path.unlink()
        os.close(ours)


def _remove_dead(path: Path) -> None:
    """Remove the socket of a daemon that died; refuse when somebody listens, or when it is no socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Conflict(f"{path} exists and is no socket: move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
        except OSError as error:
            raise Conflict(f"{path} is held by something that does not answer: {error}") from error
        else:
            raise Conflict(f"{path} is served by another process: it was left in peace")


def notify(state: str) -> None:
    """Tell systemd (sd_notify(3)): READY=1, STOPPING=1, WATCHDOG=1. Does nothing without NOTIFY_SOCKET."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    target = f"\0{address[1:]}" if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(state.encode(), target)


@contextlib.asynccontextmanager
async def serving(service: Service, path: Path) -> AsyncIterator[None]:
    """Serve one service on a socket while the block runs."""
    with bound_socket(path) as listener:
        started: list[Hook] = list(service.on_stop)
        try:
            for hook in service.on_start:
                await hook()
            config = uvicorn.Config(
                application(service),
                http=_PeerProtocol,
                interface="asgi3",
                proxy_headers=False,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
                backlog=512,
            )
            server = _Server(config)
            task = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                while not server.started:
                    if task.done():
                        task.result()
                        raise Unavailable(f"{path} could not be served")
                    await asyncio.sleep(0.002)
                log.get_logger().info("service.ready", socket=str(path), pid=os.getpid())
                yield
            finally:
                service.bus.close()
                server.should_exit = True
                await task
        finally:
            for hook in started:
                try:
                    await hook()
                except Exception:  # noqa: BLE001 - the others must still stop
                    log.get_logger().exception("service.stop_failed", service=service.name)


async def run(services: Sequence[tuple[Service, Path]]) -> None:
    """Serve until SIGTERM or SIGINT, telling systemd when all are ready and when they stop.

    A signal that comes while a service starts breaks its start off.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        if await _started(stack, services, stop):
            notify("READY=1")
            watchdog = asyncio.create_task(_feed_watchdog())
            await stop.wait()
            watchdog.cancel()
        notify("STOPPING=1")
        log.get_logger().info("service.stopping")


async def _started(
    stack: contextlib.AsyncExitStack, services: Sequence[tuple[Service, Path]], stop: asyncio.Event
) -> bool:
    """Start services until all run; False if it was told to stop before."""

    async def start() -> None:
        for service, path in services:
            await stack.enter_async_context(serving(service, path))

    starting, stopping = asyncio.create_task(start()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        starting.cancel()  # does nothing when it is done
    try:
        await starting
    except asyncio.CancelledError:
        return False
    return True


async def _feed_watchdog() -> None:
    """Show systemd that the loop turns, at half the interval that it asks of this process (sd_watchdog_enabled(3))."""
    interval, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not interval.isdecimal() or int(interval) == 0 or pid not in {"", str(os.getpid())}:
        return
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(int(interval) / 2_000_000)


def main(*services: tuple[Service, Path]) -> int:
    """Run daemons in this process and return its exit code: 0 after SIGTERM, 1 when one could not start."""
    try:
        uvloop.run(run(services))
    except LucidError as error:
        log.get_logger().error("service.failed", reason=error.message)
        print(error.message, file=sys.stderr)  # noqa: T201 - for the person who started it
        return 1
    return 0
