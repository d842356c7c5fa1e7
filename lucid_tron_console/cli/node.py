"""`lucid-tron up`, `down`, `serve` and `status`: the node as a whole."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from lucid_tron_console import env_file, node, output
from lucid_tron_console.cli.framework import SECRET_FILE, Command, Session, pass_session
from lucid_tron_console.exit_codes import ExitCode
from lucid_tron_console.home import SERVICES, Home, NodeRecord
from lucid_tron_console.probe import Health, ask, health, listens
from lucid_tron_console.python import PYTHON_M
from lucid_tron_console.secret_input import read_secret_file
from lucid_tron_console.tor_state import past_tor_words, tor_state, tor_words
from lucid_tron_console.tor_way import MODES, OFF, TorWay
from services.kit.errors import Conflict, LucidError

NETWORKS = ["mainnet", "shasta", "nile", "testnet", "devnet"]


@click.command(cls=Command, examples=["up --network devnet", "up --network devnet --home /srv/lucid --detach -o json"])
@click.option("--network", type=click.Choice(NETWORKS), help="Chosen once for a home, and kept by it.")
@click.option(
    "--tor",
    type=click.Choice(MODES),
    help="The way out: the machine's tor (system), a private Tor network on this machine (lab, for the devnet), "
    "or off. Kept by the home; a new one has system, and off on the devnet.",
)
@click.option("--detach", is_flag=True, help="Return when the node is up; it goes on.")
@click.option("--passphrase-file", type=SECRET_FILE, help="Unlock the hot wallets at every start of the signer.")
@pass_session
def up(session: Session, network: str | None, tor: str | None, detach: bool, passphrase_file: Path | None) -> int:
    """Start the node of a home: devnet, tor, wallet, tron and payout, each a process of its own.

    In the foreground it runs until ^C. A service that dies is started again; all of them end when this process ends,
    however it ends. On a home whose node runs already it says so, and is content if everything is ready.

    With --detach the exit code is 0 when every service is ready. It is 5 when the node is up but Tor or the chain is
    away: it stays up, says what is wrong, and goes on by itself when they come. A node that cannot come up is stopped
    again, and nothing is on stdout.

    Nothing goes to a real network past Tor unless USE_TOR_FOR_EXTERNAL_CALLS=false says so, and on mainnet
    I_ACCEPT_THAT_MAINNET_CALLS_SHOW_MY_ADDRESS=true as well.

    Settings come from the environment and from lucid.env in the home, such as DEVNET_BLOCK_INTERVAL_MS=500.
    """
    home = session.home()
    record = home.record()
    chosen = node.choose_network(home, record, network, os.environ)
    if home.holder() is not None:
        require_way(home, record, tor)
        session.note(f"the node of {home.path} runs already")
        warn_of_the_clear(session, chosen, record.tor)
        _say_what_is_missing(session, node.wait_ready(home, timeout_s=node.patience_s(record.tor)))
        return show(session, home)
    way = node.choose_tor(home, chosen, tor, record.tor.remembered if record.network else None, os.environ)
    home.prepare()
    if passphrase_file is not None:
        passphrase_file = passphrase_file.absolute()
        read_secret_file(passphrase_file, "passphrase_file")
    if not detach:
        warn_of_the_clear(session, chosen, way)
        node.run_node(home, chosen, passphrase_file, session.note, way)
        return ExitCode.OK
    start(session, home, chosen, passphrase_file, way)
    return show(session, home)


def require_way(home: Home, record: NodeRecord, asked: str | None) -> None:
    """Refuse another way out than that of the node that runs.

    Raises:
        Conflict: the node was started with another one.
    """
    if asked and asked != record.tor.mode:
        raise Conflict(
            f"the node of {home.path} runs with --tor {record.tor.mode}: `{home.command('down')}` first", field="tor"
        )


def start(
    session: Session, home: Home, network: str, passphrase_file: Path | None = None, tor: TorWay = OFF
) -> list[Health]:
    """Start a detached node and wait until it is up; if it does not get there, stop it again.

    Returns what is not ready because Tor or the chain is away.

    Raises:
        Unavailable: a service is not ready in time, or keeps dying; it says why.
    """
    warn_of_the_clear(session, network, tor)
    secret = ["--passphrase-file", str(passphrase_file)] if passphrase_file else []
    # Asked for by name it would be what the home remembers.
    asked = [] if tor.returns_to else ["--tor", tor.mode]
    process = node.start_detached(["--network", network, *asked, *secret], home)
    try:
        missing = node.wait_ready(home, process, node.patience_s(tor), session.note)
    except BaseException:
        if process.poll() is None:  # it may be another's node that came first
            node.stop(home)
        raise
    _say_what_is_missing(session, missing)
    return missing


def warn_of_the_clear(session: Session, network: str, tor: TorWay) -> None:
    """Say loudly that calls go past Tor, and quietly whether that is for now."""
    if tor.past:
        session.alarm(past_tor_words(network, tor.past))
    if tor.returns_to:
        session.note(f"without that setting this home starts with --tor {tor.returns_to} again")


def _say_what_is_missing(session: Session, missing: list[Health]) -> None:
    for one in missing:
        session.note(f"{one.service} is not ready: {one.detail}")
    if missing:
        session.note("the node is up, and goes on by itself when that comes")


@click.command(cls=Command, examples=["down", "down --home /srv/lucid"])
@pass_session
def down(session: Session) -> None:
    """Stop the node of a home, and wait until it is gone.

    Payouts that are open go on at the next start.
    """
    home = session.home()
    stopped = node.stop(home)
    words = "stopped" if stopped else "was not running"
    output.data(session.output, {"home": str(home.path), "stopped": stopped}, [f"the node of {home.path} {words}"])


@click.command(cls=Command, examples=["serve wallet", "serve tron payout"])
@click.argument("services", nargs=-1, required=True, type=click.Choice([*SERVICES, "tor"]), metavar="SERVICE...")
@pass_session
def serve(session: Session, services: tuple[str, ...]) -> None:
    """Be one daemon, or several in one process: for systemd (Type=notify) and compose.

    SERVICE is one of devnet, wallet, tor, tron and payout; the wallet service always stands alone. This process
    becomes the daemon: signals, exit code and log are the daemon's own.
    """
    home = session.home()
    home.prepare()
    env_file.read(home.env_file)
    environment = {**os.environ, "LUCID_HOME": str(home.path), "LUCID_RUN_DIR": str(home.run_dir)}
    sys.stdout.flush()
    os.execve(sys.executable, [*PYTHON_M, "services", *services], environment)  # noqa: S606 - no shell


@click.command(cls=Command, examples=["status", "status -o json"])
@pass_session
def status(session: Session) -> int:
    """Show the node, its services and the chain.

    The exit code is 0 when the node runs and every service is ready, else 5.
    """
    return show(session, session.home())


def show(session: Session, home: Home) -> int:
    """Print how a home's node stands, and return the exit code that goes with it."""
    record = home.record()
    supervised = home.holder() is not None
    found = [health(home, record, name) for name in _expected(home, record, supervised)]
    running = supervised or any(one.state != "down" for one in found)
    chain = _chain(home) if any(one.service == "tron" and one.state != "down" for one in found) else None
    tor = tor_state(home, record)
    body = {
        "home": str(home.path),
        "network": record.network,
        "running": running,
        "pid": record.pid if supervised else None,
        "devnet_url": record.devnet_url,
        "services": [_service(record, supervised, one) for one in found],
        "tor": tor,
        "chain": chain,
    }
    lines = _lines(home, body)
    if tor["past"]:
        lines = [output.red(line, sys.stdout) if line.startswith("tor ") else line for line in lines]
    output.data(session.output, body, lines)
    return ExitCode.OK if all(one.state == "ready" for one in found) else ExitCode.UNAVAILABLE


