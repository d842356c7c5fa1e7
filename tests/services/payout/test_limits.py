"""Limits by the hour and the day: nothing frees them but chain time, and nobody squeezes past them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from services.kit.errors import Conflict, Invalid
from services.payout.policy import DAY_MS, HOUR_MS

if TYPE_CHECKING:
    from tests.services.payout.conftest import World

pytestmark = pytest.mark.asyncio(loop_scope="module")
TRX = 1_000_000
MINUTE_MS = 60_000


async def test_the_hour_is_over_exactly_after_an_hour(world: World) -> None:
    async with world.router(payout_hourly_limit="10") as router:
        await router.service.create(world.body("k-1", 10 * TRX), "alice")
        world.tron.chain_ms += HOUR_MS - 1
        with pytest.raises(Invalid, match="limit of this hour"):
            await router.service.create(world.body("k-2", 1), "alice")
        world.tron.chain_ms += 1
        await router.service.create(world.body("k-2", 10 * TRX), "alice")


async def test_time_that_goes_back_frees_nothing(world: World) -> None:
    async with world.router(payout_hourly_limit="10") as router:
        await router.service.create(world.body("k-1", 10 * TRX), "alice")
        for back_ms in (MINUTE_MS, HOUR_MS, 40 * DAY_MS):
            world.tron.chain_ms -= back_ms
            with pytest.raises(Invalid, match="limit of this hour"):
                await router.service.create(world.body("k-2", 1), "alice")


async def test_a_restart_frees_nothing(world: World) -> None:
    for number in range(3):
        async with world.router(daily_payout_limit="10") as router:
            if number == 0:
                await router.service.create(world.body("k-1", 10 * TRX), "alice")
            with pytest.raises(Invalid, match="raise DAILY_PAYOUT_LIMIT"):
                await router.service.create(world.body("k-2", 1), "alice")


async def test_a_hundred_at_once_do_not_squeeze_through_together(world: World) -> None:
    async with world.router(payout_hourly_limit="10") as router:
        bodies = [world.body(f"k-{number}", TRX) for number in range(100)]
        done = await asyncio.gather(*(router.service.create(body, "alice") for body in bodies), return_exceptions=True)
        assert sum(not isinstance(one, BaseException) for one in done) == 10
        assert all(isinstance(one, Invalid) for one in done if isinstance(one, BaseException))
        [_, hour, _] = (await router.service.stats()).limits
        assert (hour.limit, hour.used) == (10 * TRX, 10 * TRX)


async def test_balances_are_not_promised_twice_by_payouts_at_once(world: World) -> None:
    world.tron.balance_sun = 10 * TRX
    async with world.router() as router:
        bodies = [world.body(f"k-{number}", 3 * TRX) for number in range(20)]
        done = await asyncio.gather(*(router.service.create(body, "alice") for body in bodies), return_exceptions=True)
        assert sum(not isinstance(one, BaseException) for one in done) == 3


async def test_a_key_that_lost_the_race_with_another_body_is_told_so(world: World) -> None:
    async with world.router() as router:
        bodies = [world.body("k-1", amount) for amount in range(1, 21)]
        done = await asyncio.gather(*(router.service.create(body, "alice") for body in bodies), return_exceptions=True)
        assert sum(not isinstance(one, BaseException) for one in done) == 1
        assert sum(isinstance(one, Conflict) for one in done) == 19
