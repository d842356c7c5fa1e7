"""A typed confirmation: for what must not happen by one wrong key."""

from collections.abc import Sequence

from textual.app import ComposeResult

from lucid_tron_console.dialogs.base import Dialog, paragraphs
from lucid_tron_console.format import Line, Span, line
from lucid_tron_console.widgets.entry import Field


class ConfirmDialog(Dialog[str | None]):
    """Asks for a word, and for a reason where one is kept; gives the reason, or else the word, when it matched."""

    GUARDED = True
    SUBMIT_WORDS = "Do it"

    def __init__(self, title: str, texts: Sequence[str], word: str, *, reason: str | None = None) -> None:
        """Ask for `word`; with `reason` (what stands there at first) also for a reason."""
        super().__init__()
        self._title = title
        self._texts = texts
        self._word = word
        self._reason = reason

    def title_words(self) -> str:
        """The title it was made with."""
        return self._title

    def intro(self) -> Sequence[Line]:
        """Why, and what to type."""
        return [
            *paragraphs(max(40, self.cells - 4), *self._texts),
            (),
            line("To go on, type ", Span(self._word, "strong"), " and press ", Span("^S", "key"), "."),
            (),
        ]

    def fields(self) -> ComposeResult:
        """The word, and the reason."""
        yield Field("Type the word", id="word", max_length=80, cells=24)
        if self._reason is not None:
            yield Field("Reason", id="reason", max_length=200, value=self._reason)

    def locked(self) -> str:
        """Until the word matches."""
        if self.is_guarded:
            return "wait"
        if self.value("word").strip() != self._word:
            return f"type {self._word}"
        if self._reason is not None and not self.value("reason").strip():
            return "give a reason"
        return ""

    async def submit(self) -> None:
        """Say yes."""
        self.dismiss(self.value("reason").strip() if self._reason is not None else self._word)
