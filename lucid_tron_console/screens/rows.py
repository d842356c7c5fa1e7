"""Rows that several screens share: a service, a wallet, a payout, an endpoint."""

from datetime import datetime

from lucid_tron_console.backend import Link, ServiceName, Snapshot
from lucid_tron_console.format import (
    Line,
    Span,
    Tone,
    age,
    clean,
    columns,
    count,
    countdown,
    money,
    payout_word,
    short,
    stale,
    uptime,
    utc,
)
from services.payout.api import Payout
from services.tron.api import Endpoint, EndpointState
from services.wallet.api import Wallet, WalletKind, WalletState

LINK_TONES: dict[Link, Tone] = {Link.OK: "ok", Link.STALE: "warn", Link.DOWN: "bad", Link.WAIT: "dim"}
"""How each link looks."""

ENDPOINT_TONES: dict[EndpointState, Tone] = {
    EndpointState.OK: "ok",
    EndpointState.LAGGING: "warn",
    EndpointState.RESTING: "warn",
    EndpointState.WRONG_NETWORK: "bad",
    EndpointState.UNKNOWN: "dim",
}
"""How each endpoint state looks."""


def service_row(snapshot: Snapshot, name: ServiceName, now: float, today: datetime, *, wide: bool) -> Line:
    """A service: its link and age, what to do, and, where there is room, pid, uptime and restarts."""
    feed = snapshot.feeds[name]
    link = feed.link(now)
    age_s = feed.age_s(now)
    ages = "" if link is Link.OK or age_s is None else age(age_s)
    daemon = snapshot.daemons.get(name)
    run = snapshot.node.services.get(name)
    restarts = str(run.restarts) if run else "-"
    up = uptime((today - daemon.started_at).total_seconds()) if daemon and link is Link.OK else "-"
    if link in {Link.STALE, Link.DOWN}:
        again = f"again in {countdown(feed.retry_at - now)}" if feed.retry_at and feed.retry_at > now else "trying"
        trouble = f"{again}, r now; last good {utc(feed.last_good)}"
    else:
        trouble = ""
    if not wide:
        head = columns([(name, 7), (Span(link.value, LINK_TONES[link]), 5), (ages, 4)])
        if trouble:
            return (*head, Span(f" since {utc(feed.last_good)} ", "warn"), Span("r", "key"))
        return (*head, Span(f" up {up:<7} rst {restarts}", "dim"))
    pid = str(daemon.pid) if daemon else "-"
    known = columns([(name, 8), (Span(link.value, LINK_TONES[link]), 6), (ages, 6), (pid, -7), (up, 8), (restarts, -3)])
    return (*known, Span("  "), Span(trouble, "warn"))


SERVICE_HEAD: Line = columns(
    [
        (Span("service", "dim"), 8),
        (Span("link", "dim"), 6),
        (Span("age", "dim"), 6),
        (Span("pid", "dim"), -7),
        (Span("up", "dim"), 8),
        (Span("rst", "dim"), -3),
    ]
)
"""Names of the columns of a wide service row."""


def wallet_state(wallet: Wallet, now: datetime) -> Span:
    """Whether a wallet can sign, with its lease."""
    if wallet.kind is WalletKind.COLD:
        return Span("watch-only", "dim")
    if wallet.state is WalletState.LOCKED:
        return Span("locked", "warn")
    if wallet.unlocked_until is None:
        return Span("unlocked", "ok")
    return Span(f"unlocked {countdown((wallet.unlocked_until - now).total_seconds())}", "ok")


def balance_span(snapshot: Snapshot, address: str, now: float) -> Span:
    """A wallet's balance: dimmed and marked while the chain's values are stale, a dash when it is not known."""
    account = snapshot.balances.get(address)
    if account is None:
        return Span("-", "dim")
    return stale(money(account.balance_sun), snapshot.chain(now) is not Link.OK)


def payout_row(payout: Payout, cells: int) -> Line:
    """A payout in a list."""
    wide = cells >= 100
    parts: list[tuple[str | Span, int]] = [
        (payout.id, 8),
        (payout_word(payout.state), 9),
        (money(payout.amount, payout.asset), -19),
        (clean(payout.wallet), 10 if not wide else 14),
        (payout.to if cells >= 110 else short(payout.to), 34 if cells >= 110 else 14),
    ]
    used = sum(abs(size) for _, size in parts) + len(parts)
    parts.append(
        (Span(clean(payout.waiting or payout.memo), "warn" if payout.waiting else "dim"), max(4, cells - used))
    )
    return columns(parts)


def payout_head(cells: int) -> Line:
    """Names of the columns of a payout row."""
    wide = cells >= 100
    return columns(
        [
            (Span("id", "dim"), 8),
            (Span("state", "dim"), 9),
            (Span("amount", "dim"), -19),
            (Span("from", "dim"), 10 if not wide else 14),
            (Span("to", "dim"), 34 if cells >= 110 else 14),
            (Span("note", "dim"), 8),
        ]
    )


def endpoint_row(endpoint: Endpoint, cells: int) -> Line:
    """A TRON node."""
    latency = f"{endpoint.latency_ms} ms" if endpoint.latency_ms is not None else "-"
    parts: list[tuple[str | Span, int]] = [
        (clean(endpoint.name), 22),
        (Span(endpoint.state.value, ENDPOINT_TONES.get(endpoint.state, "")), 13),
        (latency, -8),
        (count(endpoint.head_number), -11),
        (count(endpoint.solid_number), -11),
        (count(endpoint.failures), -5),
    ]
    used = sum(abs(size) for _, size in parts) + len(parts)
    return columns([*parts, (Span(clean(endpoint.detail), "warn"), max(0, cells - used))])


ENDPOINT_HEAD: Line = columns(
    [
        (Span("endpoint", "dim"), 22),
        (Span("state", "dim"), 13),
        (Span("latency", "dim"), -8),
        (Span("head", "dim"), -11),
        (Span("solid", "dim"), -11),
        (Span("fails", "dim"), -5),
    ]
)
"""Names of the columns of an endpoint row."""
