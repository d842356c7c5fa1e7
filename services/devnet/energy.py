"""Who pays for a contract's energy: its deployer's share, then the caller's stake, then the caller's burnt TRX.

How much there may be: java-tron's `VMActuator.getTotalEnergyLimitWithFixRatio`; the bill: `TransactionTrace.pay` and
`ReceiptCapsule.payEnergyBill`. The fee limit caps all energy of the caller, staked included.
"""

from dataclasses import dataclass

from services.devnet import resources
from services.devnet.parameters import ENERGY_PRICE_SUN
from services.devnet.receipt import Receipt
from services.devnet.refusals import ContractFailed
from services.devnet.rules.rule import Context
from services.devnet.state import Account, State
from services.devnet.vm.world import Contract
from services.protocol.address import Address
from services.protocol.contracts import Resource

DEFAULT_ORIGIN_ENERGY_LIMIT = 10_000_000
"""What a contract's deployer gives to a call at most if it never said (java-tron, `CREATOR_DEFAULT_ENERGY_LIMIT`)."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent on one transaction."""

    limit: int
    """All energy together."""

    caller_left: int
    """The caller's staked energy."""

    origin_left: int = 0
    """The staked energy of the contract's deployer, as far as it takes part at all."""


def budget(state: State, caller: Account, contract: Contract | None, context: Context, call_value_sun: int) -> Budget:
    """What may be spent on a call of a contract, or on making one."""
    slot, fee_limit_sun = context.slot, context.fee_limit_sun
    caller_left = _left(state, caller, slot)
    from_balance = max(caller.balance_sun - call_value_sun, 0) // ENERGY_PRICE_SUN
    callers = min(caller_left + from_balance, fee_limit_sun // ENERGY_PRICE_SUN)
    origin = _origin(state, caller, contract)
    if contract is None or origin is None:
        return Budget(callers, caller_left)
    percent = _user_percent(contract)
    origin_left = _left(state, origin, slot) if percent < 100 else 0
    origins = min(origin_left, origin_energy_limit(contract))
    if percent > 0:
        origins = min(origins, callers * (100 - percent) // percent)
    return Budget(callers + origins, caller_left, origin_left)


def pay(state: State, receipt: Receipt, contract: Contract | None, context: Context, spendable: Budget) -> None:
    """Bill the energy that the receipt has in total.

    Raises:
        ContractFailed: the caller's balance does not cover it.
    """
    slot = context.slot
    caller = state.change(context.owner)
    origin = _origin(state, caller, contract)
    if receipt.result == "SUCCESS":
        # A success was billed in advance while it ran; what takes that back leaves the uses as of now.
        for party in (caller, origin):
            if party is not None:
                account = state.change(party.address)
                account.energy = resources.use(account.energy, 0, slot)
    total = receipt.energy_total
    if total <= 0:
        return
    if contract is not None and origin is not None:
        share = total * (100 - _user_percent(contract)) // 100
        share = min(share, spendable.origin_left, origin_energy_limit(contract))
        origin = state.change(origin.address)
        origin.energy = resources.use(origin.energy, share, slot)
        origin.operated_ms = context.head_ms
        receipt.origin_energy_usage = share
        total -= share
    _pay_callers_part(state, receipt, context, usage=total, left=spendable.caller_left)


def _pay_callers_part(state: State, receipt: Receipt, context: Context, *, usage: int, left: int) -> None:
    caller = state.change(context.owner)
    staked = min(usage, left)
    caller.energy = resources.use(caller.energy, staked, context.slot)
    caller.operated_ms = context.head_ms
    fee_sun = (usage - staked) * ENERGY_PRICE_SUN
    if caller.balance_sun < fee_sun:
        raise ContractFailed(f"{Address(caller.address).base58} insufficient balance")
    caller.balance_sun -= fee_sun
    state.burn(fee_sun)
    receipt.energy_usage, receipt.energy_fee_sun = staked, fee_sun


def origin_energy_limit(contract: Contract) -> int:
    """Most energy that a contract's deployer gives to one call."""
    return contract.origin_energy_limit or DEFAULT_ORIGIN_ENERGY_LIMIT


def _user_percent(contract: Contract) -> int:
    return min(max(contract.user_percent, 0), 100)


def _origin(state: State, caller: Account, contract: Contract | None) -> Account | None:
    """The contract's deployer, unless it is the caller, who pays all then."""
    if contract is None or contract.origin == caller.address:
        return None
    return state.account(contract.origin)


def _left(state: State, account: Account, slot: int) -> int:
    return max(resources.left(account.energy, Resource.ENERGY, state.counters, slot), 0)
