"""An order on its way: to the end that the chain gives it, whatever endpoints, wallet and operators do."""

import asyncio

import pytest

from services.kit.errors import Conflict, NotFound
from services.protocol.networks import DEVNET_FAUCET_KEY
from services.protocol.signature import sign
from services.protocol.transaction import SignedTransaction
from services.tron.answers import READINGS
from services.tron.api import JobState, Order, Transfer
from services.tron.sender import SenderPolicy
from services.tron.store import JobStore
from services.wallet.api import Freeze, Sign, Signature, WatchWallet
from tests.services.tron.conftest import MakeWorld
from tests.services.tron.world import (
    CUT,
    DEVNET,
    OPERATOR,
    OWNER,
    PAYEE,
    REFUSED,
    RESET,
    TIMEOUT,
    Fault,
    World,
    http,
    order,
    said,
    unlock,
)

END = (JobState.PAID, JobState.FAILED_ON_CHAIN, JobState.DEAD)


async def test_an_order_is_paid_and_says_so_only_when_it_is_solid(world: World) -> None:
    await world.submit()
    seen = await world.until(JobState.SEEN)
    assert seen.sends == 1
    paid = await world.until(JobState.PAID)
    block = world.chain.find(paid.txid or "")
    assert block is not None
    assert paid.block_number == block.number <= world.chain.solid_number
    assert world.payments(1_000_000) == 1
    await world.aftermath()


async def test_a_failed_transaction_is_failed_only_when_it_is_solid(world: World) -> None:
    await world.submit()
    sending = await world.until(JobState.SENDING)
    world.chain.failing.add(sending.txid or "")
    failed = await world.until(*END)
    assert failed.state is JobState.FAILED_ON_CHAIN


async def test_two_equal_orders_in_one_block_have_different_bytes(world: World) -> None:
    await world.submit("a")
    await world.submit("b")
    first, second = await world.until(*END, key="a"), await world.until(*END, key="b")
    assert first.txid != second.txid
    assert first.expiration_ms == second.expiration_ms
    assert world.payments(1_000_000) == 2


async def test_the_bytes_refer_to_a_solid_block_and_expire_by_chain_time(world: World) -> None:
    world.clock.wall_offset_s = -400 * 86_400
    head, solid = world.chain.head, world.chain.blocks[world.chain.solid_number]
    await world.submit(memo="for the relay")
    await world.until(JobState.SENDING)
    await world.settle()
    (signed,) = world.nodes[0].sent.values() or world.nodes[1].sent.values()
    assert signed.raw_data.ref_block_bytes == solid.number.to_bytes(8)[6:]
    assert signed.raw_data.ref_block_hash.hex() == solid.block_id[16:32]
    assert signed.raw_data.expiration_ms == head.time_ms + 180_000
    assert signed.raw_data.memo == b"for the relay"


# --- keys ---


async def test_the_same_key_two_hundred_times_at_once_is_one_job(world: World) -> None:
    jobs = await asyncio.gather(*(world.sender.submit(order(world.key)) for _ in range(200)))
    assert {job.key for job in jobs} == {world.key}
    await world.until(JobState.PAID)
    again = await world.submit()
    assert again.state is JobState.PAID
    assert world.payments(1_000_000) == 1
    assert len(world.rows("SELECT * FROM builds")) == 1


async def test_the_same_key_for_another_order_is_a_conflict(world: World) -> None:
    await world.submit(amount_sun=5)
    with pytest.raises(Conflict, match="different order"):
        await world.submit(amount_sun=6)


async def test_an_unknown_key_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await world.job("nobody")


# --- the wallet ---


async def test_a_locked_wallet_is_waited_for_and_nothing_is_built(world: World) -> None:
    await world.wallet.service.lock("hot")
    await world.submit()
    await world.run(400)
    job = await world.job()
    assert (job.state, job.txid) == (JobState.ACCEPTED, None)
    assert "unlock it" in job.waiting
    await unlock(world.wallet.service)
    world.sender.wake()
    paid = await world.until(JobState.PAID, limit_s=60)
    assert paid.waiting == ""


