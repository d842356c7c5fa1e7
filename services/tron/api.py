"""Wire models of the TRON client: the network, accounts, transactions, and orders with their jobs."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from services.kit.models import Query, Request, Response
from services.kit.money import MAX_UNITS
from services.protocol.address import TronAddress

TxId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""sha256 of raw_data, lower-case hex."""

OrderKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,128}$")]
"""The caller's idempotency key, such as `payout:rent-11:1`."""


class EndpointState(StrEnum):
    """What is known of one TRON node."""

    UNKNOWN = "unknown"
    """Not asked yet."""
    OK = "ok"
    LAGGING = "lagging"
    """Its head is far behind the newest that another endpoint shows."""
    RESTING = "resting"
    """Its breaker is open after repeated failures; it is asked again later."""
    WRONG_NETWORK = "wrong network"
    """Its block 0 is not this network's: it is never used."""


class Endpoint(Response):
    """One TRON node that this service asks."""

    name: str
    """host:port."""
    state: EndpointState
    detail: str = ""
    """What went wrong last, in words; empty when nothing did."""
    head_number: int | None = None
    solid_number: int | None = None
    latency_ms: int | None = None
    read_at: datetime | None = None
    """When it last answered."""
    failures: int = 0
    """Failed calls since the service started."""


class Block(Response):
    """One block, in short."""

    number: int
    id: str
    """Block id, 64 hex characters."""
    time_ms: int
    """Chain time: milliseconds since 1970."""
    transactions: int = 0


class NetworkStatus(Response):
    """The chain as this node sees it."""

    network: str
    chain_id: str
    """Last four bytes of the genesis id, as in 0x2b6653dc."""
    head: Block | None
    """None until an endpoint answered."""
    solid: Block | None
    """Newest block that can no longer be undone."""
    endpoints: tuple[Endpoint, ...]
    read_at: datetime | None
    """When head and solid were read."""


class NetworkStats(Response):
    """Counters since the service started."""

    upstream_calls: int
    upstream_failures: int
    retries: int
    cache_hits: int
    cache_misses: int
    jobs_live: int
    """Orders that are neither paid nor dead."""


class Account(Response):
    """An account as an endpoint showed it."""

    address: str
    activated: bool
    """False: the chain does not know it yet; the first transfer to it costs 1.1 TRX more."""
    balance_sun: int
    bandwidth_free: int
    """What is left of today's free bandwidth, in bytes."""
    bandwidth_staked: int
    energy: int
    endpoint: str
    """Who said so."""
    read_at: datetime


class ValidateAddress(Request):
    """An address to check; anything may be in it."""

    address: Annotated[str, StringConstraints(max_length=256)]


class AddressCheck(Response):
    """What is known of a text that should be an address."""

    valid: bool
    reason: str = ""
    """Why it is not valid."""
    base58: str | None = None
    hex: str | None = None
    activated: bool | None = None
    """None when no endpoint could be asked."""


class Transfer(Request):
    """Pay TRX."""

    type: Literal["TransferContract"] = "TransferContract"
    to: TronAddress
    amount_sun: int = Field(gt=0, le=MAX_UNITS)


class Order(Request):
    """What a service wants on the chain, once."""

    key: OrderKey
    wallet: str = Field(min_length=1, max_length=32)
    """Name of the hot wallet that pays and signs."""
    owner: TronAddress | None = None
    """Address that the wallet must have; None: whatever it has."""
    contract: Transfer
    memo: str = Field(default="", max_length=200)
    """Public on the chain for ever, and it costs 1 TRX."""


class JobState(StrEnum):
    """Where an order stands."""

    ACCEPTED = "accepted"
    """Stored; nothing is built."""
    BUILT = "built"
    """Bytes and txid are stored; nothing is signed."""
    SIGNED = "signed"
    """The signature is stored; nothing has left."""
    SENDING = "sending"
    """The bytes may be anywhere: only the same bytes are sent again, until expiration."""
    SEEN = "seen"
    """In a block that can still be undone."""
    PAID = "paid"
    """Solid, and its receipt says SUCCESS."""
    FAILED_ON_CHAIN = "failed_on_chain"
    """Solid, and its receipt says that it failed: the fee is gone, the principal is not."""
    DEAD = "dead"
    """Can never be included any more; the proof is kept."""
    CANCELLED = "cancelled"
    """Withdrawn before anything left."""

    @property
    def final(self) -> bool:
        """Whether nothing can change any more."""
        return self in {JobState.PAID, JobState.FAILED_ON_CHAIN, JobState.DEAD, JobState.CANCELLED}


class Answer(Response):
    """What an endpoint last said to a broadcast of these bytes."""

    endpoint: str
    code: str
    """TRON's broadcast code, or ours: `timeout`, `reset`, `http 503`."""
    message: str
    reading: str
    """What it means for the money, in words."""
    at: datetime


