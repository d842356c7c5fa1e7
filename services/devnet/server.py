"""uvicorn's protocol in a server of our own: no signals taken, and a connection can be cut without an answer."""

import asyncio
import socket
from collections.abc import Sequence

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

ABORT = "devnet.abort"
"""Key in the state of a request's scope: a function that cuts the connection at once."""

KEEP_ALIVE_S = 75
"""How long an idle connection is kept; longer than clients keep theirs, so that they do not run into its closing."""


GRACE_S = 1
"""How long a request that is being served may take when the devnet stops."""


class _CuttableProtocol(HttpToolsProtocol):
    """Gives each request the means to cut its connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"][ABORT] = self.transport.abort


class Server:
    """Serves an application on sockets that are bound already; it takes no signals and waits for nobody for long."""

    def __init__(self, app: ASGIApp) -> None:
        self._config = uvicorn.Config(
            app,
            http=_CuttableProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Begin to take connections."""
        self._config.load()
        loop = asyncio.get_running_loop()
        self._servers = [await loop.create_server(self._protocol, sock=listener) for listener in sockets]

    async def stop(self) -> None:
        """Finish the requests that are being served, within a second, and close all connections."""
        for server in self._servers:
            server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=GRACE_S)
        for task in self._state.tasks:
            task.cancel()
        for connection in list(self._state.connections):
            connection.transport.abort()

    def _protocol(self) -> asyncio.Protocol:
        return _CuttableProtocol(config=self._config, server_state=self._state, app_state={})


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        OSError: the address is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # Without it each answer waits 40 ms for the caller's acknowledgement of its head.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
