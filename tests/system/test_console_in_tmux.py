"""The real console in a real terminal: tmux, 80×24, nothing but keys, and what is on the screen."""

import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

PASSPHRASE = "correct horse battery"
AMOUNT = 12_500_000


class Terminal:
    """One tmux window of 80×24, on a server of its own."""

    def __init__(self, node: Any) -> None:
        if shutil.which("tmux") is None:
            pytest.fail("tmux is missing, and this test needs it: apt install tmux")
        self._node = node
        self._tmux = ["tmux", "-S", str(node.home.path / "tmux.sock"), "-u", "-f", "/dev/null"]

    def open(self, *words: str) -> None:
        """Run a command of ours; its exit code stays on the screen."""
        command = shlex.join([sys.executable, "-m", "lucid_tron_console", *words])
        environment = {"LC_ALL": "C.UTF-8", **self._node.env, "TERM": "xterm-256color"}
        environment.pop("TMUX", None)
        self._run("new-session", "-d", "-x", "80", "-y", "24", f"{command}; echo exit=$?; sleep 600", env=environment)

    def screen(self) -> str:
        """What is on the screen."""
        return self._run("capture-pane", "-p")

    def shows(self, *patterns: str) -> str:
        """Wait until everything of `patterns` (regular expressions) is on the screen, and return the screen."""
        deadline = time.monotonic() + 60
        while True:
            screen = self.screen()
            missing = [pattern for pattern in patterns if not re.search(pattern, screen)]
            if not missing:
                return screen
            if time.monotonic() > deadline:
                pytest.fail(f"never on the screen: {missing}\n{screen}\n{self._node.logs()}")
            time.sleep(0.05)

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names."""
        self._run("send-keys", *keys)

    def type(self, text: str, *, hidden: bool = False) -> None:
        """Type a text into the field that has the focus, and see it there."""
        self._run("send-keys", "-l", text)
        self.shows(re.escape(f"[{'•' * len(text) if hidden else text}"))

    def close(self) -> None:
        """Hang up."""
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, check=False)

    def _run(self, *words: str, env: dict[str, str] | None = None) -> str:
        done = subprocess.run([*self._tmux, *words], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def terminal(fast_node: Any) -> Iterator[Terminal]:
    """A terminal on the fast node's home."""
    made = Terminal(fast_node)
    yield made
    made.close()


def make_wallet(terminal: Terminal) -> None:
    """Create the wallet `hot`, and type two of its words again as the console asks."""
    terminal.press("2")
    terminal.shows("No wallets yet")
    terminal.press("c")
    terminal.shows("NEW WALLET")
    terminal.type("hot")
    terminal.press("Tab")
    terminal.type(PASSPHRASE, hidden=True)
    terminal.press("Tab")
    terminal._run("send-keys", "-l", PASSPHRASE)
    terminal.shows(r"\^S Create \] ready")
    terminal.press("C-s")
    # The words ignore keys at first, so that nobody types on without having read.
    screen = terminal.shows("RECOVERY WORDS of hot", r"\] type word \d+")
    listed = screen.partition("this screen.")[2].partition("Address")[0]
    words = {int(number): word for number, word in re.findall(r"\b(\d{1,2}) ([a-z]{3,})", listed)}
    assert len(words) == 12
    first, second = (int(number) for number in re.findall(r"Word (\d+)", screen))
    terminal.type(words[first])
    terminal.press("Tab")
    terminal.type(words[second])
    terminal.shows(r"wrote them down \] ready")
    terminal.press("C-s")
    terminal.shows("wallet hot is ready", r"hot .* locked")


def fund(terminal: Terminal) -> None:
    """Get 1000 TRX from the faucet."""
    terminal.press("f")
    terminal.shows("FUND FROM THE FAUCET", "ready")
    terminal.press("C-s")
    terminal.shows(r"1,000\.00 TRX")


