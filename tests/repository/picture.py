"""`make picture`: nodes of their own, a few payouts, and the real console on them, as SVGs."""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from lucid_tron_console.app import LucidApp
from lucid_tron_console.home import Home
from lucid_tron_console.settings import ConsoleSettings

SIZE = (80, 24)
PATIENCE_S = 60.0
TRAFFIC_S = 40.0
"""How long the Tor picture's node reads blocks before, so that its graph is filled."""
PAYOUTS = (("TJCnKsPa7y5okkXvQAidZBzqx3QyQ6sxMW", "12.5"), ("TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH", "240"))


class Node:
    """A devnet node in a home of its own, driven by the command line; blocks come on demand or in intervals."""

    def __init__(self, home: Path, block_interval_ms: int = 0) -> None:
        self.home = home
        self.secret = home / "passphrase"
        self.secret.write_text("a passphrase for a picture")
        self.secret.chmod(0o600)
        self._env = {**os.environ, "LUCID_HOME": str(home), "DEVNET_BLOCK_INTERVAL_MS": str(block_interval_ms)}
        self._env |= {"TRON_CONFIRMATION_CHECK_INTERVAL": "0.2"}

    def run(self, words: str) -> Any:
        """Run a command and return its JSON."""
        command = [sys.executable, "-m", "lucid_tron_console", *words.split(), "-o", "json"]
        done = subprocess.run(command, env=self._env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def pay(self, to: str, amount: str, wait: str) -> Any:
        """Make a payout."""
        return self.run(f"payouts create --from hot --to {to} --amount {amount} --wait {wait}")


def prepare(node: Node) -> None:
    """Two payouts that are paid, and one on its way."""
    node.run("up --network devnet --detach")
    for name, trx in (("hot", 12_480), ("reserve", 50_000)):
        node.run(f"wallets create {name} --passphrase-file {node.secret} --words-file {node.home / name}.words")
        node.run(f"devnet faucet {name} --trx {trx} --no-wait")
        node.run("devnet mine --blocks 20")
    node.run(f"wallets unlock hot --passphrase-file {node.secret} --lease 1h")
    for to, amount in PAYOUTS:
        node.pay(to, amount, "sending")
        node.run("devnet mine --blocks 20")
    node.pay(PAYOUTS[0][0], "75.25", "sending")
    node.run("devnet mine")


async def until(pilot: Pilot[int], app: LucidApp, *words: str) -> str:
    """Wait until all words are on the screen, and return it as SVG."""
    for _ in range(int(PATIENCE_S / 0.2)):
        await pilot.pause(0.2)
        picture = app.export_screenshot(title="lucid-tron")
        shown = picture.replace("&#160;", " ")
        if all(word in shown for word in words):
            return without_web_fonts(picture)
    raise TimeoutError(f"never on the screen: {words}")


def without_web_fonts(picture: str) -> str:
    """Leave the font to whoever looks: a page of this repository fetches nothing from elsewhere."""
    return re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)


def console(home: Path) -> LucidApp:
    """The console of a node."""
    return LucidApp(ConsoleSettings(home=Home.at(home), network="devnet", host="pinode", operator="alice"))


async def draw_payout(home: Path) -> str:
    """Go through a payout up to its last step, and take the picture of that."""
    app = console(home)
    to, amount = PAYOUTS[0]
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, app, "seen", "50,000")
        await pilot.press("n")
        await until(pilot, app, "step 1/4", "12,")
        await pilot.press("enter")
        await until(pilot, app, "step 2/4")
        await pilot.press(*to, "enter")
        await until(pilot, app, "step 3/4")
        await pilot.press(*amount, "enter", "enter")
        await until(pilot, app, "step 4/4", "Dry-run")
        await pilot.pause(app.settings.guard_s + 0.2)
        await pilot.press(*amount, "tab", *to[-4:-1])
        return await until(pilot, app, "match", "1 more")


async def draw_tor(home: Path) -> str:
    """Open the Tor screen and let some traffic go by."""
    app = console(home)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("6")
        await until(pilot, app, "bootstrap", "BUILT")
        await pilot.pause(TRAFFIC_S)
        return await until(pilot, app, "bootstrap")


def main(payout: Path, tor: Path) -> None:
    """Write both pictures."""
    with tempfile.TemporaryDirectory(prefix="lucid-") as folder:
        node = Node(Path(folder))
        try:
            prepare(node)
            payout.write_text(asyncio.run(draw_payout(node.home)))
        finally:
            node.run("down")
    with tempfile.TemporaryDirectory(prefix="lucid-") as folder:
        node = Node(Path(folder), block_interval_ms=3000)
        try:
            node.run("up --network devnet --tor lab --detach")
            tor.write_text(asyncio.run(draw_tor(node.home)))
        finally:
            node.run("down")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
