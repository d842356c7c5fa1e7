"""What an operator can still change: cancel before anything leaves, push what hangs, begin again after a proven end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from services.kit.errors import Conflict, Invalid, NotFound, Timeout, Unavailable
from services.payout.api import AcceptDeath, PayoutState
from services.tron.api import JobState

if TYPE_CHECKING:
    from tests.services.payout.conftest import Router, World

pytestmark = pytest.mark.asyncio(loop_scope="module")
TRX = 1_000_000
ORDER, SECOND, THIRD = "payout:k-1:1", "payout:k-1:2", "payout:k-1:3"
ON_ITS_WAY = (JobState.BUILT, JobState.SIGNED, JobState.SENDING)


async def reserved(world: World, router: Router) -> None:
    await router.service.create(world.body(), "alice")
    await router.until("P-1", PayoutState.RESERVED)


async def dead(world: World, router: Router, order: str = ORDER) -> None:
    world.tron.walk(order, *ON_ITS_WAY)
    world.tron.bury(order, "node-a", "node-b")
    await router.until("P-1", PayoutState.DEAD)


# Cancelling


@pytest.mark.parametrize("state", [JobState.ACCEPTED, JobState.BUILT, JobState.SIGNED])
async def test_what_has_not_left_is_cancelled_by_the_tron_client(world: World, router: Router, state: JobState) -> None:
    await reserved(world, router)
    world.tron.move(ORDER, state)
    payout = await router.service.cancel("P-1", "alice")
    assert payout.state is PayoutState.CANCELLED
    assert world.tron.jobs[ORDER].state is JobState.CANCELLED
    assert await router.outcomes() == [("released", 1)]


async def test_a_payout_whose_order_never_left_is_cancelled_here(world: World) -> None:
    async with world.router(payout_max_concurrent="1") as router:
        await router.service.create(world.body("k-1"), "alice")
        await router.until("P-1", PayoutState.RESERVED)
        await router.service.create(world.body("k-2"), "alice")
        payout = await router.service.cancel("P-2", "alice")
        assert (payout.state, payout.attempts[0].state) == (PayoutState.CANCELLED, "cancelled")
        assert world.tron.calls["cancel"] == 0
        await router.service.cancel("P-1", "alice")  # makes room
    assert list(world.tron.jobs) == [ORDER]


async def test_cancelling_twice_is_cancelling_once(world: World, router: Router) -> None:
    await reserved(world, router)
    first = await router.service.cancel("P-1", "alice")
    assert await router.service.cancel("P-1", "bob") == first
    assert await router.outcomes() == [("released", 1)]


async def test_what_is_being_sent_cannot_be_cancelled(world: World, router: Router) -> None:
    await reserved(world, router)
    world.tron.walk(ORDER, *ON_ITS_WAY)
    await router.until("P-1", PayoutState.SENDING)
    with pytest.raises(Conflict, match="P-1 cannot be cancelled: it is sending"):
        await router.service.cancel("P-1", "alice")
    assert world.tron.calls["cancel"] == 0


async def test_the_tron_client_has_the_last_word_about_a_cancellation(world: World, router: Router) -> None:
    await reserved(world, router)
    for state in ON_ITS_WAY:
        world.tron.move(ORDER, state, tell=False)  # it left a moment ago, and the news are on their way
    with pytest.raises(Conflict, match="can no longer be cancelled"):
        await router.service.cancel("P-1", "alice")
    assert (await router.service.get("P-1")).state is PayoutState.SENDING
    world.tron.walk(ORDER, JobState.SEEN, JobState.PAID)
    await router.until("P-1", PayoutState.PAID)


async def test_an_order_that_may_have_been_handed_over_is_never_cancelled_here_alone(
    world: World, router: Router
) -> None:
    """The order's request failed, nobody knows whether it arrived: the TRON client is made to know it, and cancels."""
    world.tron.before["submit"] = Unavailable("broken")
    await router.service.create(world.body(), "alice")
    await router.when("P-1", lambda payout: payout.waiting != "")
    cancelled = await router.service.cancel("P-1", "alice")
    assert cancelled.state is PayoutState.APPROVED
    assert cancelled.waiting == "cancelling: broken"
    world.tron.before.clear()
    await router.until("P-1", PayoutState.CANCELLED)
    assert world.tron.jobs[ORDER].state is JobState.CANCELLED


