"""DelegateResourceContract (type 57): lends the resource of staked TRX to another account.

Order and words of the checks: java-tron's `DelegateResourceActuator`.
"""

from dataclasses import dataclass, replace
from typing import Annotated

from services.devnet import delegations, resources
from services.devnet.parameters import LOCK_SLOTS, MAX_LOCK_SLOTS, SLOT_MS
from services.devnet.receipt import Receipt
from services.devnet.refusals import ContractInvalid
from services.devnet.rules.message import Native, OwnerBytes, existing_owner, is_address, missing, reader
from services.devnet.rules.rule import Context
from services.devnet.rules.stake import STAKED
from services.devnet.state import SUN_PER_TRX, Account, Source, State
from services.protocol.contracts import Resource
from services.protocol.wire import Field, Kind, encode

DELEGATION_BYTES = 275
"""Bandwidth that a delegation is taken to need before its numbers are known (`DELEGATE_COST_BASE_SIZE`)."""

_NAMES = {Resource.BANDWIDTH: "FreezeBandwidthV2", Resource.ENERGY: "FreezeEnergyV2"}


@dataclass(frozen=True, slots=True)
class _DelegateResource:
    owner: OwnerBytes
    resource: Annotated[int, Field(2, "resource", Kind.ENUM)]
    balance_sun: Annotated[int, Field(3, "balance", Kind.INT64)]
    receiver: Annotated[bytes, Field(4, "receiver_address", Kind.BYTES)]
    lock: Annotated[bool, Field(5, "lock", Kind.BOOL)]
    lock_slots: Annotated[int, Field(6, "lock_period", Kind.INT64)]


_read = reader(_DelegateResource)


class DelegateRule(Native):
    """The rules of lending a resource."""

    def receiver(self, value: bytes) -> bytes | None:
        """Who may use it."""
        return _read(value).receiver

    def validate(self, state: State, value: bytes, context: Context) -> None:
        """Check owner, what of its stake is free, receiver and lock.

        Raises:
            ContractInvalid: one of them is wrong.
        """
        contract = _read(value)
        owner = existing_owner(state, contract.owner)
        if contract.balance_sun < SUN_PER_TRX:
            raise ContractInvalid("delegateBalance must be greater than or equal to 1 TRX")
        if contract.resource not in STAKED:
            raise ContractInvalid("ResourceCode error, valid ResourceCode[BANDWIDTH、ENERGY]")
        resource = Resource(contract.resource)
        if unused_sun(state, owner, resource, context.slot, is_draft=context.is_draft) < contract.balance_sun:
            raise ContractInvalid(f"delegateBalance must be less than or equal to available {_NAMES[resource]} balance")
        if not is_address(contract.receiver):
            raise ContractInvalid("Invalid receiverAddress")
        if contract.receiver == contract.owner:
            raise ContractInvalid("receiverAddress must not be the same as ownerAddress")
        receiver = state.account(contract.receiver)
        if receiver is None:
            missing(contract.receiver)
        if contract.lock:
            _check_lock(state, contract, resource, context.head_ms)
        if receiver.is_contract:
            raise ContractInvalid("Do not allow delegate resources to contract addresses")

    def execute(self, state: State, value: bytes, context: Context, _receipt: Receipt) -> None:
        """Move the stake from the owner's own to what it lent, and let the receiver use it."""
        contract = _read(value)
        resource, amount_sun, now_ms = contract.resource, contract.balance_sun, context.head_ms
        expires_ms = now_ms + _lock_slots(contract) * SLOT_MS if contract.lock else 0
        delegations.add(
            state, contract.owner, contract.receiver, resource, amount_sun, expires_ms=expires_ms, now_ms=now_ms
        )
        owner, receiver = state.change(contract.owner), state.change(contract.receiver)
        lent, used = owner.stake(resource), receiver.stake(resource)
        lent = replace(lent, own_sun=lent.own_sun - amount_sun, delegated_sun=lent.delegated_sun + amount_sun)
        owner.set_stake(resource, lent)
        receiver.set_stake(resource, replace(used, acquired_sun=used.acquired_sun + amount_sun))


def unused_sun(source: Source, owner: Account, resource: Resource, slot: int, *, is_draft: bool) -> int:
    """The part of a stake whose resource is not in use: so much can be lent.

    What was lent to the account counts as used first (`FreezeV2Util.getV2NetUsage`). A draft leaves room for the
    bandwidth of the delegation itself.
    """
    stake = owner.stake(resource)
    units = resources.used(stake, slot)
    if is_draft and resource is Resource.BANDWIDTH:
        units += _draft_bytes(stake.own_sun)
    used_sun = int(units * SUN_PER_TRX * (source.counters.weight(resource) / resources.total(resource)))
    return stake.own_sun - max(0, used_sun - stake.acquired_sun)


def _draft_bytes(balance_sun: int) -> int:
    """Bandwidth that the longest delegation of that stake needs (`TransactionUtil.estimateConsumeBandWidthSize`)."""
    longest = len(encode(_DelegateResource(b"", 0, balance_sun, b"", lock=True, lock_slots=MAX_LOCK_SLOTS)))
    shortest = len(encode(_DelegateResource(b"", 0, SUN_PER_TRX, b"", lock=False, lock_slots=0)))
    return DELEGATION_BYTES + max(longest - shortest, 0)


def _lock_slots(contract: _DelegateResource) -> int:
    return contract.lock_slots or LOCK_SLOTS


def _check_lock(state: State, contract: _DelegateResource, resource: Resource, now_ms: int) -> None:
    slots = _lock_slots(contract)
    if not 0 <= slots <= MAX_LOCK_SLOTS:
        raise ContractInvalid(
            f"The lock period of delegate resource cannot be less than 0 and cannot exceed {MAX_LOCK_SLOTS}!"
        )
    locked = delegations.find(state, contract.owner, contract.receiver, locked=True)
    if locked is None:
        return
    rest_ms = locked.expires_ms(resource) - now_ms
    if slots * SLOT_MS < rest_ms:
        raise ContractInvalid(
            f"The lock period for {resource.name} this time cannot be less than the remaining time[{rest_ms}ms] of the "
            f"last lock period for {resource.name}!"
        )
