"""A real node in a home of its own: every daemon a process, driven by the command line, killed at will."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from lucid_tron_console import node, probe
from lucid_tron_console.home import SERVICES, Home, NodeRecord
from services.kit.errors import LucidError

FAST = {
    "DEVNET_BLOCK_INTERVAL_MS": "250",
    "DEVNET_SOLID_LAG": "3",
    "TRON_CONFIRMATION_CHECK_INTERVAL": "0.2",
    "TRON_TIMEOUT": "2",
    "TRON_INITIAL_RETRY_DELAY": "0.1",
    "WALLET_KDF_MEMORY_KIB": "8192",
}
"""A payout is solid within two seconds, and a passphrase costs milliseconds."""

OURS = ("DEVNET_", "I_ACCEPT_", "LUCID_", "PAYOUT_", "TOR_", "TRON_", "USE_TOR_", "WALLET_")
"""What the environment says of a node; a node under test hears nothing of it."""

BY_HAND = {**FAST, "DEVNET_BLOCK_INTERVAL_MS": "0"}
"""Blocks only on demand: a payout stays in the state that a test wants to see."""

PASSPHRASE = "correct horse battery staple"

PATIENCE_S = 45.0
"""How long anything may take on a busy machine; a test never waits as long when all is well."""


def until(condition: Callable[[], Any], words: str, timeout_s: float = PATIENCE_S) -> Any:
    """Wait for something to become true, and return what it was."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"never in {timeout_s:g} s: {words}"
        time.sleep(0.02)


class SystemNode:
    """A node under test."""

    def __init__(self, path: Path, env: dict[str, str]) -> None:
        self.home = Home.at(path)
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
        self.env |= {**env, "LUCID_HOME": str(path)}
        self.passphrase_file = path / "passphrase"
        self.passphrase_file.write_text(PASSPHRASE)
        self.passphrase_file.chmod(0o600)

    @staticmethod
    def until(condition: Callable[[], Any], words: str, timeout_s: float = PATIENCE_S) -> Any:
        """Wait for something to become true, and return what it was."""
        return until(condition, words, timeout_s)

    # The command line

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [sys.executable, "-m", "lucid_tron_console", *words],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, which must have this exit code."""
        process = self.start(*words)
        try:
            out, err = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"lucid-tron {' '.join(words)} does not end\n{out}\n{err}\n{self.logs()}")
        if process.returncode != code:
            pytest.fail(f"lucid-tron {' '.join(words)}: exit code {process.returncode}\n{out}\n{err}\n{self.logs()}")
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def json(self, *words: str, code: int = 0) -> Any:
        """Run a command with -o json; its stdout must be one JSON value on one line."""
        done = self.run(*words, "-o", "json", code=code)
        assert done.stdout.count("\n") == 1, done.stdout
        return json.loads(done.stdout)

    def up(self, *words: str, unlocked: bool = True) -> Any:
        """Start the node, with its wallets unlocked or not."""
        secret = ["--passphrase-file", str(self.passphrase_file)] if unlocked else []
        return self.json("up", "--network", "devnet", "--detach", *words, *secret)

    def wallet(self, name: str = "hot", trx: int = 1000) -> str:
        """Make a wallet with money in it, unlocked; returns its address. Past the command line, which costs time."""
        made = self.ask("wallet", "/wallets", {"name": name, "passphrase": PASSPHRASE})
        self.ask("wallet", f"/wallets/{name}/unlock", {"passphrase": PASSPHRASE})
        address = str(made["wallet"]["address"])
        self.devnet("/admin/faucet", {"address": address, "amount_sun": trx * 1_000_000})
        self.mine(1)
        return address

    def unlock(self, name: str = "hot") -> None:
        """Unlock a wallet."""
        self.ask("wallet", f"/wallets/{name}/unlock", {"passphrase": PASSPHRASE})

    def lock(self, name: str = "hot") -> None:
        """Lock a wallet."""
        self.ask("wallet", f"/wallets/{name}/lock", {})

    def ask(self, service: str, path: str, body: object = None) -> Any:
        """Ask a daemon of this node; with a body it is a POST."""
        method = "GET" if body is None else "POST"
        body = body or None
        return probe.ask(self.home.socket(service), f"/api/v1/tron{path}", method=method, body=body, timeout_s=30)

    # Processes

    def record(self) -> NodeRecord:
        """What node.json says."""
        return self.home.record()

    def pid(self, service: str) -> int:
        """The pid of a daemon, as soon as it runs."""

        def running() -> int | None:
            run = self.record().services.get(service)
            return run.pid if run else None

        found = until(running, f"{service} runs")
        assert isinstance(found, int)
        return found

    def kill(self, service: str) -> None:
        """Kill one daemon with -9; the supervisor starts another."""
        os.kill(self.pid(service), signal.SIGKILL)

    def kill_all(self) -> None:
        """Kill -9 the supervisor and every daemon, as a power cut would."""
        supervisor = self.home.holder()
        pids = [run.pid for run in self.record().services.values() if run.pid]
        for pid in [*([supervisor] if supervisor else []), *pids]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        until(lambda: self.home.holder() is None and not any(_lives(pid) for pid in pids), "everything is dead")

    def healthy(self, *services: str) -> None:
        """Wait until these daemons (all of them if none is named) are ready."""
        wanted = services or SERVICES

        def ready() -> bool:
            record = self.record()
            return all(probe.health(self.home, record, name).state == "ready" for name in wanted)

        until(ready, f"{', '.join(wanted)} ready")

    def logs(self) -> str:
        """The end of every log, for a failure's message."""
        parts = [f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.home.log_dir.glob("*.log"))]
        return "\n".join(parts)

    # The chain, by plain HTTP

    def devnet(self, path: str, body: object = None, method: str | None = None) -> Any:
        """Ask the devnet itself, past every service."""
        url = self.record().devnet_url
        assert url is not None
        return probe.ask(url, path, method=method or ("GET" if body is None else "POST"), body=body, timeout_s=20)

    def mine(self, blocks: int) -> None:
        """Make blocks."""
        self.devnet(f"/admin/mine?blocks={blocks}", method="POST")

    def account(self) -> str:
        """An address on the chain that nobody has paid yet."""
        made = self.devnet("/admin/temporary-accounts-generation?accounts=1")
        return str(made["addresses"][0])

    def transfers(self, to: str, amount_sun: int) -> list[str]:
        """Txids of all transfers of that amount to an address, in all blocks there are."""
        return [txid for txid, amount in self.paid_to(to) if amount == amount_sun]

    def paid_to(self, to: str) -> list[tuple[str, int]]:
        """Txid and amount of every transfer to an address, in all blocks there are."""
        head = self.devnet("/wallet/getnowblock", {})["block_header"]["raw_data"]["number"]
        found = []
        for number in range(head + 1):
            block = self.devnet("/wallet/getblockbynum", {"num": number, "visible": True})
            for transaction in block.get("transactions", []):
                value = transaction["raw_data"]["contract"][0]["parameter"]["value"]
                if value.get("to_address") == to:
                    found.append((transaction["txID"], value["amount"]))
        return found

    def solid(self, txid: str) -> bool:
        """Whether a transaction is in a block that can no longer be undone."""
        return bool(self.devnet("/walletsolidity/gettransactioninfobyid", {"value": txid}).get("blockNumber"))

    # Payouts

    def payout(self, payout_id: str) -> Any:
        """A payout as the router tells it now; nothing while the router is away."""
        try:
            return probe.ask(self.home.socket("payout"), f"/api/v1/tron/payouts/{payout_id}", timeout_s=5)
        except LucidError:
            return {}

    def job_state(self, payout_id: str) -> str:
        """The state of a payout's newest order in the TRON client, as the router tells it."""
        attempts = self.payout(payout_id).get("attempts") or [{"state": ""}]
        return str(attempts[-1]["state"])

    def create(self, to: str, amount_sun: int, key: str) -> Any:
        """Create a payout from the wallet `hot`, past the command line."""
        body = {"key": key, "wallet": "hot", "to": to, "asset": "TRX", "amount": amount_sun}
        return self.ask("payout", "/payouts", body)

    def mine_until_paid(self, payout_id: str) -> Any:
        """Make blocks until a payout is final; returns it."""

        def final() -> Any:
            self.mine(1)
            payout = self.payout(payout_id)
            return payout if payout.get("state") in {"paid", "dead", "failed_on_chain", "cancelled"} else None

        return until(final, f"{payout_id} ends")


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