@pytest.mark.parametrize("lost", [Timeout("no answer"), Unavailable("cut")])
async def test_a_lost_answer_to_a_cancellation_ends_cancelled(
    world: World, router: Router, lost: Timeout | Unavailable
) -> None:
    await reserved(world, router)
    world.tron.after["cancel"] = lost
    await router.service.cancel("P-1", "alice")
    await router.until("P-1", PayoutState.CANCELLED)
    assert await router.outcomes() == [("released", 1)]


async def test_a_wish_to_cancel_outlives_a_restart_and_comes_before_anything_else(world: World) -> None:
    async with world.router() as router:
        await reserved(world, router)
        await world.stop_tron()
        payout = await router.service.cancel("P-1", "alice")
        assert payout.waiting.startswith("cancelling: tron")
    await world.start_tron()
    async with world.router() as router:
        await router.until("P-1", PayoutState.CANCELLED)
        assert world.tron.jobs[ORDER].state is JobState.CANCELLED


async def test_cancelling_while_the_order_is_being_handed_over_waits_for_it(world: World, router: Router) -> None:
    world.tron.delay["submit"] = asyncio.Event()
    await router.service.create(world.body(), "alice")
    while not world.tron.calls["submit"]:
        await asyncio.sleep(0.001)
    cancelling = asyncio.create_task(router.service.cancel("P-1", "alice"))
    await asyncio.sleep(0.02)
    assert world.tron.calls["cancel"] == 0
    world.tron.delay.pop("submit").set()
    assert (await cancelling).state is PayoutState.CANCELLED
    assert world.tron.jobs[ORDER].state is JobState.CANCELLED


@pytest.mark.parametrize("end", [JobState.PAID, JobState.FAILED_ON_CHAIN])
async def test_what_has_ended_cannot_be_cancelled(world: World, router: Router, end: JobState) -> None:
    await reserved(world, router)
    world.tron.walk(ORDER, *ON_ITS_WAY, end)
    await router.until("P-1", PayoutState(end.value))
    with pytest.raises(Conflict, match="cannot be cancelled"):
        await router.service.cancel("P-1", "alice")


# Retrying


async def test_a_retry_while_it_may_be_paid_sends_the_same_bytes(world: World, router: Router) -> None:
    await reserved(world, router)
    world.tron.walk(ORDER, *ON_ITS_WAY)
    await router.until("P-1", PayoutState.SENDING)
    retried = await router.service.retry("P-1", "alice")
    assert (retried.act, retried.message) == ("same_bytes", "the same bytes were sent again")
    assert retried.payout.attempt == 1
    assert retried.payout.attempts[0].sends == 1
    assert list(world.tron.jobs) == [ORDER]


async def test_a_retry_before_anything_was_sent_does_nothing(world: World, router: Router) -> None:
    await reserved(world, router)
    assert (await router.service.retry("P-1", "alice")).act == "none"


@pytest.mark.parametrize("end", [JobState.FAILED_ON_CHAIN, JobState.DEAD])
async def test_after_a_proven_end_a_retry_opens_the_next_attempt(world: World, router: Router, end: JobState) -> None:
    await reserved(world, router)
    if end is JobState.DEAD:
        await dead(world, router)
    else:
        world.tron.walk(ORDER, *ON_ITS_WAY, JobState.FAILED_ON_CHAIN)
        await router.until("P-1", PayoutState.FAILED_ON_CHAIN)
    retried = await router.service.retry("P-1", "alice")
    assert (retried.act, retried.payout.attempt, retried.payout.txid) == ("new_attempt", 2, None)
    assert retried.payout.state is PayoutState.APPROVED
    await router.until("P-1", PayoutState.RESERVED)
    world.tron.walk(SECOND, *ON_ITS_WAY, JobState.SEEN, JobState.PAID)
    paid = await router.until("P-1", PayoutState.PAID)
    assert [attempt.state for attempt in paid.attempts] == [end.value, "paid"]
    assert paid.txid == world.tron.jobs[SECOND].txid
    assert await router.outcomes() == [("paid", 1), ("released", 1)]


async def test_two_operators_who_retry_at_once_open_one_attempt(world: World, router: Router) -> None:
    await reserved(world, router)
    await dead(world, router)
    both = await asyncio.gather(*(router.service.retry("P-1", who) for who in ("alice", "bob")), return_exceptions=True)
    assert sum(1 for one in both if not isinstance(one, BaseException) and one.act == "new_attempt") == 1
    assert all(isinstance(one, Conflict) for one in both if isinstance(one, BaseException))
    await router.until("P-1", PayoutState.RESERVED)
    assert sorted(world.tron.jobs) == [ORDER, SECOND]


