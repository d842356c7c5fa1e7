"""Lines of text that repaint only the cells that changed, and a list over any number of rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, get_args

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import var
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from lucid_tron_console.format import Line, Span, Tone, line_width

TONES: tuple[Tone, ...] = get_args(Tone)
"""All tones; the style sheet gives each its look as `.tone--<name>`."""

CLASSES = {f"tone--{tone}" for tone in TONES if tone}


def draw(widget: Widget, value: Line, cells: int, under: Tone = "") -> Strip:
    """Turn a line into a strip of exactly `cells`, in the tones of the style sheet; `under` lies below all of them."""
    base = widget.rich_style
    if under:
        base += widget.get_component_rich_style(f"tone--{under}", partial=True)
    segments = [Segment(span.text, _style(widget, span.tone, base)) for span in value if span.text]
    return Strip(segments).adjust_cell_length(cells, base)


def _style(widget: Widget, tone: Tone, base: Style) -> Style:
    return base + widget.get_component_rich_style(f"tone--{tone}", partial=True) if tone else base


def changed_cells(old: Line, new: Line) -> tuple[int, int] | None:
    """Find the first and the last cell in which two lines differ; None if they look the same."""
    if old == new:
        return None
    before, after = _cells(old), _cells(new)
    most = max(len(before), len(after))
    before += [(" ", "")] * (most - len(before))
    after += [(" ", "")] * (most - len(after))
    differing = [at for at in range(most) if before[at] != after[at]]
    return (differing[0], differing[-1]) if differing else None


def _cells(value: Line) -> list[tuple[str, Tone]]:
    cells: list[tuple[str, Tone]] = []
    for span in value:
        for character in span.text:
            cells += [(character, span.tone)] * max(1, cell_len(character))
    return cells


def set_title(widget: Widget, title: str) -> None:
    """Give a panel its title, as plain text; nothing is repainted when it is the same."""
    wanted = Content(title) if title else None
    current = widget._border_title
    if (current.plain if current else None) != (wanted.plain if wanted else None):
        widget.border_title = wanted


def set_subtitle(widget: Widget, text: str) -> None:
    """Write plain text into the lower border of a panel; nothing is repainted when it is the same."""
    current = widget._border_subtitle
    if (current.plain if current else "") != text:
        widget.border_subtitle = Content(text)


class Lines(Widget, can_focus=False):
    """A few lines of text; showing other lines repaints only what differs."""

    COMPONENT_CLASSES: ClassVar[set[str]] = CLASSES

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes, markup=False)
        self._lines: tuple[Line, ...] = ()

    @property
    def lines(self) -> tuple[Line, ...]:
        """What is shown now."""
        return self._lines

    def show(self, lines: Sequence[Line]) -> None:
        """Show these lines from now on."""
        old, self._lines = self._lines, tuple(lines)
        regions: list[Region] = []
        for y in range(max(len(old), len(self._lines))):
            span = changed_cells(old[y] if y < len(old) else (), self._lines[y] if y < len(self._lines) else ())
            if span:
                regions.append(Region(span[0], y, span[1] - span[0] + 1, 1))
        if len(old) != len(self._lines) and self.styles.height is not None and self.styles.height.is_auto:
            self.refresh(layout=True)
        elif regions:
            self.refresh(*regions)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """Rows that the lines take."""
        return max(1, len(self._lines))

    def render_line(self, y: int) -> Strip:
        """Draw one line."""
        return draw(self, self._lines[y] if y < len(self._lines) else (), self.content_size.width)


RowOf = Callable[[int, int], Line]
"""Makes the line of a row: (row, cells) to line."""


class Listing(ScrollView, can_focus=True):
    """A list that makes only the lines on the screen: a hundred thousand rows cost as much as twenty."""

    COMPONENT_CLASSES: ClassVar[set[str]] = CLASSES

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "edge(0)", show=False),
        Binding("end", "edge(1)", show=False),
        Binding("enter", "choose", show=False),
    ]

    cursor: var[int] = var(0, init=False)

    @dataclass
    class Chosen(Message):
        """Enter was pressed on a row."""

        listing: "Listing"
        row: int

        @property
        def control(self) -> "Listing":
            """The list."""
            return self.listing

    @dataclass
    class Moved(Message):
        """The cursor stands on another row."""

        listing: "Listing"
        row: int

        @property
        def control(self) -> "Listing":
            """The list."""
            return self.listing

    def __init__(
        self,
        *,
        has_cursor: bool = True,
        id: str | None = None,  # noqa: A002 - as Textual calls it
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._has_cursor = has_cursor
        self._count = 0
        self._row_of: RowOf = lambda _row, _cells: ()
        self._shown: dict[int, tuple[int, Line]] = {}

    @property
    def count(self) -> int:
        """Rows in the list."""
        return self._count

    def show(self, count: int, row_of: RowOf) -> None:
        """Show `count` rows from now on; only rows that look different are repainted."""
        grown = count != self._count
        self._count, self._row_of = count, row_of
        if grown:
            self.virtual_size = Size(self.size.width, count)
        if self.cursor >= count:
            self.cursor = max(0, count - 1)
        self.repaint_changed()

    def show_lines(self, lines: Sequence[Line]) -> None:
        """Show ready lines."""
        kept = tuple(lines)
        self.show(len(kept), lambda row, _cells: kept[row])

    def repaint_changed(self) -> None:
        """Repaint the rows on the screen that look different now."""
        if not self.is_mounted or not self.size:
            return
        for y in range(self.size.height):
            old = self._shown.get(y)
            new = self._line_at(y)
            if old is None or old[1] == new:
                continue
            span = changed_cells(old[1], new)
            if span:
                self.refresh(Region(span[0], y, span[1] - span[0] + 1, 1))

    def _line_at(self, y: int) -> Line:
        row = y + self.scroll_offset.y
        if not 0 <= row < self._count:
            return ()
        made = self._row_of(row, self.size.width)
        if not (self._has_cursor and row == self.cursor):
            return made
        made = (*made, Span(" " * max(0, self.size.width - line_width(made))))
        tone: Tone = "here" if self.has_focus else ""
        return tuple(Span(span.text, tone or span.tone) for span in made)

    def render_line(self, y: int) -> Strip:
        """Draw the row that stands at line `y` of the screen part."""
        made = self._line_at(y)
        self._shown[y] = (y + self.scroll_offset.y, made)
        return draw(self, made, self.size.width)

    def on_resize(self, _event: Resize) -> None:
        """Keep the rows as wide as the list."""
        self._shown.clear()
        self.virtual_size = Size(self.size.width, self._count)
        self.refresh()

    def on_focus(self) -> None:
        """Show the cursor."""
        self.repaint_changed()

    def on_blur(self) -> None:
        """Hide the cursor."""
        self.repaint_changed()

    def watch_cursor(self, _old: int, new: int) -> None:
        """Bring the cursor's row into view."""
        height = max(1, self.size.height)
        top = self.scroll_offset.y
        if new < top:
            self.scroll_to(y=new, animate=False, force=True)
        elif new >= top + height:
            self.scroll_to(y=new - height + 1, animate=False, force=True)
        self.repaint_changed()
        self.post_message(self.Moved(self, new))

    def action_move(self, by: int) -> None:
        """Move the cursor, or scroll where there is none."""
        if self._has_cursor:
            self.cursor = min(max(0, self.cursor + by), max(0, self._count - 1))
        else:
            self.scroll_to(y=self.scroll_offset.y + by, animate=False, force=True)

    def action_page(self, by: int) -> None:
        """Move by a screenful."""
        self.action_move(by * max(1, self.size.height - 1))

    def action_edge(self, end: int) -> None:
        """Go to the first or the last row."""
        self.action_move(self._count if end else -self._count)

    def action_choose(self) -> None:
        """Take the row under the cursor."""
        if self._count and self._has_cursor:
            self.post_message(self.Chosen(self, self.cursor))
