"""`lucid-tron tor leak-test`: what the node has open, and what would leave if Tor went away, in words and figures."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from lucid_tron_console import leaks, node, output
from lucid_tron_console.cli.framework import Command, Duration, Session, pass_session
from lucid_tron_console.exit_codes import ExitCode
from lucid_tron_console.home import Home, NodeRecord
from lucid_tron_console.leak_cell import NAME, Trial
from lucid_tron_console.probe import ask
from lucid_tron_console.python import PYTHON_M
from services.kit.errors import LucidError, Unavailable

OUTSIDE = frozenset({"devnet", "lab"})
"""Daemons of a node that play the outside world."""

_CELL_S = 120.0
"""How long the namespace may take on a slow machine; half a minute is usual."""

_USER_NAMESPACES = {
    "kernel.apparmor_restrict_unprivileged_userns": "1",
    "kernel.unprivileged_userns_clone": "0",
    "user.max_user_namespaces": "0",
}
"""Settings of the kernel by which distributions forbid ordinary users namespaces, with the value that forbids."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool | None
    """None: it could not be looked at."""
    words: str
    figures: dict[str, Any]


@click.command(
    "leak-test",
    cls=Command,
    examples=["tor leak-test", "tor leak-test --for 30s -o json", "tor leak-test --sockets-only"],
)
@click.option("--for", "seconds", type=Duration(), default=3, show_default=True, help="How long to watch the sockets.")
@click.option("--sockets-only", is_flag=True, help="Do not run a second client in a network namespace.")
@pass_session
def leak_test(session: Session, seconds: int, sockets_only: bool) -> int:
    """Show that nothing of this node goes out except through Tor.

    \b
    settings   the TRON client's way out is Tor (or nothing leaves at all)
    sockets    every socket of every daemon, again and again while it works:
               Unix sockets only, and Tor's port where that is on TCP
    namespace  a second TRON client, in a network namespace whose only way
               out is counted, with Tor and with Tor gone: 0 packets, names
               included (needs root or user namespaces, and iproute2)

    Payouts go on meanwhile: the second client has no orders and no wallet.

    The exit code is 0 when nothing leaks, 4 when something does, and 5 when
    something could not be looked at.
    """
    home = session.home()
    record = home.require_running()
    checks = [_settings(home, record), _sockets(home, record, seconds)]
    if not sockets_only:
        checks.append(_namespace(home, record))
    leak, done = any(one.ok is False for one in checks), all(one.ok is not None for one in checks)
    rows = [(one.name, {True: "ok", False: "LEAK", None: "not done"}[one.ok], one.words) for one in checks]
    body = {"ok": done and not leak, "leak": leak, "checks": [asdict(one) for one in checks]}
    output.data(session.output, body, output.table(("check", "result", "found"), rows))
    if leak:
        return ExitCode.REFUSED
    return ExitCode.OK if done else ExitCode.UNAVAILABLE


def _egress(home: Home) -> dict[str, Any]:
    seen = ask(home.socket("tron"), "/status")
    egress = (seen.get("details") or {}).get("egress")
    if not isinstance(egress, dict):
        raise Unavailable("the TRON client does not say how its calls leave: run the same version on both sides")
    return egress


def _settings(home: Home, record: NodeRecord) -> Check:
    egress = _egress(home)
    ways = {one["name"]: one["endpoint"] for one in egress["ways"]}
    figures = {"mode": egress["mode"], "socks": egress["socks"], "ways": ways}
    if egress["mode"] == "clear":
        return Check("settings", False, egress["detail"], figures)
    if egress["mode"] == "loopback":
        if record.network == "devnet":
            return Check("settings", True, "nothing leaves: the devnet is on this machine, and Tor is off", figures)
        return Check("settings", False, f"the calls to {record.network} do not go through Tor", figures)
    return Check("settings", True, f"every call goes to {egress['socks']}, and nowhere if that is gone", figures)


def _sockets(home: Home, record: NodeRecord, seconds: int) -> Check:
    pids = {name: run.pid for name, run in record.services.items() if run.pid and name not in OUTSIDE}
    egress = _egress(home)

    def busy() -> None:
        try:
            ask(home.socket("tron"), "/api/v1/tron/network/latest-block", timeout_s=2)
        except LucidError:
            return  # without Tor nothing answers: that is not what is looked for here

    seen = leaks.watch(pids, seconds, _ways_in(home, egress), loopback=egress["mode"] == "loopback", busy=busy)
    figures = {"processes": pids, **asdict(seen)}
    words = (
        f"{len(pids)} processes, {seen.looks} looks: {seen.unix} Unix sockets, {seen.loopback} connections within this "
        f"machine, {len(seen.leaks)} to anywhere else"
    )
    if seen.leaks:
        return Check("sockets", False, "; ".join(seen.leaks), figures)
    if seen.unreadable:
        unreadable = ", ".join(seen.unreadable)
        return Check("sockets", None, f"{words}; this user may not look into {unreadable}: run it as root", figures)
    return Check("sockets", True, words, figures)


