"""What frames every screen: the header with the network's name, the tab line, the message line and the footer."""

import itertools
from collections.abc import Iterable, Sequence

from lucid_tron_console.alerts import Alert
from lucid_tron_console.backend import Link, Snapshot
from lucid_tron_console.commands import Command, Help
from lucid_tron_console.format import Line, Span, Tone, age, clean, line, line_width, spread, wrap
from lucid_tron_console.settings import ConsoleSettings
from lucid_tron_console.widgets.lines import Lines
from services.tor.api import TorState, TorStatus

TAB_WORDS = ("Dash", "Wallets", "Payouts", "Pay-in", "Staking", "Tor", "Services", "Audit")
"""Names in the tab line, by number."""

IN_THIS_VERSION = frozenset({1, 2, 3, 6, 7})
"""Numbers of the screens that exist."""

LONGEST_MESSAGE = 3
"""Lines that a message may take."""


def network_span(network: str) -> Span:
    """The network's name: mainnet unmistakable."""
    tone: Tone = "mainnet" if network == "mainnet" else "testnet"
    return Span(f" {network.upper()} ", tone)


def link_span(name: str, link: Link, age_s: float | None) -> Iterable[Span]:
    """How fresh something is: `chain OK 5s`, `wallet STALE 40s`, `payout DOWN`."""
    tones: dict[Link, Tone] = {Link.OK: "ok", Link.STALE: "warn", Link.DOWN: "bad", Link.WAIT: "dim"}
    yield Span(f"{name} ", "dim")
    words = link.value if age_s is None or (link is Link.OK and age_s < 10) else f"{link.value} {age(age_s)}"
    yield Span(words, tones[link])
    yield Span("  ")


def header(settings: ConsoleSettings, snapshot: Snapshot, now: float, alerts: Sequence[Alert], cells: int) -> Line:
    """The first line of every screen."""
    host = Span(f" {clean(settings.host, 24)} ", "strong")
    read_only = Span(" ro:on", "warn") if settings.read_only else Span(" ro:off", "dim")
    operator = Span(f" op:{clean(settings.operator, 16)}", "dim")
    states = [
        Span("  "),
        *link_span("chain", snapshot.chain(now), snapshot.chain_age_s(now)),
        *_signer(snapshot, now),
        *link_span("payout", snapshot.feeds["payout"].link(now), _age(snapshot, "payout", now)),
        Span("tor ", "dim"),
        tor_word(snapshot, now),
        Span("  "),
    ]
    mark = "!" if settings.poor else "▲"
    worst: Tone = "bad" if any(alert.level == "CRIT" for alert in alerts) else "warn" if alerts else "dim"
    right = line(Span(f"{mark}{len(alerts)} ", worst))
    network = [network_span(settings.network), *([Span(" "), Span(" CLEAR ", "mainnet")] if snapshot.clear else [])]
    # Where it is narrow the least needed goes first; the network and what is not well stay.
    ways = (
        [host, *network, read_only, operator, *states],
        [host, *network, read_only, *states],
        [*network, read_only, *states],
        [*network, *states],
        [*network, *_unwell(states)],
    )
    left = next((tuple(way) for way in ways if line_width(tuple(way)) + line_width(right) <= cells), tuple(ways[-1]))
    return spread(left, right, cells)


def _unwell(states: Sequence[Span]) -> Iterable[Span]:
    """Only the states that are not OK, each with its name before it."""
    yield Span(" ")
    for name, state in itertools.pairwise(states):
        if name.tone == "dim" and state.tone in {"warn", "bad"}:
            yield from (name, state, Span("  "))


def tor_word(snapshot: Snapshot, now: float) -> Span:
    """How calls leave, in a word: red when they go past Tor."""
    if snapshot.clear:
        return Span("CLEAR", "bad")
    if not snapshot.has_tor:
        return Span("off", "dim")
    link = snapshot.feeds["tor"].link(now)
    status = snapshot.tor.status
    if link is not Link.OK or status is None:
        tones: dict[Link, Tone] = {Link.DOWN: "bad", Link.STALE: "warn"}
        return Span(link.value, tones.get(link, "dim"))
    return state_word(status)


