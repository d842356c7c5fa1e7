"""Settings of the TRON client, read once: which network, which endpoints, and how patient it is."""

import ipaddress
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from services.kit.egress import Mode, checked_url
from services.kit.egress.settings import EgressSettings

DEVNET_ENDPOINT = "http://127.0.0.1:9090"
"""Where the embedded devnet listens unless told otherwise."""


class TronSettings(EgressSettings):
    """What this service reads; names are those that operators of Lucid nodes know."""

    tron_http_endpoint: str = ""
    """One endpoint or several, separated by commas; with two or more, whatever is final is asked of two."""
    tron_api_key: SecretStr = SecretStr("")
    """TronGrid's key, sent to its endpoints, and to nobody else, as TRON-PRO-API-KEY; empty: none."""
    tron_timeout: float = Field(default=30.0, gt=0, le=300)
    """Seconds that one call may take, from the first byte to the last."""
    tron_max_retries: int = Field(default=3, ge=0, le=20)
    """How often a read is asked again of every endpoint; bytes are sent again until their expiration instead."""
    tron_max_connection_retries: int = Field(default=5, ge=1, le=100)
    """How many calls in a row may fail at an endpoint before it rests: 5 s at first, a minute at most."""
    tron_retry_backoff: float = Field(default=2.0, ge=1, le=10)
    """Each pause is this many times the one before."""
    tron_initial_retry_delay: float = Field(default=1.0, gt=0, le=60)
    """Seconds before the first repetition."""
    tron_transaction_confirmation_timeout: float = Field(default=300.0, gt=0)
    """Seconds after which an unconfirmed order says so; it decides nothing."""
    tron_confirmation_check_interval: float = Field(default=10.0, ge=0.05, le=60)
    """Seconds between two looks at the chain."""
    tron_tx_lifetime: int = Field(default=180, ge=120, le=300)
    """Seconds of chain time from the head block to a transaction's expiration."""

    @model_validator(mode="after")
    def _endpoints_can_be_used(self) -> Self:
        _ = self.endpoints
        return self

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Base URLs without a final slash, each node only once.

        Raises:
            ValueError: none is set, two may be the same node, or one may not be called: in the clear, or past Tor.
        """
        text = self.tron_http_endpoint or (DEVNET_ENDPOINT if self.tron_network == "devnet" else "")
        urls = tuple(self._checked(part.strip()) for part in text.split(",") if part.strip())
        if not urls:
            raise ValueError(f"TRON_HTTP_ENDPOINT: set at least one endpoint for {self.tron_network}")
        if len({_node_of(url) for url in urls}) < len(urls):
            raise ValueError(
                "TRON_HTTP_ENDPOINT: an endpoint stands twice, perhaps on one port of this machine under two names; "
                "one node is one witness, however often named"
            )
        return urls

    def api_key_for(self, url: str) -> str:
        """The key that the endpoint at `url` gets: TronGrid's own, empty for everybody else."""
        host = urlsplit(url).hostname or ""
        is_trongrid = host == "trongrid.io" or host.endswith(".trongrid.io")
        return self.tron_api_key.get_secret_value() if is_trongrid else ""

    def _checked(self, url: str) -> str:
        is_devnet = self.tron_network == "devnet"
        try:
            checked = checked_url(url, self.mode, devnet=is_devnet)
        except ValueError as error:
            raise ValueError(f"TRON_HTTP_ENDPOINT: {error}") from None
        # Without TLS the onion address is all that proves who answers, and only Tor checks that.
        if checked.startswith("http:") and not is_devnet and self.mode is Mode.TOR and self.socks_port.path is None:
            raise ValueError(
                f"TRON_HTTP_ENDPOINT: {checked}: whoever takes the TCP port {self.socks_port} while Tor is away could "
                "play that onion service; name Tor's Unix socket in TOR_SOCKS_SOCKET, or use https"
            )
        return checked


def _node_of(url: str) -> str:
    """Name the node behind a URL: a path is no node, and on this machine any name may lead to the same listener."""
    parts = urlsplit(url)
    try:
        local = parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        local = False
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"loopback:{port}" if local else f"{parts.hostname}:{port}"