def _ways_in(home: Home, egress: dict[str, Any]) -> set[tuple[str, int]]:
    """Tor's own ports, where they are on TCP and not Unix sockets."""
    places = [egress["socks"]]
    with contextlib.suppress(LucidError):
        places.append(ask(home.socket("tor"), "/api/v1/tron/tor/status")["control"])
    found = set()
    for place in places:
        host, _, port = place.removeprefix("unix:").rpartition(":")
        if port.isdigit() and not host.startswith("/"):
            # A container's name is looked up here as the daemons do it.
            with contextlib.suppress(OSError):
                for *_, address in socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM):
                    found.add((str(address[0]), int(port)))
    return found


def _namespace(home: Home, record: NodeRecord) -> Check:
    egress = _egress(home)
    if egress["mode"] != "tor":
        return Check("namespace", True, "nothing to be tried: the node runs without Tor", {})
    unshare = _unshare()
    if unshare is None:
        return Check("namespace", None, _not_allowed(), {})
    commands = node.commands(home, record.network or "", record.devnet_urls, os.environ, tor=record.tor)
    env = next(dict(one.env) for one in commands if one.service == "tron")
    socks = egress["socks"].removeprefix("unix:")
    socks = socks if socks.startswith("/") else ""
    try:
        done = subprocess.run(
            [*unshare, *PYTHON_M, "lucid_tron_console.leak_cell"],
            input=json.dumps(asdict(Trial(env, socks))), capture_output=True, text=True, check=False, timeout=_CELL_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Check("namespace", None, f"the trial was not over after {_CELL_S:g} s: try again on a quieter node", {})
    if done.returncode:
        return Check("namespace", None, f"the namespace could not be used: {done.stderr.strip()[-300:]}", {})
    return judge(json.loads(done.stdout))


def _unshare() -> list[str] | None:
    """The command that starts a program in a network namespace of its own; None: this user may not.

    Raises:
        Unavailable: a tool is missing; says how to install it.
    """
    if shutil.which("ip") is None:
        raise Unavailable("ip cannot be found, and packets are counted with it: apt-get install -y iproute2")
    if shutil.which("unshare") is None:
        raise Unavailable("unshare cannot be found: apt-get install -y util-linux")
    # A mount namespace, too: there no daemon outside can be asked to look up a name.
    for words in (["unshare", "--net", "--mount"], ["unshare", "--map-root-user", "--net", "--mount"]):
        tried = [*words, "ip", "link", "set", "lo", "up"]
        if subprocess.run(tried, capture_output=True, check=False).returncode == 0:
            return words
    return None


def _not_allowed() -> str:
    """What keeps this user from namespaces, and what to do."""
    why = ""
    for name, forbidding in _USER_NAMESPACES.items():
        with contextlib.suppress(OSError):
            if Path("/proc/sys", *name.split(".")).read_text(encoding="ascii").strip() == forbidding:
                why = f" (sysctl {name} is {forbidding})"
    return f"this user may not make network namespaces{why}: run the command as root, with the same --home"


def judge(found: dict[str, Any]) -> Check:
    """Say what a trial has shown: its counters, and the phases `open` (where Tor could be tried) and `shut`."""
    phases = {name: found[name] for name in ("open", "shut") if name in found}
    blind = [kind for kind, seen in found["counts"].items() if not seen]
    if blind or not {"udp", "tcp", "name"} <= found["counts"].keys():
        words = (
            f"packets of its own are not counted here ({', '.join(blind) or 'none could be sent'}): nothing is shown"
        )
        return Check("namespace", None, words, found)
    sent = {name: sum(phase["packets"].values()) for name, phase in phases.items()}
    if any(sent.values()):
        words = "; ".join(
            f"{'with Tor' if name == 'open' else 'with Tor gone'} {count} packets, {phases[name]['datagrams']} of UDP"
            for name, count in sent.items()
        )
        return Check("namespace", False, words, found)
    shut = phases["shut"]
    if shut["answers"] or not shut["refusals"]:
        words = f"with Tor gone {shut['answers']} reads were answered and {shut['refusals']} refused: {shut['words']}"
        return Check("namespace", False if shut["answers"] else None, words, found)
    words = f"with Tor gone 0 packets, {shut['refusals']} reads refused ({NAME} was not looked up)"
    if "open" not in phases:
        return Check("namespace", True, f"{words}; Tor is on TCP, so it was not tried with Tor", found)
    if not phases["open"]["answers"]:
        return Check("namespace", None, f"{words}; with Tor no answer: {phases['open']['words']}", found)
    return Check("namespace", True, f"with Tor {phases['open']['answers']} reads and 0 packets; {words}", found)
