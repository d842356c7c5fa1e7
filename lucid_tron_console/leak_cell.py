"""A cell for the leak test: the TRON client in a network namespace where everything that left would be counted.

Run as `unshare --net --mount python -m lucid_tron_console.leak_cell`, with a `Trial` as JSON on stdin. There are two
interfaces, a cable that leads nowhere: the default routes of IPv4 and IPv6 go into it, so a packet that wants to leave
does, and is counted. Nobody outside can look up a name on behalf of somebody in here: daemons that do so through a Unix
socket (nscd, systemd-resolved, Avahi) are hidden, and the resolver asks an address at the other end of the cable. First
the cell sends packets of every kind itself, to show that it counts. Then the client runs twice, with Tor's SOCKS socket
and with one where nobody is; both times it has to speak through a Unix socket or not at all.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lucid_tron_console.probe import call
from lucid_tron_console.python import PYTHON_M
from services.kit.errors import LucidError

BAIT, NOWHERE = "leak0", "leak1"

STRANGER, STRANGER6 = "192.0.2.1", "2001:db8::2"
"""Of TEST-NET-1 (RFC 5737), and of the documentation's IPv6 (RFC 3849): nobody is there."""

NAME = "leak-test.invalid"
"""A name that nobody has (RFC 2606): looking it up in the clear would be seen."""

RESOLVERS = tuple(Path(path) for path in ("/run/nscd", "/run/systemd/resolve", "/run/avahi-daemon", "/run/dbus"))
"""Where daemons listen that look up names for others: what they ask would leave by the machine's own interfaces."""

RESOLV_CONF, NSSWITCH_CONF = Path("/etc/resolv.conf"), Path("/etc/nsswitch.conf")

_OPEN_S, _SHUT_S = 30.0, 6.0
"""How long an answer through Tor may take, and how long the client gets to leak without it."""

_HEAD = "/api/v1/tron/network/latest-block"


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried."""

    env: dict[str, str]
    """The environment of the node's own TRON client."""
    socks: str
    """Path of Tor's SOCKS socket; empty: it is on TCP, which does not lead out of a namespace."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What this namespace has sent since it is there."""

    packets: dict[str, int]
    """By interface, loopback too."""
    datagrams: int
    """Of UDP, which names are asked with."""
    without_route: int
    """Packets and connections that found no way to leave: somebody tried."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What one run of the client did."""

    answers: int
    refusals: int
    """Reads that failed, in words."""
    words: str
    """Of the last one that failed."""
    packets: dict[str, int]
    """That it sent, by interface."""
    datagrams: int
    """Of UDP among them, which names are asked with."""


def main() -> int:
    """Run the trial on stdin, and print its result as one line of JSON."""
    trial = Trial(**json.load(sys.stdin))
    try:
        with tempfile.TemporaryDirectory(prefix="lt-leak-") as folder:
            lay_cable()
            ask_nobody_else(Path(folder))
            shown: dict[str, Any] = {"counts": counts_itself()}
            if trial.socks:
                shown["open"] = asdict(_phase(trial.env, trial.socks, _OPEN_S, until_answer=True))
            endpoints = ",".join(part for part in (trial.env.get("TRON_HTTP_ENDPOINT", ""), f"https://{NAME}") if part)
            shut = {**trial.env, "TRON_HTTP_ENDPOINT": endpoints}
            shown["shut"] = asdict(_phase(shut, "", _SHUT_S, until_answer=False))
            _uncover()
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode(errors="replace").strip() or f"exit code {error.returncode}"
        sys.stderr.write(f"{' '.join(error.cmd)}: {words}\n")
        return 1
    sys.stdout.write(json.dumps(shown) + "\n")
    return 0


# --------------------------------------------------------------------- the cell


def lay_cable() -> None:
    """Make the two ends of the cable, with addresses and default routes, in this namespace."""
    quiet = {"accept_dad": 0, "router_solicitations": 0, "autoconf": 0}
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "link", "add", BAIT, "type", "veth", "peer", "name", NOWHERE)
    for name in (BAIT, NOWHERE):
        for key, value in quiet.items():
            # IPv6 talks by itself when an interface comes up; what is left of that is over before the count begins.
            with contextlib.suppress(OSError):
                Path(f"/proc/sys/net/ipv6/conf/{name}/{key}").write_text(str(value))
        _run("ip", "link", "set", name, "arp", "off", "up")
    _run("ip", "addr", "add", "198.18.0.1/24", "dev", BAIT)
    _run("ip", "route", "add", "default", "dev", BAIT)
    if _has_ipv6():
        _run("ip", "-6", "addr", "add", "2001:db8::1/64", "dev", BAIT, "nodad")
        _run("ip", "-6", "route", "add", "default", "dev", BAIT)


def ask_nobody_else(folder: Path) -> None:
    """Have every name that is looked up in this mount namespace asked for in a packet, by whoever wants to know it."""
    for place in RESOLVERS:
        if place.is_dir():
            _run("mount", "-t", "tmpfs", "none", str(place))
    ask = f"nameserver {STRANGER}\noptions timeout:1 attempts:1\n"
    for file, text in ((RESOLV_CONF, ask), (NSSWITCH_CONF, "hosts: files dns\n")):
        real = file.resolve()
        if real.exists():
            (folder / file.name).write_text(text)
            _run("mount", "--bind", str(folder / file.name), str(real))
        elif any(real.is_relative_to(place) for place in RESOLVERS):
            real.write_text(text)


