"""AccountPermissionUpdateContract (type 46): replaces all permissions of an account, for 100 TRX.

Order and words of the checks: java-tron's `AccountPermissionUpdateActuator`.
"""

from dataclasses import dataclass
from typing import Annotated

from services.devnet.parameters import AVAILABLE_OPERATIONS, INT64_MAX, MAX_SIGNATURES, PERMISSION_FEE_SUN
from services.devnet.permissions import FIRST_ACTIVE_ID, OWNER_ID, WITNESS_ID, Permission, Permissions
from services.devnet.receipt import Receipt
from services.devnet.refusals import ContractFailed, ContractInvalid
from services.devnet.rules.message import Native, OwnerBytes, is_address, reader
from services.devnet.rules.rule import Context
from services.devnet.state import Account, State
from services.protocol.contracts import PermissionType
from services.protocol.wire import Field, Kind

MAX_ACTIVES = 8
"""Most active permissions of one account."""

MAX_NAME = 32
"""Most characters of a permission's name, as Java counts them."""

_OPERATION_BYTES = 32


@dataclass(frozen=True, slots=True)
class _Key:
    address: Annotated[bytes, Field(1, "address", Kind.BYTES)]
    weight: Annotated[int, Field(2, "weight", Kind.INT64)]


@dataclass(frozen=True, slots=True)
class _Permission:
    type: Annotated[int, Field(1, "type", Kind.ENUM)]
    name: Annotated[str, Field(3, "permission_name", Kind.STRING)]
    threshold: Annotated[int, Field(4, "threshold", Kind.INT64)]
    parent_id: Annotated[int, Field(5, "parent_id", Kind.INT32)]
    operations: Annotated[bytes, Field(6, "operations", Kind.BYTES)]
    keys: Annotated[tuple[_Key, ...], Field(7, "keys", Kind.MESSAGE, of=_Key, repeated=True)]

    def stored(self, permission_id: int) -> Permission:
        """The permission as an account keeps it; the network gives it its id."""
        keys = tuple((key.address, key.weight) for key in self.keys)
        return Permission(permission_id, self.name, self.threshold, keys, self.operations)


@dataclass(frozen=True, slots=True)
class _PermissionUpdate:
    address: OwnerBytes
    owner: Annotated[_Permission | None, Field(2, "owner", Kind.MESSAGE, of=_Permission, optional=True)]
    witness: Annotated[_Permission | None, Field(3, "witness", Kind.MESSAGE, of=_Permission, optional=True)]
    actives: Annotated[tuple[_Permission, ...], Field(4, "actives", Kind.MESSAGE, of=_Permission, repeated=True)]


_read = reader(_PermissionUpdate)


class PermissionUpdateRule(Native):
    """The rules of a permission update."""

    def validate(self, state: State, value: bytes, _context: Context) -> None:
        """Check which permissions there are, and each of them.

        Raises:
            ContractInvalid: one of them is wrong.
        """
        update = _read(value)
        if not is_address(update.address):
            raise ContractInvalid("invalidate ownerAddress")
        account = state.account(update.address)
        if account is None:
            raise ContractInvalid("ownerAddress account does not exist")
        if update.owner is None:
            raise ContractInvalid("owner permission is missed")
        _check_presence(update, account)
        _check(update.owner, PermissionType.Owner, "owner")
        if update.witness is not None:
            _check(update.witness, PermissionType.Witness, "witness")
        for active in update.actives:
            _check(active, PermissionType.Active, "active")

    def execute(self, state: State, value: bytes, _context: Context, receipt: Receipt) -> None:
        """Replace the permissions and burn the fee.

        Raises:
            ContractFailed: the balance does not cover the fee.
        """
        update = _read(value)
        account = state.change(update.address)
        if update.owner is None or account.balance_sun < PERMISSION_FEE_SUN:
            raise ContractFailed(
                f"{account.address.hex()} insufficient balance, balance: {account.balance_sun}, "
                f"amount: {PERMISSION_FEE_SUN}"
            )
        account.permissions = Permissions(
            update.owner.stored(OWNER_ID),
            update.witness.stored(WITNESS_ID) if update.witness else None,
            tuple(active.stored(number) for number, active in enumerate(update.actives, start=FIRST_ACTIVE_ID)),
        )
        account.balance_sun -= PERMISSION_FEE_SUN
        state.burn(PERMISSION_FEE_SUN)
        receipt.contract_fee_sun += PERMISSION_FEE_SUN


def _check_presence(update: _PermissionUpdate, account: Account) -> None:
    if account.is_witness and update.witness is None:
        raise ContractInvalid("witness permission is missed")
    if not account.is_witness and update.witness is not None:
        raise ContractInvalid("account isn't witness can't set witness permission")
    if not update.actives:
        raise ContractInvalid("active permission is missed")
    if len(update.actives) > MAX_ACTIVES:
        raise ContractInvalid("active permission is too many")


def _check(permission: _Permission, kind: PermissionType, name: str) -> None:
    if permission.type != kind:
        raise ContractInvalid(f"{name} permission type is error")
    if len(permission.keys) > MAX_SIGNATURES:
        raise ContractInvalid(f"number of keys in permission should not be greater than {MAX_SIGNATURES}")
    if not permission.keys:
        raise ContractInvalid("key's count should be greater than 0")
    if kind is PermissionType.Witness and len(permission.keys) != 1:
        raise ContractInvalid("Witness permission's key count should be 1")
    if permission.threshold <= 0:
        raise ContractInvalid("permission's threshold should be greater than 0")
    if len(permission.name.encode("utf-16-le")) > 2 * MAX_NAME:
        raise ContractInvalid("permission's name is too long")
    if permission.parent_id != 0:
        raise ContractInvalid("permission's parent should be owner")
    _check_keys(permission, kind)
    _check_operations(permission, kind)


def _check_keys(permission: _Permission, kind: PermissionType) -> None:
    if len({key.address for key in permission.keys}) != len(permission.keys):
        raise ContractInvalid(f"address should be distinct in permission {kind.name}")
    total = 0
    for key in permission.keys:
        if not is_address(key.address):
            raise ContractInvalid("key is not a validate address")
        if key.weight <= 0:
            raise ContractInvalid("key's weight should be greater than 0")
        total += key.weight
        if total > INT64_MAX:
            raise ContractInvalid("long overflow")
    if total < permission.threshold:
        raise ContractInvalid(f"sum of all key's weight should not be less than threshold in permission {kind.name}")


def _check_operations(permission: _Permission, kind: PermissionType) -> None:
    if kind is not PermissionType.Active:
        if permission.operations:
            raise ContractInvalid(f"{kind.name} permission needn't operations")
        return
    if len(permission.operations) != _OPERATION_BYTES:
        raise ContractInvalid("operations size must 32")
    for number in range(8 * _OPERATION_BYTES):
        bit = 1 << number % 8
        if permission.operations[number // 8] & bit and not AVAILABLE_OPERATIONS[number // 8] & bit:
            raise ContractInvalid(f"{number} isn't a validate ContractType")
