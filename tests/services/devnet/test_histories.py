"""Other histories: forks of blocks that are not solid, chain time that jumps, and states that are saved and loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.devnet.chain import Chain, Fate
from services.devnet.genesis import KnownKey
from services.devnet.incoming import Incoming
from services.devnet.node import DevnetNode
from services.devnet.settings import DevnetSettings
from services.protocol.block import ZERO_HASH

Keys = tuple[KnownKey, ...]
Build = Callable[..., Incoming]


def state(chain: Chain) -> dict[str, list[Any]]:
    """Every row that is stored."""
    tables = ("blocks", "transactions", "parties", "accounts", "undo", "cells", "cells_undo")
    return {table: sorted(chain.store._db.execute(f"SELECT * FROM {table}"), key=repr) for table in tables}


@pytest.mark.parametrize("fate", Fate)
def test_a_longer_branch_wins(chain: Chain, accounts: Keys, strangers: Keys, build: Build, fate: Fate) -> None:
    for _ in range(5):
        chain.produce()
    old = chain.head
    new = build(chain, accounts[0], strangers[0].address, 3_000_000)
    chain.submit(new)
    chain.produce()
    waiting = build(chain, accounts[1], accounts[2].address)
    chain.produce()
    chain.submit(waiting)
    undone, solid = chain.head, chain.solid.number
    assert chain.fork(2, fate) == [new.txid]
    assert chain.head.number == undone.number + 1
    assert chain.solid.number >= solid
    blocks = [chain.store.block(number) for number in range(chain.head.number + 1)]
    assert all(block is not None for block in blocks)
    parents = [block.header.parent_hash for block in blocks if block]
    assert parents == [ZERO_HASH, *(block.id for block in blocks[:-1] if block)]
    assert chain.store.block_by_id(undone.id) is None
    assert blocks[old.number] == old
    assert chain.store.has_transaction(new.txid) is (fate is Fate.AGAIN)
    assert list(chain.pool) == ([new.txid] if fate is Fate.POOL else []) + [waiting.txid]
    assert chain.store.account(strangers[0].address.raw) is None or fate is Fate.AGAIN


def test_solid_blocks_stay(chain: Chain) -> None:
    for _ in range(30):
        chain.produce()
    free = chain.head.number - chain.solid.number
    with pytest.raises(ValueError, match=f"at most {free} can be undone"):
        chain.fork(free + 1, Fate.LOST)
    solid = chain.solid
    chain.fork(free, Fate.LOST)
    assert chain.store.block(solid.number) == solid
    assert chain.solid.number >= solid.number


def test_everything_is_what_it_was_before_the_undone_blocks(
    chain: Chain, accounts: Keys, strangers: Keys, build: Build
) -> None:
    chain.produce()
    before, base = state(chain), chain.head
    for round_ in range(6):
        chain.submit(build(chain, accounts[round_ % 3], strangers[round_].address, 2_000_000))
        chain.submit(build(chain, accounts[3], accounts[4].address, 7))
        chain.produce()
    assert state(chain) != before
    chain.store.rewind(base.number)
    chain.reload()
    assert (chain.head, state(chain)) == (base, before)


async def test_a_fork_is_ordered_over_http(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys, build: Build
) -> None:
    node.mine(3)
    sent = build(node.chain, accounts[0], accounts[1].address)
    node.chain.submit(sent)
    node.mine()
    answer = (await http.post("/admin/fork", json={"blocks": 2, "transactions": "lost"})).json()
    assert answer["undone"] == [sent.txid.hex()]
    assert answer["head"]["number"] == node.chain.head.number == 6
    refused = await http.post("/admin/fork", json={"blocks": 500})
    assert (refused.status_code, refused.json()["detail"]) == (
        422,
        "solid blocks stay: at most 6 can be undone now",
    )


async def test_time_jumps(node: DevnetNode, http: httpx.AsyncClient) -> None:
    before_ms = node.chain.head.time_ms
    answer = (await http.post("/admin/mine?blocks=2&skip_s=86400")).json()
    assert answer["head"]["time_ms"] >= before_ms + 86_400_000 + 2 * 3_000
    assert (await http.post("/admin/mine?skip_s=-1")).status_code == 422
    assert (await http.post("/admin/mine?skip_s=99999999999")).status_code == 422


@pytest.mark.parametrize("where", ["memory", "disk"])
async def test_a_state_is_saved_and_loaded(tmp_path: Path, accounts: Keys, build: Build, where: str) -> None:
    home = tmp_path if where == "disk" else None
    settings = DevnetSettings(listen="127.0.0.1:0", block_interval_ms=0, home=home)
    async with DevnetNode(settings) as node, httpx.AsyncClient(base_url=node.url) as http:
        node.mine(5)
        saved, then = node.chain.head, state(node.chain)
        assert (await http.post("/admin/snapshots/before-the-drill")).status_code == 201
        node.chain.submit(build(node.chain, accounts[0], accounts[1].address, 5))
        node.mine(40)
        assert (await loaded(http, "before-the-drill"))["head"]["number"] == saved.number
        assert node.chain.head == saved
        assert state(node.chain) == then
        assert (await http.get("/admin/snapshots")).json() == {"snapshots": ["before-the-drill"]}
        # It goes on from there, and can be loaded again.
        node.chain.submit(build(node.chain, accounts[0], accounts[2].address, 5))
        node.mine(2)
        assert (await loaded(http, "before-the-drill"))["head"]["id"] == saved.id.hex()
        assert (await http.delete("/admin/snapshots/before-the-drill")).status_code == 200
        assert (await http.get("/admin/snapshots")).json() == {"snapshots": []}
    if where == "disk":
        async with DevnetNode(settings) as again:
            assert again.chain.head == saved


async def loaded(http: httpx.AsyncClient, name: str) -> Any:
    answer = await http.post(f"/admin/snapshots/{name}/load")
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("method", "name", "status"),
    [("POST", "Bad_Name", 422), ("POST", "missing/load", 404), ("DELETE", "missing", 404), ("POST", "..%2fx", 404)],
)
async def test_a_snapshot_that_cannot_be_is_explained(
    http: httpx.AsyncClient, method: str, name: str, status: int
) -> None:
    assert (await http.request(method, f"/admin/snapshots/{name}")).status_code == status