async def test_three_attempts_are_the_most(world: World, router: Router) -> None:
    await reserved(world, router)
    await dead(world, router)
    for order in (SECOND, THIRD):
        assert (await router.service.retry("P-1", "alice")).act == "new_attempt"
        await router.until("P-1", PayoutState.RESERVED)
        await dead(world, router, order)
    refused = await router.service.retry("P-1", "alice")
    assert (refused.act, refused.payout.state) == ("none", PayoutState.DEAD)
    assert "had 3 attempts, which is the most" in refused.message
    assert sorted(world.tron.jobs) == [ORDER, SECOND, THIRD]


@pytest.mark.parametrize("end", [PayoutState.PAID, PayoutState.CANCELLED])
async def test_what_is_paid_or_cancelled_stays_so(world: World, router: Router, end: PayoutState) -> None:
    await reserved(world, router)
    if end is PayoutState.PAID:
        world.tron.walk(ORDER, *ON_ITS_WAY, JobState.PAID)
        await router.until("P-1", end)
    else:
        await router.service.cancel("P-1", "alice")
    retried = await router.service.retry("P-1", "alice")
    assert (retried.act, retried.message) == ("none", f"P-1 is {end}: there is nothing to send")
    assert list(world.tron.jobs) == [ORDER]


async def test_a_new_attempt_is_held_to_the_limits_like_a_new_payout(world: World) -> None:
    async with world.router(payout_hourly_limit="8") as router:
        await reserved(world, router)
        await dead(world, router)
        await router.service.create(world.body("k-2"), "alice")  # the dead one had made room
        with pytest.raises(Invalid, match=r"3\.00 TRX of it are left"):
            await router.service.retry("P-1", "alice")
        assert (await router.service.get("P-1")).state is PayoutState.DEAD


async def test_a_new_attempt_needs_the_chain(world: World, router: Router) -> None:
    await reserved(world, router)
    await dead(world, router)
    world.tron.before["quote"] = Unavailable("no endpoint answers")
    with pytest.raises(Unavailable, match="no endpoint answers"):
        await router.service.retry("P-1", "alice")
    assert (await router.service.get("P-1")).attempt == 1


# Death


async def test_a_proof_by_one_endpoint_waits_for_an_operator(world: World, router: Router) -> None:
    await reserved(world, router)
    world.tron.walk(ORDER, *ON_ITS_WAY)
    world.tron.bury(ORDER, "node-a")
    waiting = await router.when("P-1", lambda payout: payout.attempts[0].proof_needs_acceptance)
    assert waiting.state is PayoutState.SENDING
    assert (await router.service.retry("P-1", "alice")).act == "same_bytes"
    with pytest.raises(Conflict, match="that is not the transaction of P-1"):
        await router.service.accept_death("P-1", AcceptDeath(txid="0" * 64), "alice")
    accepted = await router.service.accept_death("P-1", AcceptDeath(txid=waiting.txid or ""), "alice")
    assert accepted.state is PayoutState.DEAD
    assert "node-a at its solid block 1,000" in accepted.attempts[0].proof
    assert not accepted.attempts[0].proof_needs_acceptance
    assert await router.outcomes() == [("released", 1)]
    assert (await router.service.retry("P-1", "alice")).act == "new_attempt"


async def test_a_death_that_nobody_proved_opens_nothing(world: World, router: Router) -> None:
    """A TRON client that says dead without two witnesses or an operator's word is not believed."""
    await reserved(world, router)
    world.tron.walk(ORDER, *ON_ITS_WAY, JobState.DEAD)
    held = await router.when("P-1", lambda payout: payout.waiting != "")
    assert held.state is PayoutState.SENDING
    assert (await router.service.retry("P-1", "alice")).act != "new_attempt"
    assert await router.outcomes() == [(None, 1)]


async def test_without_a_proof_there_is_nothing_to_accept(world: World, router: Router) -> None:
    await reserved(world, router)
    world.tron.walk(ORDER, *ON_ITS_WAY)
    sending = await router.until("P-1", PayoutState.SENDING)
    with pytest.raises(Conflict, match="no death proof"):
        await router.service.accept_death("P-1", AcceptDeath(txid=sending.txid or ""), "alice")


@pytest.mark.parametrize("text", ["P-9", "9", "x", "P--1", "P-", "P-99999999999999999999", "P-1 OR 1=1"])
async def test_a_payout_that_is_not_there_is_not_found(router: Router, text: str) -> None:
    for ask in (
        router.service.get(text),
        router.service.cancel(text, "alice"),
        router.service.retry(text, "alice"),
        router.service.accept_death(text, AcceptDeath(txid="0" * 64), "alice"),
    ):
        with pytest.raises(NotFound):
            await ask
