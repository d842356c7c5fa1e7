"""Votes and what they earn: refusals, cycles, brokerage, and the numbers that a real node paid."""

from itertools import pairwise
from typing import Any

import pytest

from services.devnet import rewards, witnesses
from services.devnet.chain import Chain, slot_of
from services.devnet.genesis import KnownKey, candidates
from services.devnet.genesis import witnesses as first_witnesses
from services.devnet.witnesses import Witness
from services.protocol.address import Address
from services.protocol.block import Block
from services.protocol.contracts import FreezeBalanceV2, Resource, Vote, VoteWitness, WithdrawBalance

Keys = tuple[KnownKey, ...]
TRX = 1_000_000
INVALID = "Contract validate error : "
DAY_SLOTS = 28_800
INT64_MAX = (1 << 63) - 1

FIRST, SECOND = (key.address.raw for key in first_witnesses()[:2])
CANDIDATE = candidates()[0].address.raw
BLOCK_SUN = 32_000_000
STANDBY_SUN = 16_000_000


@pytest.fixture
def owner(world: Any, accounts: Keys) -> bytes:
    address: bytes = world.add(accounts[0], 10_000 * TRX)
    world.run(FreezeBalanceV2, owner=address, amount_sun=5_000 * TRX, resource=1)
    return address


def vote(world: Any, owner: bytes, *votes: tuple[bytes, int]) -> None:
    world.run(VoteWitness, owner=owner, votes=[{"address": address, "count": count} for address, count in votes])


def owed_sun(world: Any, owner: bytes) -> int:
    return rewards.owed_sun(world.state, world.account(owner))


# --- voting ---


def test_voting_is_refused_in_java_trons_order(world: Any, owner: bytes, strangers: Keys) -> None:
    def refusal(*votes: tuple[bytes, int], owner: bytes = owner) -> str:
        given = [{"address": address, "count": count} for address, count in votes]
        words: str = world.refusal(VoteWitness, owner=owner, votes=given)
        return words.removeprefix(INVALID)

    nobody, plain = strangers[0].address, world.add(strangers[1])
    assert refusal(owner=b"") == "Invalid address"
    assert refusal(owner=nobody.raw) == "VoteNumber must more than 0"
    assert refusal(*[(b"", 0)] * 31, owner=nobody.raw) == "VoteNumber more than maxVoteNumber 30"
    assert refusal((b"", 0), owner=nobody.raw) == "Invalid vote address!"
    for count in (0, -1):
        assert refusal((nobody.raw, count), owner=nobody.raw) == "vote count must be greater than 0"
    assert refusal((nobody.raw, 1), owner=nobody.raw) == f"Account[{nobody.hex}] not exists"
    assert refusal((plain, 1), owner=nobody.raw) == f"Witness[{plain.hex()}] not exists"
    huge = f"overflow: checkedAdd({INT64_MAX}, 1)"
    assert refusal((FIRST, INT64_MAX), (SECOND, 1), owner=nobody.raw) == huge
    assert refusal((FIRST, 1), owner=nobody.raw) == f"Account[{nobody.hex}] not exists"
    assert refusal((FIRST, INT64_MAX)) == f"overflow: checkedMultiply({INT64_MAX}, 1000000)"
    assert refusal((FIRST, 5_000), (SECOND, 1)) == (
        "The total number of votes[5001000000] is greater than the tronPower[5000000000]"
    )


def test_votes_are_counted_at_the_next_maintenance(world: Any, owner: bytes) -> None:
    vote(world, owner, (FIRST, 3), (CANDIDATE, 4_000))
    assert world.account(owner).votes == ((FIRST, 3), (CANDIDATE, 4_000))
    assert found(world, CANDIDATE).votes == 0
    # The last votes of a period are those that count.
    vote(world, owner, (CANDIDATE, 2_000))
    witnesses.maintain(world.state)
    assert (found(world, FIRST).votes, found(world, CANDIDATE).votes) == (1_000, 2_000)
    vote(world, owner, (SECOND, 7))
    witnesses.maintain(world.state)
    assert (found(world, SECOND).votes, found(world, CANDIDATE).votes) == (999 + 7, 0)
    witnesses.maintain(world.state)
    assert found(world, SECOND).votes == 999 + 7


def test_the_27_with_most_votes_make_blocks_in_the_order_of_their_votes(world: Any, owner: bytes) -> None:
    before = [witness.address for witness in witnesses.schedule(witnesses.load(world.state))]
    assert before == [key.address.raw for key in first_witnesses()]
    vote(world, owner, (CANDIDATE, 5_000))
    witnesses.maintain(world.state)
    after = [witness.address for witness in witnesses.schedule(witnesses.load(world.state))]
    assert after == [CANDIDATE, *before[:-1]]
    assert witnesses.in_turn(world.state, 27) == CANDIDATE


