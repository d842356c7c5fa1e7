"""A round trip through Tor: a SOCKS5 request (RFC 1928, RFC 1929) for a target, timed until the exit's answer."""

import asyncio
import contextlib
import time

from services.tor.api import SOCKS_PASSWORD
from services.tor.settings import Address, Target

_WORDS = {
    1: "Tor could not connect: the target refused, or no exit takes its port",
    2: "Tor's own rules forbid it",
    3: "the exit has no route to the target",
    4: "the exit cannot find or reach the target",
    5: "the target refused the connection",
    6: "no circuit in time",
    7: "Tor does not know the command",
    8: "Tor refuses this kind of address",
}
"""What a SOCKS reply means, as Tor uses it (socks-extensions)."""


class ProbeError(Exception):
    """The round trip failed; the message says where."""


async def round_trip(socks: Address, user: str, target: Target, timeout_s: float) -> float:
    """Have an exit connect to `target` on the circuit of `user`; returns the seconds from request to answer.

    Raises:
        ProbeError: in words.
    """
    writer: asyncio.StreamWriter | None = None
    try:
        # The bound covers the handshake too: a silent peer must not hold anybody.
        async with asyncio.timeout(timeout_s):
            reader, writer = await _open(socks)
            await _authenticate(reader, writer, user)
            started = time.perf_counter()
            host = target.host.encode("idna") if not target.host.isascii() else target.host.encode()
            writer.write(b"\x05\x01\x00\x03" + bytes([len(host)]) + host + target.port.to_bytes(2, "big"))
            reply = await reader.readexactly(4)
            took = time.perf_counter() - started
    except TimeoutError:
        raise ProbeError(f"no answer within {timeout_s:g} s") from None
    except (OSError, EOFError, UnicodeError) as error:
        raise ProbeError(_broken(socks, error)) from None
    finally:
        if writer is not None:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    if reply[0] != 5:
        raise ProbeError(f"{socks} is no SOCKS port")
    if reply[1] != 0:
        raise ProbeError(_WORDS.get(reply[1], f"SOCKS reply {reply[1]}"))
    return took


async def _open(socks: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if socks.path is not None:
        return await asyncio.open_unix_connection(str(socks.path))
    return await asyncio.open_connection(socks.host, socks.port)


async def _authenticate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, user: str) -> None:
    writer.write(b"\x05\x01\x02")
    if await reader.readexactly(2) != b"\x05\x02":
        raise ProbeError("what listens there is no SOCKS port of Tor's: it takes no user")
    name, password = user.encode(), SOCKS_PASSWORD.encode()
    writer.write(b"\x01" + bytes([len(name)]) + name + bytes([len(password)]) + password)
    if (await reader.readexactly(2))[1] != 0:
        raise ProbeError("Tor refused the SOCKS user")


def _broken(socks: Address, error: Exception) -> str:
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return f"no SOCKS port at {socks}: set TOR_SOCKS_SOCKET or TOR_PROXY_SOCKS_PORT, or SocksPort in the torrc"
    if isinstance(error, PermissionError):
        return f"this user may not open {socks}: add it to tor's group"
    if isinstance(error, EOFError):
        return f"{socks} hung up: it is no SOCKS port of Tor's, or Tor ended"
    return f"{socks}: {error}"
