"""The private network with real tor processes: three hops, isolation, onions, drills, and nothing left behind."""

import asyncio
import json
import os
import re
import signal
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import stem.control
from python_socks import ProxyError, ProxyTimeoutError, ProxyType
from python_socks.async_.asyncio import Proxy

from services.kit.errors import Conflict, Invalid, Unavailable
from services.tor.lab import Lab, Role, keys, names, plan
from services.tor.lab.claim import Claim

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    # stem calls Thread.setDaemon(), which Python says it will drop.
    pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning"),
]

PATIENCE_S = 30.0
"""For what takes milliseconds on a quiet machine."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def beside(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator["Foreground"]:
    """A second lab, in a process of its own: it comes up while the first tests of the other one run."""
    async with foreground(tmp_path_factory.mktemp("second")) as second:
        yield second


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lab(net: Lab, beside: "Foreground") -> Lab:
    """The network of this directory's tests, with another one beside it."""
    assert beside.process.returncode is None
    return net


class UnixSocket:
    """Takes the place of a first proxy in python-socks: the way to the second is a Unix socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def connect(self, **_: Any) -> socket.socket:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.setblocking(False)
        await asyncio.get_running_loop().sock_connect(link, str(self._path))
        return link


def over_unix(path: Path, user: str) -> Proxy:
    return Proxy(ProxyType.SOCKS5, "tor", 0, user, "-", rdns=True, forward=UnixSocket(path))  # type: ignore[arg-type]


def over_tcp(port: int, user: str) -> Proxy:
    return Proxy(ProxyType.SOCKS5, "127.0.0.1", port, user, "-", rdns=True)


@asynccontextmanager
async def shop() -> AsyncIterator[int]:
    """An HTTP server on loopback; yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A circuit that dies may bring a connection and nothing on it.
        with suppress(OSError, asyncio.IncompleteReadError), closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            host = re.search(rb"Host: (\S+)", head)
            body = b"hello " + (host[1] if host else b"nobody")
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def fetch(proxy: Proxy, host: str, port: int, timeout_s: float = PATIENCE_S) -> str:
    link = await proxy.connect(host, port, timeout=timeout_s)
    reader, writer = await asyncio.open_connection(sock=link)
    try:
        writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        async with asyncio.timeout(timeout_s):
            answer = (await reader.read()).decode()
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200")
    return body


@contextmanager
def steered(lab: Lab) -> Iterator[stem.control.Controller]:
    """stem on the control socket of the lab's client, with the cookie."""
    with stem.control.Controller.from_socket_file(str(lab.client.control_path)) as controller:
        controller.authenticate()
        yield controller


def paths(lab: Lab, user: str) -> dict[str, list[str]]:
    """Circuits of one isolation user: id to the names of the hops."""
    with steered(lab) as controller:
        return {
            circuit.id: [lab.node(fingerprint).name for fingerprint, _ in circuit.path]
            for circuit in controller.get_circuits()
            if circuit.socks_username == user
        }


