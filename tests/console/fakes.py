"""A node at the other end of the sockets: daemons of the kit with scripted answers, and the console driven by keys."""

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from textual.events import Key, Paste
from textual.pilot import Pilot

from lucid_tron_console.app import LucidApp
from lucid_tron_console.home import Home
from services.kit.clock import SystemClock
from services.kit.daemon import Service, serving
from services.kit.errors import Conflict, Forbidden, NotFound, Timeout
from services.kit.events import EventBus
from services.kit.http import BASE, Answer, Call, Endpoint
from services.kit.metrics import Metrics
from services.kit.money import Asset
from services.payout import api as payout_api
from services.payout.api import Attempt, LimitUse, Payout, PayoutReason, PayoutState
from services.protocol.address import Address, AddressError
from services.tor import api as tor_api
from services.tron import api as tron_api
from services.tron.api import Block, NetworkStatus
from services.wallet import api as wallet_api
from services.wallet.api import Signer, Wallet, WalletKind, WalletState

START = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
"""When everything in the tests happens."""

WORDS = (
    "abandon ability able about above absent absorb abstract absurd abuse access accident".split()  # noqa: SIM905
)


def address(number: int) -> str:
    """A valid address, always the same for a number."""
    return Address.from_evm(number.to_bytes(20, "big")).base58


class StandingClock(SystemClock):
    """A clock whose wall time stands still."""

    def now(self) -> datetime:
        """Always the same moment."""
        return START


def hop(number: int, nickname: str, country: str | None = "de") -> tor_api.Hop:
    """A relay."""
    return tor_api.Hop(
        nickname=nickname, fingerprint=f"{number:040X}", country=country, bandwidth=number * 1_300_000,
        address=f"127.0.77.{number}", port=9000 + number,
    )  # fmt: skip


def circuit(number: int, isolation: str | None = "rpc-1", **changes: Any) -> tor_api.Circuit:
    """A built circuit."""
    base = tor_api.Circuit(
        id=str(number),
        state=tor_api.CircuitState.BUILT,
        purpose="GENERAL",
        user=f"{isolation}.1" if isolation else None,
        isolation=isolation,
        hops=(hop(1, "Quetzal"), hop(2, "midway", "nl"), hop(3, "calyx2", "us")),
        age_s=360.0,
        rtt_ms=412.0,
        streams=1,
    )
    return base.model_copy(update=changes)


def said(text: str, level: str = "notice") -> tor_api.TorEvent:
    """A line of tor's log."""
    return tor_api.TorEvent(at=START, level=level, text=text)


@dataclass
class FakeTor:
    """Tor as the scripted service tells it."""

    status: tor_api.TorStatus = field(
        default_factory=lambda: tor_api.TorStatus(
            state=tor_api.TorState.OK,
            detail="",
            since=START,
            read_at=START,
            control="/run/tor/control",
            socks="/run/tor/socks",
            version="0.4.8.16",
            uptime_s=266_400,
            bootstrap=tor_api.Bootstrap(percent=100, tag="done", summary="Done"),
            guards=tor_api.GuardCounts(total=2, up=2),
            circuits=tor_api.CircuitCounts(built=2),
            read_bytes=5_200_000_000,
            written_bytes=104_000,
            probe=tor_api.Probe(at=START, ok=True, target="node:443", latency_ms=412.0),
            rotation=tor_api.Rotation(enabled=True, interval_s=600, next_in_s=300.0),
        )
    )
    circuits: dict[str, tor_api.Circuit] = field(
        default_factory=lambda: {"12": circuit(12), "13": circuit(13, "broadcast-1", rtt_ms=88.0, age_s=75.0)}
    )
    streams: tuple[tor_api.Stream, ...] = field(
        default_factory=lambda: tuple(
            tor_api.Stream(id=str(number), state="SUCCEEDED", circuit="12", target="node:443", isolation="rpc-1")
            for number in range(3)
        )
    )
    guards: tuple[tor_api.GuardInfo, ...] = ()
    log: tuple[tor_api.TorEvent, ...] = field(
        default_factory=lambda: (said("Bootstrapped 100% (done): Done"), said("Guard Quetzal is slow", "warn"))
    )
    samples: tuple[tor_api.BandwidthSample, ...] = field(
        default_factory=lambda: tuple(
            tor_api.BandwidthSample(read=1000 * (number % 9 + 30), written=500 * (number % 5)) for number in range(60)
        )
    )
    policy: tor_api.ExitPolicyStatus = field(
        default_factory=lambda: tor_api.ExitPolicyStatus(
            countries=(), excluded_countries=(), excluded_nodes=(), applied=True, exits_total=3, exits_left=3
        )
    )
    names: tuple[str, ...] = ("rpc-1",)
    """Who has asked for a path."""
    reads: int = 0
    """How often the status was asked for."""


