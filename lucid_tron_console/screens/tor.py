"""Tor: how it is and what to do about it, circuits hop by hop, streams, traffic, and the lines of its log."""

import shutil
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.containers import Container, Horizontal, Vertical

from lucid_tron_console.backend import Change, Link
from lucid_tron_console.commands import (
    CloseCircuit,
    Command,
    ExitCountries,
    Fold,
    NewIdentity,
    RotateIsolation,
)
from lucid_tron_console.dialogs.base import paragraphs
from lucid_tron_console.dialogs.confirm import ConfirmDialog
from lucid_tron_console.dialogs.exits import ExitCountriesDialog
from lucid_tron_console.format import Line, Span, Tone, age, clean, columns, countdown, fit, line, utc, wrap
from lucid_tron_console.screens.base import ConsoleScreen
from lucid_tron_console.tor_picture import SeenCircuit
from lucid_tron_console.widgets.chrome import tor_word
from lucid_tron_console.widgets.graph import bar, graph
from lucid_tron_console.widgets.lines import Lines, Listing, set_title
from services.tor.api import CircuitState, Hop, TorEvent, TorState, TorStatus

TALL = 34
"""Rows from which the graph and the events get more room."""

CIRCUIT_TONES: dict[CircuitState, Tone] = {
    CircuitState.BUILT: "ok",
    CircuitState.FAILED: "bad",
    CircuitState.CLOSED: "dim",
}
"""How each circuit state looks; the others are under way."""

EVENT_TONES: dict[str, Tone] = {"err": "bad", "warn": "warn", "debug": "dim", "info": "dim"}
"""How each level of tor's log looks."""


