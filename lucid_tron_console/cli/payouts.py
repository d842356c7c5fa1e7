"""`lucid-tron payouts`: create, follow, list, cancel and retry payouts."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import SecretStr

from lucid_tron_console import output
from lucid_tron_console.cli.framework import (
    PAYOUT,
    SECRET_FILE,
    Duration,
    Group,
    Money,
    Session,
    new_key,
    pass_session,
)
from lucid_tron_console.cli.requests import build
from lucid_tron_console.exit_codes import ExitCode, NotPaid, StillWaiting
from lucid_tron_console.secret_input import ask, passphrase_without_asking
from services.kit.client import follow
from services.kit.errors import LucidError, NotFound, Timeout, TooManyRequests, Unavailable, UpstreamError
from services.kit.money import Asset, format_money, format_units
from services.payout.api import AcceptDeath, CreatePayout, ListPayouts, Payout, PayoutReason, PayoutState
from services.payout.client import PayoutClient
from services.wallet.api import Unlock, WalletState
from services.wallet.client import WalletClient

T = TypeVar("T")

ORDER = (
    PayoutState.AWAITING_APPROVAL,
    PayoutState.APPROVED,
    PayoutState.RESERVED,
    PayoutState.SIGNED,
    PayoutState.SENDING,
    PayoutState.SEEN,
    PayoutState.PAID,
)
"""The way of a payout that goes well."""

UNLOCK_PATIENCE_S, UNLOCK_PAUSE_S = 15.0, 0.5
"""How long, and how far apart, a busy signer is asked to unlock a wallet."""

LOOK_AGAIN_S = 5.0
"""A wait looks at the payout this often even if no event comes."""


def ask_payout(session: Session, work: Callable[[PayoutClient], Awaitable[T]]) -> T:
    """Do one thing with the payout router of the session's node."""
    return session.ask(PayoutClient, "payout", work)


@click.group(cls=Group)
def payouts() -> None:
    """Create, list, watch, cancel and retry payouts."""


@payouts.command(
    "create",
    examples=[
        "payouts create --from hot --to T... --asset TRX --amount 12.5",
        "payouts create --from hot --to T... --asset TRX --amount 12.5 --key rent-11 --wait paid -o json",
    ],
)
@click.option("--from", "wallet", required=True, metavar="WALLET", help="The hot wallet that pays.")
@click.option("--to", required=True, metavar="ADDRESS", help="Who is paid: base58, or hex beginning with 41.")
@click.option("--asset", type=click.Choice([asset.value for asset in Asset]), default="TRX", show_default=True)
@click.option("--amount", type=Money(), required=True, metavar="DECIMAL", help="Such as 12.5; at most six decimals.")
@click.option("--memo", default="", help="Public on the chain for ever, and it costs 1 TRX.")
@click.option("--reason", type=click.Choice([reason.value for reason in PayoutReason]), default="custom")
@click.option("--key", metavar="KEY", help="Idempotency key: repeated with the same key it is the same payout.")
@click.option(
    "--wait",
    "until",
    type=click.Choice(["none", "sending", "seen", "paid"]),
    default="none",
    show_default=True,
    help="Return when it got this far.",
)
@click.option("--timeout", type=Duration(), default="5m", show_default=True, help="How long to wait.")
@click.option(
    "--passphrase-file", type=SECRET_FILE, metavar="FILE", help="Unlocks the wallet if it is locked (mode 0600)."
)
@click.option("--lease", type=Duration(), default="15m", show_default=True, help="How long an unlock lasts.")
@pass_session
def create(
    session: Session,
    *,
    wallet: str,
    to: str,
    asset: str,
    amount: int,
    memo: str,
    reason: str,
    key: str | None,
    until: str,
    timeout: int,
    passphrase_file: Path | None,
    lease: int,
) -> int:
    """Pay once, however often it is repeated with the same --key.

    Repeated, it shows the payout that was made, and waits for it.

    Without --key one is made and printed on stderr before anything is sent, so that a lost answer can be asked for
    again. With --wait paid the exit code is 0 only when the money is there for good; see 6 and 7 in the table of
    `lucid-tron --help`. The payout is printed in either case.
    """
    if key is None:
        key = new_key()
        session.note(f"key {key}: repeat with --key {key} if the answer gets lost")
    request = build(
        CreatePayout,
        key=key,
        wallet=wallet,
        to=to,
        asset=Asset(asset),
        amount=amount,
        memo=memo,
        reason=PayoutReason(reason),
    )
    locked = _unlock_if_possible(session, wallet, passphrase_file, lease)
    payout = _send(session, request)
    if locked and not payout.state.final and payout.txid is None:
        unlock = session.home().command(f"wallets unlock {wallet}")
        session.note(f"wallet {wallet} is locked: {payout.id} waits for `{unlock}`")
    if until == "none":
        _print(session, payout)
        return ExitCode.OK
    return _await_and_print(session, payout.id, PayoutState(until), timeout)


