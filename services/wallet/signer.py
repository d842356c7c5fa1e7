"""The signer's judgement: which bytes it understands, what it lets pass, and what one key is good for.

Nothing here trusts who asks. The bytes are decoded here, and whatever is not understood in full is refused.

Budgets are rolling windows over *running time*: how long this machine has run, in milliseconds, as far as this service
saw it. It is made of the monotonic clock, which nobody can set, and of the boot id, which says whether two readings
belong together; the sum is stored with every signature. The wall clock has no say: setting it, a lost battery or a
lying time server neither widen a budget nor stop payments. Time in which the machine was off does not count, so that
after a power cut a budget is rather too small than too large.
"""

from dataclasses import dataclass

from services.kit.errors import Conflict, Forbidden, Invalid, Locked
from services.kit.money import format_money
from services.protocol.contracts import Transfer
from services.protocol.transaction import RESULT_RESERVE_BYTES, RawData, txid
from services.protocol.wire import ProtocolError
from services.wallet.store import Asked, Boot, FreezeRow, Ledger, Record, Spent

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
LONGEST_LIFE_MS = DAY_MS
"""How far from its timestamp a transaction may expire (the network's own bound is 24 h after the head block)."""
SUN_PER_BYTE = 1_000
ACTIVATION_SUN = 1_100_000
MEMO_SUN = 1_000_000
SIGNATURE_AND_ENVELOPE_BYTES = 72
"""65 bytes of signature, and the tags and lengths of a `Transaction` message around it and raw_data."""
PERMISSION_IDS = frozenset({0})
"""Permissions that a single key of ours signs for: the owner's."""


class Refused(Forbidden):
    """The signer's policy forbids it; `rule` in `extra` names the rule."""

    code, title = "refused", "Refused by the signer's policy"


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be signed; 0 means no limit."""

    max_tx_sun: int
    """Most that one transaction may move."""
    hourly_limit_sun: int
    """Most that the signatures of one hour may move."""
    daily_limit_sun: int
    """Most that the signatures of 24 hours may move."""
    daily_fee_limit_sun: int = 0
    """Most that the fees of 24 hours may come to at worst; without it, dust to strangers would burn a wallet away."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A transaction that was decoded, and that the policy lets pass so far as it can be told without the past."""

    txid: bytes
    """32 bytes."""
    owner: str
    """Base58check."""
    spent: Spent
    """What leaves the owner."""


def judge(raw: bytes, address: str, policy: Policy) -> Judged:
    """Decode raw_data bytes and hold them to the policy of the wallet at `address`.

    Raises:
        Invalid: these are not the canonical bytes of one transaction that this version understands.
        Refused: another owner, permission or contract type, too long a life, or too large an amount.
    """
    try:
        found = RawData.decode(raw, strict=True)
    except ProtocolError as error:
        raise Invalid(f"the transaction is not understood, and not signed: {error}", field="raw_data_hex") from None
    contract = found.contract
    if contract.owner.base58 != address:
        raise Refused(f"the transaction moves what belongs to {contract.owner}, this wallet is {address}", rule="owner")
    if found.permission_id not in PERMISSION_IDS:
        raise Refused(f"permission {found.permission_id} is not one that this wallet signs for", rule="permission")
    if not isinstance(contract, Transfer):
        raise Refused(f"{contract.type_name} is not among what this signer signs: TransferContract", rule="contract")
    life_ms = found.expiration_ms - found.timestamp_ms
    if not 0 < life_ms <= LONGEST_LIFE_MS:
        raise Refused("a transaction must expire after its timestamp, and within 24 hours of it", rule="expiration")
    if policy.max_tx_sun and contract.amount_sun > policy.max_tx_sun:
        raise Refused(
            f"{format_money(contract.amount_sun)} TRX is more than one transaction may move:"
            f" {format_money(policy.max_tx_sun)} TRX (WALLET_MAX_TX_SUN)",
            rule="amount",
            limit_sun=policy.max_tx_sun,
        )
    return Judged(txid(raw), address, Spent(contract.amount_sun, most_fee_sun(found, len(raw))))


