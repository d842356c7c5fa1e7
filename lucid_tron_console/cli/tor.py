"""`lucid-tron tor`: how Tor is, hop by hop, and the fixed verbs that change it."""

import asyncio
import math
import re
import sys
import time
from collections.abc import Iterable
from typing import Any, TypeVar

import click

from lucid_tron_console import output
from lucid_tron_console.cli.framework import Duration, Group, Session, Word, pass_session
from lucid_tron_console.cli.requests import build
from lucid_tron_console.cli.tor_ask import ask_tor
from lucid_tron_console.cli.tor_env import env, way_out
from lucid_tron_console.cli.tor_lab import lab
from lucid_tron_console.cli.tor_leak_test import leak_test
from lucid_tron_console.cli.tor_onion import onion
from lucid_tron_console.exit_codes import ExitCode
from lucid_tron_console.tor_state import egress_state
from services.kit.errors import NotFound, TooManyRequests
from services.tor.api import (
    Bandwidth,
    Circuit,
    ExitPolicy,
    ExitPolicyStatus,
    Hop,
    NewIdentity,
    Rotate,
    TestResult,
    TorStatus,
)
from services.tor.client import TorClient

T = TypeVar("T")

CIRCUIT = Word("circuit", r"[A-Za-z0-9]{1,16}", "`lucid-tron tor circuits` lists them")


