"""The console as a process on a pseudo-terminal: bytes, signals, and terminals that cannot show it."""

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from lucid_tron_console.widgets.driver import ALLOWED, gate
from services.payout.api import PayoutState
from services.tor.api import BandwidthSample
from tests.console.fakes import HOSTILE, FakeNode, until

ROOT = Path(__file__).parents[2]

PROGRAM = (
    "import sys; from pathlib import Path; from lucid_tron_console.app import run;"
    "sys.exit(run(Path(sys.argv[1]), sys.argv[2], sys.argv[3] or None, len(sys.argv) > 4))"
)


class Terminal:
    """A child on a pseudo-terminal, and what it wrote."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.master = master
        self.written = b""

    def pump(self) -> None:
        """Take what was written since."""
        while select.select([self.master], [], [], 0)[0]:
            try:
                part = os.read(self.master, 65536)
            except OSError:
                return
            if not part:
                return
            self.written += part

    def text(self) -> str:
        """Everything written so far, without escape sequences."""
        self.pump()
        return ALLOWED.sub("", self.written.decode("utf-8", "replace"))

    def send(self, text: str) -> None:
        """Type."""
        os.write(self.master, text.encode())

    async def see(self, text: str) -> None:
        """Wait until a text was written."""
        await until(lambda: text in self.text(), f"{text!r} in {self.text()[-2000:]}", 20)

    async def exit_code(self) -> int:
        """Wait for the end."""

        def ended() -> bool:
            self.pump()
            return self.process.poll() is not None

        await until(ended, f"the end; {self.text()[-2000:]}", 20)
        assert self.process.returncode is not None
        return self.process.returncode


@contextlib.asynccontextmanager
async def console(
    node: FakeNode, *, target: str = "", before: Callable[[], object] | None = None, **env: str
) -> AsyncIterator[Terminal]:
    """Run the console on a pseudo-terminal of 80×24."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    surroundings = {
        "PATH": os.environ["PATH"],
        "HOME": str(node.home.path),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
    }

    def child() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if before is not None:
            before()

    process = subprocess.Popen(  # noqa: ASYNC220 - it starts at once
        [sys.executable, "-c", PROGRAM, str(node.home.path), "devnet", target],
        stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, env={**surroundings, "LANG": "C.UTF-8", **env},
        preexec_fn=child,  # noqa: PLW1509 - no threads in the tests
    )  # fmt: skip
    os.close(slave)
    terminal = Terminal(process, master)
    try:
        yield terminal
    finally:
        process.kill()
        process.wait()
        with contextlib.suppress(OSError):
            os.close(master)


def test_without_a_terminal_it_points_to_the_command_line() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, "/tmp", "devnet", ""],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd=ROOT, timeout=30,
        env={"PATH": os.environ["PATH"], "TERM": "xterm"},
    )  # fmt: skip
    assert ended.returncode == 2
    assert "needs a terminal" in ended.stderr
    assert "lucid-tron" in ended.stderr
    assert ended.stdout == ""


def test_the_gate_lets_only_drawing_through() -> None:
    drawing = "\x1b[?1049h\x1b[3;4H\x1b[1;38;5;12mtext\x1b[0m\r\n\x1b[?2026$p\x1b[>1u"
    assert gate(drawing) == drawing
    assert gate("a\x1b]0;title\x07b\x1b]8;;http://x\x1b\\c\x9b31m\x1bPq\x1b\\d\x07") == "abc31mPq\\d"
    assert "\x1b" not in gate("\x1b]52;c;aGFjaw==\x07\x1b[5n\x1b[c\x1bc")


async def test_a_dumb_terminal_is_refused(node: FakeNode) -> None:
    async with console(node, TERM="dumb") as terminal:
        assert await terminal.exit_code() == 2
        assert "'dumb'" in terminal.text()


async def test_hang_up_and_terminate_end_it_cleanly(node: FakeNode) -> None:
    for number, code in ((signal.SIGHUP, 129), (signal.SIGTERM, 143)):
        async with console(node) as terminal:
            await terminal.see("chain OK")
            terminal.process.send_signal(number)
            assert await terminal.exit_code() == code
            assert b"\x1b[?1049l" in terminal.written  # the terminal was put back


