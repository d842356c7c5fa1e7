"""Start-up of the daemons and the memory of the node, beside the same daemons built with FastAPI and httpx."""

import contextlib
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.baseline import NAMES
from tests.bench.measure import Row, child, interleaved, pss_kib, until
from tests.bench.node import running

RUNS = 5
SETTLE_S = 2.0


def _answers(path: Path) -> bool:
    """Whether a daemon answers on its socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(path))
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False


@contextlib.contextmanager
def _daemons(kind: str) -> Iterator[tuple[float, list[int]]]:
    """Start the three daemons of a kind at once; yields seconds until all have answered, and their pids."""
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lucid-bench-")))
        env = {"LUCID_HOME": str(home), "TRON_NETWORK": "devnet", "TRON_HTTP_ENDPOINT": "http://127.0.0.1:1"}
        paths = [
            home / f"{name}.sock" if kind == "baseline" else home / "run" / name / f"{name}.sock" for name in NAMES
        ]
        started = time.perf_counter()
        processes = [
            stack.enter_context(
                child("tests.bench.baseline", name, str(path), env=env)
                if kind == "baseline"
                else child(f"services.{name}", env=env)
            )
            for name, path in zip(NAMES, paths, strict=True)
        ]
        for path in paths:
            until(lambda path=path: _answers(path))  # type: ignore[misc]
        yield time.perf_counter() - started, [process.pid for process in processes]


def _start(kind: str) -> Callable[[], float]:
    def once() -> float:
        with _daemons(kind) as (took_s, _):
            return took_s

    return once


def _memory(kind: str) -> Callable[[], float]:
    def once() -> float:
        with _daemons(kind) as (_, pids):
            time.sleep(SETTLE_S)
            return sum(pss_kib(pid) for pid in pids) / 1024

    return once


def run() -> list[Row]:
    """Measure three daemons of each kind, then the whole node as `lucid-tron up` starts it."""
    took = interleaved(RUNS, ours=_start("ours"), baseline=_start("baseline"))
    memory = interleaved(3, ours=_memory("ours"), baseline=_memory("baseline"))
    started = time.perf_counter()
    with running() as node:
        up_s = time.perf_counter() - started
        time.sleep(SETTLE_S)
        parts = {name: pss_kib(pid) / 1024 for name, pid in node.pids().items()}
    return [
        Row("wallet, tron and payout until all answer", took["ours"], "s"),
        Row("FastAPI + httpx + aiosqlite, until all answer", took["baseline"], "s"),
        Row("start-up ÷ FastAPI build", took["ours"] / took["baseline"], "×", at_most=1),
        Row("PSS of the three daemons", memory["ours"], "MiB"),
        Row("PSS of the FastAPI build", memory["baseline"], "MiB"),
        Row("PSS ÷ FastAPI build", memory["ours"] / memory["baseline"], "×", at_most=0.70),
        Row("`lucid-tron up --detach` on a new home, all ready", up_s, "s"),
        *(Row(f"PSS of {name} beside the others", value, "MiB") for name, value in parts.items()),
    ]
