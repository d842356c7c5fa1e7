"""One isolation user, and so one circuit, with the connections on it."""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any

import aiohttp

from services.kit.egress.errors import EgressError, Fault, tls_error
from services.kit.egress.models import Answer, Call, LaneStatus
from services.kit.egress.tunnel import Tunnel
from services.kit.socks import SOCKS_PASSWORD, Reason, SocksError, User

_NO_CIRCUITS = frozenset({Reason.NO_CIRCUIT, Reason.EXPIRED})
"""What may be the endpoint's fault, or that of Tor: with the others one can tell."""


@dataclass(slots=True)
class _Trail:
    """What is known of a request that is under way."""

    sent: bool = False


# aiohttp calls this before it writes the first byte of the head, so that nothing can leave unnoticed.
async def _mark_sent(_session: aiohttp.ClientSession, context: Any, _params: Any) -> None:
    context.trace_request_ctx.sent = True


class Lane:
    """One isolation user, and so one circuit, with the connections on it."""

    def __init__(self, tunnel: Tunnel, name: str, generation: int) -> None:
        """Make a lane for an isolation name; nothing is opened yet."""
        self.generation = generation
        self.user = User(f"{name}.{generation}", SOCKS_PASSWORD)
        self.points = 0.0
        self.in_flight = 0
        self.retired = False
        self._tunnel = tunnel
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._closing: asyncio.Task[None] | None = None

    def hold(self) -> None:
        """Count a request that will be made, so that the lane stays open for it."""
        self.in_flight += 1

    def release(self) -> None:
        """Count it as over; the last one of a lane that was left closes it."""
        self.in_flight -= 1
        self._close_when_done()

    def retire(self) -> None:
        """Take no new requests; close as soon as those in flight are over."""
        self.retired = True
        self._close_when_done()

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left: no request, no connection."""
        return self.retired and not self.in_flight and (self._closing is None or self._closing.done())

    def _close_when_done(self) -> None:
        if self.retired and not self.in_flight and self._session is not None:
            session, self._session = self._session, None
            self._closing = asyncio.ensure_future(session.close())

    async def fetch(self, call: Call) -> Answer:
        """Make one request on this circuit.

        Raises:
            EgressError: there is no whole answer.
        """
        trail, began = _Trail(), self._tunnel.clock.monotonic()
        try:
            async with asyncio.timeout(call.timeout_s):
                answer = await self._exchange(call, trail)
        except SocksError as error:
            cut_off = error.reason in _NO_CIRCUITS and self._tunnel.is_cut_off(began)
            raise EgressError(error.reason, error.message, sent=trail.sent, cut_off=cut_off) from None
        except TimeoutError:
            raise self._tunnel.late(call.timeout_s, began, sent=trail.sent) from None
        except (ssl.SSLError, aiohttp.ClientSSLError) as error:
            raise tls_error(error, sent=trail.sent) from None
        except aiohttp.ClientConnectorError as error:
            words = error.strerror or str(error.os_error)
            raise EgressError(Fault.REFUSED, f"cannot be reached: {words}", sent=trail.sent) from None
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error.__cause__, ssl.SSLError):
                raise tls_error(error.__cause__, sent=trail.sent) from None
            words = f"the connection broke ({type(error).__name__})"
            raise EgressError(Fault.BROKEN, words, sent=trail.sent) from None
        self._tunnel.note_reached()
        return answer

    async def _exchange(self, call: Call, trail: _Trail) -> Answer:
        body = {} if call.body is None else {"json": call.body}
        async with self._open().request(
            call.method,
            call.url,
            params=dict(call.params),
            headers=dict(call.headers),
            allow_redirects=False,
            trace_request_ctx=trail,
            **body,
        ) as response:
            content = bytearray()
            async for chunk in response.content.iter_chunked(65_536):
                content += chunk
                if len(content) > call.max_bytes:
                    words = f"its answer is longer than {call.max_bytes:,} bytes"
                    raise EgressError(Fault.TOO_LARGE, words, sent=True)
            return Answer(response.status, bytes(content), dict(response.headers), self.user.name)

    async def close(self) -> None:
        """Close every connection now, and what is in flight with it."""
        self.retired = self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if self._closing is not None:
            await self._closing

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise EgressError(Fault.CLOSING, "this process is stopping", sent=False)
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(_mark_sent)
            self._session = aiohttp.ClientSession(
                connector=self._tunnel.connector(self.user),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity"},
                # What is compressed all the same stays so: a few bytes must not become gigabytes here.
                auto_decompress=False,
                # Lane.fetch bounds the whole call, the SOCKS handshake included.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                trust_env=False,
                trace_configs=[trace],
            )
        return self._session

    def shown(self) -> LaneStatus:
        """The lane for screens."""
        return LaneStatus(
            user=self.user.name, generation=self.generation, in_flight=self.in_flight, points=round(self.points, 1)
        )
