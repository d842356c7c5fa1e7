"""Settings of the way out, read once, under the names that operators know."""

import ipaddress
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from services.kit.egress.rules import EgressPolicy, Mode
from services.kit.egress.socks import SocksPort
from services.kit.settings import KitSettings

DEBIAN_SOCKS = Path("/run/tor/socks")
"""Where Debian's package has it, unless its torrc says otherwise."""

_LONGEST_SOCKET_PATH = 107
"""Bytes that `sun_path` holds, without its final zero (unix(7))."""


class EgressSettings(KitSettings):
    """What every service reads that calls the world outside."""

    tor_socks_socket: Path | None = None
    """Tor's SOCKS port on a Unix socket, preferred to the host. Unset: Debian's, if it is there and no host is set."""
    tor_proxy_host: str = "127.0.0.1"
    """Host of Tor's SOCKS port on TCP: an address, or the name of a container (`tor-proxy` in the compose files)."""
    tor_proxy_socks_port: int = Field(default=9050, ge=1, le=65_535)
    tor_proxy_http_port: int = Field(default=0, ge=0, le=65_535)
    """Port of Tor's HTTP tunnel at the same host, for programs that know no SOCKS; 0: none."""
    use_tor_for_external_calls: bool = True
    """False: calls go past Tor. On mainnet only with the next but one."""
    tor_route_rpc: bool = True
    """False: calls to TRON nodes go past Tor. On mainnet only with the next one."""
    i_accept_that_mainnet_calls_show_my_address: bool = False
    """On mainnet, without Tor, every endpoint learns which address pays whom."""
    tor_prevent_dns_leaks: bool = True
    """Names of endpoints are always looked up by Tor. True: the proxy's own name may not be one of the public DNS."""
    tor_connectivity_timeout: float = Field(default=30.0, gt=0, le=300)
    """Seconds that one connection through Tor may take, a new circuit included."""
    tor_max_latency_ms: int = Field(default=5000, ge=1, le=120_000)
    """An answer that takes longer counts against its circuit."""
    tor_connection_max_retries: int = Field(default=5, ge=0, le=100)
    """How often a SOCKS port that does not answer is tried again within one call."""
    tor_connection_retry_delay_ms: int = Field(default=1000, ge=1, le=60_000)
    tor_connection_max_retry_delay_ms: int = Field(default=30_000, ge=1, le=600_000)
    tor_circuit_rotation_enabled: bool = True
    tor_circuit_rotation_interval: int = Field(default=3600, ge=10)
    """Seconds between two changes of circuits."""
    tor_detect_circuit_failures: bool = True
    """Whether a circuit that is refused, slow or broken is left by itself."""
    tor_log_connections: bool = True
    """Whether each connection through Tor is logged, with its target."""

    @model_validator(mode="after")
    def _way_out_can_be_used(self) -> Self:
        if self.mode is Mode.TOR:
            _ = self.socks_port
        exposed = self.mode is Mode.CLEAR and self.tron_network == "mainnet"
        if exposed and not self.i_accept_that_mainnet_calls_show_my_address:
            name = "TOR_ROUTE_RPC" if self.use_tor_for_external_calls else "USE_TOR_FOR_EXTERNAL_CALLS"
            raise ValueError(
                f"{name}=false on mainnet shows every endpoint this node's address with each payment: set it to true, "
                "or set I_ACCEPT_THAT_MAINNET_CALLS_SHOW_MY_ADDRESS=true as well"
            )
        return self

    @property
    def mode(self) -> Mode:
        """How calls to TRON nodes leave: a devnet on this machine needs no Tor unless a SOCKS port is named."""
        if not (self.use_tor_for_external_calls and self.tor_route_rpc):
            return Mode.CLEAR
        return Mode.LOOPBACK if self.tron_network == "devnet" and not self._named else Mode.TOR

    @property
    def _named(self) -> set[str]:
        """The settings that name a SOCKS port."""
        return self.model_fields_set & {"tor_socks_socket", "tor_proxy_host", "tor_proxy_socks_port"}

    @property
    def socks_port(self) -> SocksPort:
        """Where Tor is entered.

        Raises:
            ValueError: the path is too long for a socket, or the host would be asked of the public DNS.
        """
        if self.tor_socks_socket is not None:
            if len(str(self.tor_socks_socket).encode()) > _LONGEST_SOCKET_PATH:
                raise ValueError(f"TOR_SOCKS_SOCKET is longer than {_LONGEST_SOCKET_PATH} bytes: choose a shorter path")
            return SocksPort(path=self.tor_socks_socket)
        if not self._named and DEBIAN_SOCKS.is_socket():
            return SocksPort(path=DEBIAN_SOCKS)
        host = self.tor_proxy_host.strip("[]")
        if self.tor_prevent_dns_leaks and not _is_local_name(host):
            raise ValueError(
                f"TOR_PROXY_HOST: {host} would be asked of the public DNS: write an address or a container's name, "
                "or set TOR_PREVENT_DNS_LEAKS=false"
            )
        return SocksPort(host="127.0.0.1" if host == "localhost" else host, port=self.tor_proxy_socks_port)

    def egress_policy(self) -> EgressPolicy:
        """All of this for `Egress`."""
        mode = self.mode
        host = self.tor_proxy_host
        return EgressPolicy(
            mode=mode,
            socks=self.socks_port if mode is Mode.TOR else None,
            http_proxy=f"{host}:{self.tor_proxy_http_port}" if self.tor_proxy_http_port else "",
            devnet=self.tron_network == "devnet",
            connect_timeout_s=self.tor_connectivity_timeout,
            max_latency_s=self.tor_max_latency_ms / 1000,
            retries=self.tor_connection_max_retries,
            retry_delay_s=self.tor_connection_retry_delay_ms / 1000,
            max_retry_delay_s=self.tor_connection_max_retry_delay_ms / 1000,
            rotation_interval_s=self.tor_circuit_rotation_interval if self.tor_circuit_rotation_enabled else 0,
            watch_circuits=self.tor_detect_circuit_failures,
            log_connections=self.tor_log_connections,
        )


def _is_local_name(host: str) -> bool:
    """An address, or a name without a dot, which only this machine or its container network knows."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(host) and "." not in host
    return True
