"""The chain as all endpoints together show it: heads, solid blocks, and the base that a new transaction rests on."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from services.kit import log
from services.kit.clock import Clock
from services.kit.errors import Unavailable
from services.kit.events import EventBus
from services.protocol.networks import Network
from services.tron import api
from services.tron.endpoints import BlockRef, Endpoints, Upstream
from services.tron.node import NodeError

SKEW_MS = 90_000
"""Two endpoints whose heads are further apart in chain time do not agree about the time."""

STALE_LOOKS = 4
"""A reading that is older than this many looks is not used to build a transaction."""


@dataclass(frozen=True, slots=True)
class Base:
    """What a new transaction refers to, agreed by as many endpoints as the settings allow."""

    ref_number: int
    ref_id: str
    """A solid block, so that no reorganisation takes it away (64 hex characters)."""
    head_time_ms: int
    """The lower of the two heads' times: a future head shown by one endpoint cannot make a transaction live longer."""


class Chain:
    """Looks at every endpoint at each interval, and tells whoever listens when something changed."""

    def __init__(self, endpoints: Endpoints, network: Network, clock: Clock, bus: EventBus, interval_s: float) -> None:
        """Watch `endpoints`, each every `interval_s` seconds."""
        self._endpoints = endpoints
        self._network = network
        self._clock = clock
        self._bus = bus
        self._interval_s = interval_s
        self.looked = False
        """Whether any endpoint has been looked at since the start, with whatever result."""
        self._listeners: list[Callable[[], None]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._told: object = None
        self._base: Base | None = None
        self._why = "no endpoint was asked yet"
        self._confirmed: dict[tuple[str, int], str] = {}

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every look that showed something new."""
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        """Call `listener` no more."""
        self._listeners.remove(listener)

    async def start(self) -> None:
        """Begin to look, one task per endpoint so that a slow one holds up nobody."""
        self._tasks = [asyncio.create_task(self._watch(upstream)) for upstream in self._endpoints.all]

    async def stop(self) -> None:
        """Stop looking."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def look(self) -> None:
        """Look at every endpoint once, now."""
        await asyncio.gather(*(self._look_at(upstream) for upstream in self._endpoints.all))

    async def _watch(self, upstream: Upstream) -> None:
        while True:
            try:
                await self._look_at(upstream)
            except Exception:  # noqa: BLE001 - the watch over an endpoint must not end
                log.get_logger().exception("chain.look_failed", endpoint=upstream.name)
            await self._clock.sleep(self._interval_s)

    async def _look_at(self, upstream: Upstream) -> None:
        if upstream.wrong_network or upstream.resting:
            self._tell()
            return
        try:
            if await self._endpoints.verify(upstream):
                upstream.head, upstream.solid = await asyncio.gather(
                    upstream.newest("wallet"), upstream.newest("walletsolidity")
                )
                upstream.polled = self._clock.monotonic()
        except NodeError as error:
            upstream.detail = error.message
            log.get_logger().info("chain.endpoint_failed", endpoint=upstream.name, reason=error.message)
        self._endpoints.mark_lagging()
        self._base, self._why = await self._agree()
        self.looked = True
        self._tell()

    def _tell(self) -> None:
        """Publish and wake, if a head, a solid block or an endpoint's state is new."""
        seen = tuple((upstream.state, upstream.head, upstream.solid) for upstream in self._endpoints.all)
        if seen == self._told:
            return
        self._told = seen
        self._bus.publish("network", self.status())
        for listener in tuple(self._listeners):
            listener()

    # --- what a transaction is built on ---

    def base(self) -> Base:
        """Return what a new transaction refers to.

        Raises:
            Unavailable: too few endpoints answer, or they do not agree; nothing may be built.
        """
        if self._base is None or not self._fresh():
            raise Unavailable(self._why or "the endpoints have not answered for a while")
        return self._base

    def _fresh(self) -> list[Upstream]:
        """Return usable endpoints with recent readings, newest head first; empty when they are fewer than needed."""
        found = self._recent()
        if len(found) < self._endpoints.needed:
            return []
        return sorted(found, key=lambda upstream: -(upstream.head.time_ms if upstream.head else 0))

    def _recent(self) -> list[Upstream]:
        """Return usable endpoints with recent readings."""
        oldest = self._clock.monotonic() - STALE_LOOKS * self._interval_s
        return [
            upstream
            for upstream in self._endpoints.usable()
            if upstream.head and upstream.solid and upstream.polled is not None and upstream.polled >= oldest
        ]

    def _why_not_fresh(self) -> str:
        """Say of every endpoint without a recent reading why it has none."""
        fresh = self._recent()
        silent = [
            f"{upstream.name} has not answered for a while"
            for upstream in self._endpoints.usable()
            if upstream not in fresh
        ]
        return "; ".join(filter(None, [self._endpoints.why_none(), *silent]))

    async def _agree(self) -> tuple[Base | None, str]:
        """Find a base: one endpoint's word if only one is configured, else what two agree about; else say why not."""
        fresh = self._fresh()
        if not fresh:
            needed, all_ = self._endpoints.needed, len(self._endpoints.all)
            return None, f"{needed} of {all_} endpoints must answer: {self._why_not_fresh()}"
        if self._endpoints.needed == 1:
            return _base_of(fresh[0], fresh[0]), ""
        why = ""
        for first, second in pairwise(fresh):
            base = _base_of(first, second)
            if _head_ms(first) - _head_ms(second) > SKEW_MS:
                why = f"{first.name} and {second.name} disagree about the time of the chain"
            elif not await self._same_block(base, first, second):
                why = f"{first.name} and {second.name} disagree about block {base.ref_number}, or one cannot say"
            else:
                return base, ""
        return None, why

    async def _same_block(self, base: Base, first: Upstream, second: Upstream) -> bool:
        """Whether both endpoints have the base's solid block."""
        for upstream in (first, second):
            if upstream.solid and upstream.solid.block_id == base.ref_id:
                continue
            known = self._confirmed.get((upstream.name, base.ref_number))
            if known is None:
                try:
                    shown = await upstream.block("walletsolidity/getblockbynum", {"num": base.ref_number})
                except NodeError:
                    return False
                if len(self._confirmed) > 256:
                    self._confirmed.clear()
                known = self._confirmed[upstream.name, base.ref_number] = shown.block_id
            if known != base.ref_id:
                return False
        return True

    def lowest_head_ms(self) -> int | None:
        """Lowest head time that a usable endpoint shows: while it is below an expiration, sending may still help."""
        times = [upstream.head.time_ms for upstream in self._endpoints.usable() if upstream.head]
        return min(times, default=None)

    def sure_head(self) -> BlockRef | None:
        """Return a head that no endpoint alone vouches for: limits are counted by its time.

        That is the lower head of the two newest that agree about the time; while no two do, the lowest that was shown.
        """
        heads = [
            upstream.head
            for upstream in sorted(self._endpoints.usable(), key=lambda upstream: -_head_ms(upstream))
            if upstream.head
        ]
        if heads and self._endpoints.needed == 1:
            return heads[0]
        for first, second in pairwise(heads):
            if first.time_ms - second.time_ms <= SKEW_MS:
                return second
        shown = [upstream.head for upstream in self._endpoints.all if upstream.head and not upstream.wrong_network]
        return min(shown, key=lambda head: head.time_ms, default=None)

    def solid_past(self, chain_time_ms: int) -> int:
        """Count the usable endpoints whose solid block is later than `chain_time_ms`: a hint, not a proof."""
        return sum(
            1
            for upstream in self._endpoints.usable()
            if upstream.solid is not None and upstream.solid.time_ms > chain_time_ms
        )

    # --- what people see ---

    def best(self) -> Upstream | None:
        """Return the endpoint whose head and solid block are shown: the best that has answered."""
        asked = [upstream for upstream in self._endpoints.usable() if upstream.head]
        if not asked:
            asked = [upstream for upstream in self._endpoints.all if upstream.head and not upstream.wrong_network]
        return asked[0] if asked else None

    def status(self) -> api.NetworkStatus:
        """The chain and its endpoints, for callers of this service."""
        best = self.best()
        return api.NetworkStatus(
            network=self._network.name,
            chain_id=f"{self._network.chain_id:#010x}",
            head=_shown(best.head) if best else None,
            solid=_shown(best.solid) if best else None,
            endpoints=tuple(upstream.shown() for upstream in self._endpoints.all),
            read_at=best.read_at if best else None,
        )


def _base_of(first: Upstream, second: Upstream) -> Base:
    lower = min((up.solid for up in (first, second) if up.solid), key=lambda block: block.number)
    return Base(lower.number, lower.block_id, min(_head_ms(first), _head_ms(second)))


def _head_ms(upstream: Upstream) -> int:
    return upstream.head.time_ms if upstream.head else 0


def _shown(block: BlockRef | None) -> api.Block | None:
    return block.shown() if block else None
