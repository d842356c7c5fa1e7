"""The TRON client is killed at every point at which it touches something durable or something outside.

For each scenario the order is run again and again, and the n-th run dies at the n-th point, until a run passes no more
points. After each death the client is started over the same files, and whoever ordered asks again with the same key.
"""

from collections.abc import Callable
from random import Random

import pytest

from services.tron.api import JobState
from services.tron.sender import SenderPolicy
from tests.services.tron.conftest import MakeWorld
from tests.services.tron.world import TIMEOUT, Crash, Fault, World, http, said

Prepare = Callable[[World], None]

END = (JobState.PAID, JobState.FAILED_ON_CHAIN, JobState.DEAD)


SHORT = SenderPolicy(lifetime_ms=30_000, sign_margin_ms=6_000, held_resend_s=12)
"""A transaction's life is short, so that many of them can die in a test."""


def nothing(_world: World) -> None:
    """Two honest nodes."""


def answers_get_lost(world: World) -> None:
    world.nodes[0].faults.append(Fault(take=True, answer=TIMEOUT))
    world.nodes[1].faults.append(Fault(take=True, answer=http(503)))


def requests_get_lost(world: World) -> None:
    world.nodes[0].faults.extend([Fault(take=False, answer=TIMEOUT)] * 2)
    world.nodes[1].faults.extend([Fault(take=False, answer=said("SERVER_BUSY"))] * 2)


def swallowed(world: World) -> None:
    """Both nodes say that they hold it, and never pass it on: it dies."""
    world.policy = SHORT
    for node in world.nodes:
        node.faults.extend([Fault(take=False, answer=said("SUCCESS"))] * 100)


SCENARIOS: dict[str, tuple[Prepare, JobState]] = {
    "nothing goes wrong": (nothing, JobState.PAID),
    "answers get lost": (answers_get_lost, JobState.PAID),
    "requests get lost": (requests_get_lost, JobState.PAID),
    "swallowed by both nodes": (swallowed, JobState.DEAD),
}


async def died_at(world: World, number: int) -> str | None:
    """Run an order to its end, dying at the n-th point; returns where, or None if there are fewer points."""
    amount_sun = 1_000_000 + number
    world.seams.arm(number)
    try:
        await world.submit(amount_sun=amount_sun)
        await world.until(*END)
    except Crash:
        await world.restart()
        # Whoever ordered got no answer, and asks again.
        await world.submit(amount_sun=amount_sun)
        await world.until(*END)
    return world.last_crash


@pytest.mark.parametrize("name", SCENARIOS)
async def test_one_payment_wherever_it_dies(make_world: MakeWorld, name: str) -> None:
    prepare, end = SCENARIOS[name]
    points: list[str] = []
    while True:
        world = make_world()
        prepare(world)
        await world.start()
        point = await died_at(world, len(points))
        job = await world.job()
        assert job.state is end, f"after dying at {point}"
        assert world.payments(1_000_000 + len(points)) == (1 if end is JobState.PAID else 0), f"after dying at {point}"
        await world.aftermath()
        await world.stop()
        if point is None:
            break
        points.append(point)
    assert set(points) >= NAMED_POINTS


NAMED_POINTS = {
    f"{seam} {moment}"
    for seam in ("store.add", "store.build", "store.sign", "store.depart", "store.note_answers")
    for moment in ("before", "within", "after")
} | {f"{seam} {moment}" for seam in ("wallet.sign", "broadcast") for moment in ("before", "after")}
"""Those that every scenario passes."""


async def test_one_payment_however_often_it_dies(make_world: MakeWorld) -> None:
    """Dying again and again, each time at another point of what a restart does."""
    rng = Random(20260101)
    for number in range(25):
        world = make_world()
        requests_get_lost(world)
        await world.start()
        amount_sun = 2_000_000 + number
        for _ in range(6):
            world.seams.arm(rng.randrange(1, 14))
            try:
                await world.submit(amount_sun=amount_sun)
                await world.until(*END)
            except Crash:
                await world.restart()
        await world.submit(amount_sun=amount_sun)
        job = await world.until(*END)
        assert job.state is JobState.PAID
        assert world.payments(amount_sun) == 1
        await world.aftermath()
        await world.stop()


async def test_unsigned_bytes_are_given_up_once_wherever_it_dies(make_world: MakeWorld) -> None:
    """The wallet cannot sign until the first bytes are too old; the way to the second ones is full of deaths."""
    points: list[str] = []
    while True:
        world = make_world()
        world.policy = SHORT
        await world.start()
        world.wallet.sign_down = True
        amount_sun = 3_000_000 + len(points)
        await world.submit(amount_sun=amount_sun)
        await world.until(JobState.BUILT)
        await world.run(18)
        world.seams.arm(len(points))
        try:
            await world.run(12)
            world.wallet.sign_down = False
            await world.until(*END)
        except Crash:
            await world.restart()
            world.wallet.sign_down = False
        job = await world.until(*END)
        assert job.state is JobState.PAID
        assert world.payments(amount_sun) == 1
        assert len(set(world.wallet.signed)) == 1
        await world.aftermath()
        await world.stop()
        if world.last_crash is None:
            break
        points.append(world.last_crash)
    assert {"wallet.void before", "wallet.void after", "store.unbuild within"} <= set(points)
