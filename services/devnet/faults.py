"""The fault switchboard: what a node may do to its callers, switched on over `/admin/faults`.

A fault has a kind, the calls it hits (a path pattern, one endpoint of several, one address), how often it strikes and,
if it is not to strike each time, its probability with a seed, so that a failing test can be run again.
What happens to a call on its way is done by `interference`, false sights of the chain by `lens` and `view`.
"""

import random
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from services.devnet.lens import CLEAR, Lens
from services.devnet.parameters import INT64_MAX
from services.devnet.refusals import Code
from services.kit.models import Request
from services.protocol.address import Address, TronAddress

BROADCASTS = "/wallet/broadcast*"
"""The calls that take a transaction."""

EVERYTHING = "*"
"""Every call but those of `/admin`."""

MAX_LAG = 90
"""A node lags no farther: what accounts were before is kept for so long."""

MAX_FAULTS = 1_000
"""No more are kept at a time."""


class Kind(StrEnum):
    """What a fault does."""

    # On the way:

    DELAY = "delay"
    """Everything comes late, by `delay_ms`: the call is carried out only then."""

    DELAY_AFTER = "delay_after"
    """The call is carried out at once, and its answer comes late, by `delay_ms`."""

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

    CUT = "cut"
    """The call is carried out, and the connection closed in the middle of the answer."""

    DRIP = "drip"
    """The call is carried out, and the answer comes byte by byte, `delay_ms` between two."""

    HUGE = "huge"
    """The call is carried out, and the answer goes on for `megabytes`."""

    # Of a broadcast:

    FALSE_DUPLICATE = "false_duplicate"
    """A broadcast is answered DUP_TRANSACTION_ERROR and the transaction is not taken."""

    ANSWER = "answer"
    """A broadcast is answered `code`, whatever it is, and the transaction is not taken."""

    LOSE = "lose"
    """A broadcast is answered SUCCESS and the transaction is forgotten."""

    LAST_SLOT = "last_slot"
    """A broadcast is answered SUCCESS and nobody sees the transaction until the last block that may have it: as when a
    pool lost it and a stranger sends it again just in time."""

    # Of what is shown:

    LAG = "lag"
    """The chain ends `blocks` earlier."""

    STUCK_SOLID = "stuck_solid"
    """The solid block stays where it is now, or at `block`."""

    FUTURE_SOLID = "future_solid"
    """The solid block claims to be `ahead_ms` younger than it is."""

    HIDE = "hide"
    """Transactions are not known by their ids."""

    PHANTOM = "phantom"
    """Transactions of the pool are shown as included, and as solid where that is asked."""

    OTHER_GENESIS = "other_genesis"
    """Block 0 is that of another chain."""

    FALSE_BALANCE = "false_balance"
    """Accounts have `balance_sun`."""


