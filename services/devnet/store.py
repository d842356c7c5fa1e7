"""The chain on disk: blocks, transactions, accounts at the head, and what they were before the unsolid blocks.

A block and everything it changes is one SQLite transaction in WAL mode, committed before anybody hears of the block:
a killed node starts again with exactly the blocks that it showed. (A power cut may cost the last of them, since
`synchronous` is NORMAL: no money rests on a devnet.) Nothing is replayed at start, whatever the length of the chain.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from services.devnet.receipt import Receipt
from services.devnet.state import Account, Counters, dump, load
from services.protocol.abi import TransferEvent, decode_log
from services.protocol.address import Address
from services.protocol.block import Block, BlockHeader
from services.protocol.transaction import SignedTransaction
from services.protocol.wire import decode

FILE_NAME = "devnet.sqlite3"
"""The database in the devnet's home."""

SNAPSHOTS = "snapshots"
"""Directory of saved states in the devnet's home."""

KEPT_BLOCKS = 100
"""For so many blocks below the solid one it is known what accounts were after each: for endpoints that lag."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS blocks (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    header BLOB NOT NULL,
    signature BLOB NOT NULL,
    witness BLOB NOT NULL,
    produced INTEGER NOT NULL,
    transactions INTEGER NOT NULL,
    solid INTEGER NOT NULL,
    counters TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS blocks_by_witness ON blocks (witness, number, produced);
CREATE TABLE IF NOT EXISTS transactions (
    txid BLOB PRIMARY KEY,
    block INTEGER NOT NULL,
    position INTEGER NOT NULL,
    data BLOB NOT NULL,
    receipt TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS transactions_by_block ON transactions (block, position);
CREATE TABLE IF NOT EXISTS parties (
    address BLOB NOT NULL,
    block INTEGER NOT NULL,
    position INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    PRIMARY KEY (address, block, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS logs (
    block INTEGER NOT NULL,
    position INTEGER NOT NULL,
    number INTEGER NOT NULL,
    contract BLOB NOT NULL,
    topic BLOB NOT NULL,
    sender BLOB,
    receiver BLOB,
    PRIMARY KEY (block, position, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS logs_by_contract ON logs (contract, block, position, number);
CREATE INDEX IF NOT EXISTS logs_by_sender ON logs (sender, block, position, number) WHERE sender IS NOT NULL;
CREATE INDEX IF NOT EXISTS logs_by_receiver ON logs (receiver, block, position, number) WHERE receiver IS NOT NULL;
CREATE TABLE IF NOT EXISTS accounts (
    address BLOB PRIMARY KEY,
    data TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS undo (
    address BLOB NOT NULL,
    block INTEGER NOT NULL,
    before TEXT,
    PRIMARY KEY (address, block)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS undo_by_block ON undo (block);
CREATE TABLE IF NOT EXISTS cells (
    key BLOB PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cells_undo (
    key BLOB NOT NULL,
    block INTEGER NOT NULL,
    before BLOB,
    PRIMARY KEY (key, block)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS cells_undo_by_block ON cells_undo (block);
CREATE TABLE IF NOT EXISTS batches (
    batch INTEGER PRIMARY KEY,
    accounts INTEGER NOT NULL
);
"""

_BLOCK_COLUMNS = "number, id, header, signature, produced, transactions, solid, counters"
_TRANSACTION_COLUMNS = "transactions.block, transactions.position, transactions.data, transactions.receipt"


class StoreError(Exception):
    """The database cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A block without its transactions."""

    number: int
    """Height."""

    id: bytes
    """32 bytes."""

    header: BlockHeader
    """What the id is made of."""

    signature: bytes
    """The witness's; empty in block 0."""

    produced: int
    """How many blocks its witness had made with this one."""

    transactions: int
    """How many are in it."""

    solid: int
    """Height of the newest solid block once this one was the head."""

    counters: Counters
    """The chain's counters after it."""

    @property
    def time_ms(self) -> int:
        """The block's time."""
        return self.header.timestamp_ms


@dataclass(frozen=True, slots=True)
class StoredTransaction:
    """A transaction that is in a block."""

    block: int
    """Height of its block."""

    position: int
    """Its place there, from 0."""

    signed: SignedTransaction
    """The bytes, with the result."""

    receipt: Receipt
    """What it cost."""


