"""The SOCKS handshake: every failure has its reason and its words, and ends in time."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from services.kit import socks
from services.kit.socks import Reason, SocksError, SocksPort, User

USER = User("read:example.org.1", "lucid")

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _fails(port: SocksPort, host: str = "example.org", timeout_s: float = 5.0) -> SocksError:
    with pytest.raises(SocksError) as caught:
        (await socks.connect(port, host, 443, USER, timeout_s)).close()
    return caught.value


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        (1, Reason.FAILED, "could not connect"),
        (2, Reason.NOT_ALLOWED, "SafeSocks"),
        (3, Reason.NETWORK_UNREACHABLE, "network"),
        (4, Reason.HOST_UNREACHABLE, "no exit finds its name"),
        (5, Reason.TARGET_REFUSED, "refuses"),
        (6, Reason.EXPIRED, "TTL expired"),
        (7, Reason.UNSUPPORTED, "CONNECT"),
        (8, Reason.UNSUPPORTED, "kind of address"),
        (0xF4, Reason.UNSUPPORTED, "0xf4"),
    ],
)
async def test_every_reply_has_a_reason_and_words(tor: Any, code: int, reason: Reason, words: str) -> None:
    tor.reply["*"] = code
    error = await _fails(SocksPort(path=tor.path))
    assert error.reason is reason
    assert words in error.message
    assert error.message.startswith("example.org") or code >= 7


async def _silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _http(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.0 501 Tor is not an HTTP Proxy\r\n\r\n")


async def _closing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(3)


async def _anonymous(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x05\xff")
    await reader.read()


async def _own_password(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x05\x02\x01\x01")
    await reader.read()


async def _dying(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x05\x02\x01\x00\x05")
    await reader.readexactly(3)


@pytest.mark.parametrize(
    ("behaviour", "reason", "words"),
    [
        (_silent, Reason.SILENT, "says nothing"),
        (_http, Reason.NOT_SOCKS, "no SOCKS port"),
        (_closing, Reason.CLOSED, "hung up"),
        (_dying, Reason.CLOSED, "hung up"),
        (_anonymous, Reason.NO_ISOLATION, "share a circuit"),
        (_own_password, Reason.NO_ISOLATION, "password"),
    ],
)
async def test_what_is_not_tor_is_named(
    tor: Any, monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour, reason: Reason, words: str
) -> None:
    monkeypatch.setattr(socks, "GREETING_TIMEOUT_S", 0.1)
    tor.behaviour = behaviour
    for port in (SocksPort(path=tor.path), SocksPort(host="127.0.0.1", port=tor.tcp_port)):
        error = await _fails(port)
        assert error.reason is reason
        assert error.reason in socks.PROXY_TROUBLE
        assert words in error.message
        assert str(port) in error.message


async def test_nobody_there_is_said(tor: Any) -> None:
    await tor.stop()
    for port in (SocksPort(path=tor.path), SocksPort(host="127.0.0.1", port=tor.tcp_port)):
        error = await _fails(port)
        assert error.reason is Reason.NO_PROXY
        assert "is Tor running?" in error.message
        assert "Connect call" not in error.message


async def test_a_circuit_that_is_never_built_ends_in_time(tor: Any) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x05\x02\x01\x00")
        await reader.read()

    tor.behaviour = never
    error = await _fails(SocksPort(path=tor.path), timeout_s=0.1)
    assert error.reason is Reason.NO_CIRCUIT
    assert error.reason not in socks.PROXY_TROUBLE


async def test_only_a_user_name_is_offered(tor: Any) -> None:
    await _fails(SocksPort(path=tor.path))
    assert tor.methods == [b"\x02"]


@pytest.mark.parametrize(
    ("host", "kind"), [("example.org", 3), ("xyz.onion", 3), ("127.0.0.1", 1), ("::1", 4), ("2001:db8::1", 4)]
)
async def test_a_name_goes_to_the_proxy_as_a_name(tor: Any, host: str, kind: int) -> None:
    await _fails(SocksPort(path=tor.path), host)
    assert (tor.asked[0].kind, tor.asked[0].port, tor.asked[0].user) == (kind, 443, USER.name)


async def test_a_cancelled_handshake_leaves_no_socket_open(tor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tor.behaviour = _silent
    opened: list[socket.socket] = []
    make = socket.socket
    monkeypatch.setattr(socket, "socket", lambda *a: opened.append(make(*a)) or opened[-1])  # type: ignore[func-returns-value]
    task = asyncio.create_task(socks.connect(SocksPort(path=tor.path), "example.org", 443, USER, 5))
    while not opened:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [each.fileno() for each in opened] == [-1]


async def test_the_first_bytes_of_the_target_are_not_swallowed(tor: Any) -> None:
    async def eager(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x05\x02\x01\x00\x05\x00\x00\x03\x04name\x00\x50hello")
        await reader.read()

    tor.behaviour = eager
    opened = await socks.connect(SocksPort(path=tor.path), "example.org", 443, USER, 5)
    assert await asyncio.get_running_loop().sock_recv(opened, 100) == b"hello"
    opened.close()


@pytest.mark.parametrize("user", [User("", "lucid"), User("a", ""), User("a" * 256, "lucid")])
def test_a_user_that_cannot_be_written_is_refused(user: User) -> None:
    with pytest.raises(ValueError, match="1 to 255"):
        user.login()


@pytest.mark.parametrize(
    ("port", "text"),
    [
        (SocksPort(path=Path("/run/tor/socks")), "unix:/run/tor/socks"),
        (SocksPort(host="127.0.0.1", port=9050), "127.0.0.1:9050"),
        (SocksPort(host="::1", port=9050), "[::1]:9050"),
    ],
)
def test_a_port_is_written_for_people(port: SocksPort, text: str) -> None:
    assert str(port) == text
