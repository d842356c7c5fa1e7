"""Settings of the way out, read once, under the names that operators know."""

from typing import Self

from pydantic import Field, model_validator

from services.kit.egress.rules import EgressPolicy, Mode
from services.kit.socks import SocksPort
from services.kit.tor_settings import SharedTorSettings


class EgressSettings(SharedTorSettings):
    """What every service reads that calls the world outside."""

    tor_proxy_http_port: int = Field(default=0, ge=0, le=65_535)
    """Port of Tor's HTTP tunnel at the same host, for programs that know no SOCKS; 0: none."""
    use_tor_for_external_calls: bool = True
    """False: calls go past Tor. On mainnet only with the next but one."""
    tor_route_rpc: bool = True
    """False: calls to TRON nodes go past Tor. On mainnet only with the next one."""
    i_accept_that_mainnet_calls_show_my_address: bool = False
    """On mainnet, without Tor, every endpoint learns which address pays whom."""

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
        return Mode.LOOPBACK if self.tron_network == "devnet" and not self.names_socks_port else Mode.TOR

    @property
    def _http_proxy(self) -> str:
        if self.mode is not Mode.TOR or not self.tor_proxy_http_port:
            return ""
        return str(SocksPort(host=self.tor_host, port=self.tor_proxy_http_port))

    def egress_policy(self) -> EgressPolicy:
        """All of this for `Egress`."""
        mode = self.mode
        return EgressPolicy(
            mode=mode,
            socks=self.socks_port if mode is Mode.TOR else None,
            http_proxy=self._http_proxy,
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
