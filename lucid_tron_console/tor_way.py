"""How the node of a home gets out: not at all, through a private Tor network, or through the machine's Tor."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from services.kit.errors import Invalid

Mode = Literal["off", "lab", "system"]
"""off: nothing leaves this machine; lab: three real hops on loopback; system: the machine's tor, by its settings."""

MODES: tuple[Mode, ...] = get_args(Mode)

SOCKS_SETTINGS = ("TOR_SOCKS_SOCKET", "TOR_PROXY_HOST", "TOR_PROXY_SOCKS_PORT")
"""Each of them names a SOCKS port (services/kit/egress/settings.py)."""


@dataclass(frozen=True, slots=True)
class TorWay:
    """The way out that a node was started with; `tor` in `node.json`."""

    mode: Mode = "off"
    socks: str = ""
    """Path of the SOCKS socket; empty: none, or where the settings say."""
    control: str = ""
    """Path of the control socket; empty: none, or where the settings say."""

    def to_json(self) -> dict[str, str]:
        """Write as `node.json` has it."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Any) -> "TorWay":
        """Read what `to_json` wrote; nothing at all is `off`, as a home of an earlier version has it.

        Raises:
            ValueError: it is something else.
        """
        if body is None:
            return cls()
        if not isinstance(body, dict) or body.get("mode") not in MODES:
            raise ValueError("tor has no mode of off, lab and system")
        return cls(body["mode"], str(body.get("socks", "")), str(body.get("control", "")))

    @property
    def services(self) -> tuple[str, ...]:
        """What a node has in addition because of it, in the order of the start."""
        return {"off": (), "lab": ("lab", "tor"), "system": ("tor",)}[self.mode]

    @property
    def settings(self) -> dict[str, str]:
        """What the node's daemons are told; the machine's tor is described by the operator's settings alone."""
        if self.mode != "lab":
            return {}
        return {
            "USE_TOR_FOR_EXTERNAL_CALLS": "true",
            "TOR_ROUTE_RPC": "true",
            "TOR_SOCKS_SOCKET": self.socks,
            "TOR_CONTROL_SOCKET": self.control,
        }


OFF = TorWay()


def choose_mode(network: str, asked: str | None, remembered: Mode, settings: Mapping[str, str]) -> Mode:
    """Decide how a node gets out: as asked, else as last time; and refuse what leaks or cannot work.

    `settings` are those of the environment and of `lucid.env`.

    Raises:
        Invalid: a real network without Tor or without an endpoint, or a Tor that does not lead to that network.
    """
    mode = cast("Mode", asked or remembered)
    if network == "devnet":
        if mode == "system" and not any(settings.get(name) for name in SOCKS_SETTINGS):
            raise Invalid(
                "the devnet is on this machine, and no exit of the public Tor network goes there: use --tor lab, or "
                "name the SOCKS port of a tor that does in TOR_SOCKS_SOCKET",
                field="tor",
            )
        return mode
    if mode == "off":
        raise Invalid(
            f"nothing goes to {network} past Tor: start with --tor system (the machine's Tor: apt-get install -y tor), "
            "or take --network devnet, which needs no Tor",
            field="tor",
        )
    if mode == "lab":
        raise Invalid(
            f"the private Tor network ends on this machine, and {network} does not: use --tor system", field="tor"
        )
    if not settings.get("TRON_HTTP_ENDPOINT"):
        raise Invalid(
            f"say which nodes to ask on {network}: set TRON_HTTP_ENDPOINT, in lucid.env or the environment, to one or "
            "more https:// or http://….onion addresses, separated by commas",
            field="TRON_HTTP_ENDPOINT",
        )
    return mode
