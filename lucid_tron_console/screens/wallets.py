"""Wallets: the list, and one wallet in full."""

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical

from lucid_tron_console.backend import Change, Link
from lucid_tron_console.commands import (
    Command,
    CreateWallet,
    FundWallet,
    ImportWallet,
    LockWallet,
    UnlockWallet,
    WatchWallet,
)
from lucid_tron_console.dialogs.fund import FundDialog
from lucid_tron_console.dialogs.unlock import UnlockDialog
from lucid_tron_console.dialogs.wallets import CreateWalletDialog, ImportWalletDialog, WatchWalletDialog, WordsDialog
from lucid_tron_console.format import (
    Line,
    Span,
    Tone,
    chain_time,
    clean,
    columns,
    count,
    groups,
    line,
    money,
    short,
    short_txid,
    stale,
    utc_full,
)
from lucid_tron_console.screens.base import ConsoleScreen
from lucid_tron_console.screens.rows import balance_span, wallet_state
from lucid_tron_console.widgets.lines import Lines, Listing, set_title
from services.kit.errors import LucidError
from services.tron.api import History, HistoryQuery, Transaction, TxState
from services.wallet.api import CreatedWallet, Wallet, WalletKind, WalletState


class _WalletCommands(ConsoleScreen):
    """What can be done with a wallet, in the list and in its detail."""

    NUMBER = 2
    TAKES: ClassVar[tuple[type[Command], ...]] = (UnlockWallet, LockWallet, FundWallet)

    def chosen(self) -> Wallet | None:
        """The wallet that the commands are about."""
        return None

    def _named(self, argument: str) -> Wallet | None:
        wallet = self.snapshot.wallet(argument) if argument else self.chosen()
        if wallet is None:
            self.say(f"no wallet {argument!r}" if argument else "no wallet is chosen", "warn")
        return wallet

    def selected_text(self) -> str:
        """The chosen wallet's full address."""
        wallet = self.chosen()
        return wallet.address if wallet else ""

    def command_unlock_wallet(self, argument: str) -> None:
        """Ask for the passphrase."""
        wallet = self._named(argument)
        if wallet is None:
            return
        if wallet.kind is WalletKind.COLD:
            self.say(f"{wallet.name} is watch-only: its key is elsewhere, there is nothing to unlock", "warn")
            return
        self.app.push_screen(UnlockDialog(wallet.name))

    def command_lock_wallet(self, argument: str) -> None:
        """Lock it now."""
        wallet = self._named(argument)
        if wallet is not None:
            if wallet.kind is WalletKind.COLD:
                self.say(f"{wallet.name} is watch-only: there is nothing to lock", "warn")
                return
            self.attempt(lambda: self._lock(wallet.name))

    async def _lock(self, name: str) -> None:
        wallet = await self.backend.wallet.lock(name)
        self.say(f"{wallet.name} is {wallet.state.value}", "ok" if wallet.state is WalletState.LOCKED else "warn")

    def command_fund_wallet(self, argument: str) -> None:
        """Ask for the amount."""
        wallet = self._named(argument)
        if wallet is None:
            return
        if self.settings.network != "devnet":
            self.say(f"there is a faucet on the devnet only, not on {self.settings.network}", "warn")
            return
        self.app.push_screen(FundDialog(wallet.name, wallet.address))


