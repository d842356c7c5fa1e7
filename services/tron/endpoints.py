"""The set of TRON nodes: which of them may be believed to be on our network, which answer, and whom to ask."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from services.kit import log
from services.kit.clock import Clock
from services.kit.errors import Unavailable
from services.kit.metrics import Metrics
from services.kit.retry import RetryPolicy, retry
from services.protocol.networks import Network
from services.tron import api
from services.tron.node import Kind, Node, NodeError

T = TypeVar("T")

FAILURES_UNTIL_REST = 3
"""Failed calls in a row that open an endpoint's breaker, unless the settings say otherwise."""

FIRST_REST_S = 5.0
LONGEST_REST_S = 60.0
LONGEST_ASKED_REST_S = 600.0
"""An endpoint that asks for a longer pause (Retry-After) is asked again after this one all the same."""

LAG_MS = 60_000
"""An endpoint whose head is older than the newest by more chain time than this is lagging."""


NONSENSE = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What comes of reading an answer whose parts are of other kinds than they should be (pydantic's errors included)."""


@dataclass(frozen=True, slots=True)
class BlockRef:
    """One block, as an endpoint showed it."""

    number: int
    block_id: str
    """64 lower-case hex characters; the first 16 are the number."""
    time_ms: int
    """Chain time in milliseconds since 1970."""
    transactions: int = 0

    def shown(self) -> api.Block:
        """The same for callers of this service."""
        return api.Block(number=self.number, id=self.block_id, time_ms=self.time_ms, transactions=self.transactions)


def read_block(answer: Mapping[str, Any], endpoint: str) -> BlockRef:
    """Read a block's number, id and time.

    Raises:
        NodeError: a part is missing, or the id does not begin with the number, as every block id does
            (java-tron, `BlockId.generateBlockId`).
    """
    try:
        transactions = len(answer.get("transactions") or ())
        header = answer["block_header"]["raw_data"]
        number, time_ms = header.get("number", 0), header.get("timestamp", 0)
        block_id = answer["blockID"]
        fits = len(bytes.fromhex(block_id)) == 32 and int(block_id[:16], 16) == number
        well = fits and isinstance(time_ms, int) and isinstance(number, int) and 0 <= time_ms < 1 << 62
    except (KeyError, TypeError, ValueError, AttributeError):
        well = False
    if not well:
        raise NodeError("what it shows is not a block", Kind.GARBLED, endpoint)
    return BlockRef(number, block_id.lower(), time_ms, transactions)


class Upstream:
    """One node with what we have learned of it."""

    def __init__(self, node: Node, clock: Clock, metrics: Metrics, failures_until_rest: int) -> None:
        self.node = node
        self.name = node.name
        """host:port."""
        self.head: BlockRef | None = None
        """Its newest block, when it was last asked."""
        self.solid: BlockRef | None = None
        """Its newest solid block, when it was last asked."""
        self.polled: float | None = None
        """Monotonic time at which head and solid were read."""
        self.verified = False
        """Its block 0 is our network's."""
        self.wrong_network = False
        self.lagging = False
        self.detail = ""
        """What went wrong last, in words."""
        self.latency_s: float | None = None
        """Smoothed time of a call."""
        self.read_at: datetime | None = None
        self.calls = 0
        self.failures = 0
        self._in_a_row = 0
        self._rest_until = 0.0
        self._clock = clock
        self._metrics = metrics
        self._failures_until_rest = failures_until_rest

    @property
    def resting(self) -> bool:
        """Whether its breaker is open."""
        return self._clock.monotonic() < self._rest_until

    @property
    def usable(self) -> bool:
        """Whether it may be asked for anything but its block 0."""
        return self.verified and not self.resting

    @property
    def state(self) -> api.EndpointState:
        """All of this in one word."""
        if self.wrong_network:
            return api.EndpointState.WRONG_NETWORK
        if self.resting:
            return api.EndpointState.RESTING
        if not self.verified:
            return api.EndpointState.UNKNOWN
        return api.EndpointState.LAGGING if self.lagging else api.EndpointState.OK

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Call the node, measured; raises NodeError."""
        return await self._measured(self.node.post(path, body))

    async def get(self, path: str, params: Mapping[str, str]) -> dict[str, Any]:
        """Call the node's `v1` interface, measured; raises NodeError."""
        return await self._measured(self.node.get(path, params))

    async def block(self, path: str, body: Mapping[str, Any] | None = None) -> BlockRef:
        """Ask for a block; raises NodeError."""
        return read_block(await self.post(path, body or {}), self.name)

    async def newest(self, part: str) -> BlockRef:
        """Ask for the newest block of `wallet` or `walletsolidity`, without its transactions; raises NodeError."""
        block = await self.block(f"{part}/getblock", {"detail": False})
        count = await self.post(f"{part}/gettransactioncountbyblocknum", {"num": block.number})
        found = count.get("count", 0)
        return replace(block, transactions=found if isinstance(found, int) else 0)

    async def _measured(self, call: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        started = self._clock.monotonic()
        self.calls += 1
        try:
            answer = await call
        except NodeError as error:
            self._failed(error)
            raise
        took = self._clock.monotonic() - started
        self.latency_s = took if self.latency_s is None else 0.8 * self.latency_s + 0.2 * took
        self.read_at = self._clock.now()
        self._in_a_row = 0
        self.detail = self.detail if self.wrong_network else ""
        return answer

    def _failed(self, error: NodeError) -> None:
        self._metrics.network_error(error.kind.value)
        if error.about_the_question:
            return
        if error.kind is Kind.NO_WAY_OUT:  # our Tor is down: nobody was asked, and nobody has to rest for that
            self.detail = error.message
            return
        self.failures += 1
        self._in_a_row += 1
        self.detail = error.message
        surplus = self._in_a_row - self._failures_until_rest
        if surplus >= 0 or error.kind is Kind.RATE_LIMITED or error.retry_after_s:
            rest_s = min(LONGEST_REST_S, FIRST_REST_S * 2 ** max(0, min(surplus, 8)))
            asked_s = min(LONGEST_ASKED_REST_S, error.retry_after_s)
            self._rest_until = self._clock.monotonic() + max(rest_s, asked_s)
            # Whoever answers there after a rest may be somebody else: block 0 is asked for again.
            self.verified = False
            log.get_logger().warning("endpoint.resting", endpoint=self.name, reason=error.message)

    def shown(self) -> api.Endpoint:
        """What callers of this service see of it."""
        return api.Endpoint(
            name=self.name,
            state=self.state,
            detail=self.detail,
            head_number=self.head.number if self.head else None,
            solid_number=self.solid.number if self.solid else None,
            latency_ms=None if self.latency_s is None else round(self.latency_s * 1000),
            read_at=self.read_at,
            failures=self.failures,
        )


@dataclass(frozen=True, slots=True)
class Said(Generic[T]):
    """An answer and who gave it."""

    value: T
    endpoint: str


class Endpoints:
    """Every configured node, asked in the order of what we know of them."""

    def __init__(
        self,
        nodes: Sequence[Node],
        network: Network,
        clock: Clock,
        metrics: Metrics,
        policy: RetryPolicy | None = None,
        *,
        failures_until_rest: int = FAILURES_UNTIL_REST,
    ) -> None:
        """Use `nodes`, each with a name of its own, for `network`; `policy` is for reads, which are safe to repeat."""
        self._network = network
        self._clock = clock
        self._metrics = metrics
        self._policy = policy or RetryPolicy()
        self.all = tuple(Upstream(node, clock, metrics, failures_until_rest) for node in nodes)
        """Every configured endpoint, in the order of the settings."""
        self.needed = min(2, len(self.all))
        """How many must agree before anything is final: two, where two are configured at all."""

    @property
    def single(self) -> bool:
        """Whether only one is configured, so that nothing can be asked of a second."""
        return len(self.all) == 1

    def usable(self) -> list[Upstream]:
        """Return those that may be asked, the best first: up to date before lagging, quick before slow."""
        found = [upstream for upstream in self.all if upstream.usable]
        return sorted(found, key=lambda upstream: (upstream.lagging, upstream.latency_s or 0.0))

    async def verify(self, upstream: Upstream) -> bool:
        """Ask for block 0 and compare its id with our network's; a stranger is never used again.

        Raises:
            NodeError: it could not be asked.
        """
        if upstream.wrong_network or upstream.verified:
            return upstream.verified
        genesis = await upstream.block("wallet/getblockbynum", {"num": 0})
        if genesis.block_id != self._network.genesis_id:
            upstream.wrong_network = True
            upstream.detail = (
                f"{upstream.name}: its block 0 is {genesis.block_id}, not that of {self._network.name}: "
                "take it out of the settings"
            )
            log.get_logger().error("endpoint.wrong_network", endpoint=upstream.name, genesis=genesis.block_id)
        else:
            upstream.verified = True
        return upstream.verified

    async def ask(self, load: Callable[[Upstream], Awaitable[T]]) -> Said[T]:
        """Have `load` ask one endpoint, others if that fails, and again with pauses as the settings say. For reads.

        Raises:
            NodeError: an endpoint answered that the question itself is wrong, or that it has no such call.
            Unavailable: no endpoint answered.
        """

        async def once() -> Said[T] | NodeError:
            failures = []
            for upstream in self.usable():
                try:
                    return Said(await load(upstream), upstream.name)
                except NodeError as error:
                    if error.about_the_question:
                        return error
                    failures.append(error.message)
                except NONSENSE:
                    log.get_logger().info("endpoint.nonsense", endpoint=upstream.name, exc_info=True)
                    failures.append(f"{upstream.name}: what it answered makes no sense")
            raise Unavailable(f"no endpoint answered: {'; '.join(failures) or self.why_none()}")

        said = await retry(once, self._policy, clock=self._clock, metrics=self._metrics)
        if isinstance(said, NodeError):
            raise said
        return said

    def why_none(self) -> str:
        """Say of every endpoint why it cannot be asked."""
        return "; ".join(
            upstream.detail or f"{upstream.name}: {upstream.state.value}"
            for upstream in self.all
            if not upstream.usable
        )

    def mark_lagging(self) -> None:
        """Compare the heads: who is far behind the newest is asked last."""
        newest = max((upstream.head.time_ms for upstream in self.all if upstream.head and upstream.usable), default=0)
        for upstream in self.all:
            upstream.lagging = upstream.head is not None and newest - upstream.head.time_ms > LAG_MS

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(upstream.node.close() for upstream in self.all))