async def test_a_freeze_a_missing_and_a_watched_wallet_are_named(world: World) -> None:
    await world.wallet.service.freeze(Freeze(reason="drill"), OPERATOR)
    await world.submit("frozen")
    await world.settle()
    assert "frozen" in (await world.job("frozen")).waiting
    assert "drill" in (await world.job("frozen")).waiting
    await world.wallet.service.unfreeze(OPERATOR)
    await world.wallet.service.watch(WatchWallet(name="cold", address=PAYEE))
    await world.sender.submit(order("missing", wallet="nobody"))
    await world.sender.submit(order("watched", wallet="cold"))
    await world.settle()
    assert "nobody" in (await world.job("missing")).waiting
    assert "cannot sign" in (await world.job("watched")).waiting


async def test_a_wallet_service_that_is_down_is_waited_for(world: World) -> None:
    world.wallet.down = True
    await world.submit()
    await world.run(30)
    assert "does not run" in (await world.job()).waiting
    world.wallet.down = False
    await world.until(JobState.PAID)


async def test_bytes_that_nobody_signed_in_time_are_void_before_others_are_built(world: World) -> None:
    world.wallet.sign_down = True
    await world.submit()
    first = await world.until(JobState.BUILT)
    await world.run(300)
    assert world.wallet.signed == []
    world.wallet.sign_down = False
    paid = await world.until(JobState.PAID)
    assert paid.txid != first.txid
    assert world.wallet.signed == [paid.txid]
    builds = world.rows("SELECT txid, void FROM builds ORDER BY number")
    assert [row["void"] for row in builds] == [1] * (len(builds) - 1) + [0]
    await world.aftermath()


async def test_bytes_that_were_signed_unseen_are_kept_when_their_time_runs_out(world: World) -> None:
    world.wallet.sign_answer_lost = True
    await world.submit()
    first = await world.until(JobState.BUILT)
    await world.run(150)
    assert (await world.job()).state is JobState.BUILT
    world.wallet.sign_answer_lost = False
    paid = await world.until(JobState.PAID)
    assert paid.txid == first.txid
    assert len(world.rows("SELECT * FROM builds")) == 1


@pytest.mark.parametrize(
    "signature_hex", [sign(bytes(31) + b"1", DEVNET_FAUCET_KEY).hex(), "00" * 65, "ff" * 64 + "1b", "", "zz"]
)
async def test_a_signature_that_is_not_the_owners_is_never_sent(
    world: World, monkeypatch: pytest.MonkeyPatch, signature_hex: str
) -> None:
    async def forged(_name: str, body: Sign) -> Signature:
        return Signature(key=body.key, txid="ab" * 32, signature_hex=signature_hex)

    monkeypatch.setattr(world.wallet, "sign", forged)
    await world.submit()
    await world.run(30)
    job = await world.job()
    assert job.state is JobState.BUILT
    assert "signature" in job.waiting
    assert not any(node.broadcasts for node in world.nodes)


async def test_a_wallet_does_not_pay_itself(world: World) -> None:
    own = Order(key="self", wallet="hot", contract=Transfer(to=OWNER, amount_sun=1))
    await world.sender.submit(own)
    await world.settle()
    assert "itself" in (await world.job("self")).waiting


async def test_a_wallet_with_another_address_than_the_one_that_should_pay_builds_nothing(world: World) -> None:
    """Somebody put another wallet in the place of the one that an operator saw."""
    await world.sender.submit(order("theirs").model_copy(update={"owner": DEVNET.usdt.base58}))
    await world.sender.submit(order("ours").model_copy(update={"owner": OWNER}))
    await world.until(JobState.PAID, key="ours")
    held = await world.job("theirs")
    assert (held.state, held.txid) == (JobState.ACCEPTED, None)
    assert "was to pay this order" in held.waiting
    assert (await world.sender.cancel("theirs")).state is JobState.CANCELLED


async def test_fifty_orders_at_once_are_each_paid_once(world: World) -> None:
    world.nodes[0].faults.extend([Fault(take=True, answer=TIMEOUT), Fault(take=False, answer=http(503))] * 10)
    await asyncio.gather(*(world.sender.submit(order(f"k-{number}", 10_000 + number)) for number in range(50)))
    for number in range(50):
        assert (await world.until(*END, key=f"k-{number}")).state is JobState.PAID
        assert world.payments(10_000 + number) == 1
    assert world.sender.jobs_live == 0
    await world.aftermath()


