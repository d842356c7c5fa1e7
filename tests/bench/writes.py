"""Durable writes: the kit's group commit with fifty writers, beside one by one, and beside aiosqlite."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiosqlite
import uvloop

from services.kit.store import Store
from tests.bench.measure import Row, interleaved

_TABLE = "CREATE TABLE row (id INTEGER PRIMARY KEY, txid TEXT NOT NULL, amount_sun INTEGER NOT NULL) STRICT"
_INSERT = "INSERT INTO row (txid, amount_sun) VALUES (?, ?)"
_ROW = ("5f1c0a9be37d42c8" * 4, 12_500_000)
RUNS = 5

Write = Callable[[], Awaitable[Any]]


async def _rate(write: Write, writes: int, writers: int) -> float:
    """Durable writes a second."""

    async def writer(count: int) -> None:
        for _ in range(count):
            await write()

    started = time.perf_counter()
    await asyncio.gather(*(writer(writes // writers) for _ in range(writers)))
    return writes / (time.perf_counter() - started)


async def _ours(path: Path, writes: int, writers: int) -> float:
    store = Store(path, [_TABLE])
    await store.open()
    try:
        return await _rate(lambda: store.write(lambda connection: connection.execute(_INSERT, _ROW)), writes, writers)
    finally:
        await store.close()


async def _aiosqlite(path: Path, writes: int, writers: int) -> float:
    async with aiosqlite.connect(path) as connection:
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.execute("PRAGMA synchronous = FULL")
        await connection.execute(_TABLE)
        await connection.commit()
        lock = asyncio.Lock()

        async def write() -> None:
            async with lock:
                await connection.execute(_INSERT, _ROW)
                await connection.commit()

        return await _rate(write, writes, writers)


def run() -> list[Row]:
    """Measure in the system's temporary directory; what a flush costs there decides the absolute figures."""

    def fresh(kind: Callable[[Path, int, int], Any], writes: int, writers: int) -> Callable[[], float]:
        def once() -> float:
            with tempfile.TemporaryDirectory() as folder:
                return float(uvloop.run(kind(Path(folder, "bench.db"), writes, writers)))

        return once

    rate = interleaved(
        RUNS,
        group=fresh(_ours, 20_000, 50),
        single=fresh(_ours, 1_000, 1),
        others=fresh(_aiosqlite, 1_000, 1),
        others_50=fresh(_aiosqlite, 1_000, 50),
    )
    return [
        Row("group commit, 50 writers", rate["group"], "/s"),
        Row("one by one", rate["single"], "/s"),
        Row("aiosqlite, one by one", rate["others"], "/s"),
        Row("aiosqlite behind a lock, 50 writers", rate["others_50"], "/s"),
        Row("50 writers ÷ one by one", rate["group"] / rate["single"], "×", at_least=15),
        Row("50 writers ÷ aiosqlite one by one", rate["group"] / rate["others"], "×", at_least=15),
    ]
