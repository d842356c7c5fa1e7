"""What goes in and comes out: a call, its answer, and what screens see of the way out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.kit.models import Response


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request."""

    method: str
    url: str
    """Under the base of its way."""
    timeout_s: float
    """From now to the last byte."""
    max_bytes: int
    """No answer that is longer is read to its end."""
    body: Any = None
    """To be sent as JSON; None: none."""
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever its status."""

    status: int
    content: bytes
    headers: Mapping[str, str]
    """Names as they were sent; a redirect's Location is one of them, and nobody goes there."""
    user: str
    """The isolation user that it came through."""

    @property
    def refused(self) -> bool:
        """Whether this exit is not welcome there: 403 or 429."""
        return self.status in {403, 429}


class LaneStatus(Response):
    """One isolation user."""

    user: str
    generation: int
    in_flight: int
    """Requests on it now."""
    points: float
    """What counts against it; at 3 it is left."""


class WayStatus(Response):
    """One purpose at one endpoint."""

    name: str
    purpose: str
    endpoint: str
    lane: LaneStatus | None
    """None until it is used."""
    spare: LaneStatus | None
    """None until a read was slow."""
    draining: int
    """Lanes that finish what is in flight."""
    p50_ms: int | None
    p95_ms: int | None
    """None while too little is known."""
    answers: int
    failures: int
    hedged: int
    """Reads that were asked a second time."""
    hedges_won: int
    """Of those, the ones that the second circuit answered first."""
    rotations: int
    last_rotation: str
    """Why, in words; empty: never."""


class EgressStatus(Response):
    """How calls leave, for screens: mode `clear` is to be shown in red."""

    mode: str
    """`tor`, `loopback` or `clear`."""
    detail: str
    """What is wrong, in words; empty when nothing is."""
    socks: str
    """Where Tor is entered; empty without Tor."""
    ways: tuple[WayStatus, ...]


class Probe(Response):
    """A test of the way to one endpoint: a connection, TLS included, and not one byte of a request."""

    target: str
    ok: bool
    latency_ms: int | None = None
    slow: bool = False
    """Longer than TOR_MAX_LATENCY_MS."""
    detail: str = ""