def _send(session: Session, request: CreatePayout) -> Payout:
    try:
        return ask_payout(session, lambda client: client.create(request))
    except (Timeout, Unavailable, UpstreamError) as error:
        if session.home().holder() is None:
            raise
        words = f"{error.message}; it may have been accepted: repeat the command with --key {request.key}"
        raise type(error)(words, key=request.key) from error


def _unlock_if_possible(session: Session, name: str, file: Path | None, lease_s: int) -> bool:
    """Unlock a locked wallet if a passphrase can be had; returns whether it stays locked."""
    if not _is_locked(session, name):
        return False
    secret = passphrase_without_asking(file)
    if secret is None and not sys.stdin.isatty():
        return True
    # Asked outside of the event loop, which would swallow a ^C while a person types.
    secret = secret or ask(f"Wallet {name} is locked. Passphrase")
    request = build(Unlock, passphrase=SecretStr(secret), lease_s=lease_s)
    deadline = time.monotonic() + UNLOCK_PATIENCE_S
    while True:
        try:
            session.ask(WalletClient, "wallet", lambda client: client.unlock(name, request))
        except TooManyRequests:
            if time.monotonic() > deadline:
                raise
        else:
            return False
        # Many shells unlock at once; one of them may have done it.
        time.sleep(UNLOCK_PAUSE_S)
        if not _is_locked(session, name):
            return False


def _is_locked(session: Session, name: str) -> bool:
    try:
        wallet = session.ask(WalletClient, "wallet", lambda client: client.get(name))
    except (NotFound, Unavailable, Timeout):
        return False  # the payout router says it in its own words, or takes the payout and waits
    return wallet.state is WalletState.LOCKED


@payouts.command("show", examples=["payouts show P-1 -o json"])
@click.argument("payout_id", metavar="ID", type=PAYOUT)
@pass_session
def show(session: Session, payout_id: str) -> None:
    """Show the payout ID with its attempts."""
    _print(session, ask_payout(session, lambda client: client.get(payout_id)))


