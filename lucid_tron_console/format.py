"""Everything that turns data into words on the screen: cleaning, widths, addresses, money, ages and states. Pure."""

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from rich.cells import cell_len, set_cell_size

from services.kit.money import Asset, format_money, format_units
from services.payout.api import PayoutState

Tone = Literal["", "dim", "strong", "ok", "warn", "bad", "key", "head", "live", "testnet", "mainnet", "here"]
"""How a piece of text looks; a tone only supports a word, it never says anything alone."""


class Span(NamedTuple):
    """A piece of a line."""

    text: str
    tone: Tone = ""


Line = tuple[Span, ...]
"""One line of the screen, already clean."""

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Me"})
"""Unicode categories that no text of a stranger may bring: controls, formats (bidi, zero width), unassigned."""

REPLACEMENT: Final = "?"
"""Stands for each character that was taken out, so that a text never looks like one that it is not."""


CUT: Final = "…"
"""Stands where a text was cut to its column."""


def clean(text: object, limit: int = 4000) -> str:
    """Make a text from outside safe for a terminal: no controls, escapes, bidi or invisible characters, one line.

    Every daemon's words, names, memos, node errors and log lines pass here before they become part of a screen.
    """
    raw = unicodedata.normalize("NFC", str(text)[:limit])
    if raw.isascii() and raw.isprintable():
        return raw
    return "".join(_safe(character) for character in raw)


def _safe(character: str) -> str:
    if character in "\t\n\r":
        return " "
    if unicodedata.category(character) in _HIDDEN or "\ufe00" <= character <= "\ufe0f":
        return REPLACEMENT
    return " " if unicodedata.category(character) == "Zs" else character


def width(text: str) -> int:
    """Cells that a text takes on the screen."""
    return cell_len(text)


def fit(text: str, cells: int, *, right: bool = False) -> str:
    """Pad or cut a text to exactly `cells`; a cut is marked with `…`."""
    size = cell_len(text)
    if size > cells:
        return set_cell_size(text, max(0, cells - 1)) + CUT if cells else ""
    return " " * (cells - size) + text if right else text + " " * (cells - size)


def middle(text: str, cells: int) -> str:
    """Pad or cut a text to exactly `cells`, with the cut in its middle: of a name with an address both ends tell."""
    if cell_len(text) <= cells or cells < 3:
        return fit(text, cells)
    front = (cells - 1) // 2
    end, room = "", cells - 1 - front
    for character in reversed(text):
        if cell_len(character + end) > room:
            break
        end = character + end
    return fit(set_cell_size(text, front) + CUT + end, cells)


def line(*parts: str | Span) -> Line:
    """Make a line from texts and spans."""
    return tuple(part if isinstance(part, Span) else Span(part) for part in parts)


def line_width(value: Line) -> int:
    """Cells that a line takes."""
    return sum(cell_len(span.text) for span in value)


def spread(left: Line, right: Line, cells: int) -> Line:
    """Put one line at the left end and another at the right end of `cells`."""
    gap = cells - line_width(left) - line_width(right)
    return (*left, Span(" " * max(1, gap)), *right)


def plain(value: Line) -> str:
    """The text of a line."""
    return "".join(span.text for span in value)


def wrap(text: str, cells: int) -> list[str]:
    """Break a clean text into lines of at most `cells`, at spaces where there are any."""
    lines: list[str] = []
    current = ""
    for word in text.split(" "):
        piece = word
        while cell_len(piece) > cells:
            if current:
                lines.append(current)
                current = ""
            lines.append(piece[:cells])
            piece = piece[cells:]
        joined = f"{current} {piece}" if current else piece
        if cell_len(joined) > cells:
            lines.append(current)
            current = piece
        else:
            current = joined
    return [*lines, current] if current or not lines else lines


def groups(address: str, size: int = 4) -> str:
    """Write an address in groups, to be compared and read aloud."""
    return " ".join(address[at : at + size] for at in range(0, len(address), size))


def short(address: str, ends: int = 6) -> str:
    """Both ends of an address: for lists only, never for a decision (look-alikes share their ends)."""
    return address if len(address) <= 2 * ends + 2 else f"{address[:ends]}..{address[-ends:]}"


def short_txid(txid: str | None) -> str:
    """Both ends of a txid, or a dash."""
    return f"{txid[:8]}..{txid[-4:]}" if txid else "-"


