"""The whole line for real: payout router, TRON client and wallet service on their sockets, over a verifying devnet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr

from services.devnet.node import DevnetNode
from services.devnet.settings import DevnetSettings
from services.kit import daemon
from services.kit.money import Asset
from services.payout import __main__ as payout_main
from services.payout.api import CreatePayout, Payout, PayoutState
from services.payout.client import PayoutClient
from services.payout.settings import PayoutSettings
from services.tron import __main__ as tron_main
from services.tron.client import TronClient
from services.tron.settings import TronSettings
from services.wallet import __main__ as wallet_main
from services.wallet.api import CreateWallet, Unlock
from services.wallet.client import WalletClient
from services.wallet.settings import WalletSettings

TRX = 1_000_000
SHOP = "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"
PASSPHRASE = SecretStr("correct horse battery staple")


class Node:
    """Daemons of one home, each started and stopped on its own."""

    def __init__(self, home: Path, devnet: DevnetNode) -> None:
        self.devnet = devnet
        self._home = home
        self._running: dict[str, contextlib.AsyncExitStack] = {}
        self.payout = PayoutClient(home / "run" / "payout" / "payout.sock")
        self.tron = TronClient(home / "run" / "tron" / "tron.sock")
        self.wallet = WalletClient(home / "run" / "wallet" / "wallet.sock")

    async def start(self, *names: str) -> None:
        for name in names:
            self._running[name] = contextlib.AsyncExitStack()
            service = self._build(name)
            path = self._home / "run" / name / f"{name}.sock"
            await self._running[name].enter_async_context(daemon.serving(service, path))

    async def stop(self, *names: str) -> None:
        await asyncio.gather(*(self._running.pop(name).aclose() for name in names))

    async def close(self) -> None:
        for client in (self.payout, self.tron, self.wallet):
            await client.close()
        await self.stop(*self._running)

    def _build(self, name: str) -> daemon.Service:
        if name == "wallet":
            return wallet_main.build(
                WalletSettings(lucid_home=self._home, tron_network="devnet", wallet_kdf_memory_kib=64)
            )
        if name == "tron":
            settings = TronSettings(
                lucid_home=self._home,
                tron_network="devnet",
                tron_http_endpoint=",".join(self.devnet.urls),
                tron_confirmation_check_interval=0.05,
                tron_initial_retry_delay=0.05,
            )
            return tron_main.build(settings)
        return payout_main.build(PayoutSettings(lucid_home=self._home, tron_network="devnet"))

    async def fund(self, address: str, amount_sun: int) -> None:
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{self.devnet.url}/admin/faucet", json={"address": address, "amount_sun": amount_sun}) as answer,
        ):
            assert answer.status == 200
        self.mine(3)

    def mine(self, blocks: int) -> None:
        for _ in range(blocks):
            self.devnet.chain.produce()

    async def until(self, payout_id: str, *states: PayoutState) -> Payout:
        """Make blocks until a payout stands in one of these states."""
        async with asyncio.timeout(20):
            while True:
                payout = await self.payout.get(payout_id)
                if payout.state in states:
                    return payout
                self.mine(1)
                await asyncio.sleep(0.05)

    async def received(self, address: str) -> int:
        return (await self.tron.account(address)).balance_sun


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    two_endpoints = DevnetSettings(listen="127.0.0.1:0,127.0.0.1:0", block_interval_ms=0, solid_lag=2)
    async with DevnetNode(two_endpoints) as devnet:
        node = Node(tmp_path, devnet)
        await node.start("wallet", "tron", "payout")
        try:
            made = await node.wallet.create(CreateWallet(name="hot", passphrase=PASSPHRASE))
            await node.wallet.unlock("hot", Unlock(passphrase=PASSPHRASE))
            await node.fund(made.wallet.address, 1_000 * TRX)
            async with asyncio.timeout(10):
                while (await node.payout.health()).status != "ok":
                    await asyncio.sleep(0.02)
            yield node
        finally:
            await node.close()


def body(key: str = "k-1", amount: int = 12_500_000) -> CreatePayout:
    return CreatePayout(key=key, wallet="hot", to=SHOP, asset=Asset.TRX, amount=amount)


async def test_a_payout_is_paid_on_the_chain_once(node: Node) -> None:
    quote = await node.payout.quote(body())
    assert (quote.forbidden, quote.to_activated) == ((), False)
    await asyncio.gather(*(node.payout.create(body()) for _ in range(20)))
    paid = await node.until("P-1", PayoutState.PAID)
    assert await node.received(SHOP) == 12_500_000
    assert paid.txid is not None
    transaction = await node.tron.transaction(paid.txid)
    assert (transaction.to, transaction.amount_sun, transaction.state) == (SHOP, 12_500_000, "solid")
    assert (await node.payout.stats()).paid_today == {"TRX": 12_500_000}
    spent = 1_000 * TRX - await node.received(paid.from_address)
    assert spent == 12_500_000 + quote.fee_sun


async def test_a_payout_waits_for_its_wallet_and_can_be_cancelled_meanwhile(node: Node) -> None:
    await node.wallet.lock("hot")
    await node.payout.create(body("k-1"))
    await node.payout.create(body("k-2"))
    async with asyncio.timeout(10):
        while "locked" not in (await node.payout.get("P-1")).waiting:
            await asyncio.sleep(0.02)
    assert (await node.payout.get("P-1")).state is PayoutState.RESERVED
    assert (await node.payout.cancel("P-1")).state is PayoutState.CANCELLED
    await node.wallet.unlock("hot", Unlock(passphrase=PASSPHRASE))
    await node.until("P-2", PayoutState.PAID)
    assert await node.received(SHOP) == 12_500_000


async def test_daemons_that_stop_on_the_way_cost_nothing(node: Node) -> None:
    for number in range(1, 6):
        await node.payout.create(body(f"k-{number}"))
    await node.stop("payout")
    node.mine(1)
    await node.stop("tron")
    await node.start("payout")
    await node.payout.create(body("k-1"))  # the chain cannot be asked, and need not be
    await node.start("tron")
    for number in range(1, 6):
        await node.until(f"P-{number}", PayoutState.PAID)
    assert await node.received(SHOP) == 5 * 12_500_000
