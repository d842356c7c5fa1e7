"""WithdrawExpireUnfreezeContract (type 56): takes back TRX whose unstaking is over.

Order and words of the checks: java-tron's `WithdrawExpireUnfreezeActuator`.
"""

from dataclasses import dataclass

from services.devnet.receipt import Receipt
from services.devnet.refusals import ContractInvalid
from services.devnet.rules.message import Native, OwnerBytes, existing_owner, reader
from services.devnet.rules.rule import Context
from services.devnet.rules.stake import expired_sun, pay_expired
from services.devnet.state import State


@dataclass(frozen=True, slots=True)
class _WithdrawExpireUnfreeze:
    owner: OwnerBytes


_read = reader(_WithdrawExpireUnfreeze)


class WithdrawUnfrozenRule(Native):
    """The rules of withdrawing what was unstaked."""

    def validate(self, state: State, value: bytes, context: Context) -> None:
        """Check that there is something.

        Raises:
            ContractInvalid: there is no such account, or nothing is free yet.
        """
        owner = existing_owner(state, _read(value).owner)
        if expired_sun(owner, context.head_ms) <= 0:
            # The blank at the end is java-tron's.
            raise ContractInvalid("no unFreeze balance to withdraw ")

    def execute(self, state: State, value: bytes, context: Context, receipt: Receipt) -> None:
        """Move it to the balance."""
        receipt.unfrozen_sun = pay_expired(state.change(_read(value).owner), context.head_ms)
