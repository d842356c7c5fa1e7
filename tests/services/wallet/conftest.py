"""A wallet service over real files, a real database and real cryptography; only time stands at the edge."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.kit.errors import Unavailable
from services.kit.events import EventBus
from services.kit.peer import Peer, Role
from services.protocol.address import Address
from services.protocol.contracts import Contract, Transfer
from services.protocol.transaction import RawData
from services.wallet.api import CreateWallet, ImportWallet, Sign, Unlock
from services.wallet.client import WalletClient
from services.wallet.keystore import KdfCost, Keystore
from services.wallet.passphrase import PassphraseFile
from services.wallet.service import WalletService
from services.wallet.signer import Policy
from services.wallet.store import SignerStore

WORDS = "abandon " * 11 + "about"
ADDRESS = "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"
OTHER = "TSeJkUh4Qv67VNFwY8LaAxERygNdy6NQZK"
PASSPHRASE = "correct horse battery staple"
CHEAP = KdfCost(memory_kib=64, iterations=1)
NO_LIMIT = Policy(max_tx_sun=0, hourly_limit_sun=0, daily_limit_sun=0)
OPERATOR = Peer(pid=7, uid=1000, gid=1000, user="alice", role=Role.OPERATOR)


class ManualClock:
    """Time that moves when it is told to, and wakes who sleeps."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.wall = datetime(2026, 1, 1, tzinfo=UTC)
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self.wall + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.seconds + seconds, woken))
        await woken

    async def advance(self, seconds: float) -> None:
        self.seconds += seconds
        for at, woken in self._sleepers:
            if at <= self.seconds and not woken.done():
                woken.set_result(None)
        self._sleepers = [(at, woken) for at, woken in self._sleepers if not woken.done()]
        for _ in range(5):
            await asyncio.sleep(0)


@dataclass
class Bench:
    """One node's wallet service, which can be stopped and started again over the same files."""

    home: Path
    clock: ManualClock = field(default_factory=ManualClock)
    network: str = "devnet"
    policy: Policy = NO_LIMIT
    boot_id: str = "boot-1"
    cost: KdfCost | None = CHEAP
    passphrase_file: Path | None = None
    bus: EventBus = field(default_factory=EventBus)
    started: list[WalletService] = field(default_factory=list)

    async def start(self) -> WalletService:
        self.bus = EventBus()
        service = WalletService(
            keystore=Keystore(self.home / "keys", self.network),
            store=SignerStore(self.home / "signer.db"),
            bus=self.bus,
            clock=self.clock,
            network=self.network,
            policy=self.policy,
            boot_id=self.boot_id,
            kdf_cost=self.cost,
            passphrase_file=PassphraseFile(self.passphrase_file) if self.passphrase_file else None,
        )
        self.started.append(service)
        await service.start()
        return service

    async def stop(self) -> None:
        while self.started:
            await self.started.pop().stop()

    async def restart(self) -> WalletService:
        await self.stop()
        return await self.start()

    async def ready(self, service: WalletService) -> None:
        """Wait until the wallets that open unattended are open."""
        async with asyncio.timeout(10):
            while (await service.checks())["unattended"] != "ok":
                await asyncio.sleep(0.005)

    async def hot(self, service: WalletService, name: str = "hot", lease_s: int = 900) -> None:
        """Import the wallet of the known words, and unlock it."""
        await service.import_(
            ImportWallet.model_validate({"name": name, "passphrase": PASSPHRASE, "format": "words", "secret": WORDS})
        )
        await service.unlock(name, Unlock.model_validate({"passphrase": PASSPHRASE, "lease_s": lease_s}))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    tested = Bench(tmp_path)
    yield tested
    await tested.stop()


@pytest.fixture
async def service(bench: Bench) -> WalletService:
    return await bench.start()


