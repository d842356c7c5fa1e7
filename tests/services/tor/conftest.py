"""The Tor service on a real socket: before a real private Tor network, or a literal peer that speaks tor's lines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from services.kit import daemon
from services.kit.errors import LucidError
from services.tor.__main__ import build
from services.tor.api import TorState, TorStatus
from services.tor.client import TorClient
from services.tor.lab import Lab
from services.tor.settings import TorSettings

Reply = str | bytes | Callable[[str], Awaitable[str | bytes]]


class Peer:
    """Something that listens where tor's control port should be, and says what a test tells it to."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.info: dict[str, str] = {
            "version": "0.4.9.11",
            "process/pid": "4242",
            "status/bootstrap-phase": 'NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done"',
            "status/circuit-established": "1",
            "network-liveness": "up",
            "entry-guards": f"${'A' * 40}~alice up\n${'B' * 40}~bob never-connected",
            "traffic/read": "1000",
            "traffic/written": "500",
            "uptime": "60",
            "circuit-status": "",
            "stream-status": "",
            "onions/detached": "",
        }
        self.options: dict[str, str] = {"DisableNetwork": "0", "ClientRejectInternalAddresses": "1"}
        self.protocolinfo = '250-PROTOCOLINFO 1\r\n250-AUTH METHODS=NULL\r\n250-VERSION Tor="0.4.9.11"\r\n250 OK\r\n'
        self.replies: dict[str, str] = {}
        """First word of a command → what is answered instead of the usual; "" means silence."""
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.close()
        if self._server is not None:
            await self._server.wait_closed()
        await asyncio.sleep(0)

    def tell(self, event: str) -> None:
        """Send an event to everybody."""
        for writer in self._writers:
            writer.write(f"650 {event}\r\n".encode())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError):
            while line := (await reader.readline()).decode().strip():
                self.commands.append(line)
                writer.write(self._answer(line).encode())
        self._writers.discard(writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def _answer(self, line: str) -> str:
        verb, *args = line.split(" ")
        if verb in self.replies:
            return self.replies[verb]
        if verb == "PROTOCOLINFO":
            return self.protocolinfo
        if verb == "GETINFO":
            if unknown := [key for key in args if key not in self.info]:
                return f'552 Unrecognized key "{unknown[0]}"\r\n'
            return "".join(self._value(key) for key in args) + "250 OK\r\n"
        if verb == "GETCONF":
            lines = [f"{name}={self.options.get(name, '')}" for name in args]
            return "".join(f"250-{each}\r\n" for each in lines[:-1]) + f"250 {lines[-1]}\r\n"
        return "250 OK\r\n"

    def _value(self, key: str) -> str:
        value = self.info[key]
        if "\n" not in value:
            return f"250-{key}={value}\r\n"
        body = "".join(f"{each}\r\n" for each in value.split("\n"))
        return f"250+{key}=\r\n{body}.\r\n"


@pytest_asyncio.fixture
async def peer() -> AsyncIterator[Peer]:
    """A tor that is made of lines."""
    peer = Peer()
    await peer.listen()
    yield peer
    await peer.close()


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path: sockets have to fit in it."""
    path = Path(tempfile.mkdtemp(prefix="lt-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


class Running:
    """A Tor service, and a client of it."""

    def __init__(self, client: TorClient, settings: TorSettings) -> None:
        self.client = client
        self.settings = settings

    async def until(self, *states: TorState, timeout_s: float = 40.0) -> TorStatus:
        """Wait for a state; fails with what it was instead."""
        status = await self.client.tor()
        try:
            async with asyncio.timeout(timeout_s):
                while status.state not in states:
                    await asyncio.sleep(0.05)
                    status = await self.client.tor()
        except TimeoutError:
            pytest.fail(f"waited for {states}, it is {status.state}: {status.detail}")
        return status

    async def eventually(self, true: Callable[[], Awaitable[Any]], timeout_s: float = 20.0) -> Any:
        """Wait until something is true, and return it."""
        result = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not result:
                    with contextlib.suppress(LucidError):
                        result = await true()
                    await asyncio.sleep(0.02)
        assert result, "it never came true"
        return result


@contextlib.asynccontextmanager
async def running(home: Path, **values: Any) -> AsyncIterator[Running]:
    """Serve the Tor service, in this process."""
    defaults: dict[str, Any] = {
        "lucid_home": home,
        "tron_network": "devnet",
        "tor_health_check_interval": 0.3,
        "tor_connection_retry_delay_ms": 50,
        "tor_connection_max_retry_delay_ms": 200,
    }
    settings = TorSettings(**{**defaults, **values})
    path = settings.socket("tor")
    async with daemon.serving(build(settings), path), TorClient(path) as client:
        yield Running(client, settings)


@pytest.fixture
def start() -> Callable[..., contextlib.AbstractAsyncContextManager[Running]]:
    """Serve the Tor service with settings of a test's own."""
    return running


@pytest.fixture
def start_at(home: Path) -> Callable[..., contextlib.AbstractAsyncContextManager[Running]]:
    """Serve the Tor service in front of a peer on a port."""

    def serve(port: int, **values: Any) -> contextlib.AbstractAsyncContextManager[Running]:
        return running(home, tor_proxy_host="127.0.0.1", tor_proxy_control_port=port, **values)

    return serve


@pytest.fixture
def key_to(peer: Any, tmp_path: Path) -> dict[str, Path]:
    """A password that the peer asks for, as settings: to one that asks for none no key of an onion is given."""
    peer.protocolinfo = "250-AUTH METHODS=HASHEDPASSWORD\r\n250 OK\r\n"
    (tmp_path / "password").write_text("sesame")
    return {"tor_control_password_file": tmp_path / "password"}


class Target:
    """A program that takes connections and says hello for every line that it gets."""

    def __init__(self) -> None:
        self.port = 0
        self.taken = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        if self._server is not None:
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        self._writers.add(writer)
        with contextlib.suppress(OSError):
            while await reader.readline():
                writer.write(b"hello\n")
        self._writers.discard(writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class Door:
    """A SOCKS port that is made of bytes: it answers each user as a test tells it to."""

    def __init__(self) -> None:
        self.path = Path()
        self.users: list[str] = []
        """Whoever asked, in order."""
        self.reply: Callable[[str], int] = lambda _user: 0
        """The code that a user gets (RFC 1928, 6)."""
        self.delay_s = 0.0
        self._talks: set[asyncio.Task[None]] = set()

    def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._talks.add(asyncio.create_task(self._talk(reader, writer)))

    async def close(self) -> None:
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, EOFError):
            await reader.readexactly(3)
            writer.write(b"\x05\x02")
            _, length = await reader.readexactly(2)
            user = (await reader.readexactly(length)).decode()
            await reader.readexactly((await reader.readexactly(1))[0])
            writer.write(b"\x01\x00")
            await reader.read(300)
            self.users.append(user)
            await asyncio.sleep(self.delay_s)
            writer.write(bytes((5, self.reply(user), 0, 1)) + bytes(6))
            await reader.read()


@pytest_asyncio.fixture
async def door(home: Path) -> AsyncIterator[Door]:
    """A SOCKS port that opens every door, unless told otherwise."""
    door = Door()
    door.path = home / "socks"
    server = await asyncio.start_unix_server(door.take, door.path)
    yield door
    server.close()
    await door.close()
    await server.wait_closed()
    await asyncio.sleep(0)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def net() -> AsyncIterator[Lab]:
    """A real private Tor network that came up cold, was stopped, and came up warm.

    There is one for all tests of this directory that take it; they run in the session's loop.
    """
    available = Lab.available()
    if not available:
        pytest.fail(available.message)
    directory = Path(tempfile.mkdtemp(prefix="lt-net-"))
    try:
        lab = Lab(directory / "with space", client_options=["HTTPTunnelPort 127.0.0.1:auto"])
        async with lab:
            cold = lab.status()
        async with lab:
            warm = lab.status()
            print(f"\nlab: cold start {cold.start_s} s, warm start {warm.start_s} s")
            assert (cold.start, warm.start) == ("cold", "warm")
            yield lab
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest_asyncio.fixture(loop_scope="session")
async def target() -> AsyncIterator[Target]:
    """What lies behind the exits."""
    target = Target()
    await target.listen()
    yield target
    await target.close()


@pytest_asyncio.fixture(loop_scope="session")
async def node(home: Path, net: Lab, target: Target) -> AsyncIterator[Running]:
    """The Tor service in front of the real network, with a round trip behind it."""
    async with running(home, **through(net, target)) as service:
        await service.until(TorState.OK)

        async def probed() -> bool:
            return (await service.client.tor()).probe is not None

        await service.eventually(probed)
        yield service


def through(net: Lab, target: Target) -> dict[str, Any]:
    """Settings that lead to the real network."""
    return {
        "tor_control_socket": net.client.control_path,
        "tor_socks_socket": net.client.socks_path,
        "tor_probe_target": f"127.0.0.1:{target.port}",
        "tor_connectivity_timeout": 10.0,
    }


@pytest_asyncio.fixture(loop_scope="session")
async def lead(net: Lab, target: Target) -> dict[str, Any]:
    """Settings that lead to the real network, with a program behind its exits."""
    return through(net, target)


@pytest.fixture
def tor_program() -> str:
    """Where tor is."""
    found = shutil.which("tor", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))
    if found is None:
        pytest.fail("tor is missing: apt-get install -y tor")
    return found
