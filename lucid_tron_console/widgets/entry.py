"""One-line inputs that take only visible characters, and a labelled row to put them in."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.events import Paste
from textual.widgets import Input

from lucid_tron_console.format import Line, clean, line
from lucid_tron_console.widgets.lines import Lines


class Entry(Input):
    """An input whose cursor does not blink (a blinking one sends bytes for ever) and whose pastes are cleaned."""

    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(
        self,
        *,
        password: bool = False,
        max_length: int = 256,
        restrict: str | None = None,
        value: str = "",
        id: str | None = None,  # noqa: A002 - as Textual calls it
    ) -> None:
        super().__init__(
            value=value,
            password=password,
            max_length=max_length,
            restrict=restrict,
            compact=True,
            select_on_focus=False,
            id=id,
        )
        self.cursor_blink = False

    def _on_paste(self, event: Paste) -> None:
        """Take the first line of a paste, without control characters."""
        event.prevent_default()
        event.stop()
        lines = event.text.splitlines()
        if lines:
            self.insert_text_at_cursor(clean(lines[0].strip(), 2000))


class Field(Horizontal):
    """A label, an input between brackets, and words about what was typed."""

    def __init__(
        self,
        label: str,
        *,
        id: str,  # noqa: A002 - as Textual calls it
        password: bool = False,
        max_length: int = 256,
        restrict: str | None = None,
        value: str = "",
        cells: int | None = None,
    ) -> None:
        """Make a field; its input's id is `<id>-entry`. `cells` is the input's width; by default what is left."""
        super().__init__(id=id, classes="field")
        self._label = label
        self._cells = cells
        self.entry = Entry(password=password, max_length=max_length, restrict=restrict, value=value, id=f"{id}-entry")
        self._note = Lines(classes="field-note")

    def compose(self) -> ComposeResult:
        """Put the parts side by side."""
        label, left, right = Lines(classes="field-label"), Lines(classes="bracket"), Lines(classes="bracket")
        label.show([line(self._label)])
        left.show([line("[")])
        right.show([line("]")])
        if self._cells is not None:
            self.entry.styles.width = self._cells
        yield label
        yield left
        yield self.entry
        yield right
        yield self._note

    @property
    def value(self) -> str:
        """What was typed."""
        return self.entry.value

    def note(self, words: Line) -> None:
        """Say something about what was typed."""
        self._note.show([words])
