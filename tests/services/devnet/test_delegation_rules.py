"""Lending a resource and taking it back: every refusal in java-tron's order and words, every effect, locks, usage."""

from dataclasses import replace
from typing import Any

import pytest

from services.devnet import delegations, resources
from services.devnet.delegations import Delegation
from services.devnet.genesis import KnownKey
from services.devnet.resources import DAY_SLOTS, FULL_WINDOW
from services.devnet.rules.delegate import unused_sun
from services.devnet.state import Stake
from services.protocol.contracts import DelegateResource, FreezeBalanceV2, Resource, UnDelegateResource

Keys = tuple[KnownKey, ...]
BANDWIDTH, ENERGY, TRON_POWER = Resource
TRX = 1_000_000
INVALID = "Contract validate error : "
DAY_MS = 86_400_000


@pytest.fixture
def owner(world: Any, accounts: Keys) -> bytes:
    address: bytes = world.add(accounts[0], 100 * TRX)
    return address


@pytest.fixture
def other(world: Any, accounts: Keys) -> bytes:
    address: bytes = world.add(accounts[1], 100 * TRX)
    return address


# --- lending ---


def test_lending_is_refused_in_java_trons_order(world: Any, owner: bytes, other: bytes, strangers: Keys) -> None:
    def refusal(**values: Any) -> str:
        words: str = world.refusal(DelegateResource, **values)
        return words.removeprefix(INVALID)

    nobody = strangers[0].address
    contract = world.add(strangers[1], is_contract=True)
    assert refusal() == "Invalid address"
    assert refusal(owner=nobody.raw) == f"Account[{nobody.hex}] not exists"
    below = "delegateBalance must be greater than or equal to 1 TRX"
    assert refusal(owner=owner, balance_sun=TRX - 1, resource=2) == below
    kinds = "ResourceCode error, valid ResourceCode[BANDWIDTH、ENERGY]"
    assert refusal(owner=owner, balance_sun=TRX, resource=2) == kinds
    for resource, name in ((0, "FreezeBandwidthV2"), (1, "FreezeEnergyV2")):
        words = f"delegateBalance must be less than or equal to available {name} balance"
        assert refusal(owner=owner, balance_sun=TRX, resource=resource) == words
    world.run(FreezeBalanceV2, owner=owner, amount_sun=10 * TRX, resource=ENERGY)
    lent = {"owner": owner, "balance_sun": TRX, "resource": 1}
    assert refusal(**lent) == "Invalid receiverAddress"
    assert refusal(**lent, receiver=owner) == "receiverAddress must not be the same as ownerAddress"
    assert refusal(**lent, receiver=nobody.raw) == f"Account[{nobody.hex}] not exists"
    beyond = "The lock period of delegate resource cannot be less than 0 and cannot exceed 864000!"
    for slots in (-1, 864_001):
        assert refusal(**lent, receiver=contract, lock=True, lock_period=slots) == beyond
    words = "Do not allow delegate resources to contract addresses"
    # Without a lock nobody looks at its period.
    assert refusal(**lent, receiver=contract, lock_period=-1) == words
    world.run(DelegateResource, **lent, receiver=other, lock=True, lock_period=1_000)
    shorter = (
        "The lock period for ENERGY this time cannot be less than the remaining time[3000000ms] of the last lock "
        "period for ENERGY!"
    )
    assert refusal(**lent, receiver=other, lock=True, lock_period=999) == shorter


@pytest.mark.parametrize("resource", [BANDWIDTH, ENERGY])
def test_what_is_lent_leaves_the_owner_and_serves_the_receiver(
    world: Any, owner: bytes, other: bytes, resource: Resource
) -> None:
    world.run(FreezeBalanceV2, owner=owner, amount_sun=10 * TRX, resource=resource)
    total = resources.total(resource)
    world.run(DelegateResource, owner=owner, resource=resource, balance_sun=4 * TRX, receiver=other)
    lender, borrower = (world.account(address).stake(resource) for address in (owner, other))
    assert lender == Stake(own_sun=6 * TRX, delegated_sun=4 * TRX)
    assert borrower == Stake(acquired_sun=4 * TRX)
    counters = world.state.counters
    # Total weight and tron power are what they were.
    assert (counters.weight(resource), world.account(owner).tron_power_sun) == (10, 10 * TRX)
    assert resources.limit(lender, resource, counters) == total * 6 // 10
    assert resources.limit(borrower, resource, counters) == total * 4 // 10
    assert delegations.partners(world.state, owner) == ([], [other])
    assert delegations.partners(world.state, other) == ([owner], [])


