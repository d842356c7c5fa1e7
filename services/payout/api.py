"""Wire models of the payout router: payouts, their quotes, limits and pages."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from services.kit.models import Query, Request, Response
from services.kit.money import MAX_UNITS, Asset
from services.protocol.address import TronAddress

PayoutKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,80}$")]
"""The caller's idempotency key: the same key with the same body is the same payout."""


class PayoutState(StrEnum):
    """Where a payout stands."""

    AWAITING_APPROVAL = "awaiting_approval"
    APPROVED = "approved"
    RESERVED = "reserved"
    """Its amount is set aside; the order is with the TRON client and nothing is signed."""
    SIGNED = "signed"
    SENDING = "sending"
    """The bytes may be anywhere; only the same bytes are sent again."""
    SEEN = "seen"
    """In a block that can still be undone."""
    PAID = "paid"
    FAILED_ON_CHAIN = "failed_on_chain"
    DEAD = "dead"
    """Can never be paid by its transaction; the proof is kept."""
    REJECTED = "rejected"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether only an explicit retry can change it."""
        return self in {
            PayoutState.PAID,
            PayoutState.FAILED_ON_CHAIN,
            PayoutState.DEAD,
            PayoutState.REJECTED,
            PayoutState.CANCELLED,
        }


class PayoutReason(StrEnum):
    """Why it is paid."""

    SESSION_RELAY = "session_relay"
    STORAGE_PROOF = "storage_proof"
    VALIDATION_SIGNATURE = "validation_signature"
    UPTIME_REWARD = "uptime_reward"
    GOVERNANCE_PARTICIPATION = "governance_participation"
    CUSTOM = "custom"


class PayoutIntent(Request):
    """Who is to be paid what, from where."""

    wallet: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
    to: TronAddress
    asset: Asset
    amount: int = Field(gt=0, le=MAX_UNITS)
    """In the smallest unit of the asset (TRX: sun)."""
    memo: str = Field(default="", max_length=200)
    """Public on the chain for ever; costs 1 TRX."""
    reason: PayoutReason = PayoutReason.CUSTOM


class CreatePayout(PayoutIntent):
    """A payout to be made, once."""

    key: PayoutKey


class LimitUse(Response):
    """One limit of the policy, and what is used of it."""

    name: str
    """`per payout`, `hour`, `day`."""
    limit: int
    """In smallest units of the asset; 0 means no limit (devnet)."""
    used: int
    """Without the payout in question."""
    ok: bool


class Quote(Response):
    """A dry run of a payout: what it would cost, what is left, and what forbids it."""

    wallet: str
    from_address: str
    to: str
    asset: Asset
    amount: int
    balance: int
    """Of the asset, now, less what open payouts have reserved."""
    balance_after: int
    """After the amount and, for TRX, the fee; may be negative, and then it is forbidden."""
    fee_sun: int
    to_activated: bool
    check_code: str
    """Eight hex characters over the intent, as in 7f3a-91c2: to read aloud."""
    limits: tuple[LimitUse, ...]
    forbidden: tuple[str, ...]
    """Reasons why the payout would be refused; empty means that it would be accepted."""
    warnings: tuple[str, ...]
    block_number: int
    """The block at which the dry run was made."""


class Attempt(Response):
    """One signed transaction of a payout; at most one is alive."""

    number: int
    state: str
    """The job's state in the TRON client."""
    txid: str | None = None
    expiration_ms: int | None = None
    block_number: int | None = None
    fee_sun: int | None = None
    sends: int = 0
    answers: tuple[str, ...] = ()
    """The last answer of each endpoint, in words."""
    proof: str = ""
    """The death proof in words; empty unless there is one."""
    proof_needs_acceptance: bool = False


class Payout(Response):
    """A payout and how it stands."""

    id: str
    """P-1, P-2, …"""
    key: str
    state: PayoutState
    waiting: str = ""
    """What it waits for, in words; empty when it simply goes on."""
    wallet: str
    from_address: str
    to: str
    asset: Asset
    amount: int
    memo: str
    reason: PayoutReason
    check_code: str
    txid: str | None = None
    """Of the newest attempt."""
    attempt: int = 1
    attempts: tuple[Attempt, ...] = ()
    created_by: str
    created_at: datetime
    updated_at: datetime


class ListPayouts(Query):
    """Which payouts, newest first."""

    state: PayoutState | None = None
    open: bool | None = None
    """True: only those that are not final."""
    wallet: str | None = None
    to: str | None = None
    txid: str | None = None
    text: str | None = Field(default=None, max_length=80)
    """Found in id, key, memo or address."""
    limit: int = Field(default=50, ge=1, le=200)
    before: str | None = None
    """Next page: the `next` of the page before."""


class PayoutPage(Response):
    """A page of payouts, newest first."""

    items: tuple[Payout, ...]
    next: str | None = None
    """Give it as `before` for the next page; None on the last."""


class PayoutStats(Response):
    """Counts by state, and what was paid."""

    by_state: dict[str, int]
    paid_today: dict[str, int]
    """Asset to smallest units, paid in the last 24 hours."""
    limits: tuple[LimitUse, ...]


class RetriedPayout(Response):
    """What a retry did."""

    payout: Payout
    act: Literal["same_bytes", "new_attempt", "none"]
    """`same_bytes`: sent again unchanged. `new_attempt`: the last one is dead or failed, a new one was opened.
    `none`: nothing may be done."""
    message: str


class AcceptDeath(Request):
    """An operator takes a death proof that rests on one endpoint."""

    txid: str = Field(min_length=64, max_length=64)