_FALSE_ANSWERS = frozenset({Kind.FALSE_DUPLICATE, Kind.ANSWER, Kind.LOSE, Kind.LAST_SLOT})
_ABOUT_BROADCASTS = _FALSE_ANSWERS | {Kind.DROP_AFTER, Kind.ERROR_AFTER, Kind.DELAY_AFTER, Kind.CUT}
_SIGHTS = frozenset(
    {
        Kind.LAG,
        Kind.STUCK_SOLID,
        Kind.FUTURE_SOLID,
        Kind.HIDE,
        Kind.PHANTOM,
        Kind.OTHER_GENESIS,
        Kind.FALSE_BALANCE,
    }
)
_LATE = frozenset({Kind.DELAY, Kind.DELAY_AFTER})


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

    address: TronAddress | None = None
    """Whom it hits: calls that name this address, transactions that do, the account itself; everybody if not given."""

    count: Annotated[int, Field(ge=1)] | None = None
    """How many times it strikes; until it is removed if that is not given."""

    probability: Annotated[float, Field(gt=0, le=1)] = 1.0
    """How probable it is to strike a call that it could hit."""

    seed: int = 0
    """Where the dice for `probability` begin."""

    delay_ms: Annotated[int, Field(ge=0, le=600_000)] = 1_000
    """For `delay`, `delay_after` and `drip`: how long."""

    status: Annotated[int, Field(ge=500, le=599)] = 503
    """For `error_before` and `error_after`: what is answered."""

    code: Annotated[str, AfterValidator(_code)] = Code.SERVER_BUSY.name
    """For `answer`: the broadcast code."""

    megabytes: Annotated[int, Field(ge=1, le=1_024)] = 64
    """For `huge`: how much is answered."""

    blocks: Annotated[int, Field(ge=1, le=MAX_LAG)] = 2
    """For `lag`: how many blocks are missing."""

    block: Annotated[int, Field(ge=0)] | None = None
    """For `stuck_solid`: where it stays; where it is when the fault is switched on, if not given."""

    ahead_ms: Annotated[int, Field(ge=1, le=10 * 365 * 86_400_000)] = 3_600_000
    """For `future_solid`: by how much."""

    balance_sun: Annotated[int, Field(ge=0, le=INT64_MAX)] = 0
    """For `false_balance`: how much."""


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

    @property
    def whom(self) -> bytes:
        """The address that it hits, without the first of its 21 bytes; empty: everybody."""
        return Address.parse(self.request.address).evm if self.request.address else b""

    def strikes(self, path: str, port: int | None, text: str | None = None) -> bool:
        """Whether it hits this call; counts if it does. `text` is the call's query and body, if they matter."""
        if self.is_spent or not fnmatchcase(path, self.path):
            return False
        if self.request.port is not None and self.request.port != port:
            return False
        if text is not None and not self._names(text):
            return False
        if self.request.probability < 1 and self.dice.random() >= self.request.probability:
            return False
        self.struck += 1
        return True

    def _names(self, text: str) -> bool:
        address = self.request.address
        return address is None or address in text or self.whom.hex() in text.lower()

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

    @property
    def reads_calls(self) -> bool:
        """Whether a fault is about an address, so that a call has to be read before it is known what strikes it."""
        return any(fault.request.address and fault.kind not in _SIGHTS for fault in self._faults.values())

    def on_the_way(self, path: str, port: int | None, text: str) -> tuple[int, int, Fault | None]:
        """What happens to a call on its way: delays before and after, in ms, and the first fault beside those."""
        delays_ms = dict.fromkeys(_LATE, 0)
        for fault in self._faults.values():
            if fault.kind in _LATE and fault.strikes(path, port, text):
                delays_ms[fault.kind] += fault.request.delay_ms
        chosen = (
            fault
            for fault in self._faults.values()
            if fault.kind not in _LATE | _FALSE_ANSWERS | _SIGHTS and fault.strikes(path, port, text)
        )
        return delays_ms[Kind.DELAY], delays_ms[Kind.DELAY_AFTER], next(chosen, None)

    def false_answer(self, path: str, port: int | None, transaction: bytes) -> tuple[Kind, Code] | None:
        """What a broadcast of these bytes meets instead of being carried out, and the code of the answer."""
        for fault in self._faults.values():
            if fault.kind in _FALSE_ANSWERS and fault.strikes(path, port, transaction.hex()):
                match fault.kind:
                    case Kind.FALSE_DUPLICATE:
                        return fault.kind, Code.DUP_TRANSACTION_ERROR
                    case Kind.ANSWER:
                        return fault.kind, Code[fault.request.code]
                    case _:
                        return fault.kind, Code.SUCCESS
        return None

    def lens(self, path: str, port: int | None) -> Lens:
        """How the chain looks to this call."""
        found = CLEAR
        for fault in self._faults.values():
            if fault.kind in _SIGHTS and fault.strikes(path, port):
                found = self._through(found, fault)
        return found

    def _through(self, lens: Lens, fault: Fault) -> Lens:
        request = fault.request
        match fault.kind:
            case Kind.LAG:
                return replace(lens, lag=max(lens.lag, request.blocks))
            case Kind.STUCK_SOLID:
                return replace(lens, solid_limit=request.block)
            case Kind.FUTURE_SOLID:
                return replace(lens, ahead_ms=request.ahead_ms)
            case Kind.HIDE:
                return replace(lens, hidden=(*lens.hidden, fault.whom))
            case Kind.PHANTOM:
                return replace(lens, phantoms=(*lens.phantoms, fault.whom))
            case Kind.OTHER_GENESIS:
                return replace(lens, other_genesis=True)
            case _:
                return replace(lens, balances=(*lens.balances, (fault.whom, request.balance_sun)))
