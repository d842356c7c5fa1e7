"""The whole way out: its ways, their schedule, and what operators and other programs ask of it."""

import asyncio
import contextlib
import random
import socket
import ssl
from typing import Any
from urllib.parse import urlsplit

from services.kit import log
from services.kit.clock import Clock
from services.kit.egress.errors import EgressError, tls_error
from services.kit.egress.models import EgressStatus, Probe
from services.kit.egress.rules import EgressPolicy, Mode, checked_url, isolation_name
from services.kit.egress.tunnel import Tunnel
from services.kit.egress.way import Counters, OnMove, Way
from services.kit.metrics import Metrics
from services.kit.socks import SOCKS_PASSWORD, SocksError, User


class Egress:
    """Every call of this process to the world outside."""

    def __init__(self, policy: EgressPolicy, clock: Clock, metrics: Metrics, tls: ssl.SSLContext | None = None) -> None:
        """Leave as `policy` says; `tls` is for tests that bring an authority of their own.

        Raises:
            ValueError: mode TOR without a SOCKS port.
        """
        if policy.mode is Mode.TOR and policy.socks is None:
            raise ValueError("mode TOR needs a SOCKS port")
        self.policy = policy
        self._clock = clock
        self._tls = tls or ssl.create_default_context()
        self._tunnel = Tunnel(policy, clock, self._tls)
        self._counters = Counters(metrics)
        self._ways: dict[str, Way] = {}
        self.on_move: OnMove | None = None
        """Called after a move that this process decided on, so that the Tor service can remember it."""
        self._schedule: asyncio.Task[None] | None = None
        self._probes = 0

    # --- life ---

    async def start(self) -> None:
        """Begin to rotate on schedule, if the policy says so."""
        if self.policy.mode is Mode.CLEAR:
            log.get_logger().warning("egress.in_the_clear", detail=self.words())
        if self.policy.mode is Mode.TOR and self.policy.rotation_interval_s > 0:
            self._schedule = asyncio.create_task(self._rotate_on_schedule())

    async def close(self) -> None:
        """Close every connection."""
        if self._schedule is not None:
            self._schedule.cancel()
            await asyncio.gather(self._schedule, return_exceptions=True)
        await asyncio.gather(*(way.close() for way in self._ways.values()))

    # --- ways ---

    def way(self, purpose: str, url: str) -> Way:
        """Return the way of a purpose to an endpoint, the same for the same; raises ValueError for a forbidden URL."""
        checked = checked_url(url, self.policy.mode, devnet=self.policy.devnet)
        name = isolation_name(purpose, urlsplit(checked).netloc)
        if name not in self._ways:
            self._ways[name] = Way(self._tunnel, purpose, checked, self._counters)
            self._ways[name].on_move = self._tell
        return self._ways[name]

    @property
    def generations(self) -> dict[str, int]:
        """The isolation names of this process, each with the generation that it uses; 0: not used yet."""
        return {name: way.generation for name, way in self._ways.items()}

    def moved(self, name: str, generation: int, why: str) -> None:
        """Follow the Tor service, which moved an isolation name to a circuit that stands; strangers' names are none."""
        if name in self._ways:
            self._ways[name].moved(generation, why)

    def _tell(self, name: str, generation: int, why: str) -> None:
        if self.on_move is not None:
            self.on_move(name, generation, why)

    async def rotate(self, name: str | None = None, why: str = "asked") -> list[str]:
        """Rotate one way by its name, every way of an endpoint by the endpoint's, or all; returns the names that moved.

        Raises:
            EgressError: a new circuit could not be built; that way stays where it is.
        """
        chosen = [way for way in self._ways.values() if name is None or name in {way.name, way.endpoint}]
        for way in chosen:
            await way.rotate(why)
        return [way.name for way in chosen]

    async def _rotate_on_schedule(self) -> None:
        """Rotate what has been on its circuit for longer than the interval.

        The Tor service moves names within the interval; this is for when it does not run.
        """
        interval_s = self.policy.rotation_interval_s
        while True:
            # Not on the minute: who watches should not know this node by its clock.
            await self._clock.sleep(interval_s * random.uniform(0.05, 0.15))  # noqa: S311
            for way in [each for each in self._ways.values() if each.age_s > interval_s * 1.05]:
                try:
                    await way.rotate("schedule", "schedule")
                except EgressError as error:
                    log.get_logger().warning("egress.rotation_failed", way=way.name, reason=error.message)

    # --- for operators and other programs ---

    async def probe(self, url: str) -> Probe:
        """Try the way to an endpoint on a circuit of its own, and say how long a connection took. Never fails."""
        checked = urlsplit(checked_url(url, self.policy.mode, devnet=self.policy.devnet))
        host, port = checked.hostname or "", checked.port or (443 if checked.scheme == "https" else 80)
        self._probes += 1
        user = User(f"{isolation_name('probe', checked.netloc)}.{self._probes}", SOCKS_PASSWORD)
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(self.policy.connect_timeout_s):
                await self._connect_and_close(user, host, port, tls=checked.scheme == "https")
        except (TimeoutError, SocksError, OSError) as error:
            return Probe(target=checked.netloc, ok=False, detail=self._why(error))
        took_s = self._clock.monotonic() - began
        return Probe(
            target=checked.netloc, ok=True, latency_ms=round(took_s * 1000), slow=took_s > self.policy.max_latency_s
        )

    async def _connect_and_close(self, user: User, host: str, port: int, *, tls: bool) -> None:
        options: dict[str, Any] = {"ssl": self._tls, "server_hostname": host} if tls else {}
        if self.policy.mode is not Mode.TOR:
            _, writer = await asyncio.open_connection(host, port, **options)
        else:
            opened = await self._tunnel.dial_once(user, host, port)
            connect = asyncio.open_unix_connection if opened.family == socket.AF_UNIX else asyncio.open_connection
            _, writer = await connect(sock=opened, **options)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def _why(self, error: Exception) -> str:
        if isinstance(error, SocksError):
            return error.message
        if isinstance(error, ssl.SSLError):
            return tls_error(error).message
        if isinstance(error, TimeoutError):
            return f"no connection in {self.policy.connect_timeout_s:g} s"
        return f"cannot be reached: {getattr(error, 'strerror', None) or error}"

    def proxy_url(self, protocol: str = "socks5h", purpose: str = "program") -> str:
        """The proxy that another program is told to use, with an isolation user of its own; empty without Tor.

        `http` and `https` give Tor's HTTP tunnel where one is configured, and the SOCKS port otherwise. A SOCKS port on
        a Unix socket is written as curl reads it; few other programs can use one.

        Raises:
            ValueError: there is no proxy for this protocol.
        """
        if protocol not in {"http", "https", "socks", "socks5", "socks5h", "all"}:
            raise ValueError(f"there is no proxy for {protocol}: ask for http, https or socks5h")
        if self.policy.mode is not Mode.TOR or self.policy.socks is None:
            return ""
        login = f"{isolation_name('program', purpose).replace(':', '.')}:{SOCKS_PASSWORD}"
        if protocol in {"http", "https"} and self.policy.http_proxy:
            return f"http://{login}@{self.policy.http_proxy}"
        if self.policy.socks.path is not None:
            return f"socks5h://{login}@localhost{self.policy.socks.path}"
        return f"socks5h://{login}@{self.policy.socks}"

    def subprocess_env(self, purpose: str = "program") -> dict[str, str]:
        """The variables that send another program the same way, in both spellings.

        Only for programs that obey them: one that does not would still go out by itself, unless it has no network.
        """
        names = {"HTTP_PROXY": "http", "HTTPS_PROXY": "https", "ALL_PROXY": "all"}
        values = {name: self.proxy_url(protocol, purpose) for name, protocol in names.items()}
        values["NO_PROXY"] = ""
        return values | {name.lower(): value for name, value in values.items()}

    def words(self) -> str:
        """`ok`, or what is wrong with the way out, in words."""
        if self.policy.mode is Mode.CLEAR:
            return (
                "calls to the TRON network go past Tor and show this node's address: "
                "set USE_TOR_FOR_EXTERNAL_CALLS and TOR_ROUTE_RPC to true"
            )
        return self._tunnel.trouble or "ok"

    def shown(self) -> EgressStatus:
        """The way out for screens."""
        words = self.words()
        return EgressStatus(
            mode=self.policy.mode.value,
            detail="" if words == "ok" else words,
            socks=str(self.policy.socks) if self.policy.mode is Mode.TOR else "",
            ways=tuple(way.shown() for way in self._ways.values()),
        )

    def details(self) -> dict[str, Any]:
        """The same as JSON, for a status page."""
        return self.shown().model_dump(mode="json")
