"""Who lent which stake's resource to whom, and until when it cannot be taken back.

After java-tron's `DelegatedResourceStore`, which keeps what is locked apart from what is not, and its
`DelegatedResourceAccountIndexStore`, which knows an account's partners.
"""

import json
from dataclasses import astuple, dataclass

from services.devnet.state import Source, State
from services.protocol.contracts import Resource

_KEYS = {False: b"delegated ", True: b"delegated and locked "}
_TO_KEY, _FROM_KEY = b"delegates to ", b"delegated by "


@dataclass(frozen=True, slots=True)
class Delegation:
    """What one account lent to another (`DelegatedResourceCapsule`)."""

    bandwidth_sun: int = 0
    """The stake for bandwidth."""

    energy_sun: int = 0
    """The stake for energy."""

    bandwidth_expires_ms: int = 0
    """Block time until which the first is locked; 0 when it is not."""

    energy_expires_ms: int = 0
    """Block time until which the second is locked; 0 when it is not."""

    def sun(self, resource: int) -> int:
        """The stake for one resource."""
        return self.energy_sun if resource == Resource.ENERGY else self.bandwidth_sun

    def expires_ms(self, resource: int) -> int:
        """Until when the stake for one resource is locked."""
        return self.energy_expires_ms if resource == Resource.ENERGY else self.bandwidth_expires_ms

    def with_stake(self, resource: int, amount_sun: int, expires_ms: int) -> "Delegation":
        """The same with another amount and time for one resource."""
        if resource == Resource.ENERGY:
            return Delegation(self.bandwidth_sun, amount_sun, self.bandwidth_expires_ms, expires_ms)
        return Delegation(amount_sun, self.energy_sun, expires_ms, self.energy_expires_ms)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is lent any more."""
        return not self.bandwidth_sun and not self.energy_sun


def find(source: Source, owner: bytes, receiver: bytes, *, locked: bool) -> Delegation | None:
    """What an account lent to another, the locked part or the other; None if nothing is known about it."""
    cell = source.cell(_KEYS[locked] + owner + receiver)
    return Delegation(*json.loads(cell)) if cell else None


def partners(source: Source, address: bytes) -> tuple[list[bytes], list[bytes]]:
    """Who lends to an account, and to whom it lends; each in the order of the last time (`getV2Index`)."""
    return list(_partners(source, _FROM_KEY + address)), list(_partners(source, _TO_KEY + address))


def add(
    state: State, owner: bytes, receiver: bytes, resource: int, amount_sun: int, *, expires_ms: int, now_ms: int
) -> None:
    """Lend more; with a time it is locked until then, with 0 it is not (`DelegateResourceActuator`)."""
    unlock(state, owner, receiver, now_ms)
    locked = expires_ms > 0
    before = find(state, owner, receiver, locked=locked) or Delegation()
    after = before.with_stake(resource, before.sun(resource) + amount_sun, expires_ms)
    _save(state, owner, receiver, after, locked=locked)
    for key, partner in ((_TO_KEY + owner, receiver), (_FROM_KEY + receiver, owner)):
        known = _partners(state, key)
        known.pop(partner, None)
        _save_partners(state, key, known | {partner: None})


def take(state: State, owner: bytes, receiver: bytes, resource: int, amount_sun: int, *, now_ms: int) -> None:
    """Take back some of what is not locked (any more); that there is so much was checked before."""
    unlock(state, owner, receiver, now_ms)
    before = find(state, owner, receiver, locked=False) or Delegation()
    after = before.with_stake(resource, before.sun(resource) - amount_sun, 0)
    _save(state, owner, receiver, None if after.is_empty else after, locked=False)
    if after.is_empty and find(state, owner, receiver, locked=True) is None:
        for key, partner in ((_TO_KEY + owner, receiver), (_FROM_KEY + receiver, owner)):
            known = _partners(state, key)
            known.pop(partner, None)
            _save_partners(state, key, known)


def unlock(state: State, owner: bytes, receiver: bytes, now_ms: int) -> None:
    """Move what is not locked any more to the rest (`unLockExpireResource`)."""
    locked = find(state, owner, receiver, locked=True)
    if locked is None or min(locked.energy_expires_ms, locked.bandwidth_expires_ms) >= now_ms:
        return
    free = find(state, owner, receiver, locked=False) or Delegation()
    for resource in (Resource.ENERGY, Resource.BANDWIDTH):
        if locked.expires_ms(resource) < now_ms:
            free = free.with_stake(resource, free.sun(resource) + locked.sun(resource), 0)
            locked = locked.with_stake(resource, 0, 0)
    _save(state, owner, receiver, None if locked.is_empty else locked, locked=True)
    _save(state, owner, receiver, free, locked=False)


def _save(state: State, owner: bytes, receiver: bytes, delegation: Delegation | None, *, locked: bool) -> None:
    cell = json.dumps(astuple(delegation), separators=(",", ":")).encode() if delegation else None
    state.set_cell(_KEYS[locked] + owner + receiver, cell)


def _partners(source: Source, key: bytes) -> dict[bytes, None]:
    cell = source.cell(key) or b""
    return {cell[at : at + 21]: None for at in range(0, len(cell), 21)}


def _save_partners(state: State, key: bytes, known: dict[bytes, None]) -> None:
    state.set_cell(key, b"".join(known) or None)