@dataclass
class FakeNode:
    """Scripted daemons on real sockets. Tests change its fields and push what changed."""

    home: Home
    wallets: dict[str, Wallet] = field(default_factory=dict)
    passphrases: dict[str, str] = field(default_factory=dict)
    balances: dict[str, int] = field(default_factory=dict)
    payouts: dict[str, Payout] = field(default_factory=dict)
    """By id, oldest first."""
    frozen: bool = False
    forbidden: tuple[str, ...] = ()
    """What a dry run says against every payout."""
    height: int = 76_123_456
    history: tuple[tron_api.Transaction, ...] = ()
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    """Every call that changes something: service, what, body."""
    lose: set[str] = field(default_factory=set)
    """Calls that are carried out and whose answer is then lost, once."""
    endpoint_state: tron_api.EndpointState = tron_api.EndpointState.OK
    endpoint_detail: str = ""
    chain_time: datetime = START
    tor: FakeTor = field(default_factory=FakeTor)
    egress: dict[str, str] = field(default_factory=lambda: {"mode": "loopback", "detail": ""})
    """What the TRON client says of its way out."""
    running: dict[str, contextlib.AsyncExitStack] = field(default_factory=dict)
    buses: dict[str, EventBus] = field(default_factory=dict)

    # Running

    async def start(self, *names: str) -> None:
        """Serve these services, or all that every node has."""
        makers = {"tron": self._tron, "wallet": self._wallet, "payout": self._payout, "tor": self._tor}
        for name in names or ("tron", "wallet", "payout"):
            stack = contextlib.AsyncExitStack()
            self.buses[name] = EventBus()
            service = Service(
                name=name,
                summary="A scripted neighbour.",
                version="0",
                endpoints=makers[name](),
                metrics=Metrics(name),
                bus=self.buses[name],
                clock=StandingClock(),
                details=self._details if name == "tron" else dict,
            )
            await stack.enter_async_context(serving(service, self.home.socket(name)))
            self.running[name] = stack

    async def stop(self, *names: str) -> None:
        """Stop these services, or all."""
        for name in names or tuple(self.running):
            await self.running.pop(name).aclose()

    def _details(self) -> dict[str, Any]:
        return {"egress": self.egress}

    async def start_tor(self) -> None:
        """Have a Tor service as part of the node."""
        self.write_record(tor="lab")
        self.egress = {"mode": "tor", "detail": ""}
        await self.start("tor")

    def write_record(self, network: str = "devnet", tor: str = "off") -> None:
        """Write the home's node.json."""
        run = {"pid": 4242, "restarts": 1, "started_at": START.timestamp()}
        record = {
            "network": network,
            "pid": 4241,
            "devnet_ports": [],
            "tor": {"mode": tor, "socks": "", "control": ""},
            "services": dict.fromkeys(("tron", "wallet", "payout"), run),
        }
        (self.home.path / "node.json").write_text(json.dumps(record))

    # Things

    def add_wallet(
        self, name: str, *, state: WalletState = WalletState.LOCKED, kind: WalletKind = WalletKind.HOT, sun: int = 0
    ) -> Wallet:
        """Have a wallet."""
        wallet = Wallet(
            name=name,
            address=address(1000 + len(self.wallets)),
            kind=kind,
            state=state,
            network="devnet",
            created_at=START - timedelta(days=3),
            unlocked_until=START + timedelta(minutes=14) if state is WalletState.ACTIVE and kind == "hot" else None,
        )
        self.wallets[name] = wallet
        self.passphrases[name] = "correct horse"
        self.balances[wallet.address] = sun
        return wallet

    def add_payout(self, state: PayoutState = PayoutState.PAID, **changes: Any) -> Payout:
        """Have a payout."""
        number = len(self.payouts) + 1
        made = Payout(
            id=f"P-{number}",
            key=f"key-{number}",
            state=state,
            wallet="hot",
            from_address=address(1000),
            to=address(7),
            asset=Asset.TRX,
            amount=number * 1_000_000,
            memo="",
            reason=PayoutReason.CUSTOM,
            check_code="7f3a-91c2",
            created_by="alice",
            created_at=START + timedelta(seconds=number),
            updated_at=START + timedelta(seconds=number),
        ).model_copy(update=changes)
        self.payouts[made.id] = made
        return made

    def change_payout(self, payout_id: str, **changes: Any) -> Payout:
        """Change a payout and push it."""
        payout = self.payouts[payout_id]
        payout = payout.model_copy(update={"updated_at": payout.updated_at + timedelta(seconds=1), **changes})
        self.payouts[payout_id] = payout
        self.push("payout", "payout", payout)
        return payout

    def change_wallet(self, name: str, **changes: Any) -> Wallet:
        """Change a wallet and push it."""
        self.wallets[name] = self.wallets[name].model_copy(update=changes)
        self.push("wallet", "wallet", self.wallets[name])
        return self.wallets[name]

    def push(self, service: str, name: str, model: Any) -> None:
        """Send an event."""
        if service in self.buses:
            self.buses[service].publish(name, model)

    def mine(self, blocks: int = 1) -> None:
        """Make blocks and push the head."""
        self.height += blocks
        self.chain_time += timedelta(seconds=3 * blocks)
        self.push("tron", "network", self.status())

    def status(self) -> NetworkStatus:
        """The chain as the fake tells it."""
        return NetworkStatus(
            network="devnet",
            chain_id="0xb0d4a4f1",
            head=self._block(0),
            solid=self._block(19),
            endpoints=(
                tron_api.Endpoint(
                    name="127.0.0.1:9090",
                    state=self.endpoint_state,
                    detail=self.endpoint_detail,
                    head_number=self.height,
                    solid_number=self.height - 19,
                    latency_ms=4,
                ),
            ),
            read_at=START,
        )

    def _block(self, back: int) -> Block:
        at_ms = int((self.chain_time - timedelta(seconds=3 * back)).timestamp() * 1000)
        return Block(number=self.height - back, id=f"{self.height - back:064x}", time_ms=at_ms)

    def _done(self, service: str, what: str, body: Any = None) -> None:
        """Note a call; lose its answer if the test wants that."""
        self.calls.append((service, what, body))
        if what in self.lose:
            self.lose.discard(what)
            raise Timeout("the answer was lost on its way")

    def count(self, what: str) -> int:
        """How often something was asked for."""
        return sum(call[1] == what for call in self.calls)

    # The TRON client

    def _tron(self) -> list[Endpoint]:
        async def status(_call: Call) -> NetworkStatus:
            return self.status()

        async def stats(_call: Call) -> tron_api.NetworkStats:
            return tron_api.NetworkStats(
                upstream_calls=512, upstream_failures=3, retries=12, cache_hits=93, cache_misses=7, jobs_live=1
            )

        async def account(call: Call) -> tron_api.Account:
            where = call.path["address"]
            return tron_api.Account(
                address=where,
                activated=where in self.balances,
                balance_sun=self.balances.get(where, 0),
                bandwidth_free=600,
                bandwidth_staked=0,
                energy=0,
                endpoint="127.0.0.1:9090",
                read_at=START,
            )

        async def validate(call: Call) -> tron_api.AddressCheck:
            try:
                found = Address.parse(call.body.address)
            except AddressError as error:
                return tron_api.AddressCheck(valid=False, reason=str(error))
            known = found.base58 in self.balances
            return tron_api.AddressCheck(valid=True, base58=found.base58, hex=found.hex, activated=known)

        async def history(call: Call) -> tron_api.History:
            where = call.path["wallet"]
            return tron_api.History(address=where, items=self.history, more=False, endpoint="127.0.0.1:9090")

        network = f"{BASE}/network"
        return [
            Endpoint("GET", f"{network}/status", status, response=NetworkStatus),
            Endpoint("GET", f"{network}/stats", stats, response=tron_api.NetworkStats),
            Endpoint("GET", f"{network}/account/{{address}}", account, response=tron_api.Account),
            Endpoint(
                "POST",
                f"{network}/validate-address",
                validate,
                request=tron_api.ValidateAddress,
                response=tron_api.AddressCheck,
            ),
            Endpoint(
                "GET",
                f"{BASE}/transactions/{{wallet}}/history",
                history,
                query=tron_api.HistoryQuery,
                response=tron_api.History,
            ),
        ]

    # The wallet service

    def signer(self) -> Signer:
        """The signer as the fake tells it."""
        return Signer(
            network="devnet",
            frozen=self.frozen,
            frozen_by="alice" if self.frozen else None,
            frozen_reason="a drill" if self.frozen else None,
            frozen_at=START if self.frozen else None,
            unlocked=sum(wallet.state is WalletState.ACTIVE for wallet in self.wallets.values()),
            signed_today_sun=0,
            daily_limit_sun=0,
        )

    def _known(self, call: Call) -> Wallet:
        wallet = self.wallets.get(call.path["name"])
        if wallet is None:
            raise NotFound(f"no wallet {call.path['name']}")
        return wallet

    def _wallet(self) -> list[Endpoint]:
        async def list_(_call: Call) -> wallet_api.WalletList:
            return wallet_api.WalletList(items=tuple(self.wallets[name] for name in sorted(self.wallets)))

        async def create(call: Call) -> wallet_api.CreatedWallet:
            if call.body.name in self.wallets:
                raise Conflict(f"the name {call.body.name} is taken", field="name")
            wallet = self.add_wallet(call.body.name)
            self.passphrases[wallet.name] = call.body.passphrase.get_secret_value()
            self.push("wallet", "wallet", wallet)
            self._done("wallet", "create", call.body)
            return wallet_api.CreatedWallet(wallet=wallet, words=tuple(WORDS))

        async def bring(call: Call) -> Wallet:
            wallet = self.add_wallet(call.body.name)
            self.push("wallet", "wallet", wallet)
            self._done("wallet", "import", call.body)
            return wallet

        async def watch(call: Call) -> Wallet:
            wallet = self.add_wallet(call.body.name, kind=WalletKind.COLD, state=WalletState.ACTIVE)
            wallet = wallet.model_copy(update={"address": call.body.address})
            self.wallets[wallet.name] = wallet
            self.push("wallet", "wallet", wallet)
            self._done("wallet", "watch", call.body)
            return wallet

        async def unlock(call: Call) -> Wallet:
            wallet = self._known(call)
            if call.body.passphrase.get_secret_value() != self.passphrases[wallet.name]:
                raise Forbidden("the passphrase is wrong", field="passphrase")
            until = START + timedelta(seconds=call.body.lease_s)
            self._done("wallet", "unlock", call.body)
            return self.change_wallet(wallet.name, state=WalletState.ACTIVE, unlocked_until=until)

        async def lock(call: Call) -> Wallet:
            self._done("wallet", "lock", call.path["name"])
            return self.change_wallet(self._known(call).name, state=WalletState.LOCKED, unlocked_until=None)

        async def signer(_call: Call) -> Signer:
            return self.signer()

        async def lock_all(_call: Call) -> Signer:
            for name in self.wallets:
                self.change_wallet(name, state=WalletState.LOCKED, unlocked_until=None)
            self._done("wallet", "lock-all")
            return self.signer()

        def froze(frozen: bool, what: str) -> Callable[[Call], Awaitable[Signer]]:
            async def freeze(call: Call) -> Signer:
                self.frozen = frozen
                self.push("wallet", "signer", self.signer())
                self._done("wallet", what, call.body)
                return self.signer()

            freeze.__name__ = what
            return freeze

        wallets, one, sign = f"{BASE}/wallets", f"{BASE}/wallets/{{name}}", f"{BASE}/signer"
        return [
            Endpoint("GET", wallets, list_, response=wallet_api.WalletList),
            Endpoint(
                "POST", wallets, create, request=wallet_api.CreateWallet, response=wallet_api.CreatedWallet, status=201
            ),
            Endpoint("POST", f"{wallets}/import", bring, request=wallet_api.ImportWallet, response=Wallet, status=201),
            Endpoint("POST", f"{wallets}/watch", watch, request=wallet_api.WatchWallet, response=Wallet, status=201),
            Endpoint("POST", f"{one}/unlock", unlock, request=wallet_api.Unlock, response=Wallet),
            Endpoint("POST", f"{one}/lock", lock, response=Wallet),
            Endpoint("GET", sign, signer, response=Signer),
            Endpoint("POST", f"{sign}/lock", lock_all, response=Signer),
            Endpoint("POST", f"{sign}/freeze", froze(True, "freeze"), request=wallet_api.Freeze, response=Signer),
            Endpoint("POST", f"{sign}/unfreeze", froze(False, "unfreeze"), response=Signer),
        ]

    # The Tor service

    def change_tor(self, **changes: Any) -> None:
        """Change how Tor is and push it."""
        self.tor.status = self.tor.status.model_copy(update=changes)
        self.push("tor", "tor", self.tor.status)

    def change_circuit(self, circuit: tor_api.Circuit) -> None:
        """Change a circuit and push it."""
        self.tor.circuits = {key: one for key, one in self.tor.circuits.items() if key != circuit.id}
        if not circuit.state.over:
            self.tor.circuits[circuit.id] = circuit
        self.push("tor", "circuit", circuit)

    def _tor(self) -> list[Endpoint]:
        tor = self.tor

        async def status(_call: Call) -> tor_api.TorStatus:
            tor.reads += 1
            return tor.status

        async def circuits(_call: Call) -> tor_api.CircuitList:
            return tor_api.CircuitList(items=tuple(tor.circuits.values()), read_at=START)

        async def streams(_call: Call) -> tor_api.StreamList:
            return tor_api.StreamList(items=tor.streams, read_at=START)

        async def guards(_call: Call) -> tor_api.GuardList:
            return tor_api.GuardList(items=tor.guards)

        async def isolation(_call: Call) -> tor_api.IsolationList:
            return tor_api.IsolationList(
                items=tuple(tor_api.Isolation(name=name, user=f"{name}.1", generation=1) for name in tor.names)
            )

        async def lines(_call: Call) -> tor_api.TorLog:
            return tor_api.TorLog(items=tor.log)

        async def bandwidth(_call: Call) -> tor_api.Bandwidth:
            self._done("tor", "bandwidth")
            return tor_api.Bandwidth(samples=tor.samples, earlier=(), read_bytes=1, written_bytes=1, live_s=60.0)

        async def policy(_call: Call) -> tor_api.ExitPolicyStatus:
            return tor.policy

        async def choose(call: Call) -> tor_api.ExitPolicyStatus:
            self._done("tor", "exits", call.body)
            tor.policy = tor.policy.model_copy(update={**call.body.model_dump(), "exits_left": 1})
            return tor.policy

        async def newnym(_call: Call) -> tor_api.NewIdentity:
            self._done("tor", "newnym")
            self.change_tor(newnym_ready_in_s=10.0)
            return tor_api.NewIdentity(rotated=("rpc-1",), ready_in_s=10.0)

        async def close(call: Call) -> tor_api.Circuit:
            self._done("tor", "close", call.path["id"])
            circuit = tor.circuits[call.path["id"]]
            self.change_circuit(circuit.model_copy(update={"state": tor_api.CircuitState.CLOSED}))
            return circuit

        async def rotate(call: Call) -> tor_api.Isolation:
            self._done("tor", "rotate", call.path["name"])
            return tor_api.Isolation(name=call.path["name"], user=f"{call.path['name']}.2", generation=2)

        async def reconnect(_call: Call) -> tor_api.TorStatus:
            self._done("tor", "reconnect")
            return tor.status

        way = f"{BASE}/tor"
        chosen = tor_api.ExitPolicyStatus
        return [
            Endpoint("GET", f"{way}/status", status, response=tor_api.TorStatus),
            Endpoint("GET", f"{way}/circuits", circuits, query=tor_api.ListCircuits, response=tor_api.CircuitList),
            Endpoint("GET", f"{way}/streams", streams, response=tor_api.StreamList),
            Endpoint("GET", f"{way}/guards", guards, response=tor_api.GuardList),
            Endpoint("GET", f"{way}/isolation", isolation, response=tor_api.IsolationList),
            Endpoint("GET", f"{way}/log", lines, response=tor_api.TorLog),
            Endpoint("GET", f"{way}/bandwidth", bandwidth, response=tor_api.Bandwidth),
            Endpoint("GET", f"{way}/exit-policy", policy, response=chosen),
            Endpoint("POST", f"{way}/exit-policy", choose, request=tor_api.ExitPolicy, response=chosen),
            Endpoint("POST", f"{way}/newnym", newnym, response=tor_api.NewIdentity),
            Endpoint("POST", f"{way}/circuits/{{id}}/close", close, response=tor_api.Circuit),
            Endpoint(
                "POST", f"{way}/isolation/{{name}}/rotate", rotate, request=tor_api.Rotate, response=tor_api.Isolation
            ),
            Endpoint("POST", f"{way}/reconnect", reconnect, response=tor_api.TorStatus),
        ]

    # The payout router

    def _payout(self) -> list[Endpoint]:
        async def create(call: Call) -> Answer:
            body: payout_api.CreatePayout = call.body
            same = next((payout for payout in self.payouts.values() if payout.key == body.key), None)
            if same is None:
                fields = body.model_dump()
                same = self.add_payout(PayoutState.RESERVED, **fields, check_code="7f3a-91c2")
                self.push("payout", "payout", same)
            self._done("payout", "create", body)
            return Answer(same, 201)

        async def quote(call: Call) -> payout_api.Quote:
            body: payout_api.PayoutIntent = call.body
            source = self.wallets[body.wallet]
            balance = self.balances[source.address]
            return payout_api.Quote(
                wallet=body.wallet,
                from_address=source.address,
                to=body.to,
                asset=body.asset,
                amount=body.amount,
                balance=balance,
                balance_after=balance - body.amount - 345_000,
                fee_sun=345_000,
                to_activated=body.to in self.balances,
                check_code="7f3a-91c2",
                limits=(
                    LimitUse(name="per payout", limit=500_000_000, used=0, ok=True),
                    LimitUse(name="day", limit=5_000_000_000, used=1_250_000_000, ok=True),
                ),
                forbidden=self.forbidden,
                warnings=(),
                block_number=self.height,
            )

        async def list_(call: Call) -> payout_api.PayoutPage:
            query: payout_api.ListPayouts = call.query
            found = [payout for payout in reversed(self.payouts.values()) if self._fits(payout, query)]
            if query.before:
                ids = [payout.id for payout in found]
                found = found[ids.index(query.before) + 1 :]
            page = found[: query.limit]
            return payout_api.PayoutPage(items=tuple(page), next=page[-1].id if len(found) > len(page) else None)

        async def stats(_call: Call) -> payout_api.PayoutStats:
            by_state: dict[str, int] = {}
            for payout in self.payouts.values():
                by_state[payout.state.value] = by_state.get(payout.state.value, 0) + 1
            return payout_api.PayoutStats(by_state=by_state, paid_today={"TRX": 1_250_000_000}, limits=())

        def one(call: Call) -> Payout:
            payout = self.payouts.get(call.path["id"])
            if payout is None:
                raise NotFound(f"no payout {call.path['id']}")
            return payout

        async def get(call: Call) -> Payout:
            return one(call)

        async def cancel(call: Call) -> Payout:
            payout = one(call)
            if payout.state not in {PayoutState.RESERVED, PayoutState.APPROVED}:
                raise Conflict(f"{payout.id} is {payout.state}: it can no longer be cancelled")
            self._done("payout", "cancel", payout.id)
            return self.change_payout(payout.id, state=PayoutState.CANCELLED)

        async def retry(call: Call) -> payout_api.RetriedPayout:
            payout = one(call)
            self._done("payout", "retry", payout.id)
            if payout.state is PayoutState.DEAD:
                payout = self.change_payout(payout.id, state=PayoutState.RESERVED, attempt=payout.attempt + 1)
                return payout_api.RetriedPayout(payout=payout, act="new_attempt", message="attempt 2 is on its way")
            return payout_api.RetriedPayout(payout=payout, act="same_bytes", message="to one endpoint")

        async def accept(call: Call) -> Payout:
            self._done("payout", "accept-death", call.body.txid)
            return self.change_payout(one(call).id, state=PayoutState.DEAD)

        many, single = f"{BASE}/payouts", f"{BASE}/payouts/{{id}}"
        return [
            Endpoint("POST", many, create, request=payout_api.CreatePayout, response=Payout, status=201, also=(200,)),
            Endpoint("POST", f"{many}/quote", quote, request=payout_api.PayoutIntent, response=payout_api.Quote),
            Endpoint("GET", many, list_, query=payout_api.ListPayouts, response=payout_api.PayoutPage),
            Endpoint("GET", f"{many}/stats", stats, response=payout_api.PayoutStats),
            Endpoint("GET", single, get, response=Payout),
            Endpoint("POST", f"{single}/cancel", cancel, response=Payout),
            Endpoint("POST", f"{single}/retry", retry, response=payout_api.RetriedPayout),
            Endpoint("POST", f"{single}/accept-death", accept, request=payout_api.AcceptDeath, response=Payout),
        ]

    @staticmethod
    def _fits(payout: Payout, query: payout_api.ListPayouts) -> bool:
        text = query.text or ""
        return (
            (query.state is None or payout.state is query.state)
            and (query.open is None or query.open is not payout.state.final)
            and (query.wallet is None or payout.wallet == query.wallet)
            and any(text in part for part in (payout.id, payout.key, payout.memo, payout.to))
        )


