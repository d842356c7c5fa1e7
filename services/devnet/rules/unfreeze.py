"""UnfreezeBalanceV2Contract (type 55): begins to unstake; the TRX can be withdrawn 14 days later.

Order and words of the checks, and what becomes of votes: java-tron's `UnfreezeBalanceV2Actuator`.
"""

from dataclasses import dataclass

from services.devnet import rewards, witnesses
from services.devnet.parameters import DAY_MS, MAX_UNFREEZING, UNFREEZE_DAYS
from services.devnet.receipt import Receipt
from services.devnet.refusals import ContractInvalid
from services.devnet.rules.message import Native, OwnerBytes, existing_owner, reader
from services.devnet.rules.rule import Context
from services.devnet.rules.stake import AmountSun, ResourceNumber, pay_expired, restake, still_unfreezing
from services.devnet.state import SUN_PER_TRX, Account, State, Unfreezing
from services.protocol.contracts import Resource


@dataclass(frozen=True, slots=True)
class _UnfreezeBalanceV2:
    owner: OwnerBytes
    amount_sun: AmountSun
    resource: ResourceNumber


_read = reader(_UnfreezeBalanceV2)
_NAMES: dict[int, str] = {Resource.BANDWIDTH: "BANDWIDTH", Resource.ENERGY: "Energy"}


class UnfreezeRule(Native):
    """The rules of unstaking."""

    def validate(self, state: State, value: bytes, context: Context) -> None:
        """Check owner, stake, amount and how many are pending.

        Raises:
            ContractInvalid: one of them is wrong.
        """
        unfreeze = _read(value)
        owner = existing_owner(state, unfreeze.owner, "] does not exist")
        name = _NAMES.get(unfreeze.resource)
        if name is None:
            raise ContractInvalid("ResourceCode error.valid ResourceCode[BANDWIDTH、Energy]")
        own_sun = owner.stake(unfreeze.resource).own_sun
        if own_sun <= 0:
            raise ContractInvalid(f"no frozenBalance({name})")
        if not 0 < unfreeze.amount_sun <= own_sun:
            raise ContractInvalid(f"Invalid unfreeze_balance, [{unfreeze.amount_sun}] is error")
        if len(still_unfreezing(owner, context.head_ms)) >= MAX_UNFREEZING:
            raise ContractInvalid("Invalid unfreeze operation, unfreezing times is over limit")

    def execute(self, state: State, value: bytes, context: Context, receipt: Receipt) -> None:
        """Begin to unstake, and claim what is free by now; votes that the rest does not cover shrink evenly."""
        unfreeze = _read(value)
        rewards.settle(state, unfreeze.owner)
        owner = state.change(unfreeze.owner)
        receipt.unfrozen_sun = pay_expired(owner, context.head_ms)
        expires_ms = context.head_ms + UNFREEZE_DAYS * DAY_MS
        owner.unfreezing += (Unfreezing(unfreeze.resource, unfreeze.amount_sun, expires_ms),)
        restake(state, owner, unfreeze.resource, -unfreeze.amount_sun)
        _shrink_votes(state, owner)


def _shrink_votes(state: State, owner: Account) -> None:
    total, power_sun = sum(count for _, count in owner.votes), owner.tron_power_sun
    if power_sun >= total * SUN_PER_TRX:
        return
    shrunk = ((address, int(count / total * power_sun / SUN_PER_TRX)) for address, count in owner.votes)
    votes = tuple((address, count) for address, count in shrunk if count > 0)
    witnesses.count_votes(state, owner.votes, votes)
    owner.votes = votes
