"""The node around the chain: endpoints, timers, settings and the command line."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from services.devnet.genesis import KnownKey
from services.devnet.incoming import Incoming
from services.devnet.node import DevnetNode
from services.devnet.settings import DevnetSettings, Endpoint
from services.protocol.networks import NETWORKS

Keys = tuple[KnownKey, ...]
Build = Callable[..., Incoming]


async def test_two_endpoints_serve_one_chain(node: DevnetNode, accounts: Keys, build: Build) -> None:
    transaction = build(node.chain, accounts[0], accounts[1].address)
    first, second = (httpx.AsyncClient(base_url=url) for url in node.urls)
    async with first, second:
        await first.post("/wallet/broadcasthex", json={"transaction": transaction.signed().encode().hex()})
        seen = await second.post("/wallet/gettransactionbyid", json={"value": transaction.txid.hex()})
        assert seen.json()["txID"] == transaction.txid.hex()


async def test_blocks_come_by_the_clock(clock: Any) -> None:
    settings = DevnetSettings(listen="127.0.0.1:0", block_interval_ms=3_000)
    async with DevnetNode(settings, clock) as node:
        first_ms = node.chain.head.time_ms
        while node.chain.head.number < 6:
            await asyncio.sleep(0)
        made = node.chain.store.blocks(1, 7)
        # Block 1 ended a maintenance period, so that two slots after it stay empty.
        assert [block.time_ms for block in made] == [first_ms + 3_000 * step for step in (0, 3, 4, 5, 6, 7)]


async def test_an_instant_devnet_makes_a_block_of_each_transaction(accounts: Keys, build: Build) -> None:
    settings = DevnetSettings(listen="127.0.0.1:0", block_interval_ms=0, instant=True)
    async with DevnetNode(settings) as node:
        for expected in (2, 3):
            node.chain.submit(build(node.chain, accounts[0], accounts[1].address))
            for _ in range(5):
                await asyncio.sleep(0)
            assert node.chain.head.number == expected
            assert not node.chain.pool


async def test_a_block_that_cannot_be_stored_is_tried_again(
    clock: Any, accounts: Keys, build: Build, tmp_path: Path
) -> None:
    settings = DevnetSettings(listen="127.0.0.1:0", block_interval_ms=0, home=tmp_path)
    async with DevnetNode(settings, clock) as node:
        transaction = build(node.chain, accounts[0], accounts[1].address)
        node.chain.submit(transaction)
        head = node.chain.head
        node.chain.store._db.execute("PRAGMA query_only = ON")
        node._produce()
        assert node.chain.head == head
        assert transaction.txid in node.chain.pool
        node.chain.store._db.execute("PRAGMA query_only = OFF")
        node._produce()
        assert node.chain.store.has_transaction(transaction.txid)


async def test_a_node_funds_and_mines_for_tests(node: DevnetNode, strangers: Keys) -> None:
    txid = node.fund(strangers[0].address, 5_000_000)
    node.mine(19)
    assert node.chain.store.has_transaction(bytes.fromhex(txid))
    funded = node.chain.solid_state.account(strangers[0].address.raw)
    assert funded is not None
    assert funded.balance_sun == 5_000_000


async def test_a_stopped_devnet_frees_its_port(unused_tcp_port: int) -> None:
    settings = DevnetSettings(listen=f"127.0.0.1:{unused_tcp_port}", block_interval_ms=0)
    for _ in range(2):
        async with DevnetNode(settings) as node, httpx.AsyncClient(base_url=node.url) as http:
            assert (await http.get("/healthcheck")).status_code == 200


async def test_a_taken_port_is_an_error(node: DevnetNode) -> None:
    taken = node.url.removeprefix("http://")
    with pytest.raises(OSError, match="in use"):
        await DevnetNode(DevnetSettings(listen=f"127.0.0.1:0,{taken}", block_interval_ms=0)).start()


async def test_a_devnet_that_is_not_started_has_no_chain() -> None:
    with pytest.raises(RuntimeError, match="not started"):
        _ = DevnetNode(DevnetSettings()).chain


def test_endpoints_are_read_from_one_setting() -> None:
    assert DevnetSettings(listen="127.0.0.1:9090, 127.0.0.2:1,9091,[::1]:5,localhost:6").endpoints == (
        Endpoint("127.0.0.1", 9090),
        Endpoint("127.0.0.2", 1),
        Endpoint("127.0.0.1", 9091),
        Endpoint("::1", 5),
        Endpoint("127.0.0.1", 6),
    )


@pytest.mark.parametrize("listen", ["0.0.0.0:9090", "192.168.1.5:9090", "example.com:80", "[::]:9090"])
def test_only_loopback_is_listened_on(listen: str) -> None:
    with pytest.raises(ValidationError, match="is not loopback"):
        DevnetSettings(listen=listen)


@pytest.mark.parametrize("listen", ["", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000"])
def test_an_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(ValidationError, match="is no address to listen on"):
        DevnetSettings(listen=listen)


async def test_the_command_line_names_a_setting_that_cannot_be_used() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.devnet",
        env=os.environ | {"DEVNET_LISTEN": "0.0.0.0:9090", "DEVNET_SOLID_LAG": "x"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 78
    assert b"DEVNET_LISTEN" in errors
    assert b"DEVNET_SOLID_LAG" in errors
    assert b"Traceback" not in errors


@pytest.mark.parametrize("name", ["mainnet", "shasta", "nile"])
async def test_a_node_of_another_network_can_be_played(name: str) -> None:
    played = NETWORKS[name]
    settings = DevnetSettings(listen="127.0.0.1:0", block_interval_ms=0, network=name)
    async with DevnetNode(settings) as node, httpx.AsyncClient(base_url=node.url) as http:
        node.mine(3)
        first = (await http.post("/wallet/getblockbynum", json={"num": 0})).json()
        assert first["blockID"] == played.genesis_id
        assert (await http.post("/wallet/getblockbynum", json={"num": 1})).json()["block_header"]["raw_data"][
            "parentHash"
        ] == played.genesis_id
        info = (await http.get("/wallet/getnodeinfo")).json()
        assert info["configNodeInfo"]["p2pVersion"] == str(played.chain_id)
        token = (await http.post("/wallet/getcontract", json={"value": played.usdt.hex})).json()
        assert token["name"] == "UsdtToken"
