"""The console's data, without any user interface: one client and one event stream per service, and a frozen snapshot.

While a stream is open nothing is polled: the daemons push. When it breaks, the last values stay, and the backend
comes back for ever with growing pauses. It tells one listener what changed; who draws it is not its business.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from pydantic import BaseModel, ConfigDict

from lucid_tron_console import probe
from lucid_tron_console.home import Home, NodeRecord
from lucid_tron_console.tor_picture import TorPicture
from services.kit.errors import Invalid, LucidError, Unavailable, UpstreamError
from services.payout.api import ListPayouts, Payout, PayoutStats
from services.tor.api import BandwidthSample as Sample
from services.tor.api import Circuit, ExitPolicy, Isolation, Stream, TorEvent, TorStatus
from services.tron.api import Account, NetworkStats, NetworkStatus
from services.wallet.api import Signer, Wallet

# The clients bring an HTTP library along, a third of the time to the first frame: they are loaded behind it.
if TYPE_CHECKING:
    from services.kit.client import Client
    from services.payout.client import PayoutClient
    from services.tor.client import TorClient
    from services.tron.client import TronClient
    from services.wallet.client import WalletClient

ServiceName = Literal["tron", "wallet", "payout", "tor"]

SERVICES: Final[tuple[ServiceName, ...]] = ("tron", "wallet", "payout")
"""The daemons that every node has; `tor` comes on top where the node goes out through it."""

STALE_S: Final = 16.0
"""Daemons give a sign of life every 5 s: after more than three missed ones their values are stale."""

CHAIN_STALE_S: Final = 15.0
"""TRON makes a block every 3 s: without a new head for this long the chain's values are stale."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
"""Between attempts to come back: doubled from the first to the longest."""

BALANCE_PAUSE_S: Final = 2.0
"""Balances are read at most this often, however fast blocks come."""

MOST_BALANCES: Final = 40
"""Wallets whose balance is kept fresh; the others show it in their detail."""

Topic = Literal["feeds", "wallets", "network", "stats", "payouts", "balances", "daemons", "tor"]
"""What changed."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something in the snapshot changed."""

    topic: Topic
    item: object = None
    """The thing itself, where one thing changed: a Payout."""


class Link(StrEnum):
    """How well a service is heard."""

    WAIT = "..."
    """Not heard yet, since the console has just started."""
    OK = "OK"
    STALE = "STALE"
    """It was heard, and then fell silent; it may only be slow."""
    DOWN = "DOWN"
    """Nothing answers at its socket."""


@dataclass(frozen=True, slots=True)
class Feed:
    """How the stream of one service stands."""

    service: ServiceName
    open: bool = False
    """Whether the stream is up now."""
    reachable: bool = True
    """Whether something listens at the socket, as far as known."""
    heard_at: float | None = None
    """Monotonic seconds of the last sign of life."""
    last_good: datetime | None = None
    """The same in UTC, for people."""
    retry_at: float | None = None
    """Monotonic seconds of the next attempt; None while connected or trying."""
    attempts: int = 0
    """Failed attempts since the last success."""
    error: str = ""
    """Why it is not connected."""

    def link(self, now: float) -> Link:
        """Judge the feed at monotonic second `now`."""
        if not self.reachable:
            return Link.DOWN
        if self.heard_at is None:
            return Link.WAIT if not self.attempts else Link.STALE
        return Link.OK if self.open and now - self.heard_at <= STALE_S else Link.STALE

    def age_s(self, now: float) -> float | None:
        """Seconds since the last sign of life; None: there was none."""
        return None if self.heard_at is None else max(0.0, now - self.heard_at)


