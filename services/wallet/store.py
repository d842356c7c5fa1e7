"""What the signer must never forget: every key it signed or voided, freezes, and how long this machine has run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection
from typing import Literal, TypeVar

from services.kit.store import Store

T = TypeVar("T")

MIGRATIONS = (
    """
    CREATE TABLE signatures (
        key TEXT PRIMARY KEY,
        state TEXT NOT NULL CHECK (state IN ('signed', 'void')),
        wallet TEXT NOT NULL,
        txid TEXT UNIQUE,
        owner TEXT,
        amount_sun INTEGER CHECK (amount_sun >= 0),
        most_fee_sun INTEGER CHECK (most_fee_sun >= 0),
        running_ms INTEGER NOT NULL,
        recorded_at TEXT NOT NULL,
        caller TEXT NOT NULL,
        CHECK ((state = 'signed') = (txid IS NOT NULL AND owner IS NOT NULL AND amount_sun IS NOT NULL)),
        CHECK ((amount_sun IS NULL) = (most_fee_sun IS NULL))
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX signed_by_running_time ON signatures (running_ms, amount_sun, most_fee_sun) WHERE state = 'signed';

    CREATE TABLE freezes (
        id INTEGER PRIMARY KEY,
        reason TEXT NOT NULL,
        frozen_by TEXT NOT NULL,
        frozen_at TEXT NOT NULL,
        lifted_by TEXT,
        lifted_at TEXT
    ) STRICT;
    CREATE UNIQUE INDEX one_freeze ON freezes (lifted_at IS NULL) WHERE lifted_at IS NULL;

    CREATE TABLE running (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        total_ms INTEGER NOT NULL,
        boot_id TEXT NOT NULL,
        monotonic_ms INTEGER NOT NULL
    ) STRICT;
    INSERT INTO running VALUES (1, 0, '', 0)
    """,
)

_SUN_PER_PART = 1_000_000


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered of a sign key."""

    key: str
    state: Literal["signed", "void"]
    wallet: str
    txid: str | None
    """64 hex digits; None for a void key."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for what key, by which wallet, and when."""

    key: str
    wallet: str
    at: str
    """ISO 8601; only written down."""
    caller: str

    def row(self) -> tuple[str, str, str, str]:
        """The fields in the order of the table."""
        return self.key, self.wallet, self.at, self.caller


@dataclass(frozen=True, slots=True)
class Spent:
    """What a transaction, or all of a time, may take from its owner."""

    amount_sun: int
    """What is moved."""
    most_fee_sun: int
    """The most that the network may burn for it."""


@dataclass(frozen=True, slots=True)
class Boot:
    """A reading of the monotonic clock."""

    id: str
    """Which start of this machine it belongs to."""
    monotonic_ms: int


@dataclass(frozen=True, slots=True)
class FreezeRow:
    """A freeze that holds."""

    reason: str
    frozen_by: str
    frozen_at: str
    """ISO 8601, for people."""


class Ledger:
    """The rows, inside one unit of work."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, key: str) -> Record | None:
        """What is remembered of a key."""
        return self._record("SELECT key, state, wallet, txid FROM signatures WHERE key = ?", key)

    def find_txid(self, txid: str) -> Record | None:
        """Which key a transaction was signed for."""
        return self._record("SELECT key, state, wallet, txid FROM signatures WHERE txid = ?", txid)

    def _record(self, query: str, value: str) -> Record | None:
        row = self._connection.execute(query, (value,)).fetchone()
        return Record(**row) if row else None

    def add_signed(self, asked: Asked, running_ms: int, txid: str, owner: str, spent: Spent) -> None:
        """Remember that a key is good for this transaction, and count what it may spend."""
        self._connection.execute(
            "INSERT INTO signatures"
            " (state, key, wallet, recorded_at, caller, running_ms, txid, owner, amount_sun, most_fee_sun)"
            " VALUES ('signed', ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*asked.row(), running_ms, txid, owner, spent.amount_sun, spent.most_fee_sun),
        )

    def add_void(self, asked: Asked, running_ms: int) -> None:
        """Remember that a key is never to be signed."""
        self._connection.execute(
            "INSERT INTO signatures (state, key, wallet, recorded_at, caller, running_ms)"
            " VALUES ('void', ?, ?, ?, ?, ?)",
            (*asked.row(), running_ms),
        )

    def spent_since(self, running_ms: int) -> Spent:
        """What signatures have spent since a moment of running time, that moment itself not included."""
        # In two parts: a plain sum over amounts near 2^63 would overflow SQLite's integers.
        high, low, fees = self._connection.execute(
            "SELECT coalesce(sum(amount_sun / ?1), 0), coalesce(sum(amount_sun % ?1), 0),"
            " coalesce(sum(most_fee_sun), 0) FROM signatures WHERE state = 'signed' AND running_ms > ?2",
            (_SUN_PER_PART, running_ms),
        ).fetchone()
        return Spent(int(high) * _SUN_PER_PART + int(low), int(fees))

    def running_ms(self, boot: Boot) -> int:
        """How long this machine has run under our eyes: never goes back, and no clock setting moves it."""
        total, boot_id, before = self._connection.execute(
            "SELECT total_ms, boot_id, monotonic_ms FROM running"
        ).fetchone()
        return int(total) + (max(0, boot.monotonic_ms - int(before)) if boot_id == boot.id else 0)

    def keep_running_ms(self, boot: Boot) -> int:
        """As `running_ms`, and goes on from there after a restart."""
        total = self.running_ms(boot)
        # A reading that waited behind a later one must not make the time between them count twice.
        self._connection.execute(
            "UPDATE running SET total_ms = ?1, boot_id = ?2,"
            " monotonic_ms = CASE WHEN boot_id = ?2 THEN max(monotonic_ms, ?3) ELSE ?3 END",
            (total, boot.id, boot.monotonic_ms),
        )
        return total

    def freeze(self) -> FreezeRow | None:
        """The freeze that holds, if any."""
        row = self._connection.execute(
            "SELECT reason, frozen_by, frozen_at FROM freezes WHERE lifted_at IS NULL"
        ).fetchone()
        return FreezeRow(**row) if row else None

    def add_freeze(self, freeze: FreezeRow) -> None:
        """Remember a freeze."""
        self._connection.execute(
            "INSERT INTO freezes (reason, frozen_by, frozen_at) VALUES (?, ?, ?)",
            (freeze.reason, freeze.frozen_by, freeze.frozen_at),
        )

    def lift_freeze(self, by: str, at: str) -> None:
        """Remember that the freeze was lifted."""
        self._connection.execute("UPDATE freezes SET lifted_by = ?, lifted_at = ? WHERE lifted_at IS NULL", (by, at))


class SignerStore:
    """The signer's database."""

    def __init__(self, path: Path | str) -> None:
        self._store = Store(path, MIGRATIONS)

    async def open(self) -> None:
        """Open the file; raises Unavailable when it cannot be."""
        await self._store.open()

    async def close(self) -> None:
        """Finish what was asked, then close."""
        await self._store.close()

    async def write(self, unit: Callable[[Ledger], T]) -> T:
        """Run a unit, and return once what it wrote is on the disk."""
        return await self._store.write(lambda connection: unit(Ledger(connection)))

    async def read(self, unit: Callable[[Ledger], T]) -> T:
        """Run a unit that only reads."""
        return await self._store.read(lambda connection: unit(Ledger(connection)))