def most_fee_sun(transaction: RawData, raw_bytes: int) -> int:
    """The most that a transfer burns, by the chain's prices of 2025: all its bytes, an activation, and a memo."""
    bandwidth = (raw_bytes + SIGNATURE_AND_ENVELOPE_BYTES + RESULT_RESERVE_BYTES) * SUN_PER_BYTE
    return bandwidth + ACTIVATION_SUN + (MEMO_SUN if transaction.memo else 0)


@dataclass(frozen=True, slots=True)
class Entered:
    """The result of entering a signature."""

    fresh: bool
    """False: the same bytes were signed for this key before; nothing was counted again."""
    signed_today_sun: int
    """What the signatures of 24 hours move, this one included."""


def enter(ledger: Ledger, asked: Asked, boot: Boot, judged: Judged, policy: Policy) -> Entered:
    """Write down that the key is good for this transaction, and count it; a signature is given only after the commit.

    Raises:
        Locked: signing is frozen.
        Conflict: the key is void or was used for other bytes, or these bytes were signed for another key.
        Refused: the budget of the hour or the day does not hold it.
    """
    if freeze := ledger.freeze():
        raise frozen(freeze)
    now_ms = ledger.keep_running_ms(boot)
    today = ledger.spent_since(now_ms - DAY_MS)
    id_ = judged.txid.hex()
    if record := ledger.find(asked.key):
        _refuse_other_use(record, id_)
        return Entered(fresh=False, signed_today_sun=today.amount_sun)
    if other := ledger.find_txid(id_):
        raise Conflict(
            f"these very bytes were signed for {other.key}: one transaction cannot pay twice; build it anew with"
            " another timestamp",
            txid=id_,
            key=other.key,
        )
    amount_sun, hour = judged.spent.amount_sun, ledger.spent_since(now_ms - HOUR_MS)
    _refuse_beyond("hour", policy.hourly_limit_sun, hour.amount_sun, amount_sun)
    _refuse_beyond("day", policy.daily_limit_sun, today.amount_sun, amount_sun)
    _refuse_beyond("day's fees", policy.daily_fee_limit_sun, today.most_fee_sun, judged.spent.most_fee_sun)
    ledger.add_signed(asked, now_ms, id_, judged.owner, judged.spent)
    return Entered(fresh=True, signed_today_sun=today.amount_sun + amount_sun)


def void(ledger: Ledger, asked: Asked, boot: Boot) -> Record:
    """Write down that the key is never to be signed.

    Raises:
        Conflict: it was signed; `txid` in `extra` says for which transaction.
    """
    record = ledger.find(asked.key)
    if record is None:
        ledger.add_void(asked, ledger.keep_running_ms(boot))
        return Record(asked.key, "void", asked.wallet, None)
    if record.state == "signed":
        raise Conflict(f"{record.key} was signed, for transaction {record.txid}: it cannot be voided", txid=record.txid)
    return record


def frozen(freeze: FreezeRow) -> Locked:
    """Make the error that says who stopped all signing, when and why."""
    return Locked(
        f"signing is frozen since {freeze.frozen_at} by {freeze.frozen_by}: {freeze.reason}; an admin can unfreeze it",
        frozen=True,
        frozen_by=freeze.frozen_by,
        frozen_reason=freeze.reason,
    )


def _refuse_other_use(record: Record, id_: str) -> None:
    if record.state == "void":
        raise Conflict(f"{record.key} is void: it is never to be signed", state="void")
    if record.txid != id_:
        raise Conflict(
            f"{record.key} was signed for another transaction, {record.txid}: one key is good for one transaction",
            state="signed",
            txid=record.txid,
        )


_SETTING = {
    "hour": "WALLET_HOURLY_LIMIT_SUN",
    "day": "WALLET_DAILY_LIMIT_SUN",
    "day's fees": "WALLET_DAILY_FEE_LIMIT_SUN",
}


def _refuse_beyond(window: str, limit_sun: int, used_sun: int, amount_sun: int) -> None:
    if limit_sun and used_sun + amount_sun > limit_sun:
        raise Refused(
            f"the signer's budget for the {window} is {format_money(limit_sun)} TRX, {format_money(used_sun)} TRX of it"
            f" are used: {format_money(amount_sun)} TRX more are too much ({_SETTING[window]})",
            rule=window,
            limit_sun=limit_sun,
            used_sun=used_sun,
        )
