"""Looks after the connection to tor: finds it, reads it, hears its events, judges how it is, and comes back for ever.

A tor that is absent is a state like any other. Nothing here polls a healthy tor more often than
TOR_HEALTH_CHECK_INTERVAL: between two looks its events tell. What is not well is looked at every few seconds.
"""

import asyncio
import base64
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from services.kit import log
from services.kit.clock import Clock
from services.kit.errors import LucidError, Timeout, Unavailable, UpstreamError
from services.kit.events import EventBus
from services.kit.metrics import Metrics
from services.tor import api
from services.tor.api import TorState
from services.tor.control import Control, ControlError, Credentials, Refused, clean, fields, number
from services.tor.picture import NameOf, Picture, relay, samples
from services.tor.settings import TorSettings

NEWNYM_S = 10.0
"""tor takes a new identity at most this often, and delays the next (MAX_SIGNEWNYM_RATE in its main loop)."""

LIVE_S = 60.0
"""How long bandwidth events come after somebody asked for them."""

_HINDERED_S = 5.0
"""How long a start may stand still when tor names a reason; one failed connection is none yet."""
_UNWELL_LOOK_S = 3.0
_FLUSH_S = 0.2
"""Changes of circuits and streams are told together, so that a busy tor does not flood who listens."""
_MOST_LOG_LINES = 50
"""A second, told to who listens and to our log; tor's own has the rest."""
_LEVELS = ("debug", "info", "notice", "warn", "err")
_RELAYS_KEPT_S = 3600.0
_TRAFFIC_KEPT = 60
_TRAFFIC_S = 10.0
"""An average over less than this says little, and would push out what says more."""

_WORDS_OF_A_TESTING_NETWORK = ("TestingTorNetwork is set.", "Your application (using socks")
"""How lines begin that tor of a testing network writes again and again: at each setting that is changed, and at each
target that has an address and no name, as a devnet has."""

_LOOK = (
    "status/bootstrap-phase",
    "status/circuit-established",
    "network-liveness",
    "entry-guards",
    "traffic/read",
    "traffic/written",
    "uptime",
    "circuit-status",
    "stream-status",
)

Hook = Callable[[Control], Awaitable[None]]
Listener = Callable[[str, str], None]


