"""The store: what was acknowledged is on the disk, units are alone, and commits are shared."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest

from services.kit.errors import Conflict, Unavailable
from services.kit.store import Store

MIGRATIONS = ["CREATE TABLE coin (id INTEGER PRIMARY KEY, name TEXT UNIQUE)"]


class Inline(Executor):
    """Runs at once in the caller's thread, as a simulation wants it."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future


def insert(name: str) -> Any:
    def unit(connection: sqlite3.Connection) -> int:
        return int(connection.execute("INSERT INTO coin (name) VALUES (?)", (name,)).lastrowid or 0)

    return unit


def names(connection: sqlite3.Connection) -> list[str]:
    return [row["name"] for row in connection.execute("SELECT name FROM coin ORDER BY id")]


@pytest.mark.parametrize("executor", [None, Inline()])
async def test_what_was_written_is_there_after_reopening(tmp_path: Path, executor: Executor | None) -> None:
    store = Store(tmp_path / "db", MIGRATIONS, executor)
    await store.open()
    assert await store.write(insert("a")) == 1
    assert await store.read(names) == ["a"]
    await store.close()
    await (again := Store(tmp_path / "db", MIGRATIONS, executor)).open()
    assert await again.read(names) == ["a"]
    await again.close()


async def test_memory_store_reads_what_it_wrote() -> None:
    store = Store(":memory:", MIGRATIONS)
    await store.open()
    await store.write(insert("a"))
    assert await store.read(names) == ["a"]
    await store.close()


async def test_durability_is_full(tmp_path: Path) -> None:
    store = Store(tmp_path / "db", MIGRATIONS)
    await store.open()

    def pragmas(connection: sqlite3.Connection) -> tuple[str, int]:
        return (
            connection.execute("PRAGMA journal_mode").fetchone()[0],
            connection.execute("PRAGMA synchronous").fetchone()[0],
        )

    loop = asyncio.get_running_loop()
    assert store._writer is not None
    assert await loop.run_in_executor(store._writer_thread, pragmas, store._writer) == ("wal", 2)
    await store.close()


async def test_one_failing_unit_of_a_shared_commit_undoes_itself_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "db", MIGRATIONS)
    await store.open()

    def half(connection: sqlite3.Connection) -> None:
        insert("half")(connection)
        raise Conflict("changed my mind")

    results = await asyncio.gather(
        store.write(insert("a")), store.write(half), store.write(insert("a")), store.write(insert("b")),
        return_exceptions=True,
    )  # fmt: skip
    assert [type(result) for result in results] == [int, Conflict, sqlite3.IntegrityError, int]
    assert await store.read(names) == ["a", "b"]
    await store.close()


async def test_many_writers_share_commits(tmp_path: Path) -> None:
    store = Store(tmp_path / "db", MIGRATIONS)
    await store.open()
    commits = 0
    commit = store._commit

    def counted(units: Any) -> Any:
        nonlocal commits
        commits += 1
        return commit(units)

    store._commit = counted  # type: ignore[method-assign]
    await asyncio.gather(*(store.write(insert(str(number))) for number in range(500)))
    assert len(await store.read(names)) == 500
    assert commits < 50
    await store.close()


async def test_cancelled_caller_does_not_stop_its_unit(tmp_path: Path) -> None:
    store = Store(tmp_path / "db", MIGRATIONS)
    await store.open()
    task = asyncio.create_task(store.write(insert("a")))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.write(insert("b"))
    assert await store.read(names) == ["a", "b"]
    await store.close()


async def test_close_finishes_what_was_asked(tmp_path: Path) -> None:
    store = Store(tmp_path / "db", MIGRATIONS)
    await store.open()
    tasks = [asyncio.create_task(store.write(insert(str(number)))) for number in range(20)]
    await asyncio.sleep(0)
    await store.close()
    assert len(await asyncio.gather(*tasks)) == 20


async def test_migrations_go_on_from_where_the_file_stands(tmp_path: Path) -> None:
    old = Store(tmp_path / "db", MIGRATIONS)
    await old.open()
    await old.write(insert("a"))
    await old.close()
    new = Store(tmp_path / "db", [*MIGRATIONS, "ALTER TABLE coin ADD COLUMN weight INTEGER DEFAULT 7"])
    await new.open()
    rows = await new.read(lambda connection: connection.execute("SELECT name, weight FROM coin").fetchall())
    assert [tuple(row) for row in rows] == [("a", 7)]
    await new.close()
    with pytest.raises(Unavailable, match="a newer one"):
        await Store(tmp_path / "db", MIGRATIONS).open()


async def test_failing_migration_changes_nothing(tmp_path: Path) -> None:
    bad = Store(tmp_path / "db", [*MIGRATIONS, "CREATE TABLE x (id); SELECT nonsense"])
    with pytest.raises(Unavailable, match="cannot be opened"):
        await bad.open()
    good = Store(tmp_path / "db", MIGRATIONS)
    await good.open()
    tables = await good.read(lambda connection: connection.execute("SELECT name FROM sqlite_master").fetchall())
    assert "x" not in {row[0] for row in tables}
    await good.close()


async def test_full_disk_is_told_to_every_caller_and_nothing_remains(tmp_path: Path) -> None:
    store = Store(tmp_path / "db", MIGRATIONS)
    await store.open()
    await store.write(insert("a"))
    await store.write(lambda connection: connection.execute("PRAGMA max_page_count = 5").fetchone())
    big = "x" * 100_000
    results = await asyncio.gather(store.write(insert(big)), store.write(insert("b")), return_exceptions=True)
    assert isinstance(results[0], Unavailable)
    assert "full" in str(results[0])
    kept = await store.read(names)
    assert kept == ["a", "b"] if isinstance(results[1], int) else kept == ["a"]
    await store.write(insert("c"))
    await store.close()


KILLED = """
import asyncio, sys
from services.kit.store import Store

async def main():
    store = Store(sys.argv[1], ["CREATE TABLE coin (id INTEGER PRIMARY KEY, name TEXT UNIQUE)"])
    await store.open()
    async def one(number):
        await store.write(lambda c: c.execute("INSERT INTO coin (name) VALUES (?)", (str(number),)))
        print(number, flush=True)
    for start in range(0, 1000000, 20):
        await asyncio.gather(*(one(n) for n in range(start, start + 20)))

asyncio.run(main())
"""


async def test_kill_minus_nine_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(tmp_path / "db"), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    acknowledged = [(await process.stdout.readline()).decode().strip() for _ in range(300)]
    os.kill(process.pid, signal.SIGKILL)
    rest = (await process.stdout.read()).decode().splitlines()
    await process.wait()
    store = Store(tmp_path / "db", MIGRATIONS)
    await store.open()
    kept = set(await store.read(names))
    await store.close()
    assert set(acknowledged) | set(rest[:-1]) <= kept
