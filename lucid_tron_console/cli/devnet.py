"""`lucid-tron devnet`: play money, blocks on demand, faults and known accounts of the home's own chain."""

import time
from typing import Any
from urllib.parse import quote

import click

from lucid_tron_console import output, probe
from lucid_tron_console.cli.framework import Duration, Group, Money, Session, pass_session
from lucid_tron_console.exit_codes import StillWaiting
from services.kit.errors import Conflict, Invalid, LucidError, UpstreamError
from services.kit.money import format_money

KINDS = (
    "delay",
    "delay_after",
    "drop_before",
    "drop_after",
    "error_before",
    "error_after",
    "rate_limit",
    "cut",
    "drip",
    "huge",
    "false_duplicate",
    "answer",
    "lose",
    "last_slot",
    "lag",
    "stuck_solid",
    "future_solid",
    "hide",
    "phantom",
    "other_genesis",
    "false_balance",
)
"""What a fault can do; the devnet says the rest."""

_FACTOR_PARTS = 10_000
"""The devnet counts penalties in ten-thousandths, as java-tron does."""

FAUCET_SUN = 10_000_000_000
"""What the faucet gives unless told otherwise: 10,000 TRX."""


@click.group(cls=Group)
def devnet() -> None:
    """Play money, blocks, forks, snapshots and faults of the embedded devnet."""


def ask_devnet(session: Session, path: str, *, method: str = "GET", body: object = None) -> dict[str, Any]:
    """Ask the devnet of the session's node.

    Raises:
        Unavailable: the node is not running.
        Invalid: it is on another network.
    """
    record = session.home().require_running()
    if record.network != "devnet" or record.devnet_url is None:
        raise Invalid(f"this node is on {record.network}, and there is a faucet on the devnet only")
    answer = probe.ask(record.devnet_url, path, method=method, body=body, timeout_s=30)
    if not isinstance(answer, dict):
        raise UpstreamError(f"the devnet answered {path} with something that is no object")
    return answer


@devnet.command(
    "faucet",
    examples=["devnet faucet hot --trx 1000", "devnet faucet T... --trx 2.5 -o json", "devnet faucet hot --usdt 250"],
)
@click.argument("address")
@click.option("--trx", type=Money(), help="How much TRX (10000 if neither is said).")
@click.option("--usdt", type=Money(), help="How much USDT; needs no TRX.")
@click.option("--wait/--no-wait", default=True, help="Return when a block has it (default), or at once.")
@click.option("--timeout", type=Duration(), default="30s", show_default=True, help="How long to wait.")
@pass_session
def faucet(session: Session, /, *, address: str, trx: int | None, usdt: int | None, wait: bool, timeout: int) -> None:
    """Send play money to ADDRESS, or to the wallet of that name, and wait until a block has it.

    TRX and USDT together are two transactions.
    """
    to = _address(session, address)
    given: list[tuple[str, int, dict[str, object]]] = []
    if trx is not None or usdt is None:
        amount = FAUCET_SUN if trx is None else trx
        given.append(("TRX", amount, {"address": to, "amount_sun": amount}))
    if usdt is not None:
        given.append(("USDT", usdt, {"address": to, "token": "USDT", "amount": usdt}))
    answers = [ask_devnet(session, "/admin/faucet", method="POST", body=body) for _, _, body in given]
    lines, shown = [], []
    for (asset, amount, _), answer in zip(given, answers, strict=True):
        txid = str(answer.get("txid"))
        block = _await_block(session, txid, timeout) if wait else None
        where = f"in block {block}" if block is not None else "on their way"
        lines += [f"{format_money(amount)} {asset} {where}, to {to}", f"txid  {txid}"]
        shown.append({**answer, "block_number": block})
    # With one transaction the answer is that of the devnet, as it has always been.
    data = shown[0] if len(shown) == 1 else {"transactions": shown}
    output.data(session.output, data, [output.clean(line) for line in lines])