async def until(done: Any, what: str, timeout_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_everybody_is_up_and_has_a_place_of_its_own(lab: Lab) -> None:
    status = lab.status()
    assert status.state == "ready"
    assert [node.state for node in status.nodes] == ["running"] * 8
    assert [node.role for node in status.nodes] == [Role.AUTHORITY] + [Role.RELAY] * 4 + [Role.EXIT] * 2 + [Role.CLIENT]
    servers = status.nodes[:-1]
    assert len({node.fingerprint for node in servers}) == len({node.address for node in servers}) == 7
    assert len({node.pid for node in status.nodes}) == 8
    assert all(node.address.startswith("127.") for node in status.nodes)
    json.dumps(lab.status().nodes[0].role)


async def test_http_goes_over_three_hops_and_users_do_not_share_a_circuit(lab: Lab) -> None:
    async with shop() as port:
        assert await fetch(over_unix(lab.client.socks_path, "alice"), "shop.test", port) == "hello shop.test"
        assert await fetch(over_tcp(lab.client.socks_port, "bob"), "127.0.0.1", port) == "hello 127.0.0.1"
    alice, bob = paths(lab, "alice"), paths(lab, "bob")
    assert alice
    assert bob
    assert not alice.keys() & bob.keys()
    exits = {node.name for node in lab.exits}
    for hops in [*alice.values(), *bob.values()]:
        assert len(set(hops)) == 3
        assert hops[-1] in exits


async def test_the_same_user_stays_on_its_circuit(lab: Lab) -> None:
    async with shop() as port:
        proxy = over_unix(lab.client.socks_path, "carol")
        await fetch(proxy, "shop.test", port)
        before = paths(lab, "carol")
        for _ in range(3):
            await fetch(proxy, "shop.test", port)
    assert paths(lab, "carol").keys() >= before.keys()


async def test_names_of_the_world_do_not_exist_and_are_asked_nowhere(lab: Lab) -> None:
    with pytest.raises(ProxyError, match="Host unreachable"):
        await fetch(over_unix(lab.client.socks_path, "dave"), "example.org", 80)


async def test_an_onion_is_published_and_fetched(lab: Lab) -> None:
    async with shop() as port:

        def publish() -> str:
            with steered(lab) as controller:
                onion = controller.create_ephemeral_hidden_service(
                    {80: port}, await_publication=True, detached=True, timeout=PATIENCE_S
                )
                return str(onion.service_id)

        service = await asyncio.to_thread(publish)
        host = f"{service}.onion"
        assert await fetch(over_unix(lab.client.socks_path, "erin"), host, 80) == f"hello {host}"
    with steered(lab) as controller:
        assert controller.remove_ephemeral_hidden_service(service)


async def test_servers_have_countries_that_no_country_has(lab: Lab) -> None:
    with steered(lab) as controller:
        for node in lab.servers:
            assert controller.get_info(f"ip-to-country/{node.address}") == node.country
    assert len({node.country for node in lab.servers}) == 7


async def test_no_circuit_of_the_labs_own_is_left(lab: Lab) -> None:
    await lab.ready()
    with steered(lab) as controller:
        users = [str(circuit.socks_username) for circuit in controller.get_circuits() if circuit.status == "BUILT"]
    assert not [user for user in users if user.startswith("lab-probe")]


async def test_paused_exits_answer_nothing_and_go_on_when_resumed(lab: Lab) -> None:
    async with shop() as port:
        proxy = over_unix(lab.client.socks_path, "frank")
        await fetch(proxy, "shop.test", port)
        for node in lab.exits:
            node.pause()
        assert {node.state for node in lab.exits} == {"paused"}
        with pytest.raises((TimeoutError, ProxyError, ProxyTimeoutError)):
            await fetch(proxy, "shop.test", port, timeout_s=1.0)
        for node in lab.exits:
            node.resume()
        assert await fetch(over_unix(lab.client.socks_path, "grace"), "shop.test", port) == "hello shop.test"


async def test_a_node_that_dies_comes_back_and_is_who_it_was(lab: Lab) -> None:
    relay = lab.relays[0]
    pid, fingerprint, restarts = relay.pid, relay.fingerprint, relay.restarts
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: relay.restarts == restarts + 1, "it is started again")
    await relay.listening()
    assert relay.pid != pid
    async with relay.control() as connection:
        assert await connection.info("fingerprint") == fingerprint


async def test_a_node_that_is_killed_on_purpose_stays_dead_until_it_is_started(lab: Lab) -> None:
    relay = lab.relays[1]
    await relay.kill()
    await asyncio.sleep(0.5)
    assert (relay.state, relay.pid) == ("stopped", None)
    with pytest.raises(Conflict, match="does not run"):
        relay.pause()
    await relay.start()
    assert relay.state == "running"
    with pytest.raises(Conflict, match="runs already"):
        await relay.start()


async def test_a_client_that_dies_comes_back_on_the_same_sockets(lab: Lab) -> None:
    before = lab.status().client
    pid = lab.client.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: lab.client.pid not in {pid, None}, "it is started again")
    await lab.ready()
    assert lab.status().client == before
    async with shop() as port:
        assert await fetch(over_tcp(lab.client.socks_port, "heidi"), "shop.test", port) == "hello shop.test"