class WalletsScreen(_WalletCommands):
    """Every wallet: its address in short, whether it can sign, and its balance."""

    TAKES: ClassVar[tuple[type[Command], ...]] = (CreateWallet, ImportWallet, WatchWallet)

    def __init__(self) -> None:
        super().__init__()
        self._filter = ""

    def body(self) -> ComposeResult:
        """A list with names of columns."""
        with Vertical(id="list-panel", classes="panel"):
            yield Lines(id="list-head")
            yield Listing(id="list")

    def begin(self) -> None:
        """Start on the list."""
        super().begin()
        self.set_focus(self.query_one("#list"))

    def wallets(self) -> tuple[Wallet, ...]:
        """Those that match the filter."""
        text = self._filter.lower()
        known = self.snapshot.wallets or ()
        return tuple(w for w in known if text in f"{w.name} {w.address.lower()} {w.kind} {w.state}")

    def chosen(self) -> Wallet | None:
        """The wallet under the cursor."""
        wallets = self.wallets()
        cursor = self.query_one("#list", Listing).cursor
        return wallets[cursor] if cursor < len(wallets) else None

    def paint(self) -> None:
        """Fill the list."""
        wallets = self.wallets()
        filtered = f" matching {self._filter!r}" if self._filter else ""
        set_title(self.query_one("#list-panel"), f"Wallets ({len(wallets)}{filtered})")
        head = columns(
            [
                (Span(word, "dim"), size)
                for word, size in (("name", 14), ("address", 14), ("kind", 5), ("state", 15), ("balance", -20))
            ]
        )
        self.query_one("#list-head", Lines).show([head])
        listing = self.query_one("#list", Listing)
        if wallets:
            listing.show(len(wallets), self._row)
        elif self.snapshot.wallets is None:
            listing.show_lines([line(Span("not read yet", "dim"))])
        elif self._filter:
            listing.show_lines([line(Span("no wallet matches; Esc takes the filter away", "dim"))])
        else:
            listing.show_lines(
                [(), line(Span("No wallets yet. c creates one, i imports one, w watches an address.", "dim"))]
            )

    def _row(self, row: int, _cells: int) -> Line:
        wallet = self.wallets()[row]
        return columns(
            [
                (clean(wallet.name), 14),
                (short(clean(wallet.address)), 14),
                (wallet.kind.value, 5),
                (wallet_state(wallet, self.lucid.utcnow()), 15),
                (balance_span(self.snapshot, wallet.address, self.backend.now()), -20),
            ]
        )

    def filter(self, text: str) -> None:
        """Show wallets that contain the text."""
        self._filter = text
        self.repaint()

    def filter_text(self) -> str:
        """The filter that is set."""
        return self._filter

    def export_rows(self) -> list[dict[str, Any]]:
        """The wallets, with balances in sun."""
        return [
            {
                "name": w.name,
                "address": w.address,
                "kind": w.kind.value,
                "state": w.state.value,
                "network": w.network,
                "created_at": w.created_at.isoformat(),
                "balance_sun": account.balance_sun if (account := self.snapshot.balances.get(w.address)) else None,
            }
            for w in self.wallets()
        ]

    def on_listing_chosen(self, event: Listing.Chosen) -> None:
        """Open the wallet."""
        event.stop()
        wallet = self.chosen()
        if wallet:
            self.app.push_screen(WalletScreen(wallet.name))

    def show_wallet(self, name: str) -> None:
        """Put the cursor on a wallet and open it."""
        self.filter("")
        for row, wallet in enumerate(self.wallets()):
            if wallet.name == name:
                self.query_one("#list", Listing).cursor = row
        self.app.push_screen(WalletScreen(name))

    def command_create_wallet(self, _argument: str) -> None:
        """Make a new key."""
        self.app.push_screen(CreateWalletDialog(), self._show_words)

    def _show_words(self, created: CreatedWallet | None) -> None:
        if created is not None:
            self.app.push_screen(WordsDialog(created))

    def command_import_wallet(self, _argument: str) -> None:
        """Bring a key along."""
        self.app.push_screen(ImportWalletDialog())

    def command_watch_wallet(self, _argument: str) -> None:
        """Watch an address."""
        self.app.push_screen(WatchWalletDialog())


