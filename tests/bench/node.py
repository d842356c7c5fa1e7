"""A node for the benchmarks: its own home, the embedded devnet, blocks on demand unless asked otherwise."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_OWN = ("TRON_", "LUCID_", "WALLET_", "PAYOUT_", "DEVNET_")
_PASSPHRASE = "a passphrase for a benchmark"


class Node:
    """A home and its node, driven by the command line."""

    def __init__(self, home: Path, block_interval_ms: int) -> None:
        self.home = home
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
        self.env |= {"LUCID_HOME": str(home), "DEVNET_BLOCK_INTERVAL_MS": str(block_interval_ms)}
        self.env |= {"WALLET_KDF_MEMORY_KIB": "8192"}
        self._secret = home / "passphrase"
        self._secret.write_text(_PASSPHRASE)
        self._secret.chmod(0o600)

    def run(self, *words: str) -> Any:
        """Run a command and return its JSON."""
        command = [sys.executable, "-m", "lucid_tron_console", *words, "-o", "json"]
        done = subprocess.run(command, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def wallet(self, name: str) -> None:
        """Make a wallet."""
        words = self.home / f"{name}.words"
        self.run("wallets", "create", name, "--passphrase-file", str(self._secret), "--words-file", str(words))

    def socket(self, service: str) -> Path:
        """Where a daemon listens."""
        return self.home / "run" / service / f"{service}.sock"

    def pids(self) -> dict[str, int]:
        """Process of each daemon, and of what keeps them running."""
        status = self.run("status")
        return {one["service"]: one["pid"] for one in status["services"]} | {"supervisor": status["pid"]}


@contextlib.contextmanager
def running(block_interval_ms: int = 0) -> Iterator[Node]:
    """Run a node while the block runs."""
    with tempfile.TemporaryDirectory(prefix="lucid-bench-") as folder:
        node = Node(Path(folder), block_interval_ms)
        node.run("up", "--network", "devnet", "--detach")
        try:
            yield node
        finally:
            node.run("down")
