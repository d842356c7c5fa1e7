"""Routes as a table: a row says path, models, role and errors; from it come the route and its OpenAPI document."""

import asyncio
import inspect
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any, NamedTuple, NoReturn
from urllib.parse import parse_qsl

import pydantic_core
from pydantic import BaseModel, ValidationError
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from services.kit import log
from services.kit.errors import (
    Forbidden,
    Internal,
    Invalid,
    LucidError,
    Malformed,
    MethodNotAllowed,
    NotFound,
    TooLarge,
)
from services.kit.metrics import Metrics, Times
from services.kit.models import Query, Request
from services.kit.peer import NOBODY, Peer, Role

BASE = "/api/v1/tron"
"""Where the API of every service begins."""

MAX_BODY = 1024 * 1024
"""Bytes of a request body that a daemon reads, unless a route says otherwise."""

BODY_TIMEOUT_S = 10.0
"""How long a body may take to arrive: whoever sends slower holds a connection for nothing."""

PEER = "lucid.peer"
"""Key of the caller's credentials in the state of the ASGI scope."""

TRANSPORT = "lucid.transport"
"""Key of the connection there: `gather` and `flush` around an answer make one system call of it."""

_JSON = (b"content-type", b"application/json")
_CORRELATION = log.CORRELATION_HEADER.lower().encode()
_CORRELATION_FORM = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


class Call:
    """One request, as a handler sees it."""

    __slots__ = ("body", "peer", "query", "scope")

    def __init__(self, scope: Scope, peer: Peer, body: Any, query: Any) -> None:
        self.scope = scope
        self.body = body
        """The validated body, of the type that the row names."""
        self.query = query
        """The validated query, of the type that the row names."""
        self.peer = peer
        """Who asks."""

    @property
    def path(self) -> Mapping[str, str]:
        """Parameters of the path, by name."""
        params: Mapping[str, str] = self.scope["path_params"]
        return params

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers, names in lower case."""
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.scope["headers"]}

    @property
    def correlation_id(self) -> str:
        """The id of the act that this request belongs to."""
        return log.correlation_id.get()


class Raw(NamedTuple):
    """An answer that is ready: bytes, their type, and a status."""

    content: bytes
    content_type: str
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Beyond content type, length and correlation id; names in lower case."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A model with a status of its own, where a route has more than one (200 for a repeat, 201 for a new thing)."""

    model: BaseModel
    status: int


Handler = Callable[[Call], Awaitable[BaseModel | Raw | Answer | None]]


@dataclass(frozen=True)
class Endpoint:
    """A row of a service's table of routes."""

    method: str
    path: str
    """Below the root, with parameters in braces: `/api/v1/tron/payouts/{id}`."""
    handler: Handler
    request: type[Request] | None = None
    """The body; None: there is none."""
    query: type[Query] | None = None
    """The query string; None: there is none."""
    response: type[BaseModel] | None = None
    """The answer; None: no content, or bytes."""
    status: int = 200
    also: tuple[int, ...] = ()
    """Other statuses with the same answer."""
    summary: str = ""
    role: Role = Role.VIEWER
    """The least that a caller must be."""
    errors: tuple[type[LucidError], ...] = ()
    """Beyond those that every route has."""
    max_body: int = field(default=MAX_BODY)
    content_type: str = "application/json"
    """Of the answer, where it is bytes."""

    @cached_property
    def operation_id(self) -> str:
        """Unique name of the operation: the handler's name."""
        return getattr(self.handler, "__name__", "call").strip("_")


