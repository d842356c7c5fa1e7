"""Who makes blocks, how they and their voters are paid, and what happens at the end of a maintenance period.

After java-tron's `MortgageService` (payments), `MaintenanceManager` (counting of votes) and `DposService` (order). All
witnesses and the votes that are still to be counted are one cell each, since nearly every block changes them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from services.devnet.parameters import (
    ACTIVE_WITNESSES,
    BLOCK_REWARD_SUN,
    BROKERAGE_PERCENT,
    MAINTENANCE_MS,
    STANDBY_REWARD_SUN,
    STANDBY_WITNESSES,
)
from services.devnet.state import Source, State, Votes

VI_PRECISION = 10**18
"""What a vote has earned is kept in so many parts of a sun (java-tron, `DECIMAL_OF_VI_REWARD`)."""

WITNESSES_KEY = b"witnesses"
"""Cell of all witnesses."""

_SOLIDIFIED_PERCENT = 70
_TALLY_KEY = b"votes to be counted"
_VI_KEY = b"vi "


@dataclass(frozen=True, slots=True)
class Witness:
    """A candidate for making blocks (java-tron, `WitnessCapsule` and what `DelegationStore` has of it)."""

    address: bytes
    """Its 21 bytes."""

    votes: int
    """Votes as of the last maintenance."""

    url: str
    """Where it presents itself."""

    reward_sun: int = 0
    """What its voters have earned together in this cycle."""

    allowance_sun: int = 0
    """Its own share of all rewards so far, not withdrawn yet."""

    latest: int = 0
    """Number of its newest block."""


def load(source: Source) -> tuple[Witness, ...]:
    """All witnesses, in the order in which they came."""
    cell = source.cell(WITNESSES_KEY)
    return _parse(cell) if cell else ()


def dump(witnesses: tuple[Witness, ...]) -> bytes:
    """The cell that `load` reads."""
    values = [
        [item.address.hex(), item.votes, item.url, item.reward_sun, item.allowance_sun, item.latest]
        for item in witnesses
    ]
    return json.dumps(values, separators=(",", ":")).encode()


def find(source: Source, address: bytes) -> Witness | None:
    """The witness of that address, None if it is no witness."""
    return next((witness for witness in load(source) if witness.address == address), None)


def schedule(witnesses: tuple[Witness, ...]) -> tuple[Witness, ...]:
    """Those who make blocks, in the order of their turns: the 27 with most votes (`WitnessStore.sortWitness`)."""
    return _ranked(witnesses)[:ACTIVE_WITNESSES]


def in_turn(source: Source, slot: int) -> bytes:
    """The address of the witness whose turn a slot is, counted from block 0 (`DposSlot.getScheduledWitness`)."""
    active = _scheduled(source.cell(WITNESSES_KEY) or b"[]")
    return active[slot % len(active)]


def confirmed(source: Source) -> int:
    """The newest block that 19 of the 27 made themselves or built upon (`DposService.updateSolidBlock`)."""
    latest = sorted(witness.latest for witness in schedule(load(source)))
    return latest[int(len(latest) * (1 - _SOLIDIFIED_PERCENT / 100))]


def vi(source: Source, cycle: int) -> Mapping[bytes, int]:
    """What one vote for each witness has earned from cycle 0 to that one included, in parts of a sun."""
    cell = source.cell(_VI_KEY + cycle.to_bytes(8)) if cycle >= 0 else None
    return _parse_vi(cell) if cell else {}


def count_votes(state: State, before: Votes, after: Votes) -> None:
    """Remember that an account's votes changed; the next maintenance counts it (`VotesStore`)."""
    tally = _tally(state)
    for votes, sign in ((before, -1), (after, 1)):
        for address, count in votes:
            tally[address.hex()] = tally.get(address.hex(), 0) + sign * count
    state.set_cell(_TALLY_KEY, json.dumps(tally, separators=(",", ":")).encode())


