"""A small TRON world in one process: a chain, nodes that may lie, virtual time, and a TRON client that can be killed.

Everything of ours is real: store on a file, wallet service with its keystore and ledger, sender, evidence, endpoints.
Only the outer edge is made here: nodes, the clock, and the seams at which a crash can be put.
"""

import asyncio
import contextlib
import hashlib
import heapq
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from pydantic import SecretStr

from services.kit.errors import Timeout, Unavailable
from services.kit.events import EventBus
from services.kit.metrics import Metrics
from services.kit.peer import Peer, Role
from services.kit.retry import RetryPolicy
from services.kit.store import Store, Unit
from services.protocol.contracts import Transfer
from services.protocol.json import transaction_to_json
from services.protocol.networks import network
from services.protocol.signature import recover
from services.protocol.transaction import SignedTransaction, txid
from services.tron import api
from services.tron.api import JobState
from services.tron.chain import Chain
from services.tron.endpoints import Endpoints
from services.tron.evidence import Evidence
from services.tron.node import Kind, NodeError, checked_answer
from services.tron.sender import Sender, SenderPolicy
from services.tron.store import MIGRATIONS, JobStore
from services.wallet import api as wallet_api
from services.wallet.keystore import KdfCost, Keystore
from services.wallet.service import WalletService
from services.wallet.signer import Policy
from services.wallet.store import SignerStore

T = TypeVar("T")
Json = dict[str, Any]

SLOT_MS = 3_000
START_MS = 1_800_000_000_000
OPERATOR = Peer(pid=7, uid=1000, gid=1000, user="alice", role=Role.OPERATOR)
WORDS = "abandon " * 11 + "about"
OWNER = "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"
PAYEE = "TSeJkUh4Qv67VNFwY8LaAxERygNdy6NQZK"
DEVNET = network("devnet")


class Violation(AssertionError):
    """An invariant of the payouts page does not hold."""


class Crash(BaseException):
    """The process died here."""


# --- time ---


class VirtualClock:
    """Time that moves only when the world says so. Its wall clock may be wrong, as a Pi's is."""

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self.wall_offset_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> datetime:
        return datetime(2027, 1, 15, tzinfo=UTC) + timedelta(seconds=self.seconds + self.wall_offset_s)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self._count += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.seconds + max(0.0, seconds), self._count, future))
        await future

    def next_wake(self) -> float | None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def jump(self, moment: float) -> None:
        self.seconds = max(self.seconds, moment)
        while self._sleepers and self._sleepers[0][0] <= self.seconds:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)