def test_among_equals_the_higher_address_comes_first() -> None:
    low, high = Witness(b"\x41" + bytes(20), 5, ""), Witness(b"\x41" + b"\xff" * 20, 5, "")
    assert witnesses.schedule((low, high)) == (high, low)


def found(world: Any, address: bytes) -> Witness:
    witness = witnesses.find(world.state, address)
    assert witness is not None
    return witness


# --- rewards ---


def test_a_witness_is_paid_what_a_real_node_paid(world: Any) -> None:
    # A java-tron of 27 witnesses with these votes owed its first one this much after 53 blocks, two of them its own.
    for number in range(53):
        witnesses.pay_block(world.state, FIRST if number < 2 else SECOND)
    assert owed_sun(world, FIRST) == 19_164_187


def test_four_fifths_of_the_rewards_belong_to_the_voters(world: Any) -> None:
    before = world.total_sun()
    witnesses.pay_block(world.state, FIRST)
    share = int(1_000 * (STANDBY_SUN / 26_649))
    assert found(world, FIRST).allowance_sun == BLOCK_SUN // 5 + share // 5
    assert found(world, FIRST).reward_sun == BLOCK_SUN // 5 * 4 + share - share // 5
    assert found(world, CANDIDATE) == Witness(CANDIDATE, 0, "http://sr27.invalid")
    counters = world.state.counters
    assert 0 <= BLOCK_SUN + STANDBY_SUN - counters.minted_sun < 27
    total = sum(witness.reward_sun for witness in witnesses.load(world.state))
    assert counters.voters_sun == total
    assert world.total_sun() == before


