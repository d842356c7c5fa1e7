"""Tor: how it is and what to do about it, circuits hop by hop, streams, traffic, and the lines of its log."""

import contextlib
import os
import shutil
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical

from lucid_tron_console.backend import Change
from lucid_tron_console.commands import (
    CloseCircuit,
    Command,
    ExcludeRelay,
    ExitCountries,
    Fold,
    FoldAll,
    NewIdentity,
    RotateIsolation,
)
from lucid_tron_console.dialogs.confirm import ConfirmDialog
from lucid_tron_console.dialogs.exits import ExitsDialog
from lucid_tron_console.format import Line, Span, clean, countdown, line
from lucid_tron_console.screens import tor_rows
from lucid_tron_console.screens.base import ConsoleScreen, Work
from lucid_tron_console.screens.help import TextScreen
from lucid_tron_console.tor_picture import SeenCircuit
from lucid_tron_console.widgets.lines import Lines, Listing, set_subtitle, set_title
from services.kit.errors import LucidError
from services.tor.api import Hop, TorEvent

TALL = 34
"""Rows from which the graph and the events get more room."""

SHORT, NARROW = 18, 66
"""Rows below which the events, and columns below which traffic and streams, leave their place to the circuits."""

BROAD = 110
"""Columns from which traffic and streams get more room."""

NEED_TOR = (NewIdentity, CloseCircuit)
"""What only a tor that is reached can do."""

INSTALL = "sudo apt-get install -y tor (Debian, Ubuntu), brew install tor (macOS), else https://www.torproject.org"
"""How tor comes onto a machine."""


def how_to_install() -> str:
    """How to install tor; empty where it is installed."""
    places = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    return "" if shutil.which("tor", path=places) else INSTALL


