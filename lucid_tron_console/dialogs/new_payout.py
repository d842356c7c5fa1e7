"""A payout by keyboard: wallet, recipient, amount, and a review that has to be typed before it can be submitted."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from lucid_tron_console.backend import Link, unknown_outcome
from lucid_tron_console.commands import Command, OpenWallet
from lucid_tron_console.dialogs.base import Dialog
from lucid_tron_console.dialogs.unlock import UnlockDialog
from lucid_tron_console.format import (
    Line,
    Span,
    age,
    clean,
    columns,
    count,
    exact,
    groups,
    line,
    money,
    short,
    spread,
    wrap,
)
from lucid_tron_console.screens.rows import balance_span, wallet_state
from lucid_tron_console.widgets.entry import Field
from lucid_tron_console.widgets.lines import Lines, Listing, set_title
from services.kit.errors import LucidError
from services.kit.money import Asset, MoneyError, parse_units
from services.payout.api import CreatePayout, PayoutIntent, Quote
from services.wallet.api import Wallet, WalletKind, WalletState

Step = Literal[1, 2, 3, 4]

STEP_WORDS = {1: "from which wallet", 2: "to whom", 3: "how much", 4: "review"}
"""The steps by number."""

LAST = 4
"""How many characters of the address have to be typed."""


QUOTE_RETRY_S, QUOTE_AGAIN_S = 3.0, 30.0
"""When a dry run is made again: after one that failed, and after one that has grown old."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A payout that is being typed. It lives in this dialog only: a hang-up drops it."""

    key: str
    """Its idempotency key, from the first moment on: however often it is submitted, it is one payout."""
    wallet: str = ""
    to: str = ""
    asset: Asset = Asset.TRX
    amount: int = 0
    """In the smallest unit of the asset."""
    memo: str = ""

    def intent(self) -> PayoutIntent:
        """What is asked for, to be tried dry."""
        return PayoutIntent(wallet=self.wallet, to=self.to, asset=self.asset, amount=self.amount, memo=self.memo)

    def order(self) -> CreatePayout:
        """What is submitted."""
        return CreatePayout(
            wallet=self.wallet, to=self.to, asset=self.asset, amount=self.amount, memo=self.memo, key=self.key
        )


