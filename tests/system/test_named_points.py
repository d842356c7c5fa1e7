"""The real TRON client process dies by SIGKILL at every point that `services.tron.sender` names; each is paid once.

One process dies at each point, one after the other over the same home: the next one recovers what the last one left,
and dies in its turn. Wallet service and devnet live on, as they do beside a daemon that is killed.
"""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from services.devnet.node import DevnetNode
from services.devnet.settings import DevnetSettings
from services.kit import daemon
from services.kit.errors import LucidError
from services.protocol.address import Address
from services.protocol.contracts import Transfer
from services.tron import api
from services.tron.api import JobState
from services.tron.client import TronClient
from services.wallet.__main__ import build as build_wallet
from services.wallet.api import CreateWallet, Unlock
from services.wallet.client import WalletClient
from services.wallet.settings import WalletSettings

LAUNCHER = Path(__file__).with_name("dying_tron.py")
PAYEE = "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"
SOLID_LAG = 2
PATIENCE_S = 30.0

WITHIN = ("before", "within", "after")
CALL = ("before", "after")

ON_THE_WAY = [
    f"{seam} {moment}"
    for seam, moments in {
        "store.add": WITHIN,
        "wallet.get": CALL,
        "wallet.signer": CALL,
        "store.build": WITHIN,
        "wallet.sign": CALL,
        "store.sign": WITHIN,
        "store.depart": WITHIN,
        "broadcast": CALL,
        "store.note_answers": WITHIN,
        "store.see": WITHIN,
        "store.finish": WITHIN,
    }.items()
    for moment in moments
]
SENT_AGAIN = [f"store.count_send {moment}" for moment in WITHIN]
GIVEN_UP = [*(f"wallet.void {moment}" for moment in CALL), *(f"store.unbuild {moment}" for moment in WITHIN)]
DYING = [f"store.die {moment}" for moment in WITHIN]