class DeathWitness(Response):
    """What one endpoint said after its solid block had passed the expiration."""

    endpoint: str
    solid_number: int
    solid_time_ms: int
    answer: Literal["unknown"] = "unknown"
    """It does not know the txid, neither in solid state nor before."""


class DeathProof(Response):
    """Why a transaction can never be included any more."""

    txid: str
    expiration_ms: int
    witnesses: tuple[DeathWitness, ...]
    single_endpoint: bool
    """Only one endpoint is configured: an operator has to accept the proof."""
    accepted_by: str | None = None
    accepted_at: datetime | None = None


class Job(Response):
    """An order on its way."""

    key: str
    state: JobState
    waiting: str = ""
    """What it waits for, in words: a locked wallet, an endpoint, the operator; empty when it simply goes on."""
    wallet: str
    owner: str
    """Address that pays."""
    contract: Transfer
    memo: str = ""
    txid: str | None = None
    raw_data_hex: str | None = None
    expiration_ms: int | None = None
    """Chain time after whose solid block the transaction is provably dead, if no block has it."""
    block_number: int | None = None
    fee_sun: int | None = None
    sends: int = 0
    """How often the same bytes were sent."""
    answers: tuple[Answer, ...] = ()
    """The last answer of each endpoint."""
    proof: DeathProof | None = None
    created_at: datetime
    updated_at: datetime


class JobList(Response):
    """Jobs, newest first."""

    items: tuple[Job, ...]


class Retried(Response):
    """What a retry did."""

    job: Job
    act: Literal["same_bytes", "none"]
    """`same_bytes`: the stored bytes were sent again. `none`: nothing may be sent in this state."""
    message: str


class AcceptDeath(Request):
    """An operator takes a death proof that rests on one endpoint."""

    txid: TxId
    """Repeated, so that the right one is accepted."""


class Broadcast(Request):
    """Signed bytes of a transaction that was made elsewhere."""

    transaction_hex: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2})+$", max_length=1_024_000)]


class BroadcastResult(Response):
    """What each endpoint said; no answer proves that a transaction is in a block."""

    txid: str
    answers: tuple[Answer, ...]


class TxState(StrEnum):
    """Where a transaction stands on the chain."""

    UNKNOWN = "unknown"
    PENDING = "pending"
    """Known to the endpoint, in no block."""
    SEEN = "seen"
    SOLID = "solid"


class Transaction(Response):
    """A transaction as the chain shows it, decoded here from its bytes."""

    txid: str
    state: TxState
    type: str = ""
    owner: str | None = None
    to: str | None = None
    amount_sun: int | None = None
    memo: str = ""
    result: str = ""
    """contractRet: SUCCESS, REVERT, OUT_OF_ENERGY, …"""
    block_number: int | None = None
    block_time_ms: int | None = None
    confirmations: int = 0
    """Blocks on top of its block, itself included."""
    fee_sun: int | None = None
    endpoint: str = ""


class Receipt(Response):
    """What a transaction cost."""

    txid: str
    state: TxState
    result: str
    block_number: int
    block_time_ms: int
    fee_sun: int
    bandwidth_used: int = 0
    bandwidth_fee_sun: int = 0
    energy_used: int = 0
    energy_fee_sun: int = 0
    confirmations: int
    endpoint: str = ""


class HistoryQuery(Query):
    """Which part of a history."""

    skip: int = Field(default=0, ge=0, le=10_000)
    limit: int = Field(default=50, ge=1, le=200)
    from_timestamp: int | None = Field(default=None, ge=0)
    """Chain time in milliseconds, inclusive."""
    to_timestamp: int | None = Field(default=None, ge=0)


class History(Response):
    """Transactions of one address, newest first; a hint by the endpoint, not a proof."""

    address: str
    items: tuple[Transaction, ...]
    more: bool
    endpoint: str


class WaitQuery(Query):
    """How long to wait for a transaction."""

    until: Literal["seen", "solid"] = "solid"
    timeout_s: int = Field(default=60, ge=1, le=600)


class TransferQuote(Response):
    """What a TRX transfer would cost now."""

    bandwidth: int
    """Bytes that it will take."""
    bandwidth_fee_sun: int
    """Burnt when neither staked nor free bandwidth covers all of it."""
    activation_fee_sun: int
    """1.1 TRX when the receiver is not activated, else 0 (its bandwidth is then included)."""
    memo_fee_sun: int
    fee_sun: int
    """The sum."""
    burn_sun: int = 0
    """What comes on top of the sum if other transfers use up the bandwidth that covers it now."""
    owner_balance_sun: int
    to_activated: bool
    block_number: int
    """The balance is that of this block or of a later one."""
    endpoint: str
    read_at: datetime


class QuoteTransfer(Request):
    """A transfer to be priced."""

    owner: TronAddress
    to: TronAddress
    amount_sun: int = Field(gt=0, le=MAX_UNITS)
    memo: str = Field(default="", max_length=200)