class InlineExecutor(Executor):
    """Runs at once, in this thread."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - as an executor does
            future.set_exception(error)
        return future


# --- crashes ---


class Seams:
    """Every place at which the process touches something durable or something outside; one of them may kill it."""

    def __init__(self) -> None:
        self.crash_at: int | None = None
        self.passed: list[str] = []
        self.dead = False
        self.on_point: Callable[[int], None] = lambda _number: None
        """Called at every point with its number, before it is passed."""
        self.busy = 0
        """Calls to the wallet that run in real threads now."""

    def arm(self, number: int | None) -> None:
        self.crash_at, self.passed, self.dead = number, [], False

    def point(self, name: str) -> None:
        self.alive()
        self.on_point(len(self.passed))
        self.passed.append(name)
        if self.crash_at is not None and len(self.passed) == self.crash_at + 1:
            self.dead = True
            raise Crash(name)

    def alive(self) -> None:
        if self.dead:
            raise Crash("a dead process does nothing")

    @contextlib.contextmanager
    def outside(self) -> Any:
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1


class CrashingStore(Store):
    """The real store, which may die before, within or after each commit."""

    def __init__(self, path: Path, seams: Seams) -> None:
        super().__init__(path, MIGRATIONS, InlineExecutor())
        self._seams = seams

    async def write(self, unit: Unit[T]) -> T:
        name = f"store.{unit.__qualname__.split('.')[1]}"
        self._seams.point(f"{name} before")

        def within(connection: sqlite3.Connection) -> T:
            result = unit(connection)
            self._seams.point(f"{name} within")
            return result

        result = await super().write(within)
        self._seams.point(f"{name} after")
        return result

    async def read(self, unit: Unit[T]) -> T:
        self._seams.alive()
        return await super().read(unit)


class WalletSeam:
    """The real wallet service, called as its client calls it."""

    def __init__(self, service: WalletService, seams: Seams) -> None:
        self.service = service
        self.seams = seams
        self.down = False
        self.sign_down = False
        """Signing fails before anything is signed."""
        self.sign_answer_lost = False
        """Signing succeeds, and nobody is told."""
        self.signed: list[str] = []
        """Every txid for which a signature left the wallet."""

    async def _call(self, name: str, call: Callable[[], Any]) -> Any:
        self.seams.point(f"wallet.{name} before")
        if self.down:
            raise Unavailable("wallet does not run: nothing answers")
        with self.seams.outside():
            result = await call()
        self.seams.point(f"wallet.{name} after")
        return result

    async def get(self, name: str) -> wallet_api.Wallet:
        found: wallet_api.Wallet = await self._call("get", lambda: self.service.get(name))
        return found

    async def signer(self) -> wallet_api.Signer:
        found: wallet_api.Signer = await self._call("signer", self.service.signer)
        return found

    async def sign(self, name: str, body: wallet_api.Sign) -> wallet_api.Signature:
        async def sign() -> wallet_api.Signature:
            if self.sign_down:
                raise Unavailable("wallet cannot write its disk")
            signature = await self.service.sign(name, body, OPERATOR)
            self.signed.append(signature.txid)
            if self.sign_answer_lost:
                raise Timeout("wallet did not answer")
            return signature

        signed: wallet_api.Signature = await self._call("sign", sign)
        return signed

    async def void(self, name: str, key: str) -> wallet_api.SignRecord:
        record: wallet_api.SignRecord = await self._call("void", lambda: self.service.void(name, key, OPERATOR))
        return record


# --- the chain and its nodes ---


@dataclass(frozen=True)
class FakeBlock:
    """A block of the little chain."""

    number: int
    block_id: str
    time_ms: int
    transactions: tuple[SignedTransaction, ...] = ()


@dataclass
class FakeChain:
    """One chain that every honest node shows; solid blocks stay."""

    solid_lag: int = 5
    blocks: list[FakeBlock] = field(default_factory=list)
    pool: dict[str, SignedTransaction] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    """Transactions that land as failed."""
    solid_until: int | None = None
    """Highest solid block while solidity is stuck."""
    salt: int = 0
    where: dict[str, FakeBlock] = field(default_factory=dict)
    """The block of every transaction that is in one."""

    def __post_init__(self) -> None:
        self.blocks.append(FakeBlock(0, DEVNET.genesis_id, START_MS - SLOT_MS))
        for _ in range(self.solid_lag + 3):
            self.mine()

    @property
    def head(self) -> FakeBlock:
        return self.blocks[-1]

    @property
    def solid_number(self) -> int:
        solid = max(0, self.head.number - self.solid_lag)
        return solid if self.solid_until is None else min(solid, self.solid_until)

    def mine(self, *, include: bool = True, slots: int = 1) -> FakeBlock:
        """Make a block of what waits and is still valid: while the head's time is below the expiration."""
        parent = self.head
        taken: tuple[SignedTransaction, ...] = ()
        if include:
            taken = tuple(tx for tx in self.pool.values() if parent.time_ms < tx.raw_data.expiration_ms)
            self.pool.clear()
        number = parent.number + 1
        digest = hashlib.sha256(f"{parent.block_id}{number}{self.salt}".encode()).hexdigest()
        block_id = number.to_bytes(8).hex() + digest[16:]
        self.blocks.append(FakeBlock(number, block_id, parent.time_ms + slots * SLOT_MS, taken))
        self.where.update({tx.txid: self.head for tx in taken})
        return self.head

    def take(self, signed: SignedTransaction) -> str:
        """Judge a transaction as a node does and pool it; returns the broadcast code."""
        if signed.txid in self.pool or self.find(signed.txid):
            return "DUP_TRANSACTION_ERROR"
        contract = signed.raw_data.contract
        if recover(txid(signed.raw), signed.signatures[0]) != contract.owner:
            return "SIGERROR"
        if signed.raw_data.expiration_ms <= self.head.time_ms:
            return "TRANSACTION_EXPIRATION_ERROR"
        self.pool[signed.txid] = signed
        return "SUCCESS"

    def find(self, id_: str) -> FakeBlock | None:
        return self.where.get(id_)

    def reorg(self, depth: int, *, keep: bool) -> None:
        """Undo unsolid blocks and put empty ones in their place; their transactions wait again, or are forgotten."""
        if depth > self.head.number - self.solid_number:
            raise ValueError("solid blocks stay")
        undone = self.blocks[-depth:]
        del self.blocks[-depth:]
        for tx in (tx for block in undone for tx in block.transactions):
            del self.where[tx.txid]
        self.salt += 1
        for block in undone:
            self.mine(include=False)
            if keep:
                self.pool.update({tx.txid: tx for tx in block.transactions})


