"""One devnet: a chain, its HTTP endpoints, and the timer that makes blocks. For the command line and for tests."""

import asyncio
import socket
import sqlite3
from collections.abc import Coroutine
from typing import Any, Self

from services.devnet.app import build_app
from services.devnet.chain import Chain
from services.devnet.faults import FaultBoard
from services.devnet.genesis import faucet
from services.devnet.parameters import MAINTENANCE_SKIPPED_SLOTS
from services.devnet.server import Server, bind
from services.devnet.settings import DevnetSettings
from services.devnet.store import Store
from services.kit.clock import Clock, SystemClock
from services.kit.log import get_logger
from services.protocol.address import Address

log = get_logger()


class DevnetNode:
    """A devnet that can be started and stopped, in any event loop:

    async with DevnetNode(DevnetSettings(listen="127.0.0.1:0", block_interval_ms=0)) as node:
        ... node.url, node.chain, node.faults, node.fund(address, sun), node.mine(19)
    """

    def __init__(self, settings: DevnetSettings, clock: Clock | None = None) -> None:
        self.faults = FaultBoard()
        """Its fault switchboard, the same that `/admin/faults` steers."""
        self._settings = settings
        self._clock = clock or SystemClock()
        self._store = Store(settings.home)
        self._chain: Chain | None = None
        self._sockets: list[socket.socket] = []
        self._server: Server | None = None
        self._timers: list[asyncio.Task[None]] = []
        self._wanted = asyncio.Event()

    @property
    def chain(self) -> Chain:
        """Its chain, once it is started."""
        if self._chain is None:
            raise RuntimeError("the devnet is not started: await start() first")
        return self._chain

    @property
    def urls(self) -> tuple[str, ...]:
        """The endpoints, in the order of the settings; all serve the same chain."""
        found = []
        for listener in self._sockets:
            host, port = listener.getsockname()[:2]
            found.append(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
        return tuple(found)

    @property
    def url(self) -> str:
        """The first endpoint."""
        return self.urls[0]

    def mine(self, blocks: int = 1) -> None:
        """Make blocks at once."""
        for _ in range(blocks):
            self.chain.produce()

    def fund(self, address: Address, amount_sun: int) -> str:
        """Send TRX from the faucet; returns the txid of the transfer, which the next block takes.

        Raises:
            Refusal: the pool is full.
        """
        transfer = self.chain.transfer(faucet(), address, amount_sun)
        self.chain.submit(transfer)
        return transfer.txid.hex()

    async def start(self) -> None:
        """Open the chain and serve it; endpoints answer when this returns.

        Raises:
            StoreError: the chain's file cannot be used.
            OSError: an address is taken.
        """
        self._store.open()
        try:
            self._chain = Chain(self._store, self._clock, self._settings)
            for endpoint in self._settings.endpoints:
                self._sockets.append(bind(endpoint.host, endpoint.port))
        except BaseException:
            self._close()
            raise
        self._chain.on_accept = self._wanted.set
        self._server = Server(build_app(self._chain, self.faults, self._clock))
        await self._server.start(self._sockets)
        if self._settings.block_interval_ms:
            self._start_timer(self._make_blocks())
        if self._settings.instant:
            self._start_timer(self._make_blocks_at_once())
        log.info("devnet.started", urls=self.urls, head=self.chain.head.number, home=str(self._settings.home))

    async def stop(self) -> None:
        """Stop serving and close the chain; what is in blocks stays, what is in the pool goes."""
        for timer in self._timers:
            timer.cancel()
        await asyncio.gather(*self._timers, return_exceptions=True)
        self._timers = []
        if self._server is not None:
            await self._server.stop()
            self._server = None
        self._close()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    def _close(self) -> None:
        for listener in self._sockets:
            listener.close()
        self._store.close()

    def _start_timer(self, timer: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(timer)
        task.add_done_callback(_report)
        self._timers.append(task)

    async def _make_blocks(self) -> None:
        """A block at each full interval of the clock, so that three-second blocks stand on their slots."""
        interval_ms = self._settings.block_interval_ms
        while True:
            # The first maintenance, in block 1, was over before anybody could be here to wait for it.
            waits = self.chain.context.is_after_maintenance and self.chain.head.number > 1
            skipped_ms = MAINTENANCE_SKIPPED_SLOTS * interval_ms * waits
            await self._clock.sleep((interval_ms - self.chain.now_ms() % interval_ms + skipped_ms) / 1000)
            self._produce()

    async def _make_blocks_at_once(self) -> None:
        """A block whenever something was taken."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._produce()

    def _produce(self) -> None:
        """Make a block; if it cannot be stored the pool keeps what it has, and the next try may do better."""
        try:
            self.chain.produce()
        except sqlite3.Error:
            log.exception("devnet.block_failed", home=str(self._settings.home))


def _report(timer: asyncio.Task[None]) -> None:
    """Say why no more blocks come, should a timer ever end by itself."""
    if not timer.cancelled() and (error := timer.exception()) is not None:
        log.error("devnet.timer_failed", exc_info=error)