class _Code(click.ParamType[str]):
    """A country or a relay, written as people write it."""

    def __init__(self, name: str, pattern: str, words: str) -> None:
        self.name = name
        self._pattern = re.compile(pattern)
        self._words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Take it without a leading $ and in the case that Tor has it in."""
        text = str(value).strip().removeprefix("$")
        match = self._pattern.fullmatch(text)
        if match is None:
            self.fail(f"{value!r} is no {self.name}: {self._words}", param, ctx)
        return text.upper() if len(text) == 40 else text.lower()


_COUNTRY = _Code("country", r"[A-Za-z]{2}", "write two letters, such as de")
_RELAY = _Code("relay", r"[0-9A-Fa-f]{40}", "write its fingerprint, 40 hex digits")

_BANDWIDTH_RENEW_S = 20.0
"""Bandwidth events stop by themselves after a minute: ask again well before."""


@click.group(cls=Group)
def tor() -> None:
    """Look at Tor hop by hop, test the way out, and change circuits."""


tor.add_command(env)
tor.add_command(lab)
tor.add_command(leak_test)
tor.add_command(onion)


@tor.command("status", examples=["tor status", "tor status -o json"])
@pass_session
def status(session: Session) -> int:
    """Show how Tor is, and what to do when it is not well.

    The exit code is 0 when requests can get through, else 5.
    """
    found = ask_tor(session, lambda client: client.tor())
    egress = egress_state(session.home())
    lines = _status_lines(found)
    if egress["egress"] == "clear":
        lines = [output.red(f"PAST TOR: {output.clean(egress['egress_detail'])}", sys.stdout), *lines]
    output.data(session.output, {**found.model_dump(mode="json"), **egress}, lines)
    return ExitCode.OK if found.state.usable else ExitCode.UNAVAILABLE


def _status_lines(found: TorStatus) -> list[str]:
    boot = found.bootstrap
    probe = found.probe
    guards, circuits = found.guards, found.circuits
    return output.facts(
        [
            ("state", f"{found.state}: {found.detail}" if found.detail else found.state),
            ("since", f"{found.since:%Y-%m-%d %H:%M:%S} UTC"),
            ("tor", f"{found.version}, pid {found.pid or 'elsewhere'}" if found.version else None),
            ("control", found.control),
            ("socks", found.socks),
            ("bootstrap", f"{boot.percent} %  {boot.summary} {boot.reason}".rstrip() if boot else None),
            ("guards", f"{guards.up} of {guards.total} up" if found.version else None),
            ("circuits", f"{circuits.built} built, {circuits.building} building; lately {circuits.recent_failed} of "
             f"{circuits.recent} failed" if found.version else None),
            ("streams", found.streams if found.version else None),
            ("traffic", f"{_bytes(found.read_bytes)} in, {_bytes(found.written_bytes)} out" if found.version else None),
            ("probe", f"{_ms(probe.latency_ms) or 'failed'} to {probe.target} {probe.detail}" if probe else None),
            ("rotation", _rotation(found)),
            ("newnym", _newnym(found.newnym_ready_in_s) if found.version else None),
            *(("warning", words) for words in found.warnings),
        ]
    )  # fmt: skip


def _newnym(soon_s: float) -> str:
    return "now" if soon_s <= 0 else f"in {soon_s:.0f} s"


def _rotation(found: TorStatus) -> str:
    if not found.rotation.enabled:
        return "off"
    soon = found.rotation.next_in_s
    return f"every {found.rotation.interval_s} s" + (f", next in {soon:.0f} s" if soon is not None else "")


@tor.command("test", examples=["tor test", "tor test -o json"])
@pass_session
def test(session: Session) -> int:
    """Try the way out on a circuit of its own, and say how long it took; and how other programs get the same way.

    The exit code is 0 when an answer came, else 5. See `tor env` for the environment of another program.
    """
    found = ask_tor(session, lambda client: client.test())
    way = way_out(session)
    lines = output.facts(
        [
            ("target", found.target),
            ("result", "ok" if found.ok else f"failed: {found.detail}"),
            ("latency", f"{_ms(found.latency_ms)}{' (slow)' if found.slow else ''}" if found.ok else None),
            ("new circuit", _new_circuit(found)),
            ("exit", _hop(found.exit) if found.exit else None),
            *((f"{protocol} proxy", url) for protocol, url in way["proxies"].items()),
        ]
    )
    body = {**found.model_dump(mode="json"), "proxies": way["proxies"], "environment": way["environment"]}
    output.data(session.output, body, lines)
    return ExitCode.OK if found.ok else ExitCode.UNAVAILABLE


def _new_circuit(found: TestResult) -> str:
    if found.circuit_ms is None:
        return ""
    return f"{_ms(found.circuit_ms)}, {'which tor had ready' if found.circuit_was_ready else 'made for it'}"


@tor.command("circuits", examples=["tor circuits", "tor circuits --isolation read:api.trongrid.io -o json"])
@click.option("--isolation", metavar="NAME", help="Only those of this isolation name.")
@pass_session
def circuits(session: Session, isolation: str | None) -> None:
    """List circuits hop by hop: the guard first, the exit last."""
    found = ask_tor(session, lambda client: client.circuits(isolation))
    rows = [_circuit_row(one) for one in found.items]
    head = ("id", "state", "for", "age s", "rtt", "streams", "path")
    output.data(session.output, found.model_dump(mode="json"), output.table(head, rows, ("age s", "rtt", "streams")))


def _circuit_row(one: Circuit) -> tuple[object, ...]:
    who = one.isolation or one.user or one.purpose.lower()
    if one.draining:
        who += " (draining)"
    age = None if one.age_s is None else round(one.age_s)
    path = " > ".join(_hop(hop) for hop in one.hops)
    why = f"({one.reason})" if one.reason and one.state.over else ""
    return one.id, one.state, who, age, _ms(one.rtt_ms), one.streams, f"{path} {why}".strip()


@tor.command("streams", examples=["tor streams"])
@pass_session
def streams(session: Session) -> None:
    """List the open connections through Tor, and whose they are."""
    found = ask_tor(session, lambda client: client.streams())
    rows = [(one.id, one.state, one.circuit, one.isolation or one.user, one.target) for one in found.items]
    lines = output.table(("id", "state", "circuit", "for", "target"), rows)
    output.data(session.output, found.model_dump(mode="json"), lines)


@tor.command("guards", examples=["tor guards"])
@pass_session
def guards(session: Session) -> None:
    """List the entry guards in Tor's order: the first ones are used."""
    found = ask_tor(session, lambda client: client.guards())
    rows = [(one.nickname, one.state, one.country, one.address, one.fingerprint) for one in found.items]
    lines = output.table(("guard", "state", "in", "address", "fingerprint"), rows)
    output.data(session.output, found.model_dump(mode="json"), lines)


