"""What every screen and dialog is made of: the frame, the commands, and one place where failures become words."""

import traceback
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.dom import DOMNode
from textual.events import ScreenResume
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input
from textual.worker import Worker

from lucid_tron_console import commands as all_commands
from lucid_tron_console.backend import Backend, Change, Snapshot
from lucid_tron_console.commands import EVERYWHERE, SCREENS, Command, bindings
from lucid_tron_console.format import Tone, clean, line
from lucid_tron_console.settings import ConsoleSettings
from lucid_tron_console.widgets.chrome import MessageLine, footer, header, tabs
from lucid_tron_console.widgets.entry import Entry
from lucid_tron_console.widgets.lines import Lines, Listing
from services.kit.errors import LucidError

if TYPE_CHECKING:
    from lucid_tron_console.app import LucidApp

R = TypeVar("R")

Work = Callable[[], Coroutine[Any, Any, None]]
"""Something that takes time, not begun yet."""

MESSAGE_TICKS = 20
"""Seconds after which a message goes away by itself."""

SMALLEST = (80, 24)
"""Columns and rows that the screens are made for."""


class FramedScreen(Screen[R]):
    """A screen with the header, the message line and the footer; it runs commands and reports failures."""

    TAKES: ClassVar[tuple[type[Command], ...]] = ()
    """The commands that this class adds; its key bindings are made from them."""

    BINDINGS: ClassVar[list[BindingType]] = []

    NUMBER: ClassVar[int] = 0
    """Its number in the tab line; 0 has none."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make the key bindings from the commands."""
        cls.BINDINGS = bindings(cls.__dict__.get("TAKES", ()))
        super().__init_subclass__(**kwargs)

    def __init__(self) -> None:
        super().__init__()
        self.has_begun = False
        """Whether it stands, with its first focus: keys before that would be lost."""
        self._is_composed = False
        self._is_small = False
        self._message_age = 0
        self._acts = 0

    # The surroundings

    @property
    def lucid(self) -> "LucidApp":
        """The app, by its own type."""
        return cast("LucidApp", self.app)

    @property
    def settings(self) -> ConsoleSettings:
        """What the console was started with."""
        return self.lucid.settings

    @property
    def backend(self) -> Backend:
        """The data."""
        return self.lucid.backend

    @property
    def snapshot(self) -> Snapshot:
        """The data as of now."""
        return self.lucid.backend.snapshot

    @property
    def cells(self) -> int:
        """Columns of the screen."""
        return self.size.width or SMALLEST[0]

    @property
    def _stands(self) -> bool:
        """Whether all of its frame is there: not before it is composed, and not while it is taken down.

        When the app ends, a screen's widgets go one by one before the screen, and a tick may come in between.
        """
        attached = self._is_composed and self.is_attached and not self._pruning
        return attached and len(self.query("#header, #footer")) == 2

    # The frame

    def compose(self) -> ComposeResult:
        """Put the frame around the body."""
        yield Lines(id="header")
        if self.NUMBER:
            yield Lines(id="tabs")
        with Container(id="body"):
            yield from self.body()
        with Vertical(id="bottom"):
            yield MessageLine(id="message")
            yield Lines(id="footer")

    def body(self) -> ComposeResult:
        """The screen's own widgets."""
        yield from ()

    def paint(self) -> None:
        """Show the snapshot; called for every change and once a second, and it repaints only what differs."""

    def on_mount(self) -> None:
        """Begin. Textual calls the handlers of all base classes by itself, so only this one is a handler."""
        self._is_composed = True
        self.begin()
        self.has_begun = True

    def begin(self) -> None:
        """Show what is known already."""
        self.repaint()

    def on_screen_resume(self, _event: ScreenResume) -> None:
        """Show what came while another screen was in front."""
        if self.has_begun:
            self.resume()

    def resume(self) -> None:
        """Come to the front again."""
        self.call_after_refresh(self.repaint)

    def on_resize(self) -> None:
        """Fit everything to the new size, and say when it is too small."""
        self.call_after_refresh(self.repaint)
        was_small, self._is_small = self._is_small, self.size.width < SMALLEST[0] or self.size.height < SMALLEST[1]
        if was_small and not self._is_small:
            self.say("")
        elif self.size and self._is_small:
            self.say(
                f"This terminal has {self.size.width}x{self.size.height}; the console needs "
                f"{SMALLEST[0]}x{SMALLEST[1]} to show everything.",
                "warn",
            )

    def repaint(self) -> None:
        """Paint the frame and the body."""
        if not self._stands:
            return
        now = self.backend.now()
        self.query_one("#header", Lines).show(
            [header(self.settings, self.snapshot, now, self.lucid.alerts(), self.cells)]
        )
        if self.NUMBER:
            self.query_one("#tabs", Lines).show([tabs(self.NUMBER, len(self.snapshot.open_payouts), self.cells - 1)])
        self.query_one("#footer", Lines).show([footer(self.footer_commands(), self.cells)])
        self.paint()

    def tick(self) -> None:
        """A second has passed."""
        if self._message_age and not self.is_prompting:
            self._message_age -= 1
            if not self._message_age:
                self.say("")
        self.repaint()

    def changed(self, change: Change) -> None:
        """Something in the snapshot changed; the app repaints the screen in front afterwards."""

    # Words

    def say(self, text: str, tone: Tone = "") -> None:
        """Put words into the message line."""
        if self._stands:
            self.query_one("#message", MessageLine).say(text, tone)
            self._message_age = MESSAGE_TICKS if text else 0

    @property
    def message(self) -> str:
        """What the message line says."""
        rows = self.query_one("#message", MessageLine).lines
        return " ".join("".join(span.text for span in row) for row in rows).strip()

    @property
    def is_prompting(self) -> bool:
        """Whether a line is being typed in place of the message."""
        return False

    # Commands

    def commands(self) -> Sequence[type[Command]]:
        """Everything that can be done here, own commands first."""
        own = [command for base in type(self).__mro__ for command in base.__dict__.get("TAKES", ())]
        return list(dict.fromkeys(own))

    def footer_commands(self) -> Iterable[type[Command]]:
        """What the footer shows."""
        return self.commands()

    def refusal(self, command: type[Command]) -> str:
        """Why a command cannot be carried out now; empty when it can."""
        if command.changes and self.settings.read_only:
            return f"{command.name()}: this console is read-only (start it without --read-only to change things)"
        return ""

    def action_run_command(self, name: str) -> None:
        """Run a command by its name."""
        self.run_command(name)

    def run_command(self, name: str, argument: str = "") -> None:
        """Run a command by its name, with what was typed after it."""
        command = next((known for known in self.commands() if known.name() == name), None)
        if command is None:
            self.say(f"{clean(name)} cannot be done on this screen", "warn")
            return
        why = self.refusal(command)
        if why:
            self.say(why, "warn")
            return
        getattr(self, command.method())(argument)

    def attempt(self, work: Work, group: str = "") -> None:
        """Do something that takes time; a failure becomes words in the message line.

        Work of the same `group` replaces what is still under way; without a group each runs to its end.
        """
        self._acts += 1
        _worker: Worker[None] = self.run_worker(
            partial(self._guarded, work), group=group or f"act-{self._acts}", exclusive=bool(group), exit_on_error=False
        )

    async def _guarded(self, work: Work) -> None:
        try:
            await work()
        except LucidError as error:
            self.failed(error)
        except Exception as error:  # noqa: BLE001 - a defect must be seen, and must not end the session
            self.lucid.log_defect(traceback.format_exc())
            self.say(f"a defect of the console: {type(error).__name__}; details in log/console.log of the home", "bad")

    def failed(self, error: LucidError) -> None:
        """Say why something failed."""
        self.say(error.message, "bad")


