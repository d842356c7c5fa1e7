"""Who pays for a transaction's bytes: staked bandwidth, else the free allowance, else burnt TRX; never a mix.

Order and arithmetic: java-tron's `BandwidthProcessor`.
"""

from services.devnet import resources
from services.devnet.incoming import Incoming
from services.devnet.parameters import (
    ACCOUNT_CREATION_BANDWIDTH_FEE_SUN,
    BANDWIDTH_PRICE_SUN,
    FREE_BANDWIDTH,
    MAX_CREATE_ACCOUNT_BYTES,
)
from services.devnet.receipt import Receipt
from services.devnet.refusals import ResourcesInsufficient, TooBig
from services.devnet.rules.rule import Context
from services.devnet.state import Account, State
from services.protocol.address import Address
from services.protocol.contracts import Resource
from services.protocol.signature import SIGNATURE_BYTES
from services.protocol.transaction import RESULT_RESERVE_BYTES


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
    return resources.recovered(account.free_net_used, account.free_net_slot, slot)


def _use_free(account: Account, size: int, slot: int) -> bool:
    if size > FREE_BANDWIDTH - free_used(account, slot):
        return False
    # The use that is left recovers together with the new one, over a new day from now.
    account.free_net_used = resources.increased(free_used(account, slot), size)
    account.free_net_slot = slot
    return True


def _use_staked(state: State, account: Account, size: int, slot: int) -> bool:
    if size > resources.left(account.bandwidth, Resource.BANDWIDTH, state.counters, slot):
        return False
    account.bandwidth = resources.use(account.bandwidth, size, slot)
    return True