def attempt(**changes: Any) -> Attempt:
    """An attempt that was sent and has not been seen."""
    base = Attempt(
        number=1,
        state="sending",
        txid="ab" * 32,
        expiration_ms=int((START + timedelta(seconds=120)).timestamp() * 1000),
        sends=2,
        answers=("127.0.0.1:9090 said SUCCESS",),
    )
    return base.model_copy(update=changes)


class Seconds:
    """Monotonic seconds that stand still until a test moves them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def until(condition: Callable[[], object], what: str = "", timeout_s: float = 5.0) -> None:
    """Wait until something is so; fail with words when it never is."""
    end = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        if asyncio.get_running_loop().time() > end:
            raise AssertionError(f"never happened: {what}")
        await asyncio.sleep(0.01)


class Driver:
    """The console in a test: keys go in, the screen's text comes out."""

    def __init__(self, app: LucidApp, pilot: Pilot[Any]) -> None:
        self.app = app
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        """Press keys by Textual's names, all in one burst, as they come over a slow link."""
        for key in keys:
            self.app.post_message(Key(key, key if len(key) == 1 else CHARACTERS.get(key)))
        await self.app.wait_for_keys()

    async def type(self, text: str) -> None:
        """Type a text."""
        await self.press(*[NAMES.get(character, character) for character in text])

    async def paste(self, text: str) -> None:
        """Paste a text."""
        self.app.post_message(Paste(text))
        await self.app.wait_for_keys()

    def screen(self) -> str:
        """What stands on the screen now, line by line."""
        lines = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text for strip in lines)

    async def see(self, *texts: str) -> str:
        """Wait until all the texts are on the screen together; returns the screen."""
        try:
            await until(lambda: all(text in self.screen() for text in texts))
        except AssertionError:
            missing = [text for text in texts if text not in self.screen()]
            raise AssertionError(f"{missing} never came on the screen:\n{self.screen()}") from None
        return self.screen()

    async def gone(self, text: str) -> str:
        """Wait until a text has left the screen."""
        try:
            await until(lambda: text not in self.screen())
        except AssertionError:
            raise AssertionError(f"{text!r} never left the screen:\n{self.screen()}") from None
        return self.screen()

    async def ready(self) -> None:
        """Wait until every service was read."""
        feeds = self.app.backend.snapshot.feeds
        await until(lambda: all(feed.open for feed in self.app.backend.snapshot.feeds.values()), f"streams {feeds}")
        await until(lambda: len(self.app.backend.snapshot.balances) >= len(self.app.backend.snapshot.wallets or ()))
        await self.pilot.pause()


NAMES = {
    " ": "space",
    ".": "full_stop",
    "-": "minus",
    ":": "colon",
    "/": "slash",
    "?": "question_mark",
    "_": "underscore",
}
"""Textual's names of characters that are not letters or digits."""

CHARACTERS = {name: character for character, name in NAMES.items()}
"""The other way round."""

HOSTILE = "\x1b]52;c;aGFjaw==\x07\x1b[2J\x9b31m\u202egnorw\u202c\u200bx[bold]y[/bold][true]\r\n\x07"
"""A text that would write the clipboard, clear the screen, turn text around, and break markup."""

FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
"""What must never reach a screen."""