@tor.command("log", examples=["tor log"])
@pass_session
def log(session: Session) -> None:
    """Show the newest lines of tor's own log."""
    found = ask_tor(session, lambda client: client.log())
    lines = [output.clean(f"{one.at:%H:%M:%S} {one.level:6} {one.text}") for one in found.items]
    output.data(session.output, found.model_dump(mode="json"), lines)


@tor.command("newnym", examples=["tor newnym", "tor newnym --wait"])
@click.option("--wait", is_flag=True, help="When it is too early, count down, and then take it.")
@pass_session
def newnym(session: Session, wait: bool) -> None:
    """Take a new identity: everybody moves to a new circuit; what is in flight finishes on the old one.

    Tor takes one every ten seconds; too early is exit code 5, and the words (retry_after_s in JSON) say when.
    """

    async def go(client: TorClient) -> NewIdentity:
        while True:
            try:
                return await client.newnym()
            except TooManyRequests as error:
                if not wait:
                    raise
                await _count_down(session, float(error.extra.get("retry_after_s", 1)))

    found = ask_tor(session, go)
    lines = [f"{output.clean(name)} goes to a new circuit" for name in found.rotated] or ["nobody used Tor yet"]
    output.data(session.output, found.model_dump(mode="json"), [*lines, f"the next in {found.ready_in_s:.0f} s"])


async def _count_down(session: Session, seconds: float) -> None:
    """Show the seconds going by: on a terminal in one line, else once."""
    ends = time.monotonic() + seconds
    live = session.output == "text" and sys.stderr.isatty()
    if not live:
        session.note(f"a new identity in {math.ceil(seconds)} s")
    while (left := ends - time.monotonic()) > 0:
        if live:
            click.echo(f"\ra new identity in {math.ceil(left):2} s ", err=True, nl=False)
        await asyncio.sleep(min(left, 0.5))
    if live:
        click.echo("\r\x1b[K", err=True, nl=False)


@tor.command("isolation", examples=["tor isolation"])
@pass_session
def isolation(session: Session) -> None:
    """List who has circuits of its own, and when each moves next."""
    found = ask_tor(session, lambda client: client.isolations())
    rows = [
        (
            one.name,
            one.user,
            one.circuits,
            one.draining,
            one.streams,
            _ms(one.rtt_ms),
            None if one.next_in_s is None else round(one.next_in_s),
            one.reason,
        )
        for one in found.items
    ]
    head = ("name", "user", "circuits", "draining", "streams", "rtt", "next s", "moved last")
    lines = output.table(head, rows, ("circuits", "draining", "streams", "rtt", "next s"))
    output.data(session.output, found.model_dump(mode="json"), lines)


@tor.command("rotate", examples=["tor rotate read:api.trongrid.io", "tor rotate --all -o json"])
@click.argument("name", required=False)
@click.option("--all", "everybody", is_flag=True, help="Everybody, one after another.")
@click.option("--reason", default="operator", show_default=True)
@pass_session
def rotate(session: Session, name: str | None, everybody: bool, reason: str) -> None:
    """Move the isolation NAME (see `tor isolation`) to a new circuit; what is in flight finishes on the old one."""
    if (name is None) == (not everybody):
        raise click.UsageError("name one of `lucid-tron tor isolation`, or say --all")
    build(Rotate, reason=reason)

    async def go(client: TorClient) -> list[dict[str, Any]]:
        known = [one.name for one in (await client.isolations()).items]
        if name is not None and name not in known:
            raise NotFound(f"nobody is called {name!r}: {', '.join(known) or 'nobody used Tor yet'}")
        wanted = known if name is None else [name]
        return [(await client.rotate(one, reason)).model_dump(mode="json") for one in wanted]

    moved = ask_tor(session, go)
    lines = [output.clean(f"{one['name']} goes out as {one['user']}") for one in moved] or ["nobody used Tor yet"]
    output.data(session.output, {"items": moved}, lines)


@tor.command("close", examples=["tor close 17"])
@click.argument("circuit", type=CIRCUIT)
@pass_session
def close(session: Session, circuit: str) -> None:
    """Close one CIRCUIT, by its id, with whatever goes through it."""
    found = ask_tor(session, lambda client: client.close_circuit(circuit))
    path = " > ".join(_hop(hop) for hop in found.hops)
    output.data(session.output, found.model_dump(mode="json"), [f"closed {found.id}: {path}"])