# --- broadcasts ---

ANSWERS = [said(code) for code in READINGS] + [said("NEW_CODE_OF_2030"), {}, {"result": True}, {"code": 17}]
FAILURES = [TIMEOUT, RESET, CUT, REFUSED, http(429), http(403), http(500), http(503)]


@pytest.mark.parametrize("taken", [True, False], ids=["taken", "not taken"])
@pytest.mark.parametrize("answer", [*ANSWERS, *FAILURES], ids=str)
async def test_no_answer_to_a_broadcast_decides_anything(world: World, answer: object, taken: bool) -> None:
    for node in world.nodes:
        node.faults.append(Fault(take=taken, answer=answer))  # type: ignore[arg-type]
    await world.submit()
    paid = await world.until(*END)
    assert paid.state is JobState.PAID
    assert len({*world.nodes[0].broadcasts, *world.nodes[1].broadcasts}) == 1
    assert len(world.wallet.signed) == 1
    await world.aftermath()


async def test_the_second_endpoint_is_asked_when_the_first_did_not_take_it(world: World) -> None:
    first = world.life.endpoints.usable()[0].name
    by_name = {node.name: node for node in world.nodes}
    other = next(node for name, node in by_name.items() if name != first)
    by_name[first].faults.append(Fault(take=False, answer=said("SERVER_BUSY")))
    await world.submit()
    await world.until(JobState.SENDING)
    await world.settle()
    assert len(other.broadcasts) == 1
    job = await world.job()
    assert {answer.endpoint: answer.code for answer in job.answers} == {first: "SERVER_BUSY", other.name: "SUCCESS"}


async def test_what_a_node_refuses_is_told_to_the_operator(world: World) -> None:
    for node in world.nodes:
        node.faults.extend(
            [Fault(take=False, answer=said("CONTRACT_VALIDATE_ERROR", "balance is not sufficient"))] * 99
        )
    await world.submit()
    await world.run(60)
    job = await world.job()
    assert job.state is JobState.SENDING
    assert "balance is not sufficient" in job.waiting
    dead = await world.until(*END)
    assert dead.state is JobState.DEAD
    await world.aftermath()


async def test_the_same_bytes_are_sent_until_their_time_is_over_and_no_longer(world: World) -> None:
    for node in world.nodes:
        node.faults.extend([Fault(take=False, answer=said("SERVER_BUSY"))] * 999)
    await world.submit()
    built = await world.until(JobState.SENDING)
    while world.chain.head.time_ms < (built.expiration_ms or 0):
        await world.tick()
    sends = (await world.job()).sends
    assert 8 <= sends <= 30
    await world.run(15)
    assert (await world.job()).sends <= sends + 1


async def test_an_undone_block_puts_the_order_back_to_sending_and_the_same_bytes_are_sent(world: World) -> None:
    await world.submit()
    seen = await world.until(JobState.SEEN)
    world.chain.reorg(2, keep=False)
    back = await world.until(JobState.SENDING)
    assert back.txid == seen.txid
    paid = await world.until(JobState.PAID)
    assert paid.txid == seen.txid
    assert paid.sends > 1
    assert world.payments(1_000_000) == 1


async def test_the_confirmation_timeout_only_changes_the_words(make_world: MakeWorld) -> None:
    world = make_world()
    world.policy = SenderPolicy(confirmation_timeout_s=20)
    world.chain.solid_until = world.chain.solid_number
    await world.start()
    await world.submit()
    await world.run(120)
    job = await world.job()
    assert job.state is JobState.SEEN
    assert "not final" in job.waiting
    world.chain.solid_until = None
    assert (await world.until(*END)).state is JobState.PAID


async def test_an_order_waits_while_no_endpoint_answers(make_world: MakeWorld) -> None:
    world = make_world()
    for node in world.nodes:
        node.down = REFUSED
    await world.start()
    await world.submit()
    await world.run(60)
    job = await world.job()
    assert job.state is JobState.ACCEPTED
    assert "must answer: " in job.waiting
    assert not job.waiting.endswith(": ")
    world.nodes[0].down = None
    await world.run(90)
    assert (await world.job()).state is JobState.ACCEPTED, "one of two configured endpoints is not enough to build on"
    world.nodes[1].down = None
    await world.until(JobState.PAID)