def test_only_what_is_not_in_use_can_be_lent(world: Any, owner: bytes, other: bytes) -> None:
    world.run(FreezeBalanceV2, owner=owner, amount_sun=10 * TRX, resource=ENERGY)
    account = world.state.change(owner)
    # A quarter of the day's energy is in use: a quarter of the stake stays.
    account.energy = resources.use(account.energy, resources.total(ENERGY) // 4, world.context.slot)
    assert unused_sun(world.state, account, ENERGY, world.context.slot, is_draft=False) == 7_500_000
    lent = {"owner": owner, "resource": 1, "receiver": other}
    too_much = "delegateBalance must be less than or equal to available FreezeEnergyV2 balance"
    assert world.refusal(DelegateResource, **lent, balance_sun=7_500_001).removeprefix(INVALID) == too_much
    world.wait(slots=DAY_SLOTS // 2)
    assert world.refusal(DelegateResource, **lent, balance_sun=8_750_001).removeprefix(INVALID) == too_much
    world.run(DelegateResource, **lent, balance_sun=8_750_000)


def test_borrowed_stake_counts_as_used_first(world: Any, owner: bytes) -> None:
    world.run(FreezeBalanceV2, owner=owner, amount_sun=10 * TRX, resource=ENERGY)
    account = world.state.change(owner)
    account.energy = replace(account.energy, acquired_sun=2 * TRX)
    account.energy = resources.use(account.energy, resources.total(ENERGY) // 2, world.context.slot)
    # Half a day's energy is the use of 5 TRX, 2 of which are borrowed.
    assert unused_sun(world.state, account, ENERGY, world.context.slot, is_draft=False) == 7 * TRX


def test_a_draft_leaves_room_for_the_bandwidth_of_the_delegation(world: Any, owner: bytes, other: bytes) -> None:
    world.run(FreezeBalanceV2, owner=owner, amount_sun=10 * TRX, resource=BANDWIDTH)
    # With so much staked by others 281 bytes are the use of 281 TRX.
    world.state.count(total_net_weight=43_200_000_000 - 10)
    world.draft()
    refused = world.refusal(DelegateResource, owner=owner, balance_sun=TRX, receiver=other)
    assert refused.endswith("available FreezeBandwidthV2 balance")
    account = world.account(owner)
    left_sun = unused_sun(world.state, account, BANDWIDTH, world.context.slot, is_draft=True)
    # 275 bytes, two for the lock, four for the period, none more for the amount.
    assert left_sun == 10 * TRX - (275 + 2 + 4 + 1) * TRX
    world.context = replace(world.context, is_draft=False)
    world.run(DelegateResource, owner=owner, balance_sun=10 * TRX, receiver=other)


# --- locks ---


def test_a_lock_lasts_three_days_unless_it_says_otherwise(world: Any, owner: bytes, other: bytes) -> None:
    world.run(FreezeBalanceV2, owner=owner, amount_sun=10 * TRX, resource=ENERGY)
    lent = {"owner": owner, "resource": 1, "receiver": other}
    now_ms = world.context.head_ms
    world.run(DelegateResource, **lent, balance_sun=2 * TRX, lock=True)
    locked = delegations.find(world.state, owner, other, locked=True)
    assert locked == Delegation(energy_sun=2 * TRX, energy_expires_ms=now_ms + 3 * DAY_MS)
    world.run(DelegateResource, **lent, balance_sun=1 * TRX)
    assert delegations.find(world.state, owner, other, locked=False) == Delegation(energy_sun=TRX)
    world.run(DelegateResource, **lent, balance_sun=1 * TRX, lock=True, lock_period=864_000)
    locked = delegations.find(world.state, owner, other, locked=True)
    assert locked == Delegation(energy_sun=3 * TRX, energy_expires_ms=now_ms + 30 * DAY_MS)


def test_what_is_locked_comes_back_after_the_lock_only(world: Any, owner: bytes, other: bytes) -> None:
    world.run(FreezeBalanceV2, owner=owner, amount_sun=10 * TRX, resource=ENERGY)
    lent = {"owner": owner, "resource": 1, "receiver": other}
    world.run(DelegateResource, **lent, balance_sun=2 * TRX, lock=True, lock_period=10)
    world.run(DelegateResource, **lent, balance_sun=1 * TRX)
    world.wait(slots=10)
    # The time itself is still within the lock.
    assert world.refusal(UnDelegateResource, **lent, balance_sun=TRX + 1).removeprefix(INVALID) == (
        f"insufficient delegateFrozenBalance(Energy), request={TRX + 1}, unlock_balance={TRX}"
    )
    world.wait(slots=1)
    world.run(UnDelegateResource, **lent, balance_sun=3 * TRX)
    assert delegations.find(world.state, owner, other, locked=True) is None
    assert delegations.find(world.state, owner, other, locked=False) is None
    assert delegations.partners(world.state, owner) == ([], [])
    assert world.account(owner).energy == Stake(own_sun=10 * TRX)


def test_a_partner_stays_known_while_anything_is_lent(world: Any, owner: bytes, other: bytes) -> None:
    world.run(FreezeBalanceV2, owner=owner, amount_sun=10 * TRX, resource=ENERGY)
    world.run(FreezeBalanceV2, owner=owner, amount_sun=10 * TRX, resource=BANDWIDTH)
    world.run(DelegateResource, owner=owner, resource=1, receiver=other, balance_sun=TRX)
    world.run(DelegateResource, owner=owner, resource=0, receiver=other, balance_sun=TRX, lock=True)
    world.run(UnDelegateResource, owner=owner, resource=1, receiver=other, balance_sun=TRX)
    assert delegations.partners(world.state, other) == ([owner], [])
    world.wait(slots=3 * DAY_SLOTS + 1)
    world.run(UnDelegateResource, owner=owner, resource=0, receiver=other, balance_sun=TRX)
    assert delegations.partners(world.state, other) == ([], [])


# --- taking back ---


def test_taking_back_is_refused_in_java_trons_order(world: Any, owner: bytes, other: bytes, strangers: Keys) -> None:
    def refusal(**values: Any) -> str:
        words: str = world.refusal(UnDelegateResource, **values)
        return words.removeprefix(INVALID)

    nobody = strangers[0].address
    assert refusal() == "Invalid address"
    assert refusal(owner=nobody.raw) == f"Account[{nobody.hex}] does not exist"
    assert refusal(owner=owner) == "Invalid receiverAddress"
    assert refusal(owner=owner, receiver=owner) == "receiverAddress must not be the same as ownerAddress"
    # A receiver that is not there may have been a contract that destroyed itself.
    for receiver in (other, nobody.raw):
        assert refusal(owner=owner, receiver=receiver) == "delegated Resource does not exist"
    world.run(FreezeBalanceV2, owner=owner, amount_sun=10 * TRX, resource=BANDWIDTH)
    world.run(DelegateResource, owner=owner, receiver=other, balance_sun=5 * TRX)
    for balance_sun in (0, -1):
        words = "unDelegateBalance must be more than 0 TRX"
        assert refusal(owner=owner, receiver=other, balance_sun=balance_sun, resource=2) == words
    kinds = "ResourceCode error.valid ResourceCode[BANDWIDTH、Energy]"
    assert refusal(owner=owner, receiver=other, balance_sun=TRX, resource=2) == kinds
    assert refusal(owner=owner, receiver=other, balance_sun=5 * TRX + 1) == (
        f"insufficient delegatedFrozenBalance(BANDWIDTH), request={5 * TRX + 1}, unlock_balance={5 * TRX}"
    )
    assert refusal(owner=owner, receiver=other, balance_sun=1, resource=1) == (
        "insufficient delegateFrozenBalance(Energy), request=1, unlock_balance=0"
    )


def test_use_comes_back_with_the_stake_and_recovers_over_the_receivers_window(
    world: Any, owner: bytes, other: bytes
) -> None:
    world.run(FreezeBalanceV2, owner=owner, amount_sun=10 * TRX, resource=ENERGY)
    world.run(DelegateResource, owner=owner, resource=1, receiver=other, balance_sun=4 * TRX)
    borrower = world.state.change(other)
    units = resources.total(ENERGY) // 10
    borrower.energy = resources.use(borrower.energy, units, world.context.slot)
    world.wait(slots=DAY_SLOTS // 2)
    slot = world.context.slot
    assert resources.used(world.account(other).energy, slot) == units // 2
    world.run(UnDelegateResource, owner=owner, resource=1, receiver=other, balance_sun=TRX)
    lender, borrower = world.account(owner).energy, world.account(other).energy
    # One of the four borrowed TRX went, with a quarter of what was in use.
    assert (lender.used, borrower.used) == (units // 8, units // 2 - units // 8)
    assert (lender.own_sun, lender.delegated_sun, borrower.acquired_sun) == (7 * TRX, 3 * TRX, 3 * TRX)
    assert (lender.slot, borrower.slot) == (slot, slot)
    # Half of the window was over for the borrower, and so it is for the lender now.
    assert (lender.window, borrower.window) == (FULL_WINDOW // 2, FULL_WINDOW // 2)
    assert resources.used(lender, slot + DAY_SLOTS // 4) == units // 16
    assert resources.used(lender, slot + DAY_SLOTS // 2) == 0


def test_windows_of_own_and_returned_use_are_joined_by_their_weights(world: Any, owner: bytes, other: bytes) -> None:
    world.run(FreezeBalanceV2, owner=owner, amount_sun=10 * TRX, resource=ENERGY)
    world.run(DelegateResource, owner=owner, resource=1, receiver=other, balance_sun=5 * TRX)
    for address, age in ((other, DAY_SLOTS // 2), (owner, 0)):
        account = world.state.change(address)
        account.energy = resources.use(account.energy, 1_000_000 * (1 + (age > 0)), world.context.slot)
        world.wait(slots=age)
    world.run(UnDelegateResource, owner=owner, resource=1, receiver=other, balance_sun=5 * TRX)
    lender = world.account(owner).energy
    # A million that recovers in a whole day and a million that does in half a day: three quarters.
    assert (lender.used, lender.window) == (2_000_000, FULL_WINDOW * 3 // 4)
    assert world.account(other).energy.used == 0


def test_no_more_use_comes_back_than_the_stake_gives(world: Any, owner: bytes, other: bytes) -> None:
    world.run(FreezeBalanceV2, owner=owner, amount_sun=10 * TRX, resource=ENERGY)
    world.run(DelegateResource, owner=owner, resource=1, receiver=other, balance_sun=2 * TRX)
    borrower = world.state.change(other)
    # More is in use than the stake gives, since the weights of others have grown.
    borrower.energy = resources.use(borrower.energy, resources.total(ENERGY), world.context.slot)
    world.run(UnDelegateResource, owner=owner, resource=1, receiver=other, balance_sun=TRX)
    assert world.account(owner).energy.used == resources.total(ENERGY) // 10


def test_taking_back_unused_stake_leaves_the_owners_use_alone(world: Any, owner: bytes, other: bytes) -> None:
    world.run(FreezeBalanceV2, owner=owner, amount_sun=10 * TRX, resource=BANDWIDTH)
    world.run(DelegateResource, owner=owner, receiver=other, balance_sun=2 * TRX)
    account = world.state.change(owner)
    account.bandwidth = resources.use(account.bandwidth, 500, world.context.slot)
    before = account.bandwidth
    world.wait(slots=100)
    world.run(UnDelegateResource, owner=owner, receiver=other, balance_sun=TRX)
    assert world.account(owner).bandwidth == replace(before, own_sun=9 * TRX, delegated_sun=TRX)