class WalletScreen(_WalletCommands):
    """One wallet: the full address, what it holds, and its history."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.wallet_name = name
        self._hex = ""
        self._history: History | None = None
        self._history_error = ""
        self._read_for = ""

    def body(self) -> ComposeResult:
        """Facts above, history below."""
        yield Lines(id="facts", classes="panel")
        yield Listing(id="history", classes="panel")

    def chosen(self) -> Wallet | None:
        """This wallet."""
        return self.snapshot.wallet(self.wallet_name)

    def begin(self) -> None:
        """Read what only this screen shows."""
        set_title(self.query_one("#facts"), f"Wallet {clean(self.wallet_name)}")
        super().begin()
        self.set_focus(self.query_one("#history"))
        self._read_more()

    def changed(self, change: Change) -> None:
        """Read the history again when the balance was read again."""
        super().changed(change)
        if change.topic in {"balances", "wallets"}:
            self._read_more()

    def _read_more(self) -> None:
        wallet = self.chosen()
        if wallet is None:
            return
        account = self.snapshot.balances.get(wallet.address)
        state = f"{wallet.address} {account.balance_sun if account else None}"
        if state != self._read_for:
            self._read_for = state
            self.attempt(lambda: self._read(wallet), group="history")

    async def _read(self, wallet: Wallet) -> None:
        if not self._hex:
            self._hex = (await self.backend.tron.validate(wallet.address)).hex or ""
        if wallet.address not in self.snapshot.balances:
            await self.backend.refresh_balance(wallet.address)
        try:
            self._history = await self.backend.tron.history(wallet.address, HistoryQuery(limit=50))
            self._history_error = ""
        except LucidError as error:
            self._history_error = error.message
        self.repaint()

    def paint(self) -> None:
        """Show facts and history."""
        wallet = self.chosen()
        self.query_one("#facts", Lines).show(self._facts(wallet))
        history = self.query_one("#history", Listing)
        if self._history is None:
            set_title(history, "History")
            history.show_lines([line(Span(clean(self._history_error) or "not read yet", "dim"))])
            return
        items = self._history.items
        set_title(history, f"History as {clean(self._history.endpoint)} tells it ({len(items)})")
        history.show(max(1, len(items)), self._transaction)

    def _facts(self, wallet: Wallet | None) -> list[Line]:
        def fact(name: str, *parts: Span | str) -> Line:
            return line(Span(f"{name:<11}", "dim"), *parts)

        if wallet is None:
            known = self.snapshot.wallets is not None
            return [line(Span(f"no wallet {clean(self.wallet_name)}" if known else "not read yet", "warn"))]
        account = self.snapshot.balances.get(wallet.address)
        old = self.snapshot.chain(self.backend.now()) is not Link.OK
        activated = "" if account is None or account.activated else "  not activated: the chain does not know it yet"
        return [
            fact("address", Span(groups(clean(wallet.address)), "strong")),
            fact("hex", clean(self._hex) or "-"),
            fact("kind", wallet.kind.value, "  ", wallet_state(wallet, self.lucid.utcnow())),
            fact(
                "balance",
                balance_span(self.snapshot, wallet.address, self.backend.now()),
                Span(activated, "warn"),
            ),
            fact(
                "bandwidth",
                stale(count(account.bandwidth_free), old) if account else "-",
                Span(" free  ", "dim"),
                stale(count(account.bandwidth_staked), old) if account else "-",
                Span(" staked   energy ", "dim"),
                stale(count(account.energy), old) if account else "-",
            ),
            fact("network", clean(wallet.network), Span("   created ", "dim"), utc_full(wallet.created_at)),
        ]

    def _transaction(self, row: int, _cells: int) -> Line:
        items = self._history.items if self._history else ()
        if row >= len(items):
            return line(Span("no transactions", "dim"))
        return transaction_row(items[row], self.chosen())

    def export_rows(self) -> list[dict[str, Any]]:
        """The history."""
        return [item.model_dump(mode="json") for item in (self._history.items if self._history else ())]

    def selected_text(self) -> str:
        """The address; with the cursor below the first row of the history, that transaction's id."""
        items = self._history.items if self._history else ()
        cursor = self.query_one("#history", Listing).cursor
        if items and 0 < cursor < len(items):
            return items[cursor].txid
        return super().selected_text()


STATE_TONES: dict[TxState, Tone] = {
    TxState.SOLID: "ok",
    TxState.SEEN: "live",
    TxState.PENDING: "live",
    TxState.UNKNOWN: "dim",
}
"""How the state of a transaction looks."""


def transaction_row(item: Transaction, wallet: Wallet | None) -> Line:
    """A transaction of a wallet's history: what went out is negative."""
    mine = wallet is not None and item.owner == wallet.address
    other = item.to if mine else item.owner
    amount = "-" if item.amount_sun is None else f"{'-' if mine else '+'}{money(item.amount_sun)}"
    bad = item.result not in {"", "SUCCESS"}
    return columns(
        [
            (chain_time(item.block_time_ms)[5:16] if item.block_time_ms else "", 11),
            (Span(item.state.value, STATE_TONES.get(item.state, "")), 7),
            (Span(amount, "" if mine else "ok"), -22),
            (Span("to" if mine else "from", "dim"), 4),
            (short(clean(other or "-")), 14),
            (Span(clean(item.result), "bad") if bad else Span(short_txid(clean(item.txid)), "dim"), 14),
        ]
    )