class Listener:
    """Collects what a service tells."""

    def __init__(self, bus: EventBus) -> None:
        self._stream = bus.stream(heartbeat_s=0.05)

    async def __aenter__(self) -> "Listener":
        await anext(self._stream)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stream.aclose()  # type: ignore[attr-defined]

    async def heard(self) -> list[tuple[str, dict[str, Any]]]:
        """Everything since the last time, as (event, data), once it is quiet."""
        found = []
        while (chunk := await anext(self._stream)) != b":\n\n":
            for block in chunk.decode().strip().split("\n\n"):
                _, name, data = (line.partition(": ")[2] for line in block.split("\n"))
                found.append((name, json.loads(data)))
        return found


@pytest.fixture
def listen() -> Callable[[Bench], Listener]:
    return lambda bench: Listener(bench.bus)


@dataclass(frozen=True)
class Bytes:
    """Makes raw_data bytes."""

    def raw(
        self,
        amount_sun: int = 5_000_000,
        *,
        owner: str = ADDRESS,
        contract: Contract | None = None,
        timestamp_ms: int = 1_767_225_600_000,
        life_ms: int = 120_000,
        memo: bytes = b"",
        permission_id: int = 0,
    ) -> bytes:
        return RawData(
            contract=contract or Transfer(Address.parse(owner), Address.parse(OTHER), amount_sun),
            ref_block_bytes=b"\x00\x01",
            ref_block_hash=b"\x02" * 8,
            expiration_ms=timestamp_ms + life_ms,
            timestamp_ms=timestamp_ms,
            memo=memo,
            permission_id=permission_id,
        ).encode()

    def sign(self, key: str, amount_sun: int = 5_000_000, **rest: Any) -> Sign:
        return Sign(key=key, raw_data_hex=self.raw(amount_sun, **rest).hex())


@pytest.fixture
def transfer() -> Bytes:
    return Bytes()


class Daemon:
    """The real process on a real socket."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {"TRON_NETWORK": "devnet", "WALLET_KDF_MEMORY_KIB": "64"}
        self.log = home / "wallet.log"
        self.client = WalletClient(home / "run" / "wallet" / "wallet.sock")
        self.process: subprocess.Popen[bytes] | None = None
        self.pid = 0

    def launch(self) -> subprocess.Popen[bytes]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.wallet"],
                env={**kept, "LUCID_HOME": str(self.home), **self.environment},
                stdout=log,
                stderr=log,
            )
        return self.process

    async def start(self) -> None:
        self.launch()
        async with asyncio.timeout(20):
            while True:
                try:
                    if (await self.client.health()).status == "ok":
                        return
                except Unavailable:
                    assert self.process is not None
                    assert self.process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.02)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(10)


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[Daemon]:
    tested = Daemon(tmp_path)
    yield tested
    await tested.client.close()
    if tested.process is not None and tested.process.poll() is None:
        tested.kill()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Home of one real process, for the tests that only look at it."""
    home = tmp_path_factory.mktemp("wallet")
    process = Daemon(home).launch()
    (home / "pid").write_text(str(process.pid))
    deadline = time.monotonic() + 20
    while (
        not (home / "run" / "wallet" / "wallet.sock").exists() or b"service.ready" not in Daemon(home).log.read_bytes()
    ):
        assert process.poll() is None, (home / "wallet.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield home
    process.terminate()
    process.wait(10)


@pytest.fixture
async def shared(running: Path) -> AsyncIterator[Daemon]:
    """The process that `running` started, with a client of this test's own."""
    seen = Daemon(running)
    seen.pid = int((running / "pid").read_text())
    yield seen
    await seen.client.close()


@pytest.fixture
def create() -> Callable[..., CreateWallet]:
    return lambda name="hot", passphrase=PASSPHRASE, **rest: CreateWallet.model_validate(
        {"name": name, "passphrase": passphrase, **rest}
    )


@pytest.fixture
def keystore(tmp_path: Path) -> Iterator[Keystore]:
    opened = Keystore(tmp_path / "keys", "devnet")
    opened.open()
    yield opened
    opened.close()
