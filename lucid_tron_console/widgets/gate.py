"""The last gate before the terminal: nothing but visible characters, whichever widget drew them."""

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from lucid_tron_console.format import REPLACEMENT, clean

ASCII = str.maketrans({"▲": "!", "…": "~", "•": "*", "·": ".", "—": "-", "–": "-"})
"""What stands for the few characters of ours that a poor terminal lacks; its line-drawing characters it has."""


class Gate(LineFilter):
    """Replaces control, escape, bidi and invisible characters in everything that is painted.

    Texts are cleaned where they enter; this holds even where that was forgotten, and in widgets of Textual that
    would let them through.
    """

    def __init__(self, *, poor: bool = False) -> None:
        """With `poor`, also write characters outside ASCII, but for lines and corners, as something simpler."""
        super().__init__()
        self._poor = poor

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 - Textual's signature
        """Pass segments through, cleaned."""
        return [self._one(segment) for segment in segments]

    def _one(self, segment: Segment) -> Segment:
        text = segment.text
        if text.isascii() and text.isprintable():
            return segment
        safe = "".join(clean(character) if character not in "\t\n\r" else " " for character in text)
        if self._poor:
            safe = "".join(self._simple(character) for character in safe.translate(ASCII))
        return segment if safe == text else Segment(safe, segment.style, segment.control)

    @staticmethod
    def _simple(character: str) -> str:
        return character if character.isascii() or "\u2500" <= character <= "\u256c" else REPLACEMENT