async def test_without_its_anchor_the_network_gets_another_one(lab: Lab) -> None:
    pids = {node.pid for node in lab.nodes}
    assert lab.client.pid is not None
    os.kill(os.getpgid(lab.client.pid), signal.SIGKILL)
    await until(lambda: all(node.pid and node.pid not in pids for node in lab.nodes), "all are started again")
    await lab.ready()
    assert os.getpgid(lab.client.pid) == os.getpgid(lab.servers[0].pid or 0)


async def test_a_second_owner_is_refused(lab: Lab) -> None:
    with pytest.raises(Conflict, match=f"already.*{os.getpid()}"):
        await Lab(lab.directory).start()
    assert lab.status().state == "ready"


@dataclass(frozen=True)
class Foreground:
    """`python -m services.tor.lab` with a small network."""

    directory: Path
    process: asyncio.subprocess.Process

    async def ready(self) -> dict[str, Any]:
        """The line that it prints when the network is up."""
        assert self.process.stdout is not None
        async with asyncio.timeout(180):
            found: dict[str, Any] = json.loads(await self.process.stdout.readline())
        assert found["state"] == "ready", found
        return found


@asynccontextmanager
async def foreground(directory: Path) -> AsyncIterator[Foreground]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.tor.lab", str(directory), "--relays", "2", "--exits", "1"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Foreground(directory, process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def pids_of(ready: dict[str, Any]) -> list[int]:
    pids = [int(node["pid"]) for node in ready["nodes"]]
    return [*pids, os.getpgid(pids[0])]


async def test_a_lab_beside_another_outlives_no_owner_and_is_taken_over(lab: Lab, beside: Foreground) -> None:
    async with shop() as port:
        ready = await beside.ready()
        assert ready["start"] == "cold"
        assert not {node["address"] for node in ready["nodes"][:-1]} & {node.address for node in lab.servers}
        there = over_unix(Path(ready["client"]["socks_path"]), "alice")
        here = over_unix(lab.client.socks_path, "alice")
        both = await asyncio.gather(fetch(there, "shop.test", port), fetch(here, "shop.test", port))
        assert set(both) == {"hello shop.test"}
        pids = pids_of(ready)
        assert all(is_alive(pid) for pid in pids)
        # A process that is stopped hears no polite signal.
        os.kill(pids[0], signal.SIGSTOP)
        beside.process.kill()
        await until(lambda: not any(is_alive(pid) for pid in pids), "all of it ended with its owner", 20)
    assert lab.status().state == "ready"

    async with foreground(beside.directory) as second:
        ready = await second.ready()
        assert ready["start"] == "warm"
        pids = pids_of(ready)
        # The worst: owner and anchor die at once, and one of the rest cannot even see it.
        os.kill(pids[0], signal.SIGSTOP)
        os.kill(pids[-1], signal.SIGKILL)
        second.process.kill()
        await second.process.wait()
        assert is_alive(pids[0])

    async with foreground(beside.directory) as third:
        ready = await third.ready()
        assert not any(is_alive(pid) for pid in pids)
        pids = pids_of(ready)
        third.process.terminate()
        assert await third.process.wait() == 0
        assert not any(is_alive(pid) for pid in pids)


async def test_a_machine_without_tor_is_told_what_to_install(tmp_path: Path) -> None:
    missing = str(tmp_path / "tor")
    available = Lab.available(missing)
    assert not available
    assert "apt-get install -y tor" in available.message
    with pytest.raises(Unavailable, match="apt-get install -y tor"):
        await Lab(tmp_path / "lab", tor=missing).start()
    assert not (tmp_path / "lab").exists()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.tor.lab", "--check", "--tor", missing), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 69
    assert json.loads(said) == {"state": "failed", "code": "tor_missing", "message": available.message}


