"""FreezeBalanceV2Contract (type 54): stakes TRX for bandwidth or energy.

Order and words of the checks: java-tron's `FreezeBalanceV2Actuator`.
"""

from dataclasses import dataclass

from services.devnet.receipt import Receipt
from services.devnet.refusals import ContractInvalid
from services.devnet.rules.message import Native, OwnerBytes, existing_owner, reader
from services.devnet.rules.rule import Context
from services.devnet.rules.stake import STAKED, AmountSun, ResourceNumber, restake
from services.devnet.state import SUN_PER_TRX, State


@dataclass(frozen=True, slots=True)
class _FreezeBalanceV2:
    owner: OwnerBytes
    amount_sun: AmountSun
    resource: ResourceNumber


_read = reader(_FreezeBalanceV2)


class FreezeRule(Native):
    """The rules of staking."""

    def validate(self, state: State, value: bytes, _context: Context) -> None:
        """Check owner, amount, balance and resource.

        Raises:
            ContractInvalid: one of them is wrong.
        """
        freeze = _read(value)
        owner = existing_owner(state, freeze.owner)
        if freeze.amount_sun <= 0:
            raise ContractInvalid("frozenBalance must be positive")
        if freeze.amount_sun < SUN_PER_TRX:
            raise ContractInvalid("frozenBalance must be greater than or equal to 1 TRX")
        if freeze.amount_sun > owner.balance_sun:
            raise ContractInvalid("frozenBalance must be less than or equal to accountBalance")
        if freeze.resource not in STAKED:
            raise ContractInvalid("ResourceCode error, valid ResourceCode[BANDWIDTH、ENERGY]")

    def execute(self, state: State, value: bytes, _context: Context, _receipt: Receipt) -> None:
        """Move the amount from the balance to the stake."""
        freeze = _read(value)
        owner = state.change(freeze.owner)
        restake(state, owner, freeze.resource, freeze.amount_sun)
        owner.balance_sun -= freeze.amount_sun
