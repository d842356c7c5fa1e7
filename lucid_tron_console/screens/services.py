"""Services: how each daemon is, the TRON endpoints, retries and caches, and the end of a log."""

import json
import os
from pathlib import Path
from typing import Any

from textual.app import ComposeResult
from textual.containers import Vertical

from lucid_tron_console.backend import Change
from lucid_tron_console.format import Line, Span, Tone, clean, columns, count, line
from lucid_tron_console.screens.base import ConsoleScreen
from lucid_tron_console.screens.rows import ENDPOINT_HEAD, SERVICE_HEAD, endpoint_row, service_row
from lucid_tron_console.widgets.lines import Lines, Listing, set_title

LOG_BYTES = 64 * 1024
"""How much of a log's end is looked at."""

LOG_LINES = 200
"""Lines of it that are kept."""

STATS_EVERY = 10
"""Seconds between two readings of the counters while this screen is in front and something happened."""


def read_tail(path: Path) -> list[str]:
    """Return the last lines of a log file; an explanation if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            start = max(0, file.tell() - LOG_BYTES)
            file.seek(start)
            lines = file.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return [f"no log yet at {path}"]
    except OSError as error:
        return [f"{path} cannot be read: {error.strerror}"]
    return lines[1 if start else 0 :][-LOG_LINES:]


LEVEL_TONES: dict[str, Tone] = {"error": "bad", "critical": "bad", "warning": "warn", "debug": "dim"}
"""How each level of a log line looks."""


def log_line(raw: str) -> Line:
    """A log line for people: time, level, event and fields; one that is no JSON as it stands."""
    try:
        entry = json.loads(raw)
        event = entry.pop("event")
    except (ValueError, KeyError, AttributeError, TypeError):
        return line(clean(raw))
    at = str(entry.pop("timestamp", ""))[11:19]
    level = str(entry.pop("level", "info"))
    for noise in ("service", "logger"):
        entry.pop(noise, None)
    fields = "  ".join(f"{clean(name)}={clean(value)}" for name, value in entry.items())
    tone = LEVEL_TONES.get(level, "")
    return line(
        Span(f"{clean(at):<8} ", "dim"), Span(f"{clean(level)[:7]:<7} ", tone or "dim"), Span(clean(event), tone),
        Span(f"  {fields}", "dim"),
    )  # fmt: skip


class ServicesScreen(ConsoleScreen):
    """The daemons; the log below belongs to the one under the cursor."""

    NUMBER = 7

    def __init__(self) -> None:
        super().__init__()
        self._ticks = 0
        self._log_state: tuple[str, float, int] = ("", 0.0, 0)
        self._log: list[Line] = []
        self._something_happened = False

    def body(self) -> ComposeResult:
        """Three panels."""
        with Vertical(id="daemons-panel", classes="panel"):
            yield Lines(id="daemons-head")
            yield Listing(id="daemons")
        yield Lines(id="endpoints", classes="panel")
        yield Listing(has_cursor=False, id="log", classes="panel")

    def begin(self) -> None:
        """Name the panels and read the counters."""
        set_title(self.query_one("#daemons-panel"), "Services")
        super().begin()
        self.set_focus(self.query_one("#daemons"))

    def resume(self) -> None:
        """Read the counters anew."""
        super().resume()
        self.attempt(self._refresh, group="stats")

    async def _refresh(self) -> None:
        await self.backend.refresh_stats()

    def changed(self, change: Change) -> None:
        """Remember that something happened: the counters will have moved."""
        if change.topic == "network":
            self._something_happened = True
        super().changed(change)

    def tick(self) -> None:
        """Look at the log, and now and then at the counters."""
        self._ticks += 1
        if self._something_happened and self._ticks % STATS_EVERY == 0:
            self._something_happened = False
            self.attempt(self._refresh, group="stats")
        super().tick()

    def _daemons(self) -> list[str]:
        feeds = self.snapshot.feeds
        return [*feeds, *(name for name in self.snapshot.node.services if name not in feeds)]

    def chosen(self) -> str:
        """The service under the cursor."""
        names = self._daemons()
        return names[min(self.query_one("#daemons", Listing).cursor, len(names) - 1)]

    def paint(self) -> None:
        """Fill the panels."""
        names = self._daemons()
        self.query_one("#daemons-head", Lines).show([SERVICE_HEAD])
        self.query_one("#daemons", Listing).show(len(names), self._daemon)
        self._paint_endpoints()
        self._paint_log()

    def _daemon(self, row: int, _cells: int) -> Line:
        name = self._daemons()[row]
        now = self.backend.now()
        for known in self.snapshot.feeds:
            if known == name:
                made = service_row(self.snapshot, known, now, self.lucid.utcnow(), wide=True)
                daemon = self.snapshot.daemons.get(known)
                wrong = (
                    "; ".join(f"{what}: {word}" for what, word in daemon.checks.items() if word != "ok")
                    if daemon
                    else ""
                )
                return (*made, Span(clean(wrong), "warn"))
        run = self.snapshot.node.services.get(name)
        alive = run is not None and run.pid is not None and Path(f"/proc/{run.pid}").exists()
        word = Span("OK", "ok") if alive else Span("DOWN", "bad")
        pid = str(run.pid) if run and run.pid else "-"
        return columns([(name, 8), (word, 6), ("", 6), (pid, -7), ("-", 8), (str(run.restarts) if run else "-", -3)])

    def _paint_endpoints(self) -> None:
        panel = self.query_one("#endpoints", Lines)
        network, stats = self.snapshot.network, self.snapshot.stats
        if network is None:
            set_title(panel, "TRON endpoints")
            panel.show([line(Span("not read yet", "dim"))])
            return
        set_title(panel, f"TRON endpoints - {clean(network.network)} {clean(network.chain_id)}")
        cells = max(40, self.cells - 4)
        rows = [ENDPOINT_HEAD, *(endpoint_row(endpoint, cells) for endpoint in network.endpoints)]
        if stats:
            asked = stats.cache_hits + stats.cache_misses
            rate = f"{100 * stats.cache_hits // asked}%" if asked else "-"
            rows.append(
                line(
                    Span("calls ", "dim"),
                    f"{count(stats.upstream_calls)}  ",
                    Span("failed ", "dim"),
                    f"{count(stats.upstream_failures)}  ",
                    Span("retries ", "dim"),
                    f"{count(stats.retries)}  ",
                    Span("cache hit ", "dim"),
                    f"{rate} of {count(asked)}  ",
                    Span("jobs ", "dim"),
                    count(stats.jobs_live),
                )
            )
        panel.show(rows)

    def _paint_log(self) -> None:
        name = self.chosen()
        path = self.settings.home.log(name)
        listing = self.query_one("#log", Listing)
        try:
            found = path.stat()
            state = (name, found.st_mtime, found.st_size)
        except OSError:
            state = (name, 0.0, -1)
        if state == self._log_state:
            return
        self._log_state = state
        self._log = [log_line(raw) for raw in read_tail(path)]
        set_title(listing, f"Log of {name}")
        at_end = listing.scroll_offset.y >= listing.max_scroll_y
        listing.show_lines(self._log)
        if at_end:
            listing.scroll_end(animate=False, immediate=True, force=True)

    def on_listing_moved(self, event: Listing.Moved) -> None:
        """Show the log of the service under the cursor."""
        if event.listing.id == "daemons":
            self._log_state = ("", 0.0, 0)
            self._paint_log()

    def export_rows(self) -> list[dict[str, Any]]:
        """The endpoints."""
        network = self.snapshot.network
        return [endpoint.model_dump(mode="json") for endpoint in (network.endpoints if network else ())]

    def selected_text(self) -> str:
        """The end of the log."""
        return "\n".join("".join(span.text for span in row) for row in self._log[-40:])
