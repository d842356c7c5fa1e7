"""The fault switchboard: what a node may do to its callers, switched on over `/admin/faults`.

A fault has a kind, the calls it hits (a path pattern, and one endpoint of several), how often it strikes and, if it is
not to strike each time, its probability with a seed, so that a failing test can be run again.
"""

import random
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.devnet.refusals import Code
from services.devnet.server import ABORT
from services.kit.models import Request

BROADCASTS = "/wallet/broadcast*"
"""The calls that take a transaction."""

EVERYTHING = "*"
"""Every call but those of `/admin`."""

MAX_FAULTS = 1_000
"""No more are kept at a time."""


class Kind(StrEnum):
    """What a fault does."""

    DELAY = "delay"
    """The answer comes late, by `delay_ms`."""

    DROP_BEFORE = "drop_before"
    """The connection is closed and nothing was done."""

    DROP_AFTER = "drop_after"
    """The call is carried out (a transaction is taken) and the connection closed without an answer."""

    ERROR_BEFORE = "error_before"
    """HTTP `status` (500 to 599) and nothing was done."""

    ERROR_AFTER = "error_after"
    """The call is carried out and HTTP `status` is answered."""

    RATE_LIMIT = "rate_limit"
    """HTTP 429 and nothing was done."""

    FALSE_DUPLICATE = "false_duplicate"
    """A broadcast is answered DUP_TRANSACTION_ERROR and the transaction is not taken."""

    ANSWER = "answer"
    """A broadcast is answered `code`, whatever it is, and the transaction is not taken."""


_ABOUT_BROADCASTS = frozenset({Kind.DROP_AFTER, Kind.ERROR_AFTER, Kind.FALSE_DUPLICATE, Kind.ANSWER})
_FALSE_ANSWERS = frozenset({Kind.FALSE_DUPLICATE, Kind.ANSWER})


def _kind(text: str) -> str:
    if text not in list(Kind):
        raise ValueError(f"there is no fault {text!r}; known are {', '.join(Kind)}")
    return text


def _code(text: str) -> str:
    if text not in Code.__members__:
        raise ValueError(f"there is no broadcast code {text!r}; known are {', '.join(Code.__members__)}")
    return text


class FaultRequest(Request):
    """A fault to switch on."""

    kind: Annotated[str, AfterValidator(_kind)]
    """One of `Kind`."""

    path: str | None = None
    """Pattern of the paths it hits (`*` and `?` as in file names). Kinds that are about transactions hit the
    broadcasts unless it is given, the others every call."""

    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """The endpoint it hits; all of them if it is not given."""

    count: Annotated[int, Field(ge=1)] | None = None
    """How many times it strikes; until it is removed if that is not given."""

    probability: Annotated[float, Field(gt=0, le=1)] = 1.0
    """How probable it is to strike a call that it could hit."""

    seed: int = 0
    """Where the dice for `probability` begin."""

    delay_ms: Annotated[int, Field(ge=0, le=600_000)] = 1_000
    """For `delay`: how long."""

    status: Annotated[int, Field(ge=500, le=599)] = 503
    """For `error_before` and `error_after`: what is answered."""

    code: Annotated[str, AfterValidator(_code)] = Code.SERVER_BUSY.name
    """For `answer`: the broadcast code."""


@dataclass(slots=True)
class Fault:
    """A fault that is switched on."""

    id: int
    """Its number, to remove it by."""

    request: FaultRequest
    """What was asked for."""

    path: str
    """Pattern of the paths it hits."""

    struck: int = 0
    """How often it has struck."""

    dice: random.Random = field(default_factory=random.Random)
    """Decides about `probability`."""

    @property
    def kind(self) -> Kind:
        """What it does."""
        return Kind(self.request.kind)

    @property
    def is_spent(self) -> bool:
        """Whether it has struck as often as it may."""
        return self.request.count is not None and self.struck >= self.request.count

    def strikes(self, path: str, port: int | None) -> bool:
        """Whether it hits this call; counts if it does."""
        if self.is_spent or not fnmatchcase(path, self.path):
            return False
        if self.request.port is not None and self.request.port != port:
            return False
        if self.request.probability < 1 and self.dice.random() >= self.request.probability:
            return False
        self.struck += 1
        return True

    def shown(self) -> dict[str, Any]:
        """The fault as `/admin/faults` lists it."""
        return {"id": self.id} | self.request.model_dump() | {"path": self.path, "struck": self.struck}


