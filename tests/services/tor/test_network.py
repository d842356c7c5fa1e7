"""The Tor service before a real private Tor network: three hops, rotation under load, drills, onions."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from services.kit import socks
from services.kit.clock import SystemClock
from services.kit.egress import Egress
from services.kit.egress.settings import EgressSettings
from services.kit.errors import Conflict, Invalid
from services.kit.metrics import Metrics
from services.kit.socks import SOCKS_PASSWORD, SocksError, SocksPort, User
from services.tor import paths, watch
from services.tor.api import (
    CircuitState,
    CreateOnion,
    ExitPolicy,
    Onion,
    OnionState,
    TorState,
)
from services.tor.control import Control
from services.tor.lab import Lab

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Visit:
    """A connection through Tor that says hello when it is asked."""

    def __init__(self, net: Lab, user: str, host: str, port: int) -> None:
        self._where = (net.client.socks_path, user, host, port)
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> Visit:
        path, user, host, port = self._where
        opened = await socks.connect(SocksPort(path=path), host, port, User(user, SOCKS_PASSWORD), 60.0)
        self.reader, self.writer = await asyncio.open_unix_connection(sock=opened)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def hello(self) -> bytes:
        self.writer.write(b"hi\n")
        return await self.reader.readline()


async def circuits_of(node: Any, name: str) -> list[Any]:
    """Built circuits of a name's present user."""
    user = (await node.client.isolation(name)).user
    items = (await node.client.circuits(name)).items
    return [one for one in items if one.user == user and one.state is CircuitState.BUILT]


async def test_three_hops_with_their_countries_and_a_round_trip(node: Any, net: Lab, target: Any) -> None:
    user = (await node.client.isolation("rpc-1")).user
    async with Visit(net, user, "127.0.0.1", target.port) as visit:
        assert await visit.hello() == b"hello\n"

        async def seen() -> list[Any]:
            return [one for one in await circuits_of(node, "rpc-1") if one.streams == 1 and one.rtt_ms]

        circuit = (await node.eventually(seen))[0]
        assert len(circuit.hops) == 3
        assert all(hop.country and hop.country.startswith("x") and hop.bandwidth for hop in circuit.hops)
        assert net.node(circuit.hops[-1].fingerprint) in net.exits
        streams = [one for one in (await node.client.streams()).items if one.isolation == "rpc-1"]
        assert [one.target for one in streams] == [f"127.0.0.1:{target.port}"]
        assert streams[0].circuit == circuit.id
    status = await node.client.tor()
    assert status.probe is not None
    assert status.probe.ok
    assert status.guards.total > 0
    assert status.read_bytes


async def test_each_name_has_a_circuit_of_its_own(node: Any, net: Lab, target: Any) -> None:
    found = set()
    async with contextlib.AsyncExitStack() as stack:
        for name in ("one", "two", "three"):
            user = (await node.client.isolation(name)).user
            await stack.enter_async_context(Visit(net, user, "127.0.0.1", target.port))

            async def there(name: str = name) -> list[Any]:
                return await circuits_of(node, name)

            found |= {circuit.id for circuit in await node.eventually(there)}
    assert len(found) == 3


async def test_a_program_that_knows_no_socks_takes_tors_tunnel(node: Any, net: Lab, target: Any) -> None:
    """TOR_PROXY_HTTP_PORT: what other programs are told to use leads through three hops."""
    async with net.client.control() as control:
        port = int((await control.info("net/listeners/httptunnel")).strip('"').rpartition(":")[2])
    settings = node.settings.model_dump(include={"lucid_home", "tron_network", "tor_socks_socket"})
    policy = EgressSettings(**settings, tor_proxy_http_port=port).egress_policy()
    told = urlsplit(Egress(policy, SystemClock(), Metrics("test")).subprocess_env("wget")["https_proxy"])
    login = base64.b64encode(f"{told.username}:{told.password}".encode()).decode()
    reader, writer = await asyncio.open_connection(told.hostname, told.port)
    writer.write(f"CONNECT 127.0.0.1:{target.port} HTTP/1.0\r\nProxy-Authorization: Basic {login}\r\n\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.0 200")
    writer.write(b"hi\n")
    assert await reader.readline() == b"hello\n"

    async def seen() -> Any:
        on = [one.circuit for one in (await node.client.streams()).items if one.target.endswith(f":{target.port}")]
        return [one for one in (await node.client.circuits()).items if one.id in on]

    assert [len(circuit.hops) for circuit in await node.eventually(seen)] == [3]
    writer.close()
    await writer.wait_closed()


