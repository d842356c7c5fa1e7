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
from lucid_tron_console.secret_input import read_secret_file
from lucid_tron_console.tor_state import tor_state, tor_words
from lucid_tron_console.tor_way import MODES, OFF, TorWay
from services.kit.errors import Conflict, LucidError

NETWORKS = ["mainnet", "shasta", "nile", "testnet", "devnet"]


@click.command(cls=Command, examples=["up --network devnet", "up --network devnet --home /srv/lucid --detach -o json"])
@click.option("--network", type=click.Choice(NETWORKS), help="Chosen once for a home, and kept by it.")
@click.option(
    "--tor",
    type=click.Choice(MODES),
    help="The way out: off, a private Tor network on this machine (lab), or the machine's tor (system). "
    "Kept by the home; a new one has off.",
)
@click.option("--detach", is_flag=True, help="Return when every service is ready; the node goes on.")
@click.option("--passphrase-file", type=SECRET_FILE, help="Unlock the hot wallets at every start of the signer.")
@pass_session
def up(session: Session, network: str | None, tor: str | None, detach: bool, passphrase_file: Path | None) -> int:
    """Start the node of a home: devnet, tor, wallet, tron and payout, each a process of its own.

    In the foreground it runs until ^C. A service that dies is started again; all of them end when this process ends,
    however it ends. On a home whose node runs already it says so, and is content if everything is ready.

    Settings come from the environment and from lucid.env in the home, such as DEVNET_BLOCK_INTERVAL_MS=500.
    """
    home = session.home()
    record = home.record()
    chosen = node.choose_network(home, record, network, os.environ)
    if tor and tor != record.tor.mode and home.holder() is not None:
        raise Conflict(f"the node of {home.path} runs with --tor {record.tor.mode}: `lucid-tron down` first")
    way = node.choose_tor(home, record, chosen, tor, os.environ)
    home.prepare()
    env_file.read(home.env_file)
    if passphrase_file is not None:
        passphrase_file = passphrase_file.absolute()
        read_secret_file(passphrase_file, "passphrase_file")
    if home.holder() is not None:
        session.note(f"the node of {home.path} runs already")
        node.wait_ready(home, timeout_s=node.patience_s(way))
    elif detach:
        start(home, chosen, passphrase_file, way)
    else:
        node.run_node(home, chosen, passphrase_file, session.note, way)
        return ExitCode.OK
    return show(session, home)


def start(home: Home, network: str, passphrase_file: Path | None = None, tor: TorWay = OFF) -> None:
    """Start a detached node and wait until it is ready; if it does not get there, stop it again.

    Raises:
        Unavailable: a service is not ready in time, or keeps dying; it says why.
    """
    secret = ["--passphrase-file", str(passphrase_file)] if passphrase_file else []
    process = node.start_detached(["--network", network, "--tor", tor.mode, *secret], home)
    try:
        node.wait_ready(home, process, node.patience_s(tor))
    except BaseException:
        if process.poll() is None:  # it may be another's node that came first
            node.stop(home)
        raise


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
    os.execve(sys.executable, [sys.executable, "-m", "services", *services], environment)  # noqa: S606 - no shell


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
    body = {
        "home": str(home.path),
        "network": record.network,
        "running": running,
        "pid": record.pid if supervised else None,
        "devnet_url": record.devnet_url,
        "services": [_service(record, supervised, one) for one in found],
        "tor": tor_state(home, record),
        "chain": chain,
    }
    output.data(session.output, body, _lines(home, body))
    return ExitCode.OK if all(one.state == "ready" for one in found) else ExitCode.UNAVAILABLE


def _expected(home: Home, record: NodeRecord, supervised: bool) -> list[str]:
    """Which services should be there: those of the supervisor, or those that systemd or compose run without one."""
    if supervised:
        return list(record.services)
    expected = node.services(record.network or "devnet", record.tor)
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