class FaultBoard:
    """The faults that are switched on, in the order of their switching."""

    def __init__(self) -> None:
        self._faults: dict[int, Fault] = {}
        self._last_id = 0

    def add(self, request: FaultRequest) -> Fault:
        """Switch a fault on.

        Raises:
            ValueError: there are too many already.
        """
        self._faults = {fault.id: fault for fault in self._faults.values() if not fault.is_spent}
        if len(self._faults) >= MAX_FAULTS:
            raise ValueError(f"there are {MAX_FAULTS} faults already: remove some first")
        self._last_id += 1
        path = request.path or (BROADCASTS if Kind(request.kind) in _ABOUT_BROADCASTS else EVERYTHING)
        dice = random.Random(request.seed)  # noqa: S311 - it has to be repeatable, not secret
        fault = self._faults[self._last_id] = Fault(self._last_id, request, path, dice=dice)
        return fault

    def remove(self, fault_id: int) -> bool:
        """Switch a fault off; whether it was there."""
        return self._faults.pop(fault_id, None) is not None

    def clear(self) -> int:
        """Switch all faults off; how many there were."""
        count = len(self._faults)
        self._faults.clear()
        return count

    def all(self) -> list[Fault]:
        """Every fault, spent ones included."""
        return list(self._faults.values())

    def transport_fault(self, path: str, port: int | None) -> tuple[int, Fault | None]:
        """What happens to a call on its way: milliseconds of delay, and the first fault that replaces the answer."""
        delay_ms = 0
        for fault in self._faults.values():
            if fault.kind is Kind.DELAY and fault.strikes(path, port):
                delay_ms += fault.request.delay_ms
        chosen = (
            fault
            for fault in self._faults.values()
            if fault.kind is not Kind.DELAY and fault.kind not in _FALSE_ANSWERS and fault.strikes(path, port)
        )
        return delay_ms, next(chosen, None)

    def false_answer(self, path: str, port: int | None) -> Code | None:
        """The code that a broadcast is answered with instead of being carried out, if any."""
        for fault in self._faults.values():
            if fault.kind in _FALSE_ANSWERS and fault.strikes(path, port):
                return Code.DUP_TRANSACTION_ERROR if fault.kind is Kind.FALSE_DUPLICATE else Code[fault.request.code]
        return None


class FaultMiddleware:
    """Lets the faults of a board strike the calls of an application, `/admin` excepted."""

    def __init__(self, app: ASGIApp, board: FaultBoard, sleep: Callable[[float], Any]) -> None:
        self._app = app
        self._board = board
        self._sleep = sleep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call, with what strikes it."""
        if scope["type"] != "http" or scope["path"].startswith("/admin"):
            await self._app(scope, receive, send)
            return
        delay_ms, fault = self._board.transport_fault(scope["path"], (scope.get("server") or ("", None))[1])
        if delay_ms:
            await self._sleep(delay_ms / 1000)
        match fault.kind if fault else None:
            case None:
                await self._app(scope, receive, send)
            case Kind.DROP_BEFORE:
                await _drop(scope, receive)
            case Kind.DROP_AFTER:
                await self._app(scope, receive, _nowhere)
                await _drop(scope, receive)
            case Kind.RATE_LIMIT:
                await _answer(send, 429)
            case Kind.ERROR_AFTER:
                await self._app(scope, receive, _nowhere)
                await _answer(send, fault.request.status if fault else 500)
            case _:
                await _answer(send, fault.request.status if fault else 500)


async def _nowhere(_message: Message) -> None:
    """Swallow an answer."""


async def _drop(scope: MutableMapping[str, Any], receive: Receive) -> None:
    """Close the connection without a word, and wait until it is closed."""
    scope["state"][ABORT]()
    message = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()


async def _answer(send: Send, status: int) -> None:
    body = b"injected fault\n"
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    if status == 429:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