async def test_rotation_fails_nothing_in_flight_and_ends_the_old_circuit(node: Any, net: Lab, target: Any) -> None:
    old = (await node.client.isolation("rpc-2")).user
    async with Visit(net, old, "127.0.0.1", target.port) as visit:
        moved = await node.client.rotate("rpc-2", "drill")
        assert moved.user != old
        await asyncio.sleep(2.5)  # longer than the drain looks
        assert await visit.hello() == b"hello\n"
        shown = next(one for one in (await node.client.isolations()).items if one.name == "rpc-2")
        assert shown.draining >= 1

    async def gone() -> bool:
        return not any(one.user == old for one in (await node.client.circuits("rpc-2")).items)

    await node.eventually(gone)


async def test_two_hundred_requests_while_paths_rotate(node: Any, net: Lab, target: Any) -> None:
    """As the way out does it: a new connection takes the user of now, an open one finishes where it is."""
    user = (await node.client.isolation("load")).user
    done = 0

    async def work() -> None:
        nonlocal done
        for _ in range(25):
            async with Visit(net, user, "127.0.0.1", target.port) as visit:
                for _ in range(2):
                    assert await visit.hello() == b"hello\n"
            done += 1

    workers = [asyncio.create_task(work()) for _ in range(8)]
    rotations = 0
    while not all(worker.done() for worker in workers):
        user = (await node.client.rotate("load", "drill")).user
        rotations += 1
        await asyncio.sleep(0.05)
    await asyncio.gather(*workers)
    assert done == 200
    assert rotations >= 2


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scheduled moves come after a fifth of the interval, which is never below ten seconds."""
    monkeypatch.setattr(paths._CHANCE, "uniform", lambda *_: 0.2)


@pytest.mark.usefixtures("soon")
async def test_the_schedule_moves_who_is_there(home: Path, start: Any, net: Lab, target: Any, lead: Any) -> None:
    async with start(home, **lead, tor_circuit_rotation_interval=10) as node:
        await node.until(TorState.OK)
        first = await node.client.isolation("rpc-1")
        assert first.next_in_s is not None
        assert first.next_in_s <= 2
        async with Visit(net, first.user, "127.0.0.1", target.port) as visit:

            async def moved() -> bool:
                return bool((await node.client.isolation("rpc-1")).generation > 1)

            await node.eventually(moved, timeout_s=15)
            assert await visit.hello() == b"hello\n"
        later = await node.client.isolation("rpc-1")
        assert later.reason == "schedule"
        assert later.rtt_ms is not None
        assert await circuits_of(node, "rpc-1")  # the new one stood before anybody was sent there


async def test_a_test_of_the_way_out(node: Any, net: Lab) -> None:
    result = await node.client.test()
    assert result.ok, result.detail
    assert result.latency_ms is not None
    assert result.circuit_ms is not None
    assert result.exit is not None
    assert net.node(result.exit.fingerprint) in net.exits


async def test_the_latency_is_that_of_the_circuit_and_not_of_tcp_which_waits_for_more(node: Any) -> None:
    found = [await node.client.test() for _ in range(3)]
    # An acknowledgement that is put off, which nothing else here takes as long as, costs 40 ms.
    assert min(one.latency_ms for one in found) < 40


async def test_a_circuit_that_tor_had_in_store_is_not_said_to_be_made(node: Any) -> None:
    async def ready() -> bool:
        return bool((await node.client.test()).circuit_was_ready)

    await node.eventually(ready, timeout_s=15)


async def test_a_failing_test_says_why(home: Path, start: Any, lead: Any) -> None:
    settings = lead | {"tor_probe_target": "127.0.0.1:1"}
    async with start(home, **settings) as node:
        await node.until(TorState.OK, TorState.NO_ANSWER)
        result = await node.client.test()
        assert not result.ok
        assert "it refuses" in result.detail
        assert "127.0.0.1:1" in (await node.until(TorState.NO_ANSWER)).detail


async def test_a_slow_path_is_left(home: Path, start: Any, lead: Any) -> None:
    # One of three hops on this machine answers in about a millisecond: slower than that is slow.
    async with start(home, **lead, tor_max_latency_ms=1) as node:
        await node.until(TorState.OK)

        async def left() -> bool:
            names = (await node.client.isolations()).items
            return any("slow" in one.reason for one in names)

        await node.eventually(left)


async def test_newnym_gives_everybody_new_circuits(node: Any, net: Lab, target: Any) -> None:
    before = (await node.client.isolation("rpc-3")).user
    async with Visit(net, before, "127.0.0.1", target.port):
        pass
    old = {one.id for one in await circuits_of(node, "rpc-3")}

    async def done() -> Any:
        return await node.client.newnym()

    answer = await node.eventually(done, timeout_s=15)
    assert "rpc-3" in answer.rotated
    user = (await node.client.isolation("rpc-3")).user
    async with Visit(net, user, "127.0.0.1", target.port) as visit:
        assert await visit.hello() == b"hello\n"
    assert not old & {one.id for one in await circuits_of(node, "rpc-3")}


async def test_closing_a_circuit_closes_what_goes_through_it(node: Any, net: Lab, target: Any) -> None:
    user = (await node.client.isolation("rpc-4")).user
    async with Visit(net, user, "127.0.0.1", target.port) as visit:

        async def there() -> list[Any]:
            return await circuits_of(node, "rpc-4")

        circuit = (await node.eventually(there))[0]
        await node.client.close_circuit(circuit.id)
        assert await visit.reader.read() == b""


async def test_the_exit_policy_decides_where_circuits_end(node: Any, net: Lab, target: Any) -> None:
    wanted, other = net.exits
    status = await node.client.set_exit_policy(ExitPolicy(countries=(wanted.country,)))
    assert (status.exits_total, status.exits_left, status.applied) == (2, 1, True)
    try:
        for name in ("exit-1", "exit-2", "exit-3"):
            user = (await node.client.isolation(name)).user
            async with Visit(net, user, "127.0.0.1", target.port) as visit:
                assert await visit.hello() == b"hello\n"
            ends = {one.hops[-1].fingerprint for one in await circuits_of(node, name)}
            assert ends == {wanted.fingerprint}
        await node.client.set_exit_policy(ExitPolicy(excluded_nodes=(wanted.fingerprint,)))
        result = await node.client.test()
        assert result.ok, result.detail
        assert result.exit.fingerprint == other.fingerprint
        with pytest.raises(Conflict, match="none of 2 exits"):
            await node.client.set_exit_policy(ExitPolicy(countries=("de",)))
    finally:
        await node.client.set_exit_policy(ExitPolicy())


async def test_traffic_is_told_while_somebody_looks(node: Any) -> None:
    await node.client.bandwidth()
    heard = []

    async def listen() -> None:
        async for event in node.client.events():
            if event.name == "bandwidth":
                heard.append(event)
                if len(heard) == 2:
                    return

    async with asyncio.timeout(10):
        await listen()
    assert (await node.client.bandwidth()).read_bytes > 0


async def test_an_onion_service_from_key_to_visitor(home: Path, start: Any, net: Lab, target: Any, lead: Any) -> None:
    settings = lead
    async with start(home, **settings) as node:
        await node.until(TorState.OK)
        made = await node.client.create_onion(CreateOnion(name="gateway", target=f"127.0.0.1:{target.port}"))
        assert made.address.endswith(".onion")

        async def published() -> bool:
            return await _is(node, OnionState.PUBLISHED)

        await node.eventually(published, timeout_s=60)

        async def reached(visitor: str = "visitor.1") -> bool:
            with contextlib.suppress(SocksError):
                async with Visit(net, visitor, made.address, 80) as visit:
                    return await visit.hello() == b"hello\n"
            return False

        await node.eventually(reached, timeout_s=60)
    # It outlives this service, which knows it again.
    assert await reached("visitor.2")
    async with start(home, **settings) as node:
        await node.until(TorState.OK)
        await node.eventually(published_again := lambda: _is(node, OnionState.PUBLISHED))
        withdrawn = await node.client.withdraw_onion("gateway")
        assert withdrawn.state is OnionState.WITHDRAWN
        async with net.client.control() as control:
            assert made.address.removesuffix(".onion") not in str(await control.info("onions/detached"))
        again = await node.client.publish_onion("gateway")
        assert again.address == made.address
        await node.eventually(published_again, timeout_s=60)
        with pytest.raises(Invalid):
            await node.client.remove_onion("gateway", "x" * 62)
        await node.client.remove_onion("gateway", made.address)
        assert (await node.client.onions()).items == ()
    for file in (home / "state" / "tor").iterdir():
        assert file.stat().st_mode & 0o077 == 0, file


async def _is(node: Any, state: OnionState) -> bool:
    onion: Onion = await node.client.onion("gateway")
    return onion.state is state


async def test_a_killed_tor_is_seen_and_comes_back(node: Any, net: Lab, target: Any) -> None:
    await node.client.isolation("rpc-5")
    await net.client.kill()
    try:
        status = await node.until(TorState.NOT_RUNNING)
        assert "start tor" in status.detail
    finally:
        await net.client.start()
        net.client.supervised = True
    await node.until(TorState.OK, timeout_s=60)
    async with Visit(net, (await node.client.isolation("rpc-5")).user, "127.0.0.1", target.port) as visit:
        assert await visit.hello() == b"hello\n"


async def test_a_hung_tor_is_silent_and_comes_back(
    home: Path, start: Any, net: Lab, lead: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = Control.connect
    monkeypatch.setattr(Control, "connect", lambda where, who, hear: connect(where, who, hear, 1.0))
    async with start(home, **lead) as node:
        await node.until(TorState.OK)
        net.client.pause()
        try:
            await node.until(TorState.SILENT, timeout_s=20)
        finally:
            net.client.resume()
        await node.until(TorState.OK)


async def test_when_no_exit_answers_it_is_seen_and_it_recovers(home: Path, start: Any, net: Lab, lead: Any) -> None:
    settings = lead | {"tor_connectivity_timeout": 1.0}
    async with start(home, **settings) as node:
        await node.until(TorState.OK)
        for one in net.exits:
            one.pause()
        try:
            status = await node.until(TorState.NO_ANSWER, TorState.GUARDS_DOWN, TorState.CIRCUITS_FAILING)
            assert status.detail
        finally:
            for one in net.exits:
                one.resume()
        await node.until(TorState.OK)


async def test_when_every_relay_hangs_it_is_seen_and_it_recovers(home: Path, start: Any, net: Lab, lead: Any) -> None:
    settings = lead | {"tor_connectivity_timeout": 1.0}
    async with start(home, **settings) as node:
        await node.until(TorState.OK)
        for one in net.servers:
            one.pause()
        try:
            status = await node.until(TorState.NO_ANSWER, TorState.GUARDS_DOWN, TorState.CIRCUITS_FAILING)
            assert status.bootstrap is not None
            assert status.bootstrap.percent == 100  # tor itself goes on believing
        finally:
            for one in net.servers:
                one.resume()
        await node.until(TorState.OK)


async def test_a_killed_exit_costs_its_name_one_move_at_most(node: Any, net: Lab, target: Any) -> None:
    user = (await node.client.isolation("rpc-6")).user
    async with Visit(net, user, "127.0.0.1", target.port):

        async def there() -> list[Any]:
            return await circuits_of(node, "rpc-6")

        circuit = (await node.eventually(there))[0]
    victim = net.node(circuit.hops[-1].fingerprint)
    await victim.kill()
    try:

        async def through_another() -> bool:
            now = (await node.client.isolation("rpc-6")).user
            with contextlib.suppress(SocksError, OSError, EOFError):
                async with asyncio.timeout(5), Visit(net, now, "127.0.0.1", target.port) as visit:
                    return await visit.hello() == b"hello\n"
            return False

        await node.eventually(through_another, timeout_s=30)
        ends = {one.hops[-1].fingerprint for one in await circuits_of(node, "rpc-6")}
        assert victim.fingerprint not in ends
        assert (await node.until(TorState.OK)).detail == ""
    finally:
        await victim.start()
        victim.supervised = True


async def test_another_tors_cookie(home: Path, start: Any, net: Lab, lead: Any) -> None:
    cookie = home / "cookie"
    cookie.write_bytes(b"x" * 32)
    settings = lead | {"tor_control_cookie_file": cookie}
    async with start(home, **settings) as node:
        assert "is not this tor's" in (await node.until(TorState.WRONG_COOKIE)).detail
        cookie.write_bytes(net.client.cookie_path.read_bytes())
        await node.until(TorState.OK)


async def test_the_socks_port_is_no_control_port(home: Path, start: Any, net: Lab, lead: Any) -> None:
    settings = lead | {"tor_control_socket": net.client.socks_path}
    async with start(home, **settings) as node:
        status = await node.until(TorState.NOT_CONTROL_PORT, TorState.SILENT)
        assert "TOR_CONTROL_SOCKET" in status.detail or "ControlSocket" in status.detail


async def test_a_tcp_control_port_works_as_well(home: Path, start: Any, net: Lab) -> None:
    settings = {
        "tor_proxy_host": "127.0.0.1",
        "tor_proxy_control_port": net.client.control_port,
        "tor_proxy_socks_port": net.client.socks_port,
    }
    async with start(home, **settings) as node:
        status = await node.until(TorState.OK)
        assert status.control == f"127.0.0.1:{net.client.control_port}"
        assert status.probe is None  # a devnet without an endpoint: nothing to ask for


@pytest.fixture
def lonely(home: Path, tor_program: str) -> Iterator[Path]:
    """The control socket of a real tor whose authorities are not there; it wants the password s3cret."""
    command = [tor_program, "--quiet", "--hash-password", "s3cret"]
    hashed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
    (home / "torrc").write_text(
        f"DataDirectory {home}/data\nSocksPort unix:{home}/socks\nControlSocket {home}/control\n"
        f"HashedControlPassword {hashed}\nTestingTorNetwork 1\nLog warn file {home}/tor.log\n"
        f"DirAuthority nobody orport=1 v3ident={'A' * 40} 127.0.0.1:2 {'B' * 40}\n"
    )
    home.chmod(0o700)
    tor = subprocess.Popen([tor_program, "-f", str(home / "torrc"), "--quiet"])
    yield home / "control"
    tor.terminate()
    tor.wait()


async def test_a_bootstrap_without_a_network(
    home: Path, start: Any, lonely: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_HINDERED_S", 1.0)
    password = home / "password"
    password.write_text("wrong\n")
    async with start(home, tor_control_socket=lonely, tor_control_password_file=password) as node:
        await node.until(TorState.WRONG_PASSWORD)
        password.write_text("s3cret\n")
        status = await node.until(TorState.STUCK, timeout_s=45)
        assert status.bootstrap is not None
        assert status.bootstrap.percent < 100
        assert "CONNECTREFUSED" in status.detail or "127.0.0.1" in status.detail, status.detail
