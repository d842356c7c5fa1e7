"""A cell for the leak test: the TRON client in a network namespace where everything that left would be counted.

Run as `unshare --net python -m lucid_tron_console.leak_cell`, with a `Trial` as JSON on stdin. There are two
interfaces, a cable that leads nowhere: the default routes of IPv4 and IPv6 go into it, so a packet that wants to leave
does, and is counted. First the cell sends packets itself, to show that it counts. Then the client runs twice, with
Tor's SOCKS socket and with one where nobody is; both times it has to speak through a Unix socket or not at all.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lucid_tron_console.probe import call
from services.kit.errors import LucidError

BAIT, NOWHERE = "leak0", "leak1"

_STRANGER = ("192.0.2.1", 53)
"""TEST-NET-1 (RFC 5737): nobody is there."""

NAME = "leak-test.invalid"
"""A name that nobody has (RFC 2606): looking it up in the clear would be seen."""

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
    lay_cable()
    shown: dict[str, Any] = {"counts": counts_itself()}
    if trial.socks:
        shown["open"] = asdict(_phase(trial.env, trial.socks, _OPEN_S, until_answer=True))
    endpoints = ",".join(part for part in (trial.env.get("TRON_HTTP_ENDPOINT", ""), f"https://{NAME}") if part)
    shut = {**trial.env, "TRON_HTTP_ENDPOINT": endpoints}
    shown["shut"] = asdict(_phase(shut, "", _SHUT_S, until_answer=False))
    sys.stdout.write(json.dumps(shown) + "\n")
    return 0


def lay_cable() -> None:
    """Make the two ends of the cable, with addresses and default routes, in this namespace."""
    quiet = {"accept_dad": 0, "router_solicitations": 0, "autoconf": 0}
    _ip("link", "set", "lo", "up")
    _ip("link", "add", BAIT, "type", "veth", "peer", "name", NOWHERE)
    for name in (BAIT, NOWHERE):
        for key, value in quiet.items():
            # IPv6 talks by itself when an interface comes up; what is left of that is over before the count begins.
            with contextlib.suppress(OSError):
                Path(f"/proc/sys/net/ipv6/conf/{name}/{key}").write_text(str(value))
        _ip("link", "set", name, "arp", "off", "up")
    _ip("addr", "add", "198.18.0.1/24", "dev", BAIT)
    _ip("route", "add", "default", "dev", BAIT)
    with contextlib.suppress(subprocess.CalledProcessError):  # a machine without IPv6 cannot leak by it
        _ip("-6", "addr", "add", "2001:db8::1/64", "dev", BAIT, "nodad")
        _ip("-6", "route", "add", "default", "dev", BAIT)


def _ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True, stdin=subprocess.DEVNULL, capture_output=True)


def packets() -> dict[str, int]:
    """Packets that each interface of this namespace has sent, by its name; loopback too."""
    found = {}
    for line in Path("/proc/self/net/dev").read_text(encoding="ascii").splitlines()[2:]:
        name, _, figures = line.partition(":")
        found[name.strip()] = int(figures.split()[9])
    return found


def datagrams() -> int:
    """UDP datagrams that this namespace has sent."""
    lines = [line.split() for line in Path("/proc/self/net/snmp").read_text(encoding="ascii").splitlines()]
    head, figures = [line for line in lines if line[0] == "Udp:"]
    total = int(dict(zip(head, figures, strict=True))["OutDatagrams"])
    with contextlib.suppress(OSError, StopIteration):
        six = (line.split() for line in Path("/proc/self/net/snmp6").read_text(encoding="ascii").splitlines())
        total += next(int(value) for name, value in six if name == "Udp6OutDatagrams")
    return total


def counts_itself() -> bool:
    """Send a datagram and a SYN, and say whether the counters saw both."""
    wait_for_quiet()
    before, asked = packets()[BAIT], datagrams()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, socket.socket() as two:
        one.sendto(b"leak test", _STRANGER)
        two.setblocking(False)
        two.connect_ex(_STRANGER)
        time.sleep(0.05)
    return packets()[BAIT] >= before + 2 and datagrams() == asked + 1


def wait_for_quiet() -> None:
    """Wait until the kernel's own packets (multicast reports of IPv6) are over."""
    before, since = packets(), time.monotonic()
    ends = since + 10
    while time.monotonic() < min(ends, since + 1.0):
        time.sleep(0.05)
        if (now := packets()) != before:
            before, since = now, time.monotonic()


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
        before, asked = packets(), datagrams()
        with Path(folder, "log").open("wb") as log:
            client = subprocess.Popen(
                (sys.executable, "-m", "services.tron"), env=own, cwd=folder, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log,
            )  # fmt: skip
            try:
                answers, refusals, words = _ask(Path(folder, "run", "tron", "tron.sock"), seconds, client, until_answer)
            finally:
                client.kill()
                client.wait()
        if client.returncode > 0:  # it ended by itself
            words = Path(folder, "log").read_text(errors="replace").strip()[-300:]
        sent = {name: count - before.get(name, 0) for name, count in packets().items()}
        return Phase(answers, refusals, words, sent, datagrams() - asked)


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