class Daemon(BaseModel):
    """What runs behind a socket, in the part of its `/status` that the console shows."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pid: int
    version: str
    started_at: datetime
    checks: dict[str, str]
    """What it depends on: `ok`, or words that say what is wrong."""
    details: dict[str, Any] = {}
    """Whatever else it says of itself."""

    @property
    def egress(self) -> tuple[str, str]:
        """How its calls leave (`tor`, `loopback`, `clear`; empty: it does not say), and what is wrong with that."""
        found = self.details.get("egress")
        found = found if isinstance(found, dict) else {}
        return str(found.get("mode") or ""), str(found.get("detail") or "")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the screens show, as of now. Never changed, only replaced."""

    feeds: Mapping[ServiceName, Feed] = field(default_factory=lambda: {name: Feed(name) for name in SERVICES})
    daemons: Mapping[ServiceName, Daemon] = field(default_factory=dict)
    wallets: tuple[Wallet, ...] | None = None
    """None until they were read once."""
    signer: Signer | None = None
    network: NetworkStatus | None = None
    head_at: float | None = None
    """Monotonic second at which the console saw the newest head."""
    stats: NetworkStats | None = None
    balances: Mapping[str, Account] = field(default_factory=dict)
    """By address."""
    payouts: Mapping[str, Payout] = field(default_factory=dict)
    """By id: all open ones, and those that changed lately."""
    payouts_read: bool = False
    payout_stats: PayoutStats | None = None
    node: NodeRecord = field(default_factory=NodeRecord)
    tor: TorPicture = field(default_factory=TorPicture)

    @property
    def has_tor(self) -> bool:
        """Whether a Tor service is part of this node."""
        return "tor" in self.feeds

    @property
    def clear(self) -> str:
        """Why calls leave past Tor, in words; empty when none does."""
        tron = self.daemons.get("tron")
        mode, detail = tron.egress if tron else ("", "")
        return (detail or "calls to the TRON network go past Tor") if mode == "clear" else ""

    @property
    def open_payouts(self) -> tuple[Payout, ...]:
        """Those that are not final, newest first."""
        return tuple(
            sorted((p for p in self.payouts.values() if not p.state.final), key=lambda p: p.created_at, reverse=True)
        )

    def wallet(self, name: str) -> Wallet | None:
        """The wallet of that name, if it is known."""
        return next((wallet for wallet in self.wallets or () if wallet.name == name), None)

    def chain(self, now: float) -> Link:
        """How fresh the chain's values are."""
        feed = self.feeds["tron"]
        link = feed.link(now)
        if link is not Link.OK:
            return link
        if self.network is None or self.network.head is None or self.head_at is None:
            return Link.WAIT
        return Link.OK if now - self.head_at <= CHAIN_STALE_S else Link.STALE

    def chain_age_s(self, now: float) -> float | None:
        """Seconds since the console saw a new head; None: it saw none."""
        return None if self.head_at is None else max(0.0, now - self.head_at)


@dataclass(frozen=True, slots=True)
class _Clients:
    """One long-lived client per service."""

    tron: "TronClient"
    wallet: "WalletClient"
    payout: "PayoutClient"
    tor: "TorClient"

    def by_name(self) -> "dict[ServiceName, Client]":
        return {"tron": self.tron, "wallet": self.wallet, "payout": self.payout, "tor": self.tor}


def _open_clients(home: Home) -> _Clients:
    """Load the clients' modules and make one of each."""
    from services.payout.client import PayoutClient  # noqa: PLC0415
    from services.tor.client import TorClient  # noqa: PLC0415
    from services.tron.client import TronClient  # noqa: PLC0415
    from services.wallet.client import WalletClient  # noqa: PLC0415

    return _Clients(
        TronClient(home.socket("tron")),
        WalletClient(home.socket("wallet")),
        PayoutClient(home.socket("payout")),
        TorClient(home.socket("tor")),
    )


Listener = Callable[[Change], None]