@dataclass
class Fault:
    """What happens to one broadcast."""

    take: bool = True
    """Whether the node takes the transaction all the same."""
    answer: Json | NodeError | None = None
    """What the caller gets; None: the honest answer."""


@dataclass
class FakeNode:
    """One node over the little chain, with faults of its own."""

    node_name: str
    chain: FakeChain
    seams: Seams
    lag: int = 0
    """Blocks that it is behind."""
    down: NodeError | None = None
    """What every call gets."""
    hides: bool = False
    """Says that it knows no transaction."""
    phantom: bool = False
    """Says that whatever was sent to it is solid and paid."""
    lists_unsolid_as_solid: bool = False
    future_ms: int = 0
    """Added to the time of its blocks."""
    genesis_id: str = DEVNET.genesis_id
    keeps_from: int = 0
    """The first block that it has, besides block 0: it was set up from a snapshot and knows nothing older."""
    boasts: int | None = None
    """Says that whatever was sent to it is in a block of that number."""
    faults: deque[Fault] = field(default_factory=deque)
    broadcasts: list[str] = field(default_factory=list)
    """Every txid that was sent to it."""
    sent: dict[str, SignedTransaction] = field(default_factory=dict)
    on_broadcast: Callable[[str], None] = lambda _txid: None
    calls: int = 0

    @property
    def name(self) -> str:
        return self.node_name

    async def close(self) -> None:
        pass

    async def get(self, path: str, params: Mapping[str, str]) -> Json:
        raise NodeError("HTTP status 404", Kind.HTTP, self.name, 404)

    async def post(self, path: str, body: Mapping[str, Any]) -> Json:
        self.seams.alive()
        self.calls += 1
        await asyncio.sleep(0)
        if self.down is not None:
            raise self.down
        part, call = path.split("/")
        if call == "broadcasthex":
            self.seams.point("broadcast before")
            answer = self._broadcast(body["transaction"])
            self.seams.point("broadcast after")
            if isinstance(answer, NodeError):
                raise answer
            return checked_answer(answer, self.name)
        return checked_answer(self._read(part, call, body), self.name)

    def _broadcast(self, transaction_hex: str) -> Json | NodeError:
        signed = SignedTransaction.decode(bytes.fromhex(transaction_hex))
        self.broadcasts.append(signed.txid)
        self.sent[signed.txid] = signed
        self.on_broadcast(signed.txid)
        fault = self.faults.popleft() if self.faults else Fault()
        code = self.chain.take(signed) if fault.take and not self.hides and not self.phantom else "SUCCESS"
        honest = {"result": code == "SUCCESS", "code": code, "txid": signed.txid, "message": ""}
        return honest if fault.answer is None else fault.answer

    def _read(self, part: str, call: str, body: Mapping[str, Any]) -> Json:
        top = max(0, self.chain.head.number - self.lag)
        if part == "walletsolidity" and not self.lists_unsolid_as_solid:
            top = min(top, max(0, self.chain.solid_number - self.lag))
        match call:
            case "getblock":
                return self._block(top)
            case "getblockbynum":
                known = body["num"] == 0 or self.keeps_from <= body["num"] <= top
                return self._block(body["num"]) if known else {}
            case "gettransactioncountbyblocknum":
                return {"count": len(self.chain.blocks[body["num"]].transactions)}
            case "getblockbylimitnext":
                return {
                    "block": [self._whole(number) for number in range(body["startNum"], min(body["endNum"], top + 1))]
                }
            case "gettransactionbyid" | "gettransactioninfobyid":
                return self._transaction(call, body["value"], top)
            case _:
                raise NodeError("HTTP status 405", Kind.HTTP, self.name, 405)

    def _block(self, number: int) -> Json:
        block = self.chain.blocks[number]
        shown = self.genesis_id if number == 0 else block.block_id
        header = {"number": number, "timestamp": block.time_ms + self.future_ms}
        return {"blockID": shown, "block_header": {"raw_data": header}}

    def _whole(self, number: int) -> Json:
        transactions = [transaction_to_json(tx, visible=False) for tx in self.chain.blocks[number].transactions]
        return self._block(number) | ({"transactions": transactions} if transactions else {})

    def _transaction(self, call: str, id_: str, top: int) -> Json:
        block = self.chain.find(id_)
        if self.phantom and id_ in self.sent:
            block = replace(self.chain.blocks[min(top, 4)], transactions=(self.sent[id_],))
        if self.boasts is not None and id_ in self.sent:
            return {"id": id_, "blockNumber": self.boasts, "raw_data_hex": self.sent[id_].raw.hex()}
        if self.hides or block is None or block.number > top or block.number < self.keeps_from:
            return {}
        failed = id_ in self.chain.failing
        if call == "gettransactioninfobyid":
            info = {
                "id": id_,
                "blockNumber": block.number,
                "blockTimeStamp": block.time_ms,
                "receipt": {"net_usage": 268},
            }
            return info | ({"result": "FAILED"} if failed else {})
        raw = next(tx.raw for tx in block.transactions if tx.txid == id_)
        return {
            "txID": id_,
            "raw_data_hex": raw.hex(),
            "ret": [{"contractRet": "OUT_OF_TIME" if failed else "SUCCESS"}],
        }


