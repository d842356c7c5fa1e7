"""The TRON client's database is lost, or an older copy of it was put back, while payouts are open.

What was once known to be signed may be in a block, whatever the TRON client remembers: nothing is ordered again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from services.kit.errors import Conflict, Unavailable
from services.payout.api import PayoutState
from services.tron.api import JobState

if TYPE_CHECKING:
    from tests.services.payout.conftest import Router, World

pytestmark = pytest.mark.asyncio(loop_scope="module")
ORDER = "payout:k-1:1"
ON_ITS_WAY = (JobState.BUILT, JobState.SIGNED, JobState.SENDING)


async def sending(world: World, router: Router) -> None:
    await router.service.create(world.body(), "alice")
    await router.until("P-1", PayoutState.RESERVED)
    world.tron.walk(ORDER, *ON_ITS_WAY)
    await router.until("P-1", PayoutState.SENDING)


@pytest.mark.parametrize("known", [JobState.ACCEPTED, JobState.BUILT, JobState.SIGNED, JobState.SENDING])
async def test_an_order_that_was_taken_and_is_lost_is_never_given_again(world: World, known: JobState) -> None:
    async with world.router() as router:
        await router.service.create(world.body(), "alice")
        await router.until("P-1", PayoutState.RESERVED)
        for state in (JobState.BUILT, JobState.SIGNED, JobState.SENDING):
            if known is JobState.ACCEPTED:
                break
            world.tron.walk(ORDER, state)
            if state is known:
                break
        await router.when("P-1", lambda payout: payout.attempts[0].state == known)
    lost = world.tron.jobs.pop(ORDER)
    async with world.router() as router:
        held = await router.when("P-1", lambda payout: "restore" in payout.waiting)
        assert ORDER in held.waiting
        with pytest.raises(Unavailable, match="has lost the order"):
            await router.service.retry("P-1", "alice")
        if known is not JobState.SENDING:
            await router.service.cancel("P-1", "alice")  # the wish is kept; nobody can say that it is cancelled
        await asyncio.sleep(0.05)
        assert not (await router.service.get("P-1")).state.final
        assert world.tron.jobs == {}
        assert await router.outcomes() == [(None, 1)]
    world.tron.jobs[ORDER] = lost  # the database is put back
    async with world.router() as router:
        if known is JobState.SENDING:
            world.tron.walk(ORDER, JobState.SEEN, JobState.PAID)
            await router.until("P-1", PayoutState.PAID)
        else:
            await router.until("P-1", PayoutState.CANCELLED)


async def test_a_lost_order_is_held_while_the_router_runs(world: World, router: Router) -> None:
    await sending(world, router)
    await world.stop_tron()
    world.tron.jobs.clear()
    await world.start_tron()
    held = await router.when("P-1", lambda payout: "restore" in payout.waiting)
    assert held.state is PayoutState.SENDING
    assert world.tron.jobs == {}


@pytest.mark.parametrize("older", [JobState.ACCEPTED, JobState.BUILT, JobState.SIGNED, JobState.CANCELLED])
async def test_a_job_that_goes_back_takes_no_payout_with_it(world: World, router: Router, older: JobState) -> None:
    """An older copy of the orders: what was sent is not unsent by it, and cannot be cancelled."""
    await sending(world, router)
    txid = world.tron.jobs[ORDER].txid
    now = world.tron.jobs[ORDER]
    world.tron.jobs[ORDER] = now.model_copy(
        update={"state": older, "txid": None if older is JobState.ACCEPTED else txid}
    )
    world.tron.bus.publish("job", world.tron.jobs[ORDER])
    held = await router.when("P-1", lambda payout: "older" in payout.waiting)
    assert (held.state, held.txid) == (PayoutState.SENDING, txid)
    with pytest.raises(Conflict):
        await router.service.cancel("P-1", "alice")
    assert await router.outcomes() == [(None, 1)]
    world.tron.jobs[ORDER] = now
    world.tron.walk(ORDER, JobState.SEEN, JobState.PAID)
    paid = await router.until("P-1", PayoutState.PAID)
    assert paid.waiting == ""


@pytest.mark.parametrize("state", [JobState.SENDING, JobState.SEEN, JobState.PAID])
async def test_another_transaction_under_the_same_order_is_not_taken_over(
    world: World, router: Router, state: JobState
) -> None:
    """Orders and signatures were both lost, and the order was built anew: two transactions may have paid."""
    await sending(world, router)
    txid = world.tron.jobs[ORDER].txid
    world.tron.move(ORDER, state, txid="ee" * 32)
    held = await router.when("P-1", lambda payout: "ee" * 32 in payout.waiting)
    assert (held.state, held.txid) == (PayoutState.SENDING, txid)


async def test_bytes_that_were_given_up_unsigned_are_no_step_back(world: World, router: Router) -> None:
    await router.service.create(world.body(), "alice")
    await router.until("P-1", PayoutState.RESERVED)
    world.tron.walk(ORDER, JobState.BUILT)
    await router.when("P-1", lambda payout: payout.txid is not None)
    world.tron.move(ORDER, JobState.ACCEPTED, txid=None)
    await router.when("P-1", lambda payout: payout.txid is None)
    world.tron.walk(ORDER, *ON_ITS_WAY, JobState.SEEN, JobState.PAID)
    assert (await router.until("P-1", PayoutState.PAID)).waiting == ""
