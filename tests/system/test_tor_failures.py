"""What can go wrong with Tor, on a whole node: told in words, logged, over by itself, and no payout lost or paid twice.

tor has to be installed (apt-get install -y tor), and tmux: every word is read on the console's Tor screen too.
"""

import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.kit.errors import LucidError, Timeout, Unavailable
from services.protocol.address import Address

HASTY = {
    "TOR_HEALTH_CHECK_INTERVAL": "1",
    "TOR_CONNECTIVITY_TIMEOUT": "3",
    "TOR_CONNECTION_RETRY_DELAY_MS": "100",
    "TOR_CONNECTION_MAX_RETRY_DELAY_MS": "500",
    # A block is 3 s of chain time however soon it comes: nothing may expire while a test looks on.
    "DEVNET_BLOCK_INTERVAL_MS": "500",
    "TRON_TX_LIFETIME": "300",
}
"""Looks, round trips and attempts in quick succession: a test sees in seconds what takes a real node a minute."""

SUN = 1_000_000


@pytest.fixture(scope="module")
def lab_settings(lab_settings: dict[str, str]) -> dict[str, str]:
    """The node of this module is a hasty one."""
    return {**lab_settings, **HASTY}


# --------------------------------------------------------------------- the screen


class TorScreen:
    """The console on its Tor screen, in a terminal of 80×24 that stays open through everything."""

    def __init__(self, node: Any) -> None:
        if shutil.which("tmux") is None:
            pytest.fail("tmux is missing, and this test reads the console with it: apt-get install -y tmux")
        self._tmux = ["tmux", "-S", str(node.home.path / "tmux.sock"), "-u", "-f", "/dev/null"]
        command = shlex.join([sys.executable, "-m", "lucid_tron_console", "console"])
        env = {"LC_ALL": "C.UTF-8", **node.env, "TERM": "xterm-256color"}
        env.pop("TMUX", None)
        self._run("new-session", "-d", "-x", "80", "-y", "24", f"{command}; sleep 600", env=env)
        self.shows("1 Dash")
        self._run("send-keys", "6")
        self.shows("tor OK", "bootstrap .* 100%", "Circuits")

    def shows(self, *patterns: str) -> None:
        """Wait until everything is on the screen; how its lines are wrapped does not matter."""
        deadline = time.monotonic() + 30
        while missing := [one for one in patterns if not re.search(one, " ".join(self._text().split()))]:
            assert time.monotonic() < deadline, f"never on the screen: {missing}\n{self._text()}"
            time.sleep(0.05)

    def close(self) -> None:
        """Hang up."""
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, check=False)

    def _text(self) -> str:
        return self._run("capture-pane", "-p")

    def _run(self, *words: str, env: dict[str, str] | None = None) -> str:
        return subprocess.run([*self._tmux, *words], env=env, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def screen(lab_node: Any) -> Iterator[TorScreen]:
    """The console of the module's node."""
    made = TorScreen(lab_node)
    yield made
    made.close()


# --------------------------------------------------------------------- money


@dataclass(frozen=True)
class Payment:
    """One payout that somebody wants, by the key that they repeat until it is accepted."""

    node: Any
    key: str
    to: str
    amount_sun: int

    def ask(self) -> Any:
        """Ask for it; raises what the router answers."""
        return self.node.create(self.to, self.amount_sun, self.key)

    def asked_until_accepted(self) -> Any:
        """Ask again and again with the same key, as a script does that may be told to."""

        def accepted() -> Any:
            with suppress(Unavailable, Timeout):
                return self.ask()

        return self.node.until(accepted, f"{self.key} is accepted")

    def paid(self) -> int:
        """Wait until it is paid and see on the chain that it was, exactly once; returns what it cost beside."""
        payout = self.asked_until_accepted()
        ends = {"paid", "dead", "failed_on_chain", "cancelled"}
        self.node.until(lambda: self.node.payout(payout["id"]).get("state") in ends, f"{self.key} ends")
        payout = self.node.payout(payout["id"])
        assert payout["state"] == "paid", payout
        assert self.node.paid_to(self.to) == [(payout["txid"], self.amount_sun)]
        assert balance(self.node, self.to) == self.amount_sun
        info = self.node.devnet("/wallet/gettransactioninfobyid", {"value": payout["txid"]})
        return int(info.get("fee", 0))


def balance(node: Any, address: str) -> int:
    """What the chain says that an address has, in sun."""
    return int(node.devnet("/wallet/getaccount", {"address": address, "visible": True}).get("balance", 0))


# --------------------------------------------------------------------- causes


def tors(node: Any) -> dict[str, int]:
    """Pids of the lab's tors by their names."""
    lab, found = node.home.path / "state" / "tor" / "lab", {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if Path(words[0]).name == "tor" and "-f" in words:
                torrc = Path(words[words.index("-f") + 1])
                if torrc.parent.parent == lab:
                    found[torrc.parent.name] = int(process.name)
    return found


def busiest(node: Any, hop: int) -> str:
    """The relay that most circuits of the node have at a place: 0, the guard; -1, the exit."""
    built = [one for one in node.ask("tor", "/tor/circuits")["items"] if one["state"] == "BUILT" and one["isolation"]]
    names = [str(one["hops"][hop]["nickname"]) for one in built if len(one["hops"]) == 3]
    return max(names, key=names.count)


@contextmanager
def dead(node: Any, *names: str) -> Iterator[None]:
    """Kill tors, and keep the lab from starting them again."""
    lab = node.pid("lab")
    os.kill(lab, signal.SIGSTOP)
    try:
        pids = tors(node)
        for name in names:
            os.kill(pids[name], signal.SIGKILL)
        yield
    finally:
        os.kill(lab, signal.SIGCONT)


@contextmanager
def hung(node: Any, *names: str) -> Iterator[None]:
    """Freeze tors: they are there, and answer nothing."""
    pids = [tors(node)[name] for name in names]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def cookie_of_another(node: Any) -> Iterator[None]:
    """Put another tor's cookie where this one's was; the Tor service comes anew and reads it."""
    file = node.home.path / "state" / "tor" / "lab" / "client" / "control_auth_cookie"
    right = file.read_bytes()
    file.write_bytes(os.urandom(len(right)))
    try:
        node.kill("tor")
        yield
    finally:
        file.write_bytes(right)


@contextmanager
def instead_of_the_control_port(node: Any, greeting: bytes | None) -> Iterator[None]:
    """Have somebody else listen at the control port's path: who greets so, hangs up (b""), or says nothing (None)."""
    path = node.home.path / "state" / "tor" / "lab" / "client" / "control"
    aside = path.with_name("control.aside")
    path.rename(aside)
    kept: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        threading.Thread(target=_greet, args=(listener, greeting, kept), daemon=True).start()
        try:
            node.kill("tor")
            yield
        finally:
            aside.rename(path)
            listener.shutdown(socket.SHUT_RDWR)
            for one in kept:
                one.close()


def _greet(listener: socket.socket, greeting: bytes | None, kept: list[socket.socket]) -> None:
    with suppress(OSError):
        while True:
            caller = listener.accept()[0]
            kept.append(caller)
            if greeting is not None:
                caller.recv(1000)
                caller.sendall(greeting)
                caller.shutdown(socket.SHUT_RDWR)


@contextmanager
def start_without_relays(node: Any) -> Iterator[None]:
    """Have the client start anew while nobody answers it."""
    servers = [name for name in tors(node) if name != "client"]
    with hung(node, *servers):
        os.kill(tors(node)["client"], signal.SIGKILL)
        yield


@dataclass(frozen=True)
class Case:
    """One way to fail, and what is to be seen."""

    cause: Callable[[Any], AbstractContextManager[None]]
    state: str
    words: str
    """Of the status and of the screen, as a regular expression."""
    goes_out: bool = False
    """Whether payouts go on while it lasts."""
    logged: str = ""
    """Of the Tor service's log, if that has others."""


HTTP = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"

CASES = {
    "an exit is killed": Case(
        lambda node: dead(node, busiest(node, -1)), "ok|circuits_failing",
        r"exit exit\d \(\w{8}\) dropped \d+ circuits: it seems to be gone", goes_out=True,
    ),
    "all exits hang": Case(
        lambda node: hung(node, "exit0", "exit1"), "no_answer|circuits_failing",
        r"round trip to 127\.0\.0\.1:\d+ failed: |circuits failed, the newest by",
    ),
    "the guard is killed": Case(
        lambda node: dead(node, busiest(node, 0)), "ok|circuits_failing",
        r"guard \w+ \(\w{8}\) could not be reached: others", goes_out=True,
    ),
    "tor is killed": Case(
        lambda node: dead(node, "client"), "not_running", r"nothing listens at .*: start tor",
        logged=r"tor closed the control connection: it ended",
    ),
    "the cookie is another tor's": Case(
        cookie_of_another, "wrong_cookie", r"the cookie in .* is not this tor's: another tor wrote it", goes_out=True
    ),
    "the control port is an HTTP server": Case(
        lambda node: instead_of_the_control_port(node, HTTP), "not_control_port",
        r"is an HTTP server, not tor's control port: set TOR_CONTROL_SOCKET", goes_out=True,
    ),
    "the control port is an SSH server": Case(
        lambda node: instead_of_the_control_port(node, b"SSH-2.0-OpenSSH_9.2\r\n"), "not_control_port",
        r"is an SSH server, not tor's control port", goes_out=True,
    ),
    "the control port says nothing": Case(
        lambda node: instead_of_the_control_port(node, None), "silent", r"takes the connection and says nothing",
        goes_out=True,
    ),
    "the start is stuck": Case(
        start_without_relays, "stuck", r"Tor's start stands still at \d+ %, .*; look at this machine's network"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", [pytest.param(case, id=name.replace(" ", "-")) for name, case in CASES.items()])
def test_a_failure_is_told_logged_and_over_by_itself_and_costs_no_payout(
    lab_node: Any, screen: TorScreen, case: Case
) -> None:
    drill(lab_node, screen, case)


@pytest.mark.long
def test_the_whole_network_dies_and_comes_back(lab_node: Any, screen: TorScreen) -> None:
    def everybody(node: Any) -> AbstractContextManager[None]:
        return dead(node, *(name for name in tors(node) if name != "client"))

    drill(lab_node, screen, Case(everybody, "guards_down", r"none of Tor's guards can be reached \(\d tried\)"))


@pytest.mark.long
def test_twenty_payouts_while_everything_dies_and_hangs_by_chance(lab_node: Any) -> None:
    node, seed = lab_node, int(time.time())
    well(node)
    hot = node.ask("wallet", "/wallets/hot")["address"]
    before, over, acts = balance(node, hot), threading.Event(), list[str]()
    havoc = threading.Thread(target=_havoc, args=(node, random.Random(seed), over, acts))
    havoc.start()
    payments = [
        Payment(node, f"havoc-{number}", Address(b"\x41" + os.urandom(20)).base58, SUN + number) for number in range(20)
    ]
    try:
        for payment in payments:
            payment.asked_until_accepted()
            time.sleep(2)
    finally:
        over.set()
        havoc.join()
        print(f"seed {seed}: {', '.join(acts)}")
    fees = [payment.paid() for payment in payments]
    well(node)
    assert before - balance(node, hot) == sum(payment.amount_sun for payment in payments) + sum(fees)


def _havoc(node: Any, chance: random.Random, over: threading.Event, acts: list[str]) -> None:
    """Kill or freeze one after the other of the lab's tors and of the daemons that pay, but not who has the keys."""
    while not over.is_set():
        running = tors(node)
        who = chance.choice([*sorted(running), "tor", "tron", "payout"])
        pid, lasts_s = running.get(who) or node.pid(who), chance.uniform(0.2, 2.0)
        with suppress(ProcessLookupError):
            if chance.random() < 0.5:
                os.kill(pid, signal.SIGKILL)
                acts.append(f"{who} killed")
            else:
                os.kill(pid, signal.SIGSTOP)
                over.wait(lasts_s)
                os.kill(pid, signal.SIGCONT)
                acts.append(f"{who} hung for {lasts_s:.1f} s")
        over.wait(chance.uniform(0.3, 2.5))


def drill(node: Any, screen: TorScreen, case: Case) -> None:
    """Have it happen with one payout on its way and another one asked for, and see all of it end well."""
    well(node)
    hot = node.ask("wallet", "/wallets/hot")["address"]
    before, log_from = balance(node, hot), node.home.log("tor").stat().st_size
    under_way, asked_for = (
        Payment(node, f"{name}-{time.monotonic_ns()}", Address(b"\x41" + os.urandom(20)).base58, amount)
        for name, amount in (("under-way", 2 * SUN + 1), ("asked-for", 3 * SUN + 7))
    )
    node.lock()  # accepted and not yet signed: it gets as far as it can while the cause is there
    under_way.ask()
    began = time.monotonic()
    with case.cause(node):
        node.unlock()
        if case.goes_out:
            fees = [under_way.paid(), asked_for.paid()]
        node.until(lambda: re.fullmatch(case.state, status(node)["state"]) and told(node, case.words), case.words)
        seen_s = time.monotonic() - began
        screen.shows(case.words)
        if not case.goes_out:
            with pytest.raises(Unavailable, match="nothing was accepted; try again with the same key"):
                asked_for.ask()
            assert node.paid_to(under_way.to) == node.paid_to(asked_for.to) == []
    removed = time.monotonic()
    well(node)
    well_s = time.monotonic() - removed
    if not case.goes_out:
        fees = [under_way.paid(), asked_for.paid()]
    paid_s = time.monotonic() - removed
    screen.shows("tor OK")
    assert logged(node, log_from, case.logged or case.words)
    # To the sun: nothing was paid beside, nor anything twice.
    assert before - balance(node, hot) == under_way.amount_sun + asked_for.amount_sun + sum(fees)
    print(f"seen after {seen_s:.1f} s; well {well_s:.1f} s after its end, everything paid after {paid_s:.1f} s")


def status(node: Any) -> Any:
    """How Tor is, as its service tells; `away` while that starts."""
    try:
        return node.ask("tor", "/tor/status")
    except LucidError:
        return {"state": "away", "detail": "", "warnings": []}


def told(node: Any, words: str) -> bool:
    """Whether the status has these words."""
    found = status(node)
    return any(re.search(words, text) for text in (found["detail"], *found["warnings"]))


def well(node: Any) -> None:
    """Wait until Tor is well and the chain answers."""
    try:
        # After the death of many relays tor itself takes up to 45 s to believe in them again.
        node.until(lambda: status(node)["state"] == "ok", "tor is well", 120.0)
    except AssertionError:
        pytest.fail(f"tor does not get well: {status(node)}")
    node.until(lambda: len(tors(node)) == 8, "every tor runs")


def logged(node: Any, start: int, words: str) -> bool:
    """Whether the Tor service wrote a line with these words since its log had `start` bytes."""
    with node.home.log("tor").open("rb") as log:
        log.seek(start)
        lines = [json.loads(line) for line in log.read().decode().splitlines() if line.startswith("{")]
    found = [line["detail"] for line in lines if line["event"] in {"tor.state", "tor.warning"}]
    return any(re.search(words, text) for text in found)