class ConsoleScreen(FramedScreen[None]):
    """One of the numbered screens, or a detail of one: with tabs, a command line, and the commands that all have."""

    TAKES: ClassVar[tuple[type[Command], ...]] = EVERYWHERE
    BINDINGS: ClassVar[list[BindingType]] = bindings(EVERYWHERE)

    def __init__(self) -> None:
        super().__init__()
        self._prompt = ""
        self._is_maximised = False

    def compose(self) -> ComposeResult:
        """Put the frame around the body, with a hidden line for commands."""
        yield Lines(id="header")
        yield Lines(id="tabs")
        with Container(id="body"):
            yield from self.body()
        with Vertical(id="bottom"):
            with Container(id="prompt"):
                yield Lines(id="prompt-mark")
                yield Entry(id="prompt-entry", max_length=200)
            yield MessageLine(id="message")
            yield Lines(id="footer")

    def begin(self) -> None:
        """Hide the prompt, and show what is known already."""
        self.query_one("#prompt").display = False
        super().begin()

    # The line that is typed

    @property
    def is_prompting(self) -> bool:
        """Whether a line is being typed."""
        return bool(self._prompt)

    def ask(self, mark: str, text: str = "") -> None:
        """Let the operator type a line; `mark` stands before it, and says who gets it."""
        self._prompt = mark
        self.query_one("#prompt-mark", Lines).show([line(mark)])
        self.query_one("#prompt-mark").styles.width = len(mark)
        self.query_one("#message").display = False
        self.query_one("#prompt").display = True
        entry = self.query_one("#prompt-entry", Entry)
        entry.value = text
        entry.cursor_position = len(text)
        self.set_focus(entry)

    def stop_asking(self) -> None:
        """Put the message line back."""
        self._prompt = ""
        self.query_one("#prompt").display = False
        self.query_one("#message").display = True
        self.focus_body()

    def focus_body(self) -> None:
        """Give the keys back to the screen's own widgets."""
        targets = [widget for widget in self.query("#body *") if widget.focusable]
        self.set_focus(targets[0] if targets else None)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the line that was typed."""
        if event.input.id != "prompt-entry":
            return
        event.stop()
        mark, text = self._prompt, clean(event.value).strip()
        self.stop_asking()
        match mark:
            case ":":
                self.run_line(text)
            case "/":
                self.filter(text)
            case _:
                self.answered(mark, text)

    def answered(self, mark: str, text: str) -> None:
        """Take an answer to a question of the screen's own."""
        if mark == EXPORT_MARK:
            self.attempt(lambda: self.lucid.export(self, text.lower()))

    def run_line(self, text: str) -> None:
        """Carry out a typed command: a screen, a screen and a thing in it, or a command."""
        word, _, argument = text.partition(" ")
        word = word.lower()
        if not word:
            return
        found = find_command(word, self.commands())
        if found is None:
            near = ", ".join(sorted(name for name in words(self.commands()) if name.startswith(word[:2]))[:6])
            self.say(f"no command {word!r}" + (f"; near: {near}" if near else "; ? shows all"), "warn")
            return
        self.run_command(found.name(), argument.strip())

    def filter(self, _text: str) -> None:
        """Show only what matches."""
        self.say("there is nothing to filter on this screen", "warn")

    # What every screen can do

    def selected_text(self) -> str:
        """What `y` and `Y` are about: an address, an id; empty when nothing is chosen."""
        return ""

    def export_rows(self) -> list[dict[str, Any]]:
        """The current list for CSV and JSON; empty when there is none."""
        return []

    def command_command_line(self, _argument: str) -> None:
        """Type a command."""
        self.ask(":")

    def command_filter(self, argument: str) -> None:
        """Type a filter, or take the one that came along."""
        if argument:
            self.filter(argument)
        else:
            self.ask("/", self.filter_text())

    def filter_text(self) -> str:
        """The filter that is set."""
        return ""

    def command_back(self, _argument: str) -> None:
        """Leave the typed line, then the filter, then the detail."""
        if self.is_prompting:
            self.stop_asking()
        elif self._is_maximised:
            self._restore()
        elif self.filter_text():
            self.filter("")
        elif len(self.app.screen_stack) > 1:
            self.dismiss()
        else:
            self.say("")

    def command_help(self, _argument: str) -> None:
        """Show the help."""
        from lucid_tron_console.screens.help import HelpScreen  # noqa: PLC0415 - it shows this module's commands

        self.app.push_screen(HelpScreen(self.commands()))

    def command_quit(self, _argument: str) -> None:
        """Leave the console."""
        self.app.exit(0)

    def command_retry(self, _argument: str) -> None:
        """Try lost services again."""
        lost = self.backend.retry_now()
        self.say(f"trying again: {', '.join(lost)}" if lost else "every service is connected")

    def command_new_payout(self, argument: str) -> None:
        """Start a payout."""
        self.lucid.new_payout(argument)

    def command_alerts(self, _argument: str) -> None:
        """Go to the alerts."""
        self.lucid.go("dashboard/alerts")

    def command_lock(self, _argument: str) -> None:
        """Lock all wallets."""
        self.attempt(self._lock_all)

    async def _lock_all(self) -> None:
        await self.backend.wallet.lock_all()
        self.say("all wallets are locked", "ok")

    def command_freeze(self, argument: str) -> None:
        """Freeze all signing, after a typed word."""
        self.lucid.freeze(argument)

    def command_unfreeze(self, _argument: str) -> None:
        """Allow signing again, after a typed word."""
        self.lucid.unfreeze()

    def command_copy(self, _argument: str) -> None:
        """Offer the chosen text to the terminal."""
        text = self.selected_text()
        if not text:
            self.say("nothing is chosen that could be copied", "warn")
            return
        self.app.copy_to_clipboard(text)
        self.say(f"offered to the terminal's clipboard: {text}  (some terminals refuse: Y shows it for the mouse)")

    def command_show_text(self, _argument: str) -> None:
        """Show the chosen text in full."""
        from lucid_tron_console.screens.help import TextScreen  # noqa: PLC0415 - it is a screen of this kind

        text = self.selected_text()
        if text:
            self.app.push_screen(TextScreen(text))
        else:
            self.say("nothing is chosen that could be shown", "warn")

    def command_maximise(self, _argument: str) -> None:
        """Give the panel with the cursor the whole screen, or take it back."""
        if self._is_maximised:
            self._restore()
        elif isinstance(self.focused, Listing):
            self._is_maximised = True
            body = self.query_one("#body")
            node: DOMNode | None = self.focused
            while isinstance(node, Widget) and node is not body and isinstance(node.parent, Widget):
                node.add_class("-whole")
                if not node.parent.has_class("panel"):  # a panel keeps the names of its columns
                    for sibling in node.siblings:
                        sibling.add_class("-away")
                node = node.parent
            self.call_after_refresh(self.repaint)
        else:
            self.say("no panel has the cursor: Tab goes to one", "warn")

    def _restore(self) -> None:
        self._is_maximised = False
        for widget in self.query("#body *"):
            widget.remove_class("-whole", "-away")
        self.call_after_refresh(self.repaint)

    def command_export(self, argument: str) -> None:
        """Export the list or the screen."""
        if argument:
            self.attempt(lambda: self.lucid.export(self, argument.lower()))
        else:
            self.ask(EXPORT_MARK, "csv" if self.export_rows() else "svg")

    # The screens

    def command_go_dashboard(self, argument: str) -> None:
        """Open the dashboard."""
        self.lucid.go(_target("dashboard", argument))

    def command_go_wallets(self, argument: str) -> None:
        """Open the wallets, or one of them."""
        self.lucid.go(_target("wallets", argument))

    def command_go_payouts(self, argument: str) -> None:
        """Open the payouts, or one of them."""
        self.lucid.go(_target("payouts", argument))

    def command_go_services(self, argument: str) -> None:
        """Open the services."""
        self.lucid.go(_target("services", argument))

    def _not_yet(self, command: type[Command]) -> None:
        self.say(f"{command.label()}: {command.help()}", "warn")

    def command_go_payments(self, _argument: str) -> None:
        """Say when it comes."""
        self._not_yet(all_commands.GoPayments)

    def command_go_staking(self, _argument: str) -> None:
        """Say when it comes."""
        self._not_yet(all_commands.GoStaking)

    def command_go_tor(self, argument: str) -> None:
        """Open Tor."""
        self.lucid.go(_target("tor", argument))

    def command_go_audit(self, _argument: str) -> None:
        """Say when it comes."""
        self._not_yet(all_commands.GoAudit)


EXPORT_MARK = "export as csv, json or svg: "
"""The question of the export command."""


def _target(screen: str, argument: str) -> str:
    return f"{screen}/{argument}" if argument else screen


def words(known: Iterable[type[Command]]) -> set[str]:
    """Every word that is understood after `:`."""
    return {word for command in known for word in (command.name(), *command.aliases)}


def find_command(word: str, known: Iterable[type[Command]]) -> type[Command] | None:
    """Find a command by its name, an alias, its number, or a beginning that fits only one."""
    table = {name: command for command in known for name in (command.name(), *command.aliases)}
    if word in table:
        return table[word]
    if word.isdigit():
        return next((command for command in SCREENS if command.key == word), None)
    fitting = {command for name, command in table.items() if name.startswith(word)}
    return fitting.pop() if len(fitting) == 1 else None