def apply_block(state: State, number: int, time_ms: int, maker: bytes, genesis_ms: int) -> None:
    """Pay for a block and, when it is time, do the maintenance: after its transactions, as `Manager.processBlock`."""
    pay_block(state, maker)
    made = (replace(witness, latest=number) if witness.address == maker else witness for witness in load(state))
    _save(state, tuple(made))
    counters = state.counters
    due_ms = counters.maintenance_ms or genesis_ms
    is_due = due_ms <= time_ms
    if is_due:
        if number != 1:
            maintain(state)
        rounds = (time_ms - due_ms) // MAINTENANCE_MS + 1
        due_ms += rounds * MAINTENANCE_MS
    state.set_counters(replace(state.counters, maintenance_ms=due_ms, was_maintenance=is_due))


def pay_block(state: State, maker: bytes) -> None:
    """Pay the maker of a block, and the 127 with most votes by their votes (`Manager.payReward`)."""
    witnesses = load(state)
    standby = [witness for witness in _ranked(witnesses)[:STANDBY_WITNESSES] if witness.votes > 0]
    votes = sum(witness.votes for witness in standby)
    paid = [(maker, BLOCK_REWARD_SUN)]
    paid += [(witness.address, int(witness.votes * (STANDBY_REWARD_SUN / votes))) for witness in standby]
    rewards, allowances = dict[bytes, int](), dict[bytes, int]()
    for address, amount_sun in paid:
        kept_sun = int(BROKERAGE_PERCENT / 100 * amount_sun)
        allowances[address] = allowances.get(address, 0) + kept_sun
        rewards[address] = rewards.get(address, 0) + amount_sun - kept_sun
    state.count(minted_sun=sum(amount for _, amount in paid), voters_sun=sum(rewards.values()))
    _save(
        state,
        tuple(
            replace(
                witness,
                reward_sun=witness.reward_sun + rewards.get(witness.address, 0),
                allowance_sun=witness.allowance_sun + allowances.get(witness.address, 0),
            )
            for witness in witnesses
        ),
    )


def maintain(state: State) -> None:
    """End a cycle: settle what a vote earned in it, count the new votes, begin the next (`doMaintenance`)."""
    cycle = state.counters.cycle
    witnesses, before, tally = load(state), vi(state, cycle - 1), _tally(state)
    earned = {witness.address: _earned(witness, before.get(witness.address, 0)) for witness in witnesses}
    text = json.dumps({address.hex(): total for address, total in earned.items() if total}, separators=(",", ":"))
    state.set_cell(_VI_KEY + cycle.to_bytes(8), text.encode())
    _save(
        state,
        tuple(
            replace(witness, votes=witness.votes + tally.get(witness.address.hex(), 0), reward_sun=0)
            for witness in witnesses
        ),
    )
    if tally:
        state.set_cell(_TALLY_KEY, None)
    state.count(cycle=1)


def _earned(witness: Witness, before: int) -> int:
    if witness.reward_sun == 0 or witness.votes == 0:
        return before
    return before + witness.reward_sun * VI_PRECISION // witness.votes


def _ranked(witnesses: tuple[Witness, ...]) -> tuple[Witness, ...]:
    """By votes, most first; among equals the higher address comes first."""
    return tuple(sorted(witnesses, key=lambda witness: (witness.votes, witness.address), reverse=True))


def _save(state: State, witnesses: tuple[Witness, ...]) -> None:
    state.set_cell(WITNESSES_KEY, dump(witnesses))


def _tally(source: Source) -> dict[str, int]:
    cell = source.cell(_TALLY_KEY)
    return json.loads(cell) if cell else {}


@lru_cache(maxsize=64)
def _scheduled(cell: bytes) -> tuple[bytes, ...]:
    return tuple(witness.address for witness in schedule(_parse(cell)))


@lru_cache(maxsize=64)
def _parse(cell: bytes) -> tuple[Witness, ...]:
    return tuple(Witness(bytes.fromhex(address), *rest) for address, *rest in json.loads(cell))


@lru_cache(maxsize=64)
def _parse_vi(cell: bytes) -> Mapping[bytes, int]:
    return {bytes.fromhex(address): total for address, total in json.loads(cell).items()}
