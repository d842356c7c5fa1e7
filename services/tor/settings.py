"""Settings of the Tor service: where tor's control port is, how to be let in, and what is watched and logged."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from services.kit.tor_settings import SharedTorSettings, check_socket_path, is_there

ONION_CREDENTIAL = "tor-onion-key"
"""Name of the systemd credential (`LoadCredential=` or `LoadCredentialEncrypted=`) that seals the keys of onions."""

DEBIAN_CONTROL = Path("/run/tor/control")
"""Where Debian's package has it, unless its torrc says otherwise."""

_NETWORK_TARGETS = {
    "mainnet": "api.trongrid.io:443",
    "shasta": "api.shasta.trongrid.io:443",
    "nile": "nile.trongrid.io:443",
}
"""What a probe asks for when no endpoint is set."""

LogLevel = Literal["debug", "info", "notice", "warn", "err"]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a control port listens: a Unix socket, or a host and port."""

    path: Path | None = None
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return str(self.path) if self.path else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        if self.path is not None:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Target:
    """What a probe asks an exit to connect to."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def is_private(self) -> bool:
        """Whether it is an address that Tor refuses on the public network."""
        try:
            return not ipaddress.ip_address(self.host).is_global
        except ValueError:
            return self.host == "localhost"


class TorSettings(SharedTorSettings):
    """What this service reads; names are those that operators of Lucid nodes know."""

    tor_control_socket: Path | None = None
    """tor's ControlSocket, preferred to the port. Unset: Debian's, if it is there and no host or port is set."""
    tor_proxy_control_port: int = Field(default=9051, ge=1, le=65_535)
    tor_control_password_file: Path | None = None
    """File with the control port's password. Unset: its cookie opens it."""
    tor_control_cookie_file: Path | None = None
    """The cookie, where tor's own path to it is not ours (containers). Unset: where tor says it is."""
    tor_health_check_interval: float = Field(default=60.0, ge=0.2, le=3600)
    """Seconds between two looks at a healthy tor, each with a round trip through a circuit."""
    tor_monitor_exit_nodes: bool = True
    """Whether the fate of streams is counted for each exit, and a failing exit is named."""
    tor_log_level: LogLevel = "notice"
    """From which level on tor's log lines are taken."""
    tor_log_circuits: bool = False
    """Whether every circuit that is built, fails or closes is logged."""
    tor_probe_target: str = ""
    """host:port for round trips. Unset: the first of TRON_HTTP_ENDPOINT, else the network's usual endpoint."""
    tron_http_endpoint: str = ""
    """Read for its first endpoint's host only."""
    tor_onion_key_file: Path | None = None
    """32 bytes, or 64 hex digits, that seal the keys of onions. Unset: systemd's credential, else a generated file."""
    credentials_directory: Path | None = None
    """Set by systemd: where the credential `tor-onion-key` lies when the unit loads one."""

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        check_socket_path("TOR_CONTROL_SOCKET", self.tor_control_socket)
        _ = self.probe_target, self.control_address, self.socks_port
        return self

    @property
    def control_address(self) -> Address:
        """Where to look for tor's control port now: its socket appears when it is installed."""
        path = self.tor_control_socket
        named = {"tor_control_socket", "tor_proxy_host", "tor_proxy_control_port"} & self.model_fields_set
        if not named and is_there(DEBIAN_CONTROL):
            path = DEBIAN_CONTROL
        return Address(path=path) if path else Address(host=self.tor_host, port=self.tor_proxy_control_port)

    @property
    def probe_target(self) -> Target | None:
        """What a round trip asks for; None: there is nothing to ask for (a devnet without endpoint).

        Raises:
            ValueError: TOR_PROBE_TARGET is not host:port, or TRON_HTTP_ENDPOINT no URL.
        """
        if self.tor_probe_target:
            return _target(self.tor_probe_target)
        first = self.tron_http_endpoint.partition(",")[0].strip()
        if first:
            return _target_of_url(first)
        usual = _NETWORK_TARGETS.get(self.tron_network)
        return _target(usual) if usual else None

    @property
    def onion_key(self) -> tuple[Path, str]:
        """The file whose bytes seal the keys of onions, and what kind of place that is."""
        if self.tor_onion_key_file is not None:
            return self.tor_onion_key_file, "key file"
        if self.credentials_directory is not None and (self.credentials_directory / ONION_CREDENTIAL).exists():
            return self.credentials_directory / ONION_CREDENTIAL, "credential"
        return self.state_dir("tor") / "onion.key", "generated key file"


def _target(text: str) -> Target:
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not _is_host(host) or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"TOR_PROBE_TARGET: {text!r} is not host:port, as in api.trongrid.io:443")
    return Target(host, int(port))


def _target_of_url(url: str) -> Target:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        host, port = "", 0
    if not _is_host(host):
        raise ValueError("TRON_HTTP_ENDPOINT: its first endpoint is no URL: write https://host or https://host:port")
    return Target(host, port)


def _is_host(text: str) -> bool:
    """Whether it can stand in a SOCKS request (RFC 1928: at most 255 bytes)."""
    return 0 < len(text) < 256 and text.isascii() and text.isprintable() and " " not in text
