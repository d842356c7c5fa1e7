"""Settings of the Tor service: where tor is, how to be let in, how patient to be, and how often circuits change."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from services.kit.settings import KitSettings

ONION_CREDENTIAL = "tor-onion-key"
"""Name of the systemd credential (`LoadCredential=` or `LoadCredentialEncrypted=`) that seals the keys of onions."""

DEBIAN_CONTROL, DEBIAN_SOCKS = Path("/run/tor/control"), Path("/run/tor/socks")
"""Where Debian's package has them, unless its torrc says otherwise."""

DEFAULT_HOST = "127.0.0.1"

_NETWORK_TARGETS = {
    "mainnet": "api.trongrid.io:443",
    "shasta": "api.shasta.trongrid.io:443",
    "nile": "nile.trongrid.io:443",
}
"""What a probe asks for when no endpoint is set."""

LogLevel = Literal["debug", "info", "notice", "warn", "err"]


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens: a Unix socket, or a host and port."""

    path: Path | None = None
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return str(self.path) if self.path else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        if self.path is not None or self.host == "localhost":
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


class TorSettings(KitSettings):
    """What this service reads; names are those that operators of Lucid nodes know."""

    tor_proxy_host: str = DEFAULT_HOST
    """Host of tor's ports, where no Unix socket is used (`tor-proxy` in the compose files)."""
    tor_proxy_socks_port: int = Field(default=9050, ge=1, le=65535)
    tor_proxy_control_port: int = Field(default=9051, ge=1, le=65535)
    tor_control_socket: Path | None = None
    """tor's ControlSocket, preferred to the port. Unset: Debian's, if it is there and no host is set."""
    tor_socks_socket: Path | None = None
    """tor's `SocksPort unix:`, preferred to the port. Unset: Debian's, if it is there and no host is set."""
    tor_control_password_file: Path | None = None
    """File with the control port's password. Unset: its cookie opens it."""
    tor_control_cookie_file: Path | None = None
    """The cookie, where tor's own path to it is not ours (containers). Unset: where tor says it is."""
    tor_health_check_interval: float = Field(default=60.0, ge=0.2, le=3600)
    """Seconds between two looks at a healthy tor, each with a round trip through a circuit."""
    tor_connectivity_timeout: float = Field(default=30.0, gt=0, le=60)
    """Seconds that a round trip may take, and that a bootstrap may stand still before it counts as stuck."""
    tor_max_latency_ms: int = Field(default=5000, gt=0, le=600_000)
    """A round trip that takes longer is slow: it is shown, and the path is left."""
    tor_connection_max_retries: int = Field(default=5, ge=0, le=100)
    """Attempts at the control port with growing pauses; then an error is logged, and the pauses stay the longest."""
    tor_connection_retry_delay_ms: int = Field(default=1000, ge=10, le=600_000)
    """Before the first repetition; each pause is twice the one before."""
    tor_connection_max_retry_delay_ms: int = Field(default=30_000, ge=10, le=3_600_000)
    """The longest pause."""
    tor_circuit_rotation_enabled: bool = True
    """Whether every isolation name moves to a new circuit now and then."""
    tor_circuit_rotation_interval: int = Field(default=3600, ge=10, le=30 * 86400)
    """Seconds that a name stays on a circuit, less up to a quarter by chance."""
    tor_monitor_exit_nodes: bool = True
    """Whether the fate of streams is counted for each exit, and a failing exit is named."""
    tor_detect_circuit_failures: bool = True
    """Whether failing circuits become a state, and a path that gives no answer or is slow is left by itself."""
    tor_log_level: LogLevel = "notice"
    """From which level on tor's log lines are taken."""
    tor_log_connections: bool = True
    """Whether the end of every stream is logged."""
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
        _ = self.probe_target
        if self.tor_connection_max_retry_delay_ms < self.tor_connection_retry_delay_ms:
            raise ValueError("TOR_CONNECTION_MAX_RETRY_DELAY_MS is below TOR_CONNECTION_RETRY_DELAY_MS: raise it")
        for name in ("tor_control_socket", "tor_socks_socket"):
            path = getattr(self, name)
            if path is not None and not path.is_absolute():
                raise ValueError(f"{name.upper()}: write the whole path, from /")
        return self

    def control_address(self) -> Address:
        """Where to look for tor's control port now: its sockets appear when it is installed."""
        return self._address(self.tor_control_socket, DEBIAN_CONTROL, self.tor_proxy_control_port)

    def socks_address(self) -> Address:
        """Where programs enter Tor now."""
        return self._address(self.tor_socks_socket, DEBIAN_SOCKS, self.tor_proxy_socks_port)

    def _address(self, path: Path | None, usual: Path, port: int) -> Address:
        if path is None and self.tor_proxy_host == DEFAULT_HOST and port in {9050, 9051} and _exists(usual):
            path = usual
        return Address(path=path) if path else Address(host=self.tor_proxy_host, port=port)

    @property
    def probe_target(self) -> Target | None:
        """What a round trip asks for; None: there is nothing to ask for (a devnet without endpoint).

        Raises:
            ValueError: TOR_PROBE_TARGET is not host:port.
        """
        if self.tor_probe_target:
            return _target(self.tor_probe_target)
        first = self.tron_http_endpoint.partition(",")[0].strip()
        if first:
            parts = urlsplit(first)
            default = 443 if parts.scheme == "https" else 80
            return Target(parts.hostname, parts.port or default) if parts.hostname else None
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


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # its directory is there and closed to us: the socket's own error says more
        return True


def _target(text: str) -> Target:
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536 or len(host) > 255:
        raise ValueError(f"TOR_PROBE_TARGET: {text!r} is not host:port, as in api.trongrid.io:443")
    return Target(host, int(port))