def size(count: float | None) -> str:
    """Bytes for people: 5.2 MB; a dash when not known."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "KB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def event_fits(event: TorEvent, text: str) -> bool:
    """Whether a line of the log matches a filter: words, or `level:warn`; all of them must match."""
    words = f"{event.level} {event.text}".lower()
    return all(
        event.level == word.removeprefix("level:") if word.startswith("level:") else word in words
        for word in text.lower().split()
    )


class TorScreen(ConsoleScreen):
    """Everything of the way out; what acts asks for a typed word first."""

    NUMBER = 6
    TAKES: ClassVar[tuple[type[Command], ...]] = (NewIdentity, CloseCircuit, RotateIsolation, ExitCountries, Fold)

    def __init__(self) -> None:
        super().__init__()
        self._filter = ""
        self._folded: set[str] = set()
        self._rows: list[tuple[SeenCircuit, int]] = []
        """What each row of the tree shows: a circuit, and -1 for itself or the number of a hop."""
        self._watched_until = 0.0

    def body(self) -> ComposeResult:
        """Facts above; circuits, traffic and streams in the middle; events below."""
        yield Lines(id="facts")
        with Container(id="live"):
            with Horizontal(id="middle"):
                yield Listing(id="circuits", classes="panel")
                with Vertical(id="side"):
                    yield Lines(id="bandwidth", classes="panel")
                    yield Lines(id="streams", classes="panel")
            yield Listing(has_cursor=False, id="events", classes="panel")

    def begin(self) -> None:
        """Name the panels, and start on the circuits."""
        set_title(self.query_one("#bandwidth"), "Bandwidth")
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
        live_s = await self.backend.watch_bandwidth()
        self._watched_until = self.backend.now() + live_s * 0.75

    def _is_heard(self) -> bool:
        feed = self.snapshot.feeds.get("tor")
        return feed is not None and feed.open

    # Painting

    def paint(self) -> None:
        """Fill the panels, or say why there is nothing to fill them with."""
        self.set_class(self.size.height >= TALL, "-tall")
        self.query_one("#live").display = self.snapshot.has_tor
        facts = self._facts() if self.snapshot.has_tor else self._without()
        self.query_one("#facts", Lines).show(facts)
        if self.snapshot.has_tor:
            self._paint_circuits()
            self._paint_bandwidth()
            self._paint_streams()
            self._paint_events()

    def _words(self, text: str, tone: Tone = "") -> list[Line]:
        return [line(Span(row, tone)) for row in wrap(clean(text), max(40, self.cells - 2))]

    def _clear(self) -> list[Line]:
        clear = self.snapshot.clear
        return self._words(f"CALLS GO IN THE CLEAR: {clear}", "bad") if clear else []

    def _without(self) -> list[Line]:
        """The words where no Tor service is part of the node."""
        devnet = self.settings.network == "devnet"
        cells = max(40, self.cells - 2)
        found = [line(Span("tor is off", "strong"), "  the Tor service is not part of this node"), *self._clear(), ()]
        if devnet and not self.snapshot.clear:
            found += paragraphs(cells, "The devnet runs on this machine: nothing leaves it.")
        way = "lab" if devnet else "system"
        found += paragraphs(cells, f"To turn it on: lucid-tron down, then lucid-tron up --tor {way}")
        if shutil.which("tor") is None and shutil.which("tor", path="/usr/sbin:/usr/local/sbin") is None:
            found += self._words("tor is not installed here: sudo apt-get install -y tor", "warn")
        return found

    def _facts(self) -> list[Line]:
        now = self.backend.now()
        status = self.snapshot.tor.status
        feed = self.snapshot.feeds["tor"]
        link = feed.link(now)
        found: list[Line] = []
        if link in {Link.DOWN, Link.STALE}:
            again = f"again in {countdown(feed.retry_at - now)}" if feed.retry_at and feed.retry_at > now else "trying"
            words = f"the tor service is {link.value}: {feed.error or 'nothing heard'}; {again}, r now; last good "
            found += self._words(words + utc(feed.last_good), "bad" if link is Link.DOWN else "warn")
        if status is None:
            return [*self._clear(), *found, line(Span("not read yet", "dim"))]
        return [*self._clear(), *found, self._first_line(status, now), *self._bootstrap(status), *self._trouble(status)]

    def _first_line(self, status: TorStatus, now: float) -> Line:
        guards = status.guards
        up_s = self.snapshot.tor.uptime_s(now)
        wait_s = self.snapshot.tor.newnym_in_s(now)
        word = tor_word(self.snapshot, now)
        newnym = Span("-", "dim")
        if status.state.connected:
            newnym = Span(f"ready in {countdown(wait_s + 0.999)}", "warn") if wait_s else Span("ready", "ok")
        # The version as tor gives it may have a commit behind it.
        version = clean((status.version or "-").split(" ")[0], 12)
        return line(
            Span("tor ", "dim"),
            word,
            Span("  v", "dim"),
            version,
            Span("  up ", "dim"),
            "-" if up_s is None else age(up_s),
            Span("  guards ", "dim"),
            Span(f"{guards.up} of {guards.total}", "bad" if guards.total and not guards.up else ""),
            Span("  circ ", "dim"),
            str(status.circuits.built),
            Span("  NEWNYM ", "dim"),
            newnym,
        )

    def _bootstrap(self, status: TorStatus) -> list[Line]:
        boot = status.bootstrap
        if boot is None:
            return []
        done = boot.percent >= 100
        tone: Tone = "ok" if done else "bad" if status.state is TorState.STUCK else "warn"
        words = "" if done else f"  {clean(boot.tag, 24)}: {clean(boot.summary, 120)}"
        drawn = bar(boot.percent, 20, poor=self.settings.poor)
        found = [
            line(
                Span("bootstrap ", "dim"),
                Span(drawn, tone),
                Span(f" {boot.percent}%", tone),
                fit(words, self.cells - 38),
            )
        ]
        if boot.reason and not done:
            found += self._words(f"reason {boot.reason}", "bad")
        return found

    def _trouble(self, status: TorStatus) -> list[Line]:
        found: list[Line] = []
        if status.state is not TorState.OK:
            tone: Tone = "warn" if status.state.usable or status.state is TorState.BOOTSTRAPPING else "bad"
            found += self._words(f"{status.state.replace('_', ' ')}: {status.detail or 'wait'}", tone)
        if status.state is TorState.GUARDS_DOWN or (status.guards.total and not status.guards.up):
            names = ", ".join(f"{guard.nickname} {guard.state}" for guard in self.snapshot.tor.guards[:4])
            found += self._words(f"guards: {names}", "dim") if names else []
        if status.retry_in_s is not None:
            left = max(0.0, status.retry_in_s - (self.backend.now() - self.snapshot.tor.status_at))
            found += self._words(f"attempt {status.attempts} failed; the next in {countdown(left)}, r now", "dim")
        if status.warnings:
            found += self._words("; ".join(status.warnings), "warn")[:1]
        return found

    # Circuits

    def _paint_circuits(self) -> None:
        listing = self.query_one("#circuits", Listing)
        chosen = self._rows[listing.cursor] if listing.cursor < len(self._rows) else None
        circuits = self.snapshot.tor.shown_circuits(self.backend.now())
        self._rows = [
            (seen, hop)
            for seen in circuits
            for hop in (-1, *(() if seen.circuit.id in self._folded else range(len(seen.circuit.hops))))
        ]
        built = sum(seen.circuit.state is CircuitState.BUILT for seen in circuits)
        set_title(
            listing, f"Circuits ({built})" + (f" - {len(circuits) - built} others" if len(circuits) > built else "")
        )
        if not self._rows:
            listing.show_lines([line(Span("no circuits", "dim"))])
            return
        listing.show(len(self._rows), self._circuit_row)
        if chosen is not None:  # the cursor stays with its circuit
            places = [(seen.circuit.id, hop) for seen, hop in self._rows]
            wanted = (chosen[0].circuit.id, chosen[1])
            if wanted in places:
                listing.cursor = places.index(wanted)
            elif (wanted[0], -1) in places:
                listing.cursor = places.index((wanted[0], -1))

    def _circuit_row(self, row: int, cells: int) -> Line:
        if row >= len(self._rows):
            return ()
        seen, hop = self._rows[row]
        return self._hop(seen, hop, cells) if hop >= 0 else self._circuit(seen, cells)

    def _circuit(self, seen: SeenCircuit, cells: int) -> Line:
        circuit, now = seen.circuit, self.backend.now()
        mark = ">" if circuit.id in self._folded else "v"
        who = clean(circuit.isolation or circuit.user or circuit.purpose, 80)
        if circuit.draining:
            who += " (draining)"
        old = "-" if seen.born_at is None else age(now - seen.born_at)
        if circuit.reason:
            tail = [Span(f" {clean(circuit.reason, 60)}", "bad")]
        else:
            rtt = "-" if circuit.rtt_ms is None else f"{circuit.rtt_ms:.0f}ms"
            tail = [Span(" age ", "dim"), Span(f"{old:<4}"), Span(" rtt ", "dim"), Span(f"{rtt:>6}")]
            if cells >= 70:
                tail += [
                    Span(" streams ", "dim"),
                    Span(str(circuit.streams)),
                    Span(f"  {clean(circuit.purpose, 24)}", "dim"),
                ]
        state = "DRAINING" if circuit.draining and cells >= 70 else circuit.state.value
        head = columns(
            [
                (mark, 1),
                (clean(circuit.id, 8), 3),
                (Span(state, CIRCUIT_TONES.get(circuit.state, "live")), 8 if cells >= 70 else 6),
                (who, max(8, cells - 33) if cells < 70 else 26),
            ]
        )
        return (*head, *tail)

    def _hop(self, seen: SeenCircuit, number: int, cells: int) -> Line:
        hops = seen.circuit.hops
        hop: Hop = hops[number]
        last = number == len(hops) - 1
        middle, end = ("|-", "'-") if self.settings.poor else ("├─", "└─")
        branch = end if last else middle
        exit_word = "exit" if seen.circuit.purpose in {"GENERAL", "CONFLUX_LINKED"} else "end"
        role = "guard" if number == 0 else exit_word if last else "mid"
        parts: list[tuple[str | Span, int]] = [
            (Span(f"   {branch}", "dim"), 5),
            (Span(f"{number + 1} {role}", "dim"), 7),
            (clean(hop.nickname, 40), max(8, cells - 30) if cells < 70 else 20),
            (clean((hop.country or "??").upper(), 2), 2),
        ]
        if cells >= 70:
            where = f"{clean(hop.address or '-', 40)}:{hop.port or '-'}"
            parts += [
                (f"{size(hop.bandwidth)}/s", -11),
                (Span(where, "dim"), 22),
                (Span(hop.fingerprint[:8], "dim"), 8),
            ]
        else:
            parts.append((f"{size(hop.bandwidth)}/s", -10))
        return columns(parts)

    def _chosen(self) -> SeenCircuit | None:
        cursor = self.query_one("#circuits", Listing).cursor
        return self._rows[cursor][0] if cursor < len(self._rows) else None

    # The other panels

    def _paint_bandwidth(self) -> None:
        panel = self.query_one("#bandwidth", Lines)
        cells = max(10, panel.content_size.width)
        rows = 4 if self.size.height >= TALL else 1
        samples = self.snapshot.tor.samples
        found: list[Line] = []
        for word, values, tone in (
            ("down", [one.read for one in samples], "ok"),
            ("up", [one.written for one in samples], "live"),
        ):
            now = f"{size(values[-1])}/s" if values else "-"
            high = f" max {size(max(values[-cells:]))}" if values else ""
            found.append(line(Span(f"{word:<4} ", "dim"), now, Span(high, "dim")))
            found += [
                line(Span(row, "ok" if tone == "ok" else "live"))
                for row in graph(values, cells, rows, poor=self.settings.poor)
            ]
        panel.show(found)

    def _paint_streams(self) -> None:
        panel = self.query_one("#streams", Lines)
        cells = max(10, panel.content_size.width)
        groups = self.snapshot.tor.streams_by_purpose()
        set_title(panel, f"Streams ({len(self.snapshot.tor.streams)})")
        rows = [columns([(clean(who, 60), cells - 4), (str(len(streams)), -3)]) for who, streams in groups]
        room = max(1, panel.content_size.height)
        if len(rows) > room:
            left = sum(len(streams) for _, streams in groups[room - 1 :])
            rows = [*rows[: room - 1], line(Span(f"and {left} more", "dim"))]
        panel.show(rows or [line(Span("none", "dim"))])

    def _events(self) -> list[TorEvent]:
        return [event for event in self.snapshot.tor.log if event_fits(event, self._filter)]

    def _paint_events(self) -> None:
        listing = self.query_one("#events", Listing)
        events = self._events()
        matching = f" matching {clean(self._filter)!r}" if self._filter else ""
        set_title(listing, f"Events ({len(events)}{matching})")
        at_end = listing.scroll_offset.y >= listing.max_scroll_y
        listing.show_lines(
            [
                line(
                    Span(f"{event.at:%H:%M:%S} ", "dim"),
                    Span(f"{clean(event.level, 6):<6} ", EVENT_TONES.get(event.level, "dim")),
                    Span(clean(event.text), EVENT_TONES.get(event.level, "")),
                )
                for event in events
            ]
            or [line(Span("none matches; Esc takes the filter away" if self._filter else "none yet", "dim"))]
        )
        if at_end:
            listing.scroll_end(animate=False, immediate=True, force=True)

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
        if command in TorScreen.TAKES and not self.snapshot.has_tor:
            return f"{command.name()}: Tor is not part of this node"
        return super().refusal(command)

    def command_fold(self, argument: str) -> None:
        """Show or hide the hops of the chosen circuit; `fold all` those of every circuit."""
        seen = self._chosen()
        if argument == "all":
            known = {one.circuit.id for one, _ in self._rows}
            self._folded = set() if known <= self._folded else known
        elif seen is not None:
            self._folded ^= {seen.circuit.id}
        self.repaint()

    def on_listing_chosen(self, event: Listing.Chosen) -> None:
        """Enter folds, too."""
        if event.listing.id == "circuits":
            self.command_fold("")

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
        self.say(f"a new identity; moved: {moved or 'nobody uses Tor yet'}", "ok")

    def command_close_circuit(self, argument: str) -> None:
        """Close a circuit, after its number was typed."""
        seen = self.snapshot.tor.circuits.get(argument) if argument else self._chosen()
        if seen is None or seen.circuit.state.over:
            self.say("no open circuit is chosen", "warn")
            return
        circuit = seen.circuit
        who = clean(circuit.isolation or circuit.user or circuit.purpose)
        texts = (
            f"Circuit {clean(circuit.id)} of {who} is closed at once, with {circuit.streams} streams that go through "
            "it: their requests are tried again on another.",
        )
        self._confirmed(
            ConfirmDialog(f"CLOSE CIRCUIT {clean(circuit.id)}", texts, circuit.id), lambda: self._close(circuit.id)
        )

    async def _close(self, circuit_id: str) -> None:
        await self.backend.tor.close_circuit(circuit_id)
        self.say(f"circuit {clean(circuit_id)} is being closed", "ok")

    def command_rotate_isolation(self, argument: str) -> None:
        """Move an isolation name, after a typed word."""
        seen = self._chosen()
        name = argument or (seen.circuit.isolation if seen else None)
        if not name:
            self.say("the chosen circuit belongs to no isolation name: there is nothing to rotate", "warn")
            return
        texts = (f"New requests of {clean(name)} go to a new circuit; what is in flight finishes on the old one.",)
        self._confirmed(ConfirmDialog(f"ROTATE {clean(name)}", texts, "rotate"), lambda: self._rotate(name))

    async def _rotate(self, name: str) -> None:
        found = await self.backend.tor.rotate(name)
        self.say(f"{clean(found.name)} is at generation {found.generation}", "ok")

    def command_exit_countries(self, _argument: str) -> None:
        """Choose exits."""
        self.app.push_screen(ExitCountriesDialog(), self._told_exits)

    def _told_exits(self, done: bool | None) -> None:
        policy = self.snapshot.tor.policy
        if not done or policy is None:
            return
        left = "" if policy.exits_left is None else f": {policy.exits_left} of {policy.exits_total} exits may be used"
        text = f"the exits are chosen{left}" if policy.applied else f"kept, not applied yet: {policy.detail}"
        self.lucid.say(text, "ok" if policy.applied else "warn")

    def _confirmed(self, dialog: ConfirmDialog, work: Any) -> None:
        self.app.push_screen(dialog, lambda word: self.attempt(work) if word else None)

    def command_retry(self, argument: str) -> None:
        """Look for tor now; where the service itself is lost, for that."""
        status = self.snapshot.tor.status
        if self._is_heard() and status is not None and not status.state.connected:
            self.attempt(self._reconnect)
        else:
            super().command_retry(argument)

    async def _reconnect(self) -> None:
        found = await self.backend.tor.reconnect()
        self.say(f"looking for tor at {clean(found.control)}")

    # What leaves the screen

    def selected_text(self) -> str:
        """The chosen hop's fingerprint, or the circuit's path."""
        cursor = self.query_one("#circuits", Listing).cursor
        if not self.snapshot.has_tor or cursor >= len(self._rows):
            return ""
        seen, hop = self._rows[cursor]
        hops = seen.circuit.hops
        return hops[hop].fingerprint if hop >= 0 else " ".join(one.fingerprint for one in hops)

    def export_rows(self) -> list[dict[str, Any]]:
        """The circuits."""
        return [seen.circuit.model_dump(mode="json") for seen in self.snapshot.tor.circuits.values()]
