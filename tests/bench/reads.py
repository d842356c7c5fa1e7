"""Cached reads: CPU of a request beside a raw asyncio server that answers lines of JSON."""

import tempfile
from pathlib import Path

import uvloop

from tests.bench.accounts import ADDRESS, LINE_REQUEST, ask, http_request
from tests.bench.measure import Row, child, cpu_s, interleaved, until

REQUESTS = 8_000
RUNS = 7


def _per_request(pid: int, path: Path, request: bytes, connections: int) -> float:
    """CPU of the server in microseconds a request."""
    before = cpu_s(pid)
    uvloop.run(ask(str(path), request, REQUESTS, connections))
    return (cpu_s(pid) - before) / REQUESTS * 1e6


def run() -> list[Row]:
    """Measure with one connection and with fifty."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        floor, kit = Path(folder, "floor.sock"), Path(folder, "kit", "kit.sock")
        with (
            child("tests.bench.accounts", "floor", str(floor)) as a,
            child("tests.bench.accounts", "kit", str(kit)) as b,
        ):
            until(lambda: floor.is_socket() and kit.is_socket())
            for connections in (1, 50):
                cpu = interleaved(
                    RUNS,
                    floor=lambda n=connections: _per_request(a.pid, floor, LINE_REQUEST, n),  # type: ignore[misc]
                    kit=lambda n=connections: _per_request(b.pid, kit, http_request(ADDRESS), n),  # type: ignore[misc]
                )
                rows += [
                    Row(f"line JSON, CPU a request, {connections} at once", cpu["floor"], "µs"),
                    Row(f"cached account, CPU a request, {connections} at once", cpu["kit"], "µs"),
                    Row(
                        f"cached account ÷ line JSON, {connections} at once", cpu["kit"] / cpu["floor"], "×", at_most=3
                    ),
                ]
    return rows
