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
    running: dict[str, contextlib.AsyncExitStack] = field(default_factory=dict)
    buses: dict[str, EventBus] = field(default_factory=dict)

    # Running

    async def start(self, *names: str) -> None:
        """Serve these services, or all."""
        makers = {"tron": self._tron, "wallet": self._wallet, "payout": self._payout}
        for name in names or tuple(makers):
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
            )
            await stack.enter_async_context(serving(service, self.home.socket(name)))
            self.running[name] = stack

    async def stop(self, *names: str) -> None:
        """Stop these services, or all."""
        for name in names or tuple(self.running):
            await self.running.pop(name).aclose()

    def write_record(self, network: str = "devnet") -> None:
        """Write the home's node.json."""
        run = {"pid": 4242, "restarts": 1, "started_at": START.timestamp()}
        record = {
            "network": network,
            "pid": 4241,
            "devnet_ports": [],
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
