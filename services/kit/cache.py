"""A cache in memory: values with a time to live, and one call upstream however many ask."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

from services.kit.clock import Clock
from services.kit.errors import Unavailable
from services.kit.metrics import Metrics

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cached(Generic[T]):
    """A value and when it was read."""

    value: T
    read_at: datetime
    read_monotonic: float
    hit: bool
    """Whether it was there already."""


class Cache:
    """Keeps at most `max_items` values; the one that was used longest ago goes first.

    Misses for one key share one call (single-flight), and its failure too. No lock is held across the call, and a
    caller that is cancelled does not cancel it for the others.
    """

    def __init__(self, clock: Clock, metrics: Metrics, max_items: int = 10_000) -> None:
        self._clock = clock
        self._metrics = metrics
        self._max_items = max_items
        self._values: OrderedDict[str, Cached[Any]] = OrderedDict()
        self._calls: dict[str, asyncio.Task[Cached[Any]]] = {}
        self.hits = 0
        """Reads answered from memory."""
        self.misses = 0
        """Reads that had to ask, or to wait for somebody who asked."""

    async def get(self, key: str, ttl_s: float, load: Callable[[], Awaitable[T]]) -> Cached[T]:
        """Return the value of `key` if it is younger than `ttl_s` seconds, else the result of `load()`.

        Raises:
            whatever `load` raises; a failure is not kept.
            Unavailable: the call was broken off, though this caller was not.
        """
        found: Cached[T] | None = self._values.get(key)
        if found is not None and self._clock.monotonic() - found.read_monotonic < ttl_s:
            self._values.move_to_end(key)
            self.hits += 1
            self._metrics.cache_hit()
            return found
        self.misses += 1
        self._metrics.cache_miss()
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = asyncio.create_task(self._load(key, load))
        try:
            return cast("Cached[T]", await asyncio.shield(call))
        except asyncio.CancelledError:
            if call.cancelled() and not _is_being_cancelled():
                raise Unavailable(f"the call for {key} was broken off: try again") from None
            raise

    def forget(self, prefix: str = "") -> None:
        """Drop every value whose key begins with `prefix`; what a call under way brings is not kept either."""
        for kept in (self._values, self._calls):
            for key in [key for key in kept if key.startswith(prefix)]:
                del kept[key]

    async def _load(self, key: str, load: Callable[[], Awaitable[Any]]) -> Cached[Any]:
        try:
            value = await load()
            read_at, moment = self._clock.now(), self._clock.monotonic()
            if self._is_wanted(key):
                self._values[key] = Cached(value, read_at, moment, hit=True)
                self._values.move_to_end(key)
                while len(self._values) > self._max_items:
                    self._values.popitem(last=False)
            return Cached(value, read_at, moment, hit=False)
        finally:
            if self._is_wanted(key):
                del self._calls[key]

    def _is_wanted(self, key: str) -> bool:
        """Whether this task is still the call for a key: if not, the key was forgotten after it began."""
        return self._calls.get(key) is asyncio.current_task()


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
