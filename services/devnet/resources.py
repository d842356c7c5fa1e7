"""How staked bandwidth and energy are shared out, used, and recover: the arithmetic of java-tron's `ResourceProcessor`.

What was used recovers evenly over a window of at most 24 hours. Rounding is java-tron's too, because a unit more or
less decides between a free transaction and a paid one.
"""

from dataclasses import replace

from services.devnet.parameters import SLOT_MS, TOTAL_BANDWIDTH, TOTAL_ENERGY
from services.devnet.state import SUN_PER_TRX, Counters, Stake
from services.protocol.contracts import Resource

DAY_SLOTS = 24 * 3600 * 1000 // SLOT_MS
"""Slots in which a use recovers in full."""

WINDOW_PRECISION = 1_000
"""Windows of stakes are kept in thousandths of a slot (java-tron, `WINDOW_SIZE_PRECISION`)."""

FULL_WINDOW = DAY_SLOTS * WINDOW_PRECISION
"""The longest window, a day."""

_PRECISION = 1_000_000


def total(resource: int) -> int:
    """Units of a resource that all stakers share in a day."""
    return TOTAL_ENERGY if resource == Resource.ENERGY else TOTAL_BANDWIDTH


def limit(stake: Stake, resource: int, counters: Counters) -> int:
    """Units a day that a stake gives, its share of what all stakers have (`calculateGlobalNetLimitV2`)."""
    weight = counters.weight(resource)
    if weight == 0:
        return 0
    return int(stake.usable_sun / SUN_PER_TRX * (total(resource) / weight))


def used(stake: Stake, slot: int) -> int:
    """Units that have not recovered by that slot (`recovery`)."""
    return recovered(stake.used, stake.slot, slot, slots_of(stake.window))


def left(stake: Stake, resource: int, counters: Counters, slot: int) -> int:
    """Units that can be used in that slot; below 0 when the stake has shrunk since they were used."""
    return limit(stake, resource, counters) - used(stake, slot)


def use(stake: Stake, units: int, slot: int) -> Stake:
    """The stake after a use in that slot: what had not recovered goes on with the new use, in a window of its own.

    Nobody checks here that so much was left. `units` of 0 is java-tron's `updateUsage`: only the recovery so far.
    """
    after = refreshed(stake, units, slot)
    return replace(after, slot=slot)


def refreshed(stake: Stake, units: int, slot: int) -> Stake:
    """What `use` gives but for the slot of the last use (`increaseV2`, which leaves that to its callers)."""
    slots = slots_of(stake.window)
    old = _decayed(stake.used, stake.slot, slot, slots)
    after = (old * slots + _average(units, DAY_SLOTS) * DAY_SLOTS) // _PRECISION
    remaining = _units(old, slots)
    if remaining == 0:
        return replace(stake, used=after, window=FULL_WINDOW)
    window = (stake.window or FULL_WINDOW) - (slot - stake.slot) * WINDOW_PRECISION
    joined = _divide_up(remaining * window + units * FULL_WINDOW, after)
    return replace(stake, used=after, window=min(joined, FULL_WINDOW))


def take_back(owner: Stake, receiver: Stake, units: int, slot: int) -> Stake:
    """The owner's stake after use of a lent resource came back with it (`unDelegateIncreaseV2`)."""
    own = refreshed(owner, 0, slot)
    after = own.used + units
    if after == 0:
        return replace(own, used=0, slot=slot, window=FULL_WINDOW)
    windows = own.used * (own.window or FULL_WINDOW) + units * (receiver.window or FULL_WINDOW)
    return replace(own, used=after, slot=slot, window=min(_divide_up(windows, after), FULL_WINDOW))


def recovered(used_before: int, since_slot: int, slot: int, window: int = DAY_SLOTS) -> int:
    """What has not recovered by a slot of units that were used before, over a window in whole slots."""
    return _units(_decayed(used_before, since_slot, slot, window), window)


def increased(used_before: int, units: int) -> int:
    """What is used after one more use in the same slot, over a window of a day (`increase`)."""
    return _units(_average(used_before, DAY_SLOTS) + _average(units, DAY_SLOTS), DAY_SLOTS)


def slots_of(window: int) -> int:
    """A window in whole slots (`AccountCapsule.getWindowSize`)."""
    return DAY_SLOTS if window < WINDOW_PRECISION else window // WINDOW_PRECISION


def _decayed(used_before: int, since_slot: int, slot: int, window: int) -> int:
    """What is left of a use, as an average over the window."""
    average = _average(used_before, window)
    if slot == since_slot:
        return average
    if since_slot + window <= slot:
        return 0
    # Java's Math.round: half goes up.
    return int(average * ((window - (slot - since_slot)) / window) + 0.5)


def _average(units: int, window: int) -> int:
    return _divide_up(units * _PRECISION, window)


def _units(average: int, window: int) -> int:
    return average * window // _PRECISION


def _divide_up(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