class NewPayoutDialog(Dialog[str | None]):
    """Four steps; gives the payout's id once the service has accepted it."""

    TAKES: ClassVar[tuple[type[Command], ...]] = (OpenWallet,)
    SUBMIT_WORDS = "Submit"

    def __init__(self, wallet: str = "") -> None:
        """Begin a draft; with `wallet`, from that one."""
        super().__init__()
        self.draft = Draft(key=str(uuid.uuid4()))
        self.step: Step = 1
        self._wanted = wallet
        self._quote: Quote | None = None
        self._quote_error = ""
        self._quoted_at = 0.0
        self._asked_at = 0.0
        self._review_at: float | None = None
        self._is_unknown = False
        self._leaves = False

    def fields(self) -> ComposeResult:
        """One container for each step."""
        with Vertical(id="step1", classes="step"):
            yield Listing(id="source")
        with Vertical(id="step2", classes="step"):
            yield Field("Address", id="to", max_length=64, cells=44)
            yield Lines(id="to-words")
        with Vertical(id="step3", classes="step"):
            yield Field("Amount TRX", id="amount", max_length=24, cells=26)
            yield Field("Memo", id="memo", max_length=200)
            yield Lines(id="amount-words")
        with Vertical(id="step4", classes="step"):
            yield Lines(id="review")
            yield Field("Type the amount", id="typed-amount", max_length=24, cells=22)
            yield Field(f"Type the last {LAST}", id="typed-end", max_length=LAST, cells=22)

    def begin(self) -> None:
        """Start with the wallet."""
        super().begin()
        self.go_to(1)
        wanted = self.snapshot.wallet(self._wanted) if self._wanted else None
        if wanted is not None:
            self.query_one("#source", Listing).cursor = (self.snapshot.wallets or ()).index(wanted)

    # Steps

    def title_words(self) -> str:
        """The dialog's name."""
        return "NEW PAYOUT"

    def go_to(self, step: Step) -> None:
        """Show a step, with the cursor where typing goes on."""
        self.step = step
        for number in STEP_WORDS:
            self.query_one(f"#step{number}").display = number == step
        title = f"NEW PAYOUT - {self.settings.network.upper()} - step {step}/4 {STEP_WORDS[step]}"
        set_title(self.query_one("#dialog"), title)
        match step:
            case 1:
                self.set_focus(self.query_one("#source", Listing))
            case 2:
                self.set_focus(self.query_one("#to", Field).entry)
            case 3:
                self.set_focus(self.query_one("#amount", Field).entry)
            case 4:
                self._start_review()
        self.repaint()

    @property
    def is_guarded(self) -> bool:
        """Whether the review appeared just now, and keys are still ignored."""
        if self.step != 4 or self._review_at is None:
            return False
        return self.backend.now() - self._review_at < self.settings.guard_s

    def _start_review(self) -> None:
        """Show the review; keys that were typed before it could be read go nowhere."""
        self._quote, self._quote_error = None, ""
        for name in ("typed-amount", "typed-end"):
            self.query_one(f"#{name}", Field).entry.value = ""
        self.set_focus(None)
        self._review_at = self.backend.now()
        self.set_timer(max(0.001, self.settings.guard_s), self._open_review)
        self.attempt(self._ask_quote, group="quote")

    def _open_review(self) -> None:
        if self.step == 4 and self.focused is None:
            self.set_focus(self.query_one("#typed-amount", Field).entry)
            self.repaint()

    def on_listing_chosen(self, event: Listing.Chosen) -> None:
        """Take the wallet under the cursor."""
        event.stop()
        wallets = self.snapshot.wallets or ()
        if event.row >= len(wallets):
            return
        wallet = wallets[event.row]
        if wallet.kind is WalletKind.COLD:
            self.say(f"{wallet.name} is watch-only: its key is not on this node, it cannot pay", "warn")
            return
        self.draft = replace(self.draft, wallet=wallet.name)
        self.say("")
        self.go_to(2)

    def entered(self, entry: Input) -> None:
        """Enter goes on to the next field or step; in the review it does nothing."""
        match entry.id:
            case "to-entry":
                self.attempt(lambda: self._take_recipient(entry.value.strip()), group="recipient")
            case "amount-entry":
                if self._amount() is not None:
                    self.set_focus(self.query_one("#memo", Field).entry)
            case "memo-entry":
                self._take_amount()

    async def _take_recipient(self, text: str) -> None:
        check = await self.backend.tron.validate(text)
        if not check.valid or check.base58 is None:
            self.say(f"not an address: {check.reason}", "bad")
            return
        if self.step == 2:
            self.draft = replace(self.draft, to=check.base58)
            self.say("" if check.activated is not False else "the chain does not know this address yet", "warn")
            self.go_to(3)

    def _amount(self) -> int | None:
        """The typed amount in smallest units; None with a note in the field when it is none."""
        field = self.query_one("#amount", Field)
        if not field.value.strip():
            field.note(())
            return None
        try:
            amount = parse_units(field.value, self.draft.asset.decimals)
        except MoneyError:
            field.note(line(Span(" digits and one point", "warn")))
            return None
        field.note(line(Span("" if amount else " more than zero", "warn")))
        return amount or None

    def _take_amount(self) -> None:
        amount = self._amount()
        if amount is None:
            self.say("write the amount first, such as 12.5", "warn")
            self.set_focus(self.query_one("#amount", Field).entry)
            return
        self.draft = replace(self.draft, amount=amount, memo=clean(self.value("memo")).strip())
        self.say("")
        self.go_to(4)

    def tick(self) -> None:
        """Try it dry again when that failed, or when the last dry run has grown old."""
        if self.step == 4 and not self.is_busy and not self._is_unknown:
            old_s = self.backend.now() - self._asked_at
            if old_s >= (QUOTE_RETRY_S if self._quote is None else QUOTE_AGAIN_S):
                self.attempt(self._ask_quote, group="quote")
        super().tick()

    async def _ask_quote(self) -> None:
        self._asked_at = self.backend.now()
        try:
            self._quote = await self.backend.payout.quote(self.draft.intent())
            self._quote_error = ""
            self._quoted_at = self.backend.now()
        except LucidError as error:
            self._quote, self._quote_error = None, error.message
        self.repaint()

    def command_leave(self, _argument: str) -> None:
        """Go back a step; from the first one, or when it is not known what became of it, leave."""
        if self.is_guarded or self.is_busy:
            return
        if self._is_unknown:
            if self._leaves:
                self.dismiss(None)
            self._leaves = True
            self.say("the outcome is unknown: ^S again is safe (same key). Esc once more leaves; if it was accepted, "
                     "Payouts will show it", "warn")  # fmt: skip
        elif self.step == 1:
            self.dismiss(None)
        else:
            self.say("")
            self.go_to({2: 1, 3: 2, 4: 3}[self.step])  # type: ignore[arg-type]

    def command_open_wallet(self, _argument: str) -> None:
        """Unlock the wallet that shall pay."""
        wallet = self.snapshot.wallet(self.draft.wallet)
        if self.is_guarded:
            return
        if wallet is None or wallet.state is not WalletState.LOCKED:
            self.say("the wallet is not locked" if wallet else "choose a wallet first", "warn")
            return
        self.app.push_screen(UnlockDialog(wallet.name), self._unlocked)

    def _unlocked(self, wallet: Wallet | None) -> None:
        if wallet is not None and self.step == 4:
            self.attempt(self._ask_quote, group="quote")

    # Why it cannot be submitted

    def blocked(self) -> list[str]:
        """What stands against paying now, besides the service's own reasons: nothing stale may be decided upon."""
        now = self.backend.now()
        found = [
            f"{name} is {feed.link(now).value}"
            for name, feed in self.snapshot.feeds.items()
            if name != "tor" and feed.link(now) is not Link.OK  # whether calls get out is the TRON client's to say
        ]
        if not found and self.settings.network != "devnet" and self.snapshot.chain(now) is not Link.OK:
            found.append(f"the chain is {self.snapshot.chain(now).value}")
        if self.snapshot.signer and self.snapshot.signer.frozen:
            found.append("signing is frozen")
        return found

    def locked(self) -> str:
        """The first thing that is missing."""
        if self.step != 4:
            return "Enter goes on"
        if self.is_guarded:
            return "locked: read it first"
        blocked = self.blocked()
        if blocked:
            return f"locked: {blocked[0]}"
        if self._quote is None:
            return "locked: no dry run"
        if self._quote.forbidden:
            return "locked: forbidden"
        if self._missing_amount() or self._missing_end():
            return "locked"
        return ""

    def _missing_amount(self) -> str:
        text = self.value("typed-amount").strip()
        if not text:
            return "type it"
        try:
            typed = parse_units(text, self.draft.asset.decimals)
        except MoneyError:
            return "differs"
        return "" if typed == self.draft.amount else "differs"

    def _missing_end(self) -> str:
        text, end = self.value("typed-end"), self.draft.to[-LAST:]
        if text == end:
            return ""
        return f"{LAST - len(text)} more" if end.startswith(text) else "differs"

    # Painting

    def paint(self) -> None:
        """Show the step, and in the review whether what was typed matches."""
        super().paint()
        match self.step:
            case 1:
                self._paint_wallets()
            case 2:
                text = self.value("to").strip()
                self.query_one("#to-words", Lines).show(
                    [line(Span(f"{'':17}{groups(clean(text))}", "dim")), (), *self._recipient_words()]
                )
            case 3:
                self._amount()
                self.query_one("#amount-words", Lines).show(
                    [(), line(Span("A memo is public on the chain for ever and costs 1 TRX. Enter goes on.", "dim"))]
                )
            case 4:
                self._paint_review()

    def leave_words(self) -> str:
        """Esc goes back until there is nothing to go back to."""
        return "Cancel" if self.step == 1 else "Leave" if self._is_unknown else "Back"

    def intro(self) -> Sequence[Line]:
        """What was chosen so far."""
        draft = self.draft
        rows: list[Line] = []
        if self.step in {2, 3}:
            wallet = self.snapshot.wallet(draft.wallet)
            balance = balance_span(self.snapshot, wallet.address, self.backend.now()) if wallet else Span("-")
            rows.append(line(Span(f"{'From':<16}", "dim"), f" {draft.wallet}  ", balance))
        if self.step == 3:
            rows.append(line(Span(f"{'To':<16}", "dim"), f" {groups(draft.to)}"))
        return rows

    def _recipient_words(self) -> list[Line]:
        text = (
            "Type or paste the full address; its checksum is verified. Never take it from a history: look-alikes are "
            "sent there."
        )
        return [line(Span(words, "dim")) for words in wrap(text, max(40, self.cells - 4))]

    def _paint_wallets(self) -> None:
        wallets = self.snapshot.wallets or ()
        listing = self.query_one("#source", Listing)
        if not wallets:
            known = self.snapshot.wallets is not None
            words = "there is no wallet: Esc, then 2 and c make one" if known else "the wallets were not read yet"
            listing.show_lines([line(Span(words, "dim"))])
            return
        listing.show(len(wallets), lambda row, _cells: self._wallet_row(wallets[row]))

    def _wallet_row(self, wallet: Wallet) -> Line:
        if wallet.kind is WalletKind.COLD:
            state = Span("cannot pay: watch-only", "dim")
        else:
            state = wallet_state(wallet, self.lucid.utcnow())
        balance = balance_span(self.snapshot, wallet.address, self.backend.now())
        return columns([(clean(wallet.name), 14), (short(clean(wallet.address)), 14), (balance, -20), (state, 22)])

    def _paint_review(self) -> None:
        self.query_one("#review", Lines).show(self._review())
        amount = self.query_one("#typed-amount", Field)
        end = self.query_one("#typed-end", Field)
        for field, missing in ((amount, self._missing_amount()), (end, self._missing_end())):
            field.note(line(Span(f" {missing}", "warn") if missing else Span(" match", "ok")))

    def _review(self) -> list[Line]:
        draft, quote = self.draft, self._quote
        cells = max(40, self.cells - 4)
        if quote is None:
            words = clean(self._quote_error) or "trying it dry ..."
            rows = [
                _fact("From", draft.wallet),
                _fact("To", Span(groups(draft.to), "strong")),
                _fact("Amount", Span(money(draft.amount, draft.asset), "strong")),
                *_facts("Dry-run", words, cells, bad=bool(self._quote_error)),
            ]
            return [*rows, *self._warnings(cells)]
        old = self.backend.now() - self._quoted_at
        limits = "   ".join(
            f"{clean(limit.name)} {exact(limit.used, quote.asset)}+{exact(quote.amount, quote.asset)}"
            f" of {exact(limit.limit, quote.asset)} {'OK' if limit.ok else 'OVER'}"
            if limit.limit
            else f"{clean(limit.name)} none"
            for limit in quote.limits
        )
        fee = f"at most {money(quote.fee_sun)}"
        to = Span(groups(clean(quote.to)), "strong")
        check = Span(f"check {clean(quote.check_code)}", "strong")
        verdict = Span("FORBIDDEN", "bad") if quote.forbidden else Span("OK", "ok")
        rows = [
            _fact(
                "From",
                f"{clean(quote.wallet)}  {money(quote.balance, quote.asset)}   after ",
                Span(money(quote.balance_after, quote.asset), "bad" if quote.balance_after < 0 else ""),
            ),
            spread(_fact("To", to), line(check, " "), cells),
            _fact("Amount", Span(money(quote.amount, quote.asset), "strong")),
            _fact("Fee", fee, Span("" if quote.to_activated else "   activation of the receiver included", "dim")),
            *([_fact("Memo", clean(draft.memo))] if draft.memo else []),
            *(_facts("Limits", limits, cells) if limits else []),
            _fact("Dry-run", verdict, f" at block {count(quote.block_number)}", Span(f" ({age(old)} ago)", "dim")),
        ]
        for reason in quote.forbidden:
            rows += _facts("", reason, cells, bad=True)
        return [*rows, *self._warnings(cells), ()]

    def _warnings(self, cells: int) -> list[Line]:
        words = [f"{reason}: payouts are blocked until it is back" for reason in self.blocked()]
        words += list(self._quote.warnings) if self._quote else []
        wallet = self.snapshot.wallet(self.draft.wallet)
        if wallet is not None and wallet.state is WalletState.LOCKED:
            words.append(f"{wallet.name} is locked: ^O unlocks it, else the payout waits for it")
        if self._is_unknown:
            words.append("UNKNOWN whether it was accepted: press ^S again: the same key, it cannot pay twice")
        rows: list[Line] = []
        for text in words:
            rows += [line(Span(f"{'':<9}"), Span(row, "warn")) for row in wrap(clean(text), cells - 9)]
        return rows

    # Submitting

    async def submit(self) -> None:
        """Hand it to the payout service, under the draft's key."""
        try:
            payout = await self.backend.payout.create(self.draft.order())
        except LucidError as error:
            self._is_unknown = unknown_outcome(error)
            self._leaves = False
            if not self._is_unknown:
                raise
            self.say(f"unknown: {error.message}. Press ^S again: the same key, it cannot pay twice", "warn")
            return
        self._is_unknown = False
        self.backend.take_payout(payout)
        self.dismiss(payout.id)


def _fact(name: str, *parts: Span | str) -> Line:
    return line(Span(f"{name:<9}", "dim"), *parts)


def _facts(name: str, text: str, cells: int, *, bad: bool = False) -> list[Line]:
    rows = wrap(clean(text), max(20, cells - 9))
    return [_fact(name if number == 0 else "", Span(row, "bad" if bad else "")) for number, row in enumerate(rows)]
