"""The devnet over HTTP: transactions taken with every check, full blocks, memory, file size and start-up.

`BENCH_TRANSACTIONS` says how many transactions the big chain has; by default few enough for a minute.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any

from services.protocol.json import transaction_to_json
from services.protocol.transaction import SignedTransaction
from tests.bench.measure import Row, child, cpu_s, interleaved, pss_kib, until
from tests.bench.transfers import PER_BLOCK, SENDERS, Maker

JAVA_TRON_PER_S = 357
"""What java-tron 4.8.0 took on such a machine, of TRX transfers by `broadcasttransaction`."""

CONNECTIONS = 8
RUNS = 3
SETTLE_S = 2.0

Made = list[SignedTransaction]


@dataclass(frozen=True, slots=True)
class _Rate:
    """How quickly a block full of transactions went."""

    per_s: float
    """Transactions taken a second."""

    per_cpu_s: float
    """The same for each second of the devnet's CPU."""

    block_s: float
    """Seconds that their block took."""


class _Devnet:
    """A running devnet, asked over HTTP."""

    def __init__(self, port: int, pid: int) -> None:
        self.port, self.pid = port, pid

    def ask(self, path: str, body: object) -> Any:
        url = f"http://127.0.0.1:{self.port}{path}"
        headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(asked, timeout=120) as answer:
            return json.load(answer)

    def answers(self) -> bool:
        try:
            return "block" in self.ask("/wallet/getnodeinfo", {})
        except OSError:
            return False

    def head(self) -> tuple[int, bytes, int]:
        """Height, id and time of the head block."""
        block = self.ask("/wallet/getblock", {})
        header = block["block_header"]["raw_data"]
        return header["number"], bytes.fromhex(block["blockID"]), header["timestamp"]

    def mine(self, expected: int) -> float:
        """Seconds that one block takes which is to hold so many transactions."""
        started = time.perf_counter()
        self.ask("/admin/mine", {"blocks": 1})
        took_s = time.perf_counter() - started
        number = self.head()[0]
        found = self.ask("/wallet/gettransactioncountbyblocknum", {"num": number})["count"]
        if found != expected:
            raise RuntimeError(f"{found} of {expected} transactions are in block {number}")
        return took_s


@contextlib.contextmanager
def _running(home: Path) -> Iterator[tuple[_Devnet, float]]:
    """A devnet process on a home while the block runs; yields it and the seconds until its first answer."""
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {"DEVNET_LISTEN": f"127.0.0.1:{port}", "DEVNET_HOME": str(home), "DEVNET_BLOCK_INTERVAL_MS": "0"}
    env["DEVNET_POOL_SIZE"] = str(PER_BLOCK)
    started = time.perf_counter()
    with child("services.devnet", env=env) as process:
        devnet = _Devnet(port, process.pid)
        until(devnet.answers)
        yield devnet, time.perf_counter() - started


def _request(path: str, body: object) -> bytes:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


def _as_json(signed: SignedTransaction) -> bytes:
    return _request("/wallet/broadcasttransaction", transaction_to_json(signed, visible=False))


def _as_hex(signed: SignedTransaction) -> bytes:
    return _request("/wallet/broadcasthex", {"transaction": signed.encode().hex()})


async def _send_all(port: int, requests: list[bytes]) -> None:
    """Send requests over a few kept connections, each waiting for one answer before the next."""
    waiting = iter(requests)

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in waiting:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            answer = await reader.readexactly(length)
            if not json.loads(answer).get("result"):
                raise RuntimeError(f"a transaction was refused: {answer.decode()}")
        writer.close()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))


def _rate(devnet: _Devnet, make: Callable[[], Made], written: Callable[[SignedTransaction], bytes]) -> _Rate:
    """Send a block full of transactions, then have it made."""
    requests = [written(signed) for signed in make()]
    used_s, started = cpu_s(devnet.pid), time.perf_counter()
    asyncio.run(_send_all(devnet.port, requests))
    took_s, used_s = time.perf_counter() - started, cpu_s(devnet.pid) - used_s
    return _Rate(len(requests) / took_s, len(requests) / used_s, devnet.mine(len(requests)))