class Backend:
    """Keeps the snapshot true, and carries out what an operator orders."""

    def __init__(
        self,
        home: Home,
        listener: Listener,
        monotonic: Callable[[], float] = time.monotonic,
        utcnow: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare for the daemons of `home`; nothing is opened before `start`."""
        self.home = home
        self.snapshot = Snapshot()
        self.now = monotonic
        self._utcnow = utcnow
        self._tell = listener
        self._clients: _Clients | None = None
        self._retry: dict[ServiceName, asyncio.Event] = {name: asyncio.Event() for name in (*SERVICES, "tor")}
        self._tor_task: asyncio.Task[None] | None = None
        self._balances_wanted = asyncio.Event()
        self._stats_wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Open the streams; returns at once, and the listener hears of what comes."""
        self.read_node()
        self._clients = await asyncio.to_thread(_open_clients, self.home)
        self._follow_tor()
        jobs: list[Coroutine[Any, Any, None]] = [self._follow(name) for name in SERVICES]
        jobs += [self._keep_balances(), self._keep_payout_stats()]
        self._tasks = [asyncio.create_task(job) for job in jobs]

    async def stop(self) -> None:
        """Close every stream and connection."""
        tasks = [*self._tasks, *([self._tor_task] if self._tor_task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._clients is not None:
            for client in self._clients.by_name().values():
                await client.close()

    def _open(self) -> "_Clients":
        if self._clients is None:
            raise Unavailable("the console has only just started: try again")
        return self._clients

    @property
    def tron(self) -> "TronClient":
        """The TRON client; raises Unavailable in the first moments."""
        return self._open().tron

    @property
    def wallet(self) -> "WalletClient":
        """The wallet service; raises Unavailable in the first moments."""
        return self._open().wallet

    @property
    def payout(self) -> "PayoutClient":
        """The payout router; raises Unavailable in the first moments."""
        return self._open().payout

    @property
    def tor(self) -> "TorClient":
        """The Tor service; raises Unavailable where this node has none."""
        if not self.snapshot.has_tor:
            raise Unavailable("Tor is not part of this node: lucid-tron up --tor lab brings it")
        return self._open().tor

    def retry_now(self) -> tuple[ServiceName, ...]:
        """Try every lost service at once; returns which."""
        lost = tuple(name for name, feed in self.snapshot.feeds.items() if not feed.open)
        for name in lost:
            self._retry[name].set()
        return lost

    def read_node(self) -> None:
        """Read the home's `node.json` again: network, devnet, restarts. A file that cannot be read changes nothing."""
        with contextlib.suppress(LucidError):
            self._set("daemons", node=self.home.record())
        self._follow_tor()

    def _follow_tor(self) -> None:
        """Begin or end the Tor service's stream: the node may have been started again with or without it."""
        node = self.snapshot.node
        # Without a node.json (each service in a container of its own) only the socket tells.
        wanted = "tor" in node.tor.services if node.network else self.home.socket("tor").exists()
        if asyncio.current_task() is self._tor_task is not None:
            return
        if wanted and self._tor_task is None and self._clients is not None:
            self._feed(Feed("tor"))
            self._tor_task = asyncio.create_task(self._follow("tor"))
        elif not wanted and self._tor_task is not None:
            self._tor_task.cancel()
            self._tor_task = None
            left = {name: feed for name, feed in self.snapshot.feeds.items() if name != "tor"}
            self._set("tor", feeds=MappingProxyType(left), tor=TorPicture())

    # Streams

    async def _follow(self, name: ServiceName) -> None:
        """Keep the stream of one service, for ever."""
        from services.kit.client import follow  # noqa: PLC0415 - as with the clients

        client = self._open().by_name()[name]
        while True:
            following = cast("AsyncGenerator[Any, None]", follow(client, wait=partial(self._lost, name)))
            try:
                async with contextlib.aclosing(following) as events:
                    async for event in events:
                        await self._hear(name, event.name, event.data)
            except LucidError as error:
                # It streams, and what it says cannot be read: as good as lost, and read anew from the beginning.
                await self._lost(name, error)

    async def _hear(self, name: ServiceName, event: str, data: str) -> None:
        if not self.snapshot.feeds[name].open:
            await self._read_daemon(name)
        if event == "reset":
            await self._read(name)
        self._heard(name)
        if event not in {"ping", "reset"}:
            await self._take(name, event, data)

    def _heard(self, name: ServiceName) -> None:
        feed = self.snapshot.feeds[name]
        now = self.now()
        quiet = feed.open and feed.link(now) is Link.OK
        self._feed(
            replace(
                feed,
                open=True,
                reachable=True,
                heard_at=now,
                last_good=self._utcnow(),
                retry_at=None,
                attempts=0,
                error="",
            ),
            tell=not quiet,
        )
        if not feed.open:
            self._balances_wanted.set()

    async def _lost(self, name: ServiceName, error: LucidError) -> None:
        """Show why a service is not heard, and wait before the next attempt: longer each time, or until `retry_now`."""
        reachable = await _listens(self.home, name)
        feed = self.snapshot.feeds[name]
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(feed.attempts, 10))
        self._feed(
            replace(
                feed,
                open=False,
                reachable=reachable,
                retry_at=self.now() + pause_s,
                attempts=feed.attempts + 1,
                error=error.message,
            )
        )
        self._retry[name].clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._retry[name].wait(), pause_s)

    def _feed(self, feed: Feed, *, tell: bool = True) -> None:
        feeds = MappingProxyType({**self.snapshot.feeds, feed.service: feed})
        self.snapshot = replace(self.snapshot, feeds=feeds)
        if tell:
            self._tell(Change("feeds"))

    # Reading

    async def _read_daemon(self, name: ServiceName) -> None:
        daemon = await self._open().by_name()[name].request("GET", "/status", Daemon)
        self.read_node()
        self._set("daemons", daemons=MappingProxyType({**self.snapshot.daemons, name: daemon}))

    async def _read(self, name: ServiceName) -> None:
        """Read all that the console shows of one service."""
        match name:
            case "tron":
                self._take_network(await self.tron.network_status())
                self._set("stats", stats=await self.tron.stats())
            case "wallet":
                self._set("wallets", wallets=(await self.wallet.list()).items, signer=await self.wallet.signer())
                self._balances_wanted.set()
            case "payout":
                await self._read_payouts()
            case "tor":
                await self._read_tor()

    async def _read_tor(self) -> None:
        client = self._open().tor
        status = await client.tor()
        picture = TorPicture().with_status(status, self.now())
        picture = picture.with_circuits((await client.circuits()).items, self.now())
        picture = picture.with_streams((await client.streams()).items)
        picture = replace(
            picture,
            guards=(await client.guards()).items,
            isolations=MappingProxyType({one.name: one for one in (await client.isolations()).items}),
            log=(await client.log()).items,
            policy=await client.exit_policy(),
            samples=self.snapshot.tor.samples,
            seconds=self.snapshot.tor.seconds,
        )
        self._set("tor", tor=picture)

    async def _read_payouts(self) -> None:
        page = await self.payout.list(ListPayouts(open=True, limit=200))
        stats = await self.payout.stats()
        payouts = MappingProxyType({payout.id: payout for payout in page.items})
        self._set("payouts", payouts=payouts, payouts_read=True, payout_stats=stats)

    async def _take(self, name: ServiceName, event: str, data: str) -> None:
        """Take one event into the snapshot; an unknown kind is passed over, an unreadable one makes it read."""
        try:
            match name, event:
                case "tron", "network":
                    self._take_network(NetworkStatus.model_validate_json(data))
                case "wallet", "wallet":
                    self._take_wallet(Wallet.model_validate_json(data))
                case "wallet", "signer":
                    self._set("wallets", signer=Signer.model_validate_json(data))
                case "payout", "payout":
                    self._take_payout(Payout.model_validate_json(data))
                case "tor", _:
                    await self._take_tor(event, data)
        except ValueError:
            await self._read(name)

    async def _take_tor(self, event: str, data: str) -> None:
        picture = self.snapshot.tor
        match event:
            case "tor":
                status = TorStatus.model_validate_json(data)
                before = picture.status
                if before is None or before.state.connected is not status.state.connected:
                    await self._read_tor()
                    return
                picture = picture.with_status(status, self.now())
                if before.guards != status.guards:
                    picture = replace(picture, guards=(await self._open().tor.guards()).items)
                if before.state is not status.state:
                    picture = replace(picture, policy=await self._open().tor.exit_policy())
            case "circuit":
                picture = picture.with_circuit(Circuit.model_validate_json(data), self.now())
            case "stream":
                picture = picture.with_stream(Stream.model_validate_json(data))
            case "isolation":
                moved = Isolation.model_validate_json(data)
                picture = picture.with_isolation(moved)
                if moved.reason == "policy":  # somebody chose exits: there is no event for it
                    picture = replace(picture, policy=await self._open().tor.exit_policy())
            case "bandwidth":
                picture = picture.with_sample(Sample.model_validate_json(data))
            case "log":
                picture = picture.with_line(TorEvent.model_validate_json(data))
            case _:
                return
        self._set("tor", tor=picture)

    async def watch_bandwidth(self) -> float:
        """Ask for traffic by the second; returns how many seconds of it will be pushed.

        Raises:
            Unavailable, Timeout: there is no tor, or the service cannot be asked.
        """
        found = await self.tor.bandwidth()
        self._set("tor", tor=replace(self.snapshot.tor, samples=found.samples))
        return found.live_s

    async def set_exit_policy(self, policy: ExitPolicy) -> None:
        """Choose exits, and show what that leaves.

        Raises:
            Forbidden: only an admin may.
            Conflict, Unavailable, Timeout: it could not be done.
        """
        found = await self.tor.set_exit_policy(policy)
        self._set("tor", tor=replace(self.snapshot.tor, policy=found))

    def _take_network(self, status: NetworkStatus) -> None:
        before = self.snapshot.network
        moved = status.head is not None and (before is None or before.head is None or before.head.id != status.head.id)
        head_at = self.now() if moved else self.snapshot.head_at
        self._set("network", network=status, head_at=head_at)
        if moved:
            self._balances_wanted.set()

    def _take_wallet(self, wallet: Wallet) -> None:
        others = [known for known in self.snapshot.wallets or () if known.name != wallet.name]
        fresh = len(others) == len(self.snapshot.wallets or ())
        self._set("wallets", wallets=tuple(sorted([*others, wallet], key=lambda item: item.name)))
        if fresh:
            self._balances_wanted.set()

    def take_payout(self, payout: Payout) -> None:
        """Take an answer about a payout as if it had been pushed."""
        self._take_payout(payout)

    def _take_payout(self, payout: Payout) -> None:
        known = self.snapshot.payouts.get(payout.id)
        if known is not None and known.updated_at > payout.updated_at:
            return  # an event that was under way while the newer state was read
        kept = {key: value for key, value in self.snapshot.payouts.items() if key != payout.id}
        final = [key for key, value in kept.items() if value.state.final]
        for key in final[:-50]:
            del kept[key]
        self._set("payouts", payout, payouts=MappingProxyType({**kept, payout.id: payout}))
        if payout.state.final:
            self._stats_wanted.set()

    def _set(self, topic: Topic, item: object = None, /, **values: Any) -> None:
        self.snapshot = replace(self.snapshot, **values)
        self._tell(Change(topic, item))

    # Balances and counters follow what was pushed

    async def _keep_balances(self) -> None:
        """Read the wallets' accounts when the head or the wallets changed, and not more often than that."""
        while True:
            await self._balances_wanted.wait()
            self._balances_wanted.clear()
            wallets = (self.snapshot.wallets or ())[:MOST_BALANCES]
            if not wallets or not self.snapshot.feeds["tron"].open:
                continue  # whichever of the two comes last asks again
            limit = asyncio.Semaphore(4)
            await asyncio.gather(*(self._read_balance(wallet.address, limit) for wallet in wallets))
            self._tell(Change("balances"))
            await asyncio.sleep(BALANCE_PAUSE_S)

    async def _read_balance(self, address: str, limit: asyncio.Semaphore) -> None:
        async with limit:
            with contextlib.suppress(LucidError):  # the last value stays, and the feed tells that it is old
                account = await self.tron.account(address)
                balances = MappingProxyType({**self.snapshot.balances, address: account})
                self.snapshot = replace(self.snapshot, balances=balances)

    async def _keep_payout_stats(self) -> None:
        while True:
            await self._stats_wanted.wait()
            await asyncio.sleep(0.5)  # several payouts often end in the same block
            self._stats_wanted.clear()
            with contextlib.suppress(LucidError):
                self._set("stats", payout_stats=await self.payout.stats())

    async def refresh_stats(self) -> None:
        """Read counters and checks: they have no event, so the screen that shows them asks.

        Raises:
            Unavailable, Timeout: a service cannot be asked.
        """
        for name, feed in self.snapshot.feeds.items():
            if feed.open:
                await self._read_daemon(name)
        self._set("stats", stats=await self.tron.stats())

    async def refresh_balance(self, address: str) -> Account:
        """Read one account now.

        Raises:
            Unavailable, Timeout: the service cannot be asked.
        """
        account = await self.tron.account(address)
        balances = MappingProxyType({**self.snapshot.balances, address: account})
        self._set("balances", balances=balances)
        return account

    # The devnet's faucet

    async def faucet(self, address: str, amount_sun: int) -> str:
        """Ask the home's devnet for play money; returns the txid.

        Raises:
            Invalid: this home is not on the devnet.
            Unavailable: its devnet cannot be reached.
        """
        self.read_node()
        node = self.snapshot.node
        if node.network != "devnet" or node.devnet_url is None:
            raise Invalid("there is a faucet on the devnet only")
        body = {"address": address, "amount_sun": amount_sun}
        answer = await asyncio.to_thread(probe.ask, node.devnet_url, "/admin/faucet", method="POST", body=body)
        txid = answer.get("txid") if isinstance(answer, dict) else None
        if not isinstance(txid, str):
            raise UpstreamError("the devnet's faucet answered without a txid")
        return txid


async def _listens(home: Home, name: ServiceName) -> bool:
    """Whether something accepts connections at the service's socket: it tells a slow daemon from a dead one."""
    try:
        async with asyncio.timeout(2):
            _, writer = await asyncio.open_unix_connection(home.socket(name))
    except TimeoutError:
        return True  # a full backlog: somebody is there, and does not take calls
    except OSError:
        return False
    writer.close()
    return True


def unknown_outcome(error: LucidError) -> bool:
    """Whether an order that failed like this may still have been carried out."""
    return isinstance(error, Unavailable | UpstreamError) or error.status in {500, 504}
