"""Paths: rotation without a failed request, round trips that find the bad ones, and the end of those that were left.

A rotation changes a name's SOCKS user. From then on new connections have a new circuit; the old circuit is closed when
its last stream has ended, which tor itself judges (CLOSECIRCUIT IfUnused): nothing in flight is cut off.
"""

import asyncio
import contextlib
import math
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

from services.kit import log, socks
from services.kit.clock import Clock
from services.kit.errors import Conflict, LucidError, NotFound, Unavailable
from services.kit.events import EventBus
from services.kit.socks import SOCKS_PASSWORD, SocksError, User
from services.tor import api
from services.tor.control import Control, Refused, clean
from services.tor.names import Names, user_of
from services.tor.picture import Circ
from services.tor.settings import Target, TorSettings
from services.tor.store import IsolationRow, TorStore
from services.tor.watch import Watch

PROBE = "probe"
"""The name that this service's own round trips have."""

LONGEST_DRAIN_S = 600.0
"""No request takes this long: whatever still sits on a circuit that was left so long ago has forgotten it."""

FORGOTTEN_S = 120.0
"""A program goes to a circuit that it asked for ahead of a move, or has connections there; later nobody will come."""

_DRAIN_LOOK_S = 1.0
_LEAST_PAUSE_S = 0.05
_UNWELL_S = 5.0
_WARM_S = 3.0
"""How long somebody who asks for a new path waits for it; a circuit takes 50 ms to 2 s."""
_AGAIN_S = 60.0
"""Before a scheduled move is tried again that found no new path."""
_CHANCE = secrets.SystemRandom()
_AT_ONCE = 4
"""Round trips under way at the same time."""


