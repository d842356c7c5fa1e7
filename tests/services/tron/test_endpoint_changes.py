"""Endpoints that are taken away, added, set up anew or exchanged while orders are on their way."""

import pytest

from services.kit.errors import Conflict, Unavailable
from services.tron.api import EndpointState, JobState
from tests.services.tron.conftest import MakeWorld
from tests.services.tron.world import REFUSED, FakeChain, FakeNode, Fault, World, http, said

END = (JobState.PAID, JobState.FAILED_ON_CHAIN, JobState.DEAD)
SWALLOW = Fault(take=False, answer=said("SUCCESS"))


def swallow(world: World) -> None:
    for node in world.nodes:
        node.faults.extend([SWALLOW] * 999)


def another(world: World) -> FakeNode:
    """An endpoint more."""
    return FakeNode(f"node-{len(world.nodes)}", world.chain, world.seams)


async def test_nodes_without_history_cannot_bury_what_was_paid_before_their_first_block(world: World) -> None:
    """The machine was off for hours; meanwhile both nodes were set up anew from a snapshot of yesterday's end."""
    await world.submit()
    await world.until(JobState.SEEN)
    await world.stop()
    for _ in range(200):
        world.chain.mine()
    for node in world.nodes:
        node.keeps_from = world.chain.head.number - 50
    await world.restart()
    await world.run(60)
    job = await world.job()
    assert job.state in {JobState.SENDING, JobState.SEEN}
    assert "does not have block" in job.waiting
    for node in world.nodes:
        node.keeps_from = 0
    assert (await world.until(*END)).state is JobState.PAID


async def test_another_chain_with_our_block_zero_cannot_bury_anything(world: World) -> None:
    """A chain that was begun anew has the same block 0 and solid blocks of the right time, and never knew the order."""
    await world.submit()
    await world.until(JobState.SEEN)
    await world.stop()
    fresh = FakeChain(world.chain.solid_lag, salt=99)
    for _ in range(200):
        fresh.mine()
    for node in world.nodes:
        node.chain = fresh
    await world.restart()
    await world.run(60)
    job = await world.job()
    assert job.state in {JobState.SENDING, JobState.SEEN}
    assert "other chain" in job.waiting


async def test_a_very_old_transaction_is_still_proved_dead(world: World) -> None:
    """Its block's two low bytes have come round since; the block is looked for at all numbers that end so."""
    swallow(world)
    await world.submit()
    await world.until(JobState.SENDING)
    await world.stop()
    for _ in range(2 * 65_536 + 100):
        world.chain.mine(include=False)
    await world.restart()
    assert (await world.until(*END)).state is JobState.DEAD


async def test_a_second_endpoint_makes_the_operators_word_needless(make_world: MakeWorld) -> None:
    world = make_world(nodes=1)
    await world.start()
    swallow(world)
    await world.submit()
    await world.run(400)
    assert (await world.job()).proof is not None
    world.nodes.append(another(world))
    await world.restart()
    dead = await world.until(*END)
    assert dead.state is JobState.DEAD
    assert dead.proof is not None
    assert (len(dead.proof.witnesses), dead.proof.single_endpoint) == (2, False)


async def test_a_proof_of_one_endpoint_cannot_be_accepted_once_two_are_configured(make_world: MakeWorld) -> None:
    """The first endpoint hid the payment; the second knows it but does not answer just now."""
    world = make_world(nodes=1)
    await world.start()
    await world.submit()
    await world.until(JobState.SENDING)
    world.nodes[0].hides = True
    await world.run(400)
    txid = (await world.job()).txid or ""
    world.nodes.append(another(world))
    world.nodes[1].down = REFUSED
    await world.restart()
    await world.run(30)
    with pytest.raises(Conflict):
        await world.sender.accept_death(world.key, txid, "bob")
    job = await world.job()
    assert (job.state, job.proof) == (JobState.SENDING, None)
    assert "accept" not in job.waiting
    world.nodes[1].down = None
    world.nodes[0].hides = False
    assert (await world.until(*END)).state is JobState.PAID