class Field:
    """A home with a wallet service and a devnet of two endpoints, in which TRON client processes live and die."""

    def __init__(self, home: Path, devnet: DevnetNode, tron: TronClient) -> None:
        self.home = home
        self.devnet = devnet
        self.tron = tron
        self._quiet = 0

    def _env(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("TRON_", "LUCID_"))}
        return kept | {
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "LUCID_HOME": str(self.home),
            "TRON_NETWORK": "devnet",
            "TRON_HTTP_ENDPOINT": ",".join(self.devnet.urls),
            "TRON_CONFIRMATION_CHECK_INTERVAL": "0.05",
            "TRON_INITIAL_RETRY_DELAY": "0.05",
        }

    @contextlib.asynccontextmanager
    async def process(self, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a TRON client: with words the one that dies, without any the one that everybody runs."""
        program = [str(LAUNCHER), *words] if words else ["-m", "services.tron"]
        log = (self.home / "tron.log").open("ab")
        running = await asyncio.create_subprocess_exec(sys.executable, *program, env=self._env(), stderr=log)
        try:
            yield running
        finally:
            if running.returncode is None:
                running.kill()
            await running.wait()
            log.close()

    async def dies(self, order: api.Order, point: str, *words: str, hurry: bool = False) -> None:
        """Start a TRON client that dies at a point, and order until it is dead."""
        async with self.process(point, *words) as running, asyncio.timeout(PATIENCE_S):
            while running.returncode is None:
                with contextlib.suppress(LucidError):
                    job = await self.tron.submit(order)
                    if hurry and job.state in {JobState.BUILT, JobState.SENDING}:
                        self.devnet.mine(20)
                self.go_on()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(running.wait(), 0.03)
        assert running.returncode == -9, self.said()

    async def ends(self, *orders: api.Order) -> list[api.Job]:
        """Start the TRON client that everybody runs, and see the orders through to their ends."""
        async with self.process(), asyncio.timeout(PATIENCE_S):
            jobs: dict[str, api.Job] = {}
            while len(jobs) < len(orders) or not all(job.state.final for job in jobs.values()):
                with contextlib.suppress(LucidError):
                    jobs = {order.key: await self.tron.submit(order) for order in orders}
                self.go_on()
                await asyncio.sleep(0.03)
        return list(jobs.values())

    def go_on(self) -> None:
        """Make a block while somebody waits for one; else time stands still, and nothing expires."""
        self._quiet = 0 if self.devnet.chain.pool else self._quiet + 1
        if self._quiet <= SOLID_LAG + 1:
            self.devnet.mine(1)

    def paid(self) -> Counter[int]:
        """How often each amount was paid to the receiver, in all blocks."""
        store, found = self.devnet.chain.store, Counter[int]()
        for number in range(self.devnet.chain.head.number + 1):
            for stored in store.transactions_of(number):
                contract = stored.signed.raw_data.contract
                if isinstance(contract, Transfer) and contract.to.base58 == PAYEE:
                    found[contract.amount_sun] += 1
        return found

    def said(self) -> str:
        """The end of what the processes wrote."""
        return (self.home / "tron.log").read_text()[-3000:]


@pytest.fixture
async def field() -> AsyncIterator[Field]:
    # pytest's own folders are too deep for a Unix socket.
    home = Path(tempfile.mkdtemp(prefix="lt-"))
    wallet = WalletSettings(lucid_home=home, tron_network="devnet", wallet_kdf_memory_kib=64)
    settings = DevnetSettings(listen="127.0.0.1:0,127.0.0.1:0", block_interval_ms=0, solid_lag=SOLID_LAG)
    try:
        async with (
            DevnetNode(settings) as devnet,
            daemon.serving(build_wallet(wallet), wallet.socket("wallet")),
            WalletClient(wallet.socket("wallet")) as wallets,
            TronClient(wallet.socket("tron")) as tron,
        ):
            passphrase = SecretStr("p")
            made = await wallets.create(CreateWallet(name="hot", passphrase=passphrase))
            await wallets.unlock("hot", Unlock(passphrase=passphrase))
            devnet.fund(Address.parse(made.wallet.address), 1_000_000_000)
            devnet.mine(5)
            yield Field(home, devnet, tron)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def order(number: int) -> api.Order:
    return api.Order(key=f"k-{number}", wallet="hot", contract=api.Transfer(to=PAYEE, amount_sun=1_000_000 + number))


def once(orders: list[api.Order]) -> Counter[int]:
    return Counter(one.contract.amount_sun for one in orders)


async def test_one_payment_wherever_the_process_dies(field: Field) -> None:
    orders = [order(number) for number in range(len(ON_THE_WAY))]
    for one, point in zip(orders, ON_THE_WAY, strict=True):
        await field.dies(one, point)
    assert {job.state for job in await field.ends(*orders)} == {JobState.PAID}
    assert field.paid() == once(orders)


async def test_one_payment_wherever_it_dies_before_sending_again(field: Field) -> None:
    orders = [order(number) for number in range(len(SENT_AGAIN))]
    for one, point in zip(orders, SENT_AGAIN, strict=True):
        await field.dies(one, point, "--lose", "2")
    assert {job.state for job in await field.ends(*orders)} == {JobState.PAID}
    assert field.paid() == once(orders)


async def test_one_payment_wherever_it_dies_while_it_gives_up_unsigned_bytes(field: Field) -> None:
    orders = [order(number) for number in range(len(GIVEN_UP))]
    for one, point in zip(orders, GIVEN_UP, strict=True):
        await field.dies(one, point, "--no-signature", hurry=True)
    assert {job.state for job in await field.ends(*orders)} == {JobState.PAID}
    assert field.paid() == once(orders)


async def test_no_payment_wherever_it_dies_while_a_death_is_written_down(field: Field) -> None:
    for point in DYING:
        await field.dies(order(0), point, "--lose", "999", hurry=True)
    (dead,) = await field.ends(order(0))
    assert dead.state is JobState.DEAD
    assert dead.proof is not None
    assert len(dead.proof.witnesses) == 2
    assert field.paid() == Counter()
