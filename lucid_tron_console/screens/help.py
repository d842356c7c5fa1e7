"""Full screens of text: the help, made from the commands themselves, and a text to be selected with the mouse."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult

from lucid_tron_console.commands import Back, Command, Help, Quit
from lucid_tron_console.format import Line, Span, clean, columns, line, wrap
from lucid_tron_console.screens.base import FramedScreen
from lucid_tron_console.widgets.lines import Listing, set_title

WORDS = (
    "Enter on a row goes there. Tab moves between panels. Letters are commands; capital letters reach further.",
    "Nothing that a single letter does moves money: a payout asks for the amount and the end of the address.",
    "~ before a value: it is stale, the service that knows it is silent; the last good value is shown.",
    "Everything here can be done without this screen: lucid-tron --help.",
)


class _Page(FramedScreen[None]):
    """A page to be read and left."""

    TAKES: ClassVar[tuple[type[Command], ...]] = (Back, Quit)

    def body(self) -> ComposeResult:
        """One scrolling text."""
        yield Listing(has_cursor=False, id="page", classes="panel")

    def begin(self) -> None:
        """Fill the page."""
        super().begin()
        self.set_focus(self.query_one("#page"))

    def command_back(self, _argument: str) -> None:
        """Leave the page."""
        self.dismiss()

    def command_quit(self, _argument: str) -> None:
        """Leave the console."""
        self.app.exit(0)


class HelpScreen(_Page):
    """Every key and command of the screen it was opened from."""

    TAKES: ClassVar[tuple[type[Command], ...]] = (Help,)

    def __init__(self, commands: Sequence[type[Command]]) -> None:
        super().__init__()
        self._commands = commands

    def command_help(self, _argument: str) -> None:
        """Leave the help."""
        self.dismiss()

    def paint(self) -> None:
        """Make a row of every command."""
        page = self.query_one("#page", Listing)
        set_title(page, "Help - Esc goes back")
        cells = max(40, self.cells - 4)
        rows: list[Line] = []
        for command in self._commands:
            head = columns([(Span(command.label(), "key"), 11), (command.name(), 15)])
            text = wrap(command.help(), cells - 28)
            rows.append((*head, Span(f" {text[0]}")))
            rows += [line(f"{'':28}{more}") for more in text[1:]]
        rows.append(())
        for sentence in WORDS:
            rows += [line(Span(row, "dim")) for row in wrap(sentence, cells)]
        page.show_lines(rows)


class TextScreen(_Page):
    """One text alone on the screen, without anything at its sides, for the mouse."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def body(self) -> ComposeResult:
        """The text without a border, so that a selection takes nothing else along."""
        yield Listing(has_cursor=False, id="page")

    def paint(self) -> None:
        """Show the text."""
        rows = [line(row) for part in self._text.splitlines() for row in wrap(clean(part), self.cells)]
        self.query_one("#page", Listing).show_lines([(), *rows])