@dataclass(frozen=True, slots=True)
class NewTransaction:
    """A transaction on its way into a block."""

    txid: bytes
    """32 bytes."""

    signed: SignedTransaction
    """The bytes, with the result."""

    receipt: Receipt
    """What it cost."""

    sender: bytes
    """Who pays."""

    receiver: bytes | None
    """Who gets something, if anybody."""


@dataclass(frozen=True, slots=True)
class Page:
    """Which of an account's transactions are wanted."""

    limit: int
    """At most so many."""

    after: tuple[int, int] | None = None
    """Block and position of the last one of the page before."""

    newest_block: int | None = None
    """None above this height."""

    oldest_block: int | None = None
    """None below this height."""

    sent: bool | None = None
    """Only those that the account sent, or only those that it received."""

    ascending: bool = False
    """Oldest first."""


@dataclass(frozen=True, slots=True)
class LogPage:
    """Which event logs are wanted."""

    limit: int
    """At most so many."""

    after: tuple[int, int, int] | None = None
    """Block, position and number of the last one of the page before."""

    contract: bytes | None = None
    """Only of this contract, in 20 bytes."""

    sender: bytes | None = None
    """Only token transfers from this address, in 20 bytes."""

    receiver: bytes | None = None
    """Only token transfers to this address, in 20 bytes; with `sender`, either."""

    topics: tuple[bytes, ...] | None = None
    """Only with one of these first topics."""

    transaction: tuple[int, int] | None = None
    """Only of the transaction at this block and position."""

    newest_block: int | None = None
    """None above this height."""

    oldest_block: int | None = None
    """None below this height."""

    ascending: bool = False
    """Oldest first."""


