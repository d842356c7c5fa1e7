"""What a private network consists of: who is in it, on which addresses and ports, and the torrc of each. No I/O."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path

FEWEST_RELAYS = 2
"""With one exit and the authority that is the smallest network that serves onions."""
MOST_SERVERS = 25
"""Each server has a country code of its own, of XA to XZ, which are free for private use (ISO 3166-1)."""

_AGREE_S = 300
"""Seconds between two consensuses. Shorter races the relays' publication; a start asks for the first one itself."""


class Role(StrEnum):
    """What a node does in the network."""

    AUTHORITY = "authority"
    RELAY = "relay"
    EXIT = "exit"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Plan:
    """Who is in the network, and where they listen; remembered, so that a warm start finds everything in place."""

    relays: int
    exits: int
    block: str
    """The first three bytes of the addresses of this lab, which no other lab has: "127.93.12"."""
    or_port: int
    """Of every server, each on its own address."""
    dir_port: int
    """Of the authority."""
    names_port: int
    """UDP port of the name server that the exits ask."""
    socks_port: int
    """Of the client, on 127.0.0.1."""
    control_port: int
    """Of the client, on 127.0.0.1."""

    @classmethod
    def draw(cls, relays: int, exits: int) -> "Plan":
        """Make a plan with addresses and ports by chance; whether they are free is for the caller to see.

        The ports lie below those that Linux lends to outgoing connections (ip_local_port_range, from 32768).
        """
        block = f"127.{1 + secrets.randbelow(254)}.{1 + secrets.randbelow(254)}"
        ports: set[int] = set()
        while len(ports) < 5:
            ports.add(12_000 + secrets.randbelow(20_000))
        return cls(relays, exits, block, *ports)

    def servers(self) -> list["Server"]:
        """Everybody but the client, the authority first."""
        roles = [Role.AUTHORITY] + [Role.RELAY] * self.relays + [Role.EXIT] * self.exits
        names = ["auth0", *(f"relay{n}" for n in range(self.relays)), *(f"exit{n}" for n in range(self.exits))]
        return [
            Server(name, role, f"{self.block}.{number}", self.or_port, f"x{chr(ord('a') + number - 1)}")
            for number, (name, role) in enumerate(zip(names, roles, strict=True), start=1)
        ]

    @property
    def names_address(self) -> str:
        """Where the name server of the exits listens."""
        return f"{self.block}.253"

    def tcp(self) -> list[tuple[str, int]]:
        """All addresses and ports that nodes will listen on."""
        servers = self.servers()
        return [
            *((server.address, server.or_port) for server in servers),
            (servers[0].address, self.dir_port),
            ("127.0.0.1", self.socks_port),
            ("127.0.0.1", self.control_port),
        ]


@dataclass(frozen=True, slots=True)
class Server:
    """One node that carries other nodes' traffic."""

    name: str
    """Its nickname and the name of its directory."""
    role: Role
    address: str
    or_port: int
    country: str
    """Where the network's GeoIP file says it is: a code that no country has."""


Options = list[tuple[str, str | int]]
"""Lines of a torrc. Some options may be there several times, so this is no dictionary."""


def common(plan: Plan, directory: Path, authority: tuple[str, str]) -> Options:
    """Options of every node; `authority` is (fingerprint, v3 identity). See tor(1) for each."""
    fingerprint, identity = authority
    first = plan.servers()[0]
    return [
        ("TestingTorNetwork", 1),
        ("AssumeReachable", 1),
        ("PathsNeededToBuildCircuits", "0.67"),
        ("ProtocolWarnings", 1),
        ("SafeLogging", 0),
        ("LogTimeGranularity", 1),
        ("ShutdownWaitLength", 0),
        ("RunAsDaemon", 0),
        # One worker each: there are more processes than cores already.
        ("NumCPUs", 1),
        ("MaxMemInQueues", "256 MB"),
        # KIST asks the kernel about every socket and gives a third of the throughput on loopback.
        ("Schedulers", "Vanilla"),
        # Whoever owns a lab may see which of its processes holds the lab's lock.
        ("DisableDebuggerAttachment", 0),
        # Debian's databases are 25 MB that every process would read, and know nothing of loopback.
        ("GeoIPFile", str(directory / "geoip")),
        ("GeoIPv6File", str(directory / "empty")),
        ("Log", "notice stdout"),
        ("CookieAuthentication", 1),
        (
            "DirAuthority",
            f"{first.name} orport={plan.or_port} v3ident={identity} {first.address}:{plan.dir_port} {fingerprint}",
        ),
    ]


