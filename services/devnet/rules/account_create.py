"""AccountCreateContract (type 0): activates an account without sending it anything.

Order and words of the checks: java-tron's `CreateAccountActuator`.
"""

from dataclasses import dataclass
from typing import Annotated

from services.devnet.parameters import ACCOUNT_CREATION_FEE_SUN
from services.devnet.receipt import Receipt
from services.devnet.refusals import ContractInvalid
from services.devnet.rules.message import OwnerBytes, is_address, missing, reader
from services.devnet.rules.rule import Context
from services.devnet.state import Account, State
from services.protocol.contracts import AccountType
from services.protocol.wire import Field, Kind


@dataclass(frozen=True, slots=True)
class _AccountCreate:
    owner: OwnerBytes
    account: Annotated[bytes, Field(2, "account_address", Kind.BYTES)]
    type: Annotated[int, Field(3, "type", Kind.ENUM)]


_read = reader(_AccountCreate)


class AccountCreateRule:
    """The rules of an activation."""

    def activates(self, _state: State, _value: bytes) -> bool:
        """It creates an account or is refused."""
        return True

    def receiver(self, value: bytes) -> bytes | None:
        """The new account."""
        return _read(value).account

    def validate(self, state: State, value: bytes, _context: Context) -> None:
        """Check addresses, the fee, and that the account is new.

        Raises:
            ContractInvalid: one of them is wrong.
        """
        create = _read(value)
        if not is_address(create.owner):
            raise ContractInvalid("Invalid ownerAddress")
        owner = state.account(create.owner)
        if owner is None:
            missing(create.owner)
        if owner.balance_sun < ACCOUNT_CREATION_FEE_SUN:
            raise ContractInvalid("Validate CreateAccountActuator error, insufficient fee.")
        if not is_address(create.account):
            raise ContractInvalid("Invalid account address")
        if state.account(create.account) is not None:
            raise ContractInvalid("Account has existed")

    def execute(self, state: State, value: bytes, context: Context, receipt: Receipt) -> None:
        """Activate the account; its price is burnt."""
        create = _read(value)
        state.create(
            Account(
                create.account,
                created_ms=context.head_ms,
                # Whoever asks for it gets an account that counts as a contract, as on java-tron.
                is_contract=create.type == AccountType.Contract,
                has_default_permissions=True,
            )
        )
        state.change(create.owner).balance_sun -= ACCOUNT_CREATION_FEE_SUN
        state.burn(ACCOUNT_CREATION_FEE_SUN)
        receipt.contract_fee_sun += ACCOUNT_CREATION_FEE_SUN
