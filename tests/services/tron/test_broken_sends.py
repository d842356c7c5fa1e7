"""A send that breaks at any byte of the exchange: whatever a node may have heard of it is never called refused."""

import asyncio
import contextlib
import itertools
import socket
import ssl
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from services.kit.clock import SystemClock
from services.kit.egress import Egress, EgressPolicy, Mode, SocksPort
from services.kit.metrics import Metrics
from services.tron.node import HttpNode, Kind, NodeError

# The nodes of these tests are left in the middle of TLS handshakes, and go with their loop.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ONION = "http://lucidlucidlucidlucidlucidlucidlucidlucidlucidlucidlucid2.onion"
HTTPS = "https://api.example.org"
BODY = {"transaction": "0a02"}
NOTHING_SENT = {Kind.REFUSED, Kind.NO_WAY_OUT}
ALL = -1
"""A break that never comes."""
AT_ONCE = 40
"""Cases under way at a time."""


class Fault(NamedTuple):
    """What goes wrong, and after how many bytes of one direction, the SOCKS handshake included."""

    side: str
    """`up`: from us to the node; `down`: from the node to us."""
    how: str
    """`end`: both sides are closed; `reset`: with a TCP reset to us; `stall`: no byte moves any more;
    `garble`: the next byte is another one."""
    after: int


WELL = Fault("up", "end", ALL)


class Broken(Exception):
    """The break has come."""


