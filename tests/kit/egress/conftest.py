"""A SOCKS port that does what it is told, servers behind it, and a way out through it."""

import asyncio
import contextlib
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from services.kit.clock import SystemClock
from services.kit.egress import Call, Egress, EgressPolicy, Mode, SocksPort
from services.kit.metrics import Metrics

ONION = "http://lucidlucidlucidlucidlucidlucidlucidlucidlucidlucidlucid2.onion"
"""An endpoint that may be called without TLS."""


@dataclass(frozen=True)
class Asked:
    """What the SOCKS port was asked for."""

    user: str
    host: str
    port: int
    kind: int
    """1: IPv4, 3: a name, 4: IPv6."""


@dataclass
class FakeTor:
    """A SOCKS5 port on a Unix socket and on TCP."""

    path: Path
    tcp_port: int = 0
    asked: list[Asked] = field(default_factory=list)
    methods: list[bytes] = field(default_factory=list)
    """The login methods that each client offered."""
    targets: dict[str, int] = field(default_factory=dict)
    """Host to the port on loopback that it stands for."""
    reply: dict[str, int] = field(default_factory=dict)
    """User to the reply code that it gets; `*` for all."""
    stalled: set[str] = field(default_factory=set)
    """Users whose circuits take bytes and bring none."""
    behaviour: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None
    """Instead of SOCKS."""
    sent: int = 0
    """Bytes from clients to targets."""
    _servers: list[asyncio.Server] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def users(self) -> list[str]:
        return [asked.user for asked in self.asked]

    async def start(self) -> None:
        self._servers = [
            await asyncio.start_unix_server(self._serve, self.path),
            await asyncio.start_server(self._serve, "127.0.0.1", self.tcp_port),
        ]
        self.tcp_port = self._servers[1].sockets[0].getsockname()[1]

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await (self.behaviour or self._socks)(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        self.methods.append(await reader.readexactly(count))
        writer.write(b"\x05\x02")
        _, length = await reader.readexactly(2)
        user = (await reader.readexactly(length)).decode()
        await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(b"\x01\x00")
        asked = await self._read_target(user, reader)
        self.asked.append(asked)
        code = self.reply.get(user, self.reply.get("*", 0))
        if code == 0 and asked.host not in self.targets:
            code = 4
        writer.write(bytes([5, code, 0, 1]) + bytes(6))
        if code == 0:
            await self._join(user, self.targets[asked.host], reader, writer)

    @staticmethod
    async def _read_target(user: str, reader: asyncio.StreamReader) -> Asked:
        kind = (await reader.readexactly(4))[3]
        length = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
        host = await reader.readexactly(length)
        port = int.from_bytes(await reader.readexactly(2), "big")
        return Asked(user, host.decode() if kind == 3 else ".".join(str(byte) for byte in host), port, kind)

    async def _join(self, user: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)

        async def up() -> None:
            while data := await reader.read(65_536):
                self.sent += len(data)
                far_writer.write(data)
            far_writer.close()

        async def down() -> None:
            while data := await far_reader.read(65_536):
                while user in self.stalled:
                    await asyncio.sleep(0.005)
                writer.write(data)
            writer.close()

        try:
            await asyncio.gather(up(), down())
        finally:
            far_writer.close()


@pytest.fixture
async def tor(tmp_path: Path) -> AsyncIterator[FakeTor]:
    fake = FakeTor(tmp_path / "socks")
    await fake.start()
    yield fake
    await fake.stop()


MakeEgress = Callable[..., Egress]


@pytest.fixture
async def make_egress(tor: FakeTor) -> AsyncIterator[MakeEgress]:
    """Make ways out through the fake SOCKS port; policy fields by name."""
    made: list[Egress] = []

    def make(*, tls: ssl.SSLContext | None = None, clock: object = None, **policy: object) -> Egress:
        values = {
            "mode": Mode.TOR,
            "socks": SocksPort(path=tor.path),
            "retries": 0,
            "rotation_interval_s": 0.0,
            "quicker_of_two": False,
        }
        chosen = EgressPolicy(**{**values, **policy})  # type: ignore[arg-type]
        made.append(Egress(chosen, clock or SystemClock(), Metrics("test"), tls))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for egress in made:
        await egress.close()


@pytest.fixture
def egress(make_egress: MakeEgress) -> Egress:
    return make_egress()


def call(path: str = "/", base: str = ONION, timeout_s: float = 10.0, **options: object) -> Call:
    return Call("GET", f"{base}{path}", timeout_s, 100_000, **options)  # type: ignore[arg-type]


@pytest.fixture
def get() -> Callable[..., Call]:
    return call


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ServeAs = Callable[..., Awaitable[int]]


@pytest.fixture
async def serve(tor: FakeTor) -> AsyncIterator[ServeAs]:
    """Serve something as a host that the SOCKS port knows, the onion service by default; returns the local port."""
    runners: list[web.AppRunner] = []

    async def start(
        handler: Handler, host: str = ONION.removeprefix("http://"), tls: ssl.SSLContext | None = None
    ) -> int:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        tor.targets[host] = runner.addresses[0][1]
        return tor.targets[host]

    yield start
    for runner in runners:
        await runner.cleanup()


@dataclass
class Authority:
    """A certificate authority of our own."""

    directory: Path
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.certificate = self._sign("authority", self.key, days=30)

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey, days: int) -> x509.Certificate:
        now = datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
        own = name == "authority"
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=60))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=own, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def server(self, name: str, days: int = 30) -> ssl.SSLContext:
        """What a server of that name uses; with negative days its certificate is over."""
        key = ec.generate_private_key(ec.SECP256R1())
        path = self.directory / f"server-{next(self._numbers)}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(private + self._sign(name, key, days).public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def client(self) -> ssl.SSLContext:
        """What trusts this authority and nobody else."""
        pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()
        return ssl.create_default_context(cadata=pem)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)