# --- the node of ours, and the world around it ---


@dataclass
class Parts:
    """What a life of the TRON client is made of; a planted bug replaces a part."""

    sender: type[Sender] = Sender
    evidence: type[Evidence] = Evidence
    store: type[JobStore] = JobStore
    needed: int | None = None


class Life:
    """One run of the TRON client, from start to crash or stop."""

    def __init__(self, world: "World", parts: Parts) -> None:
        metrics, self.bus = Metrics("tron"), EventBus()
        clock = world.clock
        self.db = CrashingStore(world.home / "orders.db", world.seams)
        self.store = parts.store(self.db, clock)
        self.endpoints = Endpoints(world.nodes, DEVNET, clock, metrics, RetryPolicy(attempts=2))
        if parts.needed is not None:
            self.endpoints.needed = parts.needed
        self.chain = Chain(self.endpoints, DEVNET, clock, self.bus, world.interval_s)
        self.sender = parts.sender(
            self.store,
            world.wallet,
            self.chain,
            self.endpoints,
            parts.evidence(self.endpoints),
            network="devnet",
            clock=clock,
            bus=self.bus,
            metrics=metrics,
            policy=world.policy,
            rng=Random(7),
        )

    async def start(self) -> None:
        await self.store.open("devnet")
        await self.chain.look()
        await self.chain.start()
        await self.sender.start()

    async def end(self) -> None:
        await self.sender.stop()
        await self.chain.stop()
        await self.db.close()


