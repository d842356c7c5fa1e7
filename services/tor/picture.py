"""What tor has told: circuits, streams, guards, exits, log and traffic, kept up to date from its events.

Pure: it is given lines of the control protocol (control-spec, sections 3.9 and 4.1) and times, and does no I/O.
"""

import ipaddress
import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from services.tor import api
from services.tor.control import clean, fields, number

RECENT_S = 300.0
"""How far back the fate of circuits and streams counts."""
_FAILED_SHOWN_S = 600.0
_FAILED_SHOWN = 8
"""Failed circuits that are still listed."""
_ENOUGH_CIRCUITS = 8
"""Fewer recent circuits prove nothing."""
_RECOVERED = 3
"""So many circuits built in a row show that what made others fail is over."""
_CALM_S = 10.0
"""Without a failure for so long it is over, too: what does not work is tried again and again, by tor and by probes."""
_ENOUGH_LOST = 2
"""One circuit may end for its middle relay; several at once have their exit in common."""
_PRIMARY_GUARDS = 3
"""So many tor tries before it waits (NumPrimaryGuards); when none answers it is the network."""
_ENOUGH_STREAMS = 3
"""Fewer failed streams in a row prove nothing about an exit."""

MOST = 5000
"""Circuits, and streams, that are kept in mind; a busy client has some hundreds."""
LOG_LINES = 300
SAMPLES = 300

_EXITS_FAULT = frozenset(
    {"TIMEOUT", "DESTROY", "HIBERNATING", "RESOURCELIMIT", "INTERNAL", "TORPROTOCOL", "EXITPOLICY"}
)
"""Reasons for a stream's end that speak against its exit, and not against what it asked for."""

_ID = re.compile(r"[A-Za-z0-9]{1,16}")
"""Of a circuit or a stream (control-spec, CircuitID)."""
_NO_EXIT_BANDWIDTH = re.compile(r"(?<!\d)0% of exit bw")
_PATH = re.compile(r"\$?([0-9A-Fa-f]{40})[~=]?([A-Za-z0-9]{0,19})")
"""A relay in a path: $fingerprint~nickname (control-spec, LongName)."""

NameOf = Callable[[str], tuple[str, bool] | None]
"""The isolation name behind a SOCKS user, and whether it is its present or a coming one; None for a stranger's."""


@dataclass(frozen=True, slots=True)
class Relay:
    """What the consensus says of a relay."""

    address: str
    port: int
    bandwidth: int | None
    """Bytes a second."""
    country: str | None = None


@dataclass(slots=True)
class Circ:
    """A circuit as its last event had it."""

    id: str
    state: api.CircuitState
    path: tuple[tuple[str, str], ...] = ()
    """(fingerprint, nickname), the guard first."""
    purpose: str = ""
    user: str | None = None
    created_at: datetime | None = None
    build_flags: tuple[str, ...] = ()
    reason: str = ""
    extended: float = 0.0
    """Monotonic time at which the path grew last."""
    rtt_ms: float | None = None
    ended: float | None = None
    """Monotonic time of its end."""


@dataclass(slots=True)
class ExitFate:
    """How streams fared at one exit lately."""

    nickname: str
    failed_in_a_row: int = 0
    last_reason: str = ""
    at: float = 0.0


@dataclass(slots=True)
class Guard:
    """An entry guard, as GETINFO entry-guards has it."""

    fingerprint: str
    nickname: str
    state: str
    since: datetime | None = None