async def test_after_the_second_endpoint_is_taken_away_a_death_needs_an_operator(world: World) -> None:
    swallow(world)
    await world.submit()
    await world.until(JobState.SENDING)
    await world.stop()
    world.nodes.pop()
    await world.restart()
    await world.run(400)
    job = await world.job()
    assert (job.state, job.proof is not None) == (JobState.SENDING, True)
    assert (await world.sender.accept_death(world.key, job.txid or "", "bob")).state is JobState.DEAD


async def test_an_endpoint_that_does_not_answer_accepts_no_death(make_world: MakeWorld) -> None:
    """The proof is made once more when it is accepted, and that needs an answer."""
    world = make_world(nodes=1)
    await world.start()
    swallow(world)
    await world.submit()
    await world.run(400)
    txid = (await world.job()).txid or ""
    world.nodes[0].down = REFUSED
    with pytest.raises(Unavailable, match="cannot be"):
        await world.sender.accept_death(world.key, txid, "bob")
    assert (await world.job()).state is JobState.SENDING
    world.nodes[0].down = None
    await world.run(120)
    assert (await world.sender.accept_death(world.key, txid, "bob")).state is JobState.DEAD


async def test_one_hour_ahead_once_does_not_spoil_later_orders(make_world: MakeWorld) -> None:
    """The one endpoint showed a head of next year: timestamps must not stay there."""
    world = make_world(nodes=1)
    world.nodes[0].future_ms = 365 * 86_400_000
    await world.start()
    await world.submit("early")
    await world.until(JobState.SENDING, key="early")
    world.nodes[0].future_ms = 0
    await world.run(60)
    await world.submit("late")
    assert (await world.until(*END, key="late", limit_s=300)).state is JobState.PAID


@pytest.mark.parametrize("boast", [10**9, 2**62, 10**30], ids=["far ahead", "very far ahead", "no number at all"])
async def test_a_liar_that_shows_it_in_a_block_to_come_does_not_keep_the_bytes_from_others(
    make_world: MakeWorld, boast: int
) -> None:
    world = make_world()
    world.nodes[0].faults.extend([SWALLOW] * 999)
    world.nodes[0].boasts = boast
    world.nodes[1].faults.append(Fault(take=False, answer=said("SERVER_BUSY")))
    await world.start()
    await world.submit()
    await world.run(120)
    assert world.payments(1_000_000) == 1
    world.nodes[0].boasts = None
    assert (await world.until(*END)).state is JobState.PAID


async def test_two_clients_on_one_database_pay_once(make_world: MakeWorld) -> None:
    """A second daemon with another run directory: every change is a compare-and-set, whoever makes it."""
    from tests.services.tron.world import Life

    world = make_world()
    await world.start()
    second = Life(world, world.parts)
    await second.start()
    try:
        world.wallet.sign_down = True
        for number in range(10):
            await world.submit(f"k-{number}", 10_000 + number)
        await second.sender.stop()
        await second.sender.start()
        await world.run(150)  # unsigned bytes get too old under both
        world.wallet.sign_down = False
        for number in range(10):
            assert (await world.until(*END, key=f"k-{number}")).state is JobState.PAID
            assert world.payments(10_000 + number) == 1
        await world.aftermath()
    finally:
        await second.end()


@pytest.mark.parametrize(("asked_s", "rests_s"), [(0.0, 5.0), (40.0, 40.0), (10**8, 600.0)])
async def test_an_endpoint_is_left_alone_as_long_as_it_asks(world: World, asked_s: float, rests_s: float) -> None:
    node, upstream = world.nodes[0], world.life.endpoints.all[0]
    limited = http(429)
    limited.retry_after_s = asked_s
    node.down = limited
    await world.run(4)
    assert upstream.state is EndpointState.RESTING
    node.down = None
    calls = node.calls
    world.clock.jump(world.clock.seconds + rests_s - 9)
    await world.settle()
    assert node.calls == calls or asked_s == 0
    await world.run(30)
    assert upstream.state.value == EndpointState.OK