class World:
    """A chain, nodes, a wallet, and a TRON client over them, all in virtual time."""

    def __init__(
        self, home: Path, wallet: WalletService, *, key: str = "order", nodes: int = 2, solid_lag: int = 5
    ) -> None:
        self.home = home
        self.key = key
        """Of the order that is spoken of unless another is named."""
        self.clock = VirtualClock()
        self.seams = Seams()
        self.chain = FakeChain(solid_lag)
        self.nodes = [
            FakeNode(f"node-{number}", self.chain, self.seams, on_broadcast=self._check_durable)
            for number in range(nodes)
        ]
        self.wallet = WalletSeam(wallet, self.seams)
        self.policy = SenderPolicy()
        self.interval_s = 3.0
        self.parts = Parts()
        self.violations: list[str] = []
        self.mining = True
        self.restored = False
        """Whether an older copy of the orders was put back, so that the disk knows less than the chain."""
        self.last_crash: str | None = None
        """The point at which the client died last."""
        self._next_block = self.clock.seconds + SLOT_MS / 1000
        self._life: Life | None = None
        self._reader: sqlite3.Connection | None = None

    @property
    def life(self) -> Life:
        if self._life is None:
            raise RuntimeError("nothing runs")
        return self._life

    @property
    def sender(self) -> Sender:
        return self.life.sender

    # --- starting and dying ---

    async def start(self, parts: Parts | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_pass_over_crashes)
        self.parts = parts or self.parts
        self._life = Life(self, self.parts)
        await self._life.start()

    async def stop(self) -> None:
        if self._life is not None:
            life, self._life = self._life, None
            await life.end()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    async def restart(self) -> None:
        """Start again over the same files, as after a crash."""
        self.last_crash = self.seams.passed[-1] if self.seams.dead else None
        await self.stop()
        self.seams.arm(None)
        await self.start()

    # --- time ---

    async def settle(self) -> None:
        """Let everything run that can run without time passing."""
        loop = asyncio.get_running_loop()
        quiet = 0
        while quiet < 3:
            await asyncio.sleep(0)
            if self.seams.busy:
                await asyncio.sleep(0.0002)
                quiet = 0
            else:
                quiet = 0 if loop._ready else quiet + 1  # type: ignore[attr-defined]

    async def tick(self) -> None:
        """Go on to the next moment at which something happens."""
        await self.settle()
        wake = self.clock.next_wake()
        moments = [moment for moment in (wake, self._next_block if self.mining else None) if moment is not None]
        moment = min(moments, default=self.clock.seconds + 1)
        if self.mining and moment >= self._next_block:
            self._next_block += SLOT_MS / 1000
            self.chain.mine()
        self.clock.jump(moment)
        await self.settle()
        if not self.seams.dead:
            await self.check()

    async def run(self, seconds: float) -> None:
        end = self.clock.seconds + seconds
        while self.clock.seconds < end:
            await self.tick()

    async def until(self, *states: JobState, key: str = "", limit_s: float = 900) -> api.Job:
        """Let time pass until the order is in one of the states."""
        end = self.clock.seconds + limit_s
        await self.settle()
        while (job := await self.job(key)).state not in states:
            if self.clock.seconds > end:
                raise AssertionError(f"{job.key} is still {job.state.value}: {job.waiting}")
            await self.tick()
        return job

    async def attempt(self, act: Coroutine[Any, Any, T]) -> T:
        """Do something that may meet a crash; who waits for a dead process is told."""
        task = asyncio.ensure_future(act)
        while not task.done():
            await self.settle()
            if not task.done() and self.seams.dead:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                raise Crash("the process died meanwhile")
        return await task

    async def job(self, key: str = "") -> api.Job:
        return await self.attempt(self.sender.job(key or self.key))

    async def submit(self, key: str = "", amount_sun: int = 1_000_000, memo: str = "") -> api.Job:
        return await self.attempt(self.sender.submit(order(key or self.key, amount_sun, memo)))

    # --- what must hold ---

    def _check_durable(self, id_: str) -> None:
        """No bytes leave before their txid and the state `sending` are on the disk."""
        found = self.rows("SELECT state FROM builds JOIN jobs ON jobs.key = builds.key WHERE builds.txid = ?", id_)
        if not found or found[0]["state"] in {"accepted", "built", "signed", "cancelled"}:
            self.violations.append(f"{id_[:8]} left while the disk said {found[0]['state'] if found else 'nothing'}")

    def rows(self, query: str, *values: str) -> list[sqlite3.Row]:
        """Read what is on the disk, past the client."""
        if self._reader is None:
            self._reader = sqlite3.connect(self.home / "orders.db")
            self._reader.row_factory = sqlite3.Row
        return self._reader.execute(query, values).fetchall()

    async def check(self) -> None:
        """Hold what the disk says against what the chain says, which the world knows and the client does not.

        Raises:
            Violation: an invariant is broken.
        """
        if self.violations:
            raise Violation(self.violations[0])
        live: dict[str, set[str]] = {}
        for row in self.rows("SELECT jobs.key, state, txid, void FROM jobs JOIN builds ON jobs.key = builds.key"):
            id_, state, key = row["txid"], row["state"], row["key"]
            block = self.chain.find(id_)
            solid = block is not None and block.number <= self.chain.solid_number
            if row["void"] and (id_ in self.wallet.signed or block):
                raise Violation(f"{key}: given up bytes {id_[:8]} are signed or in a block")
            if row["void"]:
                continue
            if state == "paid" and (not solid or id_ in self.chain.failing):
                raise Violation(f"{key} is paid, and the chain does not say so")
            if state == "failed_on_chain" and not (solid and id_ in self.chain.failing):
                raise Violation(f"{key} is failed, and the chain does not say so")
            if state in {"dead", "cancelled"} and (block or (state == "cancelled" and self.was_sent(id_))):
                raise Violation(f"{key} is {state}, and its transaction is in a block or on its way")
            if state == "dead" and id_ in self.chain.pool and self.can_land(id_):
                raise Violation(f"{key} is dead, and its transaction can still be included")
        for row in self.rows("SELECT key, txid FROM builds"):
            if row["txid"] in self.wallet.signed and self.can_land(row["txid"]):
                live.setdefault(row["key"], set()).add(row["txid"])
        for key, ids in live.items():
            if len(ids) > 1:
                raise Violation(f"{key} has {len(ids)} signed transactions that can pay")
        self._check_paid_once()

    def _check_paid_once(self) -> None:
        paid: dict[str, int] = {}
        rows = self.rows("SELECT key, txid FROM builds")
        for row in rows:
            paid[row["key"]] = paid.get(row["key"], 0) + (self.chain.find(row["txid"]) is not None)
        for key, count in paid.items():
            if count > 1:
                raise Violation(f"{key} was paid {count} times")
        for id_ in self.chain.where.keys() - {row["txid"] for row in rows} if not self.restored else ():
            raise Violation(f"{id_[:8]} is in a block, and the disk does not know it")

    def was_sent(self, id_: str) -> bool:
        return any(id_ in node.broadcasts for node in self.nodes)

    def can_land(self, id_: str) -> bool:
        """Whether a block has the transaction, or the next one could."""
        if self.chain.find(id_):
            return True
        row = self.rows("SELECT expiration_ms FROM builds WHERE txid = ?", id_)
        return bool(row) and self.chain.head.time_ms < row[0]["expiration_ms"]

    async def aftermath(self) -> None:
        """Let a stranger send everything again, and half an hour pass: whatever was said must still be true."""
        for node in self.nodes:
            for signed in node.sent.values():
                self.chain.take(signed)
        for _ in range(self.chain.solid_lag + 5):
            self.chain.mine()
            await self.check()

    def payments(self, amount_sun: int) -> int:
        """How many transfers of this amount are in the chain."""
        contracts = [tx.raw_data.contract for block in self.chain.blocks for tx in block.transactions]
        return sum(1 for item in contracts if isinstance(item, Transfer) and item.amount_sun == amount_sun)