@tor.command("bandwidth", examples=["tor bandwidth", "tor bandwidth --for 10s -o json"])
@click.option("--for", "follow_s", type=Duration(), help="Watch for so long first, second by second.")
@pass_session
def bandwidth(session: Session, follow_s: int | None) -> None:
    """Show the traffic through Tor; with --for, every second of that time."""

    async def go(client: TorClient) -> Bandwidth:
        ends = time.monotonic() + (follow_s or 0)
        found = await client.bandwidth()
        while (left := ends - time.monotonic()) > 0:
            await asyncio.sleep(min(left, _BANDWIDTH_RENEW_S))
            found = await client.bandwidth()
        return found

    found = ask_tor(session, go)
    shown = found.samples[-follow_s:] if follow_s else found.samples[-10:]
    rows = [(f"-{age} s", _bytes(one.read), _bytes(one.written)) for age, one in _ages(shown)]
    lines = output.facts([("in", _bytes(found.read_bytes)), ("out", _bytes(found.written_bytes))])
    if rows:
        lines += ["", *output.table(("second", "in", "out"), rows, ("second", "in", "out"))]
    output.data(session.output, found.model_dump(mode="json"), lines)


def _ages(samples: Iterable[T]) -> list[tuple[int, T]]:
    found = list(samples)
    return list(zip(range(len(found) - 1, -1, -1), found, strict=True))


@tor.command(
    "exits",
    examples=["tor exits", "tor exits --country de --country nl", "tor exits --exclude-country us", "tor exits --any"],
)
@click.option("--country", "countries", multiple=True, type=_COUNTRY, metavar="CC", help="Exits only there.")
@click.option(
    "--exclude-country", "excluded_countries", multiple=True, type=_COUNTRY, metavar="CC", help="No exits there."
)
@click.option(
    "--exclude-node", "excluded_nodes", multiple=True, type=_RELAY, metavar="FINGERPRINT", help="Nowhere in a circuit."
)
@click.option("--any", "anything", is_flag=True, help="Any exit: forget all wishes.")
@pass_session
def exits(session: Session, /, *, anything: bool, **wishes: tuple[str, ...]) -> None:
    """Show which exits may be used, or choose them; everybody then moves to new circuits."""
    if anything and any(wishes.values()):
        raise click.UsageError("--any forgets all wishes: leave the others away")
    policy = build(ExitPolicy, **wishes) if anything or any(wishes.values()) else None

    async def go(client: TorClient) -> ExitPolicyStatus:
        return await client.exit_policy() if policy is None else await client.set_exit_policy(policy)

    found = ask_tor(session, go)
    lines = output.facts(
        [
            ("countries", ", ".join(found.countries) or "any"),
            ("not in", ", ".join(found.excluded_countries)),
            ("never", ", ".join(found.excluded_nodes)),
            ("applied", _applied(found)),
            ("exits", None if found.exits_left is None else f"{found.exits_left} of {found.exits_total}"),
        ]
    )
    output.data(session.output, found.model_dump(mode="json"), lines)


def _applied(found: ExitPolicyStatus) -> str | None:
    if found.applied:
        return "yes"
    wishes = found.countries or found.excluded_countries or found.excluded_nodes
    return f"no: {found.detail}" if found.detail else ("no" if wishes else None)


@tor.command("reconnect", examples=["tor reconnect"])
@pass_session
def reconnect(session: Session) -> int:
    """Look for tor's control port now instead of after the pause."""
    found = ask_tor(session, lambda client: client.reconnect())
    output.data(session.output, found.model_dump(mode="json"), _status_lines(found))
    return ExitCode.OK if found.state.connected else ExitCode.UNAVAILABLE


def _hop(hop: Hop) -> str:
    return f"{hop.nickname}({hop.country})" if hop.country else hop.nickname


def _ms(value: float | None) -> str | None:
    return None if value is None else f"{value:.0f} ms"


def _bytes(value: int | None) -> str:
    if value is None:
        return "unknown"
    size = float(value)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"
