"""`lucid-tron tx`: what the chain says of a transaction."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from lucid_tron_console import output
from lucid_tron_console.cli.framework import Group, Session, pass_session
from lucid_tron_console.cli.requests import build
from lucid_tron_console.exit_codes import ExitCode
from services.kit.errors import NotFound
from services.kit.money import format_money
from services.tron.api import HistoryQuery, Transaction, TxState
from services.tron.client import TronClient

T = TypeVar("T")


def ask_tron(session: Session, work: Callable[[TronClient], Awaitable[T]]) -> T:
    """Do one thing with the TRON client of the session's node."""
    return session.ask(TronClient, "tron", work)


@click.group(cls=Group)
def tx() -> None:
    """Show transactions, receipts and histories."""


@tx.command("show", examples=["tx show 5f2c... -o json"])
@click.argument("txid")
@pass_session
def show(session: Session, txid: str) -> int:
    """Show the transaction TXID, decoded from its bytes, and how deep it lies."""
    found = ask_tron(session, lambda client: client.transaction(txid))
    if found.state is TxState.UNKNOWN:
        raise NotFound(f"no endpoint knows {txid}; that proves nothing about its future", txid=txid)
    lines = output.facts(
        [
            ("txid", found.txid),
            ("state", found.state),
            ("type", found.type),
            ("from", found.owner),
            ("to", found.to),
            ("amount", _trx(found.amount_sun)),
            ("memo", found.memo),
            ("result", found.result),
            ("block", found.block_number),
            ("confirmations", found.confirmations),
            ("fee", _trx(found.fee_sun)),
            ("endpoint", found.endpoint),
        ]
    )
    output.data(session.output, found.model_dump(mode="json"), lines)
    return ExitCode.OK


@tx.command("receipt", examples=["tx receipt 5f2c..."])
@click.argument("txid")
@pass_session
def receipt(session: Session, txid: str) -> None:
    """Show what the transaction TXID cost."""
    found = ask_tron(session, lambda client: client.receipt(txid))
    lines = output.facts(
        [
            ("txid", found.txid),
            ("state", found.state),
            ("result", found.result),
            ("block", found.block_number),
            ("confirmations", found.confirmations),
            ("fee", _trx(found.fee_sun)),
            ("bandwidth", f"{found.bandwidth_used} used, {_trx(found.bandwidth_fee_sun)} burnt"),
            ("energy", f"{found.energy_used} used, {_trx(found.energy_fee_sun)} burnt"),
            ("endpoint", found.endpoint),
        ]
    )
    output.data(session.output, found.model_dump(mode="json"), lines)


@tx.command("history", examples=["tx history hot --limit 20", "tx history T... -o json"])
@click.argument("wallet")
@click.option("--skip", type=click.IntRange(0, 10_000), default=0)
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option("--from-timestamp", type=int, metavar="MS", help="Chain time in milliseconds, inclusive.")
@click.option("--to-timestamp", type=int, metavar="MS")
@pass_session
def history(
    session: Session, *, wallet: str, skip: int, limit: int, from_timestamp: int | None, to_timestamp: int | None
) -> None:
    """List transactions of WALLET (a name or an address), newest first."""
    query = build(HistoryQuery, skip=skip, limit=limit, from_timestamp=from_timestamp, to_timestamp=to_timestamp)
    found = ask_tron(session, lambda client: client.history(wallet, query))
    rows = [_row(found.address, one) for one in found.items]
    lines = output.table(("block", "state", "result", "", "TRX", "with", "txid"), rows, ("TRX",))
    if found.more:
        lines.append(f"more: --skip {skip + limit}")
    output.data(session.output, found.model_dump(mode="json"), lines)


def _row(address: str, one: Transaction) -> tuple[object, ...]:
    incoming = one.to == address
    amount = format_money(one.amount_sun) if one.amount_sun is not None else ""
    other = one.owner if incoming else one.to
    return one.block_number, one.state, one.result, "in" if incoming else "out", amount, other, one.txid


def _trx(sun: int | None) -> str | None:
    return None if sun is None else f"{format_money(sun)} TRX"
