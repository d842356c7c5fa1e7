"""Servers of one cached account on a Unix socket: the floor (line JSON) and a kit service; and who asks them."""

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import uvloop

from services.kit import daemon, log
from services.kit.cache import Cache
from services.kit.clock import SystemClock
from services.kit.http import BASE, Call, Endpoint
from services.kit.metrics import Metrics
from services.tron.api import Account

ADDRESS = "TJCnKsPa7y5okkXvQAidZBzqx3QyQ6sxMW"
TTL_S = 3.0


def account() -> Account:
    """An account as an endpoint would show it."""
    return Account(
        address=ADDRESS,
        activated=True,
        balance_sun=12_480_100_000,
        bandwidth_free=331,
        bandwidth_staked=4_200,
        energy=65_000,
        endpoint="127.0.0.1:9090",
        read_at=datetime.now(UTC),
    )


class _LineJson(asyncio.Protocol):
    """The floor: a line of JSON in, a line of JSON out, from a dict, with nothing around it."""

    transport: asyncio.Transport

    def __init__(self, accounts: dict[str, Account]) -> None:
        self._accounts = accounts
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            found = self._accounts[json.loads(line)["address"]]
            self.transport.write(found.model_dump_json().encode() + b"\n")


async def _floor(path: str) -> None:
    accounts = {ADDRESS: account()}
    server = await asyncio.get_running_loop().create_unix_server(lambda: _LineJson(accounts), path)
    await server.serve_forever()


def _kit(path: str) -> int:
    log.configure("bench", "warning")
    metrics = Metrics("bench")
    cache = Cache(SystemClock(), metrics)

    async def load() -> Account:
        return account()

    async def get_account(call: Call) -> Account:
        return (await cache.get(call.path["address"], TTL_S, load)).value

    row = Endpoint("GET", f"{BASE}/network/account/{{address}}", get_account, response=Account, summary="An account")
    service = daemon.Service("bench", "One account.", "0", [row], metrics)
    return daemon.main((service, Path(path)))


class _Asker(asyncio.Protocol):
    """One connection that asks again as soon as it has its answer."""

    def __init__(self, request: bytes, left: list[int], done: asyncio.Event, http: bool) -> None:
        self._request = request
        self._left = left
        self._done = done
        self._http = http
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not (self._answer.endswith(b"}") if self._http else self._answer.endswith(b"\n")):
            return
        if self._http and not self._answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(self._answer.decode())
        self._answer = b""
        self._left[0] -= 1
        if self._left[0] > 0:
            self._transport.write(self._request)
        else:
            self._done.set()


async def ask(path: str, request: bytes, requests: int, connections: int) -> None:
    """Send `requests` over so many connections at once."""
    done = asyncio.Event()
    left = [requests]
    http = request.startswith(b"GET")
    loop = asyncio.get_running_loop()
    transports = [
        (await loop.create_unix_connection(lambda: _Asker(request, left, done, http), path))[0]
        for _ in range(connections)
    ]
    await done.wait()
    for transport in transports:
        transport.close()


def http_request(address: str = ADDRESS) -> bytes:
    """The request of a cached account, with the correlation id that our clients send."""
    head = f"GET {BASE}/network/account/{address} HTTP/1.1\r\nHost: tron\r\nX-Correlation-ID: 5f1c0a9be37d42c8\r\n\r\n"
    return head.encode()


LINE_REQUEST = json.dumps({"address": ADDRESS}).encode() + b"\n"


if __name__ == "__main__":
    kind, socket_path = sys.argv[1:]
    if kind == "floor":
        uvloop.run(_floor(socket_path))
    else:
        sys.exit(_kit(socket_path))
