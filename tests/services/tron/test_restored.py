"""An older copy of a database is put back beside a newer one: nothing is paid twice, and what is stuck says why."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from services.tron.api import JobState
from tests.services.tron.conftest import MakeWorld
from tests.services.tron.world import Crash, World, open_wallet, unlock

END = (JobState.PAID, JobState.FAILED_ON_CHAIN, JobState.DEAD)


def copy(source: Path, target: Path) -> None:
    """Copy a database as a backup does, its log included."""
    with sqlite3.connect(source) as here, sqlite3.connect(target) as there:
        here.backup(there)
    here.close()
    there.close()


async def die_at(world: World, point: str) -> None:
    """Run the order until it has passed a named point, and die at the next one."""

    def arm(_number: int) -> None:
        if world.seams.passed and world.seams.passed[-1] == point and world.seams.crash_at is None:
            world.seams.crash_at = len(world.seams.passed)

    world.seams.on_point = arm
    with contextlib.suppress(Crash):
        await world.submit()
        await world.until(*END)
    assert world.seams.dead, f"{point} was never passed"
    world.seams.on_point = lambda _number: None


@pytest.mark.parametrize(
    "point",
    [
        "store.add after",
        "store.build after",
        "wallet.sign after",
        "store.sign after",
        "store.depart after",
        "broadcast after",
        "store.see after",
    ],
)
async def test_an_older_copy_of_the_orders_pays_nothing_again(make_world: MakeWorld, point: str) -> None:
    world = make_world()
    await world.start()
    await die_at(world, point)
    await world.stop()
    copy(world.home / "orders.db", world.home / "backup.db")
    await world.restart()
    paid = await world.until(*END)
    assert (paid.state, world.payments(1_000_000)) == (JobState.PAID, 1)
    await world.run(300)
    await world.stop()
    for file in world.home.glob("orders.db*"):
        file.unlink()
    copy(world.home / "backup.db", world.home / "orders.db")
    world.restored = True
    await world.restart()
    await world.run(600)
    assert world.payments(1_000_000) == 1
    job = await world.job()
    if job.state is not JobState.PAID:
        assert paid.txid is not None
        assert (job.state, paid.txid in job.waiting) == (JobState.BUILT, True), job.waiting


async def test_an_order_that_an_older_copy_does_not_have_is_not_paid_again(make_world: MakeWorld) -> None:
    world = make_world()
    await world.start()
    await world.stop()
    copy(world.home / "orders.db", world.home / "backup.db")
    await world.restart()
    await world.submit()
    paid = await world.until(*END)
    await world.stop()
    for file in world.home.glob("orders.db*"):
        file.unlink()
    copy(world.home / "backup.db", world.home / "orders.db")
    world.restored = True
    await world.restart()
    await world.submit()
    await world.run(600)
    assert world.payments(1_000_000) == 1
    assert (paid.txid or "?") in (await world.job()).waiting


@pytest.mark.parametrize("given_up", [False, True], ids=["in time", "too old by then"])
async def test_an_older_copy_of_the_signatures_pays_nothing_twice(tmp_path: Path, given_up: bool) -> None:
    """The wallet service has forgotten that it signed; the TRON client died before it stored the signature."""
    home = tmp_path / "world"
    home.mkdir()
    async with open_wallet(tmp_path / "wallet") as wallet:
        world = World(home, wallet)
        await world.start()
        await die_at(world, "wallet.sign after")
        await world.stop()
    assert len(world.wallet.signed) == 1
    with sqlite3.connect(tmp_path / "wallet" / "signer.db") as connection:
        assert connection.execute("DELETE FROM signatures").rowcount == 1
    connection.close()
    world.clock.jump(world.clock.seconds + (600 if given_up else 0))
    for _ in range(200 if given_up else 0):
        world.chain.mine()
    async with open_wallet(tmp_path / "wallet", known=True) as wallet:
        await unlock(wallet)
        world.wallet.service = wallet
        world.wallet.signed.clear()
        await world.restart()
        assert (await world.until(*END)).state is JobState.PAID
        assert world.payments(1_000_000) == 1
        await world.aftermath()
        await world.stop()