class _Resource:
    """One path: reads the request, calls the handler of its method, writes the answer; the same for every daemon."""

    def __init__(self, endpoints: Sequence[Endpoint], metrics: Metrics) -> None:
        self.path = endpoints[0].path
        self._by_method = {endpoint.method: endpoint for endpoint in endpoints}
        if "GET" in self._by_method:
            self._by_method.setdefault("HEAD", self._by_method["GET"])
        self._metrics = metrics
        self._times: dict[tuple[str, int], Times] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        begin(scope)
        answer = await self._answer(scope, receive)
        await respond(scope, send, answer)
        self._measure(scope["method"], answer.status, time.perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive) -> Raw:
        try:
            endpoint = self._by_method.get(scope["method"])
            if endpoint is None:
                return not_allowed(self.path, self._by_method)
            peer = _permitted(endpoint, scope)
            if endpoint.query is None and endpoint.request is None and not scope["query_string"]:
                call = Call(scope, peer, None, None)  # most reads: there is nothing to parse
            else:
                call = await _parsed(endpoint, scope, receive, peer)
            result = await endpoint.handler(call)
            if isinstance(result, Raw):
                return result
            if isinstance(result, Answer):
                return _json(result.model, result.status)
            if result is None:
                return _NOTHING
            return _json(result, endpoint.status)
        except LucidError as error:
            return problem(error)
        except Exception:  # noqa: BLE001 - the last gate: a defect is logged here and told without its inside
            log.get_logger().exception("request.failed", method=scope["method"], path=scope["path"])
            return problem(
                Internal(f"a defect of this daemon; its log has the details under {log.correlation_id.get()}")
            )

    def _measure(self, method: str, status: int, seconds: float) -> None:
        times = self._times.get((method, status))
        if times is None:
            # Methods that are none of ours share a name: a caller must not be able to make up thousands.
            known = method if method in self._by_method else "other"
            times = self._times[method, status] = self._metrics.request_times(known, self.path, status)
        times.observe(seconds)


def _permitted(endpoint: Endpoint, scope: Scope) -> Peer:
    """Who asks, if he may."""
    peer: Peer = scope["state"].get(PEER, NOBODY)
    if peer.role < endpoint.role:
        raise Forbidden(
            f"{peer.user} is a {peer.role.name.lower()}; this takes the role {endpoint.role.name.lower()}: "
            f"join the group lucid-{endpoint.role.name.lower()}"
        )
    return peer


async def _parsed(endpoint: Endpoint, scope: Scope, receive: Receive, peer: Peer) -> Call:
    """A request's query and body as the row wants them."""
    if endpoint.query is None and scope["query_string"]:
        name = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        raise Invalid("this route takes no query", fields=[(key, "unknown field") for key, _ in name])
    query = _parse_query(endpoint.query, scope["query_string"]) if endpoint.query else None
    body = None
    if endpoint.request is not None:
        body = _parse_body(endpoint.request, await _read_body_in_time(scope, receive, endpoint.max_body))
    return Call(scope, peer, body, query)


def begin(scope: Scope) -> None:
    """Give a request its correlation id: the caller's, if it looks like one, else a fresh one.

    It lasts as long as the task of the request, which has a context of its own.
    """
    for name, value in scope["headers"]:
        if name == _CORRELATION:
            if _CORRELATION_FORM.fullmatch(value):
                log.correlation_id.set(value.decode())
                return
            break
    log.correlation_id.set(log.new_correlation_id())


async def respond(scope: Scope, send: Send, answer: Raw) -> None:
    """Write an answer: status, headers and content; to HEAD without the content."""
    content = answer.content
    headers = [(_CORRELATION, log.correlation_id.get().encode())]
    if answer.status != HTTPStatus.NO_CONTENT:  # such an answer has neither type nor length (RFC 9110, 8.6)
        kind = _JSON if answer.content_type == "application/json" else (b"content-type", answer.content_type.encode())
        headers += (kind, (b"content-length", b"%d" % len(content)))
    headers += answer.headers
    transport = scope["state"][TRANSPORT]
    transport.gather()
    try:
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})
    finally:
        transport.flush()


def not_allowed(path: str, methods: Iterable[str]) -> Raw:
    """Say which methods a path has (RFC 9110, 15.5.6)."""
    allowed = ", ".join(sorted(methods))
    answer = problem(MethodNotAllowed(f"{path} takes {allowed}"))
    return answer._replace(headers=((b"allow", allowed.encode()),))


_NOTHING = Raw(b"", "", HTTPStatus.NO_CONTENT)


def problem(error: LucidError) -> Raw:
    """Write an error as problem details (RFC 9457)."""
    return Raw(pydantic_core.to_json(error.problem(), fallback=str), "application/problem+json", error.status)


def _json(model: BaseModel, status: int) -> Raw:
    return Raw(model.__pydantic_serializer__.to_json(model), "application/json", status)


