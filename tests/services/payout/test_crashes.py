"""Power fails at every commit and around every call to the TRON client; after a restart each payout ends once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from services.kit.errors import Conflict, LucidError
from services.payout.api import PayoutState
from services.tron.api import JobState

if TYPE_CHECKING:
    from tests.services.payout.conftest import CrashPoints, Router, World

pytestmark = pytest.mark.asyncio(loop_scope="module")
ORDER, SECOND = "payout:k-1:1", "payout:k-1:2"
ON_ITS_WAY = (JobState.BUILT, JobState.SIGNED, JobState.SENDING)
Story = Callable[["World", "Router"], Awaitable[None]]


async def with_a_crash_at_every_point(
    world: World, points: CrashPoints, story: Story, verdict: Story, least: int
) -> None:
    """Play a story once for each of its crash points; after the crash play it again, as clients do, and judge."""
    crashes = 0
    while True:
        world.anew(reset=False)
        points.passed, points.crash_at = 0, crashes + 1
        if not await crashed(world, points, story):
            break
        crashes += 1
        points.passed, points.crash_at = 0, 0
        async with world.router(points) as router:
            await story(world, router)
            await verdict(world, router)
    assert crashes >= least, f"only {crashes} crash points were met"


async def crashed(world: World, points: CrashPoints, story: Story) -> bool:
    """Play a story until the power fails; False if it did not."""
    try:
        async with world.router(points) as router:
            playing = asyncio.ensure_future(story(world, router))
            while not playing.done() and not points.crashed:
                await asyncio.sleep(0.001)
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
            if not points.crashed:
                playing.result()
    except BaseException as error:
        if points.crashed and not isinstance(error, AssertionError | KeyboardInterrupt):
            return True
        raise
    return points.crashed


async def test_a_crash_anywhere_on_the_way_pays_once(world: World, points: CrashPoints) -> None:
    world.tron.autopilot = (*ON_ITS_WAY, JobState.SEEN, JobState.PAID)

    async def pay(world: World, router: Router) -> None:
        await router.service.create(world.body(), "alice")
        await router.until("P-1", PayoutState.PAID)

    async def paid_once(world: World, router: Router) -> None:
        assert list(world.tron.jobs) == [ORDER]
        assert await router.outcomes() == [("paid", 1)]
        payout = await router.service.get("P-1")
        assert (payout.attempt, payout.txid) == (1, world.tron.jobs[ORDER].txid)

    await with_a_crash_at_every_point(world, points, pay, paid_once, least=8)


async def test_a_crash_anywhere_around_a_cancellation_never_cancels_what_is_paid(
    world: World, points: CrashPoints
) -> None:
    async def cancel(world: World, router: Router) -> None:
        await router.service.create(world.body(), "alice")
        await router.service.cancel("P-1", "alice")
        await router.until("P-1", PayoutState.CANCELLED)

    async def cancelled_on_both_sides(world: World, router: Router) -> None:
        await asyncio.sleep(0.02)  # nothing may be handed over any more
        assert world.tron.jobs.get(ORDER) is None or world.tron.jobs[ORDER].state is JobState.CANCELLED
        assert await router.outcomes() == [("released", 1)]

    await with_a_crash_at_every_point(world, points, cancel, cancelled_on_both_sides, least=4)


async def test_a_crash_around_a_cancellation_that_comes_too_late(world: World, points: CrashPoints) -> None:
    async def too_late(world: World, router: Router) -> None:
        await router.service.create(world.body(), "alice")
        await router.until("P-1", PayoutState.RESERVED, PayoutState.SENDING, PayoutState.PAID)
        if world.tron.jobs[ORDER].state is JobState.ACCEPTED:
            for state in ON_ITS_WAY:
                world.tron.move(ORDER, state, tell=False)
        with contextlib.suppress(Conflict):
            await router.service.cancel("P-1", "alice")
        if not world.tron.jobs[ORDER].state.final:
            world.tron.walk(ORDER, JobState.SEEN, JobState.PAID)
        await router.until("P-1", PayoutState.PAID)

    async def paid(world: World, router: Router) -> None:
        assert await router.outcomes() == [("paid", 1)]

    await with_a_crash_at_every_point(world, points, too_late, paid, least=8)


async def test_a_crash_anywhere_around_a_new_attempt_opens_one(world: World, points: CrashPoints) -> None:
    async def fail_and_retry(world: World, router: Router) -> None:
        await router.service.create(world.body(), "alice")
        await router.when("P-1", lambda payout: payout.state is not PayoutState.APPROVED)
        if SECOND not in world.tron.jobs:
            if not world.tron.jobs[ORDER].state.final:
                world.tron.walk(ORDER, *ON_ITS_WAY)
                world.tron.bury(ORDER, "node-a", "node-b")
            await router.until("P-1", PayoutState.DEAD)
            assert (await router.service.retry("P-1", "alice")).act == "new_attempt"
            await router.until("P-1", PayoutState.RESERVED)
        if not world.tron.jobs[SECOND].state.final:
            world.tron.walk(SECOND, *ON_ITS_WAY, JobState.PAID)
        await router.until("P-1", PayoutState.PAID)

    async def one_more(world: World, router: Router) -> None:
        assert sorted(world.tron.jobs) == [ORDER, SECOND]
        assert await router.outcomes() == [("paid", 1), ("released", 1)]

    await with_a_crash_at_every_point(world, points, fail_and_retry, one_more, least=16)


async def test_a_full_disk_stops_a_payout_and_loses_nothing(world: World, router: Router) -> None:
    """The store refuses every write for a while: what the TRON client says meanwhile is asked again."""
    await router.service.create(world.body(), "alice")
    await router.until("P-1", PayoutState.RESERVED)
    router.database.broken = True
    for state in (*ON_ITS_WAY, JobState.SEEN, JobState.PAID):
        world.tron.move(ORDER, state)
    await asyncio.sleep(0.05)
    assert (await router.service.get("P-1")).state is PayoutState.RESERVED
    refused = await asyncio.gather(
        router.service.create(world.body("k-2"), "alice"), router.service.cancel("P-1", "alice"), return_exceptions=True
    )
    assert all(isinstance(error, LucidError) for error in refused)
    router.database.broken = False
    await router.until("P-1", PayoutState.PAID)
    assert (await router.service.stats()).by_state == {"paid": 1}
