"""Wire models of the Tor service: how Tor is, its circuits, streams and guards, who uses which, and the fixed verbs."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from services.kit.models import Query, Request, Response

Country = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]
"""Two lower-case letters (ISO 3166-1), as Tor's GeoIP file has them."""

Fingerprint = Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{40}$")]
"""A relay's identity: 40 upper-case hex digits."""


class TorState(StrEnum):
    """How Tor is, in one word; `TorStatus.detail` says what to do about it."""

    STARTING = "starting"
    """This service has not asked yet."""
    MISSING = "missing"
    """tor is not installed on this machine."""
    NOT_RUNNING = "not_running"
    """Nothing listens where tor's control port should be."""
    UNREACHABLE = "unreachable"
    """The host of the control port cannot be found or reached, or this user may not open its socket."""
    NOT_CONTROL_PORT = "not_control_port"
    """Something else listens there: HTTP, SOCKS, SSH, an ORPort."""
    SILENT = "silent"
    """It takes the connection and says nothing: a hung tor, or no tor."""
    UNREADABLE_COOKIE = "unreadable_cookie"
    WRONG_COOKIE = "wrong_cookie"
    PASSWORD_MISSING = "password_missing"
    """tor wants a password, and none is set."""
    WRONG_PASSWORD = "wrong_password"
    NETWORK_DISABLED = "network_disabled"
    """DisableNetwork is set: tor runs and connects to nobody."""
    BOOTSTRAPPING = "bootstrapping"
    STUCK = "stuck"
    """Bootstrap does not go on; `bootstrap.reason` says why."""
    GUARDS_DOWN = "guards_down"
    """Every guard is down: no new circuit, although Tor itself still says that all is well."""
    NO_EXITS = "no_exits"
    """No exit is left: none in the consensus, or none that the exit policy lets pass."""
    CIRCUITS_FAILING = "circuits_failing"
    """Most new circuits fail."""
    NO_ANSWER = "no_answer"
    """Circuits stand, but the last probe through one got no answer."""
    OK = "ok"

    @property
    def connected(self) -> bool:
        """Whether this service talks to tor."""
        return self in _CONNECTED

    @property
    def usable(self) -> bool:
        """Whether a request may get through: better try when it is only doubtful."""
        return self in {TorState.OK, TorState.CIRCUITS_FAILING, TorState.NO_ANSWER}


_CONNECTED = frozenset(
    {
        TorState.NETWORK_DISABLED,
        TorState.BOOTSTRAPPING,
        TorState.STUCK,
        TorState.GUARDS_DOWN,
        TorState.NO_EXITS,
        TorState.CIRCUITS_FAILING,
        TorState.NO_ANSWER,
        TorState.OK,
    }
)


class Bootstrap(Response):
    """How far Tor's start has come."""

    percent: int = Field(ge=0, le=100)
    tag: str
    """Tor's word for the phase: `conn`, `loading_status`, `circuit_create`, `done`."""
    summary: str
    """The phase for people."""
    reason: str = ""
    """Why it does not go on, with the host that it failed at; empty while it does."""


class GuardCounts(Response):
    """Entry guards by state."""

    total: int = 0
    up: int = 0
    """Reachable, or not tried yet."""
    down: int = 0


class CircuitCounts(Response):
    """Circuits by state, and how the newest fared."""

    built: int = 0
    building: int = 0
    recent: int = 0
    """Circuits that were built or failed in the last five minutes."""
    recent_failed: int = 0


class Probe(Response):
    """The last round trip through a circuit."""

    at: datetime
    ok: bool
    target: str
    """host:port that was asked for."""
    latency_ms: float | None = None
    """From the first byte to Tor to the exit's answer that the target took the connection; None when it failed."""
    slow: bool = False
    """Longer than TOR_MAX_LATENCY_MS."""
    detail: str = ""
    """What went wrong, in words."""


class Rotation(Response):
    """The scheduled change of circuits."""

    enabled: bool
    interval_s: int
    next_in_s: float | None = None
    """Until the next isolation user moves; None when disabled or when nobody uses Tor yet."""


class TorStatus(Response):
    """How Tor is, at a glance; also the data of the event `tor`."""

    state: TorState
    detail: str
    """What is wrong and what to do; empty when all is well."""
    since: datetime
    """When this state began."""
    read_at: datetime
    """When tor last answered, or was last looked for."""
    control: str
    """Where tor's control port is: a path, or host:port."""
    socks: str
    """Where programs enter Tor: a path, or host:port."""
    version: str | None = None
    """Of tor."""
    pid: int | None = None
    """Of tor; None when it is on another machine."""
    uptime_s: int | None = None
    """Of tor, at `read_at`."""
    bootstrap: Bootstrap | None = None
    """None while not connected."""
    guards: GuardCounts = GuardCounts()
    circuits: CircuitCounts = CircuitCounts()
    streams: int = 0
    circuit_established: bool | None = None
    """Tor's own word; it stays true when every relay dies."""
    network_live: bool | None = None
    """Tor's own word; it stays true when every relay dies."""
    read_bytes: int | None = None
    """Since tor started."""
    written_bytes: int | None = None
    """Since tor started."""
    newnym_ready_in_s: float = 0.0
    """Seconds until a new identity can be asked for; 0: now."""
    probe: Probe | None = None
    rotation: Rotation
    attempts: int = 0
    """Failed attempts to reach tor's control port in a row."""
    retry_in_s: float | None = None
    """Until the next attempt; None while connected."""
    warnings: tuple[str, ...] = ()
    """What does not stop Tor but should be seen: a slow path, a policy that could not be applied, a failing exit."""