@dataclass
class Picture:
    """Everything that is known of a tor while one connection to it lasts."""

    monotonic: Callable[[], float]
    now: Callable[[], datetime]
    name_of: NameOf
    bootstrap: api.Bootstrap | None = None
    bootstrap_moved: float = 0.0
    """Monotonic time at which bootstrap last went on."""
    bootstrap_warned: bool = False
    """tor recommended to warn about what hinders the bootstrap."""
    circuits: dict[str, Circ] = field(default_factory=dict)
    streams: dict[str, api.Stream] = field(default_factory=dict)
    guards: list[Guard] = field(default_factory=list)
    relays: dict[str, Relay | None] = field(default_factory=dict)
    """By fingerprint; None: tor was asked, and does not know it."""
    log: deque[api.TorEvent] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    fates: deque[tuple[float, bool]] = field(default_factory=lambda: deque(maxlen=400))
    """Circuits lately that somebody may wait for: when, and whether it was built."""
    failed: deque[Circ] = field(default_factory=lambda: deque(maxlen=_FAILED_SHOWN))
    exits: dict[str, ExitFate] = field(default_factory=dict)
    lost: deque[Circ] = field(default_factory=lambda: deque(maxlen=64))
    """Circuits that stood and were destroyed from outside."""
    unreachable: dict[str, str] = field(default_factory=dict)
    """Nickname by fingerprint of each guard that tor could not reach when it tried last."""
    tried_guards: set[str] = field(default_factory=set)
    """Guards that tor could not reach since it built a circuit last."""
    hopeless_exits: bool = False
    """tor said that no path has an exit."""

    # ------------------------------------------------------------------ bootstrap and guards

    def bootstrapped(self, line: str) -> None:
        """Take `NOTICE BOOTSTRAP PROGRESS=85 TAG=… SUMMARY="…"`, from GETINFO or an event."""
        words, pairs = fields(line)
        if "BOOTSTRAP" not in words:
            return
        percent = number(pairs.get("PROGRESS"))
        if percent is None or percent > 100:
            return
        tag = clean(pairs.get("TAG", ""), 60)
        before = self.bootstrap
        if before is None or before.percent != percent or before.tag != tag:
            self.bootstrap_moved = self.monotonic()
            self.bootstrap_warned = False
        reason = ""
        if words[0] in {"WARN", "ERR"}:
            reason = _hindrance(pairs)
            self.bootstrap_warned = self.bootstrap_warned or pairs.get("RECOMMENDATION") == "warn"
        elif before is not None and before.tag == tag:
            reason = before.reason
        self.bootstrap = api.Bootstrap(
            percent=percent,
            tag=tag,
            summary=clean(pairs.get("SUMMARY", ""), 120),
            reason="" if percent == 100 else reason,
        )

    def guards_read(self, text: str) -> None:
        """Take GETINFO entry-guards."""
        found = []
        for line in text.splitlines():
            words = line.split()
            if len(words) < 2 or (relay := _PATH.fullmatch(words[0])) is None:
                continue
            since = _time(" ".join(words[2:4])) if len(words) > 2 else None
            found.append(Guard(relay[1].upper(), relay[2] or "?", clean(words[1], 20), since))
        self.guards = found

    def guard(self, text: str) -> None:
        """Take a GUARD event: `ENTRY $fingerprint~nickname DOWN`."""
        found, state = _PATH.search(text), text.rstrip().rpartition(" ")[2]
        if found is None:
            return
        fingerprint = found[1].upper()
        if state == "UP":
            self._guard_answers(fingerprint)
        elif state == "DOWN" and len(self.unreachable) < MOST:
            self.unreachable[fingerprint] = found[2] or "?"
            self.tried_guards.add(fingerprint)

    def _guard_answers(self, fingerprint: str) -> None:
        self.unreachable.pop(fingerprint, None)
        self.tried_guards.clear()

    def lost_guards(self) -> list[str]:
        """Words for each guard that cannot be reached, while others can."""
        if self.guards_tried_in_vain():
            return []
        listed = {guard.fingerprint for guard in self.guards}
        return [
            f"guard {nickname} ({fingerprint[:8]}) could not be reached: others are used"
            for fingerprint, nickname in self.unreachable.items()
            if fingerprint in listed
        ]

    def guards_tried_in_vain(self) -> int:
        """How many guards tor tried if it can reach none, else 0.

        GETINFO alone does not tell: there a guard that failed is `never-connected` if it never was reached, and `up`
        again as soon as tor is about to try it once more.
        """
        states, tried = [guard.state for guard in self.guards], len(self.tried_guards)
        if "down" in states and "up" not in states:
            return max(tried, states.count("down"))
        return tried if tried >= min(_PRIMARY_GUARDS, len(states) or _PRIMARY_GUARDS) else 0

    def guard_counts(self) -> api.GuardCounts:
        """Guards by state; one that was never tried may well be up."""
        down = sum(guard.state in {"down", "unusable", "unlisted"} for guard in self.guards)
        return api.GuardCounts(total=len(self.guards), up=len(self.guards) - down, down=down)

    # ------------------------------------------------------------------ circuits

    def circuits_read(self, text: str) -> None:
        """Take GETINFO circuit-status; circuits that are not in it are forgotten."""
        seen = {circ.id for line in text.splitlines() if (circ := self.circuit(line)) is not None}
        self.circuits = {circuit_id: circ for circuit_id, circ in self.circuits.items() if circuit_id in seen}

    def circuit(self, line: str) -> Circ | None:
        """Take a CIRC event, or a line of GETINFO circuit-status."""
        words, pairs = fields(line)
        try:
            circuit_id, state = words[0], api.CircuitState(words[1])
        except (IndexError, ValueError):
            return None
        if not _ID.fullmatch(circuit_id):
            return None
        path = tuple((one[1].upper(), one[2] or "?") for one in _PATH.finditer(words[2])) if len(words) > 2 else ()
        now = self.monotonic()
        before = self.circuits.get(circuit_id)
        circ = Circ(
            circuit_id,
            state,
            path=path or (before.path if before else ()),
            purpose=clean(pairs.get("PURPOSE", ""), 40),
            user=_user(pairs) or (before.user if before else None),
            created_at=_time(pairs.get("TIME_CREATED", "").replace("T", " ")),
            build_flags=tuple(clean(flag, 30) for flag in pairs.get("BUILD_FLAGS", "").split(",") if flag),
            reason=clean(pairs.get("REASON", ""), 40),
            extended=before.extended if before else 0.0,
            rtt_ms=before.rtt_ms if before else None,
        )
        if before is not None and len(path) > len(before.path):
            # The hop's answer came back over the circuit: from the second hop on that is a round trip.
            if before.extended:
                circ.rtt_ms = round((now - before.extended) * 1000, 1)
            circ.extended = now
        if state.over:
            if state is api.CircuitState.FAILED:
                circ.ended = now
                self.failed.append(circ)
                self._ended_up(circ, built=False)
            elif circ.reason == "DESTROYED" and before is not None and before.state is api.CircuitState.BUILT:
                circ.ended = now
                self.lost.append(circ)
            self.circuits.pop(circuit_id, None)
        elif before is not None or len(self.circuits) < MOST:
            self.circuits[circuit_id] = circ
            if state is api.CircuitState.BUILT and before is not None and before.state is not api.CircuitState.BUILT:
                self._ended_up(circ, built=True)
                self._guard_answers(path[0][0] if path else "")
        return circ

    def _ended_up(self, circ: Circ, *, built: bool) -> None:
        # tor makes these for onions that may come. Nobody waits for one, and none has an exit whose state it shows.
        if circ.purpose != "HS_VANGUARDS":
            self.fates.append((self.monotonic(), built))

    def circuit_counts(self) -> api.CircuitCounts:
        """Circuits by state, and the fate of the newest."""
        since = self.monotonic() - RECENT_S
        recent = [built for at, built in self.fates if at >= since]
        built = sum(circ.state is api.CircuitState.BUILT for circ in self.circuits.values())
        return api.CircuitCounts(
            built=built,
            building=len(self.circuits) - built,
            recent=len(recent),
            recent_failed=recent.count(False),
        )

    def most_circuits_fail(self) -> bool:
        """Whether of enough recent circuits more failed than were built, and it goes on."""
        now = self.monotonic()
        if now - next((at for at, built in reversed(self.fates) if not built), -_CALM_S) >= _CALM_S:
            return False
        since, lately, in_a_row = now - RECENT_S, list[bool](), 0
        for at, built in reversed(self.fates):
            if at < since or in_a_row == _RECOVERED:
                break
            in_a_row = in_a_row + 1 if built else 0
            lately.append(built)
        return len(lately) >= _ENOUGH_CIRCUITS and 2 * lately.count(False) > len(lately)

    def of_user(self, user: str) -> list[Circ]:
        """Circuits that were made for a SOCKS user."""
        return [circ for circ in self.circuits.values() if circ.user == user]

    def streams_on(self, circuit_id: str) -> int:
        """Open streams that go through a circuit."""
        return sum(stream.circuit == circuit_id for stream in self.streams.values())

    def shown(self, circ: Circ) -> api.Circuit:
        """A circuit for callers."""
        known = self.name_of(circ.user) if circ.user else None
        age = (self.now() - circ.created_at).total_seconds() if circ.created_at else None
        return api.Circuit(
            id=circ.id,
            state=circ.state,
            purpose=circ.purpose,
            user=circ.user,
            isolation=known[0] if known else None,
            draining=known is not None and not known[1],
            hops=tuple(self.hop(*one) for one in circ.path),
            created_at=circ.created_at,
            age_s=None if age is None else round(max(0.0, age), 1),
            build_flags=circ.build_flags,
            rtt_ms=circ.rtt_ms,
            streams=self.streams_on(circ.id),
            reason=circ.reason,
        )

    def listed(self) -> list[api.Circuit]:
        """Circuits that live, the oldest first, and those that failed lately."""
        since = self.monotonic() - _FAILED_SHOWN_S
        failed = [circ for circ in self.failed if circ.ended is not None and circ.ended >= since]
        alive = sorted(self.circuits.values(), key=lambda circ: circ.created_at or self.now())
        return [self.shown(circ) for circ in (*alive, *failed)]

    def hop(self, fingerprint: str, nickname: str) -> api.Hop:
        """A relay for callers, with what is known of it."""
        relay = self.relays.get(fingerprint)
        if relay is None:
            return api.Hop(nickname=nickname, fingerprint=fingerprint)
        return api.Hop(
            nickname=nickname,
            fingerprint=fingerprint,
            country=relay.country,
            bandwidth=relay.bandwidth,
            address=relay.address,
            port=relay.port,
        )

    def unknown_relays(self) -> set[str]:
        """Fingerprints in circuits and guards of which nothing has been read."""
        used = {one for circ in self.circuits.values() for one, _ in circ.path} | {g.fingerprint for g in self.guards}
        # Whatever is no longer used is forgotten: relays come and go.
        if len(self.relays) > 4 * len(used) + 64:
            self.relays = {one: relay for one, relay in self.relays.items() if one in used}
        return used - self.relays.keys()

    # ------------------------------------------------------------------ streams and exits

    def streams_read(self, text: str) -> None:
        """Take GETINFO stream-status."""
        before, self.streams = self.streams, {}
        for line in text.splitlines():
            stream = self.stream(line)
            if stream is not None and stream.id in before and stream.user is None:
                known = before[stream.id]
                self.streams[stream.id] = stream.model_copy(
                    update={"user": known.user, "isolation": known.isolation, "purpose": known.purpose}
                )

    def stream(self, line: str) -> api.Stream | None:
        """Take a STREAM event, or a line of GETINFO stream-status."""
        words, pairs = fields(line)
        if len(words) < 4:
            return None
        stream_id, state, circuit, target = words[:4]
        if not (_ID.fullmatch(stream_id) and _ID.fullmatch(circuit)):
            return None
        before = self.streams.get(stream_id)
        on = circuit if circuit != "0" else None
        user = _user(pairs) or (before.user if before else None)
        circ = self.circuits.get(circuit)
        if circ is not None and user and state in {"SENTCONNECT", "SUCCEEDED"}:
            circ.user = user  # tor gives a circuit to a user with its first stream, and tells so only here
        if user is None and circ is not None:
            user = circ.user
        known = self.name_of(user) if user else None
        stream = api.Stream(
            id=stream_id,
            state=clean(state, 20),
            circuit=on or (before.circuit if before else None),
            target=clean(target, 300),
            user=user,
            isolation=known[0] if known else None,
            purpose=clean(pairs.get("PURPOSE", before.purpose if before else ""), 30),
            reason=clean(" ".join(pairs[key] for key in ("REASON", "REMOTE_REASON") if key in pairs), 60),
        )
        if stream.over:
            self.streams.pop(stream_id, None)
        elif before is not None or len(self.streams) < MOST:
            self.streams[stream_id] = stream
        return stream

    def judge_exit(self, stream: api.Stream) -> None:
        """Count a stream's fate for its exit."""
        circ = self.circuits.get(stream.circuit or "")
        if circ is None or not circ.path:
            return
        fingerprint, nickname = circ.path[-1]
        if stream.state == "SUCCEEDED":
            self.exits.pop(fingerprint, None)
        # After FAILED comes CLOSED with the same reason: one fate.
        elif stream.state == "CLOSED" and set(stream.reason.split()) & _EXITS_FAULT:
            if len(self.exits) > 100:
                self.exits.clear()
            fate = self.exits.setdefault(fingerprint, ExitFate(nickname))
            fate.failed_in_a_row += 1
            fate.last_reason, fate.at = stream.reason, self.monotonic()

    def bad_exits(self) -> list[str]:
        """Words for each exit at which the last streams all failed."""
        since = self.monotonic() - RECENT_S
        return [
            f"exit {fate.nickname} ({one[:8]}) failed {fate.failed_in_a_row} streams in a row: {fate.last_reason}"
            for one, fate in self.exits.items()
            if fate.failed_in_a_row >= _ENOUGH_STREAMS and fate.at >= since
        ]

    def gone_exits(self) -> list[str]:
        """Words for each exit that took all its circuits with it, while its guard goes on with others."""
        since = self.monotonic() - RECENT_S
        lost: dict[tuple[str, str], list[Circ]] = {}
        for circ in self.lost:
            if circ.ended is not None and circ.ended >= since and len(circ.path) > 2:
                lost.setdefault(circ.path[-1], []).append(circ)
        built = [circ for circ in self.circuits.values() if circ.state is api.CircuitState.BUILT and circ.path]
        exits, guards = {circ.path[-1] for circ in built}, {circ.path[0] for circ in built}
        return [
            f"exit {nickname} ({fingerprint[:8]}) dropped {len(circs)} circuits: it seems to be gone, others are used"
            for (fingerprint, nickname), circs in lost.items()
            if len(circs) >= _ENOUGH_LOST
            and (fingerprint, nickname) not in exits
            and any(circ.path[0] in guards for circ in circs)
        ]

    # ------------------------------------------------------------------ log

    def logged(self, level: str, text: str) -> api.TorEvent:
        """Take a line of tor's log."""
        event = api.TorEvent(at=self.now(), level=level.lower(), text=clean(text))
        self.log.append(event)
        if "can only build" in text or "is not enough" in text:
            self.hopeless_exits = _NO_EXIT_BANDWIDTH.search(text) is not None
        elif "now have enough directory information" in text:
            self.hopeless_exits = False
        return event