def state_word(status: TorStatus) -> Span:
    """How Tor itself is, in a word."""
    if status.state is TorState.OK:
        return Span("OK", "ok")
    if status.state is TorState.BOOTSTRAPPING and status.bootstrap:
        return Span(f"{status.bootstrap.percent}%", "warn")
    return Span(TOR_WORDS.get(status.state, clean(status.state).upper()), "warn" if status.state.usable else "bad")


TOR_WORDS: dict[TorState, str] = {
    TorState.STARTING: "...",
    TorState.MISSING: "MISSING",
    TorState.NOT_RUNNING: "NOT RUNNING",
    TorState.UNREACHABLE: "UNREACHABLE",
    TorState.NOT_CONTROL_PORT: "NOT TOR",
    TorState.STUCK: "STUCK",
    TorState.GUARDS_DOWN: "NO GUARD",
    TorState.NO_EXITS: "NO EXIT",
    TorState.CIRCUITS_FAILING: "FAILING",
    TorState.NO_ANSWER: "NO ANSWER",
    TorState.UNREADABLE_COOKIE: "COOKIE",
    TorState.WRONG_COOKIE: "COOKIE",
    TorState.PASSWORD_MISSING: "PASSWORD",
    TorState.WRONG_PASSWORD: "PASSWORD",
    TorState.NETWORK_DISABLED: "DISABLED",
    TorState.SILENT: "SILENT",
}
"""States of Tor as one short word; DOWN is the Tor service itself."""


def _age(snapshot: Snapshot, service: str, now: float) -> float | None:
    feed = next(feed for name, feed in snapshot.feeds.items() if name == service)
    return None if feed.link(now) is Link.OK else feed.age_s(now)


def _signer(snapshot: Snapshot, now: float) -> Iterable[Span]:
    link = snapshot.feeds["wallet"].link(now)
    if link is Link.OK and snapshot.signer and snapshot.signer.frozen:
        return (Span("signer ", "dim"), Span("FROZEN", "bad"), Span("  "))
    return link_span("signer", link, _age(snapshot, "wallet", now))


def tabs(current: int, open_payouts: int, cells: int) -> Line:
    """The second line: the screens by number; those of later versions dimmed."""
    spans: list[Span] = []
    for number, word in enumerate(TAB_WORDS, start=1):
        label = f"{word}({open_payouts})" if number == 3 and open_payouts else word
        tone: Tone = "head" if number == current else "" if number in IN_THIS_VERSION else "dim"
        spans.append(Span(f"{number} {label}", tone))
    apart = 2 if sum(len(span.text) for span in spans) + 2 * len(spans) <= cells else 1
    return tuple(part for span in spans for part in (span, Span(" " * apart)))


def footer(commands: Iterable[type[Command]], cells: int) -> Line:
    """The last line: the keys that matter here, as many as fit; the help, which tells the others, always."""
    wanted = [command for command in commands if command.footer]
    last = next((_key(command) for command in wanted if command is Help), ())
    spans: Line = ()
    for command in wanted:
        pair = _key(command)
        if command is Help or line_width((*spans, *pair, *last)) > cells:
            continue
        spans += pair
    return (*spans, *last)


def _key(command: type[Command]) -> Line:
    return (Span(f" {command.label()}", "key"), Span(f" {command.footer} ", "dim"))


class MessageLine(Lines):
    """What the console has to say: one line, up to three when it needs them; never a toast over the screen."""

    def say(self, text: str, tone: Tone = "") -> None:
        """Say something in place of what was said before."""
        cells = max(20, self.content_size.width or 78)
        rows = wrap(clean(text), cells)[:LONGEST_MESSAGE]
        self.show([line(Span(row, tone)) for row in rows] or [()])