async def test_a_lost_terminal_ends_it_even_when_hang_ups_are_ignored(node: FakeNode) -> None:
    async with console(node, before=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as terminal:
        await terminal.see("chain OK")
        os.close(terminal.master)
        terminal.master = os.open("/dev/null", os.O_RDWR)
        await asyncio.wait_for(asyncio.to_thread(terminal.process.wait), 20)
        assert terminal.process.returncode == 129


async def test_quit_leaves_with_zero(node: FakeNode) -> None:
    async with console(node) as terminal:
        await terminal.see("chain OK")
        terminal.send("\x11")
        assert await terminal.exit_code() == 0


async def test_an_idle_console_sends_nothing(node: FakeNode) -> None:
    async with console(node) as terminal:
        await terminal.see("12,480.10 TRX")
        await asyncio.sleep(1.5)
        terminal.pump()
        before = len(terminal.written)
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            await asyncio.sleep(0.1)
        terminal.pump()
        assert len(terminal.written) - before == 0


async def test_an_idle_tor_screen_sends_nothing_and_a_second_of_traffic_few_bytes(node: FakeNode) -> None:
    node.tor.names = ("broadcast-1", "rpc-1")
    await node.start_tor()
    async with console(node, target="tor") as terminal:
        await terminal.see("max 38.0 KB")
        await asyncio.sleep(2.0)
        terminal.pump()
        before = len(terminal.written)
        await asyncio.sleep(2.5)
        terminal.pump()
        assert len(terminal.written) - before == 0
        for number in range(5):
            node.push("tor", "bandwidth", BandwidthSample(read=1000 * (31 + number), written=2500))
            await asyncio.sleep(0.3)
        await terminal.see("35.0")
        # Five seconds of traffic: the figures five times, and one column of the graph.
        assert 0 < len(terminal.written) - before < 2000


async def test_a_new_block_sends_few_bytes(node: FakeNode) -> None:
    async with console(node) as terminal:
        await terminal.see("12,480.10 TRX")
        await asyncio.sleep(1.0)
        terminal.pump()
        before = len(terminal.written)
        node.mine()
        await asyncio.sleep(1.0)
        terminal.pump()
        assert 0 < len(terminal.written) - before < 600


async def test_no_widget_lets_an_escape_sequence_through(node: FakeNode) -> None:
    node.add_payout(PayoutState.SENDING, memo=HOSTILE, waiting=HOSTILE, created_by=HOSTILE, check_code=HOSTILE)
    node.endpoint_detail = HOSTILE
    node.forbidden = (HOSTILE,)
    log = node.home.log("tron")
    log.parent.mkdir()
    log.write_text(f"{HOSTILE}\n")
    async with console(node) as terminal:
        await terminal.see("chain OK")
        for keys, text in (
            ("3", "Payouts (1)"),
            ("\r", "Payout P-1"),
            ("7", "TRON endpoints"),
            ("2", "Wallets (2)"),
            ("\r", "History"),
            (":nonsense\x1b[200~\x1b]0;owned\x07\u202e\x1b[201~\r", "no command"),
            ("n\r", "step 2/4"),
        ):
            terminal.send(keys)
            await terminal.see(text)
        await asyncio.sleep(0.3)
        terminal.pump()
    left = ALLOWED.sub("", terminal.written.decode())
    assert "\x1b" not in left
    assert not re.search("[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", left)
    assert b"]52;" not in terminal.written.replace(b"?]52;", b"")
    assert "aGFjaw" in left  # the text itself is shown, harmless


async def test_no_color_sends_no_colour(node: FakeNode) -> None:
    async with console(node, NO_COLOR="1") as terminal:
        await terminal.see("12,480.10 TRX")
        codes = {code for found in re.findall(rb"\x1b\[([0-9;]*)m", terminal.written) for code in found.split(b";")}
        assert not codes & {b"%d" % code for code in (*range(30, 39), *range(40, 49), *range(90, 98), *range(100, 108))}


async def test_a_linux_console_gets_sixteen_colours_and_ascii(node: FakeNode) -> None:
    async with console(node, TERM="linux") as terminal:
        await terminal.see("12,480.10 TRX")
        assert b"38;2;" not in terminal.written
        assert b"38;5;" not in terminal.written
        outside = {character for character in terminal.text() if not character.isascii()}
        assert all("\u2500" <= character <= "\u256c" for character in outside)
        assert not outside & set("╭╮╰╯")


async def test_another_locale_is_left_for_utf8(node: FakeNode) -> None:
    async with console(node, LANG="C", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0") as terminal:
        await terminal.see("chain OK")
        assert "╭" in terminal.text()