MakeNode = Callable[[dict[str, str]], SystemNode]


@pytest.fixture
def make_node() -> Iterator[MakeNode]:
    """Make nodes, each in a home of its own; they are stopped and removed in the end."""
    yield from _nodes()


@pytest.fixture(scope="module")
def lab_settings() -> dict[str, str]:
    """Settings of `lab_node`; a module may have others."""
    return FAST


@pytest.fixture(scope="module")
def lab_node(lab_settings: dict[str, str]) -> Iterator[SystemNode]:
    """A running node whose calls go through a private Tor network of three real hops; one for a module."""
    nodes = _nodes()
    node = next(nodes)(lab_settings)
    try:
        node.up("--tor", "lab")
        node.wallet()
        yield node
    finally:
        nodes.close()


def _nodes() -> Generator[MakeNode, None, None]:
    made: list[SystemNode] = []

    def make(env: dict[str, str]) -> SystemNode:
        # pytest's own folders are too deep for a Unix socket.
        made.append(SystemNode(Path(tempfile.mkdtemp(prefix="lt-")), env))
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            try:
                node.stop(one.home)
            finally:
                shutil.rmtree(one.home.path, ignore_errors=True)


@pytest.fixture
def fast_node(make_node: MakeNode) -> SystemNode:
    """A node with a block every 250 ms; not started yet."""
    return make_node(FAST)


@pytest.fixture
def slow_node(make_node: MakeNode) -> SystemNode:
    """A node with blocks on demand only; not started yet."""
    return make_node(BY_HAND)
