"""Answers made to hurt: none takes more memory or time than a call may have, and none keeps a process from stopping."""

import asyncio
import contextlib
import gzip
import os
import resource
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.kit.egress import Call, EgressError, Fault

ONION = "http://lucidlucidlucidlucidlucidlucidlucidlucidlucidlucidlucid2.onion"
BASE = "https://api.example.org"
LIMIT = 100_000

Get = Callable[..., Call]


@pytest.fixture
async def speak(tor: Any) -> AsyncIterator[Callable[[Callable[[], Iterator[bytes]]], Awaitable[None]]]:
    """Let the onion service answer every request with these bytes, one piece after the other."""
    servers: list[asyncio.Server] = []

    async def start(pieces: Callable[[], Iterator[bytes]]) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                for piece in pieces():
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
            writer.close()

        servers.append(await asyncio.start_server(serve, "127.0.0.1", 0))
        tor.targets[ONION.removeprefix("http://")] = servers[-1].sockets[0].getsockname()[1]

    yield start
    for server in servers:
        server.close()


def forever(head: bytes, piece: bytes) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        yield head
        while True:
            yield piece

    return pieces


@pytest.mark.parametrize(
    "pieces",
    [
        forever(b"HTTP/1.1 200 OK\r\n", b"X-Header: " + b"a" * 4000 + b"\r\n"),
        forever(b"HTTP/1.1 200 OK\r\nX-Header: ", b"a" * 65_536),
        forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        forever(b"", b"a" * 65_536),
        forever(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 1000),
        forever(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"a" * 65_536),
        forever(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n", b"a" * 65_536),
    ],
    ids=["headers", "one header", "100 Continue", "no HTTP", "small chunks", "a chunk's extension", "a long body"],
)
async def test_an_answer_without_end_ends(egress: Any, speak: Any, get: Get, pieces: Any) -> None:
    await speak(pieces)
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(EgressError) as caught:
        await egress.way("broadcast", ONION).once(get(timeout_s=1.0))
    assert caught.value.sent
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 50 * 1024


async def test_what_is_compressed_is_not_unpacked(egress: Any, speak: Any, get: Get) -> None:
    packed = gzip.compress(bytes(50_000_000))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    await speak(lambda: iter([head + packed]))
    answer = await egress.way("read", ONION).read(get())
    assert answer.content == packed


async def test_interim_answers_and_chunks_are_read_as_one_answer(egress: Any, speak: Any, get: Get) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    said = interim + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
    await speak(lambda: iter(bytes([byte]) for byte in said))
    assert (await egress.way("read", ONION).read(get())).content == b"hello"


@pytest.mark.parametrize("cut", [1, 20, 45, 60, 63])
async def test_an_answer_that_is_cut_is_no_answer(egress: Any, speak: Any, get: Get, cut: int) -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: x\r\n\r\n0123456789"
    await speak(lambda: iter([said[:cut]]))
    with pytest.raises(EgressError) as caught:
        await egress.way("broadcast", ONION).once(get())
    assert (caught.value.reason, caught.value.sent) == (Fault.BROKEN, True)


async def test_an_answer_that_drips_is_over_in_time(egress: Any, speak: Any, tor: Any, get: Get) -> None:
    way = egress.way("broadcast", ONION)

    def drip() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        tor.stalled.add(f"{way.name}.1")
        yield b"a"

    await speak(drip)
    with pytest.raises(EgressError) as caught:
        await way.once(get(timeout_s=0.2))
    assert (caught.value.reason, caught.value.sent) == (Fault.TIMEOUT, True)


async def test_a_dead_tls_connection_does_not_hold_up_a_stop(
    make_egress: Any, tor: Any, serve: Any, get: Get, authority: Any
) -> None:
    from aiohttp import web

    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    await serve(hello, "api.example.org", authority.server("api.example.org"))
    egress = make_egress(tls=authority.client())
    way = egress.way("read", BASE)
    await way.read(get(base=BASE))
    tor.stalled.add(f"{way.name}.1")
    began = time.monotonic()
    await egress.close()
    assert time.monotonic() - began < 1


def unix_sockets() -> int:
    """Connected Unix sockets of this process; of the way out and of the SOCKS port, as nobody else here has any."""
    count = 0
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(OSError):
            if Path("/proc/self/fd", name).readlink().name.startswith("socket:"):
                with socket.socket(fileno=os.dup(int(name))) as opened:
                    count += opened.family == socket.AF_UNIX and bool(opened.getsockname() or opened.getpeername())
    return count


async def test_nothing_is_left_open(make_egress: Any, tor: Any, serve: Any, get: Get, authority: Any) -> None:
    from aiohttp import web

    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    await serve(hello)
    half_open = await asyncio.start_server(silent, "127.0.0.1", 0)
    tor.targets["api.example.org"] = half_open.sockets[0].getsockname()[1]
    before, tasks = unix_sockets(), len(asyncio.all_tasks())
    egress = make_egress(max_latency_s=0.05)
    read, send = egress.way("read", ONION), egress.way("broadcast", BASE)
    tor.stalled |= {f"{read.name}.1", f"{read.name}.2"}
    calls = [read.read(get()) for _ in range(20)] + [send.once(get(base=BASE, timeout_s=0.3)) for _ in range(20)]
    under_way = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(0.1)
    for each in under_way[::3]:
        each.cancel()
    await asyncio.gather(*under_way, return_exceptions=True)
    await egress.rotate(read.name)
    await egress.close()
    tor.stalled.clear()
    half_open.close()
    async with asyncio.timeout(5):
        while unix_sockets() > before or len(asyncio.all_tasks()) > tasks:
            await asyncio.sleep(0.01)
