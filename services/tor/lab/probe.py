"""Is there a way through? One byte from a server on loopback, fetched by the client over three hops."""

import asyncio
import itertools
from pathlib import Path

from services.kit import socks
from services.kit.socks import SocksError, SocksPort

USER = "lab-probe"
"""The isolation user of these fetches begins so."""

_ATTEMPT_S = 5.0
_NAME = "probe.test"
"""The exit must ask the lab's name server for it: so that works too."""
_ROUNDS = itertools.count(1)
_AT_ONCE = 4


async def until_through(socks_path: Path) -> None:
    """Try until it works on several circuits at once, each of its own; whoever calls bounds the time.

    Several, since an exit that has just started may not find names yet while the other one does.
    """

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"!")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        while not await _all_come_through(socks_path, port):  # noqa: ASYNC110 - nothing would tell us
            await asyncio.sleep(0.1)


async def _all_come_through(socks_path: Path, port: int) -> bool:
    return all(await asyncio.gather(*(_comes_through(socks_path, port) for _ in range(_AT_ONCE))))


async def _comes_through(socks_path: Path, port: int) -> bool:
    user = socks.User(f"{USER}-{next(_ROUNDS)}", socks.SOCKS_PASSWORD)
    try:
        async with asyncio.timeout(_ATTEMPT_S):
            with await socks.connect(SocksPort(path=socks_path), _NAME, port, user, _ATTEMPT_S) as opened:
                return await asyncio.get_running_loop().sock_recv(opened, 1) == b"!"
    except (TimeoutError, OSError, SocksError):
        return False
