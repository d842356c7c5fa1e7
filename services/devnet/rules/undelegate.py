"""UnDelegateResourceContract (type 58): takes a lent resource back, with the part of it that the receiver used.

Order and words of the checks: java-tron's `UnDelegateResourceActuator`.
"""

from dataclasses import dataclass, replace
from typing import Annotated

from services.devnet import delegations, resources
from services.devnet.receipt import Receipt
from services.devnet.refusals import ContractInvalid
from services.devnet.rules.message import Native, OwnerBytes, existing_owner, is_address, reader
from services.devnet.rules.rule import Context
from services.devnet.rules.stake import STAKED
from services.devnet.state import SUN_PER_TRX, Counters, Stake, State
from services.protocol.contracts import Resource
from services.protocol.wire import Field, Kind


@dataclass(frozen=True, slots=True)
class _UnDelegateResource:
    owner: OwnerBytes
    resource: Annotated[int, Field(2, "resource", Kind.ENUM)]
    balance_sun: Annotated[int, Field(3, "balance", Kind.INT64)]
    receiver: Annotated[bytes, Field(4, "receiver_address", Kind.BYTES)]


_read = reader(_UnDelegateResource)
_NAMES = {Resource.BANDWIDTH: "delegatedFrozenBalance(BANDWIDTH)", Resource.ENERGY: "delegateFrozenBalance(Energy)"}


class UndelegateRule(Native):
    """The rules of taking a resource back."""

    def receiver(self, value: bytes) -> bytes | None:
        """Who had it."""
        return _read(value).receiver

    def validate(self, state: State, value: bytes, context: Context) -> None:
        """Check owner, receiver, amount, and that so much was lent and is not locked.

        Raises:
            ContractInvalid: one of them is wrong.
        """
        contract = _read(value)
        existing_owner(state, contract.owner, "] does not exist")
        if not is_address(contract.receiver):
            raise ContractInvalid("Invalid receiverAddress")
        if contract.receiver == contract.owner:
            raise ContractInvalid("receiverAddress must not be the same as ownerAddress")
        free = delegations.find(state, contract.owner, contract.receiver, locked=False)
        locked = delegations.find(state, contract.owner, contract.receiver, locked=True)
        if free is None and locked is None:
            raise ContractInvalid("delegated Resource does not exist")
        if contract.balance_sun <= 0:
            raise ContractInvalid("unDelegateBalance must be more than 0 TRX")
        if contract.resource not in STAKED:
            raise ContractInvalid("ResourceCode error.valid ResourceCode[BANDWIDTH、Energy]")
        resource = Resource(contract.resource)
        lent_sun = free.sun(resource) if free else 0
        if locked and locked.expires_ms(resource) < context.head_ms:
            lent_sun += locked.sun(resource)
        if lent_sun < contract.balance_sun:
            raise ContractInvalid(
                f"insufficient {_NAMES[resource]}, request={contract.balance_sun}, unlock_balance={lent_sun}"
            )

    def execute(self, state: State, value: bytes, context: Context, _receipt: Receipt) -> None:
        """Move the stake back to the owner, and with it the share of what the receiver has in use."""
        contract = _read(value)
        resource, amount_sun, slot = Resource(contract.resource), contract.balance_sun, context.slot
        units, theirs = 0, Stake()
        if state.account(contract.receiver) is not None:
            receiver = state.change(contract.receiver)
            theirs = resources.refreshed(receiver.stake(resource), 0, slot)
            units = _used_with(theirs, resource, amount_sun, state.counters)
            left_sun = max(theirs.acquired_sun - amount_sun, 0)
            theirs = replace(theirs, used=theirs.used - units, slot=slot, acquired_sun=left_sun)
            receiver.set_stake(resource, theirs)
        delegations.take(state, contract.owner, contract.receiver, resource, amount_sun, now_ms=context.head_ms)
        owner = state.change(contract.owner)
        own = owner.stake(resource)
        own = replace(own, own_sun=own.own_sun + amount_sun, delegated_sun=own.delegated_sun - amount_sun)
        owner.set_stake(resource, resources.take_back(own, theirs, units, slot) if units > 0 else own)


def _used_with(receiver: Stake, resource: Resource, amount_sun: int, counters: Counters) -> int:
    """The share of the receiver's use that goes back with a stake, at most what that stake gives in a day."""
    if receiver.acquired_sun < amount_sun:
        # Only of an account that was destroyed and made again since.
        return 0
    most = int(amount_sun / SUN_PER_TRX * (resources.total(resource) / counters.weight(resource)))
    return min(most, int(receiver.used * (amount_sun / receiver.usable_sun)))
