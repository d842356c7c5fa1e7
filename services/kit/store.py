"""A SQLite file with one writer: WAL, full synchronisation, numbered migrations, and group commit.

A unit of work is a plain function over the connection. Units that arrive while a commit is being written share the next
one: each runs in its own savepoint, so that one which fails undoes itself alone, and each caller is answered only after
the commit that holds its work is on the disk. (The standard library's module in one thread: a unit is one hop to that
thread, however many statements it has; and nothing of another caller can come between them.)
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from services.kit.errors import Unavailable

T = TypeVar("T")

_PATIENCE = 500
"""Hundredths of a second to wait for another process that opens the file for the first time, as for any lock of it."""
Unit = Callable[[sqlite3.Connection], T]
"""A unit of work: reads or changes rows; raising undoes what it did."""


class Store:
    """One database file."""

    def __init__(self, path: Path | str, migrations: Sequence[str], executor: Executor | None = None) -> None:
        """Use `path` (or ":memory:"); `migrations[n]` is the script that leads from version n to n + 1.

        With an `executor` every unit runs there, for a simulation that must not use threads.
        """
        self._path = path
        self._migrations = migrations
        self._writer_thread = executor or ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._reader_thread = executor or ThreadPoolExecutor(1, thread_name_prefix="store-read")
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._queue: list[tuple[Unit[Any], asyncio.Future[Any]]] = []
        self._draining: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self) -> None:
        """Open the file, and bring it up to date.

        Raises:
            Unavailable: it cannot be opened, is damaged, or was written by a newer version.
        """
        loop = asyncio.get_running_loop()
        try:
            self._writer = await loop.run_in_executor(self._writer_thread, self._connect)
            if self._path == ":memory:":
                self._reader, self._reader_thread = self._writer, self._writer_thread
            else:
                self._reader = await loop.run_in_executor(self._reader_thread, self._connect_reader)
        except sqlite3.Error as error:
            raise Unavailable(f"database {self._path} cannot be opened: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA busy_timeout = 5000")
        try:
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        while (version := _version(connection)) != len(self._migrations):
            if version > len(self._migrations):
                raise Unavailable(
                    f"database {self._path} has version {version}, this program knows {len(self._migrations)}: "
                    "run the version that wrote it, or a newer one"
                )
            script = self._migrations[version]
            try:
                connection.executescript(f"BEGIN IMMEDIATE;\n{script};\nPRAGMA user_version = {version + 1};\nCOMMIT;")
            except sqlite3.Error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if _version(connection) == version:  # else another process has just done the same
                    raise

    def _connect_reader(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA busy_timeout = 5000")
        return connection

    async def close(self) -> None:
        """Finish what was asked, then close the file; whoever asks from now on is refused. Safe to repeat."""
        self._closed = True
        if self._draining is not None:
            await asyncio.wait([self._draining])
        writer, reader = self._writer, self._reader
        self._reader = self._writer = None
        loop = asyncio.get_running_loop()
        if reader is not None and reader is not writer:
            await loop.run_in_executor(self._reader_thread, reader.close)
        if writer is not None:
            await loop.run_in_executor(self._writer_thread, writer.close)
        for thread in (self._reader_thread, self._writer_thread):
            if isinstance(thread, ThreadPoolExecutor):
                thread.shutdown(wait=False)

    async def write(self, unit: Unit[T]) -> T:
        """Run a unit and return its result once it is on the disk; what it raises is raised here and undone.

        A caller that is cancelled meanwhile does not stop its unit.

        Raises:
            Unavailable: the disk is full or the file cannot be written; nothing of the unit remains.
        """
        self._open(self._writer)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.append((unit, future))
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain())
        return await asyncio.shield(future)

    async def read(self, unit: Unit[T]) -> T:
        """Run a unit that only reads, beside the writer, over what was committed last; all of it sees one moment.

        Raises:
            Unavailable: the file cannot be read, or is damaged.
        """
        reader = self._open(self._reader)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reader_thread, _look, reader, unit)
        except sqlite3.DatabaseError as error:
            if _is_the_file(error):
                raise Unavailable(f"database {self._path} cannot be read: {error}") from error
            raise

    def _open(self, connection: sqlite3.Connection | None) -> sqlite3.Connection:
        if connection is None or self._closed:
            raise Unavailable(f"database {self._path} is closed")
        return connection

    async def _drain(self) -> None:
        """Commit whatever waits, batch after batch, until nothing does."""
        loop = asyncio.get_running_loop()
        try:
            while self._queue:
                batch, self._queue = self._queue, []
                try:
                    outcomes = await loop.run_in_executor(
                        self._writer_thread, self._commit, [unit for unit, _ in batch]
                    )
                except Exception as error:  # noqa: BLE001 - the commit failed: every caller of the batch is told
                    outcomes = [(None, self._explain(error)) for _ in batch]
                for (_, future), (result, failure) in zip(batch, outcomes, strict=True):
                    if future.done():
                        continue
                    if failure is None:
                        future.set_result(result)
                    else:
                        future.set_exception(failure)
                        future.exception()  # a caller that was cancelled leaves nobody to look
        finally:
            self._draining = None

    def _explain(self, error: Exception) -> Exception:
        if isinstance(error, sqlite3.DatabaseError) and _is_the_file(error):
            return Unavailable(f"database {self._path} cannot be written: {error}")
        return error

    def _commit(self, units: Sequence[Unit[Any]]) -> list[tuple[Any, Exception | None]]:
        connection = self._writer
        if connection is None:
            raise Unavailable(f"database {self._path} is closed")
        if connection.in_transaction:  # what failed before could not even be rolled back
            connection.execute("ROLLBACK")
        connection.execute("BEGIN IMMEDIATE")
        try:
            outcomes = [self._run_unit(connection, unit) for unit in units]
            connection.execute("COMMIT")
        except _AllUndone as undone:
            return [(None, self._undone(undone, unit)) for unit in units]
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return outcomes

    def _run_unit(self, connection: sqlite3.Connection, unit: Unit[Any]) -> tuple[Any, Exception | None]:
        connection.execute("SAVEPOINT unit")
        try:
            result = unit(connection)
        except Exception as error:  # it is raised where the unit was asked for
            if not connection.in_transaction:  # SQLite itself rolled everything back, as it does on a full disk
                raise _AllUndone(unit, error) from error
            connection.execute("ROLLBACK TO unit")
            connection.execute("RELEASE unit")
            return None, self._explain(error)
        if not connection.in_transaction:
            raise RuntimeError("a unit of work ended the transaction it runs in: what it did is not undone")
        connection.execute("RELEASE unit")
        return result, None

    def _undone(self, undone: "_AllUndone", unit: Unit[Any]) -> Exception:
        """What the caller of a unit is told when one of the same commit took all others with it."""
        if unit is undone.unit or isinstance(self._explain(undone.error), Unavailable):
            return self._explain(undone.error)
        return Unavailable(f"database {self._path}: another's work undid this commit, nothing was written: try again")


class _AllUndone(Exception):
    """A unit's failure rolled back the whole transaction."""

    def __init__(self, unit: Unit[Any], error: Exception) -> None:
        super().__init__(str(error))
        self.unit = unit
        self.error = error


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging. SQLite does not wait for another process that is doing the same: we do."""
    for left in reversed(range(_PATIENCE)):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or not left:
                raise
            time.sleep(0.01)
        else:
            return


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _look(connection: sqlite3.Connection, unit: Unit[T]) -> T:
    """Run a reading unit in one transaction, so that all its statements see the same rows."""
    connection.execute("BEGIN")
    try:
        return unit(connection)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _is_the_file(error: sqlite3.DatabaseError) -> bool:
    """Whether the file or the disk is to blame (full, locked, damaged), and not the unit's own SQL."""
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError
