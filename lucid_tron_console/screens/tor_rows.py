"""Rows of the Tor screen: how it is in words, the tree of circuits, who has streams, traffic and log. Pure."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from lucid_tron_console.backend import CHAIN_STALE_S, Link, Snapshot
from lucid_tron_console.format import (
    Line,
    Span,
    Tone,
    age,
    clean,
    columns,
    countdown,
    fit,
    line,
    line_width,
    middle,
    plain,
    spread,
    uptime,
    utc,
    wrap,
)
from lucid_tron_console.tor_picture import MOST_SAMPLES, SeenCircuit, TorPicture
from lucid_tron_console.widgets.chrome import state_word
from lucid_tron_console.widgets.graph import bar, graph
from services.tor.api import Circuit, CircuitState, Stream, TorEvent, TorState, TorStatus

COLUMN_S: Final = 5
"""Seconds in one column of the graph: two minutes fit where it is narrow, and it is drawn anew only so often."""

MOST_STREAMS: Final = 50
"""Streams of one name that are shown one by one."""

MOST_ROWS: Final = 4
"""Rows that one sentence about what is wrong may take."""

WIDE: Final = 66
"""Cells from which a panel shows everything of a row."""

CIRCUIT_TONES: dict[CircuitState, Tone] = {
    CircuitState.BUILT: "ok",
    CircuitState.FAILED: "bad",
    CircuitState.CLOSED: "dim",
}
"""How each circuit state looks; the others are under way."""

SHORT_STATES: dict[CircuitState, str] = {
    CircuitState.LAUNCHED: "launch",
    CircuitState.EXTENDED: "extend",
    CircuitState.GUARD_WAIT: "wait",
}
"""Words where six cells have to do."""

EVENT_TONES: dict[str, Tone] = {"err": "bad", "warn": "warn", "debug": "dim", "info": "dim"}
"""How each level of tor's log looks."""

WHAT_TO_PRESS: dict[TorState, tuple[str, str]] = {
    TorState.BOOTSTRAPPING: ("", "it goes on by itself; payouts wait"),
    TorState.STUCK: ("", "it goes on by itself when the cause is gone; payouts wait"),
    TorState.GUARDS_DOWN: ("", "it goes on by itself when a guard answers; payouts wait"),
    TorState.NO_EXITS: ("E", "chooses other exits"),
    TorState.CIRCUITS_FAILING: ("N", "moves everybody to new circuits, X only one name"),
    TorState.NO_ANSWER: ("N", "moves everybody to new circuits, X only one name"),
}
"""The key that may help, and what it does; where tor is not reached it is `r`."""


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


def _words(text: str, cells: int, tone: Tone = "") -> list[Line]:
    return [line(Span(row, tone)) for row in wrap(clean(text), cells)]


# How Tor is


def without(snapshot: Snapshot, network: str, missing: str, cells: int) -> list[Line]:
    """The words where no Tor service is part of the node; `missing` says how to install tor, where it is not."""
    devnet = network == "devnet"
    found = [line(Span("tor is off", "strong"), "  the Tor service is not part of this node"), *_clear(snapshot, cells)]
    found.append(())
    if devnet and not snapshot.clear:
        found += _words("The devnet runs on this machine: nothing leaves it.", cells)
    if missing:
        found += _words(f"tor is not installed on this machine: {missing}", cells, "warn")
    then = "Then" if missing else "To turn it on"
    way = "lab (a private Tor network on this machine)" if devnet else "system (the machine's own tor)"
    back = "take that setting back, " if snapshot.clear else ""
    found += _words(f"{then}: {back}lucid-tron down, then lucid-tron up --tor {way}", cells)
    return found


def facts(snapshot: Snapshot, now: float, today: datetime, cells: int, *, poor: bool) -> list[Line]:
    """The verdict with what to do about it first, then the figures."""
    feed = snapshot.feeds["tor"]
    link = feed.link(now)
    status = snapshot.tor.status
    found = _clear(snapshot, cells)
    heard = link not in {Link.DOWN, Link.STALE}
    if not heard:
        again = f"again in {countdown(feed.retry_at - now)}" if feed.retry_at and feed.retry_at > now else "trying"
        words = (
            f"{link.value}  the tor service is not heard: {feed.error or 'nothing heard'}; calls go on through Tor, "
            f"circuits are not watched; {again}, last good {utc(feed.last_good)}"
        )
        found += [*_words(words, cells, "bad" if link is Link.DOWN else "warn"), _press("r", "tries again now")]
    if status is None:
        return [*found, line(Span("not read yet", "dim"))]
    if heard:
        found += _verdict(snapshot, status, now, today, cells)
    return [*found, *_figures(snapshot, status, now, cells, poor=poor, heard=heard), *_wishes(snapshot, status, cells)]


def _clear(snapshot: Snapshot, cells: int) -> list[Line]:
    return _words(f"CALLS GO IN THE CLEAR: {snapshot.clear}", cells, "bad") if snapshot.clear else []


def _press(key: str, does: str) -> Line:
    return line(Span(f"{key} ", "key"), Span(does, "dim")) if key else line(Span(does, "dim"))


def _verdict(snapshot: Snapshot, status: TorStatus, now: float, today: datetime, cells: int) -> list[Line]:
    """A word, what it means for calls, and the key that may help."""
    word = state_word(status)
    up_s = snapshot.tor.uptime_s(today)
    tor = f"v{clean((status.version or '-').split(' ')[0], 12)}" + (f" up {uptime(up_s)}" if up_s is not None else "")
    if status.state is TorState.OK:
        head, *more = _well(snapshot, status, word, now, cells)
    else:
        tone: Tone = "warn" if status.state.usable or status.state is TorState.BOOTSTRAPPING else "bad"
        detail = status.detail or status.state.replace("_", " ")
        rows = wrap(f"{word.text}  {clean(detail)}", cells)[:MOST_ROWS]
        head, *more = [line(Span(row, tone)) for row in rows]
        more += _guards(snapshot, status, cells)
        more += _hint(snapshot, status, now)
    if status.version and line_width(head) + len(tor) + 2 <= cells:
        head = spread(head, line(Span(tor, "dim")), cells)
    return [head, *more]


def _well(snapshot: Snapshot, status: TorStatus, word: Span, now: float, cells: int) -> list[Line]:
    tron = snapshot.daemons.get("tron")
    mode, wrong = tron.egress if tron else ("", "")
    if mode not in {"", "tor"}:
        return [line(word, f"  Tor works; the TRON client does not use it (its way out: {clean(mode, 20)})")]
    silent_s = snapshot.chain_age_s(now)
    if snapshot.feeds["tron"].link(now) is Link.OK and silent_s is not None and silent_s > CHAIN_STALE_S:
        # Tor itself notices a dead exit only with its next look: the chain tells first.
        words = f"OK?  Tor tells of no trouble, but no block has come through it for {age(silent_s)}"
        found = _words(words + (f": {wrong}" if wrong else ""), cells, "warn")
        return [*found, _press("N", "moves everybody to new circuits; 7 shows the endpoints")]
    probe = status.probe
    trip = f"; round trip {probe.latency_ms:,.0f} ms ({utc(probe.at)[:5]}Z)" if probe and probe.latency_ms else ""
    return [line(word, f"  calls leave through Tor{trip}")]


def _guards(snapshot: Snapshot, status: TorStatus, cells: int) -> list[Line]:
    if status.state is not TorState.GUARDS_DOWN:
        return []
    names = ", ".join(f"{guard.nickname} {guard.state}" for guard in snapshot.tor.guards[:4])
    return _words(f"guards: {names}", cells, "dim") if names else []


def _hint(snapshot: Snapshot, status: TorStatus, now: float) -> list[Line]:
    if status.retry_in_s is not None:
        left = max(0.0, status.retry_in_s - (now - snapshot.tor.status_at))
        again = f"the next in {countdown(left)}" if left >= 1 else "trying again"
        return [_press("r", f"looks again now; attempt {status.attempts} failed, {again}")]
    press = WHAT_TO_PRESS.get(status.state)
    return [_press(*press)] if press else []


def _figures(snapshot: Snapshot, status: TorStatus, now: float, cells: int, *, poor: bool, heard: bool) -> list[Line]:
    """Bootstrap, and as many figures as fit behind it; while the service is silent they are dimmed and marked."""
    boot = status.bootstrap
    if boot is None:
        return []
    done = boot.percent >= 100
    tone: Tone = "ok" if done else "bad" if status.state is TorState.STUCK else "warn"
    mark = "" if heard else "~"
    figures: list[Span] = [
        Span("bootstrap ", "dim"),
        Span(bar(boot.percent, 8 if done else 20, poor=poor), tone if heard else "dim"),
        Span(f" {mark}{boot.percent}%", tone if heard else "dim"),
    ]
    found: list[Line] = []
    if not done:
        phase = f"  {clean(boot.tag, 24)}: {clean(boot.summary, 120)}"
        found.append((*figures, Span(fit(phase, max(0, cells - line_width(tuple(figures)))))))
        if boot.reason and boot.reason not in status.detail:
            found += _words(f"reason {boot.reason}", cells, "bad")
        figures = []
    for name, value, value_tone in _parts(snapshot, status, now):
        part = (
            Span(f"{'  ' if figures else ''}{name} ", "dim"),
            Span(f"{mark}{value}", value_tone if heard else "dim"),
        )
        if line_width((*figures, *part)) > cells:
            break
        figures += part
    return [*found, tuple(figures)]


def _parts(snapshot: Snapshot, status: TorStatus, now: float) -> list[tuple[str, str, Tone]]:
    """Name, value and tone of each figure, the most needed first."""
    guards, circuits, wait_s = status.guards, status.circuits, snapshot.tor.newnym_in_s(now)
    under_way = f" +{circuits.building}" if circuits.building else ""
    parts: list[tuple[str, str, Tone]] = [
        ("guards", f"{guards.up} of {guards.total}", "bad" if guards.total and not guards.up else ""),
        ("circuits", f"{circuits.built}{under_way}", "" if circuits.built else "warn"),
    ]
    parts.append(("newnym", f"in {countdown(wait_s + 0.999)}", "warn") if wait_s else ("newnym", "ready", "ok"))
    if circuits.recent_failed:
        parts.append(("failed", f"{circuits.recent_failed}/{circuits.recent}", "warn"))
    if status.rotation.enabled and status.rotation.next_in_s is not None:
        left = max(0.0, status.rotation.next_in_s - (now - snapshot.tor.status_at))
        parts.append(("rotate", uptime(left), ""))
    policy = snapshot.tor.policy
    if policy is not None and policy.exits_total is not None:
        parts.append(("exits", f"{policy.exits_left} of {policy.exits_total}", ""))
    return parts


def _wishes(snapshot: Snapshot, status: TorStatus, cells: int) -> list[Line]:
    """What was chosen about exits, and what should be seen although Tor works."""
    found: list[Line] = []
    if status.warnings:
        found += _words("; ".join(status.warnings), cells, "warn")[:2]
    policy = snapshot.tor.policy
    if policy is None:
        return found
    wishes = [
        f"only in {' '.join(policy.countries)}" if policy.countries else "",
        f"never in {' '.join(policy.excluded_countries)}" if policy.excluded_countries else "",
        f"{len(policy.excluded_nodes)} relays excluded" if policy.excluded_nodes else "",
    ]
    words = "; ".join(wish for wish in wishes if wish)
    if not words:
        return found
    if policy.exits_left is not None:
        words += f": {policy.exits_left} of {policy.exits_total} may be used"
    if not policy.applied and status.state.connected:
        words += f"; not applied: {policy.detail or 'tor has not taken it yet'}"
    return [*found, *_words(f"exits {words}", cells, "warn" if not policy.exits_left else "dim")[:2]]


