"""Payouts: a list that fetches pages as it is scrolled, and one payout in full."""

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical

from lucid_tron_console.backend import Change, Link
from lucid_tron_console.commands import AcceptDeath, CancelPayout, Command, RetryPayout
from lucid_tron_console.dialogs.confirm import ConfirmDialog
from lucid_tron_console.format import (
    PAYOUT_MEANING,
    PAYOUT_WORDS,
    Line,
    Span,
    Tone,
    chain_time,
    clean,
    count,
    countdown,
    exact,
    groups,
    line,
    money,
    payout_word,
    utc_full,
    wrap,
)
from lucid_tron_console.screens.base import ConsoleScreen
from lucid_tron_console.screens.rows import payout_head, payout_row
from lucid_tron_console.widgets.lines import Lines, Listing, set_title
from services.kit.errors import LucidError
from services.payout.api import Attempt, ListPayouts, Payout, PayoutState
from services.tron.api import JobState

PAGE = 100
"""Payouts that are fetched at once."""

AHEAD = 40
"""When the cursor is this near to the end of what was fetched, the next page is."""


def parse_filter(text: str) -> ListPayouts:
    """Turn a typed filter into a query: state:, wallet:, to:, txid:, the words open and final, a state, and free words.

    Raises:
        ValueError: a state that does not exist.
    """
    query: dict[str, Any] = {"limit": PAGE}
    free: list[str] = []
    by_word = {**{state.value: state for state in PayoutState}, **{PAYOUT_WORDS[s][0]: s for s in PAYOUT_WORDS}}
    for word in text.split():
        name, colon, value = word.partition(":")
        if word in {"open", "final"}:
            query["open"] = word == "open"
        elif colon and name in {"wallet", "to", "txid"} and value:
            query[name] = value
        elif colon and name == "state":
            if value not in by_word:
                raise ValueError(f"no state {value!r}: {', '.join(sorted(by_word))}")
            query["state"] = by_word[value]
        elif word in by_word:
            query["state"] = by_word[word]
        else:
            free.append(word)
    if free:
        query["text"] = " ".join(free)[:80]
    return ListPayouts(**query)


class _PayoutCommands(ConsoleScreen):
    """What can be done with a payout, in the list and in its detail."""

    NUMBER = 3
    TAKES: ClassVar[tuple[type[Command], ...]] = (RetryPayout, CancelPayout, AcceptDeath)

    def chosen(self) -> Payout | None:
        """The payout that the commands are about."""
        return None

    def selected_text(self) -> str:
        """The chosen payout's txid, or its id while it has none."""
        payout = self.chosen()
        return "" if payout is None else payout.txid or payout.id

    def _take(self, payout: Payout) -> None:
        self.backend.take_payout(payout)

    def command_retry_payout(self, _argument: str) -> None:
        """Retry; a new attempt, which signs again, takes a typed amount."""
        payout = self.chosen()
        if payout is None:
            self.say("no payout is chosen", "warn")
        elif payout.state in {PayoutState.DEAD, PayoutState.FAILED_ON_CHAIN}:
            texts = (
                f"{payout.id} is {payout_word(payout.state).text}: {PAYOUT_MEANING[payout.state]}.",
                f"A new attempt signs a new transaction of {money(payout.amount, payout.asset)} to "
                f"{groups(payout.to)}.",
            )
            dialog = ConfirmDialog(f"NEW ATTEMPT {payout.id}", texts, exact(payout.amount, payout.asset))
            self.app.push_screen(dialog, lambda yes: self.attempt(lambda: self._retry(payout.id)) if yes else None)
        else:
            self.attempt(lambda: self._retry(payout.id))

    async def _retry(self, payout_id: str) -> None:
        retried = await self.backend.payout.retry(payout_id)
        self._take(retried.payout)
        words = {"same_bytes": "the same bytes were sent again", "new_attempt": "a new attempt was opened"}
        self.lucid.say(f"{payout_id}: {words.get(retried.act, 'nothing was done')}: {retried.message}")

    def command_cancel_payout(self, _argument: str) -> None:
        """Cancel, if nothing has left."""
        payout = self.chosen()
        if payout is None:
            self.say("no payout is chosen", "warn")
        else:
            self.attempt(lambda: self._cancel(payout.id))

    async def _cancel(self, payout_id: str) -> None:
        payout = await self.backend.payout.cancel(payout_id)
        self._take(payout)
        self.lucid.say(f"{payout.id} is {payout_word(payout.state).text}", "ok")

    def command_accept_death(self, _argument: str) -> None:
        """Accept a death proof, after the end of the txid was typed."""
        payout = self.chosen()
        newest = payout.attempts[-1] if payout and payout.attempts else None
        if payout is None or newest is None or newest.txid is None or not newest.proof_needs_acceptance:
            self.say("there is no death proof to accept here", "warn")
            return
        txid = newest.txid
        texts = (
            f"{payout.id}: {newest.proof}",
            "Only one endpoint says so. If it is wrong and you open a new attempt, both transactions can pay.",
            f"The word is the end of the txid {groups(txid)}.",
        )
        dialog = ConfirmDialog(f"ACCEPT DEATH PROOF {payout.id}", texts, txid[-6:])
        self.app.push_screen(dialog, lambda yes: self.attempt(lambda: self._accept(payout.id, txid)) if yes else None)

    async def _accept(self, payout_id: str, txid: str) -> None:
        payout = await self.backend.payout.accept_death(payout_id, txid)
        self._take(payout)
        self.lucid.say(f"{payout.id} is {payout_word(payout.state).text}: the proof was accepted", "ok")


