"""What the Tor service remembers: generations of isolation names, the exit policy, onions with their sealed keys."""

import os
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from services.kit.errors import Conflict
from services.kit.store import Store
from services.tor.api import ExitPolicy

MIGRATIONS = (
    """
    CREATE TABLE isolation (
        name TEXT PRIMARY KEY,
        generation INTEGER NOT NULL,
        rotated_ms INTEGER NOT NULL,
        reason TEXT NOT NULL
    ) STRICT;
    CREATE TABLE exit_policy (one INTEGER PRIMARY KEY CHECK (one = 1), policy TEXT NOT NULL) STRICT;
    CREATE TABLE onion (
        name TEXT PRIMARY KEY,
        address TEXT NOT NULL UNIQUE,
        port INTEGER NOT NULL,
        target TEXT NOT NULL,
        published INTEGER NOT NULL,
        sealed BLOB NOT NULL,
        created_ms INTEGER NOT NULL
    ) STRICT;
    """,
)


@dataclass(frozen=True, slots=True)
class IsolationRow:
    """A name and where it stands."""

    name: str
    generation: int
    rotated_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class OnionRow:
    """An onion service; `sealed` is its private key, sealed."""

    name: str
    address: str
    """With `.onion`."""
    port: int
    target: str
    published: bool
    """Whether it is to be on the network."""
    sealed: bytes
    created_at: datetime


class TorStore:
    """Typed access to the database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store = Store(path, MIGRATIONS)

    async def open(self) -> None:
        """Open it; it is readable by its owner only, and so are SQLite's files beside it.

        Raises:
            Unavailable: it cannot be opened, or is damaged.
        """
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(handle, 0o600)
        os.close(handle)
        await self._store.open()

    async def close(self) -> None:
        """Close it."""
        await self._store.close()

    async def isolations(self) -> list[IsolationRow]:
        """Every name."""

        def read(connection: sqlite3.Connection) -> list[IsolationRow]:
            rows = connection.execute("SELECT * FROM isolation ORDER BY name").fetchall()
            return [IsolationRow(row["name"], row["generation"], _at(row["rotated_ms"]), row["reason"]) for row in rows]

        return await self._store.read(read)

    async def put_isolations(self, rows: list[IsolationRow]) -> None:
        """Remember names; a generation never goes back."""

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT INTO isolation VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET generation = "
                "excluded.generation, rotated_ms = excluded.rotated_ms, reason = excluded.reason "
                "WHERE excluded.generation > isolation.generation",
                [(row.name, row.generation, _ms(row.rotated_at), row.reason) for row in rows],
            )

        await self._store.write(write)

    async def policy(self) -> ExitPolicy | None:
        """The exit policy; None unless one was set."""

        def read(connection: sqlite3.Connection) -> ExitPolicy | None:
            row = connection.execute("SELECT policy FROM exit_policy").fetchone()
            return ExitPolicy.model_validate_json(row["policy"]) if row else None

        return await self._store.read(read)

    async def put_policy(self, policy: ExitPolicy) -> None:
        """Remember the exit policy."""
        text = policy.model_dump_json()
        await self._store.write(lambda connection: _put_policy(connection, text))

    async def onions(self) -> list[OnionRow]:
        """Every onion service, by name."""

        def read(connection: sqlite3.Connection) -> list[OnionRow]:
            return [_onion(row) for row in connection.execute("SELECT * FROM onion ORDER BY name").fetchall()]

        return await self._store.read(read)

    async def add_onion(self, row: OnionRow) -> None:
        """Remember an onion service.

        Raises:
            Conflict: the name is taken.
        """

        def write(connection: sqlite3.Connection) -> None:
            try:
                connection.execute(
                    "INSERT INTO onion VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (row.name, row.address, row.port, row.target, row.published, row.sealed, _ms(row.created_at)),
                )
            except sqlite3.IntegrityError:
                raise Conflict(f"there is an onion service {row.name} already: choose another name") from None

        await self._store.write(write)

    async def set_published(self, name: str, *, published: bool) -> None:
        """Remember whether it is to be on the network."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE onion SET published = ? WHERE name = ?", (published, name))

        await self._store.write(write)

    async def remove_onion(self, name: str) -> None:
        """Forget an onion service and its key; sealed bytes may lie in SQLite's log a while longer."""
        await self._store.write(lambda connection: _delete_onion(connection, name))


def _put_policy(connection: sqlite3.Connection, text: str) -> None:
    connection.execute(
        "INSERT INTO exit_policy VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET policy = excluded.policy", (text,)
    )


def _delete_onion(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("DELETE FROM onion WHERE name = ?", (name,))


def _onion(row: sqlite3.Row) -> OnionRow:
    return OnionRow(
        row["name"],
        row["address"],
        row["port"],
        row["target"],
        bool(row["published"]),
        row["sealed"],
        _at(row["created_ms"]),
    )


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