def server(plan: Plan, spec: Server, directory: Path) -> Options:
    """Options of a node that carries traffic, beyond the common ones."""
    options: Options = [
        ("Nickname", spec.name),
        ("SocksPort", 0),
        ("Address", spec.address),
        ("ORPort", f"{spec.address}:{spec.or_port} IPv4Only"),
        ("ContactInfo", "nobody@lab.invalid"),
        ("ServerDNSResolvConfFile", str(directory / "resolv.conf")),
        ("ServerDNSDetectHijacking", 0),
        ("ServerDNSAllowBrokenConfig", 1),
        ("ServerDNSTestAddresses", "exit.test"),
    ]
    if spec.role is Role.EXIT:
        # Loopback is where a devnet listens. Without RefuseUnknownExits 0 one first request in twenty fails.
        options += [
            ("ExitRelay", 1),
            ("ExitPolicy", "accept *:*"),
            ("ExitPolicyRejectPrivate", 0),
            ("RefuseUnknownExits", 0),
        ]
    else:
        options += [("ExitRelay", 0), ("ExitPolicy", "reject *:*")]
    return options + (_authority(plan, spec) if spec.role is Role.AUTHORITY else [])


def _authority(plan: Plan, spec: Server) -> Options:
    return [
        ("DirPort", f"{spec.address}:{plan.dir_port}"),
        ("AuthoritativeDirectory", 1),
        ("V3AuthoritativeDirectory", 1),
        ("AuthDirTestReachability", 0),
        ("TestingV3AuthInitialVotingInterval", _AGREE_S),
        ("TestingV3AuthInitialVoteDelay", 2),
        ("TestingV3AuthInitialDistDelay", 2),
        ("V3AuthVotingInterval", _AGREE_S),
        ("V3AuthVoteDelay", 4),
        ("V3AuthDistDelay", 4),
        ("V3AuthNIntervalsValid", 12),
        ("TestingDirAuthVoteGuard", "*"),
        ("TestingDirAuthVoteHSDir", "*"),
        # The same for exits would make every node an exit; their policies say who is one.
        ("TestingMinExitFlagThreshold", 0),
    ]


def client(plan: Plan, socks_path: Path, extra: Sequence[str]) -> Options:
    """Options of the client, beyond the common ones; `extra` are lines of a torrc and win over ours."""
    options: Options = [
        ("SocksPort", f'unix:"{socks_path}" IsolateSOCKSAuth'),
        ("SocksPort", f"127.0.0.1:{plan.socks_port} IsolateSOCKSAuth"),
        ("ControlPort", f"127.0.0.1:{plan.control_port}"),
        ("ClientOnly", 1),
        # Without it a microdescriptor that was missed costs ten seconds.
        ("FetchDirInfoEarly", 1),
        # Learned on loopback the timeout falls below 100 ms, and then circuits fail.
        ("LearnCircuitBuildTimeout", 0),
        ("CircuitBuildTimeout", 15),
    ]
    lines = [line.strip().partition(" ") for line in extra if line.strip()]
    # Of these there may be several, a new one closes none.
    taken = {name.lower() for name, _, _ in lines} - {"socksport", "controlport"}
    return [pair for pair in options if pair[0].lower() not in taken] + [(name, value) for name, _, value in lines]


def text(options: Options) -> str:
    """Write options as a torrc."""
    return "".join(f"{name} {value}\n" for name, value in options)


def geoip(plan: Plan) -> str:
    """Write tor's GeoIP file (first address, last address, both as numbers, and country), a country for each server."""
    numbers = [(int(IPv4Address(spec.address)), spec.country.upper()) for spec in plan.servers()]
    return "".join(f"{number},{number},{country}\n" for number, country in numbers)


def first_state(now: str) -> str:
    """Write a server's `state` as if it had carried traffic for a day until `now` ("YYYY-MM-DD HH:MM:SS", UTC).

    A new server reports bandwidth 0, the first consensus gives it no weight, and circuits to meet an onion service
    would have to use the same node twice.
    """
    values: Mapping[str, str | int] = {"Ends": now, "Interval": 86_400, "Values": 86_400_000_000, "Maxima": 1_000_000}
    return "".join(f"BWHistory{way}{key} {value}\n" for way in ("Read", "Write") for key, value in values.items())
