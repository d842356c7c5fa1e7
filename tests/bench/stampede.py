"""The cache when many ask at once: calls upstream, time beside one lock, and hits while an upstream hangs."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import uvloop

from services.kit.cache import Cache
from services.kit.clock import SystemClock
from services.kit.metrics import Metrics
from tests.bench.measure import Row, percentile

UPSTREAM_S = 0.1
HANG_S = 2.0

Get = Callable[[str, Callable[[], Awaitable[str]]], Awaitable[object]]


class _Upstream:
    """Answers after a while, or fails after a while, and counts."""

    def __init__(self, fails: bool = False) -> None:
        self.calls = 0
        self._fails = fails

    async def __call__(self) -> str:
        self.calls += 1
        await asyncio.sleep(UPSTREAM_S)
        if self._fails:
            raise ConnectionError("the endpoint is away")
        return "account"


class _OneLock:
    """The design that is measured against: one lock held across the call."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._values: dict[str, str] = {}

    async def get(self, key: str, load: Callable[[], Awaitable[str]]) -> str:
        async with self._lock:
            if key not in self._values:
                self._values[key] = await load()
            return self._values[key]


def _ours() -> Get:
    cache = Cache(SystemClock(), Metrics("bench"))
    return lambda key, load: cache.get(key, 60.0, load)


async def _identical(fails: bool) -> int:
    """Calls upstream when a hundred ask for one key at once."""
    upstream, get = _Upstream(fails), _ours()
    await asyncio.gather(*(get("a", upstream) for _ in range(100)), return_exceptions=True)
    return upstream.calls


async def _cold(get: Get, requests: int, keys: int, at_once: int) -> tuple[float, int]:
    """Seconds, and calls upstream, of a crowd that finds the cache empty; keys come in a fixed disorder."""
    upstream = _Upstream()
    wanted = [f"key {number % keys}" for number in range(requests)]
    random.Random(1).shuffle(wanted)
    left = iter(wanted)

    async def caller() -> None:
        for key in left:
            await get(key, upstream)

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(at_once)))
    return time.perf_counter() - started, upstream.calls


async def _warm_while_hanging() -> list[float]:
    """Seconds of each hit on a warm key while another key's upstream hangs."""
    get = _ours()

    async def now() -> str:
        return "account"

    async def never() -> str:
        await asyncio.sleep(HANG_S)
        return "late"

    await get("warm", now)
    hanging = [asyncio.ensure_future(get("hangs", never)) for _ in range(100)]
    took: list[float] = []
    until = time.perf_counter() + HANG_S * 0.8
    while time.perf_counter() < until:
        started = time.perf_counter()
        await get("warm", never)
        took.append(time.perf_counter() - started)
        await asyncio.sleep(0)
    await asyncio.gather(*hanging)
    return took


def run() -> list[Row]:
    """Measure, with 100 ms an upstream call."""
    cold_s, calls = uvloop.run(_cold(_ours(), requests=1_000, keys=100, at_once=100))
    lock_s, _ = uvloop.run(_cold(_OneLock().get, requests=1_000, keys=100, at_once=100))
    hits = uvloop.run(_warm_while_hanging())
    return [
        Row("upstream calls ÷ keys, 100 callers at once", uvloop.run(_identical(fails=False)), "×", at_most=1),
        Row("the same, every call fails", uvloop.run(_identical(fails=True)), "×", at_most=1),
        Row("1,000 requests, 100 keys, 100 at once: calls ÷ keys", calls / 100, "×", at_most=1),
        Row("the same: time", cold_s, "s"),
        Row("the same under one lock: time", lock_s, "s"),
        Row("time ÷ one lock", cold_s / lock_s, "×", at_most=1 / 25),
        Row("warm hits while an upstream hangs, p99", percentile(hits, 0.99) * 1000, "ms", at_most=1),
    ]
