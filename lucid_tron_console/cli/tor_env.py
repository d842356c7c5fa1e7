"""`lucid-tron tor env`: another program gets the node's way out, by the proxy variables that most programs obey."""

import os
import re
import shlex
from typing import Any

import click

from lucid_tron_console import daemon_settings, lab, node, output
from lucid_tron_console.cli.framework import Command, Session, pass_session
from lucid_tron_console.cli.tor_ask import without_tor
from lucid_tron_console.home import Home
from services.kit.errors import Conflict, Invalid, NotFound

_PROGRAM = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")


def way_out(session: Session, program: str = "program") -> dict[str, Any]:
    """The way out of the session's node, with the proxies and the environment of another program.

    Raises:
        Invalid: the settings cannot be used.
        Unavailable: there never was a node, and the settings say nothing of one.
    """
    home = session.home()
    record = home.record()
    report = daemon_settings.read(home, os.environ, node.decided_by(home, record, os.environ), program)
    way: dict[str, Any] | None = report["way_out"]
    if way is None:
        if record.network is None:
            raise home.not_running()
        daemon_settings.refuse(home, report)
        raise Invalid("the settings of the way out cannot be used: `lucid-tron config validate` says which")
    return _by_port(home, way) if record.tor.mode == "lab" else way


def _by_port(home: Home, way: dict[str, Any]) -> dict[str, Any]:
    """The same through the lab's TCP port: few programs other than curl know a SOCKS port on a Unix socket."""
    port = (lab.report(home).get("client") or {}).get("socks_port")
    if not port:
        return way
    path = way["socks"].removeprefix("unix:")

    def moved(urls: dict[str, str]) -> dict[str, str]:
        return {name: url.replace(f"@localhost{path}", f"@127.0.0.1:{port}") for name, url in urls.items()}

    return {**way, "proxies": moved(way["proxies"]), "environment": moved(way["environment"])}


@click.command(
    "env",
    cls=Command,
    examples=["tor env", "tor env --for backup -o json", "tor env --for curl curl https://example.org"],
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("--for", "program", default="program", metavar="NAME", help="Who: each name has circuits of its own.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@pass_session
def env(session: Session, program: str, command: tuple[str, ...]) -> None:
    """Print the environment that sends another program the node's way, or run COMMAND in it.

    It is for programs that obey HTTP_PROXY, HTTPS_PROXY and ALL_PROXY. One that does not would still go out by itself,
    unless it has no network; when Tor is away, one that does gets no connection.
    """
    if not _PROGRAM.fullmatch(program):
        raise click.UsageError("--for: up to 40 lower-case letters, digits, dots and dashes")
    home = session.home()
    way = way_out(session, program)
    if way["mode"] != "tor":
        if way["mode"] == "loopback":
            raise without_tor(home, home.record())
        raise Conflict(f"{way['detail']}: there is no way through Tor to give to a program", field="tor")
    if command:
        _become(command, way["environment"])
    lines = [f"export {name}={shlex.quote(value)}" for name, value in way["environment"].items()]
    output.data(session.output, {"proxies": way["proxies"], "environment": way["environment"]}, lines)


def _become(command: tuple[str, ...], environment: dict[str, str]) -> None:
    try:
        os.execvpe(command[0], command, {**os.environ, **environment})  # noqa: S606 - no shell
    except FileNotFoundError as error:
        raise NotFound(f"there is no program {command[0]}") from error
    except OSError as error:
        raise Invalid(f"{command[0]} cannot be run: {error.strerror}") from error