class PayoutsScreen(_PayoutCommands):
    """Every payout, newest first."""

    def __init__(self) -> None:
        super().__init__()
        self._items: list[Payout] = []
        self._next: str | None = None
        self._query = ListPayouts(limit=PAGE)
        self._filter = ""
        self._is_read = False
        self._is_fetching = False
        self._error = ""

    def body(self) -> ComposeResult:
        """A list with names of columns."""
        with Vertical(id="list-panel", classes="panel"):
            yield Lines(id="list-head")
            yield Listing(id="list")

    def begin(self) -> None:
        """Read the first page."""
        super().begin()
        self.set_focus(self.query_one("#list"))
        self.reload()

    def chosen(self) -> Payout | None:
        """The payout under the cursor."""
        cursor = self.query_one("#list", Listing).cursor
        return self._items[cursor] if cursor < len(self._items) else None

    # Pages

    def reload(self) -> None:
        """Read from the newest on, as the filter says."""
        self._is_fetching = True
        self.attempt(lambda: self._fetch(None), group="page")

    async def _fetch(self, before: str | None) -> None:
        try:
            page = await self.backend.payout.list(self._query.model_copy(update={"before": before}))
            self._items = [*(self._items if before else ()), *page.items]
            self._next, self._error, self._is_read = page.next, "", True
        except LucidError as error:
            self._error = error.message
            raise
        finally:
            self._is_fetching = False
        self.repaint()

    def on_listing_moved(self, event: Listing.Moved) -> None:
        """Fetch the next page before its end is reached."""
        if self._next and not self._is_fetching and event.row >= len(self._items) - AHEAD:
            self._is_fetching = True
            self.attempt(lambda: self._fetch(self._next), group="page")
        self.paint_title()

    def changed(self, change: Change) -> None:
        """Take a payout that changed into the list; read anew when the service came back."""
        if isinstance(change.item, Payout):
            self._merge(change.item)
        elif change.topic == "payouts":
            self.reload()
        super().changed(change)

    def _merge(self, payout: Payout) -> None:
        for row, known in enumerate(self._items):
            if known.id == payout.id:
                self._items[row] = payout
                return
        newest = self._items[0].created_at if self._items else None
        if self._is_read and self._matches(payout) and (newest is None or payout.created_at >= newest):
            listing = self.query_one("#list", Listing)
            self._items.insert(0, payout)
            if listing.cursor:  # the cursor stays on the payout that it stood on
                listing.show(len(self._items), self._row)
                listing.cursor += 1

    def _matches(self, payout: Payout) -> bool:
        query = self._query
        text = (query.text or "").lower()
        return (
            (query.state is None or payout.state is query.state)
            and (query.open is None or query.open is not payout.state.final)
            and (query.wallet is None or payout.wallet == query.wallet)
            and (query.to is None or payout.to == query.to)
            and (query.txid is None or payout.txid == query.txid)
            and any(text in part.lower() for part in (payout.id, payout.key, payout.memo, payout.to))
        )

    # Painting

    def paint(self) -> None:
        """Fill the list."""
        self.paint_title()
        listing = self.query_one("#list", Listing)
        self.query_one("#list-head", Lines).show([payout_head(listing.size.width or 76)])
        if self._items:
            listing.show(len(self._items), self._row)
        elif not self._is_read:
            listing.show_lines([line(Span(clean(self._error) or "reading", "dim"))])
        elif self._filter:
            listing.show_lines([line(Span("no payout matches; Esc takes the filter away", "dim"))])
        else:
            listing.show_lines([(), line(Span("No payouts yet. n starts one.", "dim"))])

    def paint_title(self) -> None:
        """Say how many there are, and where the cursor stands."""
        stats = self.snapshot.payout_stats
        total = sum(stats.by_state.values()) if stats else None
        known = count(len(self._items)) + ("+" if self._next else "")
        words = known if self._filter or total is None else count(max(total, len(self._items)))
        filtered = f" matching {self._filter!r}" if self._filter else ""
        old = "" if self.snapshot.feeds["payout"].link(self.backend.now()) is Link.OK else " - STALE"
        set_title(self.query_one("#list-panel"), f"Payouts ({words}{filtered}){old}")

    def _row(self, row: int, cells: int) -> Line:
        return payout_row(self._items[row], cells)

    # Filter, export, opening

    def filter(self, text: str) -> None:
        """Read what matches, from the service."""
        try:
            self._query = parse_filter(text)
        except ValueError as error:
            self.say(str(error), "warn")
            return
        self._filter = text
        self._items, self._next, self._is_read = [], None, False
        self.query_one("#list", Listing).cursor = 0
        self.reload()
        self.repaint()

    def filter_text(self) -> str:
        """The filter that is set."""
        return self._filter

    def export_rows(self) -> list[dict[str, Any]]:
        """What was fetched, without the attempts."""
        return [payout.model_dump(mode="json", exclude={"attempts"}) for payout in self._items]

    def on_listing_chosen(self, event: Listing.Chosen) -> None:
        """Open the payout."""
        event.stop()
        payout = self.chosen()
        if payout:
            self.app.push_screen(PayoutScreen(payout.id, payout))


