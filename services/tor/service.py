"""The Tor service's decisions: a few fixed verbs over one tor, no way to pass others, and its state in words."""

from typing import Any

from services.kit import log
from services.kit.clock import Clock
from services.kit.errors import NotFound, TooManyRequests
from services.kit.events import EventBus
from services.kit.metrics import Metrics
from services.kit.models import Checks
from services.tor import api
from services.tor.exits import Exits
from services.tor.names import Names
from services.tor.onions import Onions
from services.tor.paths import Paths
from services.tor.settings import TorSettings
from services.tor.store import TorStore
from services.tor.watch import Watch


class TorService:
    """One tor: seen, rotated, and told what it is told."""

    def __init__(
        self, *, settings: TorSettings, store: TorStore, clock: Clock, bus: EventBus, metrics: Metrics
    ) -> None:
        names = Names(clock)
        self._clock = clock
        self._store = store
        self._watch = Watch(settings, clock, bus, metrics, names.of_user)
        self._paths = Paths(settings, names, self._watch, store=store, clock=clock, bus=bus)
        self._exits = Exits(self._watch, store, clock)
        self._onions = Onions(settings, self._watch, store, clock, bus)

    async def start(self) -> None:
        """Open the store and look for tor; whether it is there is not waited for.

        Raises:
            Unavailable: the store cannot be used.
        """
        await self._store.open()
        await self._paths.start()
        await self._exits.start()
        await self._onions.start()
        await self._watch.start()

    async def stop(self) -> None:
        """Let go of tor; it goes on, and so do its circuits and onions."""
        await self._paths.stop()
        await self._watch.stop()
        await self._store.close()

    async def ready(self) -> Checks:
        """Say whether the way out is open."""
        state, words = self._watch.judge()
        return {"tor": "ok" if state is api.TorState.OK else f"{state}: {words}"}

    def details(self) -> dict[str, Any]:
        """Tor at a glance, for `/status`."""
        return self.status().model_dump(mode="json")

    # ------------------------------------------------------------------ reads

    def status(self) -> api.TorStatus:
        """How Tor is; never fails."""
        return self._watch.status()

    def circuits(self, query: api.ListCircuits) -> api.CircuitList:
        """Circuits as last seen."""
        items = self._watch.picture.listed()
        if query.isolation is not None:
            items = [circuit for circuit in items if circuit.isolation == query.isolation]
        return api.CircuitList(items=tuple(items), read_at=self._watch.read_at)

    def streams(self) -> api.StreamList:
        """Open streams as last seen."""
        return api.StreamList(items=tuple(self._watch.picture.streams.values()), read_at=self._watch.read_at)

    def guards(self) -> api.GuardList:
        """Entry guards as last seen."""
        picture = self._watch.picture
        shown = []
        for guard in picture.guards:
            hop = picture.hop(guard.fingerprint, guard.nickname)
            shown.append(
                api.GuardInfo(
                    nickname=guard.nickname,
                    fingerprint=guard.fingerprint,
                    state=guard.state,
                    since=guard.since,
                    country=hop.country,
                    bandwidth=hop.bandwidth,
                    address=hop.address,
                )
            )
        return api.GuardList(items=tuple(shown))

    async def bandwidth(self) -> api.Bandwidth:
        """The last minutes of traffic; events follow for a while."""
        return await self._watch.bandwidth()

    def log(self) -> api.TorLog:
        """The newest lines of tor's log."""
        return api.TorLog(items=tuple(self._watch.picture.log))

    def isolations(self) -> api.IsolationList:
        """Everybody that has a path of its own."""
        return self._paths.isolations()

    async def exit_policy(self) -> api.ExitPolicyStatus:
        """The exit policy, and what it leaves."""
        return await self._exits.status()

    def onions(self) -> api.OnionList:
        """All onion services."""
        return self._onions.list()

    def onion(self, name: str) -> api.Onion:
        """One onion service; raises NotFound."""
        return self._onions.get(name)

    # ------------------------------------------------------------------ verbs

    async def newnym(self, by: str) -> api.NewIdentity:
        """Give everybody a new circuit, and have tor forget what could link them to the old ones.

        Raises:
            TooManyRequests: the last one is less than ten seconds ago; `retry_after_s` counts down.
            Unavailable: there is no tor.
        """
        if (wait := self._watch.newnym_ready_in_s()) > 0:
            raise TooManyRequests(
                f"tor takes a new identity every ten seconds: try again in {wait:.0f} s", retry_after_s=wait
            )
        await self._watch.newnym()
        log.get_logger().info("tor.newnym", by=by)
        rotated = await self._paths.rotate_all("newnym")
        return api.NewIdentity(rotated=tuple(rotated), ready_in_s=self._watch.newnym_ready_in_s())

    async def reconnect(self) -> api.TorStatus:
        """Look for tor now."""
        self._watch.kick()
        await self._clock.sleep(0.1)  # enough for a tor on this machine; what comes later is told by events
        return self.status()

    async def test(self) -> api.TestResult:
        """Try the way out; raises what `Paths.test` raises."""
        return await self._paths.test()

    async def close_circuit(self, circuit_id: str, by: str) -> api.Circuit:
        """Close one circuit, with whatever goes through it.

        Raises:
            NotFound: it is not there any more.
            Unavailable: there is no tor.
        """
        async with self._watch.speaking() as control:
            circ = self._watch.picture.circuits.get(circuit_id)
            if circ is None:
                raise NotFound(f"there is no circuit {circuit_id[:16]}: it has ended by itself")
            shown = self._watch.picture.shown(circ)
            await control.tell("CLOSECIRCUIT", circ.id)
        log.get_logger().info("tor.circuit_closed", id=circuit_id, by=by)
        return shown

    async def isolation(self, name: str) -> api.Isolation:
        """Where a name stands; a new one is taken in."""
        return await self._paths.isolation(name)

    async def rotate(self, name: str, body: api.Rotate) -> api.Isolation:
        """Move one name to a new circuit."""
        return await self._paths.rotate(name, body.reason, body.to)

    async def set_exit_policy(self, policy: api.ExitPolicy, by: str) -> api.ExitPolicyStatus:
        """Choose exits, and move everybody; raises what `Exits.set` raises."""
        status = await self._exits.set(policy)
        log.get_logger().info("tor.exit_policy", policy=policy.model_dump(), by=by)
        await self._paths.rotate_all("policy")
        return status

    async def create_onion(self, body: api.CreateOnion, by: str) -> api.Onion:
        """Make an onion service, and publish it."""
        return await self._onions.create(body, by)

    async def publish_onion(self, name: str, by: str) -> api.Onion:
        """Publish one again."""
        return await self._onions.publish(name, by)

    async def withdraw_onion(self, name: str, by: str) -> api.Onion:
        """Take one off the network, and keep its key."""
        return await self._onions.withdraw(name, by)

    async def remove_onion(self, name: str, body: api.RemoveOnion, by: str) -> api.Onion:
        """Take one off the network, and destroy its key."""
        return await self._onions.remove(name, body, by)
