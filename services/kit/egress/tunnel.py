"""Through the SOCKS port: sockets and connection pools that lead outside, and nothing that looks up a name here."""

import asyncio
import random
import socket
import ssl
from collections.abc import Awaitable
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

from services.kit import log, socks
from services.kit.clock import Clock
from services.kit.egress.errors import EgressError, Fault
from services.kit.egress.rules import EgressPolicy, Mode
from services.kit.socks import PROXY_TROUBLE, Reason, SocksError, User

_CONNECTIONS = 32
_KEEP_ALIVE_S = 60.0
_TLS_FAREWELL_S = 1.0
"""How long a connection that is given up may wait for the other side's last word."""


class Tunnel:
    """Opens connections as the policy says, and knows how the SOCKS port is."""

    def __init__(self, policy: EgressPolicy, clock: Clock, tls: ssl.SSLContext) -> None:
        """Check certificates by `tls`; nothing is opened yet."""
        self.policy = policy
        self.clock = clock
        self.tls = tls
        self._trouble: SocksError | None = None
        self._given_up = False
        self._reached_at: float | None = None

    @property
    def is_tor(self) -> bool:
        """Whether there are circuits at all."""
        return self.policy.mode is Mode.TOR

    @property
    def trouble(self) -> str:
        """What is wrong with the SOCKS port, in words; empty when it answered last time."""
        return self._trouble.message if self._trouble is not None else ""

    def connector(self, user: User) -> aiohttp.BaseConnector:
        """Return a pool of an isolation user's connections."""
        if self.is_tor:
            return _Connector(self, user)
        return aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=self.tls)

    async def dial(self, user: User, host: str, port: int) -> socket.socket:
        """Return a socket to `host`:`port` through the SOCKS port, trying again while that is not there.

        When it stays away for a whole call, the calls after it try once each, so that they fail at once; the first
        that gets through ends that.

        Raises:
            SocksError: there is none.
        """
        attempt = 0
        while True:
            try:
                return await self.dial_once(user, host, port)
            except SocksError as error:
                if error.reason not in PROXY_TROUBLE:
                    raise
                if self._given_up or attempt >= self.policy.retries:
                    self._given_up = True
                    raise
            delay_s = min(self.policy.max_retry_delay_s, self.policy.retry_delay_s * 2**attempt)
            attempt += 1
            try:
                await self.clock.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            except asyncio.CancelledError:
                self._given_up = True
                raise

    async def dial_once(self, user: User, host: str, port: int) -> socket.socket:
        """The same without trying again."""
        proxy = self.policy.socks
        if proxy is None:
            raise SocksError(Reason.NO_PROXY, "calls do not go through Tor here")
        try:
            opened = await socks.connect(proxy, host, port, user, self.policy.connect_timeout_s)
        except SocksError as error:
            self._note(error)
            if self.policy.log_connections:
                log.get_logger().info("egress.no_connection", user=user.name, target=host, reason=error.reason.value)
            raise
        self._note(None)
        self.note_reached()
        if self.policy.log_connections:
            log.get_logger().info("egress.connected", user=user.name, target=f"{host}:{port}")
        return opened

    def _note(self, error: SocksError | None) -> None:
        """Remember how the SOCKS port is; a word about the destination means that it is well."""
        if error is not None and error.reason in PROXY_TROUBLE:
            self._trouble = error
        else:
            self._trouble, self._given_up = None, False

    def note_reached(self) -> None:
        """Remember that somebody outside was reached."""
        self._reached_at = self.clock.monotonic()

    def is_cut_off(self, began: float) -> bool:
        """Whether Tor reached nobody since a monotonic time, so that it is Tor, or what it stands on, that is down."""
        return self.is_tor and (self._reached_at is None or self._reached_at < began)

    def late(self, timeout_s: float, began: float, *, sent: bool) -> EgressError:
        """The error of a call whose time, from the monotonic `began`, is over."""
        if sent:
            return EgressError(Fault.TIMEOUT, "no answer in time", sent=True)
        if self._trouble is not None:
            return EgressError(self._trouble.reason, self._trouble.message, sent=False)
        if not self.is_tor:
            return EgressError(Fault.TIMEOUT, "no connection in time", sent=False)
        words = f"no connection through Tor in {timeout_s:.3g} s: no circuit, or nobody answers there"
        return EgressError(Reason.NO_CIRCUIT, words, sent=False, cut_off=self.is_cut_off(began))


class _Connector(aiohttp.BaseConnector):
    """aiohttp's pool over sockets that the SOCKS port gave.

    `_create_connection` and `_factory` are what aiohttp's own connectors override and use; they have no public name.
    """

    def __init__(self, tunnel: Tunnel, user: User) -> None:
        super().__init__(limit=_CONNECTIONS, keepalive_timeout=_KEEP_ALIVE_S)
        self._tunnel = tunnel
        self._user = user

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: Any,  # noqa: ARG002 - the base's signature
        timeout: aiohttp.ClientTimeout,  # noqa: ARG002 - the base's signature
    ) -> ResponseHandler:
        if self.closed:  # aiohttp asks a second time by itself when a connection broke under a GET
            raise aiohttp.ClientConnectionError("the way out is closed")
        host = req.url.raw_host or ""
        opened = await self._tunnel.dial(self._user, host, req.url.port or 0)
        options: dict[str, Any] = {"sock": opened}
        if req.url.scheme == "https":
            options |= {"ssl": self._tunnel.tls, "server_hostname": host, "ssl_shutdown_timeout": _TLS_FAREWELL_S}
        loop = asyncio.get_running_loop()
        if opened.family == socket.AF_UNIX:
            _, protocol = await loop.create_unix_connection(self._factory, **options)
        else:
            _, protocol = await loop.create_connection(self._factory, **options)
        return protocol

    def close(self, *, abort_ssl: bool = True) -> Awaitable[None]:
        """Close all connections, without a farewell: a circuit that is dead would keep a stopping process waiting."""
        return super().close(abort_ssl=abort_ssl)