def _pass_over_crashes(loop: asyncio.AbstractEventLoop, context: Json) -> None:
    """A task that died with its process is nobody's defect."""
    if not isinstance(context.get("exception"), Crash):
        loop.default_exception_handler(context)


def order(key: str = "order", amount_sun: int = 1_000_000, memo: str = "", wallet: str = "hot") -> api.Order:
    return api.Order(key=key, wallet=wallet, contract=api.Transfer(to=PAYEE, amount_sun=amount_sun), memo=memo)


TIMEOUT = NodeError("no answer in time", Kind.TIMEOUT)
RESET = NodeError("the connection broke", Kind.RESET)
CUT = NodeError("its answer is cut or is not JSON", Kind.GARBLED)
REFUSED = NodeError("cannot be reached", Kind.REFUSED)


def http(status: int) -> NodeError:
    return NodeError(f"HTTP status {status}", Kind.RATE_LIMITED if status == 429 else Kind.HTTP, "", status)


def said(code: str, message: str = "") -> Json:
    return {"result": code == "SUCCESS", "code": code, "message": message}


@contextlib.asynccontextmanager
async def open_wallet(
    home: Path, clock: VirtualClock | None = None, *, known: bool = False
) -> AsyncIterator[WalletService]:
    """A real wallet service with the wallet `hot` of the known words, unlocked; a `known` home has it already."""
    service = WalletService(
        keystore=Keystore(home / "keys", "devnet"),
        store=SignerStore(home / "signer.db"),
        bus=EventBus(),
        clock=clock or VirtualClock(),
        network="devnet",
        policy=Policy(max_tx_sun=0, hourly_limit_sun=0, daily_limit_sun=0),
        boot_id="boot-1",
        kdf_cost=KdfCost(memory_kib=64, iterations=1),
    )
    await service.start()
    try:
        request = wallet_api.ImportWallet(
            name="hot", passphrase=SecretStr("p"), format="words", secret=SecretStr(WORDS)
        )
        if not known:
            await service.import_(request)
        await unlock(service)
        yield service
    finally:
        await service.stop()


async def unlock(service: WalletService) -> None:
    await service.unlock("hot", wallet_api.Unlock(passphrase=SecretStr("p"), lease_s=7 * 86400))
