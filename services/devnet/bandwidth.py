"""Who pays for a transaction's bytes: staked bandwidth, else the free allowance, else burnt TRX; never a mix.

What was used recovers evenly over 24 hours. The arithmetic is java-tron's `ResourceProcessor`, rounding included,
because a byte more or less decides between a free transaction and a paid one.
"""

from services.devnet.incoming import Incoming
from services.devnet.parameters import (
    ACCOUNT_CREATION_BANDWIDTH_FEE_SUN,
    BANDWIDTH_PRICE_SUN,
    FREE_BANDWIDTH,
    MAX_CREATE_ACCOUNT_BYTES,
    SLOT_MS,
    TOTAL_BANDWIDTH,
)
from services.devnet.receipt import Receipt
from services.devnet.refusals import ResourcesInsufficient, TooBig
from services.devnet.rules.rule import Context
from services.devnet.state import Account, State
from services.protocol.address import Address
from services.protocol.signature import SIGNATURE_BYTES
from services.protocol.transaction import RESULT_RESERVE_BYTES

DAY_SLOTS = 24 * 3600 * 1000 // SLOT_MS
"""Slots in which a use recovers in full."""

WINDOW_PRECISION = 1_000
"""Windows of staked bandwidth are kept in thousandths of a slot (java-tron, `WINDOW_SIZE_PRECISION`)."""

_PRECISION = 1_000_000
_SUN_PER_TRX = 1_000_000


def charge(state: State, transaction: Incoming, context: Context, *, activates: bool) -> Receipt:
    """Take a transaction's bandwidth from the first pool that covers all of it.

    Args:
        state: the layer of the transaction; the owner's account exists in it.
        transaction: whose bytes are to be paid for.
        context: the moment, for recovery.
        activates: whether it creates an account: then neither the free allowance nor the price per byte applies.

    Raises:
        ResourcesInsufficient: no pool and no balance covers it.
        TooBig: it activates an account and has more bytes than such a transaction may have.
    """
    size = transaction.size + RESULT_RESERVE_BYTES
    account = state.change(transaction.owner)
    slot = context.slot
    if activates:
        unsigned = transaction.size - len(transaction.signatures) * SIGNATURE_BYTES
        if unsigned > MAX_CREATE_ACCOUNT_BYTES:
            raise TooBig(
                f"Too big new account transaction, TxId {transaction.txid.hex()}, the size is {unsigned} bytes, "
                f"maxTxSize {MAX_CREATE_ACCOUNT_BYTES}"
            )
        fee_sun = ACCOUNT_CREATION_BANDWIDTH_FEE_SUN
        covered = _use_staked(state, account, size, slot)
    else:
        fee_sun = BANDWIDTH_PRICE_SUN * size
        covered = _use_staked(state, account, size, slot) or _use_free(account, size, slot)
    account.operated_ms = context.head_ms
    if covered:
        return Receipt(net_usage=size)
    burn_fee(state, account, fee_sun, f"bandwidth[{size}]")
    return Receipt(net_fee_sun=fee_sun)


def burn_fee(state: State, account: Account, fee_sun: int, purpose: str) -> None:
    """Take a fee from the layer's own copy of an account and destroy it.

    Raises:
        ResourcesInsufficient: the balance does not cover it.
    """
    if account.balance_sun < fee_sun:
        raise ResourcesInsufficient(
            f"account [{Address(account.address).base58}] has insufficient balance[{fee_sun}] to pay for {purpose}"
        )
    account.balance_sun -= fee_sun
    state.burn(fee_sun)


def free_used(account: Account, slot: int) -> int:
    """Free bandwidth that has not recovered by that slot."""
    return _recovered(account.free_net_used, account.free_net_slot, slot, DAY_SLOTS)


def staked_used(account: Account, slot: int) -> int:
    """Staked bandwidth that has not recovered by that slot."""
    return _recovered(account.net_used, account.net_slot, slot, _window(account) // WINDOW_PRECISION)


def staked_limit(account: Account, total_net_weight: int) -> int:
    """Bytes a day that the account's stake gives it, its share of what all stakers have."""
    if total_net_weight == 0:
        return 0
    return int(account.staked_net_sun / _SUN_PER_TRX * (TOTAL_BANDWIDTH / total_net_weight))


def _use_free(account: Account, size: int, slot: int) -> bool:
    if size > FREE_BANDWIDTH - free_used(account, slot):
        return False
    # The use that is left recovers together with the new one, over a new day from now.
    account.free_net_used = _used(
        _decayed(account.free_net_used, account.free_net_slot, slot, DAY_SLOTS) + _average(size, DAY_SLOTS), DAY_SLOTS
    )
    account.free_net_slot = slot
    return True


def _use_staked(state: State, account: Account, size: int, slot: int) -> bool:
    limit = staked_limit(account, state.counters.total_net_weight)
    if size > limit - staked_used(account, slot):
        return False
    window = _window(account)
    slots = window // WINDOW_PRECISION
    old = _decayed(account.net_used, account.net_slot, slot, slots)
    used = (old * slots + _average(size, DAY_SLOTS) * DAY_SLOTS) // _PRECISION
    left = _used(old, slots)
    full_day = DAY_SLOTS * WINDOW_PRECISION
    if left == 0:
        account.net_window = full_day
    else:
        rest = window - (slot - account.net_slot) * WINDOW_PRECISION
        account.net_window = min(_divide_up(left * rest + size * full_day, used), full_day)
    account.net_used, account.net_slot = used, slot
    return True


def _window(account: Account) -> int:
    if account.net_window < WINDOW_PRECISION:
        return DAY_SLOTS * WINDOW_PRECISION
    return account.net_window


def _recovered(used: int, since_slot: int, slot: int, window: int) -> int:
    return _used(_decayed(used, since_slot, slot, window), window)


def _decayed(used: int, since_slot: int, slot: int, window: int) -> int:
    """What is left of a use, as an average over the window."""
    average = _average(used, window)
    if slot == since_slot:
        return average
    if since_slot + window <= slot:
        return 0
    # Java's Math.round: half goes up.
    return int(average * ((window - (slot - since_slot)) / window) + 0.5)


def _average(used: int, window: int) -> int:
    return _divide_up(used * _PRECISION, window)


def _used(average: int, window: int) -> int:
    return average * window // _PRECISION


def _divide_up(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