class Hop(Response):
    """One relay of a circuit."""

    nickname: str
    """Chosen by its operator: never trust it."""
    fingerprint: str
    country: str | None = None
    """Two lower-case letters; None where Tor's GeoIP file does not know it."""
    bandwidth: int | None = None
    """Bytes a second, as the consensus weighs it."""
    address: str | None = None
    port: int | None = None
    """Its ORPort."""


class CircuitState(StrEnum):
    """Tor's words for a circuit."""

    LAUNCHED = "LAUNCHED"
    EXTENDED = "EXTENDED"
    GUARD_WAIT = "GUARD_WAIT"
    """Built, and held back while a better guard is tried."""
    BUILT = "BUILT"
    FAILED = "FAILED"
    CLOSED = "CLOSED"

    @property
    def over(self) -> bool:
        """Whether it is gone."""
        return self in {CircuitState.FAILED, CircuitState.CLOSED}


class Circuit(Response):
    """A path through Tor; also the data of the event `circuit`."""

    id: str
    state: CircuitState
    purpose: str
    """Tor's word: GENERAL, HS_CLIENT_REND, CONFLUX_LINKED, …"""
    user: str | None = None
    """SOCKS user that it was made for."""
    isolation: str | None = None
    """The isolation name behind that user; None for Tor's own and for strangers'."""
    draining: bool = False
    """Its isolation user has moved on: it ends when its last stream does."""
    hops: tuple[Hop, ...] = ()
    """The guard first."""
    created_at: datetime | None = None
    age_s: float | None = None
    """Seconds since it was launched, when this was read."""
    build_flags: tuple[str, ...] = ()
    rtt_ms: float | None = None
    """Round trip: through the whole circuit by the last probe, or its last hop's answer while it was built."""
    streams: int = 0
    """That go through it now."""
    reason: str = ""
    """Why it failed or closed, in Tor's word."""


class CircuitList(Response):
    """All circuits, the oldest first, and a few that failed a moment ago."""

    items: tuple[Circuit, ...]
    read_at: datetime


class Stream(Response):
    """One connection through Tor; also the data of the event `stream`."""

    id: str
    state: str
    """Tor's word: NEW, SENTCONNECT, SUCCEEDED, FAILED, CLOSED, …"""
    circuit: str | None = None
    target: str
    """host:port."""
    user: str | None = None
    isolation: str | None = None
    purpose: str = ""
    reason: str = ""

    @property
    def over(self) -> bool:
        """Whether it is gone."""
        return self.state in {"FAILED", "CLOSED"}


class StreamList(Response):
    """All open streams."""

    items: tuple[Stream, ...]
    read_at: datetime


class GuardInfo(Response):
    """An entry guard: the first hop, kept for months."""

    nickname: str
    fingerprint: str
    state: str
    """Tor's word: up, down, never-connected, unusable, unlisted."""
    since: datetime | None = None
    """Of its being down, where Tor says it."""
    country: str | None = None
    bandwidth: int | None = None
    address: str | None = None


class GuardList(Response):
    """Entry guards in Tor's order: the first ones are used."""

    items: tuple[GuardInfo, ...]


class BandwidthSample(Response):
    """One second of traffic; also the data of the event `bandwidth`."""

    read: int
    """Bytes."""
    written: int
    """Bytes."""


class Traffic(Response):
    """Average traffic between two looks at tor."""

    at: datetime
    """The end of that time."""
    read_per_s: float
    """Bytes."""
    written_per_s: float
    """Bytes."""


class Bandwidth(Response):
    """Traffic now and before.

    Reading it asks for the event `bandwidth`: it then comes once a second for `live_s` seconds. Read it when a graph
    opens, and again before that time is over: tor counts by the second only while somebody wants to know.
    """

    samples: tuple[BandwidthSample, ...]
    """Second by second, as long as somebody has been asking, at most five minutes; the newest last."""
    earlier: tuple[Traffic, ...]
    """The last hour or so, one for each look at tor, the newest last."""
    read_bytes: int
    """Since tor started."""
    written_bytes: int
    """Since tor started."""
    live_s: float


class TorEvent(Response):
    """A line of Tor's log; also the data of the event `log`."""

    at: datetime
    level: str
    """debug, info, notice, warn, err."""
    text: str


class TorLog(Response):
    """The newest lines, the oldest first."""

    items: tuple[TorEvent, ...]