# Circuits


def circuit_order(seen: SeenCircuit) -> tuple[object, ...]:
    """Ours by name, the probe behind them, then strangers', then Tor's own; what failed comes last."""
    circuit = seen.circuit
    number = int(circuit.id) if circuit.id.isascii() and circuit.id.isdigit() else 0
    name = circuit.isolation or ""
    return (circuit.state.over, not name, circuit.user is None, name == "probe", name, number)


def is_folded_at_first(circuit: Circuit) -> bool:
    """Whether the hops are hidden until somebody asks: those of Tor's own circuits, and of what failed."""
    return circuit.isolation is None or circuit.state.over


def circuit_row(seen: SeenCircuit, now: float, cells: int, *, folded: bool) -> Line:
    """A circuit: who uses it, how old it is, its round trip."""
    circuit = seen.circuit
    wide = cells >= WIDE
    who = clean(circuit.isolation or circuit.user or circuit.purpose, 80)
    old = "-" if seen.born_at is None else uptime(now - seen.born_at)
    state = circuit.state.value if wide else SHORT_STATES.get(circuit.state, circuit.state.value)
    tone: Tone = CIRCUIT_TONES.get(circuit.state, "live")
    if circuit.draining and not circuit.state.over:
        state, tone = "DRAINING" if wide else "drains", "live"
    room = cells - 14 - 4 * wide
    tail: Line = ()
    if circuit.reason:
        tail = line(Span(fit(f" {clean(circuit.reason, 60)}", 13 if not wide else 25), "bad"))
    else:
        rtt = "-" if circuit.rtt_ms is None else "<1ms" if circuit.rtt_ms < 1 else f"{circuit.rtt_ms:,.0f}ms"
        tail = line(Span(" age " if wide else " ", "dim"), f"{old:<5}")
        tail += line(Span("rtt " if wide else "", "dim"), f"{rtt:>7}")
        if wide:
            streams = f"  {circuit.streams} streams" if circuit.streams != 1 else "  1 stream"
            tail += line(Span(f"{streams:<12}", "dim"))
            if cells >= 96:
                tail += line(Span(fit(f" {clean(circuit.purpose, 24)}", 16), "dim"))
    head = columns(
        [
            (">" if folded else "v", 1),
            (clean(circuit.id, 8), 4),
            (Span(state, tone), 10 if wide else 6),
            (middle(who, max(6, room - line_width(tail))), max(6, room - line_width(tail))),
        ]
    )
    return (*head, *tail)


def hop_row(circuit: Circuit, number: int, cells: int, *, poor: bool) -> Line:
    """One relay of a circuit."""
    hops = circuit.hops
    hop = hops[number]
    last = number == len(hops) - 1
    middle, end = ("|-", "'-") if poor else ("├─", "└─")
    exit_word = "exit" if circuit.purpose in {"GENERAL", "CONFLUX_LINKED"} and len(hops) > 1 else "end"
    role = "guard" if number == 0 else exit_word if last else "mid"
    parts: list[tuple[str | Span, int]] = [
        (Span(f"  {end if last else middle}", "dim"), 4),
        (Span(f"{number + 1} {role}", "dim"), 7),
        (clean(hop.nickname, 40), max(8, cells - 28) if cells < WIDE else 20),
        (clean((hop.country or "??").upper(), 2), 2),
        (f"{size(hop.bandwidth)}/s" if hop.bandwidth is not None else "-", -10),
    ]
    where = f"{clean(hop.address or '-', 40)}:{hop.port or '-'}"
    if cells >= WIDE:
        parts += [(Span(clean(hop.fingerprint[:8]), "dim"), 8), (Span(where, "dim"), max(0, min(46, cells - 58)))]
    return columns(parts)


# Traffic, streams, log