class Store:
    """One chain in one SQLite file, or in memory. Used from one thread."""

    def __init__(self, home: Path | None) -> None:
        self._home = home
        self._connection: sqlite3.Connection | None = None
        self._snapshots: dict[str, sqlite3.Connection] = {}

    @property
    def name(self) -> str:
        """What to call it to people: its file."""
        return str(self._home / FILE_NAME) if self._home else ":memory:"

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError("the devnet's store is not open")
        return self._connection

    def open(self) -> None:
        """Open or create the file, and lock it against a second devnet.

        Raises:
            StoreError: another devnet has it, or it is no database.
        """
        target = self.name
        if self._home is not None:
            self._home.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = sqlite3.connect(target, isolation_level=None, timeout=0.1)
            for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(_SCHEMA)
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self.close()
            raise StoreError(
                f"{target}: {error}; is another devnet using it? Give each its own DEVNET_HOME, or remove the file"
            ) from error

    def close(self) -> None:
        """Close the file; what was committed is there next time."""
        while self._snapshots:
            self._snapshots.popitem()[1].close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # --- writing ---

    def add_block(
        self,
        block: StoredBlock,
        transactions: Sequence[NewTransaction],
        accounts: Iterable[Account],
        cells: Mapping[bytes, bytes | None] | None = None,
    ) -> None:
        """Add a block with all that it changes; when this returns it survives a crash of the process."""
        changed = [(account.address, dump(account)) for account in accounts]
        number = block.number
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            db.execute(
                f"INSERT INTO blocks ({_BLOCK_COLUMNS}, witness) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                (
                    number,
                    block.id,
                    block.header.encode(),
                    block.signature,
                    block.produced,
                    block.transactions,
                    block.solid,
                    block.counters.dump(),
                    block.header.witness_address,
                ),
            )
            db.executemany(
                "INSERT INTO transactions (txid, block, position, data, receipt) VALUES (?, ?, ?, ?, ?)",
                [
                    (new.txid, number, at, new.signed.encode(), new.receipt.dump())
                    for at, new in enumerate(transactions)
                ],
            )
            db.executemany("INSERT OR IGNORE INTO parties VALUES (?, ?, ?, ?)", _parties(number, transactions))
            db.executemany("INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?, ?)", _logs(number, transactions))
            db.executemany(
                "INSERT INTO undo SELECT ?1, ?2, (SELECT data FROM accounts WHERE address = ?1)",
                [(address, number) for address, _ in changed],
            )
            db.executemany("INSERT OR REPLACE INTO accounts VALUES (?, ?)", changed)
            self._write_cells(number, cells or {})
            db.execute("DELETE FROM undo WHERE block <= ?", (block.solid - KEPT_BLOCKS,))
            db.execute("DELETE FROM cells_undo WHERE block <= ?", (block.solid - KEPT_BLOCKS,))
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def _write_cells(self, number: int, cells: Mapping[bytes, bytes | None]) -> None:
        if not cells:
            return
        self._db.executemany(
            "INSERT INTO cells_undo SELECT ?1, ?2, (SELECT value FROM cells WHERE key = ?1)",
            [(key, number) for key in cells],
        )
        written = [(key, value) for key, value in cells.items() if value is not None]
        self._db.executemany("INSERT OR REPLACE INTO cells VALUES (?, ?)", written)
        removed = [(key,) for key, value in cells.items() if value is None]
        self._db.executemany("DELETE FROM cells WHERE key = ?", removed)

    def rewind(self, number: int) -> None:
        """Take back every block above a height, which is not below the solid one."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            for table, key, value in (("accounts", "address", "data"), ("cells", "key", "value")):
                undo = "undo" if table == "accounts" else "cells_undo"
                # The oldest of the undone changes says what there was before all of them.
                before = f"SELECT {key}, before, min(block) FROM {undo} WHERE block > ? GROUP BY {key}"  # noqa: S608
                for name, text, _ in db.execute(before, (number,)).fetchall():
                    db.execute(f"DELETE FROM {table} WHERE {key} = ?", (name,))  # noqa: S608
                    if text is not None:
                        db.execute(f"INSERT INTO {table} ({key}, {value}) VALUES (?, ?)", (name, text))  # noqa: S608
                db.execute(f"DELETE FROM {undo} WHERE block > ?", (number,))  # noqa: S608
            for table in ("transactions", "parties", "logs"):
                db.execute(f"DELETE FROM {table} WHERE block > ?", (number,))  # noqa: S608
            db.execute("DELETE FROM blocks WHERE number > ?", (number,))
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    # --- snapshots ---

    def save(self, name: str) -> None:
        """Keep a copy of everything under a name, instead of what that name had."""
        if self._home is None:
            self._snapshots[name] = sqlite3.connect(":memory:")
            self._db.backup(self._snapshots[name])
            return
        path = self._snapshot_file(name)
        path.parent.mkdir(exist_ok=True)
        unfinished = path.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        with closing(sqlite3.connect(unfinished)) as copy:
            self._db.backup(copy)
        unfinished.replace(path)

    def restore(self, name: str) -> None:
        """Go back to the copy of that name.

        Raises:
            KeyError: there is none.
        """
        if name not in self.snapshots():
            raise KeyError(name)
        if self._home is None:
            self._snapshots[name].backup(self._db)
        else:
            with closing(sqlite3.connect(self._snapshot_file(name))) as copy:
                copy.backup(self._db)

    def forget(self, name: str) -> None:
        """Remove the copy of that name.

        Raises:
            KeyError: there is none.
        """
        if name not in self.snapshots():
            raise KeyError(name)
        if self._home is None:
            self._snapshots.pop(name).close()
        else:
            self._snapshot_file(name).unlink()

    def snapshots(self) -> list[str]:
        """The names of all copies."""
        if self._home is None:
            return sorted(self._snapshots)
        return sorted(path.stem for path in (self._home / SNAPSHOTS).glob("*.sqlite3"))

    def _snapshot_file(self, name: str) -> Path:
        return (self._home or Path()) / SNAPSHOTS / f"{name}.sqlite3"

    def add_batch(self, accounts: int) -> int:
        """Remember that a batch of that many test accounts was made; returns its number, from 1."""
        cursor = self._db.execute("INSERT INTO batches (accounts) VALUES (?)", (accounts,))
        return cursor.lastrowid or 0

    # --- reading ---

    def head(self) -> StoredBlock | None:
        """The newest block; None in a new file."""
        return self._block("ORDER BY number DESC LIMIT 1", ())

    def block_id(self, number: int) -> bytes | None:
        """The id of the block of that height."""
        row = self._db.execute("SELECT id FROM blocks WHERE number = ?", (number,)).fetchone()
        return row[0] if row else None

    def block(self, number: int) -> StoredBlock | None:
        """The block of that height."""
        return self._block("WHERE number = ?", (number,))

    def block_by_id(self, block_id: bytes) -> StoredBlock | None:
        """The block of that id."""
        return self._block("WHERE id = ?", (block_id,))

    def blocks(self, first: int, end: int) -> list[StoredBlock]:
        """The blocks from `first` up to and without `end`."""
        rows = self._db.execute(
            f"SELECT {_BLOCK_COLUMNS} FROM blocks WHERE number >= ? AND number < ? ORDER BY number",  # noqa: S608
            (first, end),
        )
        return [_stored_block(row) for row in rows]

    def last_block_of(self, witness: bytes, newest: int) -> StoredBlock | None:
        """The newest block of a witness up to a height."""
        return self._block("WHERE witness = ? AND number <= ? ORDER BY number DESC LIMIT 1", (witness, newest))

    def full_block(self, block: StoredBlock) -> Block:
        """A block with its transactions, in the form of the protocol package."""
        transactions = tuple(stored.signed for stored in self.transactions_of(block.number))
        return Block(block.header, transactions, block.signature)

    def has_transaction(self, txid: bytes) -> bool:
        """Whether a block holds it."""
        return self._db.execute("SELECT 1 FROM transactions WHERE txid = ?", (txid,)).fetchone() is not None

    def transaction(self, txid: bytes) -> StoredTransaction | None:
        """The transaction of that id."""
        row = self._db.execute(
            f"SELECT {_TRANSACTION_COLUMNS} FROM transactions WHERE txid = ?",  # noqa: S608
            (txid,),
        ).fetchone()
        return _stored_transaction(row) if row else None

    def transactions_of(self, number: int) -> list[StoredTransaction]:
        """The transactions of a block, in their order."""
        rows = self._db.execute(
            f"SELECT {_TRANSACTION_COLUMNS} FROM transactions WHERE block = ? ORDER BY position",  # noqa: S608
            (number,),
        )
        return [_stored_transaction(row) for row in rows]

    def account(self, address: bytes) -> Account | None:
        """An account after the head block."""
        row = self._db.execute("SELECT data FROM accounts WHERE address = ?", (address,)).fetchone()
        return _account(address, row[0]) if row else None

    def account_after(self, address: bytes, number: int) -> Account | None:
        """An account after an earlier block; not far below the solid one, whose past is forgotten."""
        row = self._db.execute(
            "SELECT before FROM undo WHERE address = ? AND block > ? ORDER BY block LIMIT 1", (address, number)
        ).fetchone()
        if row is None:
            return self.account(address)
        return _account(address, row[0]) if row[0] is not None else None

    def cell(self, key: bytes) -> bytes | None:
        """What is kept under a key after the head block."""
        row = self._db.execute("SELECT value FROM cells WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def cell_after(self, key: bytes, number: int) -> bytes | None:
        """What was kept under a key after an earlier block; not far below the solid one."""
        row = self._db.execute(
            "SELECT before FROM cells_undo WHERE key = ? AND block > ? ORDER BY block LIMIT 1", (key, number)
        ).fetchone()
        return row[0] if row else self.cell(key)

    def accounts(self) -> Iterator[Account]:
        """Every account after the head block."""
        for address, text in self._db.execute("SELECT address, data FROM accounts"):
            yield load(address, text)

    def balances_sun(self) -> int:
        """The sum of all balances after the head block."""
        rows = self._db.execute("SELECT data ->> 'balance_sun' FROM accounts")
        return sum(row[0] or 0 for row in rows)

    def batches(self) -> list[int]:
        """How many accounts each batch of test accounts has, in the order of their making."""
        return [row[0] for row in self._db.execute("SELECT accounts FROM batches ORDER BY batch")]

    def account_transactions(self, address: bytes, page: Page) -> list[StoredTransaction]:
        """An account's transactions, newest first unless the page says otherwise."""
        wanted, values = ["parties.address = ?"], [address]
        filters: list[tuple[str, object]] = [
            ("parties.block <= ?", page.newest_block),
            ("parties.block >= ?", page.oldest_block),
            ("parties.sent = ?", page.sent),
        ]
        if page.after is not None:
            sign = ">" if page.ascending else "<"
            wanted.append(f"(parties.block, parties.position) {sign} (?, ?)")
            values += page.after  # type: ignore[arg-type]
        for condition, value in filters:
            if value is not None:
                wanted.append(condition)
                values.append(value)  # type: ignore[arg-type]
        order = "ASC" if page.ascending else "DESC"
        rows = self._db.execute(
            f"SELECT {_TRANSACTION_COLUMNS} FROM parties JOIN transactions USING (block, position) "  # noqa: S608
            f"WHERE {' AND '.join(wanted)} "
            f"ORDER BY parties.block {order}, parties.position {order} LIMIT ?",
            [*values, page.limit],
        ).fetchall()
        return [_stored_transaction(row) for row in rows]

    def logs(self, page: LogPage) -> list[tuple[StoredTransaction, int]]:
        """Event logs, newest first unless the page says otherwise: each one's transaction, and its number there."""
        wanted, values = ["1"], list[object]()

        def only(condition: str, *parts: object | None) -> None:
            if all(part is not None for part in parts):
                wanted.append(condition)
                values.extend(parts)

        only("logs.contract = ?", page.contract)
        if page.sender is not None and page.receiver is not None:
            only("(logs.sender = ? OR logs.receiver = ?)", page.sender, page.receiver)
        else:
            only("logs.sender = ?", page.sender)
            only("logs.receiver = ?", page.receiver)
        if page.topics is not None:
            only(f"logs.topic IN ({', '.join('?' * len(page.topics))})", *page.topics)
        only("(logs.block, logs.position) = (?, ?)", *(page.transaction or (None, None)))
        only("logs.block <= ?", page.newest_block)
        only("logs.block >= ?", page.oldest_block)
        sign = ">" if page.ascending else "<"
        only(f"(logs.block, logs.position, logs.number) {sign} (?, ?, ?)", *(page.after or (None, None, None)))
        order = "ASC" if page.ascending else "DESC"
        rows = self._db.execute(
            f"SELECT {_TRANSACTION_COLUMNS}, logs.number FROM logs JOIN transactions USING (block, position) "  # noqa: S608
            f"WHERE {' AND '.join(wanted)} "
            f"ORDER BY logs.block {order}, logs.position {order}, logs.number {order} LIMIT ?",
            [*values, page.limit],
        ).fetchall()
        return [(_stored_transaction(row[:4]), row[4]) for row in rows]

    def tokens_of(self, holder: bytes) -> list[bytes]:
        """Contracts whose tokens were ever sent to an address; all in 20 bytes."""
        rows = self._db.execute("SELECT DISTINCT contract FROM logs WHERE receiver = ? ORDER BY contract", (holder,))
        return [row[0] for row in rows]

    def first_block_at(self, time_ms: int) -> int:
        """Height of the first block whose time is not before that; one above the head if there is none yet."""
        head = self.head()
        low, high = 0, head.number + 1 if head else 0
        while low < high:
            middle = (low + high) // 2
            block = self.block(middle)
            if block is not None and block.time_ms < time_ms:
                low = middle + 1
            else:
                high = middle
        return low

    def _block(self, condition: str, values: tuple[object, ...]) -> StoredBlock | None:
        row = self._db.execute(f"SELECT {_BLOCK_COLUMNS} FROM blocks {condition}", values).fetchone()  # noqa: S608
        return _stored_block(row) if row else None