class Paths:
    """Everybody's path: which it is, how long it takes, and when it changes."""

    def __init__(
        self, settings: TorSettings, names: Names, watch: Watch, *, store: TorStore, clock: Clock, bus: EventBus
    ) -> None:
        self._settings = settings
        self._names = names
        self._watch = watch
        self._store = store
        self._clock = clock
        self._bus = bus
        self._due: dict[str, float] = {}
        self._rtt: dict[str, tuple[str, float]] = {}
        """Of each name's last round trip: its SOCKS user then, and milliseconds."""
        self._left_at: dict[str, float] = {}
        """Monotonic time at which a SOCKS user was left."""
        self._bad: dict[str, int] = {}
        """Of each name the last generation whose circuit failed before anybody was sent there."""
        self._moving = asyncio.Lock()
        self._testing = asyncio.Lock()
        self._wake = asyncio.Event()
        self._draining = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._next_probe = 0.0

    async def start(self) -> None:
        """Remember the names, and begin."""
        self._names.load(await self._store.isolations())
        if self._names.row(PROBE) is None:
            await self._store.put_isolations([self._names.take_in(PROBE)])
        for name in self._names:
            self._plan(name)
        self._watch.rotation = self.rotation
        self._watch.on_attached.append(self._attached)
        self._tasks = [asyncio.create_task(self._keep_time()), asyncio.create_task(self._drain())]

    async def stop(self) -> None:
        """Stop; paths stay as they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _attached(self, control: Control) -> None:
        options = ["ConfluxEnabled=0"]  # with it a name's exit may change in mid-session
        if self._settings.tor_circuit_rotation_enabled:
            # By itself tor leaves a circuit ten minutes after its first use: the interval is ours to keep.
            dirtiness_s = max(600, self._settings.tor_circuit_rotation_interval * 5 // 4)
            options.append(f"MaxCircuitDirtiness={dirtiness_s}")
        for option in options:
            with contextlib.suppress(Refused):  # a tor that does not know it does not do it either
                await control.tell("SETCONF", option)
        await self._leave_conflux(control)
        self._draining.set()
        self._next_probe = 0.0
        self._wake.set()

    async def _leave_conflux(self, control: Control) -> None:
        """Close paired circuits that tor made in advance; setting the option would only stop the next ones."""
        for circ in list(self._watch.picture.circuits.values()):
            if circ.purpose.startswith("CONFLUX") and circ.user is None:
                with contextlib.suppress(Refused):
                    await control.tell("CLOSECIRCUIT", circ.id, "IfUnused")

    # ------------------------------------------------------------------ names

    async def isolation(self, name: str) -> api.Isolation:
        """Return where a name stands; a new one is taken in.

        Raises:
            Invalid: it cannot be a name.
            Conflict: there are too many.
        """
        self._names.check(name)
        if self._names.row(name) is None:
            row = self._names.take_in(name)
            self._plan(name)
            await self._store.put_isolations([row])
        return self.shown(name)

    def isolations(self) -> api.IsolationList:
        """Everybody."""
        return api.IsolationList(items=tuple(self.shown(name) for name in self._names))

    def shown(self, name: str) -> api.Isolation:
        """A name for callers."""
        row = self._names.row(name)
        if row is None:
            raise NotFound(f"nobody is called {name}")
        user = user_of(row)
        picture = self._watch.picture
        mine = [circ for circ in picture.circuits.values() if circ.user and self._is(circ.user, name)]
        due = self._due.get(name)
        measured, rtt_ms = self._rtt.get(name, ("", None))
        return api.Isolation(
            name=name,
            user=user,
            generation=row.generation,
            circuits=sum(circ.user == user and circ.state is api.CircuitState.BUILT for circ in mine),
            draining=sum(circ.user != user for circ in mine),
            streams=sum(stream.isolation == name for stream in picture.streams.values()),
            rtt_ms=rtt_ms if measured == user else None,
            rotated_at=row.rotated_at if row.reason else None,
            reason=row.reason,
            next_in_s=None if due is None else max(0.0, round(due - self._clock.monotonic(), 1)),
        )

    def _is(self, user: str, name: str) -> bool:
        known = self._names.of_user(user)
        return known is not None and known[0] == name

    # ------------------------------------------------------------------ rotation

    async def rotate(self, name: str, reason: str, to: int | None = None) -> api.Isolation:
        """Move one name to a new circuit; works without tor, too: the next connection is made as the new user.

        With `to`, remember the generation that a program has gone to by itself.
        """
        await self.isolation(name)
        if to is None:
            await self._move([name], reason, warm=True)
        else:
            async with self._moving:
                await self._commit([self._names.advanced(name, clean(reason, 120), to)])
        return self.shown(name)

    async def rotate_all(self, reason: str) -> list[str]:
        """Move everybody; returns their names."""
        names = list(self._names)
        await self._move(names, reason, warm=True)
        return names

    async def _move(self, names: list[str], reason: str, *, warm: bool = False) -> None:
        """Move names to their next generation; `warm`: once its circuit stands, where that takes only a moment."""
        reason = clean(reason, 120)
        async with self._moving:
            rows = [self._coming(name, reason) for name in names]
            if warm:
                limit = asyncio.Semaphore(_AT_ONCE)
                rows = list(await asyncio.gather(*(self._warmed(row, limit) for row in rows)))
            await self._commit(rows)

    def _coming(self, name: str, reason: str) -> IsolationRow:
        """What a name will be after its next move: the first generation that is not known to have a bad circuit."""
        row = self._names.advanced(name, reason)
        return replace(row, generation=max(row.generation, self._bad.get(name, 0) + 1))

    async def _warmed(self, row: IsolationRow, limit: asyncio.Semaphore) -> IsolationRow:
        """Have a coming generation's circuit made, if its name uses one; or name the generation after a bad one."""
        target = self._target()
        used = self._watch.picture.of_user(self._names.user(row.name))
        if target is None or not used or not self._watch.ready:
            return row
        async with limit:
            try:
                took_s = await self._trip(user_of(row), target, _WARM_S)
            except SocksError:
                return self._names.advanced(row.name, row.reason, row.generation + 1)
        self._measured(user_of(row), took_s)
        return row

    async def _commit(self, rows: list[IsolationRow]) -> None:
        # Some may have gone further meanwhile, or there already.
        rows = [row for row in rows if self._names.is_ahead(row)]
        # Stored first: after a crash an old user must not come back to its old circuit.
        await self._store.put_isolations(rows)
        now = self._clock.monotonic()
        for row in rows:
            left = self._names.user(row.name)
            self._left_at[left] = now
            self._names.put(row)
            self._plan(row.name)
            self._bus.publish("isolation", self.shown(row.name))
            log.get_logger().info("tor.rotated", name=row.name, generation=row.generation, reason=row.reason)
        self._draining.set()
        self._watch.changed()

    def rotation(self) -> api.Rotation:
        """The schedule, for the status."""
        used = {known[0] for circ in self._watch.picture.circuits.values() if (known := self._known(circ))}
        waits = [due - self._clock.monotonic() for name, due in self._due.items() if name in used]
        return api.Rotation(
            enabled=self._settings.tor_circuit_rotation_enabled,
            interval_s=self._settings.tor_circuit_rotation_interval,
            next_in_s=max(0.0, round(min(waits), 1)) if waits else None,
        )

    def _known(self, circ: Circ) -> tuple[str, bool] | None:
        return self._names.of_user(circ.user) if circ.user else None

    def _plan(self, name: str, in_s: float | None = None) -> None:
        """Set a name's next scheduled move, by chance up to a quarter early: not all at once, nor on the clock."""
        if self._settings.tor_circuit_rotation_enabled:
            interval_s = self._settings.tor_circuit_rotation_interval
            wait = in_s if in_s is not None else interval_s * _CHANCE.uniform(0.75, 1.0)
            self._due[name] = self._clock.monotonic() + wait
            self._wake.set()

    async def _keep_time(self) -> None:
        """Make round trips and scheduled moves when they are due."""
        while True:
            self._wake.clear()
            least_s = _LEAST_PAUSE_S
            try:
                now = self._clock.monotonic()
                if self._watch.ready and now >= self._next_probe:
                    await self._probe_all()
                    self._draining.set()
                for name in [one for one, due in self._due.items() if due <= self._clock.monotonic()]:
                    await self._scheduled(name)
            except Exception:  # noqa: BLE001 - the schedule must go on
                log.get_logger().exception("tor.schedule_failed")
                self._next_probe = self._clock.monotonic() + _UNWELL_S
                least_s = _UNWELL_S  # what is due stays so, as on a full disk
            due = min([self._next_probe, *self._due.values()])
            wait = max(least_s, due - self._clock.monotonic()) if self._watch.ready else _UNWELL_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    async def _scheduled(self, name: str) -> None:
        """Move a name that uses its circuit to one that has been seen to work."""
        row = self._names.row(name)
        used = row is not None and self._watch.picture.of_user(user_of(row))
        if row is None or not used or not self._watch.ready:
            self._plan(name)
            return
        coming = self._coming(name, "schedule")
        target = self._target()
        if target is not None:
            try:
                took_s = await self._trip(user_of(coming), target)
            except SocksError as error:
                # It stays where it is, which works; that coming user has a bad circuit and is never used.
                log.get_logger().warning("tor.rotation_postponed", name=name, reason=error.message)
                self._bad[name] = coming.generation
                self._plan(name, min(_AGAIN_S, self._settings.tor_circuit_rotation_interval))
                return
            self._measured(user_of(coming), took_s)
        async with self._moving:
            await self._commit([coming])

    # ------------------------------------------------------------------ draining

    async def _drain(self) -> None:
        """Close circuits that were left, as soon as nothing uses them."""
        while True:
            await self._draining.wait()
            self._draining.clear()
            while left := [circ for circ in self._watch.picture.circuits.values() if self._is_left(circ)]:
                await self._close_left(left)
                await asyncio.sleep(_DRAIN_LOOK_S)
            self._left_at.clear()

    def _is_left(self, circ: Circ) -> bool:
        known = self._known(circ)
        if known is None or circ.user == self._names.user(known[0]):
            return False
        # A move makes the coming generation's circuit first: that is no old one, unless nobody went there. While Tor is
        # away a program tries one after the other, and all of them stand when it is back.
        return not known[1] or self._is_forgotten(circ)

    def _is_forgotten(self, circ: Circ) -> bool:
        if circ.created_at is None or self._watch.picture.streams_on(circ.id):
            return False
        return (self._clock.now() - circ.created_at).total_seconds() > FORGOTTEN_S

    async def _close_left(self, left: list[Circ]) -> None:
        now = self._clock.monotonic()
        for circ in left:
            since = self._left_at.setdefault(circ.user or "", now)
            forced = now - since > LONGEST_DRAIN_S
            with contextlib.suppress(LucidError):
                async with self._watch.speaking() as control:
                    await control.tell("CLOSECIRCUIT", circ.id, *([] if forced else ["IfUnused"]))

    # ------------------------------------------------------------------ round trips

    def _target(self) -> Target | None:
        target = self._settings.probe_target
        if target is None or (target.is_private and self._watch.refuses_private):
            return None
        return target

    async def _trip(self, user: str, target: Target, most_s: float = math.inf) -> float:
        """Have an exit connect to `target` on the circuit of `user`; returns how many seconds that took."""
        bound_s = min(most_s, self._settings.tor_connectivity_timeout)
        async with self._connected(user, target, bound_s) as took_s:
            return took_s

    @contextlib.asynccontextmanager
    async def _connected(self, user: str, target: Target, bound_s: float) -> AsyncIterator[float]:
        """The same, with the connection open until the end of the block."""
        began = time.perf_counter()
        who = User(user, SOCKS_PASSWORD)
        opened = await socks.connect(self._settings.socks_port, target.host, target.port, who, bound_s)
        took_s = time.perf_counter() - began
        try:
            yield took_s
        finally:
            opened.close()

    def _measured(self, user: str, took_s: float) -> float:
        took_ms = round(took_s * 1000, 1)
        if known := self._names.of_user(user):
            self._rtt[known[0]] = (user, took_ms)
        for circ in self._watch.picture.of_user(user):
            if circ.state is api.CircuitState.BUILT:
                circ.rtt_ms = took_ms
                self._watch.circuit_changed(circ.id)
        return took_ms

    async def _probe_all(self) -> None:
        """One round trip on this service's own path, then one on everybody's, as far as they have one."""
        target = self._target()
        interval_s = self._settings.tor_health_check_interval
        if target is None:
            self._next_probe = self._clock.monotonic() + interval_s
            return
        well = await self._probe_own(target)
        self._next_probe = self._clock.monotonic() + (interval_s if well else min(interval_s, _UNWELL_S))
        if well:
            limit = asyncio.Semaphore(_AT_ONCE)
            names = [
                name for name in self._names if name != PROBE and self._watch.picture.of_user(self._names.user(name))
            ]
            await asyncio.gather(*(self._probe_other(name, target, limit) for name in names))

    async def _probe_own(self, target: Target) -> bool:
        words = ""
        # A path may be bad alone: only when two in a row give no answer, something is wrong with Tor.
        for _ in range(2 if self._watch.probe is None or self._watch.probe.ok else 1):
            user = self._names.user(PROBE)
            try:
                took_ms = self._measured(user, await self._trip(user, target))
            except SocksError as error:
                words = error.message
                if not self._watch.ready:
                    return False
                await self._move([PROBE], f"probe: {words}")
                continue
            slow = took_ms > self._settings.tor_max_latency_ms
            self._tell(api.Probe(at=self._clock.now(), ok=True, target=str(target), latency_ms=took_ms, slow=slow))
            if slow and self._settings.tor_detect_circuit_failures:
                await self._move([PROBE], f"probe: slow ({took_ms:,.0f} ms)")
            return True
        self._tell(api.Probe(at=self._clock.now(), ok=False, target=str(target), detail=words))
        return False

    def _tell(self, probe: api.Probe) -> None:
        if self._watch.ready:
            self._watch.probe = probe
            self._watch.changed()

    async def _probe_other(self, name: str, target: Target, limit: asyncio.Semaphore) -> None:
        user = self._names.user(name)
        async with limit:
            try:
                took_ms = self._measured(user, await self._trip(user, target))
            except SocksError as error:
                words = error.message
            else:
                if took_ms <= self._settings.tor_max_latency_ms:
                    return
                words = f"slow ({took_ms:,.0f} ms)"
        log.get_logger().warning("tor.bad_path", name=name, reason=words)
        if self._settings.tor_detect_circuit_failures and self._names.user(name) == user:
            await self._move([name], f"probe: {words}")

    async def test(self) -> api.TestResult:
        """Try the way out on a circuit of its own: once to have one, once to measure it.

        Raises:
            Unavailable: there is no tor, or nothing to ask for.
            Conflict: a test runs already.
        """
        target = self._settings.probe_target
        if target is None:
            raise Unavailable("there is nothing to ask for: set TOR_PROBE_TARGET to host:port")
        if self._testing.locked():
            raise Conflict("a test runs already: wait for its result")
        async with self._testing, self._watch.speaking():
            # Only a tor that is there says whether it goes to such places.
            if target.is_private and self._watch.refuses_private:
                raise Unavailable(f"{target} is on a private network, where Tor does not go: set TOR_PROBE_TARGET")
            user = f"test-{secrets.token_hex(6)}"
            stood = set(self._watch.picture.circuits)
            try:
                # Still open during the second: relays hold a small cell back for 40 ms that follows on the one with
                # which a connection ends (Nagle's algorithm, and TCP's delayed acknowledgement).
                async with self._connected(user, target, self._settings.tor_connectivity_timeout) as first_s:
                    second_s = await self._trip(user, target)
            except SocksError as error:
                return api.TestResult(ok=False, target=str(target), detail=error.message)
            finally:
                self._watch.spawn(partial(self._close_test, user))
            await self._watch.look()
            latency_ms = self._measured(user, second_s)
            mine = [circ for circ in self._watch.picture.of_user(user) if circ.path]
            return api.TestResult(
                ok=True,
                target=str(target),
                latency_ms=latency_ms,
                circuit_ms=round(first_s * 1000, 1),
                circuit_was_ready=bool(mine) and all(circ.id in stood for circ in mine),
                slow=latency_ms > self._settings.tor_max_latency_ms,
                exit=self._watch.picture.hop(*mine[-1].path[-1]) if mine else None,
            )

    async def _close_test(self, user: str) -> None:
        """Close a test's circuit, once tor has seen the end of its streams."""
        await asyncio.sleep(1.0)
        for circ in self._watch.picture.of_user(user):
            with contextlib.suppress(LucidError):
                async with self._watch.speaking() as control:
                    await control.tell("CLOSECIRCUIT", circ.id, "IfUnused")
