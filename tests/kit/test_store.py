"""The store: what was acknowledged is on the disk, units are alone, and commits are shared."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
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


async def test_after_closing_every_call_is_refused_in_words(tmp_path: Path) -> None:
    store = Store(tmp_path / "db", MIGRATIONS)
    await store.open()
    first = asyncio.create_task(store.write(insert("a")))
    await asyncio.sleep(0)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    late = asyncio.create_task(store.write(insert("late")))
    await closing
    assert await first == 1
    for call in (late, store.write(insert("b")), store.read(names)):
        with pytest.raises(Unavailable, match="is closed"):
            await call
    await store.close()


async def test_unit_that_ends_the_transaction_takes_nobody_along_unnoticed(tmp_path: Path) -> None:
    """SQLite's ON CONFLICT ROLLBACK undoes the whole commit: who is not to blame must not be told of a conflict."""
    store = Store(tmp_path / "db", MIGRATIONS)
    await store.open()
    await store.write(insert("a"))

    def roll_back(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR ROLLBACK INTO coin (name) VALUES ('a')")

    results = await asyncio.gather(
        store.write(insert("b")), store.write(roll_back), store.write(insert("c")), return_exceptions=True
    )
    assert [type(result) for result in results] == [Unavailable, sqlite3.IntegrityError, Unavailable]
    assert await store.read(names) == ["a"]
    await store.write(insert("d"))
    await store.close()


async def test_unit_that_commits_by_itself_is_a_defect_that_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path / "db", MIGRATIONS)
    await store.open()
    with pytest.raises(RuntimeError, match="ended the transaction"):
        await store.write(lambda connection: connection.execute("COMMIT"))
    await store.write(insert("b"))
    assert await store.read(names) == ["b"]
    await store.close()


async def test_a_read_sees_one_moment_however_many_statements_it_has(tmp_path: Path) -> None:
    store = Store(tmp_path / "db", MIGRATIONS)
    await store.open()
    await store.write(insert("a"))
    between, go_on = threading.Event(), threading.Event()

    def twice(connection: sqlite3.Connection) -> tuple[list[str], list[str]]:
        first = names(connection)
        between.set()
        assert go_on.wait(10)
        return first, names(connection)

    reading = asyncio.create_task(store.read(twice))
    await asyncio.to_thread(between.wait, 10)
    await store.write(insert("b"))
    go_on.set()
    assert await reading == (["a"], ["a"])
    assert await store.read(names) == ["a", "b"]
    await store.close()


async def test_damaged_file_is_told_as_such(tmp_path: Path) -> None:
    store = Store(tmp_path / "db", MIGRATIONS)
    await store.open()
    await store.write(lambda connection: [insert(f"{number}" * 500)(connection) for number in range(200)] and None)
    await store.close()
    content = bytearray((tmp_path / "db").read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    (tmp_path / "db").write_bytes(content)
    store = Store(tmp_path / "db", MIGRATIONS)
    await store.open()
    with pytest.raises(Unavailable, match="malformed"):
        await store.read(names)
    with pytest.raises(Unavailable, match="malformed"):
        await store.write(insert("x"))
    await store.close()


async def test_two_openings_at_once_share_one_migration(tmp_path: Path) -> None:
    slow = (
        "CREATE TABLE slow AS WITH RECURSIVE n(i) AS"
        " (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200000) SELECT i FROM n"
    )
    for attempt in range(5):
        stores = [Store(tmp_path / f"db{attempt}", [*MIGRATIONS, slow]) for _ in range(4)]
        await asyncio.gather(*(store.open() for store in stores))
        await asyncio.gather(*(store.close() for store in stores))


FULL = """
import asyncio, resource, signal, sys
from services.kit.errors import Unavailable
from services.kit.store import Store

def insert(name):
    return lambda c: c.execute("INSERT INTO coin (name) VALUES (?)", (name,)) and None

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = Store(sys.argv[1], ["CREATE TABLE coin (id INTEGER PRIMARY KEY, name TEXT UNIQUE)"])
    await store.open()
    await store.write(insert("a"))
    import os
    limit = os.stat(sys.argv[1] + "-wal").st_size + 100
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    results = await asyncio.gather(*(store.write(insert(name)) for name in "bcd"), return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results), results
    assert len({id(result) for result in results}) == 3
    names = lambda c: [row[0] for row in c.execute("SELECT name FROM coin ORDER BY id")]
    assert await store.read(names) == ["a"]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await store.write(insert("e"))
    assert await store.read(names) == ["a", "e"]
    await store.close()

asyncio.run(main())
"""


async def test_commit_that_fails_is_told_to_all_and_the_next_one_works(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FULL, str(tmp_path / "db"), stderr=subprocess.PIPE
    )
    _, words = await process.communicate()
    assert process.returncode == 0, words.decode()


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
