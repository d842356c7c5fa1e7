"""Nothing leaves but through Tor: every service but tor in a network namespace without a way out, packets counted.

Needs tor (apt-get install -y tor), iproute2 (apt-get install -y iproute2), and root or user namespaces.
"""

import fcntl
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lucid_tron_console.probe import call
from services.kit.errors import Unavailable
from services.protocol.address import Address

CONFINED = ("tor", "wallet", "tron", "payout")
"""What runs in the namespace, and so does the console; outside are the private Tor network and the devnet behind it."""

NAME = "https://leak-test.invalid"
"""An endpoint by name beside the devnet: looking it up in the clear would be seen (RFC 2606: nobody has it)."""

PATIENT = {"DEVNET_BLOCK_INTERVAL_MS": "500", "TRON_TX_LIFETIME": "300"}
"""A block is 3 s of chain time however soon it comes: no payout may expire while Tor is away for some seconds."""

SUPERVISE = """
import os, sys
from dataclasses import replace
from pathlib import Path
from lucid_tron_console import lab, node
from lucid_tron_console.home import Home, NodeLock, NodeRecord
from lucid_tron_console.supervisor import Supervisor

home, enter, name, confined = Home.at(Path(sys.argv[1])), sys.argv[2].split(), sys.argv[3], sys.argv[4:]

def placed(command):
    if command.service not in confined:
        return command
    env = dict(command.env)
    if command.service == "tron":
        env["TRON_HTTP_ENDPOINT"] += "," + name
    return replace(command, argv=(*enter, *command.argv), env=env)

home.prepare()
lab.prepare(home)
with NodeLock(home), node.reserved_ports(()) as ports:
    record = NodeRecord("devnet", os.getpid(), ports, tor=lab.way(home))
    home.write_record(record)
    commands = node.commands(home, "devnet", record.devnet_urls, os.environ, tor=record.tor)
    Supervisor(home, record, [placed(command) for command in commands], print).run()
"""

HOLD = """
import sys
from pathlib import Path
from lucid_tron_console import leak_cell as cell

cell.ask_nobody_else(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.read()
"""
"""Who keeps the namespaces there: they are gone with this process."""

COUNT = """
import json
from dataclasses import asdict
from lucid_tron_console import leak_cell as cell
print(json.dumps(asdict(cell.counts())))
"""

BAIT = """
import json
from lucid_tron_console import leak_cell as cell

cell.lay_cable()
quiet = cell.wait_for_quiet()
counts = cell.counts_itself() if quiet else {}
print(json.dumps({"quiet": quiet and cell.wait_for_quiet(), "counts": counts}))
"""