def _await_block(session: Session, txid: str, timeout_s: int) -> int:
    """Wait until a block has a transaction.

    Raises:
        StillWaiting: none has it in time.
        Conflict: a block has it, and it failed there.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = ask_devnet(session, "/wallet/gettransactioninfobyid", method="POST", body={"value": txid})
        if found.get("result") == "FAILED":
            raise Conflict(f"the faucet's transaction {txid} failed in its block; is the token paused?")
        if "blockNumber" in found:
            return int(found["blockNumber"])
        time.sleep(0.1)
    raise StillWaiting(
        f"no block has the faucet's transaction {txid} after {timeout_s} s; if blocks are made on demand: "
        "`lucid-tron devnet mine`"
    )


def _address(session: Session, text: str) -> str:
    """Take an address as it is, and look up anything else as a wallet's name."""
    if text[:1] in {"T", "4"} and len(text) in {34, 42}:
        return text
    try:
        found = probe.ask(session.home().socket("wallet"), f"/api/v1/tron/wallets/{quote(text, safe='')}")
    except LucidError as error:
        raise Invalid(
            f"{text!r} is no address, and no wallet of that name: {error.message}", field="address"
        ) from error
    return str(found["address"])


@devnet.command("mine", examples=["devnet mine --blocks 20", "devnet mine --skip 14d"])
@click.option("--blocks", type=click.IntRange(1, 10_000), default=1, show_default=True)
@click.option("--skip", type=Duration(), default="0s", help="Let so much chain time go by before the first of them.")
@pass_session
def mine(session: Session, blocks: int, skip: int) -> None:
    """Make blocks at once."""
    answer = ask_devnet(session, f"/admin/mine?blocks={blocks}&skip_s={skip}", method="POST")
    head = answer.get("head", {}).get("number")
    output.data(session.output, answer, output.facts([("head", head), ("solid", answer.get("solid"))]))


@devnet.command("fork", examples=["devnet fork --blocks 3", "devnet fork --blocks 2 --transactions lost"])
@click.option("--blocks", type=click.IntRange(1, 10_000), default=1, show_default=True, help="How many are undone.")
@click.option(
    "--transactions",
    type=click.Choice(["again", "pool", "lost"]),
    default="again",
    show_default=True,
    help="Whether the new branch has theirs, they wait again, or are forgotten.",
)
@pass_session
def fork(session: Session, blocks: int, transactions: str) -> None:
    """Let a longer branch replace the newest blocks; solid ones stay."""
    body = {"blocks": blocks, "transactions": transactions}
    answer = ask_devnet(session, "/admin/fork", method="POST", body=body)
    undone = answer.get("undone", [])
    lines = output.facts([("head", answer.get("head", {}).get("number")), ("transactions undone", len(undone))])
    output.data(session.output, answer, [*lines, *undone])


@devnet.command("penalty", examples=["devnet penalty TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t --factor 3.4"])
@click.argument("contract")
@click.option("--factor", type=click.FloatRange(0, 10), required=True, help="3.4 makes energy 340 % dearer; 0 ends it.")
@pass_session
def penalty(session: Session, contract: str, factor: float) -> None:
    """Make CONTRACT as dear as if it had been busy (needs DEVNET_DYNAMIC_ENERGY=true when the node starts)."""
    path = f"/admin/contracts/{quote(contract, safe='')}/energy-factor"
    answer = ask_devnet(session, path, method="POST", body={"factor": round(factor * _FACTOR_PARTS)})
    dearer = f"{answer.get('factor', 0) / _FACTOR_PARTS:.2%}"
    output.data(session.output, answer, [f"calls of {answer.get('address')} take {dearer} more energy"])


@devnet.group("snapshot")
def snapshot() -> None:
    """Save the whole chain under a name, and go back to it."""


def _snapshot(name: str) -> str:
    return f"/admin/snapshots/{quote(name, safe='')}"


@snapshot.command("save", examples=["devnet snapshot save before-the-drill"])
@click.argument("name")
@pass_session
def save(session: Session, name: str) -> None:
    """Save the chain under NAME (a-z, 0-9 and -), instead of what that name had."""
    answer = ask_devnet(session, _snapshot(name), method="POST")
    output.data(session.output, answer, [f"saved {name} at block {answer.get('head', {}).get('number')}"])


