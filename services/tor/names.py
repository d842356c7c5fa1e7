"""Who has a path of its own: a name, and the generation of its SOCKS user."""

import re
from collections.abc import Iterator
from dataclasses import replace

from services.kit.clock import Clock
from services.kit.errors import Conflict, Invalid
from services.tor.store import IsolationRow

MOST_NAMES = 256
"""Names are purposes and endpoints of this node: more of them is a mistake of a program."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._:-]{0,63}")


class Names:
    """All isolation names. Tor gives different SOCKS users different circuits, so a new generation is a new path."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rows: dict[str, IsolationRow] = {}

    def load(self, rows: list[IsolationRow]) -> None:
        """Take what was remembered."""
        self._rows = {row.name: row for row in rows}

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._rows))

    def row(self, name: str) -> IsolationRow | None:
        """Where a name stands; None when it is not known."""
        return self._rows.get(name)

    def check(self, name: str) -> None:
        """Let a name through, or not.

        Raises:
            Invalid: it cannot be a name.
            Conflict: there are too many.
        """
        if not _NAME.fullmatch(name):
            raise Invalid(
                f"{name[:80]!r} is no isolation name: up to 64 of a-z 0-9 . _ : -, beginning with a letter or digit",
                field="name",
            )
        if name not in self._rows and len(self._rows) >= MOST_NAMES:
            raise Conflict(f"{MOST_NAMES} names have paths of their own already: use those")

    def take_in(self, name: str) -> IsolationRow:
        """A new name, at its first generation."""
        self._rows[name] = IsolationRow(name, 1, self._clock.now(), "")
        return self._rows[name]

    def advanced(self, name: str, reason: str, to: int | None = None) -> IsolationRow:
        """What a name will be after a move, by one generation or to a given one; nothing is changed yet."""
        row = self._rows[name]
        return replace(row, generation=to or row.generation + 1, rotated_at=self._clock.now(), reason=reason)

    def put(self, row: IsolationRow) -> None:
        """Move a name; a generation never goes back."""
        if self.is_ahead(row):
            self._rows[row.name] = row

    def is_ahead(self, row: IsolationRow) -> bool:
        """Whether it is a later generation than the name's present one."""
        known = self._rows.get(row.name)
        return known is None or row.generation > known.generation

    def user(self, name: str) -> str:
        """The SOCKS user of a name's new connections."""
        return user_of(self._rows[name])

    def of_user(self, user: str) -> tuple[str, bool] | None:
        """The name behind a SOCKS user, and whether that is its present or a coming one; None for a stranger's."""
        name, _, generation = user.rpartition(".")
        row = self._rows.get(name)
        if row is None or not (generation.isascii() and generation.isdigit()):
            return None
        return name, int(generation) >= row.generation


def user_of(row: IsolationRow) -> str:
    """The SOCKS user of one generation of a name."""
    return f"{row.name}.{row.generation}"
