"""What the console knows of Tor: put together from what the Tor service pushes, never changed, only replaced. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from services.tor.api import (
    BandwidthSample,
    Circuit,
    ExitPolicyStatus,
    GuardInfo,
    Isolation,
    Stream,
    TorEvent,
    TorStatus,
)

FAILED_S: Final = 60.0
"""A circuit that failed is shown for so long."""

MOST_FAILED: Final = 5
"""Failed circuits that are kept."""

MOST_LINES: Final = 500
"""Lines of Tor's log that are kept."""

MOST_SAMPLES: Final = 300
"""Seconds of traffic that are kept."""


@dataclass(frozen=True, slots=True)
class SeenCircuit:
    """A circuit, and when by the console's own clock."""

    circuit: Circuit
    born_at: float | None
    """Monotonic second of its launch, for its age; None: not known."""
    at: float
    """Monotonic second of the last news."""


@dataclass(frozen=True, slots=True)
class TorPicture:
    """Tor as of now."""

    status: TorStatus | None = None
    """None until it was read once."""
    status_at: float = 0.0
    """Monotonic second at which it came: countdowns run from there."""
    circuits: Mapping[str, SeenCircuit] = field(default_factory=dict)
    """By id, the oldest first."""
    streams: Mapping[str, Stream] = field(default_factory=dict)
    """Open ones, by id."""
    guards: tuple[GuardInfo, ...] = ()
    isolations: Mapping[str, Isolation] = field(default_factory=dict)
    """By name; those that only circuits tell of are missing."""
    log: tuple[TorEvent, ...] = ()
    """The newest last."""
    samples: tuple[BandwidthSample, ...] = ()
    """Traffic second by second, the newest last."""
    policy: ExitPolicyStatus | None = None

    # Taking news

    def with_status(self, status: TorStatus, now: float) -> "TorPicture":
        """Take a status."""
        return replace(self, status=status, status_at=now)

    def with_circuits(self, circuits: Iterable[Circuit], now: float) -> "TorPicture":
        """Take all circuits in place of those that were known."""
        return replace(self, circuits=MappingProxyType({one.id: _seen(one, now) for one in circuits}))

    def with_circuit(self, circuit: Circuit, now: float) -> "TorPicture":
        """Take one circuit: a closed one goes, a failed one stays for a while."""
        kept = dict(self.circuits)
        if circuit.state.value == "CLOSED":
            kept.pop(circuit.id, None)
        else:
            kept[circuit.id] = _seen(circuit, now)
        failed = [key for key, seen in kept.items() if seen.circuit.state.over]
        for key in failed:
            if now - kept[key].at > FAILED_S or key in failed[:-MOST_FAILED]:
                del kept[key]
        return replace(self, circuits=MappingProxyType(kept))

    def with_streams(self, streams: Iterable[Stream]) -> "TorPicture":
        """Take all open streams in place of those that were known."""
        return replace(self, streams=MappingProxyType({one.id: one for one in streams if not one.over}))

    def with_stream(self, stream: Stream) -> "TorPicture":
        """Take one stream; one that is over goes."""
        kept = {key: one for key, one in self.streams.items() if key != stream.id}
        if not stream.over:
            kept[stream.id] = stream
        return replace(self, streams=MappingProxyType(kept))

    def with_isolation(self, isolation: Isolation) -> "TorPicture":
        """Take one isolation name."""
        return replace(self, isolations=MappingProxyType({**self.isolations, isolation.name: isolation}))

    def with_sample(self, sample: BandwidthSample) -> "TorPicture":
        """Take one second of traffic."""
        return replace(self, samples=(*self.samples, sample)[-MOST_SAMPLES:])

    def with_line(self, line: TorEvent) -> "TorPicture":
        """Take a line of the log."""
        return replace(self, log=(*self.log, line)[-MOST_LINES:])

    # Reading

    def shown_circuits(self, now: float) -> list[SeenCircuit]:
        """Those to be shown: what failed long ago is left out."""
        return [seen for seen in self.circuits.values() if not seen.circuit.state.over or now - seen.at <= FAILED_S]

    def newnym_in_s(self, now: float) -> float:
        """Seconds until a new identity can be asked for; 0: now."""
        return max(0.0, self.status.newnym_ready_in_s - (now - self.status_at)) if self.status else 0.0

    def uptime_s(self, now: float) -> float | None:
        """For how long tor has been running; None: not known."""
        if self.status is None or self.status.uptime_s is None:
            return None
        return self.status.uptime_s + max(0.0, now - self.status_at)

    def streams_by_purpose(self) -> list[tuple[str, list[Stream]]]:
        """Open streams by who uses them: the isolation name, else the SOCKS user, else Tor's own purpose."""
        found: dict[str, list[Stream]] = {}
        for stream in self.streams.values():
            found.setdefault(stream.isolation or stream.user or stream.purpose or "tor itself", []).append(stream)
        return sorted(found.items())


def _seen(circuit: Circuit, now: float) -> SeenCircuit:
    return SeenCircuit(circuit, None if circuit.age_s is None else now - circuit.age_s, now)