def traffic(picture: TorPicture, cells: int, height: int, *, poor: bool) -> list[Line]:
    """Down and up: this second, the highest second, and a graph each, in `height` rows together."""
    column_s = COLUMN_S if cells < WIDE else -(-MOST_SAMPLES // cells)
    shown = picture.traffic(column_s)[-cells:]
    recent = picture.samples[-cells * column_s :]
    rows = max(1, (height - 2) // 2)
    down, up = [one.read for one in recent], [one.written for one in recent]
    found: list[Line] = []
    ways: tuple[tuple[str, list[int], list[float], Tone], ...] = (
        ("down", down, [one[0] for one in shown], "ok"),
        ("up", up, [one[1] for one in shown], "live"),
    )
    for word, seconds, averages, tone in ways:
        now = f"{size(seconds[-1])}/s" if seconds else "-"
        high = f" max {size(max(seconds))}" if seconds else ""
        if seconds and cells >= 34:
            high += f"/s in {len(seconds)}s" if len(seconds) < 60 else f"/s in {len(seconds) // 60}m"
        found.append(line(Span(f"{word:<5}", "dim"), f"{now:<9}", Span(high, "dim")))
        found += [line(Span(row, tone)) for row in graph(averages, cells, rows, poor=poor)]
    return found


def totals(status: TorStatus | None) -> str:
    """Traffic since tor started."""
    if status is None or status.read_bytes is None:
        return ""
    return f"{size(status.read_bytes)} down, {size(status.written_bytes)} up"


def stream_rows(picture: TorPicture, cells: int) -> list[Line]:
    """Who has streams; where there is room also circuits, generation, and streams with their targets."""
    names = picture.streams_by_name()
    if not names:
        return [line(Span("none", "dim"))]
    if cells < 50:
        return [
            columns([(middle(clean(name, 80), cells - 4), cells - 4), (_count(len(found)), -3)])
            for name, found in names.items()
        ]
    circuits = Counter(seen.circuit.isolation for seen in picture.circuits.values() if not seen.circuit.state.over)
    rows: list[Line] = []
    for name, found in names.items():
        known = picture.isolations.get(name)
        about = f"{circuits[name]} circuits" + (f", generation {known.generation}" if known else "")
        rows.append(columns([(clean(name, 80), 30), (_count(len(found)), -4), (Span(about, "dim"), cells - 36)]))
        rows += [_stream_row(stream, cells) for stream in found[:MOST_STREAMS]]
        if len(found) > MOST_STREAMS:
            rows.append(line(Span(f"  and {len(found) - MOST_STREAMS} more", "dim")))
    return rows


def _stream_row(stream: Stream, cells: int) -> Line:
    where = f"{clean(stream.state, 12)} on circuit {clean(stream.circuit or '-', 8)}"
    return columns([("", 1), (clean(stream.target, 80), 32), (Span(where, "dim"), max(0, cells - 35))])


def _count(number: int) -> Span:
    return Span(str(number), "" if number else "dim")


def event_fits(event: TorEvent, text: str) -> bool:
    """Whether a line of the log matches a filter: words, or `level:warn`; all of them must match."""
    words = f"{event.level} {event.text}".lower()
    return all(
        event.level == word.removeprefix("level:") if word.startswith("level:") else word in words
        for word in text.lower().split()
    )


def event_row(event: TorEvent, times: int) -> Line:
    """A line of tor's log, with how often it was said."""
    tone = EVENT_TONES.get(event.level, "")
    return line(
        Span(f"{event.at:%H:%M:%S} ", "dim"),
        Span(f"{clean(event.level, 6):<6} ", tone or "dim"),
        Span(f"{times}x " if times > 1 else "", "dim"),
        Span(clean(event.text), tone),
    )


def event_text(events: Sequence[tuple[TorEvent, int]], row: int) -> str:
    """A line of the log in full."""
    return plain(event_row(*events[row])) if row < len(events) else ""
