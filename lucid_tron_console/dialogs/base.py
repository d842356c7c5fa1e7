"""What every dialog is made of: fields, a submit key that says why it is locked, a guard against blind typing."""

from collections.abc import Sequence
from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from lucid_tron_console.commands import Command, Leave, Submit
from lucid_tron_console.format import Line, Span, clean, line, spread, wrap
from lucid_tron_console.screens.base import FramedScreen
from lucid_tron_console.widgets.entry import Entry, Field
from lucid_tron_console.widgets.lines import Lines, set_title
from services.kit.errors import LucidError

R = TypeVar("R")


class Dialog(FramedScreen[R]):
    """Something to fill in. Enter goes to the next field, ^S carries it out, Esc leaves and does nothing."""

    TAKES: ClassVar[tuple[type[Command], ...]] = (Submit, Leave)

    TITLE_WORDS: ClassVar[str] = ""
    """What stands in the border, with the network's name behind it."""
    SUBMIT_WORDS: ClassVar[str] = "Submit"
    """What ^S does, in a word."""
    GUARDED: ClassVar[bool] = False
    """Whether keys are ignored just after it appeared: for what cannot be taken back."""

    def __init__(self) -> None:
        super().__init__()
        self.is_busy = False
        self._shown_at: float | None = None

    def body(self) -> ComposeResult:
        """A frame around the fields, with the buttons' line below."""
        with Vertical(id="dialog", classes="panel"):
            yield Lines(id="intro")
            yield from self.fields()
            yield Lines(id="buttons")

    def fields(self) -> ComposeResult:
        """The dialog's own widgets."""
        yield from ()

    def begin(self) -> None:
        """Name the dialog, and start on its first field, after the guard's time."""
        set_title(self.query_one("#dialog"), f"{self.title_words()} - {self.settings.network.upper()}")
        super().begin()
        self._shown_at = self.backend.now()
        if self.GUARDED:
            self.set_focus(None)
            self.set_timer(max(0.001, self.settings.guard_s), self.open_guard)
        else:
            self.focus_first()

    def title_words(self) -> str:
        """The dialog's name."""
        return self.TITLE_WORDS

    @property
    def is_guarded(self) -> bool:
        """Whether keys are still ignored."""
        return self.GUARDED and (self._shown_at is None or self.backend.now() - self._shown_at < self.settings.guard_s)

    def open_guard(self) -> None:
        """Take keys from now on."""
        self.focus_first()
        self.repaint()

    def focus_first(self) -> None:
        """Put the cursor into the first field."""
        entries = [entry for entry in self.query(Entry) if entry.focusable]
        if entries:
            self.set_focus(entries[0])

    def intro(self) -> Sequence[Line]:
        """What the dialog has to say above its fields."""
        return ()

    def leave_words(self) -> str:
        """What Esc does, in a word."""
        return "Cancel"

    def locked(self) -> str:
        """Why ^S does nothing now; empty when it would act."""
        return ""

    def paint(self) -> None:
        """Show the words above and the buttons below."""
        intro = self.intro()
        self.query_one("#intro").display = bool(intro)
        self.query_one("#intro", Lines).show(intro)
        why = "working" if self.is_busy else self.locked()
        left = line(Span("[ "), Span("Esc", "key"), Span(f" {self.leave_words()} ]"))
        right = line(
            Span("[ "),
            Span("^S", "key"),
            Span(f" {self.SUBMIT_WORDS} ] "),
            Span(why or "ready", "warn" if why else "ok"),
        )
        self.query_one("#buttons", Lines).show([(), spread(left, right, max(40, self.cells - 4))])

    def on_input_changed(self, _event: Input.Changed) -> None:
        """Judge what was typed."""
        self.repaint()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter never submits."""
        event.stop()
        self.entered(event.input)

    def entered(self, _entry: Input) -> None:
        """Go to the next field."""
        self.focus_next()

    def value(self, field: str) -> str:
        """What stands in a field."""
        return self.query_one(f"#{field}", Field).value

    def footer_commands(self) -> Sequence[type[Command]]:
        """The keys of a dialog."""
        return self.commands()

    def command_leave(self, _argument: str) -> None:
        """Leave; nothing is done."""
        self.dismiss(None)

    def command_submit(self, _argument: str) -> None:
        """Carry it out, unless something is missing."""
        if self.is_busy or self.is_guarded:
            return
        why = self.locked()
        if why:
            self.say(f"not yet: {why}", "warn")
            return
        self.is_busy = True
        self.say("")
        self.repaint()
        self.attempt(self._submit_once)

    async def _submit_once(self) -> None:
        try:
            await self.submit()
        finally:
            self.is_busy = False
            self.repaint()

    async def submit(self) -> None:
        """Carry it out."""

    def failed(self, error: LucidError) -> None:
        """Say why, with the fields that the service names."""
        named = "; ".join(f"{name}: {why}" for name, why in error.fields if why != error.message)
        self.say(f"{error.message}{f' ({named})' if named else ''}", "bad")


def paragraphs(cells: int, *texts: str) -> list[Line]:
    """Wrap sentences for the words above the fields."""
    return [line(row) for text in texts for row in wrap(clean(text), cells)]
