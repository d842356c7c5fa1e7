"""Settings that whoever leaves through Tor and whoever steers Tor have in common: each name is declared once."""

import ipaddress
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from services.kit.settings import KitSettings
from services.kit.socks import SocksPort

DEBIAN_SOCKS = Path("/run/tor/socks")
"""Where Debian's package has it, unless its torrc says otherwise."""

_LONGEST_SOCKET_PATH = 107
"""Bytes that `sun_path` holds, without its final zero (unix(7))."""


class SharedTorSettings(KitSettings):
    """Where Tor is, how patient to be with it, and when circuits change."""

    tor_socks_socket: Path | None = None
    """Tor's `SocksPort unix:`, preferred to the port. Unset: Debian's, if it is there and no host or port is set."""
    tor_proxy_host: str = "127.0.0.1"
    """Host of Tor's ports on TCP: an address, or the name of a container (`tor-proxy` in the compose files)."""
    tor_proxy_socks_port: int = Field(default=9050, ge=1, le=65_535)
    tor_prevent_dns_leaks: bool = True
    """Names of endpoints are always looked up by Tor. True: Tor's own host may not be a name of the public DNS."""
    tor_connectivity_timeout: float = Field(default=30.0, gt=0, le=120)
    """Seconds that one connection through Tor may take, a new circuit included; Tor itself gives up after 120."""
    tor_max_latency_ms: int = Field(default=5000, ge=1, le=120_000)
    """An answer, or a round trip, that takes longer counts against its circuit."""
    tor_connection_max_retries: int = Field(default=5, ge=0, le=100)
    """How often a port of Tor's that does not answer is tried again before it counts as gone."""
    tor_connection_retry_delay_ms: int = Field(default=1000, ge=1, le=60_000)
    """Before the first repetition; each pause is twice the one before."""
    tor_connection_max_retry_delay_ms: int = Field(default=30_000, ge=1, le=600_000)
    """The longest pause."""
    tor_circuit_rotation_enabled: bool = True
    """Whether every isolation name moves to a new circuit now and then."""
    tor_circuit_rotation_interval: int = Field(default=3600, ge=10, le=30 * 86_400)
    """Seconds that a name stays on a circuit, less up to a quarter by chance."""
    tor_detect_circuit_failures: bool = True
    """Whether a circuit that is refused, slow or broken is left by itself, and failing circuits become a state."""
    tor_log_connections: bool = True
    """Whether each connection through Tor is logged, with its target."""

    @model_validator(mode="after")
    def _tor_can_be_found(self) -> Self:
        if self.tor_connection_max_retry_delay_ms < self.tor_connection_retry_delay_ms:
            raise ValueError("TOR_CONNECTION_MAX_RETRY_DELAY_MS is below TOR_CONNECTION_RETRY_DELAY_MS: raise it")
        check_socket_path("TOR_SOCKS_SOCKET", self.tor_socks_socket)
        return self

    @property
    def socks_port(self) -> SocksPort:
        """Where Tor is entered, now: its socket appears when it is installed.

        Raises:
            ValueError: the host would be asked of the public DNS.
        """
        path = self.tor_socks_socket
        if not self.names_socks_port and is_there(DEBIAN_SOCKS):
            path = DEBIAN_SOCKS
        return SocksPort(path=path) if path else SocksPort(host=self.tor_host, port=self.tor_proxy_socks_port)

    @property
    def names_socks_port(self) -> bool:
        """Whether a SOCKS port is named, or only the usual one assumed."""
        return bool(self.model_fields_set & {"tor_socks_socket", "tor_proxy_host", "tor_proxy_socks_port"})

    @property
    def tor_host(self) -> str:
        """The host of Tor's ports, as it may be connected to.

        Raises:
            ValueError: it would be asked of the public DNS.
        """
        host = self.tor_proxy_host.strip("[]")
        if self.tor_prevent_dns_leaks and not _is_local_name(host):
            raise ValueError(
                f"TOR_PROXY_HOST: {host} would be asked of the public DNS: write an address or a container's name, "
                "or set TOR_PREVENT_DNS_LEAKS=false"
            )
        return "127.0.0.1" if host == "localhost" else host


def check_socket_path(name: str, path: Path | None) -> None:
    """Let the path of a Unix socket through, or not; raises ValueError with words."""
    if path is not None and not path.is_absolute():
        raise ValueError(f"{name}: write the whole path, from /")
    if path is not None and len(bytes(path)) > _LONGEST_SOCKET_PATH:
        raise ValueError(f"{name} is longer than {_LONGEST_SOCKET_PATH} bytes: choose a shorter path")


def is_there(path: Path) -> bool:
    """Whether there is something; so it is taken to be where we may not look: its own error will say more."""
    try:
        return path.exists()
    except PermissionError:
        return True


def _is_local_name(host: str) -> bool:
    """An address, or a name without a dot, which only this machine or its container network knows."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(host) and "." not in host
    return True
