"""The cache: one call however many ask, and nobody waits for somebody else's key."""

import asyncio
import gc

import pytest

from services.kit.cache import Cache
from services.kit.clock import Clock
from services.kit.errors import Unavailable
from services.kit.metrics import Metrics


class Upstream:
    """Counts the calls, and answers when it is let."""

    def __init__(self) -> None:
        self.calls = 0
        self.gate = asyncio.Event()
        self.broken = False

    async def load(self) -> int:
        self.calls += 1
        await self.gate.wait()
        if self.broken:
            raise Unavailable("the node is away")
        return self.calls


@pytest.fixture
def cache(clock: Clock) -> Cache:
    return Cache(clock, Metrics("test"), max_items=3)


async def test_a_hundred_misses_make_one_call(cache: Cache) -> None:
    upstream = Upstream()
    waiting = [asyncio.create_task(cache.get("a", 10, upstream.load)) for _ in range(100)]
    await asyncio.sleep(0)
    upstream.gate.set()
    assert {found.value for found in await asyncio.gather(*waiting)} == {1}
    assert upstream.calls == 1


async def test_a_hundred_misses_share_one_failure_which_is_not_kept(cache: Cache) -> None:
    upstream = Upstream()
    upstream.broken = True
    upstream.gate.set()
    results = await asyncio.gather(*(cache.get("a", 10, upstream.load) for _ in range(100)), return_exceptions=True)
    assert upstream.calls == 1
    assert all(isinstance(result, Unavailable) for result in results)
    upstream.broken = False
    assert (await cache.get("a", 10, upstream.load)).value == 2


async def test_value_is_fresh_until_its_time_is_over(cache: Cache, clock: Clock) -> None:
    upstream = Upstream()
    upstream.gate.set()
    first = await cache.get("a", 10, upstream.load)
    await clock.sleep(9.9)
    again = await cache.get("a", 10, upstream.load)
    assert (first.hit, again.hit, again.value, again.read_at) == (False, True, 1, first.read_at)
    await clock.sleep(0.1)
    assert (await cache.get("a", 10, upstream.load)).value == 2
    assert (cache.hits, cache.misses) == (1, 2)


async def test_cancelled_caller_does_not_cancel_the_call_of_the_others(cache: Cache) -> None:
    upstream = Upstream()
    first = asyncio.create_task(cache.get("a", 10, upstream.load))
    second = asyncio.create_task(cache.get("a", 10, upstream.load))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    upstream.gate.set()
    assert (await second).value == 1


async def test_a_hanging_key_holds_nobody_else_up(cache: Cache) -> None:
    hanging, quick = Upstream(), Upstream()
    quick.gate.set()
    stuck = asyncio.create_task(cache.get("slow", 10, hanging.load))
    await asyncio.sleep(0)
    assert (await asyncio.wait_for(cache.get("quick", 10, quick.load), 1)).value == 1
    hanging.gate.set()
    await stuck


async def test_what_was_used_longest_ago_goes_first(cache: Cache) -> None:
    upstream = Upstream()
    upstream.gate.set()
    for key in ("a", "b", "c", "a", "d"):
        await cache.get(key, 10, upstream.load)
    assert (await cache.get("a", 10, upstream.load)).hit
    assert not (await cache.get("b", 10, upstream.load)).hit


async def test_forgetting_by_prefix(cache: Cache) -> None:
    upstream = Upstream()
    upstream.gate.set()
    await cache.get("account:1", 10, upstream.load)
    await cache.get("block:1", 10, upstream.load)
    cache.forget("account:")
    assert (await cache.get("block:1", 10, upstream.load)).hit
    assert not (await cache.get("account:1", 10, upstream.load)).hit


async def test_forgetting_during_a_call_keeps_its_stale_value_out(cache: Cache) -> None:
    old, new = Upstream(), Upstream()
    stale = asyncio.create_task(cache.get("account:1", 10, old.load))
    await asyncio.sleep(0)
    cache.forget("account:")
    fresh = asyncio.create_task(cache.get("account:1", 10, new.load))
    for _ in range(3):
        await asyncio.sleep(0)
    assert new.calls == 1  # it does not wait for the call that began before
    new.gate.set()
    first = await fresh
    old.gate.set()
    await stale
    assert (await cache.get("account:1", 10, new.load)).read_at == first.read_at
    assert (old.calls, new.calls) == (1, 1)


async def test_failure_that_nobody_waits_for_any_more_is_no_noise(cache: Cache) -> None:
    upstream, noise = Upstream(), []
    upstream.broken = True
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: noise.append(context))
    waiting = [asyncio.create_task(cache.get("a", 10, upstream.load)) for _ in range(3)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    upstream.gate.set()
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
    assert noise == []
    upstream.broken = False
    assert (await cache.get("a", 10, upstream.load)).value == 2


async def test_call_that_is_broken_off_does_not_look_like_a_cancelled_caller(cache: Cache) -> None:
    async def broken_off() -> int:
        raise asyncio.CancelledError

    with pytest.raises(Unavailable, match="broken off"):
        await cache.get("a", 10, broken_off)
