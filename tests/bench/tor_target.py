"""A server on loopback that gives everybody the same JSON, as quickly as Python can: what exits connect to."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import uvloop

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n" + b'{"number":123456}'


class Target(asyncio.Protocol):
    """One kept-alive connection."""

    def __init__(self) -> None:
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer each request; none has a body."""
        *requests, self._head = (self._head + data).split(b"\r\n\r\n")
        self._transport.write(ANSWER * len(requests))


async def main(tell: Callable[[str], object]) -> None:
    """Serve for ever, and tell the port."""
    server = await asyncio.get_running_loop().create_server(Target, "127.0.0.1", 0)
    tell(str(server.sockets[0].getsockname()[1]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]).write_text))
