"""`lucid-tron console` and `demo`: into the terminal UI."""

import contextlib
import importlib
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click

from lucid_tron_console import lab, node, output
from lucid_tron_console.cli.framework import Command, Session, pass_session
from lucid_tron_console.cli.node import require_way, start
from lucid_tron_console.exit_codes import ExitCode
from lucid_tron_console.home import Home, demo_home
from lucid_tron_console.tor_way import TorWay
from services.kit.errors import Invalid


@click.command(cls=Command, examples=["console", "console payouts/P-1", "console wallets --read-only"])
@click.argument("target", metavar="[SCREEN[/ID]]", required=False)
@click.option("--read-only", is_flag=True, help="Look, and change nothing.")
@pass_session
def console(session: Session, target: str | None = None, read_only: bool = False) -> int:
    """Open the console, on a screen if one is named: dashboard, wallets, payouts, tor, services."""
    home = session.home()
    home.check()
    if not has_terminal():
        raise Invalid("the console needs a terminal on stdin, stdout and stderr; without one, see `lucid-tron --help`")
    return _open(home, target, read_only=read_only)


@click.command(cls=Command, examples=["demo", "demo --tor off"])
@click.option(
    "--tor",
    type=click.Choice(["off", "lab"]),
    help="Whether its calls go through a private Tor network on this machine (default: if tor is installed).",
)
@pass_session
def demo(session: Session, tor: str | None) -> int:
    """Start a node on the embedded devnet, in a home of its own, and open the console on it.

    When the console is left the node goes down again, unless it ran before. Without a terminal the node is started
    and goes on, and it says how to attach.
    """
    if has_terminal() and _load().needs_utf8():
        # The console would start this process again in UTF-8 mode; then nobody would remember who started the node.
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONUTF8": "1"})  # noqa: S606
    home = session.home(demo_home())
    record = home.record()
    network = node.choose_network(home, record, "devnet", os.environ)
    home.prepare()
    ours = home.holder() is None
    if ours:
        way = _way(session, home, network, tor)
        through = " behind a private Tor network" if way.mode == "lab" else ""
        session.note(f"starting a node on the embedded devnet{through} ...")
        with _hang_up_interrupts():
            start(session, home, network, tor=way)
    else:
        require_way(home, record, tor)
        node.wait_ready(home, timeout_s=node.patience_s(record.tor))
    if not has_terminal():
        _say_how_to_attach(session, home)
        return ExitCode.OK
    try:
        return _open(home, None, read_only=False)
    finally:
        if ours:
            node.stop(home)


@contextlib.contextmanager
def _hang_up_interrupts() -> Iterator[None]:
    """Let a hang-up end a start as ^C does: else the node would stay, and nobody would know of it."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGHUP, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _way(session: Session, home: Home, network: str, asked: str | None) -> TorWay:
    """The way out: as asked, else a private Tor network, if tor is installed and the settings do not do without it."""
    if asked:
        return node.choose_tor(home, network, asked, None, os.environ)
    found = lab.available()
    if not found.ok:
        session.note(f"without Tor: {found.message}")
    return node.choose_tor(home, network, None, "lab" if found.ok else "off", os.environ)


def has_terminal() -> bool:
    """Whether there is a person in front of a terminal."""
    return all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def _open(home: Home, target: str | None, *, read_only: bool) -> int:
    network = home.record().network or node.network_from_settings(home, os.environ) or "mainnet"
    os.environ["LUCID_RUN_DIR"] = str(home.run_dir)
    code: int = _load().run(home.path, network, target, read_only)
    return code


def _load() -> ModuleType:
    """Import the console only when somebody sees it: Textual takes its time."""
    return importlib.import_module("lucid_tron_console.app")


def _say_how_to_attach(session: Session, home: Home) -> None:
    program = Path(sys.argv[0])
    command = [str(program)] if program.name == "lucid-tron" else [sys.executable, "-m", "lucid_tron_console"]
    attach, stop = (shlex.join([*command, "--home", str(home.path), word]) for word in ("console", "down"))
    lines = [f"the node runs in {home.path}", f"open the console:  {attach}", f"stop the node:     {stop}"]
    output.data(session.output, {"home": str(home.path), "attach": attach, "stop": stop}, lines)