class Watch:
    """One tor, as this service knows it."""

    def __init__(self, settings: TorSettings, clock: Clock, bus: EventBus, metrics: Metrics, name_of: NameOf) -> None:
        self._settings = settings
        self._clock = clock
        self._bus = bus
        self._metrics = metrics
        self._name_of = name_of
        self._control: Control | None = None
        self._settled = False
        """Whether this connection's tor has been given what it is to have: policy, options, onions."""
        self._failure = (TorState.STARTING, "this service looks for tor's control port")
        self._since = clock.now()
        self._last_state = TorState.STARTING
        self._read_at = clock.now()
        self._attempts = 0
        self._retry_at: float | None = None
        self._kicked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._side: set[asyncio.Task[None]] = set()
        self._flushing: asyncio.TimerHandle | None = None
        self._dirty_circuits: dict[str, api.Circuit | None] = {}
        self._dirty_streams: dict[str, api.Stream] = {}
        self._told_streams: set[str] = set()
        self._guards_changed = False
        self._told: api.TorStatus | None = None
        self._logged = (0.0, 0)
        self._skew = ""
        self._values: dict[str, str] = {}
        self._last_newnym = -NEWNYM_S
        self._live_until = 0.0
        self._events: frozenset[str] = frozenset()
        self._relays_read = 0.0
        self._traffic: deque[api.Traffic] = deque(maxlen=_TRAFFIC_KEPT)
        self._totals: tuple[float, int, int] | None = None
        """When tor's counters were read last, and what they were."""
        self.picture = self._blank()
        self.probe: api.Probe | None = None
        """The last round trip."""
        self.rotation: Callable[[], api.Rotation] = lambda: api.Rotation(enabled=False, interval_s=0)
        """Asked for every status."""
        self.advice: list[Callable[[], list[str]]] = []
        """More warnings for the status."""
        self.no_exits: Callable[[], str] = str
        """Words when the exit policy leaves no exit."""
        self.on_attached: list[Hook] = []
        """Run in order whenever a connection has begun; what they raise is logged."""
        self.listeners: list[Listener] = []
        """Called with every event's name and text."""
        self.refuses_private = True
        """Whether this tor refuses targets in private networks, as every tor outside of a lab does."""

        self._testing = False
        """Whether this tor belongs to a testing network, such as a lab."""

    def _blank(self) -> Picture:
        return Picture(self._clock.monotonic, self._clock.now, self._name_of)

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Begin to look; returns at once, whether there is a tor or not."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End the connection, and then what its events began."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._flushing is not None:
            self._flushing.cancel()
        for task in self._side:
            task.cancel()
        await asyncio.gather(*self._side, return_exceptions=True)

    def kick(self) -> None:
        """Look now instead of after the pause."""
        self._kicked.set()

    def spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something beside; a failure is logged, and it ends with this service, perhaps before it began."""

        async def guarded() -> None:
            try:
                await work()
            except (ControlError, Refused, LucidError) as error:
                log.get_logger().debug("tor.aside", reason=str(error))
            except Exception:  # noqa: BLE001 - nobody waits for it
                log.get_logger().exception("tor.aside_failed")

        task = asyncio.create_task(guarded())
        self._side.add(task)
        task.add_done_callback(self._side.discard)

    async def _run(self) -> None:
        while True:
            self._kicked.clear()
            try:
                async with self._connected() as control:
                    await self._attach(control)
                    await self._tend(control)
            except ControlError as error:
                self._lost(error.state, error.message)
            except Refused as error:
                self._lost(TorState.NOT_CONTROL_PORT, f"tor refused what every tor answers: {error}")
            except Exception as error:  # noqa: BLE001 - whatever it is, tor must be looked for again
                log.get_logger().exception("tor.watch_failed")
                self._lost(TorState.NOT_RUNNING, f"a defect of this service, its log has it: {type(error).__name__}")
            await self._pause()

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Control]:
        settings = self._settings
        credentials = Credentials(settings.tor_control_password_file, settings.tor_control_cookie_file)
        control = await Control.connect(settings.control_address, credentials, self._heard)
        try:
            yield control
        finally:
            self._control, self._settled = None, False
            await control.close()

    def _lost(self, state: TorState, words: str) -> None:
        self._attempts += 1
        self._failure = (state, words)
        self._values, self._skew, self.probe, self.picture = {}, "", None, self._kept_log()
        self._read_at = self._clock.now()
        self._metrics.network_error(state.value)
        settings = self._settings
        if self._attempts == settings.tor_connection_max_retries + 1:
            log.get_logger().error("tor.still_unreachable", attempts=self._attempts, state=state, detail=words)
        growing = min(self._attempts - 1, settings.tor_connection_max_retries, 30)
        pause_ms = settings.tor_connection_retry_delay_ms * 2**growing
        if self._attempts > settings.tor_connection_max_retries:
            pause_ms = settings.tor_connection_max_retry_delay_ms
        pause_s = min(pause_ms, settings.tor_connection_max_retry_delay_ms) / 1000
        self._retry_at = self._clock.monotonic() + pause_s
        self.changed()

    def _kept_log(self) -> Picture:
        blank = self._blank()
        blank.log.extend(self.picture.log)
        return blank

    async def _pause(self) -> None:
        """Wait for the next attempt, or for somebody who wants it now."""
        left = max(0.0, (self._retry_at or 0.0) - self._clock.monotonic())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self._kicked.wait()

    async def _attach(self, control: Control) -> None:
        self.picture = self._kept_log()
        self._events = frozenset()
        await self._subscribe(control)
        self._values = await control.get("version", "process/pid")
        await self._read_options(control)
        self._control = control
        self._attempts, self._retry_at = 0, None
        await self.look()
        version = clean(self._values.get("version", "?"), 40)
        log.get_logger().info("tor.attached", control=str(self._settings.control_address), version=version)
        if control.open_to_all:
            log.get_logger().warning("tor.control_port_open_to_all")
        for hook in self.on_attached:
            try:
                await hook(control)
            except (Refused, LucidError) as error:
                log.get_logger().warning("tor.refused", reason=str(error))
                if control.ended.done():
                    state = TorState.SILENT if isinstance(error, Timeout) else TorState.NOT_RUNNING
                    raise ControlError(state, str(error)) from None
        self._settled = True
        self.changed()

    async def _tend(self, control: Control) -> None:
        """Look now and then until the connection ends."""
        while True:
            state, _ = self.judge()
            pause_s = self._settings.tor_health_check_interval
            if state is not TorState.OK:
                pause_s = min(pause_s, _UNWELL_LOOK_S)
            kicked = asyncio.ensure_future(self._kicked.wait())
            try:
                either: set[asyncio.Future[Any]] = {control.ended, kicked}
                await asyncio.wait(either, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
            finally:
                kicked.cancel()
            if control.ended.done():
                raise ControlError(
                    TorState.NOT_RUNNING,
                    f"{control.ended.result()}: it ended or is restarted; start tor if it stays away",
                )
            self._kicked.clear()
            await self.look()
            self.changed(anyway=True)

    async def _subscribe(self, control: Control) -> None:
        # Never CIRC_BW: under load it brings hundreds of events a second. NETWORK_LIVENESS is never sent.
        wanted = {"CIRC", "STREAM", "GUARD", "STATUS_CLIENT", "STATUS_GENERAL", "SIGNAL", "HS_DESC", "CONF_CHANGED"}
        wanted |= {level.upper() for level in _LEVELS[_LEVELS.index(self._settings.tor_log_level) :]}
        if self._clock.monotonic() < self._live_until:
            wanted.add("BW")
        if wanted != self._events:
            self._events = frozenset(wanted)
            await control.tell("SETEVENTS", *sorted(wanted))

    async def look(self) -> None:
        """Read everything that events do not tell; raises ControlError when the connection ends over it."""
        control = self._control
        if control is None:
            return
        found = await control.get(*_LOOK)
        self._values |= found
        self._read_at = self._clock.now()
        picture = self.picture
        picture.bootstrapped(found.get("status/bootstrap-phase", ""))
        picture.guards_read(found.get("entry-guards", ""))
        picture.circuits_read(found.get("circuit-status", ""))
        picture.streams_read(found.get("stream-status", ""))
        self._told_streams &= picture.streams.keys() | self._dirty_streams.keys()
        if self._clock.monotonic() - self._relays_read > _RELAYS_KEPT_S:
            self._relays_read = self._clock.monotonic()
            picture.relays.clear()
        self._count_traffic()
        await self._learn(control)

    def _count_traffic(self) -> None:
        now = self._clock.monotonic()
        read, written = (number(self._values.get(f"traffic/{way}")) or 0 for way in ("read", "written"))
        if self._totals is None or read < self._totals[1] or written < self._totals[2]:
            self._totals = (now, read, written)
        elif (took_s := now - self._totals[0]) >= min(_TRAFFIC_S, self._settings.tor_health_check_interval):
            self._traffic.append(
                api.Traffic(
                    at=self._read_at,
                    read_per_s=round((read - self._totals[1]) / took_s, 1),
                    written_per_s=round((written - self._totals[2]) / took_s, 1),
                )
            )
            self._totals = (now, read, written)

    async def _learn(self, control: Control) -> None:
        """Look up relays that have not been seen before."""
        for fingerprint in self.picture.unknown_relays():
            key = f"ns/id/{fingerprint}"
            found = relay((await control.get(key)).get(key, ""))
            if found is not None:
                key = f"ip-to-country/{found.address}"
                country = (await control.get(key)).get(key, "??")
                usual = len(country) == 2 and country.isascii() and country.isalpha()
                found = replace(found, country=country.lower() if usual else None)
            self.picture.relays[fingerprint] = found

    # ------------------------------------------------------------------ events

    def _heard(self, name: str, text: str) -> None:
        try:
            self._take(name, text)
        except Exception:  # noqa: BLE001 - one odd line must not end the connection
            log.get_logger().exception("tor.event_failed", event_name=clean(name, 40))

    def _take(self, name: str, text: str) -> None:
        for listener in self.listeners:
            listener(name, text)
        match name:
            case "CIRC":
                self._circuit(text)
            case "STREAM":
                self._stream(text)
            case "BW":
                self._bandwidth(text)
            case "STATUS_CLIENT" | "STATUS_GENERAL":
                self._status(text)
            case "GUARD":
                self.picture.guard(text)
                self._guards_changed = True
                self._flush_soon()
            case "SIGNAL" if text.strip() == "NEWNYM":
                self._last_newnym = self._clock.monotonic()
                self.changed()
            case "CONF_CHANGED" if self._control is not None:
                self.spawn(partial(self._read_options, self._control))
            case _ if name.lower() in _LEVELS:
                self._log(name.lower(), text)

    def _circuit(self, text: str) -> None:
        circ = self.picture.circuit(text)
        if circ is None:
            return
        shown = self.picture.shown(circ) if circ.state.over else None
        self._dirty_circuits[circ.id] = shown
        if self._settings.tor_log_circuits and (circ.state.over or circ.state is api.CircuitState.BUILT):
            path = [nickname for _, nickname in circ.path]
            log.get_logger().info(
                "tor.circuit", id=circ.id, state=circ.state, purpose=circ.purpose, path=path, reason=circ.reason
            )
        self._flush_soon()

    def _stream(self, text: str) -> None:
        stream = self.picture.stream(text)
        if stream is None:
            return
        if self._settings.tor_monitor_exit_nodes:
            self.picture.judge_exit(stream)
        self._dirty_streams[stream.id] = stream
        if stream.circuit:
            self._dirty_circuits.setdefault(stream.circuit, None)
        if self._settings.tor_log_connections and stream.state == "CLOSED":
            log.get_logger().info(
                "tor.stream", id=stream.id, user=stream.user, target=stream.target,
                circuit=stream.circuit, reason=stream.reason,
            )  # fmt: skip
        self._flush_soon()

    def _bandwidth(self, text: str) -> None:
        read, written = (number(word) for word in [*text.split(), "", ""][:2])
        if read is not None and written is not None:
            self._bus.publish("bandwidth", api.BandwidthSample(read=read, written=written))
        if self._clock.monotonic() >= self._live_until and self._control is not None:
            self.spawn(partial(self._subscribe, self._control))

    def _status(self, text: str) -> None:
        words, pairs = fields(text)
        if "BOOTSTRAP" in words:
            self.picture.bootstrapped(text)
        elif "CIRCUIT_ESTABLISHED" in words:
            self._values["status/circuit-established"] = "1"
        elif "CIRCUIT_NOT_ESTABLISHED" in words:
            self._values["status/circuit-established"] = "0"
        elif "CLOCK_SKEW" in words:
            self._skew = (
                f"this machine's clock is {clean(pairs.get('SKEW', '?'), 20)} s off Tor's: set it (timedatectl)"
            )
        self.changed()

    def _log(self, level: str, text: str) -> None:
        if self._testing and text.startswith(_WORDS_OF_A_TESTING_NETWORK):
            return
        event = self.picture.logged(level, text)
        second = float(int(self._clock.monotonic()))
        count = self._logged[1] + 1 if self._logged[0] == second else 1
        self._logged = (second, count)
        if count > _MOST_LOG_LINES:
            return
        self._bus.publish("log", event)
        if level in {"warn", "err"}:
            log.get_logger().warning("tor.says", level=level, text=event.text)

    async def _read_options(self, control: Control) -> None:
        told = await control.options("DisableNetwork", "ClientRejectInternalAddresses", "TestingTorNetwork")
        self._values["disabled"] = (told.get("DisableNetwork") or ["0"])[0]
        self.refuses_private = told.get("ClientRejectInternalAddresses") != ["0"]
        self._testing = told.get("TestingTorNetwork") == ["1"]
        self.changed()

    def circuit_changed(self, circuit_id: str) -> None:
        """Something of a circuit is news, such as its round trip."""
        self._dirty_circuits.setdefault(circuit_id, None)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(_FLUSH_S, self._flush)

    def _flush(self) -> None:
        self._flushing = None
        self.spawn(self._tell)

    async def _tell(self) -> None:
        """Publish what changed since the last time; what came and went in between is not told."""
        circuits, self._dirty_circuits = self._dirty_circuits, {}
        streams, self._dirty_streams = self._dirty_streams, {}
        if self._control is not None:
            with contextlib.suppress(ControlError):
                if self._guards_changed:
                    self._guards_changed = False
                    self.picture.guards_read((await self._control.get("entry-guards")).get("entry-guards", ""))
                await self._learn(self._control)
        for circuit_id, over in circuits.items():
            circ = self.picture.circuits.get(circuit_id)
            if circ is not None:
                self._bus.publish("circuit", self.picture.shown(circ))
            elif over is not None:
                self._bus.publish("circuit", over)
        for stream in streams.values():
            if not stream.over:
                self._told_streams.add(stream.id)
            elif stream.id not in self._told_streams:
                continue
            else:
                self._told_streams.discard(stream.id)
            self._bus.publish("stream", stream)
        self.changed()

    # ------------------------------------------------------------------ judgement

    def judge(self) -> tuple[TorState, str]:
        """How tor is, in a word, and what to do about it."""
        if self._control is None or not self._settled:
            return self._failure
        picture, boot = self.picture, self.picture.bootstrap
        if self._values.get("disabled") == "1":
            return TorState.NETWORK_DISABLED, "tor runs with DisableNetwork 1: take it out of the torrc and reload tor"
        if boot is None or boot.percent < 100:
            return self._judge_bootstrap(boot)
        if words := self.no_exits():
            return TorState.NO_EXITS, words
        if tried := picture.guards_tried_in_vain():
            return (
                TorState.GUARDS_DOWN,
                f"none of Tor's guards can be reached ({tried} tried): is this machine's network up?",
            )
        if picture.hopeless_exits:
            return TorState.NO_EXITS, "no path has an exit: the consensus has none, or the exit policy leaves none"
        if self._values.get("status/circuit-established") == "0":
            return TorState.CIRCUITS_FAILING, "Tor has no circuit at the moment and makes new ones"
        if self._settings.tor_detect_circuit_failures and picture.most_circuits_fail():
            counts = picture.circuit_counts()
            why = picture.failed[-1].reason if picture.failed else "?"
            return (
                TorState.CIRCUITS_FAILING,
                f"{counts.recent_failed} of the last {counts.recent} circuits failed, the newest by {why}",
            )
        if self.probe is not None and not self.probe.ok:
            return TorState.NO_ANSWER, f"a round trip to {self.probe.target} failed: {self.probe.detail}"
        return TorState.OK, ""

    def _judge_bootstrap(self, boot: api.Bootstrap | None) -> tuple[TorState, str]:
        if boot is None:
            return TorState.BOOTSTRAPPING, "Tor has not said how far its start is"
        still_s = self._clock.monotonic() - self.picture.bootstrap_moved
        where = f"at {boot.percent} %, {boot.summary or boot.tag}"
        why = f": {boot.reason}" if boot.reason else ""
        patience_s = self._settings.tor_connectivity_timeout
        if boot.reason:
            patience_s = min(patience_s, _HINDERED_S)
        if self.picture.bootstrap_warned or still_s > patience_s:
            hint = self._skew or "look at this machine's network, its clock, and tor's log"
            return TorState.STUCK, f"Tor's start stands still {where}{why}; {hint}"
        return TorState.BOOTSTRAPPING, f"Tor starts, {where}{why}"

    def status(self) -> api.TorStatus:
        """Tor at a glance."""
        state, detail = self.judge()
        if state is not self._last_state:
            log.get_logger().info("tor.state", state=state, before=self._last_state, detail=detail)
            self._last_state, self._since = state, self._clock.now()
        values, picture, connected = self._values, self.picture, self._control is not None
        settings = self._settings
        retry_in = None if self._retry_at is None else max(0.0, round(self._retry_at - self._clock.monotonic(), 1))
        return api.TorStatus(
            state=state,
            detail=detail,
            since=self._since,
            read_at=self._read_at,
            control=str(settings.control_address),
            socks=str(settings.socks_port.path or settings.socks_port),
            version=clean(values["version"], 60).split(" ")[0] if "version" in values else None,
            pid=number(values.get("process/pid")) if settings.control_address.is_local else None,
            uptime_s=number(values.get("uptime")),
            bootstrap=picture.bootstrap,
            guards=picture.guard_counts(),
            circuits=picture.circuit_counts(),
            streams=len(picture.streams),
            circuit_established=_flag(values.get("status/circuit-established"), "1"),
            network_live=_flag(values.get("network-liveness"), "up"),
            read_bytes=number(values.get("traffic/read")),
            written_bytes=number(values.get("traffic/written")),
            newnym_ready_in_s=self.newnym_ready_in_s() if connected else 0.0,
            probe=self.probe,
            rotation=self.rotation(),
            attempts=self._attempts,
            retry_in_s=retry_in,
            warnings=tuple(self._warnings()),
        )

    def _warnings(self) -> list[str]:
        found = [self._skew] if self._skew else []
        if self._control is not None and self._control.open_to_all:
            found.append("tor's control port takes anybody: set CookieAuthentication 1 in the torrc")
        if self.probe is not None and self.probe.slow:
            found.append(f"the last round trip took {self.probe.latency_ms:,.0f} ms")
        found += self.picture.lost_guards()
        if self._settings.tor_monitor_exit_nodes:
            found += [*self.picture.bad_exits(), *self.picture.gone_exits()]
        return found + [words for advise in self.advice for words in advise()]

    def changed(self, *, anyway: bool = False) -> None:
        """Tell who listens how Tor is, if that is news."""
        status = self.status()
        if anyway or self._told is None or _news(status) != _news(self._told):
            for words in set(status.warnings) - set(self._told.warnings if self._told else ()):
                log.get_logger().warning("tor.warning", detail=words)
            self._told = status
            self._bus.publish("tor", status)

    def newnym_ready_in_s(self) -> float:
        """Seconds until tor takes a new identity at once."""
        return max(0.0, round(self._last_newnym + NEWNYM_S - self._clock.monotonic(), 1))

    @property
    def ready(self) -> bool:
        """Whether a round trip can be tried."""
        boot = self.picture.bootstrap
        return self._control is not None and boot is not None and boot.percent == 100

    @property
    def connected(self) -> bool:
        """Whether there is a tor to talk to."""
        return self._control is not None

    @property
    def read_at(self) -> datetime:
        """When tor last answered."""
        return self._read_at

    # ------------------------------------------------------------------ talking

    @contextlib.asynccontextmanager
    async def speaking(self) -> AsyncIterator[Control]:
        """Talk to tor on behalf of a caller.

        Raises:
            Unavailable: there is no tor to talk to; the message says why.
            Timeout: it fell silent over it.
            UpstreamError: it refused.
        """
        if self._control is None:
            state, words = self.judge()
            raise Unavailable(words, state=state.value)
        try:
            yield self._control
        except Refused as error:
            raise UpstreamError(f"tor refused: {error.text}") from None
        except ControlError as error:
            if error.state is TorState.SILENT:
                raise Timeout(error.message) from None
            raise Unavailable(error.message) from None

    async def newnym(self) -> None:
        """Ask for a new identity, at once."""
        before = self._last_newnym
        async with self.speaking() as control:
            self._last_newnym = self._clock.monotonic()  # at once: two who ask together are not both let through
            try:
                await control.tell("SIGNAL", "NEWNYM")
            except BaseException:
                self._last_newnym = before
                raise

    async def bandwidth(self) -> api.Bandwidth:
        """The last minutes, and events from now on for a while; without tor, nothing."""
        self._live_until = self._clock.monotonic() + LIVE_S
        found: dict[str, str] = {}
        if self._control is not None:
            async with self.speaking() as control:
                await self._subscribe(control)
                found = await control.get("bw-event-cache", "traffic/read", "traffic/written")
        return api.Bandwidth(
            earlier=tuple(self._traffic),
            samples=tuple(samples(found.get("bw-event-cache", ""))),
            read_bytes=number(found.get("traffic/read")) or 0,
            written_bytes=number(found.get("traffic/written")) or 0,
            live_s=LIVE_S,
        )


def identity(base64_text: str) -> str:
    """Turn a consensus's identity (base64 without padding) into a fingerprint; empty when it is none."""
    try:
        return base64.b64decode(f"{base64_text}=").hex().upper()
    except ValueError:
        return ""


def _flag(text: str | None, good: str) -> bool | None:
    return None if text is None else text == good


def _news(status: api.TorStatus) -> tuple[object, ...]:
    """What of a status is worth telling at once; the rest is told with the next look."""
    return (
        status.state,
        status.detail,
        status.version,
        status.bootstrap,
        status.guards,
        (status.circuits.built, status.circuits.building),
        status.newnym_ready_in_s > 0,
        status.probe,
        status.attempts,
        status.warnings,
    )