class Cell:
    """A network namespace, with a mount namespace in which nobody else is asked for names."""

    def __init__(self, pid: int, env: dict[str, str]) -> None:
        self._env = env
        whose = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        self.enter = ["nsenter", "--target", str(pid), *whose, "--net", "--mount", "--"]
        """The beginning of a command that runs in there."""

    def run(self, script: str) -> Any:
        """Run Python in there; it prints JSON."""
        done = subprocess.run(
            [*self.enter, sys.executable, "-c", script], env=self._env, capture_output=True, text=True, check=False,
            timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def lucid_tron(self, *words: str) -> Any:
        """Run our command line in there; it prints JSON."""
        command = [*self.enter, sys.executable, "-m", "lucid_tron_console", *words, "-o", "json"]
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def routes(self) -> str:
        """All routes of IPv4 and IPv6 there."""
        shown = [[*self.enter, "ip", *words, "route", "show", "table", "all"] for words in ([], ["-6"])]
        return "".join(subprocess.run(one, capture_output=True, text=True, check=True).stdout for one in shown)

    @contextmanager
    def console(self) -> Iterator[Callable[[], str]]:
        """Have the console run in there, in a terminal of 80×24; gives what it has written so far."""
        ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        command = [*self.enter, sys.executable, "-m", "lucid_tron_console", "console"]
        env = {**self._env, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        console = subprocess.Popen(command, env=env, stdin=its, stdout=its, stderr=its, start_new_session=True)
        os.close(its)
        written: list[bytes] = []

        def read() -> None:
            try:
                while chunk := os.read(ours, 65536):
                    written.append(chunk)
            except OSError:
                return  # the terminal has hung up

        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        try:
            yield lambda: b"".join(written).decode(errors="replace")
        finally:
            console.terminate()
            console.wait(20)
            reading.join(5)
            os.close(ours)


@pytest.fixture
def cell(fast_node: Any) -> Iterator[Cell]:
    """Namespaces with nothing in them but a loopback interface that is down."""
    if shutil.which("ip") is None:
        pytest.fail("ip is missing, and this test counts packets with it: apt-get install -y iproute2")
    unshare = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--net", "--mount"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode != 0:
        if os.geteuid() == 0:
            pytest.fail("root may not make network namespaces here: the leak test needs a machine where it may")
        pytest.skip("this user may not make network namespaces: run it as root")
    folder = fast_node.home.path / "cell"
    folder.mkdir()
    with subprocess.Popen(
        [*unshare, sys.executable, "-c", HOLD, str(folder)], env=fast_node.env, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "ready\n"
        yield Cell(holder.pid, fast_node.env)
        holder.stdin.close()


@pytest.fixture
def confined(fast_node: Any, cell: Cell) -> Iterator[Any]:
    """A node of which everything but the devnet and the private Tor network is in the cell."""
    fast_node.env |= PATIENT
    command = [sys.executable, "-c", SUPERVISE, str(fast_node.home.path), " ".join(cell.enter), NAME, *CONFINED]
    with (fast_node.home.path / "supervisor.log").open("wb") as log:
        process = subprocess.Popen(command, env=fast_node.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        until: Callable[..., Any] = fast_node.until
        until(lambda: fast_node.record().services, "the supervisor runs")
        fast_node.healthy("devnet", "lab", *CONFINED)
        yield fast_node
    finally:
        process.terminate()
        process.wait(30)


def test_a_payout_leaves_a_cell_without_routes_and_without_tor_not_one_packet_does(confined: Any, cell: Cell) -> None:
    node = confined
    for service in CONFINED:
        inside = Path(f"/proc/{node.pid(service)}/ns/net").readlink()
        assert inside != Path("/proc/self/ns/net").readlink(), service
    assert cell.routes() == ""

    # No route, not even a loopback interface that is up: Unix sockets are all there is.
    node.wallet()
    receiver = node.account()
    words = ["--from", "hot", "--to", receiver, "--asset", "TRX", "--amount", "3", "--key", "in-the-cell"]
    with cell.console() as written:
        node.until(lambda: "tor" in written(), "the console shows itself")
        paid = cell.lucid_tron("payouts", "create", *words, "--wait", "paid", "--timeout", "60s")
    assert paid["state"] == "paid"
    assert node.transfers(receiver, 3_000_000) == [paid["txid"]]
    # Nothing was sent, and nobody so much as tried.
    assert cell.run(COUNT) == {"packets": {"lo": 0}, "datagrams": 0, "without_route": 0}

    # Now a cable that leads nowhere takes whatever wants to leave, and counts it.
    bait = cell.run(BAIT)
    assert bait["quiet"], "somebody in the cell sends packets all the time"
    assert {"udp", "tcp", "icmp", "name"} <= bait["counts"].keys()
    assert all(bait["counts"].values()), bait
    assert "default" in cell.routes()
    node.lock()
    waiting = node.create(node.account(), 4_000_000, "accepted-before")
    before = cell.run(COUNT)
    with cell.console() as written:
        node.until(lambda: "tor" in written(), "the console shows itself")
        stop_tor(node)
        node.unlock()
        with pytest.raises(Unavailable, match="is Tor running"):
            node.create(receiver, 5_000_000, "without-tor")
        refused = tried_in_vain(node, 5.0)
        node.until(lambda: "tor is not running" in written(), "the console says that Tor is down")
    after = cell.run(COUNT)
    print(f"Tor stopped for 5 s: {refused} reads refused, {after['packets']} before {before['packets']}")
    assert after == before
    assert refused >= 5
    assert node.payout(waiting["id"])["state"] not in {"paid", "dead", "failed_on_chain"}

    # It costs no payout: with Tor back it is paid, once.
    start_tor(node)
    paid = node.mine_until_paid(waiting["id"])
    assert paid["state"] == "paid"
    assert node.transfers(waiting["to"], 4_000_000) == [paid["txid"]]
    assert cell.run(COUNT) == before


def stop_tor(node: Any) -> None:
    """Kill the tor that the node goes through, and keep its lab from starting another."""
    os.kill(node.pid("lab"), signal.SIGSTOP)
    os.kill(client_pid(node), signal.SIGKILL)


def start_tor(node: Any) -> None:
    """Let the lab go on: it finds its client dead, and starts it again."""
    os.kill(node.pid("lab"), signal.SIGCONT)


def client_pid(node: Any) -> int:
    """The tor that has the SOCKS port."""
    torrc = str(node.home.path / "state" / "tor" / "lab" / "client")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if words[0].endswith("tor") and any(word.startswith(torrc) for word in words):
            return int(process.name)
    pytest.fail("the client of the lab does not run")


def tried_in_vain(node: Any, seconds: float) -> int:
    """Read again and again, which must be refused each time; returns how often."""
    refused, ends = 0, time.monotonic() + seconds
    while time.monotonic() < ends:
        # Addresses that nobody asked for yet: nothing of them is cached.
        address = Address(b"\x41" + (time.monotonic_ns()).to_bytes(20, "big")).base58
        status, body = call(node.home.socket("tron"), f"/api/v1/tron/network/account/{address}", timeout_s=40)
        assert status >= 500, body
        refused += 1
    return refused


def test_the_operators_leak_test_tells_tor_from_its_absence(fast_node: Any) -> None:
    node = fast_node
    node.up("--tor", "lab")
    found = node.json("tor", "leak-test", "--for", "1s")
    assert found["ok"]
    checks = {one["name"]: one for one in found["checks"]}
    assert {name: one["ok"] for name, one in checks.items()} == {"settings": True, "sockets": True, "namespace": True}
    assert all(checks["namespace"]["figures"]["counts"].values())
    phases = checks["namespace"]["figures"]
    assert phases["open"]["answers"] >= 3
    assert phases["shut"]["refusals"] >= 5
    for name in ("open", "shut"):
        assert sum(phases[name]["packets"].values()) == phases[name]["datagrams"] == 0
    # A path without ip is a machine without iproute2.
    node.env["PATH"] = str(node.home.path)
    assert "apt-get install -y iproute2" in node.run("tor", "leak-test", "--for", "1s", code=5).stderr