def relay(text: str) -> Relay | None:
    """Read GETINFO ns/id/…; None unless it tells an address."""
    found = None
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["r"] and len(words) >= 8 and _is_address(words[6]):
            found = Relay(words[6], number(words[7]) or 0, None)
        elif words[:1] == ["w"] and found is not None:
            weight = number(fields(line)[1].get("Bandwidth"))
            # The consensus weighs in units of 1000 bytes a second (dir-spec, "w" lines).
            found = replace(found, bandwidth=None if weight is None else weight * 1000)
    return found


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def samples(text: str) -> list[api.BandwidthSample]:
    """Read GETINFO bw-event-cache: "read,written" for each of the last seconds."""
    found = []
    for pair in text.split():
        read, written = (number(part) for part in pair.partition(",")[::2])
        if read is not None and written is not None:
            found.append(api.BandwidthSample(read=read, written=written))
    return found[-SAMPLES:]


def exits_of(text: str) -> Iterable[tuple[str, str]]:
    """Find (fingerprint in base64, address) of every running exit in GETINFO ns/all."""
    identity = address = ""
    for line in text.splitlines():
        if line.startswith("r "):
            words = line.split()
            identity, address = (words[2], words[6]) if len(words) >= 8 and _is_address(words[6]) else ("", "")
        elif line.startswith("s ") and identity:
            flags = line.split()
            if "Exit" in flags and "Running" in flags and "BadExit" not in flags:
                yield identity, address


def _user(pairs: dict[str, str]) -> str | None:
    user = pairs.get("SOCKS_USERNAME")
    return clean(user, 100) if user else None


def _hindrance(pairs: dict[str, str]) -> str:
    words = pairs.get("WARNING") or pairs.get("REASON", "")
    reason, host = pairs.get("REASON", ""), pairs.get("HOSTADDR", "")
    text = f"{reason}: {words}" if reason and reason != words else words
    return clean(f"{text} (at {host})" if host else text, 240)


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        return None