async def _read_body_in_time(scope: Scope, receive: Receive, limit: int) -> bytes:
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await _read_body(scope, receive, limit)
    except TimeoutError:
        raise Malformed(f"the body was not complete within {BODY_TIMEOUT_S:g} s") from None


async def _read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Malformed("the caller went away before its body was complete")
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"the body is larger than {limit:,} bytes, the most that {scope['path']} takes")
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)


def _parse_body(model: type[Request], body: bytes) -> Request:
    if not body:
        raise Malformed(f"the body is empty; send JSON with {', '.join(model.model_fields)}")
    try:
        found = model.model_validate_json(body)
    except ValidationError as error:
        _refuse(error)
    # pydantic takes the last of two fields of one name; whoever reads along may take the first.
    json.loads(body, object_pairs_hook=_refuse_twice, parse_int=str)
    return found


def _refuse_twice(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        raise Invalid("a field stands twice", fields=_twice(pairs))


def _twice(pairs: Sequence[tuple[str, Any]]) -> list[tuple[str, str]]:
    names = [name for name, _ in pairs]
    return [(name, "is given twice") for name in dict.fromkeys(names) if names.count(name) > 1]


def _parse_query(model: type[Query], raw: bytes) -> Query:
    pairs = parse_qsl(raw.decode("latin-1"), keep_blank_values=True)
    values = dict(pairs)
    if len(values) < len(pairs):
        raise Invalid("a query parameter stands twice", fields=_twice(pairs))
    try:
        return model.model_validate_strings(values)
    except ValidationError as error:
        _refuse(error)


_PLAINER = {"extra_forbidden": "unknown field", "missing": "is missing"}
"""Words for pydantic's most frequent findings."""


def _refuse(error: ValidationError) -> NoReturn:
    """Turn pydantic's findings into one of our errors: which field, and why; never the value, which may be a secret."""
    findings = error.errors(include_url=False, include_input=False, include_context=False)
    if any(item["type"] == "json_invalid" for item in findings):
        raise Malformed(findings[0]["msg"]) from None
    fields = [
        (".".join(str(part) for part in item["loc"]) or "body", _PLAINER.get(item["type"], item["msg"]))
        for item in findings
    ]
    raise Invalid("; ".join(f"{name}: {why}" for name, why in fields[:5]), fields=fields) from None


async def _not_found(scope: Scope, _receive: Receive, send: Send) -> None:
    begin(scope)
    found = NotFound(f"there is nothing at {scope['path']}; /openapi.json lists what there is")
    await respond(scope, send, problem(found))


class _Table(Router):
    """A service's routes. Most are found by one look into a dictionary; those with parameters by a few patterns."""

    def __init__(self, routes: Sequence[Route]) -> None:
        super().__init__(routes)
        self._plain = {route.path: route.app for route in routes if not route.param_convertors}
        self._patterns: dict[int, list[tuple[re.Pattern[str], ASGIApp]]] = {}
        """By the number of slashes: a parameter never holds one."""
        for route in routes:
            if route.param_convertors:
                found = self._patterns.setdefault(route.path.count("/"), [])
                found.append((route.path_regex, route.app))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:  # type: ignore[override]
        """Answer a request."""
        return self._find(scope)(scope, receive, send)

    def _find(self, scope: Scope) -> ASGIApp:
        path: str = scope["path"]
        if plain := self._plain.get(path):
            return plain
        for pattern, app in self._patterns.get(path.count("/"), ()):
            if found := pattern.fullmatch(path):
                scope["path_params"] = found.groupdict()
                return app
        return _not_found


def router(endpoints: Sequence[Endpoint], metrics: Metrics, extra: Sequence[Route] = ()) -> Router:
    """Make the ASGI application of a table of routes; `extra` are routes of another kind, such as streams."""
    paths: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        if not inspect.iscoroutinefunction(endpoint.handler) and not callable(endpoint.handler):
            raise TypeError(f"{endpoint.path}: the handler cannot be called")
        paths.setdefault(endpoint.path, []).append(endpoint)
    return _Table([*(Route(path, _Resource(rows, metrics)) for path, rows in paths.items()), *extra])
