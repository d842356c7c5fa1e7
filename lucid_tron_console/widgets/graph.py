"""Graphs out of characters: blocks where the terminal has them, ASCII where not. Pure."""

from collections.abc import Sequence
from typing import Final

BLOCKS: Final = " ▁▂▃▄▅▆▇█"
"""Eight steps to a cell."""

ASCII_STEPS: Final = " .-=#"
"""Four steps to a cell, for terminals without blocks."""


def graph(values: Sequence[float], cells: int, rows: int, *, poor: bool = False) -> list[str]:
    """Draw the last `cells` values as columns, the newest at the right; the highest of them reaches the top.

    Returns `rows` texts of exactly `cells`, from the top. A value above 0 always shows.
    """
    steps = ASCII_STEPS if poor else BLOCKS
    per_row = len(steps) - 1
    shown = [max(0.0, value) for value in values[-cells:]] if cells > 0 else []
    shown = [0.0] * (max(0, cells) - len(shown)) + shown
    top = max(shown, default=0.0)
    heights = [max(1, round(value / top * per_row * rows)) if value > 0 else 0 for value in shown]
    return [
        "".join(steps[min(per_row, max(0, height - row * per_row))] for height in heights)
        for row in range(rows - 1, -1, -1)
    ]


def bar(percent: int, cells: int, *, poor: bool = False) -> str:
    """Draw how far something has come, in exactly `cells`."""
    full = min(cells, max(0, percent) * cells // 100)
    done, left = ("#", "-") if poor else ("█", "░")
    return done * full + left * (cells - full)