class PayoutScreen(_PayoutCommands):
    """One payout: what was asked for, where it stands, every attempt, every answer, and the proof."""

    def __init__(self, payout_id: str, payout: Payout | None = None) -> None:
        super().__init__()
        self.payout_id = payout_id
        self._payout = payout
        self._error = ""

    def body(self) -> ComposeResult:
        """One scrolling text."""
        yield Listing(has_cursor=False, id="facts", classes="panel")

    def begin(self) -> None:
        """Read it, unless it was pushed lately."""
        self._payout = self.snapshot.payouts.get(self.payout_id, self._payout)
        super().begin()
        self.set_focus(self.query_one("#facts"))
        self.attempt(self._read, group="payout")

    async def _read(self) -> None:
        try:
            self._payout = await self.backend.payout.get(self.payout_id)
            self._error = ""
        except LucidError as error:
            self._error = error.message
            raise
        finally:
            self.repaint()

    def chosen(self) -> Payout | None:
        """This payout."""
        return self._payout

    def changed(self, change: Change) -> None:
        """Take what was pushed; read again when the service came back."""
        if isinstance(change.item, Payout):
            if change.item.id == self.payout_id:
                self._payout = change.item
        elif change.topic == "payouts":
            self.attempt(self._read, group="payout")
        super().changed(change)

    def paint(self) -> None:
        """Write everything that is known."""
        facts = self.query_one("#facts", Listing)
        old = "" if self.snapshot.feeds["payout"].link(self.backend.now()) is Link.OK else " - STALE"
        set_title(facts, f"Payout {clean(self.payout_id)}{old}")
        if self._payout is None:
            facts.show_lines([line(Span(clean(self._error) or "reading", "dim"))])
            return
        cells = max(40, self.cells - 4)
        rows = self._intent(self._payout, cells)
        for attempt in reversed(self._payout.attempts):
            rows += [(), *self._attempt(attempt, cells)]
        facts.show_lines(rows)

    def _intent(self, payout: Payout, cells: int) -> list[Line]:
        return [
            _fact("state", _strong(payout_word(payout.state))),
            *_long("", PAYOUT_MEANING.get(payout.state, ""), cells, "dim"),
            *(_long("waits for", payout.waiting, cells, "warn") if payout.waiting else ()),
            _fact("amount", Span(money(payout.amount, payout.asset), "strong")),
            _fact("to", Span(groups(clean(payout.to)), "strong")),
            _fact("from", clean(payout.wallet), Span(f"   {groups(clean(payout.from_address))}", "dim")),
            *(_long("memo", payout.memo, cells) if payout.memo else ()),
            _fact("check", clean(payout.check_code), Span(f"   reason {clean(payout.reason)}", "dim")),
            _fact("created", utc_full(payout.created_at), Span(f"   by {clean(payout.created_by)}", "dim")),
            _fact("changed", utc_full(payout.updated_at)),
            _fact("key", clean(payout.key)),
        ]

    def _attempt(self, attempt: Attempt, cells: int) -> list[Line]:
        rows = [
            line(
                Span(f"Attempt {attempt.number}", "strong"),
                Span(f"   {clean(attempt.state).replace('_', ' ')}   sent {attempt.sends}x", "dim"),
            ),
            _fact("txid", clean(attempt.txid or "not built yet")),
        ]
        if attempt.block_number is not None:
            rows.append(_fact("block", count(attempt.block_number), Span(self._depth(attempt), "dim")))
        if attempt.fee_sun is not None:
            rows.append(_fact("fee", money(attempt.fee_sun)))
        rows += self._expiry(attempt)
        for number, answer in enumerate(attempt.answers):
            rows += _long("answers" if number == 0 else "", answer, cells)
        if attempt.proof:
            rows += _long("proof", attempt.proof, cells)
        if attempt.proof_needs_acceptance:
            rows.append(_fact("", Span("this proof rests on one endpoint: D accepts it", "warn")))
        return rows

    def _depth(self, attempt: Attempt) -> str:
        network = self.snapshot.network
        if network is None or network.solid is None or attempt.block_number is None:
            return ""
        missing = attempt.block_number - network.solid.number
        return "   solid: it can no longer be undone" if missing <= 0 else f"   {missing} blocks until it is solid"

    def _expiry(self, attempt: Attempt) -> list[Line]:
        """When it is provably dead: counted in chain time, between solid blocks, never by this machine's clock."""
        if attempt.expiration_ms is None:
            return []
        open_states = {JobState.BUILT, JobState.SIGNED, JobState.SENDING}
        solid = self.snapshot.network.solid if self.snapshot.network else None
        words = Span("")
        if attempt.state in open_states and attempt.block_number is None and solid is not None:
            left_s = (attempt.expiration_ms - solid.time_ms) / 1000
            words = (
                Span(f"   provably dead in {countdown(left_s)} (chain time)", "dim")
                if left_s > 0
                else Span("   past: the death proof is being made", "warn")
            )
        return [_fact("expires", chain_time(attempt.expiration_ms), words)]

    def export_rows(self) -> list[dict[str, Any]]:
        """The payout with everything."""
        return [self._payout.model_dump(mode="json")] if self._payout else []


def _strong(span: Span) -> Span:
    return Span(span.text.upper(), span.tone)


def _fact(name: str, *parts: Span | str) -> Line:
    return line(Span(f"{name:<11}", "dim"), *parts)


def _long(name: str, text: str, cells: int, tone: Tone = "") -> list[Line]:
    rows = wrap(clean(text), max(20, cells - 11))
    return [_fact(name if number == 0 else "", Span(row, tone)) for number, row in enumerate(rows)]
