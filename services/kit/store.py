"""A SQLite file with one writer: WAL, full synchronisation, numbered migrations, and group commit.

A unit of work is a plain function over the connection. Units that arrive while a commit is being written share the next
one: each runs in its own savepoint, so that one which fails undoes itself alone, and each caller is answered only after
the commit that holds its work is on the disk. (The standard library's module in one thread: a unit is one hop to that
thread, however many statements it has; and nothing of another caller can come between them.)
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from services.kit.errors import Unavailable

T = TypeVar("T")
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
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA busy_timeout = 5000")
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(self._migrations):
            connection.close()
            raise Unavailable(
                f"database {self._path} has version {version}, this program knows {len(self._migrations)}: "
                "run the version that wrote it, or a newer one"
            )
        for number, script in enumerate(self._migrations[version:], start=version + 1):
            connection.executescript(f"BEGIN IMMEDIATE;\n{script};\nPRAGMA user_version = {number};\nCOMMIT;")
        return connection

    def _connect_reader(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA busy_timeout = 5000")
        return connection

    async def close(self) -> None:
        """Finish what was asked, then close the file."""
        if self._draining is not None:
            await asyncio.wait([self._draining])
        loop = asyncio.get_running_loop()
        if self._reader is not None and self._reader is not self._writer:
            await loop.run_in_executor(self._reader_thread, self._reader.close)
        if self._writer is not None:
            await loop.run_in_executor(self._writer_thread, self._writer.close)
        self._reader = self._writer = None
        for thread in (self._reader_thread, self._writer_thread):
            if isinstance(thread, ThreadPoolExecutor):
                thread.shutdown(wait=False)

    async def write(self, unit: Unit[T]) -> T:
        """Run a unit and return its result once it is on the disk; what it raises is raised here and undone.

        A caller that is cancelled meanwhile does not stop its unit.

        Raises:
            Unavailable: the disk is full or the file cannot be written; nothing of the unit remains.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.append((unit, future))
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain())
        return await asyncio.shield(future)

    async def read(self, unit: Unit[T]) -> T:
        """Run a unit that only reads, beside the writer, over what was committed last."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reader_thread, unit, self._open(self._reader))
        except sqlite3.OperationalError as error:
            raise Unavailable(f"database {self._path} cannot be read: {error}") from error

    def _open(self, connection: sqlite3.Connection | None) -> sqlite3.Connection:
        if connection is None:
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
                    outcomes = [(None, self._explain(error))] * len(batch)
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
        if isinstance(error, sqlite3.OperationalError):
            return Unavailable(f"database {self._path} cannot be written: {error}")
        return error

    def _commit(self, units: Sequence[Unit[Any]]) -> list[tuple[Any, Exception | None]]:
        connection = self._open(self._writer)
        connection.execute("BEGIN IMMEDIATE")
        try:
            outcomes = [self._run_unit(connection, unit) for unit in units]
            connection.execute("COMMIT")
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
                raise
            connection.execute("ROLLBACK TO unit")
            connection.execute("RELEASE unit")
            return None, self._explain(error)
        connection.execute("RELEASE unit")
        return result, None