def test_votes_earn_from_the_next_cycle_on_their_share_of_the_witnesses_rewards(world: Any, owner: bytes) -> None:
    def cycle(blocks: int = 10) -> int:
        """Ten blocks of the first witness; returns what all its voters have earned with them."""
        for _ in range(blocks):
            witnesses.pay_block(world.state, FIRST)
        earned = found(world, FIRST).reward_sun
        witnesses.maintain(world.state)
        return earned

    before = world.total_sun()
    vote(world, owner, (FIRST, 1_000))
    cycle()
    # The cycle in which the votes were given earns nothing.
    assert owed_sun(world, owner) == 0
    second = cycle()
    # Half of the 2,000 votes are the owner's.
    assert owed_sun(world, owner) == pytest.approx(second // 2, abs=1)
    first_half = owed_sun(world, owner)
    vote(world, owner, (SECOND, 1_000))
    assert world.account(owner).allowance_sun == first_half
    third = cycle()
    # The old votes counted for one more cycle, in which the new ones were given.
    assert owed_sun(world, owner) == pytest.approx(first_half + third // 2, abs=1)
    before_fourth = owed_sun(world, owner)
    standby = cycle(0)
    assert (standby, owed_sun(world, owner)) == (0, before_fourth)
    assert world.total_sun() == before


def test_who_asks_twice_in_a_cycle_gets_nothing_more(world: Any, owner: bytes) -> None:
    vote(world, owner, (FIRST, 1_000))
    for _ in range(3):
        witnesses.pay_block(world.state, FIRST)
        witnesses.maintain(world.state)
    owed = owed_sun(world, owner)
    assert owed > 0
    for _ in range(2):
        rewards.settle(world.state, owner)
        assert (world.account(owner).allowance_sun, owed_sun(world, owner)) == (owed, owed)


# --- withdrawing ---


def test_withdrawing_is_refused_in_java_trons_order(world: Any, owner: bytes, strangers: Keys) -> None:
    def refusal(**values: Any) -> str:
        words: str = world.refusal(WithdrawBalance, **values)
        return words.removeprefix(INVALID)

    nobody = strangers[0].address
    assert refusal() == "Invalid address"
    assert refusal(owner=nobody.raw) == f"Account[{nobody.hex}] not exists"
    guard = f"Account[{FIRST.hex()}] is a guard representative and is not allowed to withdraw Balance"
    assert refusal(owner=FIRST) == guard
    assert refusal(owner=owner) == "witnessAccount does not have any reward"
    world.state.change(owner).withdrawn_ms = world.context.head_ms - 1
    early = f"The last withdraw time is {world.context.head_ms - 1}, less than 24 hours"
    assert refusal(owner=owner) == early


def test_withdrawing_pays_everything_once_a_day(world: Any, owner: bytes) -> None:
    vote(world, owner, (FIRST, 1_000))
    for _ in range(2):
        witnesses.pay_block(world.state, FIRST)
        witnesses.maintain(world.state)
    owed = owed_sun(world, owner)
    before = world.account(owner).balance_sun
    receipt = world.run(WithdrawBalance, owner=owner)
    assert receipt.withdrawn_sun == owed > 0
    account = world.account(owner)
    assert (account.balance_sun, account.allowance_sun) == (before + owed, 0)
    assert account.withdrawn_ms == world.context.head_ms
    witnesses.pay_block(world.state, FIRST)
    witnesses.maintain(world.state)
    world.wait(slots=DAY_SLOTS - 1)
    assert "less than 24 hours" in world.refusal(WithdrawBalance, owner=owner)
    world.wait(slots=1)
    assert world.run(WithdrawBalance, owner=owner).withdrawn_sun == pytest.approx(owed, rel=0.1)


# --- maintenance on a chain ---


def test_maintenance_comes_every_five_minutes_and_leaves_two_slots_empty(chain: Chain) -> None:
    genesis_ms = chain.store.blocks(0, 1)[0].time_ms
    for _ in range(250):
        chain.produce()
    made = chain.store.blocks(1, chain.head.number + 1)
    flagged = [block for block in made if block.counters.was_maintenance]
    assert [block.number for block in flagged][:1] == [1]
    assert [block.counters.cycle for block in flagged] == list(range(len(flagged)))
    for block, after in pairwise(made):
        gap = after.time_ms - block.time_ms
        assert gap == (9_000 if block.counters.was_maintenance else 3_000)
        is_due = (after.time_ms - genesis_ms) // 300_000 > (block.time_ms - genesis_ms) // 300_000
        assert after.counters.was_maintenance == is_due
        assert after.counters.maintenance_ms > after.time_ms
    assert len(flagged) >= 3


def test_a_long_pause_is_one_maintenance(chain: Chain, advance: Any) -> None:
    chain.produce()
    advance(24 * 3600)
    block = chain.produce()
    assert (block.counters.cycle, block.counters.was_maintenance) == (1, True)
    assert 0 < block.counters.maintenance_ms - block.time_ms <= 300_000


def test_a_candidate_with_votes_makes_blocks_after_the_maintenance(
    chain: Chain, accounts: Keys, advance: Any, build: Any
) -> None:
    voter = accounts[0]
    freeze = FreezeBalanceV2(voter.address, 2_000 * TRX, Resource.ENERGY)
    votes = VoteWitness(voter.address, (Vote(Address(CANDIDATE), 2_000),))
    for contract in (freeze, votes):
        chain.submit(build(chain, voter, voter.address, contract=contract))
    chain.produce()
    advance(300)
    chain.produce()
    for _ in range(27):
        chain.produce()
    made = {block.header.witness_address for block in chain.store.blocks(chain.head.number - 26, chain.head.number + 1)}
    assert CANDIDATE in made
    assert first_witnesses()[26].address.raw not in made
    for block in chain.store.blocks(2, chain.head.number + 1):
        assert Block(block.header, (), block.signature).signer.raw == block.header.witness_address
    order = [witness.address for witness in witnesses.schedule(witnesses.load(chain.pending))]
    assert chain.head.header.witness_address == order[slot_of(chain.head.time_ms) % 27]


# --- solidity ---


def test_a_block_is_solid_once_19_witnesses_built_upon_it(make_chain: Any) -> None:
    chain: Chain = make_chain()
    for _ in range(150):
        chain.produce()
        # Over maintenances too, whose two empty slots leave enough witnesses.
        assert chain.solid.number == max(0, chain.head.number - 18)


def test_after_a_gap_solidity_waits_until_enough_witnesses_have_had_their_turn(make_chain: Any) -> None:
    chain: Chain = make_chain()
    for _ in range(40):
        chain.produce()
    before = chain.solid.number
    # 20 slots without a block: those whose turns they were confirm nothing.
    chain.produce(missed=20)
    lags = []
    for _ in range(30):
        chain.produce()
        made = chain.store.blocks(1, chain.head.number + 1)
        latest = {block.header.witness_address: block.number for block in made}
        expected = sorted(latest.values())[8]
        assert chain.solid.number == max(before, expected)
        lags.append(chain.head.number - chain.solid.number)
    assert max(lags) > 18
    assert lags[-1] == 18