@snapshot.command("load", examples=["devnet snapshot load before-the-drill"])
@click.argument("name")
@pass_session
def load(session: Session, name: str) -> None:
    """Go back to NAME: what has happened since then never was, and payouts made since then may be paid anew."""
    answer = ask_devnet(session, f"{_snapshot(name)}/load", method="POST")
    output.data(session.output, answer, [f"back at block {answer.get('head', {}).get('number')}"])


@snapshot.command("list", examples=["devnet snapshot list"])
@pass_session
def snapshots(session: Session) -> None:
    """List the names under which the chain was saved."""
    answer = ask_devnet(session, "/admin/snapshots")
    output.data(session.output, answer, answer.get("snapshots", []))


@snapshot.command("remove", examples=["devnet snapshot remove before-the-drill"])
@click.argument("name")
@pass_session
def remove(session: Session, name: str) -> None:
    """Remove NAME."""
    answer = ask_devnet(session, _snapshot(name), method="DELETE")
    output.data(session.output, answer, [f"removed {name}"])


@devnet.command("accounts", examples=["devnet accounts -o json"])
@pass_session
def accounts(session: Session) -> None:
    """List the funded accounts whose private keys everybody knows."""
    answer = ask_devnet(session, "/admin/accounts-json")
    rows = list(zip(answer.get("addresses", []), answer.get("privateKeys", []), strict=False))
    output.data(session.output, answer, output.table(("address", "private key"), rows))


@devnet.group("fault")
def fault() -> None:
    """Make the devnet misbehave: add, list and clear faults."""


@fault.command(
    "add",
    examples=["devnet fault add drop_after --count 1", "devnet fault add delay --delay-ms 5000 --port 9090"],
)
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--path", help="Pattern of the paths it hits, such as /wallet/*.")
@click.option("--port", type=click.IntRange(1, 65_535), help="The endpoint it hits (default: all).")
@click.option("--address", help="Whom it hits: calls and transactions that name this address (default: everybody).")
@click.option("--count", type=click.IntRange(min=1), help="How often it strikes (default: until it is removed).")
@click.option("--probability", type=click.FloatRange(0, 1, min_open=True), help="How probable a strike is.")
@click.option("--seed", type=int, help="Where the dice for --probability begin.")
@click.option("--delay-ms", type=click.IntRange(0, 600_000), help="For delay, delay_after and drip.")
@click.option("--status", type=click.IntRange(500, 599), help="For error_before and error_after.")
@click.option("--code", help="For answer: the broadcast code, such as SERVER_BUSY.")
@click.option("--blocks", type=click.IntRange(1, 90), help="For lag: how many are missing.")
@click.option("--block", type=click.IntRange(min=0), help="For stuck_solid: where (default: where it is).")
@click.option("--ahead-ms", type=click.IntRange(min=1), help="For future_solid.")
@click.option("--balance", "balance_sun", type=Money(), help="For false_balance, in TRX.")
@click.option("--megabytes", type=click.IntRange(1, 1_024), help="For huge.")
@pass_session
def add(session: Session, /, *, kind: str, **options: Any) -> None:
    """Switch the fault KIND on."""
    body = {"kind": kind, **{name: value for name, value in options.items() if value is not None}}
    answer = ask_devnet(session, "/admin/faults", method="POST", body=body)
    output.data(session.output, answer, output.facts(answer.items()))


@fault.command("list", examples=["devnet fault list"])
@pass_session
def list_(session: Session) -> None:
    """List the faults that are on, and how often each has struck."""
    answer = ask_devnet(session, "/admin/faults")
    rows = [(one["id"], one["kind"], one["path"], one["struck"]) for one in answer.get("faults", [])]
    output.data(session.output, answer, output.table(("id", "kind", "path", "struck"), rows, ("id", "struck")))


@fault.command("clear", examples=["devnet fault clear", "devnet fault clear 3"])
@click.argument("number", metavar="[ID]", type=int, required=False)
@pass_session
def clear(session: Session, number: int | None) -> None:
    """Switch the fault ID off, or all of them."""
    path = "/admin/faults" if number is None else f"/admin/faults/{number}"
    answer = ask_devnet(session, path, method="DELETE")
    output.data(session.output, answer, [f"{answer.get('removed')} removed"])
