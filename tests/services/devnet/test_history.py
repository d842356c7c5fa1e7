"""TronGrid's history: pages, filters and fingerprints."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from services.devnet.genesis import KnownKey
from services.devnet.incoming import Incoming
from services.devnet.node import DevnetNode

Keys = tuple[KnownKey, ...]
Build = Callable[..., Incoming]


@pytest.fixture
async def own(node: DevnetNode, accounts: Keys, build: Build) -> str:
    """An account with seven transfers of its own and four to it, in blocks of two, twenty blocks ago and lately."""
    me, other = accounts[0], accounts[1]
    for amount in range(1, 12):
        sender, to = (me, other) if amount % 3 else (other, me)
        node.chain.submit(build(node.chain, sender, to.address, amount))
        if amount % 2 == 0:
            node.chain.produce()
        if amount == 8:
            for _ in range(18):
                node.chain.produce()
    node.chain.produce()
    return me.address.base58


async def page(http: httpx.AsyncClient, address: str, **query: Any) -> Any:
    answer = await http.get(f"/v1/accounts/{address}/transactions", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def amounts(found: Any) -> list[int]:
    return [entry["raw_data"]["contract"][0]["parameter"]["value"]["amount"] for entry in found["data"]]


CONFIRMED = 8
"""How many of the transfers are old enough to be solid."""

FUNDING = 1_000_000_000_000
"""The transfer of block 1."""


async def test_newest_come_first_and_pages_join_without_a_gap(http: httpx.AsyncClient, own: str) -> None:
    seen, query = list[int](), {"limit": 4}
    while True:
        found = await page(http, own, **query)
        seen += amounts(found)
        assert found["meta"]["page_size"] == len(found["data"])
        if "fingerprint" not in found["meta"]:
            break
        query = {"limit": 4, "fingerprint": found["meta"]["fingerprint"]}
    assert seen == [*range(11, 0, -1), FUNDING]


async def test_the_next_link_is_the_next_page(http: httpx.AsyncClient, own: str) -> None:
    first = await page(http, own, limit=5, order_by="block_timestamp,asc")
    second = (await http.get(first["meta"]["links"]["next"])).json()
    assert amounts(first) + amounts(second) == [FUNDING, *range(1, 10)]


async def test_filters(node: DevnetNode, http: httpx.AsyncClient, own: str) -> None:
    assert amounts(await page(http, own, only_from="true")) == [11, 10, 8, 7, 5, 4, 2, 1]
    assert amounts(await page(http, own, only_to="true")) == [9, 6, 3, FUNDING]
    confirmed = await page(http, own, only_confirmed="true")
    assert amounts(confirmed) == [*range(CONFIRMED, 0, -1), FUNDING]
    assert all(entry["blockNumber"] <= node.chain.solid.number for entry in confirmed["data"])
    unconfirmed = await page(http, own, only_unconfirmed="true")
    assert len(confirmed["data"]) + len(unconfirmed["data"]) == 12
    third = node.chain.store.block(3)
    assert third is not None
    in_third = await page(http, own, min_timestamp=third.time_ms, max_timestamp=third.time_ms)
    assert amounts(in_third) == [4, 3]
    assert amounts(await page(http, own, max_timestamp=third.time_ms - 1)) == [2, 1, FUNDING]
    assert amounts(await page(http, own, min_timestamp=node.chain.head.time_ms + 1)) == []


async def test_an_entry_has_its_bill_and_its_block(http: httpx.AsyncClient, own: str) -> None:
    entry = (await page(http, own, limit=1))["data"][0]
    assert entry["ret"] == [{"contractRet": "SUCCESS", "fee": entry["net_fee"]}]
    assert entry["blockNumber"] > 0
    assert {"txID", "raw_data_hex", "signature", "block_timestamp", "net_usage", "energy_fee"} <= set(entry)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"limit": 201}, "limit"),
        ({"limit": 0}, "limit"),
        ({"fingerprint": "x"}, "fingerprint"),
        ({"order_by": "amount"}, "order_by"),
        ({"min_timestamp": -1}, "min_timestamp"),
    ],
)
async def test_a_query_that_makes_no_sense_is_explained(
    http: httpx.AsyncClient, own: str, query: dict[str, Any], words: str
) -> None:
    answer = await http.get(f"/v1/accounts/{own}/transactions", params=query)
    assert answer.status_code == 400
    assert answer.json()["success"] is False
    assert words in answer.json()["error"]


async def test_an_address_that_is_none_is_explained(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/accounts/Tx/transactions")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("Not a valid address")
