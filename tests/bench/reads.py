"""Cached reads: CPU of a request beside a raw asyncio server that answers lines of JSON."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import uvloop

from tests.bench import node
from tests.bench.accounts import LINE_REQUEST, ask, http_request
from tests.bench.measure import Row, child, cpu_s, interleaved, until

REQUESTS = 8_000
RUNS = 7
BLOCK_MS = 3_000
"""As on a real network: each block empties the TRON client's cache of accounts."""


def _per_request(pid: int, path: Path, request: bytes, connections: int) -> Callable[[], float]:
    """CPU of the server in microseconds a request."""

    def once() -> float:
        before = cpu_s(pid)
        uvloop.run(ask(str(path), request, REQUESTS, connections))
        return (cpu_s(pid) - before) / REQUESTS * 1e6

    return once


def run() -> list[Row]:
    """Measure with one connection and with fifty."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, node.running(BLOCK_MS) as real:
        floor, kit = Path(folder, "floor.sock"), Path(folder, "kit", "kit.sock")
        tron, tron_pid = real.socket("tron"), real.pids()["tron"]
        with (
            child("tests.bench.accounts", "floor", str(floor)) as a,
            child("tests.bench.accounts", "kit", str(kit)) as b,
        ):
            until(lambda: floor.is_socket() and kit.is_socket())
            for connections in (1, 50):
                cpu = interleaved(
                    RUNS,
                    floor=_per_request(a.pid, floor, LINE_REQUEST, connections),
                    kit=_per_request(b.pid, kit, http_request(), connections),
                    tron=_per_request(tron_pid, tron, http_request(), connections),
                )
                suffix = f"{connections} at once"
                rows += [
                    Row(f"line JSON, CPU a request, {suffix}", cpu["floor"], "µs"),
                    Row(f"a kit service with the same model, {suffix}", cpu["kit"], "µs"),
                    Row(f"the TRON client, cached account, {suffix}", cpu["tron"], "µs"),
                    Row(f"kit service ÷ line JSON, {suffix}", cpu["kit"] / cpu["floor"], "×", at_most=3),
                    Row(f"TRON client ÷ line JSON, {suffix}", cpu["tron"] / cpu["floor"], "×", at_most=3),
                ]
    return rows