class TorScreen(ConsoleScreen):
    """Everything of the way out; what acts asks for a typed word first."""

    NUMBER = 6
    TAKES: ClassVar[tuple[type[Command], ...]] = (
        NewIdentity,
        RotateIsolation,
        CloseCircuit,
        ExitCountries,
        ExcludeRelay,
        Fold,
        FoldAll,
    )

    def __init__(self) -> None:
        super().__init__()
        self._filter = ""
        self._turned: set[str] = set()
        """Circuits whose hops are hidden or shown against what is usual for them."""
        self._fold_all: bool | None = None
        """What is usual: None leaves it to the circuit."""
        self._rows: list[tuple[SeenCircuit, int]] = []
        """What each row of the tree shows: a circuit, and -1 for itself or the number of a hop."""
        self._rows_of: object = None
        """What they were made of."""
        self._events: list[tuple[TorEvent, int]] = []
        self._events_of: tuple[object, str] | None = None
        self._watched_until = 0.0
        self._missing = how_to_install()

    def body(self) -> ComposeResult:
        """Facts above; circuits, traffic and streams in the middle; events below."""
        yield Lines(id="facts")
        with Container(id="live"):
            with Horizontal(id="middle"):
                yield Listing(id="circuits", classes="panel")
                with Vertical(id="side"):
                    yield Listing(has_cursor=False, id="bandwidth", classes="panel")
                    yield Listing(has_cursor=False, id="streams", classes="panel")
            yield Listing(id="events", classes="panel")

    def begin(self) -> None:
        """Name the panels, and start on the circuits."""
        for name, title in (("circuits", "Circuits"), ("bandwidth", "Bandwidth"), ("streams", "Streams by name")):
            set_title(self.query_one(f"#{name}"), title)
        super().begin()
        self.set_focus(self.query_one("#circuits"))

    def resume(self) -> None:
        """Ask for the traffic by the second again."""
        super().resume()
        self._watch_bandwidth()

    def changed(self, change: Change) -> None:
        """Ask for traffic when tor has come back."""
        if change.topic in {"tor", "feeds"} and self.lucid.front is self:
            self._watch_bandwidth()
        super().changed(change)

    def tick(self) -> None:
        """Ask for the traffic before the time that it is pushed for is over; nothing else is ever asked for again."""
        self._watch_bandwidth()
        super().tick()

    def _watch_bandwidth(self) -> None:
        status, now = self.snapshot.tor.status, self.backend.now()
        if status is None or not status.state.connected or not self._is_heard():
            self._watched_until = 0.0
        elif now >= self._watched_until:
            self._watched_until = now + 5.0
            self.attempt(self._ask_for_bandwidth, group="bandwidth")

    async def _ask_for_bandwidth(self) -> None:
        with contextlib.suppress(LucidError):  # the facts tell of it, and it is asked for again
            live_s = await self.backend.watch_bandwidth()
            self._watched_until = self.backend.now() + live_s * 0.75

    def _is_heard(self) -> bool:
        feed = self.snapshot.feeds.get("tor")
        return feed is not None and feed.open

    # Painting

    def paint(self) -> None:
        """Fill the panels, or say why there is nothing to fill them with."""
        self.set_class(self.size.height >= TALL, "-tall")
        self.set_class(self.size.height < SHORT, "-short")
        self.set_class(self.size.width < NARROW, "-narrow")
        self.set_class(self.size.width >= BROAD, "-wide")
        self.query_one("#live").display = self.snapshot.has_tor
        self.query_one("#facts", Lines).show(self._facts())
        if self.snapshot.has_tor:
            self._paint_circuits()
            self._paint_side()
            self._paint_events()

    def _facts(self) -> list[Line]:
        cells = max(30, self.cells - 2)
        if not self.snapshot.has_tor:
            return tor_rows.without(self.snapshot, self.settings.network, self._missing, cells)
        return tor_rows.facts(self.snapshot, self.backend.now(), self.lucid.utcnow(), cells, poor=self.settings.poor)

    def _is_folded(self, seen: SeenCircuit) -> bool:
        usual = tor_rows.is_folded_at_first(seen.circuit) if self._fold_all is None else self._fold_all
        return usual is not (seen.circuit.id in self._turned)

    def _paint_circuits(self) -> None:
        listing = self.query_one("#circuits", Listing)
        circuits = sorted(self.snapshot.tor.shown_circuits(self.backend.now()), key=tor_rows.circuit_order)
        made_of = (circuits, frozenset(self._turned), self._fold_all)
        if made_of != self._rows_of:
            self._rows_of = made_of
            self._turned &= {seen.circuit.id for seen in circuits}
            self._make_rows(listing, circuits)
        if self._rows:
            listing.show(len(self._rows), self._circuit_row)
        else:
            listing.show_lines([line(Span("no circuits", "dim"))])

    def _make_rows(self, listing: Listing, circuits: list[SeenCircuit]) -> None:
        """Lay out the tree; the cursor stays with its circuit, and at the top where nobody has moved it."""
        chosen = self._rows[listing.cursor] if listing.cursor < len(self._rows) else None
        self._rows = [
            (seen, hop)
            for seen in circuits
            for hop in (-1, *(() if self._is_folded(seen) else range(len(seen.circuit.hops))))
        ]
        if chosen is None or not listing.cursor:
            return
        places = {(seen.circuit.id, hop): row for row, (seen, hop) in enumerate(self._rows)}
        found = places.get((chosen[0].circuit.id, chosen[1]), places.get((chosen[0].circuit.id, -1)))
        if found is not None and found != listing.cursor:
            listing.show(len(self._rows), self._circuit_row)
            listing.cursor = found

    def _circuit_row(self, row: int, cells: int) -> Line:
        if row >= len(self._rows):
            return ()
        seen, hop = self._rows[row]
        if hop >= 0:
            return tor_rows.hop_row(seen.circuit, hop, cells, poor=self.settings.poor)
        return tor_rows.circuit_row(seen, self.backend.now(), cells, folded=self._is_folded(seen))

    def _chosen(self) -> tuple[SeenCircuit, int] | None:
        cursor = self.query_one("#circuits", Listing).cursor
        return self._rows[cursor] if self.snapshot.has_tor and cursor < len(self._rows) else None

    def _paint_side(self) -> None:
        picture = self.snapshot.tor
        panel = self.query_one("#bandwidth", Listing)
        set_subtitle(panel, tor_rows.totals(picture.status))
        cells, height = max(10, panel.size.width), panel.size.height
        panel.show_lines(tor_rows.traffic(picture, cells, height, poor=self.settings.poor))
        streams = self.query_one("#streams", Listing)
        streams.show_lines(tor_rows.stream_rows(picture, max(10, streams.size.width)))

    def _paint_events(self) -> None:
        listing = self.query_one("#events", Listing)
        log = self.snapshot.tor.log
        if self._events_of is None or self._events_of[0] is not log or self._events_of[1] != self._filter:
            self._events_of = (log, self._filter)
            at_end = listing.cursor >= len(self._events) - 1
            self._events = [pair for pair in self.snapshot.tor.lines() if tor_rows.event_fits(pair[0], self._filter)]
            set_title(listing, f"Events matching {clean(self._filter)!r}" if self._filter else "Events")
            listing.show(max(1, len(self._events)), self._event_row)
            if at_end:
                listing.cursor = max(0, len(self._events) - 1)
        listing.show(max(1, len(self._events)), self._event_row)

    def _event_row(self, row: int, _cells: int) -> Line:
        if row < len(self._events):
            return tor_rows.event_row(*self._events[row])
        words = "none matches; Esc takes the filter away" if self._filter else "none yet"
        return line(Span(words, "dim")) if not self._events else ()

    # Commands

    def filter(self, text: str) -> None:
        """Show only events that match."""
        self._filter = text
        self.repaint()

    def filter_text(self) -> str:
        """The filter of the events."""
        return self._filter

    def refusal(self, command: type[Command]) -> str:
        """Nothing can be done to a Tor that is not there."""
        if command not in TorScreen.TAKES:
            return super().refusal(command)
        name = command.name()
        if not self.snapshot.has_tor:
            return f"{name}: Tor is not part of this node"
        if why := super().refusal(command):
            return why
        if command.changes and not self._is_heard():
            link = self.snapshot.feeds["tor"].link(self.backend.now())
            return f"{name}: the tor service is not heard ({link.value}): r tries again"
        status = self.snapshot.tor.status
        if command in NEED_TOR and status is not None and not status.state.connected:
            return f"{name}: there is no tor to talk to ({status.state.replace('_', ' ')}): r looks again"
        return ""

    def command_fold(self, argument: str) -> None:
        """Show or hide the hops of the chosen circuit; `fold all` those of every circuit."""
        chosen = self._chosen()
        if argument == "all":
            self.command_fold_all("")
        elif chosen is not None:
            self._turned ^= {chosen[0].circuit.id}
            self.repaint()

    def command_fold_all(self, _argument: str) -> None:
        """Show or hide the hops of every circuit."""
        self._turned = set()
        self._fold_all = not self._fold_all
        self.repaint()

    def on_listing_chosen(self, event: Listing.Chosen) -> None:
        """Enter folds a circuit, and shows an event in full."""
        if event.listing.id == "circuits":
            self.command_fold("")
        elif event.listing.id == "events" and self._events:
            self.app.push_screen(TextScreen(tor_rows.event_text(self._events, event.row)))

    def command_new_identity(self, _argument: str) -> None:
        """Ask for a new identity, after a typed word."""
        wait_s = self.snapshot.tor.newnym_in_s(self.backend.now())
        if wait_s > 0:
            self.say(f"tor takes a new identity every ten seconds: ready in {countdown(wait_s + 0.999)}", "warn")
            return
        texts = (
            "Everybody moves to a new circuit; what is in flight finishes on the old one. No request fails of it.",
        )
        self._confirmed(ConfirmDialog("NEW IDENTITY", texts, "identity"), self._newnym)

    async def _newnym(self) -> None:
        found = await self.backend.tor.newnym()
        moved = ", ".join(clean(name) for name in found.rotated)
        self.lucid.say(f"a new identity; moved: {moved or 'nobody uses Tor yet'}", "ok")

    def command_close_circuit(self, argument: str) -> None:
        """Close a circuit, after its number was typed."""
        chosen = self._chosen()
        seen = self.snapshot.tor.circuits.get(argument) if argument else chosen[0] if chosen else None
        if seen is None or seen.circuit.state.over:
            self.say(f"there is no open circuit {clean(argument)}" if argument else "no open circuit is chosen", "warn")
            return
        circuit = seen.circuit
        who = clean(circuit.isolation or circuit.user or circuit.purpose)
        texts = (
            f"Circuit {clean(circuit.id)} of {who} is closed at once, with {circuit.streams} streams that go through "
            "it: their requests are tried again on another.",
        )
        self._confirmed(
            ConfirmDialog(f"CLOSE CIRCUIT {clean(circuit.id)}", texts, clean(circuit.id)),
            lambda: self._close(circuit.id),
        )

    async def _close(self, circuit_id: str) -> None:
        await self.backend.tor.close_circuit(circuit_id)
        self.lucid.say(f"circuit {clean(circuit_id)} is being closed", "ok")

    def command_rotate_isolation(self, argument: str) -> None:
        """Move an isolation name, or `all` of them one after another, after a typed word."""
        chosen = self._chosen()
        name = argument or (chosen[0].circuit.isolation if chosen else None)
        if not name:
            self.say("the chosen circuit belongs to no isolation name; type :rotate NAME, or :rotate all", "warn")
            return
        names = tuple(self.snapshot.tor.isolations) if name == "all" else (name,)
        who = "everybody" if name == "all" else clean(name)
        texts = (f"New requests of {who} go to a new circuit; what is in flight finishes on the old one.",)
        self._confirmed(ConfirmDialog(f"ROTATE {who}", texts, "rotate"), lambda: self._rotate(names))

    async def _rotate(self, names: tuple[str, ...]) -> None:
        found = [await self.backend.tor.rotate(name) for name in names]
        words = ", ".join(f"{clean(one.name)} is at generation {one.generation}" for one in found)
        self.lucid.say(words or "nobody uses Tor yet", "ok")

    def command_exit_countries(self, _argument: str) -> None:
        """Choose exits."""
        self.app.push_screen(ExitsDialog(), self._told_exits)

    def command_exclude_relay(self, _argument: str) -> None:
        """Choose exits, with the chosen relay among those that are never used."""
        chosen = self._chosen()
        if chosen is None or chosen[1] < 0:
            self.say("no relay is chosen: put the cursor on a hop of a circuit (space shows them)", "warn")
            return
        self.app.push_screen(ExitsDialog(self._hop(chosen)), self._told_exits)

    @staticmethod
    def _hop(chosen: tuple[SeenCircuit, int]) -> Hop:
        return chosen[0].circuit.hops[chosen[1]]

    def _told_exits(self, done: bool | None) -> None:
        policy = self.snapshot.tor.policy
        if not done or policy is None:
            return
        left = "" if policy.exits_left is None else f": {policy.exits_left} of {policy.exits_total} exits may be used"
        text = f"the exits are chosen{left}" if policy.applied else f"kept, not applied yet: {clean(policy.detail)}"
        self.lucid.say(text, "ok" if policy.applied else "warn")

    def _confirmed(self, dialog: ConfirmDialog, work: Work) -> None:
        self.app.push_screen(dialog, lambda word: self.attempt(work) if word else None)

    def command_retry(self, argument: str) -> None:
        """Look for tor now; where the service itself is lost, for that."""
        status = self.snapshot.tor.status
        if not self._is_heard() or status is None or status.state.connected:
            super().command_retry(argument)
        elif self.settings.read_only:
            self.say("this console is read-only: the tor service looks again by itself", "warn")
        else:
            self.attempt(self._reconnect)

    async def _reconnect(self) -> None:
        found = await self.backend.tor.reconnect()
        self.say(f"looking for tor at {clean(found.control)}")

    # What leaves the screen

    def selected_text(self) -> str:
        """The chosen hop's fingerprint, the circuit's path, or the line of the log."""
        events = self.query_one("#events", Listing)
        if events.has_focus:
            return tor_rows.event_text(self._events, events.cursor)
        chosen = self._chosen()
        if chosen is None:
            return ""
        hops = chosen[0].circuit.hops
        return clean(hops[chosen[1]].fingerprint if chosen[1] >= 0 else " ".join(one.fingerprint for one in hops))

    def export_rows(self) -> list[dict[str, Any]]:
        """The circuits."""
        return [seen.circuit.model_dump(mode="json") for seen in self.snapshot.tor.circuits.values()]
