"""TransferContract (type 1): TRX from one account to another; a new receiver is activated on the way.

Order and words of the checks: java-tron's `TransferActuator.validate`.
"""

from dataclasses import dataclass
from typing import Annotated

from services.devnet.parameters import ACCOUNT_CREATION_FEE_SUN, INT64_MAX
from services.devnet.receipt import Receipt
from services.devnet.refusals import ContractInvalid
from services.devnet.rules.message import OwnerBytes, is_address, reader
from services.devnet.rules.rule import Context
from services.devnet.state import Account, State
from services.protocol.wire import Field, Kind


@dataclass(frozen=True, slots=True)
class _Transfer:
    """The contract with addresses as they came, valid or not."""

    owner: OwnerBytes
    to: Annotated[bytes, Field(2, "to_address", Kind.BYTES)]
    amount_sun: Annotated[int, Field(3, "amount", Kind.INT64)]


_read = reader(_Transfer)


class TransferRule:
    """The rules of a TRX transfer."""

    def activates(self, state: State, value: bytes) -> bool:
        """Whether the receiver is new."""
        return state.account(_read(value).to) is None

    def receiver(self, value: bytes) -> bytes | None:
        """Who is paid."""
        return _read(value).to

    def validate(self, state: State, value: bytes, _context: Context) -> None:
        """Check addresses, amount and balance.

        Raises:
            ContractInvalid: one of them is wrong.
        """
        transfer = _read(value)
        if not is_address(transfer.owner):
            raise ContractInvalid("Invalid ownerAddress!")
        if not is_address(transfer.to):
            raise ContractInvalid("Invalid toAddress!")
        if transfer.to == transfer.owner:
            raise ContractInvalid("Cannot transfer TRX to yourself.")
        owner = state.account(transfer.owner)
        if owner is None:
            raise ContractInvalid("Validate TransferContract error, no OwnerAccount.")
        if transfer.amount_sun <= 0:
            raise ContractInvalid("Amount must be greater than 0.")
        receiver = state.account(transfer.to)
        if receiver and receiver.is_contract:
            raise ContractInvalid("Cannot transfer TRX to a smartContract.")
        needed_sun = transfer.amount_sun + (0 if receiver else ACCOUNT_CREATION_FEE_SUN)
        if needed_sun > INT64_MAX:
            raise ContractInvalid("long overflow")
        if owner.balance_sun < needed_sun:
            raise ContractInvalid("Validate TransferContract error, balance is not sufficient.")
        if receiver and receiver.balance_sun + transfer.amount_sun > INT64_MAX:
            raise ContractInvalid("long overflow")

    def execute(self, state: State, value: bytes, context: Context, receipt: Receipt) -> None:
        """Move the amount; a new account costs its price on top."""
        transfer = _read(value)
        fee_sun = 0
        if state.account(transfer.to) is None:
            state.create(Account(transfer.to, created_ms=context.head_ms, has_default_permissions=True))
            fee_sun = ACCOUNT_CREATION_FEE_SUN
        state.change(transfer.owner).balance_sun -= transfer.amount_sun + fee_sun
        state.change(transfer.to).balance_sun += transfer.amount_sun
        state.burn(fee_sun)
        receipt.contract_fee_sun += fee_sun