@payouts.command("list", examples=["payouts list --open", "payouts list --state dead -o json"])
@click.option("--state", type=click.Choice([state.value for state in PayoutState]))
@click.option("--open", "only_open", is_flag=True, help="Only those that are not final.")
@click.option("--wallet", metavar="NAME")
@click.option("--to", metavar="ADDRESS")
@click.option("--txid")
@click.option("--text", help="Found in id, key, memo or address.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option("--before", metavar="NEXT", help="The `next` of the page before.")
@pass_session
def list_(session: Session, /, only_open: bool, **filters: Any) -> None:
    """List payouts, newest first, a page at a time."""
    state = filters.pop("state")
    query = build(ListPayouts, **filters, state=PayoutState(state) if state else None, open=True if only_open else None)
    page = ask_payout(session, lambda client: client.list(query))
    rows = [
        (one.id, one.state, format_money(one.amount), one.asset, one.wallet, one.to, one.waiting) for one in page.items
    ]
    lines = output.table(("id", "state", "amount", "asset", "from", "to", "waiting"), rows, ("amount",))
    if page.next:
        lines.append(f"more: --before {page.next}")
    body = {"items": [as_json(one) for one in page.items], "next": page.next}
    output.data(session.output, body, lines)


@payouts.command("stats", examples=["payouts stats -o json"])
@pass_session
def stats(session: Session) -> None:
    """Count payouts by state, and show the limits."""
    found = ask_payout(session, lambda client: client.stats())
    lines = output.facts(found.by_state.items())
    lines += output.facts((f"paid in 24 h, {asset}", format_money(units)) for asset, units in found.paid_today.items())
    rows = [
        (one.name, format_money(one.used), format_money(one.limit) if one.limit else "none") for one in found.limits
    ]
    lines += ["", *output.table(("limit", "used", "of"), rows, ("used", "of"))] if rows else []
    output.data(session.output, found.model_dump(mode="json"), lines)


@payouts.command("cancel", examples=["payouts cancel P-1"])
@click.argument("payout_id", metavar="ID", type=PAYOUT)
@pass_session
def cancel(session: Session, payout_id: str) -> None:
    """Withdraw the payout ID before anything has left."""
    _print(session, ask_payout(session, lambda client: client.cancel(payout_id)))


@payouts.command("retry", examples=["payouts retry P-1"])
@click.argument("payout_id", metavar="ID", type=PAYOUT)
@pass_session
def retry(session: Session, payout_id: str) -> None:
    """Push the payout ID on; it never pays twice.

    The same bytes are sent again; a new attempt is opened only when the last one is proved dead or has failed.
    """
    done = ask_payout(session, lambda client: client.retry(payout_id))
    if session.output == "text":
        session.note(output.clean(done.message))
    body = {"act": done.act, "message": done.message, "payout": as_json(done.payout)}
    output.data(session.output, body, _facts(done.payout))


@payouts.command("accept-death", examples=["payouts accept-death P-1 --txid 5f2c..."])
@click.argument("payout_id", metavar="ID", type=PAYOUT)
@click.option("--txid", required=True, help="Of the attempt whose proof is accepted.")
@pass_session
def accept_death(session: Session, payout_id: str, txid: str) -> None:
    """Accept a death proof that rests on one endpoint.

    Look at it first with `payouts show`.
    """
    accepted = build(AcceptDeath, txid=txid)
    _print(session, ask_payout(session, lambda client: client.accept_death(payout_id, accepted.txid)))


@payouts.command("watch", examples=["payouts watch P-1 --timeout 10m", "payouts watch -o json"])
@click.argument("payout_id", metavar="[ID]", type=PAYOUT, required=False)
@click.option("--timeout", type=Duration(), help="Stop after this long (default: never).")
@pass_session
def watch(session: Session, payout_id: str | None, timeout: int | None) -> int:
    """Print every change, until the payout is final.

    Without an ID it prints the changes of all payouts until ^C. With -o json every change is one line of JSON.
    """
    final = session.run(lambda: _watch(session, payout_id, timeout))
    if final is not None and final.state is not PayoutState.PAID:
        raise _not_paid(final)
    return ExitCode.OK


async def _watch(session: Session, payout_id: str | None, timeout_s: int | None) -> Payout | None:
    async with PayoutClient(session.home().socket("payout")) as client:
        # A node that does not run, or a payout that is not there, is an error and not a silence.
        await (client.stats() if payout_id is None else client.get(payout_id))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                changes = _changes(client, payout_id) if payout_id else _all_changes(client)
                async for payout in changes:
                    line = f"{payout.id} {payout.state} {payout.waiting} {payout.txid or ''}"
                    output.data(session.output, as_json(payout), [output.clean(" ".join(line.split()))])
                    if payout_id and payout.state.final:
                        return payout
    if payout_id:
        raise StillWaiting(f"{payout_id} is not final after {timeout_s} s; it goes on")
    return None


async def _changes(client: PayoutClient, payout_id: str) -> AsyncIterator[Payout]:
    """Yield a payout now, and whenever it changed; a router that is away is waited for, at the first look too."""
    shown: Payout | None = None
    events = follow(client)
    nudge = asyncio.ensure_future(anext(events))
    try:
        while True:
            with contextlib.suppress(Unavailable, Timeout):
                found = await client.get(payout_id)
                if found != shown:
                    shown = found
                    yield found
            await asyncio.wait({nudge}, timeout=LOOK_AGAIN_S)
            while nudge.done() and not _concerns(nudge.result().name, nudge.result().data, shown):
                nudge = asyncio.ensure_future(anext(events))
                await asyncio.wait({nudge}, timeout=LOOK_AGAIN_S)
            if nudge.done():
                nudge = asyncio.ensure_future(anext(events))
    finally:
        nudge.cancel()


def _concerns(event: str, data: str, shown: Payout | None) -> bool:
    """Whether an event may be news of the payout."""
    return event != "ping" and (event != "payout" or shown is None or shown.id in data)


async def _all_changes(client: PayoutClient) -> AsyncIterator[Payout]:
    async for event in follow(client):
        if event.name == "payout":
            yield Payout.model_validate_json(event.data)


def _await_and_print(session: Session, payout_id: str, goal: PayoutState, timeout_s: int) -> int:
    last: list[Payout] = []

    async def wait() -> bool:
        async with PayoutClient(session.home().socket("payout")) as client:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    async for payout in _changes(client, payout_id):
                        last[:] = [payout]
                        if payout.state.final or reached(payout.state, goal):
                            return True
            return False

    over = session.run(wait)
    if last:
        _print(session, last[0])
    if not over:
        state = f"is {last[0].state}" if last else "was accepted"
        waiting = f" ({last[0].waiting})" if last and last[0].waiting else ""
        raise StillWaiting(
            f"{payout_id} {state}{waiting} after {timeout_s} s; it goes on: "
            f"`{session.home().command(f'payouts watch {payout_id}')}`"
        )
    if not reached(last[0].state, goal):
        raise _not_paid(last[0])
    return ExitCode.OK


def reached(state: PayoutState, goal: PayoutState) -> bool:
    """Whether a payout in `state` got as far as `goal` on the way that goes well."""
    return state in ORDER and ORDER.index(state) >= ORDER.index(goal)


def _not_paid(payout: Payout) -> LucidError:
    advice = (
        ""
        if payout.state in {PayoutState.CANCELLED, PayoutState.REJECTED}
        else (f": `lucid-tron payouts retry {payout.id}` opens a new attempt")
    )
    return NotPaid(f"{payout.id} ended {payout.state}{advice}", id=payout.id, state=payout.state.value)


def as_json(payout: Payout) -> dict[str, Any]:
    """A payout for programs: the wire model, and the amount as a decimal text beside it."""
    body = payout.model_dump(mode="json")
    return {**body, "amount_text": format_units(payout.amount, payout.asset.decimals)}


def _print(session: Session, payout: Payout) -> None:
    output.data(session.output, as_json(payout), _facts(payout))


def _facts(payout: Payout) -> list[str]:
    lines = output.facts(
        [
            ("id", payout.id),
            ("state", payout.state),
            ("waiting for", payout.waiting),
            ("amount", f"{format_money(payout.amount, payout.asset.decimals)} {payout.asset}"),
            ("from", f"{payout.wallet} ({payout.from_address})"),
            ("to", payout.to),
            ("check code", payout.check_code),
            ("memo", payout.memo),
            ("key", payout.key),
            ("txid", payout.txid),
            ("created", f"{output.utc(payout.created_at)} by {payout.created_by}"),
        ]
    )
    for attempt in payout.attempts:
        lines += ["", f"attempt {attempt.number}: {attempt.state}"]
        lines += [
            f"  {line}"
            for line in output.facts(
                [
                    ("txid", attempt.txid),
                    ("block", attempt.block_number),
                    ("fee", f"{format_money(attempt.fee_sun)} TRX" if attempt.fee_sun is not None else None),
                    ("sends", attempt.sends),
                    ("proof", attempt.proof),
                    *(("answer", answer) for answer in attempt.answers),
                ]
            )
        ]
    return lines
