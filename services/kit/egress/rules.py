"""What may be called at all, and how: the mode, the policy, and the one spelling of an endpoint."""

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from services.kit.socks import SocksPort


class Mode(StrEnum):
    """How calls leave."""

    TOR = "tor"
    LOOPBACK = "loopback"
    """They do not leave: a devnet on this machine, without Tor."""
    CLEAR = "clear"
    """Past Tor, as an operator chose: whoever is called sees this node's address."""


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """How calls leave and how patient they are."""

    mode: Mode
    socks: SocksPort | None = None
    """With mode TOR."""
    http_proxy: str = ""
    """host:port of Tor's HTTP tunnel, for other programs; empty: none."""
    devnet: bool = False
    """Whether http to loopback is allowed."""
    connect_timeout_s: float = 30.0
    """For one connection through Tor, a circuit included."""
    max_latency_s: float = 5.0
    """An answer that takes longer counts against its circuit."""
    retries: int = 5
    """How often a SOCKS port that is not there is tried again, within the call's own time."""
    retry_delay_s: float = 1.0
    max_retry_delay_s: float = 30.0
    rotation_interval_s: float = 3600.0
    """Between two scheduled rotations; 0: none."""
    watch_circuits: bool = True
    """Whether a lane with bad marks is left."""
    quicker_of_two: bool = True
    """Whether a first read, and a rotation, builds two circuits and stays with the quicker."""
    log_connections: bool = False


_HOST = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$")


def checked_url(text: str, mode: Mode, *, devnet: bool) -> str:
    """Return a base URL without a final slash, written in one way only; refuse what must not be called.

    Raises:
        ValueError: it is not https, nor http to an onion service, nor on the devnet http to loopback.
    """
    parts = urlsplit(text)
    try:
        host, port = (parts.hostname or "").removesuffix("."), parts.port
    except ValueError:
        raise ValueError(f"{text!r} is no URL: write https://host or https://host:port") from None
    shown = f"{parts.scheme}://{parts.hostname}"
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        raise ValueError(f"{text.rpartition('@')[2]!r} is no URL: write https://host or https://host:port")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"{shown}: write only the scheme, the host, the port and a path")
    host = "127.0.0.1" if host == "localhost" else host
    address = _ip(host)
    if address is None and not _HOST.match(host):
        raise ValueError(f"{shown}: that is not the name of a host")
    loopback = address is not None and address.is_loopback
    onion = host.endswith(".onion")
    if onion and mode is not Mode.TOR:
        raise ValueError(f"{shown}: an onion service is reached through Tor only: see USE_TOR_FOR_EXTERNAL_CALLS")
    if parts.scheme == "http" and not onion and not (devnet and loopback):
        raise ValueError(
            f"{shown}: use https; http is only for onion services"
            + (", and for loopback" if devnet else ", and on the devnet for loopback")
        )
    if mode is Mode.LOOPBACK and not loopback:
        raise ValueError(f"{shown} is not on this machine: name Tor's SOCKS port in TOR_SOCKS_SOCKET to reach it")
    usual = 443 if parts.scheme == "https" else 80
    name = f"[{address}]" if address is not None and address.version == 6 else host
    suffix = "" if port in {None, usual} and not loopback else f":{port or usual}"
    return f"{parts.scheme}://{name}{suffix}{parts.path.rstrip('/')}"


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def isolation_name(purpose: str, endpoint: str) -> str:
    """The name of whoever needs a circuit of its own: `read:api.trongrid.io`; 64 characters at most, and unique."""
    name = f"{purpose}:{endpoint}".lower().replace("[", "").replace("]", "")
    if len(name) <= 64:
        return name
    return f"{name[:51]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
