"""What an operator should look at, worked out from the snapshot: a word, a reason, and the place to go."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lucid_tron_console.backend import Link, Snapshot
from lucid_tron_console.format import clean
from services.tor.api import TorState
from services.tron.api import EndpointState
from services.wallet.api import WalletState


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that needs an operator."""

    level: Literal["CRIT", "WARN"]
    text: str
    """Clean, one line."""
    target: str
    """Where to go, as in a deep link: `payouts/P-3`."""


def alerts(snapshot: Snapshot, now: float) -> tuple[Alert, ...]:
    """Work out what needs an operator, worst first."""
    found = [
        *_services(snapshot, now),
        *_chain(snapshot, now),
        *_tor(snapshot, now),
        *_signer(snapshot),
        *_payouts(snapshot),
    ]
    return tuple(sorted(found, key=lambda alert: alert.level != "CRIT"))


def _services(snapshot: Snapshot, now: float) -> Iterator[Alert]:
    for name, feed in snapshot.feeds.items():
        if name == "tor":
            continue  # without it nobody watches or rotates, but calls go on through Tor
        match feed.link(now):
            case Link.DOWN:
                yield Alert("CRIT", f"{name} is DOWN: payouts are BLOCKED", "services")
            case Link.STALE:
                yield Alert("CRIT", f"{name} is silent: its values are STALE, payouts are BLOCKED", "services")


def _chain(snapshot: Snapshot, now: float) -> Iterator[Alert]:
    network = snapshot.network
    if network is None or snapshot.feeds["tron"].link(now) is not Link.OK:
        return
    usable = [endpoint for endpoint in network.endpoints if endpoint.state is EndpointState.OK]
    for endpoint in network.endpoints:
        if endpoint.state in {EndpointState.RESTING, EndpointState.WRONG_NETWORK, EndpointState.LAGGING}:
            level: Literal["CRIT", "WARN"] = "WARN" if usable else "CRIT"
            detail = f": {clean(endpoint.detail)}" if endpoint.detail else ""
            yield Alert(level, f"endpoint {clean(endpoint.name)} is {endpoint.state}{detail}", "services")
    if snapshot.chain(now) is Link.STALE:
        yield Alert("WARN", "no new block has been seen for a while: the chain is STALE", "services")


def _tor(snapshot: Snapshot, now: float) -> Iterator[Alert]:
    if snapshot.clear:
        yield Alert("CRIT", f"in the CLEAR: {clean(snapshot.clear)}", "tor")
    if not snapshot.has_tor:
        return
    link = snapshot.feeds["tor"].link(now)
    if link in {Link.DOWN, Link.STALE}:
        word = "is DOWN" if link is Link.DOWN else "is silent: its values are STALE"
        yield Alert("WARN", f"the tor service {word}; calls go on through Tor, circuits are not watched", "tor")
        return
    status = snapshot.tor.status
    if status is None or status.state is TorState.STARTING:
        return
    if status.state is not TorState.OK:
        mild = status.state.usable or status.state is TorState.BOOTSTRAPPING
        level: Literal["CRIT", "WARN"] = "WARN" if mild else "CRIT"
        yield Alert(level, f"tor is {status.state.replace('_', ' ')}: {clean(status.detail)}", "tor")
    for warning in status.warnings[:3]:
        yield Alert("WARN", f"tor: {clean(warning)}", "tor")


def _signer(snapshot: Snapshot) -> Iterator[Alert]:
    if snapshot.signer and snapshot.signer.frozen:
        by = clean(snapshot.signer.frozen_by or "someone")
        why = clean(snapshot.signer.frozen_reason or "no reason given")
        yield Alert("CRIT", f"signing is FROZEN by {by}: {why}", "wallets")


def _payouts(snapshot: Snapshot) -> Iterator[Alert]:
    for payout in snapshot.open_payouts:
        newest = payout.attempts[-1] if payout.attempts else None
        if newest and newest.proof_needs_acceptance:
            yield Alert("WARN", f"{payout.id}: a death proof waits for you to accept it", f"payouts/{payout.id}")
        elif payout.waiting:
            wallet = snapshot.wallet(payout.wallet)
            locked = wallet is not None and wallet.state is WalletState.LOCKED
            target = f"wallets/{payout.wallet}" if locked else f"payouts/{payout.id}"
            yield Alert("WARN", f"{payout.id} waits: {clean(payout.waiting)}", target)
