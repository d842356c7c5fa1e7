"""Nothing final rests on one endpoint where two are configured, nor on anything but solid blocks."""

import pytest

from services.kit.errors import Conflict
from services.protocol.address import Address
from services.protocol.contracts import Transfer
from services.protocol.transaction import RawData, ref_block
from services.tron.api import DeathProof, EndpointState, JobState
from services.tron.evidence import Evidence, Sent
from tests.services.tron.conftest import MakeWorld
from tests.services.tron.world import OWNER, PAYEE, REFUSED, SLOT_MS, TIMEOUT, FakeBlock, Fault, World, said

END = (JobState.PAID, JobState.FAILED_ON_CHAIN, JobState.DEAD)
SWALLOW = Fault(take=False, answer=said("SUCCESS"))


def swallow(world: World) -> None:
    for node in world.nodes:
        node.faults.extend([SWALLOW] * 999)


# --- liars ---


async def test_one_phantom_inclusion_is_not_paid_and_not_dead(make_world: MakeWorld) -> None:
    world = make_world()
    world.nodes[0].faults.extend([SWALLOW] * 999)
    world.nodes[1].phantom = True
    await world.start()
    await world.submit()
    await world.run(900)
    job = await world.job()
    assert job.state in {JobState.SENDING, JobState.SEEN}
    assert "node-1 knows it" in job.waiting
    world.nodes[1].phantom = False
    assert (await world.until(*END)).state is JobState.DEAD
    await world.aftermath()


async def test_the_honest_endpoint_gets_the_bytes_again_while_the_other_shows_a_phantom(make_world: MakeWorld) -> None:
    world = make_world()
    world.nodes[0].faults.extend([SWALLOW] * 2)
    world.nodes[1].phantom = True
    await world.start()
    await world.submit()
    await world.run(120)
    assert world.payments(1_000_000) == 1
    job = await world.job()
    assert job.state is JobState.SEEN, "two endpoints show different blocks: it is not final"
    world.nodes[1].phantom = False
    assert (await world.until(*END)).state is JobState.PAID


async def test_a_future_solid_time_of_one_endpoint_proves_nothing(world: World) -> None:
    swallow(world)
    await world.submit()
    await world.until(JobState.SENDING)
    world.nodes[1].future_ms = 3_600_000
    world.nodes[1].hides = True
    await world.run(60)
    assert (await world.job()).state is JobState.SENDING
    for node in world.nodes:
        node.faults.clear()
    await world.sender.retry(world.key)
    await world.run(60)
    assert world.payments(1_000_000) == 1
    assert (await world.job()).state is JobState.SEEN
    world.nodes[1].hides = False
    assert (await world.until(*END)).state is JobState.PAID


async def test_an_endpoint_that_hides_the_transaction_cannot_kill_it(world: World) -> None:
    world.nodes[1].hides = True
    await world.submit()
    await world.run(600)
    job = await world.job()
    assert job.state is JobState.SEEN
    assert world.payments(1_000_000) == 1
    world.nodes[1].hides = False
    assert (await world.until(*END)).state is JobState.PAID


async def test_two_of_three_endpoints_are_enough(make_world: MakeWorld) -> None:
    world = make_world(nodes=3)
    world.nodes[2].hides = True
    await world.start()
    await world.submit()
    assert (await world.until(*END)).state is JobState.PAID


async def test_an_endpoint_that_is_away_is_no_witness(world: World) -> None:
    swallow(world)
    await world.submit()
    await world.until(JobState.SENDING)
    world.nodes[1].down = TIMEOUT
    await world.run(600)
    job = await world.job()
    assert (job.state, job.proof) == (JobState.SENDING, None)
    assert "time is over" in job.waiting
    world.nodes[1].down = None
    dead = await world.until(*END)
    assert dead.state is JobState.DEAD


async def test_stuck_solidity_keeps_everything_open(world: World) -> None:
    swallow(world)
    await world.submit()
    await world.until(JobState.SENDING)
    world.chain.solid_until = world.chain.solid_number
    await world.run(600)
    assert (await world.job()).state is JobState.SENDING
    world.chain.solid_until = None
    assert (await world.until(*END)).state is JobState.DEAD


async def test_a_stranger_lands_it_in_the_last_valid_slot_and_it_is_paid(make_world: MakeWorld) -> None:
    """Its block is later than the expiration, because slots were missed; the block before it is not."""
    world = make_world()
    await world.start()
    swallow(world)
    await world.submit()
    job = await world.until(JobState.SENDING)
    await world.settle()
    expiration_ms = job.expiration_ms or 0
    while world.chain.head.time_ms < expiration_ms - SLOT_MS:
        await world.tick()
    signed = next(tx for node in world.nodes for tx in node.sent.values())
    assert world.chain.take(signed) == "SUCCESS"
    world.mining = False
    block = world.chain.mine(slots=5)
    assert block.time_ms > expiration_ms
    world.mining = True
    paid = await world.until(*END)
    assert (paid.state, paid.block_number) == (JobState.PAID, block.number)


async def test_a_node_of_another_network_is_never_used(make_world: MakeWorld) -> None:
    world = make_world()
    world.nodes[1].genesis_id = "00" * 8 + "11" * 24
    await world.start()
    await world.submit()
    await world.run(60)
    shown = {endpoint.name: endpoint for endpoint in world.life.chain.status().endpoints}
    assert shown["node-1"].state is EndpointState.WRONG_NETWORK
    assert "take it out" in shown["node-1"].detail
    assert (await world.job()).state is JobState.ACCEPTED
    assert world.nodes[1].calls == 1
    assert world.nodes[1].broadcasts == []