class Isolation(Response):
    """Whoever has a path of its own; also the data of the event `isolation`.

    New connections give `user` (and `kit.socks.SOCKS_PASSWORD`) to the SOCKS port. When a rotation changes it, new
    requests go to the new user, requests in flight finish on the old one, whose circuits then end by themselves.
    """

    name: str
    user: str
    """SOCKS user of new connections: `<name>.<generation>`."""
    generation: int
    circuits: int = 0
    """Built, of the present generation."""
    draining: int = 0
    """Circuits of earlier generations that are still used."""
    streams: int = 0
    rtt_ms: float | None = None
    rotated_at: datetime | None = None
    reason: str = ""
    """Why it moved last: schedule, operator, newnym, policy, probe, or the words of who asked."""
    next_in_s: float | None = None
    """Until the schedule moves it; None: never."""


class IsolationList(Response):
    """Everybody that has asked for a path, by name."""

    items: tuple[Isolation, ...]


class Rotate(Request):
    """A move to a new circuit."""

    reason: str = Field(default="operator", min_length=1, max_length=120)
    """Why the old one is left."""
    to: int | None = Field(default=None, ge=1, le=2**53)
    """The generation that a program has gone to by itself; nothing happens if the name is there or beyond already.
    None: the next one."""


class NewIdentity(Response):
    """What a new identity did."""

    rotated: tuple[str, ...]
    """Isolation names that moved."""
    ready_in_s: float
    """Until the next one can be asked for."""


class TestResult(Response):
    """A test of the way out."""

    __test__ = False

    ok: bool
    target: str
    latency_ms: float | None = None
    """From the first byte to Tor to the exit's answer, on a standing circuit."""
    circuit_ms: float | None = None
    """The same for the first connection, which had to get a circuit."""
    circuit_was_ready: bool = False
    """tor had a circuit in store that nobody used yet; else it made one, in that time."""
    slow: bool = False
    """Longer than TOR_MAX_LATENCY_MS."""
    exit: Hop | None = None
    detail: str = ""
    """What went wrong, in words."""


class ExitPolicy(Request):
    """Which relays may be the last hop, and which may not be used at all. Empty means no wish."""

    countries: tuple[Country, ...] = Field(default=(), max_length=64, strict=False)
    """Exits only there."""
    excluded_countries: tuple[Country, ...] = Field(default=(), max_length=64, strict=False)
    """No exits there."""
    excluded_nodes: tuple[Fingerprint, ...] = Field(default=(), max_length=256, strict=False)
    """In no place of a circuit."""

    @field_validator("countries", "excluded_countries", "excluded_nodes", mode="before")
    @classmethod
    def _one_way_to_write_it(cls, value: object) -> object:
        if isinstance(value, list | tuple):
            return tuple(dict.fromkeys(value))
        return value

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if both := sorted(set(self.countries) & set(self.excluded_countries)):
            raise ValueError(f"{', '.join(both)} cannot be wanted and excluded at the same time")
        return self


class ExitPolicyStatus(Response):
    """The exit policy, and what it leaves."""

    countries: tuple[str, ...]
    excluded_countries: tuple[str, ...]
    excluded_nodes: tuple[str, ...]
    applied: bool
    """Whether tor has it; it gets it again at every connection."""
    exits_total: int | None = None
    """Running exits in the consensus; None while not known."""
    exits_left: int | None = None
    """Those that the policy lets pass; None while not known."""
    detail: str = ""
    """Why it is not applied, in words."""


OnionName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]


class CreateOnion(Request):
    """A local service to be reached from outside by an onion address."""

    name: OnionName
    port: int = Field(default=80, ge=1, le=65535)
    """That callers of the onion use."""
    target: str = Field(max_length=200)
    """Where it leads: `unix:/path/of.sock`, or a port on loopback as in `127.0.0.1:8097`."""


class RemoveOnion(Request):
    """Destroys the key: the address is lost for ever, so it has to be given."""

    address: str = Field(min_length=62, max_length=62)


class OnionState(StrEnum):
    """Where an onion service stands."""

    WITHDRAWN = "withdrawn"
    """Not published; the key is kept."""
    WAITING = "waiting"
    """To be published when Tor is there."""
    PUBLISHING = "publishing"
    """Tor has it; no directory has its descriptor yet."""
    PUBLISHED = "published"
    FAILED = "failed"


class Onion(Response):
    """An onion service; also the data of the event `onion`."""

    name: str
    address: str
    """56 characters and `.onion`."""
    port: int
    target: str
    state: OnionState
    detail: str = ""
    descriptors: int = 0
    """Directories that took its descriptor since it was last published."""
    created_at: datetime
    sealed_with: str
    """Where the key that seals its key lies: `credential`, `key file`, or `generated key file`."""


class OnionList(Response):
    """All onion services, by name."""

    items: tuple[Onion, ...]


class ListCircuits(Query):
    """Which circuits."""

    isolation: str | None = None
    """Only those of this isolation name."""
