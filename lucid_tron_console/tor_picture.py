"""What the console knows of Tor: put together from what the Tor service pushes, never changed, only replaced. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
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


_SUPPRESSED: Final = re.compile(r" \[(\d{1,6}) similar message\(s\) suppressed in last [^]]*\]$", re.ASCII)
"""What tor puts behind a line that it would have said more often (its ratelim_t)."""


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
    seconds: int = 0
    """How many samples have come, also those that are forgotten: columns of a graph begin at whole multiples."""
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
        kept = dict(self.streams)
        if stream.over:
            kept.pop(stream.id, None)
        else:
            kept[stream.id] = stream
        return replace(self, streams=MappingProxyType(kept))

    def with_isolation(self, isolation: Isolation) -> "TorPicture":
        """Take one isolation name."""
        return replace(self, isolations=MappingProxyType({**self.isolations, isolation.name: isolation}))

    def with_sample(self, sample: BandwidthSample) -> "TorPicture":
        """Take one second of traffic."""
        return replace(self, samples=(*self.samples, sample)[-MOST_SAMPLES:], seconds=self.seconds + 1)

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

    def uptime_s(self, today: datetime) -> float | None:
        """For how long tor has been running; None: not known."""
        if self.status is None or self.status.uptime_s is None:
            return None
        return self.status.uptime_s + max(0.0, (today - self.status.read_at).total_seconds())

    def streams_by_name(self) -> dict[str, list[Stream]]:
        """Open streams of everybody: by isolation name, also those with none, else SOCKS user or Tor's purpose."""
        found: dict[str, list[Stream]] = {name: [] for name in self.isolations}
        for stream in self.streams.values():
            found.setdefault(stream.isolation or stream.user or stream.purpose or "tor itself", []).append(stream)
        return dict(sorted(found.items()))

    def traffic(self, column_s: int) -> list[tuple[float, float]]:
        """Bytes a second, down and up, on average of every `column_s` seconds that are over; the newest last."""
        begun = -(self.seconds - len(self.samples)) % column_s
        parts = [self.samples[at : at + column_s] for at in range(begun, len(self.samples), column_s)]
        return [
            (sum(one.read for one in part) / column_s, sum(one.written for one in part) / column_s)
            for part in parts
            if len(part) == column_s
        ]

    def lines(self) -> list[tuple[TorEvent, int]]:
        """The log without repetitions: each line where it was said last, with how often it was said."""
        found: dict[tuple[str, str], tuple[TorEvent, int]] = {}
        for event in self.log:
            suppressed = _SUPPRESSED.search(event.text)
            times = 1 + int(suppressed[1]) if suppressed else 1
            text = event.text[: suppressed.start()] if suppressed else event.text
            _, before = found.pop((event.level, text), (event, 0))
            found[event.level, text] = (event.model_copy(update={"text": text}), before + times)
        return list(found.values())


def _seen(circuit: Circuit, now: float) -> SeenCircuit:
    return SeenCircuit(circuit, None if circuit.age_s is None else now - circuit.age_s, now)