async def test_a_base_needs_two_that_agree_about_the_time(make_world: MakeWorld) -> None:
    world = make_world()
    world.nodes[1].future_ms = 600_000
    await world.start()
    await world.submit()
    await world.run(60)
    job = await world.job()
    assert job.state is JobState.ACCEPTED
    assert "disagree about the time" in job.waiting


async def test_a_lagging_endpoint_shortens_the_life_of_a_transaction_and_never_lengthens_it(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    world.nodes[1].lag = 2
    world.nodes[0].future_ms = 20_000
    await world.start()
    behind = world.chain.blocks[world.chain.head.number - 2]
    await world.submit()
    job = await world.until(JobState.SENDING)
    assert job.expiration_ms == behind.time_ms + 180_000


# --- the proof, at its edges ---


async def prove(world: World, expiration_ms: int) -> DeathProof | None:
    evidence = Evidence(world.life.endpoints)
    solid = world.chain.blocks[2]
    number_bytes, hash_bytes = ref_block(solid.number, bytes.fromhex(solid.block_id))
    contract = Transfer(Address.parse(OWNER), Address.parse(PAYEE), 1)
    raw = RawData(contract, number_bytes, hash_bytes, expiration_ms=expiration_ms, timestamp_ms=1).encode()
    return (await evidence.death(Sent("ab" * 32, raw.hex(), expiration_ms))).proof


def end_chain_at(world: World, time_ms: int) -> None:
    """Put a last solid block of that time."""
    head = world.chain.head
    world.chain.solid_lag = 0
    world.chain.blocks.append(FakeBlock(head.number + 1, f"{head.number + 1:016x}" + "77" * 24, time_ms))


@pytest.mark.parametrize(("after_ms", "dead"), [(-1, False), (0, False), (1, True), (SLOT_MS, True)])
async def test_the_solid_block_must_be_strictly_later_than_the_expiration(
    world: World, after_ms: int, dead: bool
) -> None:
    world.mining = False
    expiration_ms = world.chain.head.time_ms + 60_000
    end_chain_at(world, expiration_ms + after_ms)
    proof = await prove(world, expiration_ms)
    assert (proof is not None) is dead
    if proof is not None:
        assert [witness.solid_time_ms for witness in proof.witnesses] == [expiration_ms + after_ms] * 2
        assert not proof.single_endpoint


async def test_an_endpoint_whose_solid_block_goes_back_meanwhile_is_no_witness(world: World) -> None:
    """One name, several machines behind it."""
    world.mining = False
    expiration_ms = world.chain.blocks[world.chain.solid_number].time_ms - 1
    assert await prove(world, expiration_ms) is not None
    node = world.nodes[0]
    honest = node.post
    heads: list[str] = []

    async def balanced(path: str, body: dict[str, object]) -> dict[str, object]:
        if path == "walletsolidity/getblock":
            heads.append(path)
            node.lag = 0 if len(heads) % 2 else 3
        return await honest(path, body)

    node.post = balanced  # type: ignore[method-assign, assignment]
    assert await prove(world, expiration_ms) is None


# --- one endpoint ---


async def test_with_one_endpoint_an_operator_accepts_the_death(make_world: MakeWorld) -> None:
    world = make_world(nodes=1)
    await world.start()
    swallow(world)
    await world.submit()
    await world.run(400)
    job = await world.job()
    assert job.state is JobState.SENDING
    assert job.proof is not None
    assert job.proof.single_endpoint
    assert "operator" in job.waiting
    with pytest.raises(Conflict):
        await world.sender.accept_death(world.key, "cd" * 32, "bob")
    dead = await world.sender.accept_death(world.key, job.txid or "", "bob")
    assert dead.state is JobState.DEAD
    assert dead.proof is not None
    assert (dead.proof.accepted_by, dead.proof.txid) == ("bob", job.txid)
    assert (await world.sender.accept_death(world.key, job.txid or "", "eve")).proof == dead.proof, "safe to repeat"
    await world.aftermath()


async def test_a_proof_is_void_when_the_one_endpoint_shows_the_transaction_after_all(make_world: MakeWorld) -> None:
    world = make_world(nodes=1)
    await world.start()
    await world.submit()
    await world.until(JobState.SENDING)
    world.nodes[0].hides = True
    await world.run(400)
    job = await world.job()
    assert job.proof is not None
    world.nodes[0].hides = False
    with pytest.raises(Conflict, match="void"):
        await world.sender.accept_death(world.key, job.txid or "", "bob")
    assert (await world.until(*END)).state is JobState.PAID


async def test_a_job_without_a_proof_cannot_be_declared_dead(world: World) -> None:
    await world.submit()
    job = await world.until(JobState.SENDING)
    with pytest.raises(Conflict, match="no death proof"):
        await world.sender.accept_death(world.key, job.txid or "", "bob")


async def test_an_endpoint_comes_back_after_its_rest_and_is_held_to_block_zero_again(world: World) -> None:
    world.nodes[1].down = REFUSED
    await world.run(30)
    upstream = world.life.endpoints.all[1]
    assert upstream.resting or not upstream.verified
    world.nodes[1].down = None
    world.nodes[1].genesis_id = "00" * 8 + "22" * 24
    await world.run(120)
    assert upstream.state is EndpointState.WRONG_NETWORK
