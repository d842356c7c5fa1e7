"""How the node of a home gets out: not at all, through a private Tor network, or through the machine's Tor."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, cast, get_args

from services.kit.errors import Invalid

Mode = Literal["off", "lab", "system"]
"""off: no Tor; lab: three real hops on loopback; system: the machine's tor, by its settings."""

MODES: tuple[Mode, ...] = get_args(Mode)

_WHERE = {"environment": "in the environment", "lucid.env": "in lucid.env"}


@dataclass(frozen=True, slots=True)
class TorWay:
    """The way out that a node was started with; `tor` in `node.json`."""

    mode: Mode = "off"
    socks: str = ""
    """Path of the SOCKS socket; empty: none, or where the settings say."""
    control: str = ""
    """Path of the control socket; empty: none, or where the settings say."""
    past: str = ""
    """The setting that sends calls to TRON nodes past Tor, and where it stands; empty: none does."""
    returns_to: Mode | Literal[""] = ""
    """What the home goes back to once no setting does without Tor any more; empty: it stays with `mode`."""

    @property
    def remembered(self) -> Mode:
        """What the next start has unless it is told otherwise, as far as the settings allow it."""
        return self.returns_to or self.mode

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
        back = body.get("returns_to")
        socks, control, past = (str(body.get(name, "")) for name in ("socks", "control", "past"))
        return cls(body["mode"], socks, control, past, back if back in MODES else "")

    @property
    def services(self) -> tuple[str, ...]:
        """What a node has in addition because of it, in the order of the start."""
        return {"off": (), "lab": ("lab", "tor"), "system": ("tor",)}[self.mode]

    @property
    def settings(self) -> dict[str, str]:
        """What the node's daemons are told; the machine's tor is described by the operator's settings alone."""
        if self.mode != "lab":
            return {}
        return {"TOR_SOCKS_SOCKET": self.socks, "TOR_CONTROL_SOCKET": self.control, "TOR_PROXY_HTTP_PORT": "0"}


OFF = TorWay()


@dataclass(frozen=True, slots=True)
class Told:
    """What the settings say of the way out, as the daemons themselves understand them."""

    clear: bool = False
    """Whether calls to TRON nodes would go past Tor."""
    no_tor: str = ""
    """The setting that does without Tor altogether, and where it stands; empty: none does."""
    past: str = ""
    """The setting that sends calls to TRON nodes past Tor, and where it stands."""
    socks: str = ""
    """The setting that names a SOCKS port, and where it stands."""

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Self:
        """Take it from the daemons' report (`services.__main__.report`)."""
        settings = {one["name"]: one for one in report["settings"]}

        def said(*names: str, value: str = "") -> str:
            """The first of these that somebody set, to this value if one is given, and where it stands."""
            for one in (settings[name] for name in names):
                if one["source"] in _WHERE and one["value"] == (value or one["value"]):
                    return f"{one['name']}={one['value']} ({_WHERE[one['source']]})"
            return ""

        clear = (report["way_out"] or {}).get("mode") == "clear"
        return cls(
            clear=clear,
            no_tor=said("USE_TOR_FOR_EXTERNAL_CALLS", value="false"),
            past=said("USE_TOR_FOR_EXTERNAL_CALLS", "TOR_ROUTE_RPC", value="false") if clear else "",
            socks=said("TOR_SOCKS_SOCKET", "TOR_PROXY_HOST", "TOR_PROXY_SOCKS_PORT"),
        )


def choose_mode(network: str, asked: str | None, remembered: Mode | None, told: Told) -> Mode:
    """Decide which Tor a node has: as asked, else as last time; and refuse what the settings contradict.

    Whether calls go through Tor is the settings' to say (services/kit/egress); this says through which.

    Raises:
        Invalid: a real network without Tor that the settings do not allow, or a Tor that leads nowhere.
    """
    if asked in {"lab", "system"} and told.no_tor:
        raise Invalid(
            f"--tor {asked} means through Tor, and {told.no_tor} past it: take the setting back, or say --tor off",
            field="tor",
        )
    choose = _on_the_devnet if network == "devnet" else _on_a_real_network
    return choose(network, cast("Mode | None", asked), "off" if told.no_tor else remembered, told)


def _on_the_devnet(_network: str, asked: Mode | None, remembered: Mode | None, told: Told) -> Mode:
    mode = asked or remembered or "off"
    if mode == "off" and told.socks and not told.clear:
        if asked:
            raise Invalid(
                f"calls go through the SOCKS port that is named by {told.socks}: start with --tor system, or take the "
                "setting out for --tor off",
                field="tor",
            )
        mode = "system"
    if mode == "system" and not told.socks:
        raise Invalid(
            "the devnet is on this machine, and no exit of the public Tor network goes there: use --tor lab, or "
            "name the SOCKS port of a tor that does in TOR_SOCKS_SOCKET",
            field="tor",
        )
    return mode


def _on_a_real_network(network: str, asked: Mode | None, remembered: Mode | None, told: Told) -> Mode:
    if asked == "lab":
        raise Invalid(
            f"the private Tor network ends on this machine, and {network} does not: use --tor system", field="tor"
        )
    if told.clear:
        return asked or ("off" if remembered == "off" else "system")
    if asked == "off":
        second = " and I_ACCEPT_THAT_MAINNET_CALLS_SHOW_MY_ADDRESS=true" if network == "mainnet" else ""
        raise Invalid(
            f"nothing goes to {network} past Tor unless the settings say so too: start with --tor system (the "
            "machine's Tor: apt-get install -y tor), or, if every endpoint may see this node's address, set "
            f"USE_TOR_FOR_EXTERNAL_CALLS=false{second} in lucid.env",
            field="tor",
        )
    return "system"
