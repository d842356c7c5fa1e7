"""A world for each test: see `world.py`."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.services.tron.world import World, open_wallet

MakeWorld = Callable[..., World]


@pytest.fixture
async def make_world(tmp_path: Path) -> AsyncIterator[MakeWorld]:
    """Make worlds over one wallet service; each has a home, a chain and a clock of its own."""
    worlds: list[World] = []
    async with open_wallet(tmp_path / "wallet") as wallet:

        def make(nodes: int = 2, solid_lag: int = 5) -> World:
            home = tmp_path / f"world-{len(worlds)}"
            home.mkdir()
            worlds.append(World(home, wallet, key=f"order-{len(worlds)}", nodes=nodes, solid_lag=solid_lag))
            return worlds[-1]

        yield make
        for made in worlds:
            await made.stop()


@pytest.fixture
async def world(make_world: MakeWorld) -> World:
    """Two honest nodes, and a TRON client that runs."""
    made = make_world()
    await made.start()
    return made