def unlock(terminal: Terminal) -> None:
    """Unlock the wallet."""
    terminal.press("u")
    terminal.shows("UNLOCK hot")
    terminal.type(PASSPHRASE, hidden=True)
    terminal.press("C-s")
    terminal.shows("hot is unlocked until")


def draft(terminal: Terminal, receiver: str) -> None:
    """Fill in a payout of 12.5 TRX, as far as the review."""
    terminal.press("n")
    terminal.shows("step 1/4", "1,000.00 TRX unlocked")
    terminal.press("Enter")
    terminal.shows("step 2/4")
    terminal.type(receiver)
    terminal.press("Enter")
    terminal.shows("step 3/4")
    terminal.type("12.5")
    terminal.press("Enter", "Enter")


def test_a_payout_by_keyboard_from_an_empty_home_to_solid(fast_node: Any, terminal: Terminal) -> None:
    node = fast_node
    terminal.open("demo", "--tor", "off")
    terminal.shows("DEVNET", "chain OK", "1 Dash", "no wallets yet")
    receiver = node.account()
    make_wallet(terminal)
    fund(terminal)
    unlock(terminal)
    draft(terminal, receiver)

    terminal.shows("step 4/4", "Dry-run +OK", r"\] locked$|\] locked +│")
    # Neither Enter nor ^S pays before the amount and the end of the address were typed.
    terminal.press("Enter", "C-s")
    terminal.type("12.5")
    terminal.shows("match")
    terminal.press("Tab")
    terminal.type(receiver[-4:])
    screen = terminal.shows("match[^$]*match", r"\^S Submit \] ready")
    assert node.ask("payout", "/payouts")["items"] == []
    grouped = " ".join(receiver[at : at + 4] for at in range(0, len(receiver), 4))
    assert grouped in screen
    terminal.press("C-s")

    terminal.shows("Payout P-1", "state +(SENDING|SEEN|PAID)")
    screen = terminal.shows("state +PAID")
    payout = node.payout("P-1")
    assert payout["state"] == "paid"
    assert payout["txid"] in screen
    assert node.solid(payout["txid"])
    assert node.transfers(receiver, AMOUNT) == [payout["txid"]]

    terminal.press("C-q")
    terminal.shows("exit=0")
    # What the demo started goes down with it.
    assert node.home.holder() is None


def test_a_draft_is_dropped_by_a_hang_up_and_the_node_goes_on(fast_node: Any, terminal: Terminal) -> None:
    node = fast_node
    node.up()
    node.wallet()
    receiver = node.account()
    terminal.open("console")
    terminal.shows("chain OK", r"1,000\.00")
    draft(terminal, receiver)
    terminal.shows("step 4/4")
    terminal.close()
    node.until(lambda: not _consoles(node), "the console has ended")
    assert node.ask("payout", "/payouts")["items"] == []
    assert node.json("status")["running"]


def test_a_console_of_a_running_node_leaves_it_running(fast_node: Any, terminal: Terminal) -> None:
    node = fast_node
    node.up()
    terminal.open("demo")
    terminal.shows("DEVNET", "chain OK")
    terminal.press("C-q")
    terminal.shows("exit=0")
    assert node.json("status")["running"]


def test_a_deep_link_opens_its_payout(fast_node: Any, terminal: Terminal) -> None:
    node = fast_node
    node.up()
    node.wallet()
    receiver = node.account()
    node.create(receiver, AMOUNT, "k")
    terminal.open("console", "payouts/P-1")
    terminal.shows("Payout P-1", "state +PAID", r"12\.50 TRX")


def _consoles(node: Any) -> list[str]:
    """Command lines of consoles on this home that still run."""
    done = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if str(node.home.path) in line and " console" in line]


def test_a_demo_without_utf_8_still_takes_its_node_down(fast_node: Any, terminal: Terminal) -> None:
    fast_node.env |= {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    terminal.open("demo", "--tor", "off")
    terminal.shows("DEVNET", "chain OK")
    terminal.press("C-q")
    terminal.shows("exit=0")
    assert fast_node.home.holder() is None
