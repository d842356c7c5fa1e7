"""Routes as a table: a row says path, models, role and errors; from it come the route and its OpenAPI document."""

import inspect
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any, NoReturn
from urllib.parse import parse_qsl

import pydantic_core
from pydantic import BaseModel, ValidationError
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Receive, Scope, Send

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
from services.kit.metrics import Metrics
from services.kit.models import Query, Request
from services.kit.peer import NOBODY, Peer, Role

BASE = "/api/v1/tron"
"""Where the API of every service begins."""

MAX_BODY = 1024 * 1024
"""Bytes of a request body that a daemon reads, unless a route says otherwise."""

PEER = "lucid.peer"
"""Key of the caller's credentials in the ASGI scope."""

_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", b"application/problem+json")
_CORRELATION = log.CORRELATION_HEADER.lower().encode()


class Call:
    """One request, as a handler sees it."""

    __slots__ = ("body", "peer", "query", "scope")

    def __init__(self, scope: Scope, body: Any, query: Any) -> None:
        self.scope = scope
        self.body = body
        """The validated body, of the type that the row names."""
        self.query = query
        """The validated query, of the type that the row names."""
        self.peer: Peer = scope.get(PEER, NOBODY)
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


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer that is ready: bytes, their type, and a status."""

    content: bytes
    content_type: str
    status: int = 200


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

    @cached_property
    def operation_id(self) -> str:
        """Unique name of the operation: the handler's name."""
        return getattr(self.handler, "__name__", "call").strip("_")


class _Resource:
    """One path: reads the request, calls the handler of its method, writes the answer; the same for every daemon."""

    def __init__(self, endpoints: Sequence[Endpoint], metrics: Metrics) -> None:
        self._by_method = {endpoint.method: endpoint for endpoint in endpoints}
        if "GET" in self._by_method:
            self._by_method.setdefault("HEAD", self._by_method["GET"])
        self._metrics = metrics
        self._observe: dict[tuple[str, int], Any] = {}
        self._path = endpoints[0].path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        wanted = next((value for name, value in scope["headers"] if name == _CORRELATION), None)
        current = wanted.decode("latin-1")[:64] if wanted else log.new_correlation_id()
        token = log.correlation_id.set(current)
        try:
            answer = await self._answer(scope, receive)
            kind = (
                _JSON if answer.content_type == "application/json" else (b"content-type", answer.content_type.encode())
            )
            headers = [
                kind,
                (b"content-length", b"%d" % len(answer.content)),
                (_CORRELATION, current.encode("latin-1")),
            ]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.content})
        finally:
            log.correlation_id.reset(token)
        self._measure(scope["method"], answer.status, time.perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive) -> Raw:
        try:
            endpoint = self._by_method.get(scope["method"])
            if endpoint is None:
                raise MethodNotAllowed(f"{self._path} takes {', '.join(sorted(self._by_method))}")
            result = await endpoint.handler(await self._call(endpoint, scope, receive))
        except LucidError as error:
            return problem(error)
        except Exception:  # noqa: BLE001 - the last gate: a defect is logged here and told without its inside
            log.get_logger().exception("request.failed", method=scope["method"], path=scope["path"])
            return problem(
                Internal(f"a defect of this daemon; its log has the details under {log.correlation_id.get()}")
            )
        if isinstance(result, Raw):
            return result
        if isinstance(result, Answer):
            return _json(result.model, result.status)
        if result is None:
            return Raw(b"", "application/json", HTTPStatus.NO_CONTENT)
        return _json(result, endpoint.status)

    async def _call(self, endpoint: Endpoint, scope: Scope, receive: Receive) -> Call:
        peer: Peer = scope.get(PEER, NOBODY)
        if peer.role < endpoint.role:
            raise Forbidden(
                f"{peer.user} is a {peer.role.name.lower()}; this takes the role {endpoint.role.name.lower()}: "
                f"join the group lucid-{endpoint.role.name.lower()}"
            )
        if endpoint.query is None and scope["query_string"]:
            name = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            raise Invalid("this route takes no query", fields=[(key, "unknown field") for key, _ in name])
        query = _parse_query(endpoint.query, scope["query_string"]) if endpoint.query else None
        body = None
        if endpoint.request is not None:
            body = _parse_body(endpoint.request, await _read_body(scope, receive, endpoint.max_body))
        return Call(scope, body, query)

    def _measure(self, method: str, status: int, seconds: float) -> None:
        child = self._observe.get((method, status))
        if child is None:
            child = self._metrics.requests.labels(self._metrics.service, method, self._path, str(status))
            self._observe[method, status] = child
        child.observe(seconds)


def problem(error: LucidError) -> Raw:
    """Write an error as problem details (RFC 9457)."""
    return Raw(pydantic_core.to_json(error.problem(), fallback=str), "application/problem+json", error.status)


def _json(model: BaseModel, status: int) -> Raw:
    return Raw(model.__pydantic_serializer__.to_json(model), "application/json", status)


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
        return model.model_validate_json(body)
    except ValidationError as error:
        _refuse(error)


def _parse_query(model: type[Query], raw: bytes) -> Query:
    pairs = parse_qsl(raw.decode("latin-1"), keep_blank_values=True)
    values = dict(pairs)
    if len(values) < len(pairs):
        raise Invalid("a query parameter stands twice", fields=[(name, "given twice") for name, _ in pairs])
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
    answer = problem(NotFound(f"there is nothing at {scope['path']}; /openapi.json lists what there is"))
    headers = [_PROBLEM, (b"content-length", b"%d" % len(answer.content))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.content})


def router(endpoints: Sequence[Endpoint], metrics: Metrics, extra: Sequence[BaseRoute] = ()) -> Router:
    """Make the ASGI application of a table of routes; `extra` are routes of another kind, such as streams."""
    paths: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        if not inspect.iscoroutinefunction(endpoint.handler) and not callable(endpoint.handler):
            raise TypeError(f"{endpoint.path}: the handler cannot be called")
        paths.setdefault(endpoint.path, []).append(endpoint)
    routes: list[BaseRoute] = [Route(path, _Resource(rows, metrics)) for path, rows in paths.items()]
    return Router([*routes, *extra], redirect_slashes=False, default=_not_found)