# --- operators ---


async def test_retry_sends_the_same_bytes_and_says_so(world: World) -> None:
    world.mining = False
    await world.submit()
    await world.until(JobState.SENDING)
    await world.settle()
    before = (await world.job()).sends
    done = await world.sender.retry(world.key)
    assert done.act == "same_bytes"
    assert done.job.sends == before + 1
    assert "same bytes" in done.message
    sent = {id_ for node in world.nodes for id_ in node.broadcasts}
    assert sent == {done.job.txid}


async def test_retry_does_nothing_before_sending_and_after_the_end(world: World) -> None:
    world.wallet.down = True
    await world.submit()
    await world.settle()
    assert (await world.sender.retry(world.key)).act == "none"
    world.wallet.down = False
    await world.until(JobState.PAID)
    done = await world.sender.retry(world.key)
    assert (done.act, done.job.state) == ("none", JobState.PAID)


async def test_a_cancelled_order_never_leaves(world: World) -> None:
    world.wallet.sign_down = True
    await world.submit()
    await world.until(JobState.BUILT)
    cancelled = await world.sender.cancel(world.key)
    assert cancelled.state is JobState.CANCELLED
    assert (await world.sender.cancel(world.key)).state is JobState.CANCELLED, "safe to repeat"
    world.wallet.sign_down = False
    await world.run(120)
    assert world.payments(1_000_000) == 0
    assert (await world.submit()).state is JobState.CANCELLED


async def test_cancel_and_send_never_both_win(make_world: MakeWorld) -> None:
    """The cancel comes at every single point of the way."""
    ends = set()
    for number in range(60):
        world = make_world()
        await world.start()
        cancels: list[asyncio.Task[object]] = []

        def cancel_here(at: int, world: World = world, wanted: int = number) -> None:
            if at == wanted:
                cancels.append(asyncio.ensure_future(world.sender.cancel(world.key)))  # noqa: B023

        world.seams.arm(None)
        world.seams.on_point = cancel_here
        await world.submit(amount_sun=1_000 + number)
        job = await world.until(*END, JobState.CANCELLED)
        await world.run(30)
        sent = any(node.broadcasts for node in world.nodes)
        assert sent == (job.state is JobState.PAID)
        results = await asyncio.gather(*cancels, return_exceptions=True)
        if cancels and job.state is JobState.PAID:
            assert isinstance(results[0], Conflict | NotFound)
        ends.add(job.state)
        await world.aftermath()
        await world.stop()
        if not cancels:
            break
    assert ends == {JobState.PAID, JobState.CANCELLED}


# --- what is stored ---


async def test_a_home_belongs_to_one_network(world: World) -> None:
    await world.stop()
    from services.kit.errors import Unavailable
    from services.kit.store import Store
    from services.tron.store import MIGRATIONS

    store = JobStore(Store(world.home / "orders.db", MIGRATIONS), world.clock)
    with pytest.raises(Unavailable, match="use another home"):
        await store.open("mainnet")
    await store.close()
    assert DEVNET.name == "devnet"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE builds SET raw = x'00'",
        "UPDATE builds SET txid = 'x'",
        "UPDATE builds SET void = 1",
        "UPDATE jobs SET state = 'sending'",
        "UPDATE jobs SET state = 'accepted'",
        "INSERT INTO builds SELECT key, number + 1, txid || 'x', raw, expiration_ms, NULL, 0 FROM builds",
    ],
)
async def test_the_database_itself_refuses_what_must_never_happen(world: World, statement: str) -> None:
    import sqlite3

    await world.submit()
    await world.until(JobState.PAID)
    await world.stop()
    with pytest.raises(sqlite3.IntegrityError), sqlite3.connect(world.home / "orders.db") as connection:
        connection.execute(statement)
    connection.close()


async def test_stored_bytes_are_those_that_were_sent(world: World) -> None:
    await world.submit()
    paid = await world.until(JobState.PAID)
    sent = {id_: tx for node in world.nodes for id_, tx in node.sent.items()}
    assert paid.raw_data_hex == sent[paid.txid or ""].raw.hex()
    assert SignedTransaction(bytes.fromhex(paid.raw_data_hex or ""), ()).txid == paid.txid
