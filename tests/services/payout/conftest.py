"""The payout router with its real store and sockets, between two scripted neighbours: TRON client and wallet service.

The neighbours stand at the edge: they speak the wire models of `services.tron.api` and `services.wallet.api` over real
sockets, and do what a test tells them: lose an answer, refuse, fall silent, let a job go on or die.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from services.kit import daemon
from services.kit.clock import SystemClock
from services.kit.errors import Conflict, LucidError, NotFound, Unavailable
from services.kit.events import EventBus
from services.kit.http import BASE, Call, Endpoint
from services.kit.metrics import Metrics
from services.kit.money import Asset
from services.kit.store import Store
from services.payout.api import CreatePayout, Payout, PayoutIntent, PayoutState
from services.payout.app import endpoints
from services.payout.client import PayoutClient
from services.payout.orders import Orders
from services.payout.policy import Policy
from services.payout.preflight import Preflight
from services.payout.service import PayoutService
from services.payout.settings import PayoutSettings
from services.payout.store import MIGRATIONS, PayoutStore
from services.protocol.address import Address
from services.tron import api as tron_api
from services.tron.api import Job, JobState
from services.tron.client import TronClient
from services.wallet.api import Wallet, WalletKind, WalletState
from services.wallet.client import WalletClient

TRX = 1_000_000
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def address(number: int) -> str:
    """A valid address that nobody owns."""
    return Address.from_evm(number.to_bytes(20, "big")).base58


HOT, SHOP = address(1), address(2)


class Crash(BaseException):
    """The machine loses power here."""


class CrashPoints:
    """Counts the moments at which a crash matters, and crashes at one of them; nothing happens after a crash."""

    def __init__(self) -> None:
        self.passed = 0
        self.crash_at = 0
        """0: never."""

    @property
    def crashed(self) -> bool:
        return 0 < self.crash_at <= self.passed

    def pass_by(self) -> None:
        self.passed += 1
        if self.crashed:
            raise Crash


class CrashingStore(Store):
    """The real store; the power can fail before and after every commit."""

    def __init__(self, path: Path, points: CrashPoints) -> None:
        super().__init__(path, MIGRATIONS)
        self._points = points
        self.broken = False
        """Whether every write fails, as on a full disk."""

    async def write(self, unit: Callable[..., Any]) -> Any:
        self._points.pass_by()
        if self.broken:
            raise Unavailable("the database cannot be written: database or disk is full")
        result = await super().write(unit)
        self._points.pass_by()
        return result


class CrashingTron(TronClient):
    """The real client; the power can fail before every request and before its answer is read."""

    def __init__(self, path: Path, points: CrashPoints) -> None:
        super().__init__(path)
        self._points = points

    async def request(self, method: str, path: str, model: type[Any], **rest: Any) -> Any:
        if method == "POST" and "/orders" in path:
            self._points.pass_by()
            answer = await super().request(method, path, model, **rest)
            self._points.pass_by()
            return answer
        return await super().request(method, path, model, **rest)


class ScriptedTron:
    """A TRON client that keeps its orders in memory and does as it is told."""

    def __init__(self) -> None:
        self.bus = EventBus()
        self._txids = itertools.count(1)
        self.reset()

    def reset(self) -> None:
        """Forget all orders, and do everything right again."""
        self.jobs: dict[str, Job] = {}
        self.owners: dict[str, str | None] = {}
        """Order key to the address that must pay it."""
        self.calls: Counter[str] = Counter()
        self.autopilot: tuple[JobState, ...] = ()
        """States that a new order goes through at once."""
        self.balance_sun = 1_000_000 * TRX
        self.fee_sun = 0
        self.burn_sun = 0
        """What the bandwidth costs once the free one is used up."""
        self.block = 1_000
        self.chain_ms = 1_800_000_000_000
        self.activated = True
        self.before: dict[str, LucidError] = {}
        """Route to what it raises instead of acting."""
        self.after: dict[str, LucidError] = {}
        """Route to what it raises after it acted: the answer is lost."""
        self.delay: dict[str, asyncio.Event] = {}
        """Route to what it waits for before it acts."""
        self.slow: dict[str, asyncio.Event] = {}
        """Route to what it waits for after it acted: the answer is on its way for a while."""

    def move(self, key: str, state: JobState, *, tell: bool = True, **changes: Any) -> Job:
        """Let a job stand somewhere else, and tell the listeners."""
        if self.jobs[key].state.final:
            raise AssertionError(f"{key} has ended")
        if state in {JobState.BUILT, JobState.SIGNED} and self.jobs[key].txid is None:
            changes.setdefault("txid", f"{next(self._txids):064x}")
            changes.setdefault("owner", HOT)
        job = self.jobs[key].model_copy(update={"state": state, **changes})
        self.jobs[key] = job
        if tell:
            self.bus.publish("job", job)
        return job

    def walk(self, key: str, *states: JobState) -> None:
        """Let a job go through states, one after the other."""
        for state in states:
            seen: dict[str, Any] = {"block_number": self.block} if state in {JobState.SEEN, JobState.PAID} else {}
            self.move(key, state, waiting="", **seen)

    def bury(self, key: str, *endpoints: str, accepted_by: str | None = None) -> None:
        """Let a job die, proved by these endpoints; with one of them only, the proof waits for an operator."""
        job = self.jobs[key]
        assert job.txid is not None
        proof = tron_api.DeathProof(
            txid=job.txid,
            expiration_ms=self.chain_ms,
            witnesses=tuple(
                tron_api.DeathWitness(endpoint=name, solid_number=self.block, solid_time_ms=self.chain_ms + 3000)
                for name in endpoints
            ),
            single_endpoint=len(endpoints) == 1,
            accepted_by=accepted_by,
        )
        done = len(endpoints) > 1 or accepted_by is not None
        self.move(key, JobState.DEAD if done else job.state, proof=proof, waiting="" if done else "accept the proof")

    async def quote(self, call: Call) -> tron_api.TransferQuote:
        await self._at("quote")
        return tron_api.TransferQuote(
            bandwidth=267,
            bandwidth_fee_sun=self.fee_sun,
            activation_fee_sun=0 if self.activated else 1_100_000,
            memo_fee_sun=TRX if call.body.memo else 0,
            fee_sun=self.fee_sun,
            burn_sun=self.burn_sun,
            owner_balance_sun=self.balance_sun,
            to_activated=self.activated,
            block_number=self.block,
            endpoint="node-a:9090",
            read_at=NOW,
        )

    async def latest_block(self, _call: Call) -> tron_api.Block:
        await self._at("latest-block")
        return tron_api.Block(number=self.block, id="0" * 64, time_ms=self.chain_ms)

    async def submit(self, call: Call) -> Job:
        await self._at("submit")
        order: tron_api.Order = call.body
        job = self.jobs.get(order.key)
        if job is None:
            job = self._take(order)
        elif (job.wallet, job.contract, job.memo) != (order.wallet, order.contract, order.memo):
            raise Conflict(f"the key {order.key} was used for a different order")
        await self._lose("submit")
        return job

    def _take(self, order: tron_api.Order) -> Job:
        job = Job(
            key=order.key,
            state=JobState.ACCEPTED,
            wallet=order.wallet,
            owner="",
            contract=order.contract,
            memo=order.memo,
            created_at=NOW,
            updated_at=NOW,
        )
        self.jobs[order.key] = job
        self.owners[order.key] = order.owner
        self.bus.publish("job", job)
        self.walk(order.key, *self.autopilot)
        return self.jobs[order.key]

    async def job(self, call: Call) -> Job:
        await self._at("job")
        return self._known(call)

    async def cancel(self, call: Call) -> Job:
        await self._at("cancel")
        job = self._known(call)
        if job.state in {JobState.ACCEPTED, JobState.BUILT, JobState.SIGNED}:
            job = self.move(job.key, JobState.CANCELLED)
        if job.state is not JobState.CANCELLED:
            raise Conflict(f"order {job.key} is {job.state}: only what has not been sent can be cancelled")
        await self._lose("cancel")
        return job

    async def retry(self, call: Call) -> tron_api.Retried:
        await self._at("retry")
        job = self._known(call)
        if job.state not in {JobState.SENDING, JobState.SEEN}:
            return tron_api.Retried(job=job, act="none", message="nothing has been sent yet")
        job = self.move(job.key, job.state, sends=job.sends + 1)
        return tron_api.Retried(job=job, act="same_bytes", message="the same bytes were sent again")

    async def accept_death(self, call: Call) -> Job:
        await self._at("accept-death")
        job = self._known(call)
        if job.proof is None or job.txid != call.body.txid:
            raise Conflict("there is no death proof to accept")
        self.bury(job.key, job.proof.witnesses[0].endpoint, accepted_by=call.peer.user)
        return self.jobs[job.key]

    def _known(self, call: Call) -> Job:
        job = self.jobs.get(call.path["key"])
        if job is None:
            raise NotFound(f"no order has the key {call.path['key']}")
        return job

    async def _at(self, route: str) -> None:
        self.calls[route] += 1
        if route in self.delay:
            await self.delay[route].wait()
        if route in self.before:
            raise self.before[route]

    async def _lose(self, route: str) -> None:
        if route in self.slow:
            await self.slow[route].wait()
        if route in self.after:
            raise self.after[route]

    def service(self) -> daemon.Service:
        """The daemon: a new run of it knows the orders, but not the events of the run before."""
        self.bus = EventBus()
        orders = f"{BASE}/orders"
        return daemon.Service(
            "tron",
            "A scripted TRON client.",
            "1",
            [
                Endpoint(
                    "POST", f"{BASE}/network/quote-transfer", self.quote, request=tron_api.QuoteTransfer,
                    response=tron_api.TransferQuote,
                ),
                Endpoint("GET", f"{BASE}/network/latest-block", self.latest_block, response=tron_api.Block),
                Endpoint("POST", orders, self.submit, request=tron_api.Order, response=Job, status=201),
                Endpoint("GET", f"{orders}/{{key}}", self.job, response=Job),
                Endpoint("POST", f"{orders}/{{key}}/cancel", self.cancel, response=Job),
                Endpoint("POST", f"{orders}/{{key}}/retry", self.retry, response=tron_api.Retried),
                Endpoint(
                    "POST", f"{orders}/{{key}}/accept-death", self.accept_death, request=tron_api.AcceptDeath,
                    response=Job,
                ),
            ],
            Metrics("tron"),
            bus=self.bus,
        )  # fmt: skip


class ScriptedWallets:
    """A wallet service with a hot, a locked and a cold wallet, and one of another network."""

    def __init__(self) -> None:
        self.calls = 0
        self.wallets = {
            name: Wallet(name=name, address=where, kind=kind, state=state, network=network, created_at=NOW)
            for name, where, kind, state, network in (
                ("hot", HOT, WalletKind.HOT, WalletState.ACTIVE, "devnet"),
                ("shut", address(11), WalletKind.HOT, WalletState.LOCKED, "devnet"),
                ("cold", address(12), WalletKind.COLD, WalletState.ACTIVE, "devnet"),
                ("alien", address(13), WalletKind.HOT, WalletState.ACTIVE, "nile"),
            )
        }

    async def get(self, call: Call) -> Wallet:
        self.calls += 1
        wallet = self.wallets.get(call.path["name"])
        if wallet is None:
            raise NotFound(f"there is no wallet {call.path['name']}")
        return wallet

    def service(self) -> daemon.Service:
        rows = [Endpoint("GET", f"{BASE}/wallets/{{name}}", self.get, response=Wallet)]
        return daemon.Service("wallet", "A scripted wallet service.", "1", rows, Metrics("wallet"))


class Router:
    """One run of the payout router, from start to stop or crash."""

    def __init__(self, world: World, policy: Policy, points: CrashPoints) -> None:
        self.bus = EventBus()
        self.points = points
        self.tron = CrashingTron(world.socket("tron"), points)
        self._wallets = WalletClient(world.socket("wallet"))
        self.database = CrashingStore(world.database, points)
        self.store = PayoutStore(self.database)
        self.orders = Orders(self.tron, self.store, self.bus, SystemClock(), policy.max_concurrent)
        self.service = PayoutService(
            network="devnet",
            policy=policy,
            store=self.store,
            preflight=Preflight("devnet", self.tron, self._wallets),
            orders=self.orders,
            tron=self.tron,
            clock=SystemClock(),
        )

    async def when(self, payout_id: str, condition: Callable[[Payout], bool]) -> Payout:
        """Wait until a payout is as described."""

        async def fulfilled() -> Payout | None:
            payout = await self.service.get(payout_id)
            return payout if condition(payout) else None

        payout: Payout = await eventually(fulfilled, self.points)
        return payout

    async def outcomes(self) -> list[tuple[str | None, int]]:
        """How reservations ended, and how many each way."""
        sql = "SELECT outcome, count(*) FROM reservations GROUP BY outcome ORDER BY outcome"
        return await self.database.read(lambda db: [tuple(row) for row in db.execute(sql).fetchall()])

    async def close(self) -> None:
        """Let go of everything, after a crash too."""
        with contextlib.suppress(Crash):
            await self.service.stop()
        await self.tron.close()
        await self._wallets.close()

    async def until(self, payout_id: str, *states: PayoutState) -> Payout:
        """Wait until a payout stands in one of these states."""
        return await self.when(payout_id, lambda payout: payout.state in states)


async def eventually(question: Callable[[], Awaitable[Any]], points: CrashPoints | None = None) -> Any:
    """Ask until the answer is true, for ten seconds; a crash of the router ends the waiting."""
    async with asyncio.timeout(10):
        while True:
            if points is not None and points.crashed:
                raise Crash
            if answer := await question():
                return answer
            await asyncio.sleep(0.005)


class World:
    """A home with scripted neighbours, in which payout routers run one after the other."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.tron = ScriptedTron()
        self.wallets = ScriptedWallets()
        self._numbers = itertools.count(1)
        self._tron_daemon = contextlib.AsyncExitStack()
        self.anew()

    def socket(self, name: str) -> Path:
        return self.home / "run" / name / f"{name}.sock"

    def anew(self, *, reset: bool = True) -> None:
        """Begin again with the same neighbours: no payouts and no orders; without `reset` they keep their script."""
        if reset:
            self.tron.reset()
        self.tron.jobs.clear()
        self.database = self.home / f"payouts-{next(self._numbers)}.db"

    async def start_tron(self) -> None:
        await self._tron_daemon.enter_async_context(daemon.serving(self.tron.service(), self.socket("tron")))

    async def stop_tron(self) -> None:
        await self._tron_daemon.aclose()

    @contextlib.asynccontextmanager
    async def router(self, points: CrashPoints | None = None, **settings: Any) -> AsyncIterator[Router]:
        """Run a router over this home's database; settings as operators write them."""
        values = {"lucid_home": self.home, "tron_network": "devnet", **settings}
        router = Router(self, Policy.of(PayoutSettings(**values)), points or CrashPoints())
        try:
            await router.service.start()
            yield router
        finally:
            await router.close()

    @contextlib.asynccontextmanager
    async def served(self, router: Router) -> AsyncIterator[PayoutClient]:
        """Serve a running router on its socket, and give a client of it."""
        service = daemon.Service(
            "payout", "Payouts.", "1", endpoints(router.service), Metrics("payout"), bus=router.bus,
            ready=router.service.ready,
        )  # fmt: skip
        async with daemon.serving(service, self.socket("payout")), PayoutClient(self.socket("payout")) as client:
            yield client

    def body(self, key: str = "k-1", amount: int = 5 * TRX, **changes: Any) -> CreatePayout:
        return CreatePayout(
            **{"key": key, "wallet": "hot", "to": SHOP, "asset": Asset.TRX, "amount": amount, **changes}
        )

    def intent(self, **changes: Any) -> PayoutIntent:
        return PayoutIntent(**{"wallet": "hot", "to": SHOP, "asset": Asset.TRX, "amount": 5 * TRX, **changes})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def neighbours(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A home whose scripted neighbours serve all tests of a module: starting daemons takes longer than most tests."""
    world = World(tmp_path_factory.mktemp("home"))
    wallet_daemon = contextlib.AsyncExitStack()
    await wallet_daemon.enter_async_context(daemon.serving(world.wallets.service(), world.socket("wallet")))
    await world.start_tron()
    yield world
    await asyncio.gather(world.stop_tron(), wallet_daemon.aclose())


@pytest.fixture
def world(neighbours: World) -> World:
    neighbours.anew()
    return neighbours


@pytest.fixture
def points() -> CrashPoints:
    return CrashPoints()


@pytest_asyncio.fixture(loop_scope="module")
async def router(world: World) -> AsyncIterator[Router]:
    async with world.router() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def client(world: World, router: Router) -> AsyncIterator[PayoutClient]:
    async with world.served(router) as connected:
        yield connected


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PayoutSettings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
