"""A devnet that is killed goes on with exactly the blocks that it showed."""

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.devnet.chain import Chain
from services.devnet.genesis import SUPPLY_SUN, KnownKey, witnesses
from services.devnet.incoming import Incoming
from services.devnet.rewards import owed_sun as owed
from services.devnet.settings import DevnetSettings
from services.devnet.store import FILE_NAME, KEPT_BLOCKS, Store, StoreError
from services.devnet.witnesses import WITNESSES_KEY
from services.kit.clock import SystemClock
from services.protocol.contracts import (
    DelegateResource,
    FreezeBalanceV2,
    Resource,
    UnfreezeBalanceV2,
    Vote,
    VoteWitness,
)

Keys = tuple[KnownKey, ...]
Build = Callable[..., Incoming]
ON_DEMAND = DevnetSettings(block_interval_ms=0)


async def spawn(home: Path, port: int) -> tuple[asyncio.subprocess.Process, httpx.AsyncClient]:
    environment = os.environ | {
        "DEVNET_HOME": str(home),
        "DEVNET_LISTEN": f"127.0.0.1:{port}",
        "DEVNET_BLOCK_INTERVAL_MS": "20",
        "DEVNET_INSTANT": "false",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.devnet", env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10)
    for _ in range(500):
        try:
            await client.get("/healthcheck")
        except httpx.TransportError:
            await asyncio.sleep(0.02)
        else:
            return process, client
    raise AssertionError("the devnet did not answer within ten seconds")


async def ask(client: httpx.AsyncClient, path: str, **body: Any) -> Any:
    return (await client.post(path, json=body)).json()


async def test_a_killed_devnet_starts_again_with_the_blocks_it_showed(
    tmp_path: Path, unused_tcp_port: int, strangers: Keys
) -> None:
    process, client = await spawn(tmp_path, unused_tcp_port)
    sent = await ask(client, "/admin/faucet", address=strangers[0].address.base58, amount_sun=77)
    info: Any = {}
    while not info:
        info = await ask(client, "/wallet/gettransactioninfobyid", value=sent["txid"])
    # It makes fifty blocks a second, so the kill comes in the middle of something.
    head = await ask(client, "/wallet/getnowblock")
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await client.aclose()

    process, client = await spawn(tmp_path, unused_tcp_port)
    assert await ask(client, "/wallet/gettransactioninfobyid", value=sent["txid"]) == info
    number = head["block_header"]["raw_data"]["number"]
    assert await ask(client, "/wallet/getblockbynum", num=number) == head
    account = await ask(client, "/wallet/getaccount", address=strangers[0].address.hex)
    assert account["balance"] == 77
    assert (await ask(client, "/wallet/getnowblock"))["block_header"]["raw_data"]["number"] >= number
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 5) == 0
    await client.aclose()


def open_chain(home: Path) -> Chain:
    store = Store(home)
    store.open()
    return Chain(store, SystemClock(), ON_DEMAND)


def test_everything_is_there_again_and_the_pool_is_not(
    tmp_path: Path, accounts: Keys, strangers: Keys, build: Build
) -> None:
    chain = open_chain(tmp_path)
    for key in strangers[:3]:
        chain.submit(build(chain, accounts[0], key.address, 1_000))
        for _ in range(8):
            chain.produce()
    chain.submit(build(chain, accounts[0], accounts[1].address))
    head, solid, state = chain.head, chain.solid, chain.solid_state
    shown = [state.account(key.address.raw) for key in (accounts[0], *strangers[:3])]
    chain.store.close()

    again = open_chain(tmp_path)
    assert (again.head, again.solid) == (head, solid)
    assert [again.solid_state.account(key.address.raw) for key in (accounts[0], *strangers[:3])] == shown
    assert not again.pool
    assert again.store.balances_sun() + again.head.counters.burnt_sun == SUPPLY_SUN
    assert again.produce().header.parent_hash == head.id
    again.store.close()


def test_solid_never_goes_back_when_the_lag_is_made_longer(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open()
    chain = Chain(store, SystemClock(), DevnetSettings(block_interval_ms=0, solid_lag=1))
    for _ in range(5):
        chain.produce()
    assert chain.solid.number == 5
    longer = Chain(store, SystemClock(), DevnetSettings(block_interval_ms=0, solid_lag=18))
    longer.produce()
    assert longer.solid.number == 5
    store.close()


def test_what_lies_far_below_the_solid_block_is_not_kept_twice(tmp_path: Path, accounts: Keys, build: Build) -> None:
    chain = open_chain(tmp_path)
    for _ in range(150):
        chain.submit(build(chain, accounts[0], accounts[1].address, 1))
        chain.produce()
    chain.store.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        (kept,) = database.execute("SELECT count(*) FROM undo").fetchone()
    database.close()
    # Two accounts in each of the 18 blocks that are not solid yet, and in those that a lagging endpoint may end at.
    assert kept == 2 * (18 + KEPT_BLOCKS)


def test_two_devnets_do_not_share_a_home(tmp_path: Path) -> None:
    chain = open_chain(tmp_path)
    with pytest.raises(StoreError, match="is another devnet using it"):
        Store(tmp_path).open()
    chain.store.close()


def test_a_file_that_is_no_chain_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("not a database " * 100)
    with pytest.raises(StoreError, match="remove the file"):
        Store(tmp_path).open()


def test_a_chain_with_another_block_0_is_refused(tmp_path: Path) -> None:
    open_chain(tmp_path).store.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        database.execute("UPDATE blocks SET id = zeroblob(32) WHERE number = 0")
    database.close()
    store = Store(tmp_path)
    store.open()
    with pytest.raises(StoreError, match="another block 0"):
        Chain(store, SystemClock(), ON_DEMAND)
    store.close()


def test_the_chain_of_an_older_devnet_is_refused(tmp_path: Path) -> None:
    open_chain(tmp_path).store.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        # Before witnesses were paid nothing was kept about them.
        database.execute("DELETE FROM cells WHERE key = ?", (WITNESSES_KEY,))
    database.close()
    store = Store(tmp_path)
    store.open()
    with pytest.raises(StoreError, match="an older devnet, which this one cannot go on with: begin a new home"):
        Chain(store, SystemClock(), ON_DEMAND)
    store.close()


def test_stakes_votes_and_rewards_survive_a_restart(tmp_path: Path, accounts: Keys, build: Build) -> None:
    own, other = accounts[:2]
    chain = open_chain(tmp_path)
    for contract in (
        FreezeBalanceV2(own.address, 9_000_000, Resource.ENERGY),
        DelegateResource(own.address, Resource.ENERGY, 2_000_000, other.address, lock=True, lock_period=9),
        VoteWitness(own.address, (Vote(witnesses()[0].address, 7),)),
        UnfreezeBalanceV2(own.address, 1_000_000, Resource.ENERGY),
    ):
        chain.submit(build(chain, own, own.address, contract=contract))
        chain.produce()
    for _ in range(3):
        chain.produce(missed=100)
    before = [chain.store.account(key.address.raw) for key in (own, other)]
    assert before[0] is not None
    owed_sun = owed(chain.pending, before[0])
    assert owed_sun > 0
    head = chain.head
    chain.store.close()
    again = open_chain(tmp_path)
    assert (again.head, again.head.counters) == (head, head.counters)
    assert [again.store.account(key.address.raw) for key in (own, other)] == before
    assert owed(again.pending, before[0]) == owed_sun
    assert again.produce().counters.minted_sun > head.counters.minted_sun
    again.store.close()