def money(units: int | None, asset: Asset = Asset.TRX, *, unit: bool = True) -> str:
    """Smallest units for people, with the asset's name; a dash when it is not known."""
    if units is None:
        return "-"
    text = format_money(units, asset.decimals)
    return f"{text} {asset.value}" if unit else text


def exact(units: int, asset: Asset = Asset.TRX) -> str:
    """The shortest exact decimal, as it is typed: 12.5."""
    return format_units(units, asset.decimals)


def stale(text: str, is_stale: bool) -> Span:
    """A value; while it is stale, marked with `~` and dimmed."""
    return Span(f"~{text}", "dim") if is_stale else Span(text)


def age(seconds: float) -> str:
    """How long ago, in steps that grow: an idle screen must not repaint every second."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole // 5 * 5}s"
    if whole < 3600:
        return f"{whole // 60}m"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02}h"


def uptime(seconds: float) -> str:
    """For how long something has been running: minutes at least, for nobody needs the seconds of every row."""
    return age(seconds) if seconds >= 60 else "<1m"


def countdown(seconds: float) -> str:
    """How long until something: seconds only where they matter."""
    whole = max(0, int(seconds))
    if whole < 10:
        return f"{whole}s"
    if whole < 60:
        return f"{whole // 5 * 5}s"
    return age(whole)


def utc(moment: datetime | None) -> str:
    """Time of day in UTC: 14:02:11Z, with the date when it is not today's."""
    if moment is None:
        return "never"
    at = moment.astimezone(UTC)
    return f"{at:%H:%M:%S}Z"


def utc_full(moment: datetime | None) -> str:
    """Date and time in UTC."""
    return "never" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def chain_time(time_ms: int | None) -> str:
    """Chain time (milliseconds since 1970) as date and time in UTC."""
    return "-" if time_ms is None else utc_full(datetime.fromtimestamp(time_ms / 1000, UTC))


def count(number: int | None) -> str:
    """A number with its thousands apart, or a dash."""
    return "-" if number is None else f"{number:,}"


PAYOUT_WORDS: Final[dict[PayoutState, tuple[str, Tone]]] = {
    PayoutState.AWAITING_APPROVAL: ("approval", "warn"),
    PayoutState.APPROVED: ("approved", "live"),
    PayoutState.RESERVED: ("reserved", "live"),
    PayoutState.SIGNED: ("signed", "live"),
    PayoutState.SENDING: ("sending", "live"),
    PayoutState.SEEN: ("seen", "live"),
    PayoutState.PAID: ("paid", "ok"),
    PayoutState.FAILED_ON_CHAIN: ("failed", "bad"),
    PayoutState.DEAD: ("dead", "bad"),
    PayoutState.REJECTED: ("rejected", "bad"),
    PayoutState.CANCELLED: ("cancelled", "dim"),
}
"""The word of each state in lists, and its tone."""

PAYOUT_MEANING: Final[dict[PayoutState, str]] = {
    PayoutState.AWAITING_APPROVAL: "another operator has to approve it",
    PayoutState.APPROVED: "approved; its amount is about to be set aside",
    PayoutState.RESERVED: "its amount is set aside; nothing is signed",
    PayoutState.SIGNED: "signed and stored; nothing has left",
    PayoutState.SENDING: "sent; no block has it yet; only the same bytes are ever sent again",
    PayoutState.SEEN: "in a block that can still be undone",
    PayoutState.PAID: "in a solid block: it can no longer be undone",
    PayoutState.FAILED_ON_CHAIN: "in a solid block, but failed: the fee is gone, the amount is not",
    PayoutState.DEAD: "proven: its transaction can never be paid",
    PayoutState.REJECTED: "an operator said no",
    PayoutState.CANCELLED: "withdrawn before anything left",
}
"""What each state means for the money."""


def payout_word(state: PayoutState) -> Span:
    """A payout's state as a word."""
    word, tone = PAYOUT_WORDS.get(state, (clean(state), ""))
    return Span(word, tone)


def columns(cells: Sequence[tuple[str | Span, int]], *, gap: int = 1, right: Iterable[int] = ()) -> Line:
    """Set texts into columns of fixed widths; a negative width aligns to the right."""
    aligned = set(right)
    spans: list[Span] = []
    for index, (cell, cells_wide) in enumerate(cells):
        span = cell if isinstance(cell, Span) else Span(cell)
        text = fit(span.text, abs(cells_wide), right=cells_wide < 0 or index in aligned)
        if spans:
            spans.append(Span(" " * gap))
        spans.append(Span(text, span.tone))
    return tuple(spans)