def _middle(rates: list[_Rate]) -> _Rate:
    return sorted(rates, key=lambda rate: rate.per_s)[len(rates) // 2]


def _taken() -> list[Row]:
    maker = Maker()
    with tempfile.TemporaryDirectory(prefix="lucid-bench-") as folder, _running(Path(folder)) as (devnet, _):

        def trx() -> Made:
            head = devnet.head()
            return [maker.trx(*head) for _ in range(PER_BLOCK)]

        def usdt() -> Made:
            head = devnet.head()
            return [maker.usdt(*head) for _ in range(PER_BLOCK)]

        for address in maker.senders:
            devnet.ask("/admin/faucet", {"address": address, "token": "USDT", "amount": 1_000_000})
        devnet.mine(SENDERS)
        by_json = _middle([_rate(devnet, trx, _as_json) for _ in range(RUNS)])
        by_hex = _middle([_rate(devnet, trx, _as_hex) for _ in range(RUNS)])
        tokens = _middle([_rate(devnet, usdt, _as_json) for _ in range(RUNS)])
    return [
        Row("TRX transfers taken, broadcasttransaction", by_json.per_s, "/s"),
        Row("   for each second of the devnet's CPU", by_json.per_cpu_s, "/s"),
        Row("   ÷ java-tron's on such a machine", by_json.per_s / JAVA_TRON_PER_S, "×", at_least=1),
        Row("TRX transfers taken, broadcasthex", by_hex.per_s, "/s"),
        Row("USDT transfers taken, broadcasttransaction", tokens.per_s, "/s"),
        Row("   ÷ java-tron's TRX transfers", tokens.per_s / JAVA_TRON_PER_S, "×", at_least=1),
        Row(f"a block with {PER_BLOCK:,} TRX transfers", 1000 * by_json.block_s, "ms"),
        Row(f"a block with {PER_BLOCK:,} USDT transfers", 1000 * tokens.block_s, "ms"),
    ]


def _start(home: Path) -> Callable[[], float]:
    def once() -> float:
        with _running(home) as (_, took_s):
            return took_s

    return once


def _new_start() -> float:
    with tempfile.TemporaryDirectory(prefix="lucid-bench-") as folder:
        return _start(Path(folder))()


def _settled(home: Path) -> float:
    """MiB of a devnet that serves a home, when it has been quiet for a while."""
    with _running(home) as (devnet, _):
        time.sleep(SETTLE_S)
        return pss_kib(devnet.pid) / 1024


def _big(number: int) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="lucid-bench-") as folder:
        home, empty = Path(folder, "big"), Path(folder, "empty")
        filled = subprocess.run(
            [sys.executable, "-m", "tests.bench.transfers", str(home), str(number)], stdout=subprocess.PIPE, check=True
        )
        found = json.loads(filled.stdout.splitlines()[-1])
        starts = interleaved(RUNS, big=_start(home), empty=_start(empty), new=_new_start)
        memory = interleaved(1, big=lambda: _settled(home), empty=lambda: _settled(empty))
    words = f"after {number:,} transactions"
    return [
        Row("TRX transfers taken and packed in one process", number / (found["taken_s"] + found["packed_s"]), "/s"),
        Row(f"a full block {words}", 1000 * found["last_block_s"], "ms"),
        Row("   ÷ one at the beginning", found["last_block_s"] / found["first_block_s"], "×", at_most=1.5),
        Row(f"PSS of the process that made them, {words}", found["ended_kib"] / 1024, "MiB"),
        Row("   of that since its beginning", (found["ended_kib"] - found["began_kib"]) / 1024, "MiB"),
        Row("file on disk for each transaction", found["bytes"] / number, "B"),
        Row(f"PSS of a devnet started {words}", memory["big"], "MiB"),
        Row("   ÷ with an empty chain", memory["big"] / memory["empty"], "×", at_most=1.2),
        Row("start-up until the first answer, new home", starts["new"], "s"),
        Row("start-up, empty chain", starts["empty"], "s"),
        Row(f"start-up {words}", starts["big"], "s"),
        Row("   ÷ with an empty chain", starts["big"] / starts["empty"], "×", at_most=1.2),
    ]


def run() -> list[Row]:
    """The lines of this section."""
    number = int(os.environ.get("BENCH_TRANSACTIONS", "60000"))
    return [*_taken(), *_big(number)]
