"""A payout on its way: what the TRON client says becomes what the payout shows, through gaps and restarts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from services.kit.errors import Forbidden, Timeout, Unavailable
from services.payout.api import Payout, PayoutState
from services.payout.jobs import order_of
from services.tron.api import Answer, JobState
from services.tron.client import TronClient

if TYPE_CHECKING:
    from services.payout.client import PayoutClient
    from tests.services.payout.conftest import Router, World

pytestmark = pytest.mark.asyncio(loop_scope="module")
TRX = 1_000_000
ORDER = "payout:k-1:1"
ALL_THE_WAY = (JobState.BUILT, JobState.SIGNED, JobState.SENDING, JobState.SEEN, JobState.PAID)


async def test_a_payout_goes_where_its_job_goes(world: World, router: Router) -> None:
    await router.service.create(world.body(), "alice")
    await router.until("P-1", PayoutState.RESERVED)
    for job, expected in (
        (JobState.BUILT, PayoutState.RESERVED),
        (JobState.SIGNED, PayoutState.SIGNED),
        (JobState.SENDING, PayoutState.SENDING),
        (JobState.SEEN, PayoutState.SEEN),
        (JobState.SENDING, PayoutState.SENDING),  # its block was undone
        (JobState.SEEN, PayoutState.SEEN),
        (JobState.PAID, PayoutState.PAID),
    ):
        world.tron.walk(ORDER, job)
        payout = await router.until("P-1", expected)
    assert payout.txid == world.tron.jobs[ORDER].txid
    assert payout.attempts[0].block_number == world.tron.block
    assert await router.outcomes() == [("paid", 1)]


async def test_what_a_job_waits_for_is_shown_and_goes_away(world: World, router: Router) -> None:
    await router.service.create(world.body(), "alice")
    await router.until("P-1", PayoutState.RESERVED)
    world.tron.move(ORDER, JobState.ACCEPTED, waiting="wallet hot is locked: unlock it")
    assert "locked" in (await router.when("P-1", lambda payout: payout.waiting != "")).waiting
    world.tron.walk(ORDER, JobState.BUILT)
    await router.when("P-1", lambda payout: payout.waiting == "")


async def test_the_answers_of_endpoints_are_told_in_words(world: World, router: Router) -> None:
    await router.service.create(world.body(), "alice")
    await router.until("P-1", PayoutState.RESERVED)
    world.tron.walk(ORDER, JobState.BUILT, JobState.SIGNED)
    answer = Answer(
        endpoint="node-a", code="SERVER_BUSY", message="", reading="not taken", at=world.tron.jobs[ORDER].created_at
    )
    world.tron.move(ORDER, JobState.SENDING, answers=(answer,), sends=2)
    attempt = (await router.until("P-1", PayoutState.SENDING)).attempts[0]
    assert (attempt.sends, attempt.answers) == (2, ("node-a said SERVER_BUSY: not taken",))


async def test_every_change_is_an_event_with_the_whole_payout(
    world: World, router: Router, client: PayoutClient
) -> None:
    heard: list[str] = []
    world.tron.autopilot = ALL_THE_WAY
    events = client.events()
    await anext(events)  # the first heartbeat: we are listening
    await client.create(world.body())
    async for event in events:
        if event.name == "payout":
            payout = Payout.model_validate_json(event.data)
            assert payout.amount == 5 * TRX
            heard.append(payout.state)
            if payout.state.final:
                break
    await events.aclose()  # type: ignore[attr-defined]
    assert heard[0] == "approved"
    assert heard[-1] == "paid"


async def test_a_lost_answer_to_an_order_costs_nothing(world: World, router: Router) -> None:
    world.tron.autopilot = ALL_THE_WAY
    world.tron.after["submit"] = Timeout("no answer in time")
    await router.service.create(world.body(), "alice")
    await router.until("P-1", PayoutState.PAID)  # the events tell
    assert list(world.tron.jobs) == [ORDER]


async def test_an_answer_that_was_long_on_its_way_does_not_undo_newer_events(world: World, router: Router) -> None:
    world.tron.slow["submit"] = asyncio.Event()
    await router.service.create(world.body(), "alice")
    await router.until("P-1", PayoutState.RESERVED)
    world.tron.walk(ORDER, JobState.BUILT, JobState.SIGNED, JobState.SENDING)
    await router.until("P-1", PayoutState.SENDING)
    world.tron.slow["submit"].set()  # it says: accepted
    await asyncio.sleep(0.05)
    assert (await router.service.get("P-1")).state is PayoutState.SENDING


async def test_while_the_tron_client_is_away_the_payout_says_so_and_then_goes_on(world: World, router: Router) -> None:
    world.tron.before["submit"] = Unavailable("the disk is full")
    await router.service.create(world.body(), "alice")
    waiting = await router.when("P-1", lambda payout: payout.waiting != "")
    assert (waiting.state, waiting.waiting) == (PayoutState.APPROVED, "the disk is full")
    world.tron.before.clear()
    assert (await router.until("P-1", PayoutState.RESERVED)).waiting == ""


async def test_what_happened_while_the_stream_was_cut_is_read_again(world: World, router: Router) -> None:
    await router.service.create(world.body(), "alice")
    await router.until("P-1", PayoutState.RESERVED)
    await world.stop_tron()
    for state in ALL_THE_WAY:
        world.tron.move(ORDER, state, tell=False)
    await world.start_tron()
    await router.until("P-1", PayoutState.PAID)


async def test_what_happened_while_the_router_was_off_is_read_again(world: World) -> None:
    async with world.router() as router:
        await router.service.create(world.body(), "alice")
        await router.until("P-1", PayoutState.RESERVED)
    world.tron.walk(ORDER, *ALL_THE_WAY)
    async with world.router() as router:
        await router.until("P-1", PayoutState.PAID)
        assert await router.outcomes() == [("paid", 1)]


async def test_an_end_is_for_good(world: World, router: Router) -> None:
    world.tron.autopilot = ALL_THE_WAY
    await router.service.create(world.body(), "alice")
    paid = await router.until("P-1", PayoutState.PAID)
    late = world.tron.jobs[ORDER].model_copy(update={"state": JobState.SENDING, "block_number": None})
    await router.orders.hear(late)
    assert await router.service.get("P-1") == paid
    assert await router.outcomes() == [("paid", 1)]


async def test_jobs_of_others_are_left_alone(world: World, router: Router) -> None:
    await router.service.create(world.body(), "alice")
    before = await router.until("P-1", PayoutState.RESERVED)
    job = world.tron.jobs[ORDER]
    for key in ("stake:S-1:1", "payout:k-9:1", "payout:k-1:7", "payout:nonsense"):
        await router.orders.hear(job.model_copy(update={"key": key, "state": JobState.PAID}))
    assert await router.service.get("P-1") == before


async def test_a_lost_database_does_not_pay_a_repeated_key_again(world: World, router: Router) -> None:
    body = world.body()
    async with TronClient(world.socket("tron")) as tron:
        await tron.submit(order_of(body.key, 1, wallet=body.wallet, to=body.to, amount_sun=body.amount, memo=body.memo))
    world.tron.walk(ORDER, *ALL_THE_WAY)
    await router.service.create(world.body("k-0"), "alice")  # takes the number that the lost one had
    await router.service.create(body, "alice")
    assert (await router.until("P-2", PayoutState.PAID)).txid == world.tron.jobs[ORDER].txid
    assert (await router.until("P-1", PayoutState.RESERVED)).txid is None
    assert sorted(world.tron.jobs) == ["payout:k-0:1", ORDER]


async def test_an_order_key_of_another_history_is_never_taken_for_ours(world: World, router: Router) -> None:
    """A database was lost, and the TRON client knows this key as something else."""
    async with TronClient(world.socket("tron")) as tron:
        await tron.submit(order_of("k-1", 1, wallet="hot", to=world.body().to, amount_sun=77, memo=""))
    world.tron.walk(ORDER, *ALL_THE_WAY)
    await router.service.create(world.body(), "alice")
    held = await router.when("P-1", lambda payout: payout.waiting != "")
    assert held.state is PayoutState.APPROVED
    assert "refuses the order" in held.waiting
    assert (await router.service.cancel("P-1", "alice")).state is PayoutState.CANCELLED
    assert await router.outcomes() == [("released", 1)]


async def test_a_refused_order_is_held_and_tried_again_on_request(world: World, router: Router) -> None:
    world.tron.before["submit"] = Forbidden("the payout service is a viewer")
    await router.service.create(world.body(), "alice")
    held = await router.when("P-1", lambda payout: payout.waiting != "")
    assert "refuses the order: the payout service is a viewer" in held.waiting
    calls = world.tron.calls["submit"]
    await router.service.create(world.body("k-2"), "alice")  # a held one holds up nobody, and is not tried by the way
    await router.when("P-2", lambda payout: payout.waiting != "")
    assert world.tron.calls["submit"] == calls + 1
    world.tron.before.clear()
    retried = await router.service.retry("P-1", "alice")
    assert (retried.act, retried.payout.id) == ("none", "P-1")
    await router.until("P-1", PayoutState.RESERVED)


async def test_only_so_many_payouts_of_a_wallet_are_on_their_way(world: World) -> None:
    async with world.router(payout_max_concurrent="2") as router:
        for number in range(1, 6):
            await router.service.create(world.body(f"k-{number}"), "alice")
        await router.service.create(world.body("other", wallet="shut"), "alice")
        await router.until("P-6", PayoutState.RESERVED)
        await router.until("P-2", PayoutState.RESERVED)
        assert sorted(world.tron.jobs) == ["payout:k-1:1", "payout:k-2:1", "payout:other:1"]
        assert (await router.service.get("P-3")).waiting.startswith("its turn: at most 2 payouts of hot")
        world.tron.walk(ORDER, JobState.BUILT, JobState.SIGNED, JobState.SENDING, JobState.SEEN)
        assert (await router.until("P-3", PayoutState.RESERVED)).waiting == ""
        assert "payout:k-4:1" not in world.tron.jobs


async def test_an_order_whose_wallet_became_another_address_is_withdrawn(world: World, router: Router) -> None:
    await router.service.create(world.body(), "alice")
    await router.until("P-1", PayoutState.RESERVED)
    world.tron.move(ORDER, JobState.BUILT, owner=world.wallets.wallets["shut"].address)
    await router.until("P-1", PayoutState.CANCELLED)


async def test_an_order_names_the_address_that_the_operator_saw(world: World, router: Router) -> None:
    payout, _ = await router.service.create(world.body(), "alice")
    await router.until("P-1", PayoutState.RESERVED)
    assert world.tron.owners == {ORDER: payout.from_address}
