"""Is there a way through? One byte from a server on loopback, fetched by the client over three hops."""

import asyncio
import contextlib
import itertools
import struct
from pathlib import Path

USER = "lab-probe"
"""The isolation user of these fetches begins so."""

_ATTEMPT_S = 5.0
_NAME = b"probe.test"
"""The exit must ask the lab's name server for it: so that works too."""
_ROUNDS = itertools.count(1)


async def until_through(socks_path: Path) -> None:
    """Try until it works, each time on a circuit of its own; whoever calls bounds the time."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"!")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        while not await _comes_through(socks_path, port):  # noqa: ASYNC110 - nothing would tell us
            await asyncio.sleep(0.1)


async def _comes_through(socks_path: Path, port: int) -> bool:
    user = f"{USER}-{next(_ROUNDS)}".encode()
    writer = None
    try:
        async with asyncio.timeout(_ATTEMPT_S):
            reader, writer = await asyncio.open_unix_connection(socks_path)
            # SOCKS5 with user and password (RFC 1928, RFC 1929), which tor takes as the isolation's name.
            writer.write(b"\x05\x01\x02")
            await reader.readexactly(2)
            writer.write(b"\x01" + _text(user) + _text(b"-"))
            await reader.readexactly(2)
            writer.write(b"\x05\x01\x00\x03" + _text(_NAME) + struct.pack(">H", port))
            _, code, _, kind = await reader.readexactly(4)
            # The bound address, which tor leaves at zero, is IPv4 or IPv6; then its port.
            await reader.readexactly((16 if kind == 4 else 4) + 2)
            return code == 0 and await reader.readexactly(1) == b"!"
    except (TimeoutError, OSError, asyncio.IncompleteReadError):
        return False
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _text(value: bytes) -> bytes:
    return bytes((len(value),)) + value
