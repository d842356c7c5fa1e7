"""What the rules of Stake 2.0 share: resource names in refusals, changes of a stake, and unstaking that is over."""

from dataclasses import replace
from typing import Annotated

from services.devnet.state import Account, State, Unfreezing
from services.protocol.contracts import Resource
from services.protocol.wire import Field, Kind

AmountSun = Annotated[int, Field(2, "amount", Kind.INT64)]
"""Field 2 of freezing and unfreezing."""

ResourceNumber = Annotated[int, Field(3, "resource", Kind.ENUM)]
"""Field 3 of freezing and unfreezing: any number may come."""

STAKED = (Resource.BANDWIDTH, Resource.ENERGY)
"""What can be staked for while `getAllowNewResourceModel` is 0."""


def restake(state: State, owner: Account, resource: int, amount_sun: int) -> None:
    """Add to a stake (or with a negative amount take from it), and to the chain's total weight."""
    before = owner.stake(resource)
    after = replace(before, own_sun=before.own_sun + amount_sun)
    owner.set_stake(resource, after)
    name = "total_energy_weight" if resource == Resource.ENERGY else "total_net_weight"
    state.count(**{name: after.weight - before.weight})


def expired_sun(owner: Account, now_ms: int) -> int:
    """What unstaking has set free by that time."""
    return sum(item.amount_sun for item in owner.unfreezing if item.expires_ms <= now_ms)


def pay_expired(owner: Account, now_ms: int) -> int:
    """Move what unstaking has set free to the balance; returns how much."""
    amount_sun = expired_sun(owner, now_ms)
    owner.balance_sun += amount_sun
    owner.unfreezing = still_unfreezing(owner, now_ms)
    return amount_sun


def still_unfreezing(owner: Account, now_ms: int) -> tuple[Unfreezing, ...]:
    """What is on its way back at that time."""
    return tuple(item for item in owner.unfreezing if item.expires_ms > now_ms)
