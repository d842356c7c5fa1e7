"""TRON nodes behind a real private Tor network: three hops, a circuit for each purpose, rotation and drills."""

import asyncio
import shlex
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.devnet.node import DevnetNode
from services.devnet.settings import DevnetSettings
from services.kit.clock import SystemClock
from services.kit.egress import Egress, EgressPolicy, Mode, SocksPort
from services.kit.metrics import Metrics
from services.kit.retry import RetryPolicy
from services.protocol.networks import network
from services.tor.lab import Lab
from services.tron.endpoints import Endpoints
from services.tron.node import HttpNode, Kind, NodeError

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    available = Lab.available()
    if not available:
        pytest.fail(available.message)
    async with Lab(tmp_path_factory.mktemp("lab")) as network_of_tors:
        yield network_of_tors


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def devnet() -> AsyncIterator[DevnetNode]:
    async with DevnetNode(DevnetSettings(listen="127.0.0.1:0,127.0.0.1:0", block_interval_ms=0)) as node:
        yield node


def way_out(lab: Lab, *, tcp: bool = False, **policy: float) -> Egress:
    client = lab.client
    port = SocksPort(host="127.0.0.1", port=client.socks_port) if tcp else SocksPort(path=client.socks_path)
    values = {"rotation_interval_s": 0.0, **policy}
    return Egress(EgressPolicy(Mode.TOR, port, devnet=True, **values), SystemClock(), Metrics("test"))  # type: ignore[arg-type]


@pytest_asyncio.fixture(loop_scope="module", params=["unix", "tcp"])
async def any_egress(lab: Lab, request: pytest.FixtureRequest) -> AsyncIterator[Egress]:
    """A way out by either kind of SOCKS port."""
    opened = way_out(lab, tcp=request.param == "tcp")
    yield opened
    await opened.close()


@pytest_asyncio.fixture(loop_scope="module")
async def egress(lab: Lab) -> AsyncIterator[Egress]:
    opened = way_out(lab)
    yield opened
    await opened.close()


async def circuits(lab: Lab) -> dict[str, set[str]]:
    """Ids of the built circuits of each SOCKS user, as tor itself says."""
    async with lab.client.control() as control:
        lines = (await control.info("circuit-status")).splitlines()
    found: dict[str, set[str]] = {}
    for line in lines:
        id_, state, *rest = shlex.split(line)
        user = next((word.partition("=")[2] for word in rest if word.startswith("SOCKS_USERNAME=")), "")
        if state == "BUILT" and user:
            assert rest[0].count(",") == 2, "three hops"
            found.setdefault(user, set()).add(id_)
    return found


async def test_each_endpoint_and_purpose_has_a_circuit_of_its_own(
    lab: Lab, devnet: DevnetNode, any_egress: Egress
) -> None:
    nodes = [HttpNode(url, any_egress, timeout_s=30) for url in devnet.urls]
    for node in nodes:
        answer = await node.post("wallet/getnowblock", {})
        assert answer["block_header"]
        with pytest.raises(NodeError, match="it says"):
            await node.post("wallet/broadcasthex", {"transaction": "00"})
    users = [f"{purpose}:{node.name}.1" for node in nodes for purpose in ("read", "broadcast")]
    found = await circuits(lab)
    mine = [found[user] for user in users]
    assert len(set().union(*mine)) == sum(len(each) for each in mine), "no circuit has two users"


async def test_two_hundred_reads_during_rotations_and_none_fails(lab: Lab, devnet: DevnetNode, egress: Egress) -> None:
    nodes = [HttpNode(url, egress, timeout_s=30) for url in devnet.urls]
    good = 0

    async def read(node: HttpNode) -> None:
        nonlocal good
        for _ in range(20):
            assert (await node.post("wallet/getnowblock", {}))["blockID"]
            good += 1

    load = asyncio.gather(*(read(nodes[index % 2]) for index in range(10)))
    rotations = 0
    while not load.done():
        await asyncio.sleep(0.02)
        await egress.rotate(why="operator")
        rotations += 1
    await load
    assert good == 200
    assert rotations > 0
    shown = [way for way in egress.shown().ways if way.answers]
    assert all(way.failures == 0 and way.rotations > 0 for way in shown)


async def test_reads_go_on_when_an_exit_stops(lab: Lab, devnet: DevnetNode, egress: Egress) -> None:
    node = HttpNode(devnet.url, egress, timeout_s=30)
    for _ in range(20):  # its pace is known then
        await node.post("wallet/getnowblock", {})
    for exit_ in lab.exits:
        exit_.pause()
        try:
            for _ in range(5):
                assert (await node.post("wallet/getnowblock", {}))["blockID"]
        finally:
            exit_.resume()


async def test_a_target_that_refuses_is_to_blame_and_not_tor(lab: Lab, egress: Egress) -> None:
    node = HttpNode("http://127.0.0.1:1", egress, timeout_s=30)
    with pytest.raises(NodeError, match="Tor could not connect") as caught:
        await node.post("wallet/getnowblock", {})
    assert caught.value.kind is Kind.REFUSED
    assert egress.words() == "ok"


async def test_without_tor_nobody_is_to_blame_and_nobody_rests(lab: Lab, devnet: DevnetNode) -> None:
    egress = Egress(
        EgressPolicy(Mode.TOR, SocksPort(path=lab.client.socks_path.with_name("nothing")), devnet=True, retries=0),
        SystemClock(),
        Metrics("test"),
    )
    nodes = [HttpNode(url, egress, timeout_s=5) for url in devnet.urls]
    endpoints = Endpoints(nodes, network("devnet"), SystemClock(), Metrics("test"), RetryPolicy(attempts=1))
    for upstream in endpoints.all * 5:
        with pytest.raises(NodeError, match=r"is Tor running\?") as caught:
            await endpoints.verify(upstream)
        assert caught.value.kind is Kind.NO_WAY_OUT
    assert not any(upstream.resting for upstream in endpoints.all)
    assert "is Tor running?" in endpoints.why_none()
    assert "is Tor running?" in egress.shown().detail
    await egress.close()