async def test_a_tor_that_cannot_start_is_quoted(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab", relays=2, exits=1, client_options=["NoSuchOption 1"])
    with pytest.raises(Unavailable, match=r"tor failed .*NoSuchOption"):
        await lab.start()
    assert lab.status().state == "stopped"
    assert {node.pid for node in lab.nodes} == {None}


async def test_a_directory_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(Conflict, match="choose an empty directory"):
        await Lab(tmp_path).start()
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


async def test_a_claim_is_given_back(tmp_path: Path) -> None:
    claim = await Claim.take(tmp_path / "lab")
    with pytest.raises(Conflict):
        await Claim.take(tmp_path / "lab")
    claim.release()
    (await Claim.take(tmp_path / "lab")).release()


@pytest.mark.parametrize(("relays", "exits"), [(1, 2), (4, 0), (20, 20)])
async def test_a_network_too_small_or_too_large_is_refused(tmp_path: Path, relays: int, exits: int) -> None:
    with pytest.raises(Invalid, match="at least 1 exit and 2 relays"):
        Lab(tmp_path, relays=relays, exits=exits)


async def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="choose a shorter one"):
        Lab(tmp_path / ("long" * 30))


async def test_a_path_that_a_torrc_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be written in a torrc"):
        Lab(tmp_path / "lab#1")


async def test_options_of_the_client_replace_ours_and_ports_are_added() -> None:
    drawn = plan.Plan.draw(4, 2)
    options = plan.client(drawn, Path("socks"), ["CircuitBuildTimeout 3", "SocksPort 127.0.0.1:1 SafeSocks"])
    assert [value for name, value in options if name == "CircuitBuildTimeout"] == ["3"]
    assert len([name for name, _ in options if name == "SocksPort"]) == 3


async def test_a_plan_is_remembered_for_the_same_shape_only(tmp_path: Path) -> None:
    drawn = plan.Plan.draw(4, 2)
    keys.remember(tmp_path, drawn)
    assert keys.remembered(tmp_path, 4, 2) == drawn
    assert keys.remembered(tmp_path, 5, 2) is None
    (tmp_path / "lab.json").write_text('{"format": 99}')
    assert keys.remembered(tmp_path, 4, 2) is None
    (tmp_path / "lab.json").write_text("torn")
    assert keys.remembered(tmp_path, 4, 2) is None


async def test_a_consensus_serves_a_warm_start_until_twelve_hours_after_its_end(tmp_path: Path) -> None:
    ends = datetime(2030, 1, 1, 12, tzinfo=UTC)
    text = "network-status-version 3\nvalid-after 2030-01-01 11:00:00\nvalid-until 2030-01-01 12:00:00\n"
    for node, file in (("client", "cached-microdesc-consensus"), ("auth0", "cached-consensus")):
        assert not keys.is_fresh(tmp_path, plan.Plan.draw(4, 2), ends)
        (tmp_path / node).mkdir()
        (tmp_path / node / file).write_text(text)
    fresh = [keys.is_fresh(tmp_path, plan.Plan.draw(4, 2), ends + timedelta(hours=hours)) for hours in (-2, -1, 12, 13)]
    assert fresh == [False, True, True, False]


def question(name: str, kind: int) -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


@pytest.mark.parametrize(
    ("name", "kind", "code", "answers"),
    [("shop.test", 1, 0, 1), ("ShOp.TeSt", 1, 0, 1), ("shop.test", 28, 0, 0), ("example.org", 1, 3, 0)],
)
async def test_the_name_server_knows_this_machine_and_nothing_else(
    name: str, kind: int, code: int, answers: int
) -> None:
    asked = question(name, kind)
    reply = names.answer(asked)
    assert reply is not None
    number, flags, questions, found, _, _ = struct.unpack_from(">HHHHHH", reply)
    assert (number, flags & 0x8000, flags & 0xF, questions, found) == (7, 0x8000, code, 1, answers)
    assert reply[12 : len(asked)] == asked[12:]
    assert reply.endswith(bytes((127, 0, 0, 1))) == bool(answers)


@pytest.mark.parametrize("query", [b"", b"\0" * 11, struct.pack(">HHHHHH", 7, 0x8000, 1, 0, 0, 0)])
async def test_what_is_no_question_gets_no_answer(query: bytes) -> None:
    assert names.answer(query) is None


@pytest.mark.parametrize("tail", [b"", b"\x3f", b"\xc0\x0c\0\x01\0\x01", b"\x04test\0\0"])
async def test_a_torn_question_is_a_format_error(tail: bytes) -> None:
    reply = names.answer(struct.pack(">HHHHHH", 7, 0, 1, 0, 0, 0) + tail)
    assert reply is not None
    assert reply[3] & 0xF == 1
