"""The Tor service and the way out agree on generations: across rotations of either, and across restarts of both."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from services.kit import daemon
from services.kit.clock import SystemClock
from services.kit.egress import Egress, EgressPolicy, Mode, SocksPort
from services.kit.metrics import Metrics
from services.tor.__main__ import build
from services.tor.client import TorClient
from services.tor.settings import TorSettings
from services.tron.tor_link import TorLink

NAME = "read:api.example.org"


@pytest.fixture
def settings(tmp_path: Path) -> TorSettings:
    """A Tor service that finds no tor: names and generations are its own business."""
    return TorSettings(
        lucid_home=tmp_path,
        tron_network="devnet",
        tor_control_socket=tmp_path / "control",
        tor_socks_socket=tmp_path / "socks",
    )


@contextlib.asynccontextmanager
async def tor_service(settings: TorSettings) -> AsyncIterator[TorClient]:
    path = settings.socket("tor")
    async with daemon.serving(build(settings), path), TorClient(path) as client:
        yield client


@contextlib.asynccontextmanager
async def process(settings: TorSettings) -> AsyncIterator[Egress]:
    """A process with a way out that is linked to the Tor service."""
    policy = EgressPolicy(Mode.TOR, SocksPort(path=settings.tor_socks_socket), retries=0)
    egress = Egress(policy, SystemClock(), Metrics("test"))
    egress.way("read", "https://api.example.org")
    link = TorLink(TorClient(settings.socket("tor")), egress)
    await link.start()
    try:
        yield egress
    finally:
        await link.stop()
        await egress.close()


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not done():
            await asyncio.sleep(0.01)


def use(egress: Egress) -> None:
    """Have the way take its first lane, as its first request does; there is no tor to make one."""
    egress.way("read", "https://api.example.org")._current()


async def test_what_the_tor_service_rotates_is_rotated_here(settings: TorSettings) -> None:
    async with tor_service(settings) as tor, process(settings) as egress:
        use(egress)
        for generation in (2, 3):
            assert (await tor.rotate(NAME, "operator")).generation == generation
            await until(lambda wanted=generation: egress.generations == {NAME: wanted})  # type: ignore[misc]
        assert egress.shown().ways[0].last_rotation == "operator"


async def test_what_is_rotated_here_is_remembered_there_and_after_a_restart(settings: TorSettings) -> None:
    async with tor_service(settings) as tor:
        async with process(settings) as egress:
            use(egress)
            way = egress.way("read", "https://api.example.org")
            # A bad circuit is left, and its spare was bad, too.
            way._move(way._new(), "bad circuit: HTTP status 403", "bad")
            way._move(way._new(), "bad circuit: HTTP status 403", "bad")
            assert egress.generations == {NAME: 3}
            async with asyncio.timeout(20):
                while (await tor.isolation(NAME)).generation < 3:
                    await asyncio.sleep(0.01)
        async with process(settings) as egress:
            use(egress)
            assert egress.generations == {NAME: 3}


async def test_a_tor_service_that_comes_later_is_told(settings: TorSettings) -> None:
    async with process(settings) as egress:
        use(egress)
        way = egress.way("read", "https://api.example.org")
        way._move(way._new(), "schedule", "schedule")
        async with tor_service(settings) as tor, asyncio.timeout(20):
            while (await tor.isolation(NAME)).generation < 2:
                await asyncio.sleep(0.05)


async def test_without_the_tor_service_the_way_out_goes_on_alone(settings: TorSettings) -> None:
    async with process(settings) as egress:
        use(egress)
        assert egress.generations == {NAME: 1}


async def test_a_move_while_the_process_ends_tells_nobody(settings: TorSettings) -> None:
    egress = Egress(EgressPolicy(Mode.TOR, SocksPort(path=settings.tor_socks_socket)), SystemClock(), Metrics("test"))
    way = egress.way("read", "https://api.example.org")
    link = TorLink(TorClient(settings.socket("tor")), egress)
    await link.start()
    use(egress)
    await link.stop()
    before = asyncio.all_tasks()
    way._move(way._new(), "bad circuit: slow", "bad")  # a request in flight still finds its circuit bad
    assert asyncio.all_tasks() == before
    await egress.close()
