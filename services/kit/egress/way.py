"""One purpose at one endpoint: where its requests go now, and whether that is any good."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

from prometheus_client import Counter

from services.kit import log
from services.kit.egress.errors import EgressError, Fault
from services.kit.egress.lane import Lane
from services.kit.egress.models import Answer, Call, WayStatus
from services.kit.egress.pace import Pace
from services.kit.egress.race import Asked, Race, is_good
from services.kit.egress.rules import isolation_name
from services.kit.egress.tunnel import Tunnel
from services.kit.metrics import Metrics
from services.kit.socks import PROXY_TROUBLE, Reason, SocksError

_BAD_AT = 3.0
"""Points at which a lane is left."""
_WORTH: dict[str, float] = {"http 403": 3, "http 429": 3, Reason.NO_CIRCUIT: 3, Reason.EXPIRED: 3}
_FORGIVEN = 0.05
"""Points that a good answer takes away: one in twenty is slower than the 95th percentile by its very meaning."""
_LEAST_BETWEEN_S = 1.0
"""Between two lanes that are left because they are bad."""
_FRUITLESS = 4
"""So many lanes opened without one good answer, and it is not the circuit: each next one is waited for longer."""
_LONGEST_BETWEEN_FRUITLESS_S = 60.0
_WARM_UPS = 3
_MOST_AT_ONCE = 3
"""Circuits that one read may be asked on."""
_SPARE_GETS_S = 0.2
"""A spare that has not answered after this long, while the first circuit has, may be no better."""
_NEW_CIRCUIT_S = 1.0
"""What a circuit that has yet to be built gets at least."""


OnMove = Callable[[str, int, str], None]
"""Gets the isolation name, its new generation, and why in words."""


class Counters:
    """What Prometheus sees of the way out."""

    def __init__(self, metrics: Metrics) -> None:
        self.service = metrics.service
        registry, labels = metrics.registry, ["service"]
        self.hedged = Counter(
            "egress_hedged_reads", "Reads that were asked on a second circuit.", labels, registry=registry
        ).labels(self.service)
        self.hedges_won = Counter(
            "egress_hedges_won", "Reads that the second circuit answered first.", labels, registry=registry
        ).labels(self.service)
        self.rotations = Counter(
            "egress_rotations", "Changes of an isolation user, by why.", ["service", "why"], registry=registry
        )


class Way:
    """One purpose at one endpoint: where its requests go now, and whether that is any good."""

    def __init__(self, tunnel: Tunnel, purpose: str, url: str, counters: Counters) -> None:
        """Lead to the endpoint at `url`, which was checked."""
        parts = urlsplit(url)
        self.purpose = purpose
        self.endpoint = parts.netloc
        """host, with the port if it is not the usual one."""
        self.name = isolation_name(purpose, parts.netloc)
        self.on_move: OnMove | None = None
        """Called after a move that this process decided on."""
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tunnel = tunnel
        self._policy = tunnel.policy
        self._clock = tunnel.clock
        self._counters = counters
        self._pace = Pace(tunnel.policy.max_latency_s / 2)
        self._lane: Lane | None = None
        self._spare: Lane | None = None
        self._draining: list[Lane] = []
        self._generation = 0
        self._closed = False
        self._rotating = asyncio.Lock()
        self._moved_at = 0.0
        self._left_at: float | None = None
        self._opened_at = 0.0
        self._fruitless = 0
        """Lanes that were opened since the last good answer."""
        self._answers = self._failures = self._hedged = self._hedges_won = self._rotations = 0
        self._last_rotation = ""

    # --- requests ---

    async def once(self, call: Call) -> Answer:
        """Make a request once, on one circuit: for anything that is not a read.

        Raises:
            EgressError: there is no whole answer; `sent` says whether the request may have left.
        """
        return await self._start(self._current(), call)

    async def read(self, call: Call) -> Answer:
        """Make a request that is safe to repeat: when it is slow or its circuit is bad, on another circuit too.

        The first good answer wins, and the other requests are given up. An answer of 403 or 429 is returned only if
        no other circuit has something better.

        Raises:
            EgressError: no circuit gave a whole answer.
        """
        if not self._tunnel.is_tor:
            return await self.once(call)
        self._pace.earn()
        # Of two new circuits one is often much the slower, and stays it: the first read is asked on both at once.
        race = Race(self._clock.monotonic(), opening=self._policy.quicker_of_two and self._lane is None)
        race.enter(lane := self._current(), self._start(lane, call), race.began)
        try:
            while (winner := await self._winner(race)) is None:
                self._ask_another(race, call)
            self._settle(race, winner)
            return race.tasks[winner].result()
        finally:
            await race.end()
            # Also when whoever asked has given up: a lane that nobody knows any more would never be closed.
            for lane in race.lanes:
                if lane not in {self._lane, self._spare}:
                    self._drain(lane)

    async def _winner(self, race: Race) -> Lane | None:
        """Wait for the lane that has the answer; None: it is time to ask another one."""
        while True:
            if (good := race.good()) is not None:
                return good
            if len(race.lanes) == 1 and self._may_ask_another(race) and (race.opening or self._is_worth_another(race)):
                return None
            if not race.running:
                return race.best()
            done, _ = await asyncio.wait(
                race.running, timeout=self._patience_s(race), return_when=asyncio.FIRST_COMPLETED
            )
            # What takes longer than TOR_MAX_LATENCY_MS is asked again whatever the budget says: the circuit is dead.
            if not done and self._may_ask_another(race) and (race.is_late or self._pace.spend()):
                return None
            race.is_late = not done

    def _is_worth_another(self, race: Race) -> bool:
        """Whether the first circuit failed in a way that another might do better; to be refused again costs budget."""
        return race.was_broken() or (race.was_refused() and self._pace.spend())

    def _patience_s(self, race: Race) -> float:
        """How long to wait for the lanes in the race: the first knows its pace, later ones are built first."""
        longest_s = self._policy.max_latency_s
        if race.is_late:
            return longest_s
        tries = len(race.lanes)
        return self._pace.patience_s if tries == 1 else min(longest_s, _NEW_CIRCUIT_S * 2 ** (tries - 2))

    def _ask_another(self, race: Race, call: Call) -> None:
        """Ask on one more lane, instead of the one that was asked first if there are enough."""
        now = self._clock.monotonic()
        if len(race.running) >= _MOST_AT_ONCE:
            self._lost(race.give_up_oldest(), now - race.began)
        left_s = max(0.0, call.timeout_s - (now - race.began))
        race.enter(lane := self._other_than(race.lanes), self._start(lane, replace(call, timeout_s=left_s)), now)
        race.is_late = False
        if not race.opening or len(race.lanes) > 2:
            self._hedged += 1
            self._counters.hedged.inc()

    def _settle(self, race: Race, winner: Lane) -> None:
        """Learn from a race: who won is kept at hand, who was still waited for was slow, the rest is let go."""
        waited_s = self._clock.monotonic() - race.began
        first = race.lanes[0]
        if race.opening and winner is not first and winner is self._spare and first is self._lane:
            self._move(winner, "the quicker of two circuits", "quicker")
        elif winner is not first:
            if not race.tasks[first].done():
                self._lost(first, waited_s)
            if is_good(race.tasks[winner]):
                self._hedges_won += 1
                self._counters.hedges_won.inc()
            if winner is not self._lane and not winner.retired:
                self._spare = winner
        else:
            self._doubt_spare(race)

    def _doubt_spare(self, race: Race) -> None:
        """Blame a spare that was no help: it may lead over the same slow relay as the first."""
        spare = self._spare
        asked_at = race.asked_at.get(spare) if spare is not None else None
        if spare is None or asked_at is None or race.tasks[spare].done():
            return
        if self._clock.monotonic() - asked_at > max(_SPARE_GETS_S, self._pace.patience_s):
            self._blame(spare, 1.0, "no quicker than the first circuit")

    def _start(self, lane: Lane, call: Call) -> Asked:
        # Held before the task runs: a rotation in between must not close the lane under it.
        lane.hold()
        task = asyncio.create_task(self._attempt(lane, call))
        task.add_done_callback(lambda _: lane.release())
        return task

    async def _attempt(self, lane: Lane, call: Call) -> Answer:
        began = self._clock.monotonic()
        try:
            answer = await lane.fetch(call)
        except EgressError as error:
            self._failures += 1
            if not error.is_ours and error.reason is not Fault.TOO_LARGE:
                self._blame(lane, _WORTH.get(error.reason, 2.0), error.reason)
            raise
        took_s = self._clock.monotonic() - began
        self._answers += 1
        if answer.refused:
            self._blame(lane, _WORTH[f"http {answer.status}"], f"HTTP status {answer.status}")
            return answer
        self._pace.learn(took_s)
        self._fruitless = 0
        if took_s > self._policy.max_latency_s:
            self._blame(lane, 1.0, f"slow: {took_s:.1f} s")
        else:
            lane.points = max(0.0, lane.points - _FORGIVEN)
        return answer

    # --- lanes ---

    def _may_ask_another(self, race: Race) -> bool:
        """Whether there is a lane that this read was not asked on, or a new one may be opened."""
        known = (lane for lane in (self._lane, self._spare) if lane is not None)
        return any(lane not in race.tasks for lane in known) or self._may_open()

    def _may_open(self) -> bool:
        """Whether a new lane may help: while nobody answers, however many ask, each makes Tor build circuits."""
        further = self._fruitless - _FRUITLESS
        if further < 0:
            return True
        pause_s = min(_LONGEST_BETWEEN_FRUITLESS_S, self._policy.max_latency_s * 2.0 ** min(further, 30))
        return self._clock.monotonic() - self._opened_at >= pause_s

    def _current(self) -> Lane:
        if self._lane is None:
            self._lane, self._moved_at = self._new(), self._clock.monotonic()
        return self._lane

    def _other_than(self, tried: list[Lane]) -> Lane:
        """The lane to ask next: the present one if there is a new one by now, else the spare, else a new spare."""
        if self._lane is not None and self._lane not in tried:
            return self._lane
        if self._spare is None or self._spare in tried:
            self._spare = self._new()
        return self._spare

    def _new(self) -> Lane:
        if self._closed:
            raise EgressError(Fault.CLOSING, "this process is stopping", sent=False)
        self._generation += 1
        self._fruitless += 1
        self._opened_at = self._clock.monotonic()
        return Lane(self._tunnel, self.name, self._generation)

    def _lost(self, lane: Lane, waited_s: float) -> None:
        """A second circuit answered while this one had not."""
        self._pace.learn(waited_s)
        self._blame(lane, 1.0, "slower than a second circuit")

    def _blame(self, lane: Lane, points: float, why: str) -> None:
        lane.points += points
        if lane.points < _BAD_AT or lane.retired or not self._tunnel.is_tor or not self._policy.watch_circuits:
            return
        now = self._clock.monotonic()
        if self._left_at is not None and now - self._left_at < _LEAST_BETWEEN_S:
            return
        if lane is self._lane and self._spare is None and not self._may_open():
            return
        self._left_at = now
        if lane is self._lane:
            self._move(self._spare or self._new(), f"bad circuit: {why}", "bad")
        elif lane is self._spare:
            self._spare = None
            self._drain(lane)

    async def rotate(self, why: str = "asked", kind: str = "asked") -> None:
        """Move to a new circuit: new requests go there once it stands, those in flight finish on the old one.

        Raises:
            EgressError: no new circuit could be built; everything stays as it is.
        """
        if not self._tunnel.is_tor or self._lane is None:
            return
        async with self._rotating:
            fresh = await self._warm()
            # Somebody may have moved it further meanwhile, or closed it.
            if self._lane is not None and self._lane.generation < fresh.generation:
                self._move(fresh, why, kind)

    async def _warm(self) -> Lane:
        """Make a lane whose circuit stands: it has reached the endpoint, without saying anything there.

        Of two that are built at once the quicker is taken.
        """
        for attempt in range(1, _WARM_UPS + 1):
            lanes = [self._new() for _ in range(2 if self._policy.quicker_of_two else 1)]
            try:
                return await self._first_to_stand(lanes)
            except SocksError as error:
                if attempt == _WARM_UPS or error.reason in PROXY_TROUBLE:
                    words = f"{self.name} stays on its circuit, no new one could be built: {error.message}"
                    raise EgressError(error.reason, words, sent=False) from None
        raise AssertionError("the last attempt returns or raises")

    async def _first_to_stand(self, lanes: list[Lane]) -> Lane:
        """Build all circuits at once; raises the last SocksError if none stands."""
        building = {asyncio.create_task(self._reach(lane)) for lane in lanes}
        try:
            while True:
                done, building = await asyncio.wait(building, return_when=asyncio.FIRST_COMPLETED)
                standing = [task.result() for task in done if task.exception() is None]
                if standing:
                    return standing[0]
                if not building:
                    return done.pop().result()
        finally:
            for task in building:
                task.cancel()
            await asyncio.gather(*building, return_exceptions=True)

    async def _reach(self, lane: Lane) -> Lane:
        (await self._tunnel.dial(lane.user, self._host, self._port)).close()
        return lane

    def moved(self, generation: int, why: str) -> None:
        """Go to a generation that somebody else chose and whose circuit stands; an older one changes nothing."""
        if self._lane is None:
            self._generation = max(self._generation, generation - 1)
            return
        if not self._tunnel.is_tor or generation <= self._lane.generation:
            return
        self._generation = max(self._generation, generation)
        known = self._spare is not None and self._spare.generation == generation
        fresh = self._spare if known and self._spare else Lane(self._tunnel, self.name, generation)
        self._move(fresh, why, "told")

    @property
    def generation(self) -> int:
        """Of the lane of now; 0 before it is used."""
        return self._lane.generation if self._lane is not None else 0

    @property
    def age_s(self) -> float:
        """How long it has been on its lane; 0 before it is used."""
        return 0.0 if self._lane is None else self._clock.monotonic() - self._moved_at

    def _move(self, fresh: Lane, why: str, kind: str) -> None:
        old = [lane for lane in (self._lane, self._spare) if lane is not None and lane is not fresh]
        self._lane, self._spare = fresh, None
        for lane in old:
            self._drain(lane)
        self._rotations += 1
        self._last_rotation = why
        self._moved_at = self._clock.monotonic()
        self._counters.rotations.labels(self._counters.service, kind).inc()
        log.get_logger().info("egress.rotated", way=self.name, user=fresh.user.name, reason=why)
        if kind != "told" and self.on_move is not None:
            self.on_move(self.name, fresh.generation, why)

    def _drain(self, lane: Lane) -> None:
        if lane.retired:
            return
        lane.retire()
        # Those whose last request is over close by themselves; they stay here until that is done, too.
        self._draining = [each for each in (*self._draining, lane) if not each.is_over]

    async def close(self) -> None:
        """Close every connection, and what is in flight with it; no other is opened."""
        self._closed = True
        lanes = [lane for lane in (self._lane, self._spare, *self._draining) if lane is not None]
        self._lane, self._spare, self._draining = None, None, []
        await asyncio.gather(*(lane.close() for lane in lanes))

    def shown(self) -> WayStatus:
        """The way for screens."""
        self._draining = [lane for lane in self._draining if not lane.is_over]
        return WayStatus(
            name=self.name,
            purpose=self.purpose,
            endpoint=self.endpoint,
            lane=self._lane.shown() if self._lane else None,
            spare=self._spare.shown() if self._spare else None,
            draining=len(self._draining),
            p50_ms=_ms(self._pace.median_s),
            p95_ms=_ms(self._pace.p95_s),
            answers=self._answers,
            failures=self._failures,
            hedged=self._hedged,
            hedges_won=self._hedges_won,
            rotations=self._rotations,
            last_rotation=self._last_rotation,
        )


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