def _expected(home: Home, record: NodeRecord, supervised: bool) -> list[str]:
    """Which services should be there: those of the supervisor, or those that systemd or compose run without one."""
    if supervised:
        return list(record.services)
    # What they run is theirs to choose: no record of ours says whether Tor is part of it.
    tor = TorWay("system") if listens(home.socket("tor")) else record.tor
    expected = node.services(record.network or "devnet", tor)
    served = any(listens(home.socket(name)) for name in expected)
    return [name for name in expected if name != "devnet" or record.devnet_ports or not served]


def _service(record: NodeRecord, supervised: bool, one: Health) -> dict[str, Any]:
    run = record.services.get(one.service) if supervised else None
    return {
        "service": one.service,
        "state": one.state,
        "detail": one.detail,
        "pid": run.pid if run else None,
        "restarts": run.restarts if run else 0,
        "uptime_s": max(0, int(time.time() - run.started_at)) if run and run.pid and run.started_at else None,
    }


def _chain(home: Home) -> dict[str, Any] | None:
    try:
        seen = ask(home.socket("tron"), "/api/v1/tron/network/status", timeout_s=1.0)
    except LucidError:
        return None
    return {
        "head": (seen.get("head") or {}).get("number"),
        "solid": (seen.get("solid") or {}).get("number"),
        "read_at": seen.get("read_at"),
        "endpoints": [{"name": one["name"], "state": one["state"]} for one in seen.get("endpoints", [])],
    }


def _lines(home: Home, body: dict[str, Any]) -> list[str]:
    words = {
        (True, True): f"running, pid {body['pid']}",
        (True, False): "running without a supervisor: systemd or compose look after the services",
    }
    node_words = words.get((body["running"], body["pid"] is not None), f"not running: `{home.command('up')}` starts it")
    lines = output.facts(
        [
            ("home", body["home"]),
            ("network", body["network"] or "not chosen yet"),
            ("node", node_words),
            ("devnet", body["devnet_url"] if body["running"] else None),
            ("tor", tor_words(body["tor"])),
        ]
    )
    rows = [
        (
            one["service"],
            one["state"],
            one["uptime_s"],
            one["restarts"],
            one["pid"],
            one["detail"] if body["running"] else "",
        )
        for one in body["services"]
    ]
    lines += [
        "",
        *output.table(("service", "state", "up s", "restarts", "pid", "detail"), rows, ("up s", "restarts", "pid")),
    ]
    if body["chain"]:
        chain = body["chain"]
        endpoints = ", ".join(f"{one['name']} {one['state']}" for one in chain["endpoints"])
        lines += ["", *output.facts([("head", chain["head"]), ("solid", chain["solid"]), ("endpoints", endpoints)])]
    return lines