@dataclass
class Path5:
    """One SOCKS port, one circuit and one node behind it, with one fault."""

    fault: Fault
    requests_before: int = 0
    """How many requests go well first, on the same connection; the fault counts from then on."""
    node_port: int = 0
    up: int = 0
    down: int = 0
    """Bytes moved since the fault began to count."""
    asked: int = 0
    """Bytes of ours that came after the SOCKS handshake, since the fault began to count."""
    heard: int = 0
    """Bytes of a request that the node read, decrypted, since then."""
    _answered: int = 0
    _connected: bool = False
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    # --- the node ---

    async def node(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while head := await self._hear(reader, b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self._count(len(await reader.readexactly(length)))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n")
                writer.write(b'{"result":true}')
                await writer.drain()
                self._answered += 1
        writer.close()

    async def _hear(self, reader: asyncio.StreamReader, end: bytes) -> bytes:
        """Read on until `end`, and count what came before it as well when it never comes."""
        head = b""
        while not head.endswith(end):
            byte = await reader.read(1)
            if not byte:
                return b""
            self._count(1)
            head += byte
        return head

    def _count(self, length: int) -> None:
        if self._counts:
            self.heard += length

    @property
    def _counts(self) -> bool:
        return self._answered >= self.requests_before

    # --- the SOCKS port ---

    async def socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.append(writer)
        try:
            await self._shake_hands(reader, writer)
            await self._carry(reader, writer)
        except Broken:
            self._cut(writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _break(self) -> None:
        if self.fault.how == "stall":
            await asyncio.sleep(60)
        raise Broken

    def _cut(self, writer: asyncio.StreamWriter) -> None:
        if self.fault.how == "reset":
            opened = writer.get_extra_info("socket")
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def _shake_hands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._take(reader, 3)
        await self._give(writer, b"\x05\x02")
        _, length = await self._take(reader, 2)
        await self._take(reader, length)
        await self._take(reader, (await self._take(reader, 1))[0])
        await self._give(writer, b"\x01\x00")
        await self._take(reader, 4)
        await self._take(reader, (await self._take(reader, 1))[0] + 2)
        await self._give(writer, b"\x05\x00\x00\x01" + bytes(6))

    async def _take(self, reader: asyncio.StreamReader, length: int) -> bytes:
        taken = b""
        for _ in range(length):
            if self.fault.side == "up" and self._counts and self.up == self.fault.after:
                await self._break()
            taken += await reader.readexactly(1)
            self.up += self._counts
        return taken

    async def _give(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        """Write to us what is not beyond the fault."""
        left = self.fault.after - self.down
        self.down += len(data) * self._counts
        if self.fault.side != "down" or not self._counts or not 0 <= left < len(data):
            writer.write(data)
        elif self.fault.how == "garble":
            writer.write(data[:left] + bytes([data[left] ^ 0x55]) + data[left + 1 :])
        else:
            writer.write(data[:left])
            await self._break()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.node_port)

        async def up() -> None:
            while data := await reader.read(65_536):
                self.asked += len(data) * self._counts
                left = self.fault.after - self.up
                self.up += len(data) * self._counts
                if self.fault.side == "up" and self._counts and 0 <= left <= len(data):
                    far_writer.write(data[:left])
                    await far_writer.drain()
                    await asyncio.sleep(0.001)
                    await self._break()
                far_writer.write(data)

        async def down() -> None:
            while data := await far_reader.read(65_536):
                await self._give(writer, data)

        tasks = [asyncio.create_task(up()), asyncio.create_task(down())]
        try:
            for done in asyncio.as_completed(tasks):
                await done
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            far_writer.transport.abort()

    async def stop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Case(NamedTuple):
    """How one send went."""

    fault: Fault
    kind: Kind | None
    """None: it was answered."""
    path: Path5


@dataclass
class Bench:
    """Runs sends over broken paths."""

    directory: Path
    server_tls: ssl.SSLContext
    client_tls: ssl.SSLContext
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def run(self, fault: Fault, url: str = ONION, requests_before: int = 0) -> Case:
        """Send once, after some sends that go well."""
        path = Path5(fault, requests_before)
        tls = self.server_tls if url.startswith("https") else None
        far = await asyncio.start_server(path.node, "127.0.0.1", 0, ssl=tls)
        path.node_port = far.sockets[0].getsockname()[1]
        if fault.how == "reset":
            server = await asyncio.start_server(path.socks, "127.0.0.1", 0)
            port = SocksPort(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
        else:
            port = SocksPort(path=self.directory / str(next(self._numbers)))
            server = await asyncio.start_unix_server(path.socks, port.path)
        policy = EgressPolicy(Mode.TOR, port, retries=0, rotation_interval_s=0, log_connections=False)
        egress = Egress(policy, SystemClock(), Metrics("test"), self.client_tls)
        # A changed length makes tor's or TLS's next record wait for more bytes than come.
        timeout_s = 0.3 if fault.how in {"stall", "garble"} else 5.0
        node = HttpNode(url, egress, timeout_s)
        try:
            for _ in range(requests_before):
                await node.post("wallet/broadcasthex", BODY)
            await node.post("wallet/broadcasthex", BODY)
            kind = None
        except NodeError as error:
            kind = error.kind
        finally:
            await egress.close()
            server.close()
            await path.stop()
            far.close()
        return Case(fault, kind, path)

    async def run_all(self, faults: Iterable[Fault], url: str = ONION, requests_before: int = 0) -> list[Case]:
        """The same for many, several at once."""
        room = asyncio.Semaphore(AT_ONCE)

        async def one(fault: Fault) -> Case:
            async with room:
                return await self.run(fault, url, requests_before)

        cases = await asyncio.gather(*(one(fault) for fault in faults))
        await asyncio.sleep(0.1)  # nodes that were left in a TLS handshake notice, and close
        return list(cases)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "api.example.org")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("api.example.org")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "pem").write_bytes(pem + certificate)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "pem")
    return Bench(tmp_path, server, ssl.create_default_context(cadata=certificate.decode()))


async def break_everywhere(
    bench: Bench, url: str, side: str, how: str, *, before: int = 0, every: int = 1
) -> list[Case]:
    """Break an exchange after every byte of one side, as far as it goes when all is well, and hold the law."""
    well = (await bench.run(WELL, url, before)).path
    last = well.up if side == "up" else well.down
    cases = await bench.run_all([Fault(side, how, after) for after in range(0, last + 1, every)], url, before)
    for fault, kind, path in cases:
        if path.heard or (path.asked and url == ONION):
            assert kind not in NOTHING_SENT, f"{fault}: the node heard {path.heard} bytes, and it is called {kind}"
    return cases


SIDES_AND_WAYS = [("up", "end"), ("up", "reset"), ("down", "end"), ("down", "reset"), ("down", "garble")]


@pytest.mark.parametrize("before", [0, 1], ids=["new connection", "kept connection"])
@pytest.mark.parametrize(("side", "how"), [*SIDES_AND_WAYS, ("up", "stall"), ("down", "stall")])
def test_in_the_clear_to_an_onion_service(bench: Bench, side: str, how: str, before: int) -> None:
    cases = asyncio.run(break_everywhere(bench, ONION, side, how, before=before))
    assert any(kind is not None for _, kind, _ in cases)
    if how in {"end", "reset"} and not before:
        silent = [kind for _, kind, path in cases if kind is not None and not path.asked]
        assert set(silent) <= NOTHING_SENT, "before the request nobody has to wonder"
        assert Kind.NO_WAY_OUT in silent


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("before", [0, 1], ids=["new connection", "kept connection"])
@pytest.mark.parametrize(("side", "how"), SIDES_AND_WAYS)
def test_under_tls(bench: Bench, side: str, how: str, before: int, every: int) -> None:
    cases = asyncio.run(break_everywhere(bench, HTTPS, side, how, before=before, every=every))
    assert any(kind is not None for _, kind, _ in cases)
