"""The base of every typed client: one long-lived connection pool to a daemon's socket, and only our errors come out."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import BaseModel, ValidationError

from services.kit import log
from services.kit.errors import LucidError, Timeout, Unavailable, UpstreamError, from_problem
from services.kit.events import RESET, Event
from services.kit.models import Health, Status

M = TypeVar("M", bound=BaseModel)

PING = "ping"
"""Name of the event that a client makes of a heartbeat: the daemon lives, and nothing happened."""

STREAM_SILENCE_S = 15.0
"""Heartbeats come every 5 s: after three missed ones a stream counts as dead."""

_CONNECTIONS = 64


class Client:
    """Calls one daemon; subclasses name the calls. Make it once and keep it; `close` it in the end.

    Every method raises our errors and no others: the daemon's own, and
        Unavailable: the daemon does not run, or the connection broke.
        Timeout: no answer in time; what was asked may have happened.
        UpstreamError: the answer is not what this version understands.
    """

    def __init__(self, socket_path: Path | str, service: str, timeout_s: float = 10.0) -> None:
        """Reach `service` (the name in errors) at its socket; nothing is opened before the first call."""
        self._path = str(socket_path)
        self._service = service
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _get(self, path: str, model: type[M], params: Mapping[str, Any] | BaseModel | None = None) -> M:
        """Read something; safe to repeat."""
        return await self.request("GET", path, model, params=params)

    async def _post(
        self, path: str, model: type[M], body: BaseModel | None = None, timeout_s: float | None = None
    ) -> M:
        """Do something, or ask with a body."""
        return await self.request("POST", path, model, body=body, timeout_s=timeout_s)

    async def health(self) -> Health:
        """Whether the daemon can do its work; a daemon that cannot still answers."""
        return await self._get("/health", Health)

    async def status(self) -> Status:
        """What runs there."""
        return await self._get("/status", Status)

    async def request(
        self,
        method: str,
        path: str,
        model: type[M],
        *,
        body: BaseModel | None = None,
        params: Mapping[str, Any] | BaseModel | None = None,
        timeout_s: float | None = None,
    ) -> M:
        """Send one request and read its answer as `model`. It is never repeated here: the caller knows what is safe."""
        headers = {log.CORRELATION_HEADER: log.correlation_id.get() or log.new_correlation_id()}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = _reveal(body)
        try:
            async with self._open().request(
                method,
                f"http://{self._service}{path}",
                params=_query(params),
                data=data,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=timeout_s or self._timeout_s),
                allow_redirects=False,
            ) as response:
                content = await response.read()
        except TimeoutError:
            raise Timeout(f"{self._service} did not answer within {timeout_s or self._timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(error) from None
        return self._read(response.status, content, model)

    async def events(self, last_event_id: str | None = None) -> AsyncIterator[Event]:
        """Yield what happens, after `last_event_id` or from now on; `ping` for every heartbeat, the first at once.

        Ends by raising Unavailable when the daemon stops or falls silent: come back with the last id. UpstreamError
        means an event that cannot be read: come back without an id, for after it would come the same one again.
        """
        headers = {"Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout_s, sock_read=STREAM_SILENCE_S)
        try:
            async with self._open().get(f"http://{self._service}/events", headers=headers, timeout=timeout) as response:
                if response.status != 200:
                    raise UpstreamError(f"{self._service} does not stream events: HTTP status {response.status}")
                async for event in _parse_stream(response.content):
                    yield event
        except TimeoutError:
            raise Unavailable(f"{self._service} fell silent for {STREAM_SILENCE_S:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(error) from None
        except (
            ValueError,
            HttpProcessingError,
        ) as error:  # bytes that are no UTF-8, or a line longer than aiohttp reads
            raise UpstreamError(f"{self._service} sent an event that cannot be read: {type(error).__name__}") from None
        raise Unavailable(f"{self._service} ended the stream")

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.UnixConnector(path=self._path, limit=_CONNECTIONS)
            self._session = aiohttp.ClientSession(connector=connector, trust_env=False)
        return self._session

    def _unavailable(self, error: Exception) -> Unavailable:
        if isinstance(error, aiohttp.ClientConnectorError | FileNotFoundError | ConnectionRefusedError):
            if isinstance(getattr(error, "os_error", error), PermissionError):
                return Unavailable(f"{self._service}: this user may not open {self._path}: join the group of the node")
            return Unavailable(f"{self._service} does not run: nothing answers at {self._path}")
        return Unavailable(f"{self._service}: the connection broke: {error or type(error).__name__}")

    def _read(self, status: int, content: bytes, model: type[M]) -> M:
        if status >= 300:
            try:
                body = json.loads(content)
            except ValueError:
                body = None
            raise from_problem(status, body)
        try:
            return model.model_validate_json(content or b"{}")
        except ValidationError as error:
            raise UpstreamError(
                f"{self._service} answered what this version does not understand ({error.error_count()} findings): "
                "run the same version on both sides"
            ) from None


def _reveal(body: BaseModel) -> bytes:
    """Write a body as JSON; the secrets in it are meant for the other side, and only here they are written out."""
    return json.dumps(_plain(body.model_dump(mode="python")), separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    if hasattr(value, "get_secret_value"):
        return value.get_secret_value()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


def _query(params: Mapping[str, Any] | BaseModel | None) -> dict[str, str]:
    values = params.model_dump(mode="json") if isinstance(params, BaseModel) else dict(params or {})
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in values.items()
        if value is not None
    }


async def _parse_stream(content: aiohttp.StreamReader) -> AsyncIterator[Event]:
    """Read Server-Sent Events (the WHATWG's event stream format) as far as our daemons write them."""
    fields: dict[str, str] = {}
    async for raw in content:
        line = raw.decode().rstrip("\r\n")
        if line.startswith(":"):
            yield Event("", PING, "{}")
        elif line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif fields:
            yield Event(fields.get("id", ""), fields.get("event", "message"), fields.get("data", ""))
            fields = {}


async def follow(
    client: Client,
    retry_s: float = 0.5,
    most_s: float = 15.0,
    *,
    wait: Callable[[LucidError], Awaitable[object]] | None = None,
) -> AsyncIterator[Event]:
    """Yield a daemon's events for ever: reconnects with growing pauses, and a `reset` tells when something was missed.

    The first event is a `reset` (read the state now). While the daemon is away nothing is yielded. Who wants to know
    of that, or to choose the pause, gives `wait`: it gets the error, and the next attempt comes when it returns.
    """
    last = ""
    pause = retry_s
    while True:
        resumed = bool(last)
        try:
            stream = cast("AsyncGenerator[Event, None]", client.events(last or None))
            async with contextlib.aclosing(stream) as events:
                async for event in events:
                    pause = retry_s
                    if not resumed:  # nothing is known of what went before
                        resumed = True
                        yield Event("", RESET, "{}")
                    last = event.id or last
                    yield event
        except (Unavailable, UpstreamError, Timeout) as error:
            if isinstance(error, UpstreamError):
                last = ""  # what cannot be read is passed over, and everything read again
            await (wait(error) if wait else asyncio.sleep(pause))
            pause = min(most_s, pause * 2)
