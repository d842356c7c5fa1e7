"""The console: one Textual app over the daemons' sockets, made for SSH."""

import asyncio
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.events import Event, Key, Paste
from textual.screen import Screen
from textual.theme import Theme

from lucid_tron_console import export as files
from lucid_tron_console import settings as console_settings
from lucid_tron_console.alerts import Alert, alerts
from lucid_tron_console.backend import Backend, Change
from lucid_tron_console.dialogs.base import Dialog
from lucid_tron_console.dialogs.confirm import ConfirmDialog
from lucid_tron_console.dialogs.new_payout import NewPayoutDialog
from lucid_tron_console.format import Tone, clean
from lucid_tron_console.screens.base import ConsoleScreen, FramedScreen, Work
from lucid_tron_console.screens.dashboard import DashboardScreen
from lucid_tron_console.screens.payouts import PayoutScreen, PayoutsScreen
from lucid_tron_console.screens.services import ServicesScreen
from lucid_tron_console.screens.tor import TorScreen
from lucid_tron_console.screens.wallets import WalletsScreen
from lucid_tron_console.settings import ConsoleSettings
from lucid_tron_console.widgets.driver import GatedDriver
from lucid_tron_console.widgets.gate import Gate
from lucid_tron_console.widgets.keys import OneKeyAtATime
from services.kit.errors import LucidError
from services.wallet.api import Freeze

COALESCE_S = 0.05
"""Changes within this time are painted together."""

EXIT_HANGUP, EXIT_TERMINATED = 128 + signal.SIGHUP, 128 + signal.SIGTERM
"""Exit codes after a hang-up (129) and after SIGTERM (143)."""

EXIT_USAGE = 2
"""Exit code when there is no terminal to draw on."""

LUCID_THEME = Theme(
    name="lucid",
    primary="#5f87af",
    secondary="#87afaf",
    accent="#87afd7",
    warning="#d7af5f",
    error="#d75f5f",
    success="#87af5f",
    foreground="#d0d0d0",
    background="#121212",
    surface="#121212",
    panel="#1c1c1c",
    dark=True,
    variables={
        "lucid-dim": "#808080",
        "lucid-line": "#444444",
        "lucid-focus": "#87afd7",
        "lucid-bar": "#1c1c1c",
        "lucid-here": "#303a44",
        "lucid-entry": "#262626",
    },
)
"""Calm colours out of the 256 that every terminal of today has."""

ANSI_VARIABLES = {
    "lucid-dim": "ansi_default",
    "lucid-line": "ansi_default",
    "lucid-focus": "ansi_cyan",
    "lucid-bar": "ansi_default",
    "lucid-here": "ansi_blue",
    "lucid-entry": "ansi_default",
}
"""The same names for terminals with 16 colours or none."""


class CommandProvider(Provider):
    """The palette: the commands of the screen in front."""

    def _commands(self) -> Iterator[tuple[str, str, Callable[[], None]]]:
        screen = self.screen
        if isinstance(screen, FramedScreen):
            for command in screen.commands():
                if not command.hidden:
                    name = command.name()
                    yield f"{name}  ({command.label()})", command.help(), _runner(screen, name)

    async def discover(self) -> Hits:
        """Offer all of them."""
        for title, words, run in self._commands():
            yield DiscoveryHit(Text(title), run, title, words)

    async def search(self, query: str) -> Hits:
        """Offer those that match."""
        matcher = self.matcher(query)
        for title, words, run in self._commands():
            score = matcher.match(f"{title} {words}")
            if score > 0:
                yield Hit(score, Text(title), run, title, words)


def _runner(screen: FramedScreen[Any], name: str) -> Callable[[], None]:
    return lambda: screen.run_command(name)


