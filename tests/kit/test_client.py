"""The client: every failure of the other side is one of our errors."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from pydantic import SecretStr

from services.kit import daemon
from services.kit.client import Client
from services.kit.errors import Conflict, LucidError, NotFound, Timeout, Unavailable, UpstreamError, from_problem
from services.kit.models import Live, Request

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[object, object, None]]


def answering(content: bytes) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(content)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    return answer


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (answering(b""), Unavailable, "broke"),
        (answering(b"nonsense\r\n\r\n"), Unavailable, "broke"),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ncut"), Unavailable, "broke"),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"), UpstreamError, "does not understand"),
        (answering(b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{"status":"sad"}'), UpstreamError, "same version"),
        (answering(b"HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\nhtml"), NotFound, "404"),
        (answering(b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n[]"), LucidError, "500"),
        (
            answering(b"HTTP/1.1 302 No\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n"),
            UpstreamError,
            "302",
        ),
        (hang, Timeout, "within 0.2 s"),
    ],
)
async def test_every_failure_is_one_of_our_errors(
    tmp_path: Path, answer: Answer, error: type[LucidError], words: str
) -> None:
    path = tmp_path / "s.sock"
    handlers: list[asyncio.Task[None]] = []

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(asyncio.ensure_future(answer(reader, writer)))

    server = await asyncio.start_unix_server(connected, path)
    async with Client(path, "neighbour", timeout_s=0.2) as client:
        with pytest.raises(error, match=words):
            await client.request("GET", "/health/live", Live)
    await asyncio.gather(*handlers)
    server.close()
    await server.wait_closed()


async def test_a_daemon_that_does_not_run_is_said_to(tmp_path: Path) -> None:
    async with Client(tmp_path / "none.sock", "wallet") as client:
        with pytest.raises(Unavailable, match="wallet does not run"):
            await client.health()


async def test_a_secret_is_written_for_the_other_side_and_shown_nowhere(tmp_path: Path) -> None:
    received: list[bytes] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"}"))
        await answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")(_fed(b"\r\n\r\n"), writer)

    class Unlock(Request):
        passphrase: SecretStr

    body = Unlock(passphrase=SecretStr("swordfish"))
    server = await asyncio.start_unix_server(keep, tmp_path / "s.sock")
    async with Client(tmp_path / "s.sock", "wallet") as client:
        await client.request("POST", "/x", Live, body=body)
    server.close()
    assert b'{"passphrase":"swordfish"}' in received[0]
    assert "swordfish" not in repr(body)


def _fed(content: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(content)
    return reader


async def test_quiet_connection_is_closed_by_the_client_and_not_under_its_hands(tmp_path: Path) -> None:
    """Else a request may leave through a connection that the daemon is closing, and its fate is unknown."""
    async with Client(tmp_path / "s.sock", "little") as client:
        connector = client._open().connector
        assert connector is not None
        assert connector._keepalive_timeout is not None
        assert connector._keepalive_timeout < daemon.KEEP_ALIVE_S


@pytest.mark.parametrize("extra", [{"self": 1}, {"message": 1, "field": 2}, {"cls": 3}, {"fields": {"a": 1}}])
def test_whatever_a_problem_carries_is_an_error_of_ours(extra: dict[str, object]) -> None:
    found = from_problem(409, {"detail": "taken", **extra})
    assert (type(found), found.message) == (Conflict, "taken")
