"""CancelAllUnfreezeV2Contract (type 59): stakes again whatever is being unstaked.

Order and words of the checks: java-tron's `CancelAllUnfreezeV2Actuator`.
"""

from dataclasses import dataclass

from services.devnet.receipt import Receipt
from services.devnet.refusals import ContractInvalid
from services.devnet.rules.message import Native, OwnerBytes, existing_owner, reader
from services.devnet.rules.rule import Context
from services.devnet.rules.stake import pay_expired, restake
from services.devnet.state import State
from services.protocol.contracts import Resource


@dataclass(frozen=True, slots=True)
class _CancelAllUnfreezeV2:
    owner: OwnerBytes


_read = reader(_CancelAllUnfreezeV2)


class CancelUnfreezeRule(Native):
    """The rules of staying after all."""

    def validate(self, state: State, value: bytes, _context: Context) -> None:
        """Check that something is being unstaked.

        Raises:
            ContractInvalid: there is no such account, or nothing is.
        """
        if not existing_owner(state, _read(value).owner).unfreezing:
            raise ContractInvalid("No unfreezeV2 list to cancel")

    def execute(self, state: State, value: bytes, context: Context, receipt: Receipt) -> None:
        """Stake again what is not free yet; what is free goes to the balance."""
        owner = state.change(_read(value).owner)
        receipt.unfrozen_sun = pay_expired(owner, context.head_ms)
        # The order is that of Java's HashMap with these three keys.
        cancelled = {"ENERGY": 0, "TRON_POWER": 0, "BANDWIDTH": 0}
        for item in owner.unfreezing:
            restake(state, owner, item.resource, item.amount_sun)
            cancelled[Resource(item.resource).name] += item.amount_sun
        owner.unfreezing = ()
        receipt.cancelled_sun = cancelled