class LucidApp(App[int]):
    """The console as an app: it owns the data, hands changes to the screens, and knows the way between them."""

    TITLE: str = "Lucid TRON Console"
    CSS_PATH = "console.tcss"
    DEFAULT_MODE = "dashboard"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "dashboard": DashboardScreen,
        "wallets": WalletsScreen,
        "payouts": PayoutsScreen,
        "tor": TorScreen,
        "services": ServicesScreen,
    }
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {CommandProvider}

    def __init__(
        self,
        settings: ConsoleSettings,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        utcnow: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare the console of a home; `monotonic` and `utcnow` are the clocks that ages and leases are shown by."""
        ansi = settings.no_color or settings.poor
        super().__init__(driver_class=GatedDriver, ansi_color=True if ansi else None)
        self.settings = settings
        self.utcnow = utcnow
        self.backend = Backend(settings.home, self._heard, monotonic, utcnow)
        self._changes: list[Change] = []
        self._alerts: tuple[object, int, tuple[Alert, ...]] = (None, 0, ())
        self._is_going = False
        self._terminal = _Terminal()
        self._keys = OneKeyAtATime(self, super().on_event, self._is_settled)
        self._filters.append(Gate(poor=settings.poor))
        self.register_theme(LUCID_THEME)
        self.theme = "ansi-dark" if ansi else LUCID_THEME.name
        self.animation_level = "none"
        if settings.poor:
            self.add_class("-poor")

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our own names for themes that do not know them."""
        return ANSI_VARIABLES

    @property
    def front(self) -> FramedScreen[Any] | None:
        """The screen of ours that is in front; None while the app starts or stops, and behind the palette."""
        stack = self._screen_stack
        return stack[-1] if stack and isinstance(stack[-1], FramedScreen) else None

    def clear_selection(self) -> None:
        """Forget what is marked; from Python 3.12 on Textual mounts inputs before their screen is on the stack."""
        if self._screen_stack:
            super().clear_selection()

    # Keys

    async def on_event(self, event: Event) -> None:
        """Take what is typed one key at a time."""
        if isinstance(event, Key | Paste) and not event.is_forwarded:
            await self._keys.take(event)
        else:
            await super().on_event(event)

    def _is_settled(self) -> bool:
        """Whether the screen in front takes keys."""
        return not self._is_going and (self.front is None or self.front.has_begun)

    async def wait_for_keys(self) -> None:
        """Wait until everything that was typed so far has been carried out."""
        done = asyncio.Event()
        self.call_later(self._keys.when_idle, done.set)
        await done.wait()

    # Life

    async def on_mount(self) -> None:
        """Listen to signals, open the streams, and go where the operator wants to."""
        self.set_keymap(dict(self.settings.keys))
        if not self.is_headless:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, self.leave, EXIT_HANGUP)
            loop.add_signal_handler(signal.SIGTERM, self.leave, EXIT_TERMINATED)
        self.call_after_refresh(self._start)

    async def _start(self) -> None:
        """Open the streams behind the first frame."""
        if self.settings.target:
            self.go(self.settings.target)
        await self.backend.start()
        self.set_interval(1.0, self._tick)

    async def on_unmount(self) -> None:
        """Close the streams."""
        await self.backend.stop()

    def leave(self, code: int) -> None:
        """Leave with an exit code; whatever was being typed is dropped, what was submitted goes on."""
        self.exit(code, return_code=code)

    def _tick(self) -> None:
        if not self.is_headless and self._terminal.is_gone():
            self.leave(EXIT_HANGUP)
            return
        if self.front is not None:
            self.front.tick()

    def _fatal_error(self) -> None:
        """Leave after a defect, with a traceback that holds no values: they could be secrets."""
        words = traceback.format_exc()
        self.log_defect(words)
        self._exit_renderables.append(Text(clean_lines(words)))
        self._close_messages_no_wait()

    def log_defect(self, words: str) -> None:
        """Write a defect into the home's `log/console.log`."""
        path = self.settings.home.log("console")
        try:
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{self.utcnow().isoformat()} {words}\n")
        except OSError:
            self.log(words)

    # Data

    def _heard(self, change: Change) -> None:
        """Collect what the backend tells, to paint it together."""
        self._changes.append(change)
        if len(self._changes) == 1:
            self.set_timer(COALESCE_S, self._show_changes)

    def _show_changes(self) -> None:
        changes, self._changes = self._changes, []
        for stack in self._screen_stacks.values():
            for screen in stack:
                if isinstance(screen, FramedScreen) and screen.has_begun:
                    for change in changes:
                        screen.changed(change)
        if self.front is not None:
            self.front.repaint()

    def alerts(self) -> tuple[Alert, ...]:
        """What needs an operator, as of now."""
        snapshot, second = self.backend.snapshot, int(self.backend.now())
        if self._alerts[0] is not snapshot or self._alerts[1] != second:
            self._alerts = (snapshot, second, alerts(snapshot, self.backend.now()))
        return self._alerts[2]

    def say(self, text: str, tone: Tone = "") -> None:
        """Put words into the message line of the screen that will be in front."""
        self.call_later(self._say, text, tone)

    def _say(self, text: str, tone: Tone) -> None:
        if self.front is not None:
            self.front.say(text, tone)

    # Ways

    def go(self, target: str) -> None:
        """Open a screen, or something in it: `wallets`, `wallets/hot`, `payouts/P-3`, `dashboard/alerts`."""
        self._is_going = True
        self.run_worker(self._going(target), group="go", exclusive=True)

    async def _going(self, target: str) -> None:
        try:
            await self._go(target)
        finally:
            self._is_going = False

    async def _go(self, target: str) -> None:
        name, _, item = target.partition("/")
        name = {"": "dashboard", "dash": "dashboard"}.get(name, name)
        if name not in self.MODES:
            self.say(f"no screen {clean(name)!r}: {', '.join(self.MODES)}", "warn")
            return
        await self.switch_mode(name)
        while len(self.screen_stack) > 1:
            await self.pop_screen()
        screen = self.screen
        if isinstance(screen, PayoutsScreen) and item:
            await self.push_screen(PayoutScreen(item))
        elif isinstance(screen, WalletsScreen) and item:
            screen.show_wallet(item)
        elif isinstance(screen, DashboardScreen) and item == "alerts":
            screen.show_alerts()

    def new_payout(self, wallet: str = "") -> None:
        """Open the payout dialog, and afterwards the payout."""
        if not isinstance(self.screen, Dialog):
            self.push_screen(NewPayoutDialog(wallet), lambda made: self.go(f"payouts/{made}") if made else None)

    def freeze(self, reason: str = "") -> None:
        """Stop all signing, after a typed word."""
        texts = (
            "No wallet of this node signs anything until an admin lifts the freeze. Payouts that are signed already go "
            "on to their end.",
        )
        dialog = ConfirmDialog("FREEZE ALL SIGNING", texts, "freeze", reason=reason or "frozen at the console")
        self.push_screen(dialog, lambda why: self._act(lambda: self._freeze(why)) if why else None)

    async def _freeze(self, reason: str) -> None:
        await self.backend.wallet.freeze(Freeze(reason=reason))
        self.say("all signing is frozen; :unfreeze lifts it", "ok")

    def unfreeze(self) -> None:
        """Allow signing again, after a typed word."""
        dialog = ConfirmDialog("ALLOW SIGNING AGAIN", ("Unlocked wallets will sign payouts that wait.",), "unfreeze")
        self.push_screen(dialog, lambda word: self._act(self._unfreeze) if word else None)

    async def _unfreeze(self) -> None:
        await self.backend.wallet.unfreeze()
        self.say("signing is allowed again", "ok")

    def _act(self, work: Work) -> None:
        if self.front is not None:
            self.front.attempt(work)

    def copy_to_clipboard(self, text: str) -> None:
        """Offer a text to the terminal's clipboard, past the gate: it is the only OSC sequence that is meant."""
        self._clipboard = text
        if isinstance(self._driver, GatedDriver):
            self._driver.offer_to_clipboard(text)

    # Export

    async def export(self, screen: ConsoleScreen, kind: str) -> None:
        """Write the screen's list, or its picture, to a file in the home, and say where."""
        if kind not in files.KINDS:
            screen.say(f"export as {', '.join(files.KINDS)}: not as {kind!r}", "warn")
            return
        painted = asyncio.Event()  # the line in which the command was typed is not part of the picture
        screen.call_after_refresh(painted.set)
        await painted.wait()
        rows = screen.export_rows()
        if kind != "svg" and not rows:
            screen.say("there is no list on this screen, or it is empty: export svg takes its picture", "warn")
            return
        content = {
            "csv": lambda: files.as_csv(rows),
            "json": lambda: files.as_json(rows),
            # Without this, some programs drop the spaces at the beginning of a text.
            "svg": lambda: self.export_screenshot(title=self.TITLE).replace("<text ", '<text xml:space="preserve" '),
        }[kind]()
        try:
            name = type(screen).__name__.removesuffix("Screen")
            path = files.write(self.settings.home.path / "export", name, kind, content, self.utcnow())
        except OSError as error:
            screen.say(f"cannot write to the home: {error.strerror or error}", "bad")
            return
        screen.say(f"written to {path}", "ok")


