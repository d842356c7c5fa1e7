"""`lucid-tron tor lab`: the private Tor network of a home, by itself or as part of its node."""

from typing import Any

import click

from lucid_tron_console import lab as labs
from lucid_tron_console import output
from lucid_tron_console.cli.framework import Group, Session, pass_session
from lucid_tron_console.exit_codes import ExitCode
from lucid_tron_console.home import Home
from services.kit.errors import Conflict, Unavailable


@click.group("lab", cls=Group)
def lab() -> None:
    """Start, stop and show a private Tor network of three real hops on this machine.

    `lucid-tron up --tor lab` runs one as part of the node; these commands run it alone, for other programs.
    """


@lab.command("start", examples=["tor lab start", "tor lab start -o json"])
@pass_session
def start(session: Session) -> int:
    """Start it, and return when a byte has come through three hops."""
    home = session.home()
    if labs.pid(home) is not None:
        session.note("the private Tor network of this home runs already")
        return _show(session, home)
    found = labs.available()
    if not found.ok:
        raise Unavailable(found.message)
    home.prepare()
    labs.start(home)
    return _show(session, home)


@lab.command("stop", examples=["tor lab stop"])
@pass_session
def stop(session: Session) -> None:
    """Stop it, and wait until every process of it is gone."""
    home = session.home()
    if home.holder() is not None and home.record().tor.mode == "lab":
        raise Conflict(f"the node's calls go through this network: `{home.command('down')}` stops both", field="tor")
    stopped = labs.stop(home)
    words = "stopped" if stopped else "was not running"
    body = {"directory": str(labs.directory(home)), "stopped": stopped}
    output.data(session.output, body, [f"the private Tor network of {home.path} {words}"])


@lab.command("status", examples=["tor lab status", "tor lab status -o json"])
@pass_session
def status(session: Session) -> int:
    """Show it, and where other programs enter it; the exit code is 0 when it is ready, else 5."""
    return _show(session, session.home())


def _show(session: Session, home: Home) -> int:
    body = _state(home)
    client = body.get("client") or {}
    lines = output.facts(
        [
            ("state", body["state"]),
            ("pid", body["pid"]),
            ("directory", body["directory"]),
            ("node", "its calls go through it" if body["of_node"] else None),
            ("started", f"{body['start']}, in {body['start_s']:.1f} s" if body.get("start") else None),
            ("socks", client.get("socks_path")),
            ("socks port", f"127.0.0.1:{client['socks_port']}" if client else None),
            ("control", client.get("control_path")),
            ("control port", f"127.0.0.1:{client['control_port']}" if client else None),
            ("problem", body.get("message")),
        ]
    )
    rows = [(one["name"], one["role"], one["state"], one.get("pid")) for one in body.get("nodes", [])]
    if rows:
        lines += ["", *output.table(("node", "role", "state", "pid"), rows, ("pid",))]
    output.data(session.output, body, lines)
    return ExitCode.OK if body["state"] == "ready" else ExitCode.UNAVAILABLE


def _state(home: Home) -> dict[str, Any]:
    pid = labs.pid(home)
    said = labs.report(home)
    of_node = pid is not None and home.holder() is not None and home.record().tor.mode == "lab"
    fixed = {"directory": str(labs.directory(home)), "pid": pid, "of_node": of_node}
    if pid is None:
        return {**fixed, "state": "stopped"}
    pids = labs.node_pids(home)
    nodes = [
        {**one, "pid": pids.get(one["name"]), "state": one["state"] if one["name"] in pids else "down"}
        for one in said.get("nodes", [])
    ]
    return {**said, **({"nodes": nodes} if nodes else {}), **fixed, "state": said.get("state", "starting")}