def _account(address: bytes, text: str) -> Account | None:
    account = load(address, text)
    return None if account.is_gone else account


def _parties(number: int, transactions: Sequence[NewTransaction]) -> Iterable[tuple[bytes, int, int, int]]:
    for position, new in enumerate(transactions):
        yield new.sender, number, position, 1
        if new.receiver is not None:
            yield new.receiver, number, position, 0


def _logs(number: int, transactions: Sequence[NewTransaction]) -> Iterable[tuple[object, ...]]:
    for position, new in enumerate(transactions):
        for at, (contract, topics, data) in enumerate(new.receipt.logs):
            moved = decode_log(
                Address.from_evm(bytes.fromhex(contract)), [*map(bytes.fromhex, topics)], bytes.fromhex(data)
            )
            parties = (moved.source.evm, moved.to.evm) if isinstance(moved, TransferEvent) else (None, None)
            topic = bytes.fromhex(topics[0]) if topics else b""
            yield number, position, at, bytes.fromhex(contract), topic, *parties


def _stored_block(row: tuple[int, bytes, bytes, bytes, int, int, int, str]) -> StoredBlock:
    number, block_id, header, signature, produced, transactions, solid, counters = row
    return StoredBlock(
        number,
        block_id,
        decode(BlockHeader, header, strict=False),
        signature,
        produced,
        transactions,
        solid,
        Counters.load(counters),
    )


def _stored_transaction(row: tuple[int, int, bytes, str]) -> StoredTransaction:
    block, position, data, receipt = row
    return StoredTransaction(block, position, SignedTransaction.decode(data, strict=False), Receipt.load(receipt))