def _uncover() -> None:
    """Let go of the folder's files, so that it can be removed."""
    for file in (RESOLV_CONF, NSSWITCH_CONF):
        subprocess.run(("umount", str(file.resolve())), check=False, capture_output=True)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def _has_ipv6() -> bool:
    """Whether this kernel has IPv6 for the cable; one without cannot leak by it."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/sys/net/ipv6/conf/{BAIT}/disable_ipv6").read_text().strip() == "0"
    return False


# --------------------------------------------------------------------- counting


def counts() -> Counts:
    """Read this namespace's counters."""
    four, six = _snmp(), _snmp6()
    return Counts(
        packets=_packets(),
        datagrams=four["Udp"]["OutDatagrams"] + six.get("Udp6OutDatagrams", 0),
        without_route=four["Ip"]["OutNoRoutes"] + six.get("Ip6OutNoRoutes", 0),
    )


def _packets() -> dict[str, int]:
    found = {}
    for line in Path("/proc/self/net/dev").read_text(encoding="ascii").splitlines()[2:]:
        name, _, figures = line.partition(":")
        found[name.strip()] = int(figures.split()[9])
    return found


def _snmp() -> dict[str, dict[str, int]]:
    """Counters of IPv4 by protocol; each has a line of names and a line of figures."""
    found: dict[str, dict[str, int]] = {}
    lines = [line.split() for line in Path("/proc/self/net/snmp").read_text(encoding="ascii").splitlines()]
    for head, figures in zip(lines[::2], lines[1::2], strict=True):
        found[head[0].rstrip(":")] = dict(zip(head[1:], map(int, figures[1:]), strict=True))
    return found


def _snmp6() -> dict[str, int]:
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/net/snmp6").read_text(encoding="ascii").splitlines()
        return {name: int(value) for name, value in (line.split() for line in lines)}
    return {}


def counts_itself() -> dict[str, bool]:
    """Send a packet of each kind, and say by kind whether the counters saw it; kinds that cannot be sent are not there.

    `name` is a lookup by the resolver of this machine's C library, as every program does it.
    """
    kinds: dict[str, Callable[[], object]] = {"udp": _udp, "tcp": _tcp, "icmp": _icmp, "name": _lookup}
    if _has_ipv6():
        kinds |= {"udp6": lambda: _udp(STRANGER6), "tcp6": lambda: _tcp(STRANGER6)}
    seen = {}
    for kind, send in kinds.items():
        wait_for_quiet()
        before = counts()
        try:
            send()
        except PermissionError:
            continue
        time.sleep(0.05)
        after = counts()
        seen[kind] = after.packets[BAIT] > before.packets[BAIT]
        if kind in {"udp", "udp6", "name"}:
            seen[kind] &= after.datagrams > before.datagrams
    return seen


def _udp(host: str = STRANGER) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"leak test", (host, 53))


def _tcp(host: str = STRANGER) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
        one.setblocking(False)
        one.connect_ex((host, 443))


def _icmp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as one:
        one.sendto(b"\x08\x00\xf7\xff\x00\x00\x00\x00", (STRANGER, 0))  # an echo request of RFC 792


def _lookup() -> None:
    with contextlib.suppress(socket.gaierror):
        socket.getaddrinfo(NAME, 443)


def wait_for_quiet() -> bool:
    """Wait until the kernel's own packets (multicast reports of IPv6, a second SYN) are over; False: they never are."""
    before, since = _packets(), time.monotonic()
    ends = since + 10
    while time.monotonic() < min(ends, since + 1.0):
        time.sleep(0.05)
        if (now := _packets()) != before:
            before, since = now, time.monotonic()
    return time.monotonic() >= since + 1.0


# --------------------------------------------------------------------- the client


def _phase(env: dict[str, str], socks: str, seconds: float, *, until_answer: bool) -> Phase:
    """Run the client for a while, or until it has answered, and count what it sends."""
    with tempfile.TemporaryDirectory(prefix="lt-leak-") as folder:
        own = {
            **env,
            "LUCID_HOME": folder,
            "LUCID_RUN_DIR": f"{folder}/run",
            "USE_TOR_FOR_EXTERNAL_CALLS": "true",
            "TOR_ROUTE_RPC": "true",
            "TOR_SOCKS_SOCKET": socks or f"{folder}/nobody",
        }
        wait_for_quiet()
        before = counts()
        with Path(folder, "log").open("wb") as log:
            client = subprocess.Popen(
                (*PYTHON_M, "services.tron"), env=own, cwd=folder, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log,
            )  # fmt: skip
            try:
                answers, refusals, words = _ask(Path(folder, "run", "tron", "tron.sock"), seconds, client, until_answer)
            finally:
                client.kill()
                client.wait()
        if client.returncode > 0:  # it ended by itself
            words = Path(folder, "log").read_text(errors="replace").strip()[-300:]
        after = counts()
        sent = {name: count - before.packets.get(name, 0) for name, count in after.packets.items()}
        return Phase(answers, refusals, words, sent, after.datagrams - before.datagrams)


def _ask(where: Path, seconds: float, client: subprocess.Popen[bytes], until_answer: bool) -> tuple[int, int, str]:
    answers, refusals, words = 0, 0, "it never listened"
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and client.poll() is None and not (until_answer and answers >= 3):
        try:
            status, body = call(where, _HEAD, timeout_s=5)
        except LucidError:
            time.sleep(0.05)
            continue
        if status == 200:
            answers += 1
        else:
            refusals, words = refusals + 1, str((body or {}).get("detail") or f"HTTP status {status}")
        time.sleep(0.1)
    return answers, refusals, "" if answers and not refusals else words


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