def clean_lines(text: str) -> str:
    """Clean a text of several lines."""
    return "\n".join(clean(part) for part in text.splitlines()) + "\n"


class _Terminal:
    """Watches for the terminal going away: with SIGHUP ignored nothing else would tell."""

    def __init__(self) -> None:
        self._poll = select.poll()
        try:
            self._poll.register(sys.__stdin__.fileno() if sys.__stdin__ else 0, 0)
        except (OSError, ValueError):
            self._poll = select.poll()

    def is_gone(self) -> bool:
        """Whether the terminal has hung up."""
        return any(events & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, events in self._poll.poll(0))


def unfit_terminal() -> str:
    """Why the console cannot be drawn here; empty when it can."""
    if not all(stream is not None and stream.isatty() for stream in (sys.__stdin__, sys.__stderr__)):
        return "the console needs a terminal on standard input and standard error"
    if os.environ.get("TERM", "dumb") in {"dumb", "unknown", ""}:
        return f"the console cannot be drawn on a terminal of type {os.environ.get('TERM') or 'unknown'!r} (TERM)"
    return ""


def needs_utf8() -> bool:
    """Whether this process would write something else than UTF-8 to the terminal."""
    encoding = (sys.__stderr__.encoding or "") if sys.__stderr__ else ""
    return not sys.flags.utf8_mode and encoding.lower().replace("-", "") != "utf8"


def run(home: Path, network: str, target: str | None = None, read_only: bool = False) -> int:
    """Run the console on this terminal until the operator leaves; returns the exit code.

    0: left by ^Q. 1: a defect. 2: no fit terminal, or unusable settings. 129: the terminal hung up. 143: SIGTERM.
    """
    unfit = unfit_terminal()
    if unfit:
        sys.stderr.write(
            f"{unfit}; without one use `lucid-tron status`, `wallets`, `payouts` (see lucid-tron --help)\n"
        )
        return EXIT_USAGE
    if needs_utf8():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONUTF8": "1"})  # noqa: S606
    try:
        settings = console_settings.load(home, network, target, read_only)
    except LucidError as error:
        sys.stderr.write(f"{error.message}\n")
        return EXIT_USAGE
    app = LucidApp(settings)
    result = app.run(mouse=False)
    if result == EXIT_HANGUP:
        _forget_terminal()
    return result if result is not None else (app.return_code or 0)


def _forget_terminal() -> None:
    """Let what Python flushes at its end go nowhere: on a terminal that is gone that fails with exit code 120."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
