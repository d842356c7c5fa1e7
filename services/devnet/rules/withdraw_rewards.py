"""WithdrawBalanceContract (type 13): pays out the rewards of votes, once a day at most.

Order and words of the checks: java-tron's `WithdrawBalanceActuator`.
"""

from dataclasses import dataclass

from services.devnet import rewards
from services.devnet.parameters import WITHDRAWAL_PAUSE_MS
from services.devnet.receipt import Receipt
from services.devnet.refusals import ContractInvalid
from services.devnet.rules.message import Native, OwnerBytes, existing_owner, reader
from services.devnet.rules.rule import Context
from services.devnet.state import State


@dataclass(frozen=True, slots=True)
class _WithdrawBalance:
    owner: OwnerBytes


_read = reader(_WithdrawBalance)


class WithdrawRewardsRule(Native):
    """The rules of claiming rewards."""

    def validate(self, state: State, value: bytes, context: Context) -> None:
        """Check who asks, when they last did, and that there is something.

        Raises:
            ContractInvalid: one of them is wrong.
        """
        withdrawal = _read(value)
        owner = existing_owner(state, withdrawal.owner)
        # All witnesses of the devnet are from block 0, since nobody can become one.
        if owner.is_witness:
            raise ContractInvalid(
                f"Account[{owner.address.hex()}] is a guard representative and is not allowed to withdraw Balance"
            )
        if context.head_ms - owner.withdrawn_ms < WITHDRAWAL_PAUSE_MS:
            raise ContractInvalid(f"The last withdraw time is {owner.withdrawn_ms}, less than 24 hours")
        if rewards.owed_sun(state, owner) <= 0:
            raise ContractInvalid("witnessAccount does not have any reward")

    def execute(self, state: State, value: bytes, context: Context, receipt: Receipt) -> None:
        """Credit what the votes earned, and pay out everything that is credited."""
        address = _read(value).owner
        rewards.settle(state, address)
        owner = state.change(address)
        receipt.withdrawn_sun = owner.allowance_sun
        owner.balance_sun += owner.allowance_sun
        owner.allowance_sun, owner.withdrawn_ms = 0, context.head_ms
