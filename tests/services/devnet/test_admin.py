"""`/admin`: known accounts, faucet and blocks on demand."""

import asyncio
from typing import Any

import httpx
import pytest

from services.devnet.genesis import KnownKey
from services.devnet.node import DevnetNode
from services.protocol.signature import public_address

Keys = tuple[KnownKey, ...]


async def balance(http: httpx.AsyncClient, address: str) -> int:
    answer = await http.post("/wallet/getaccount", json={"address": address, "visible": True})
    return int(answer.json().get("balance", 0))


async def test_accounts_json_lists_funded_accounts_by_their_keys(http: httpx.AsyncClient, accounts: Keys) -> None:
    found = (await http.get("/admin/accounts-json")).json()
    assert found["privateKeys"] == [key.private_key.hex() for key in accounts]
    assert found["more"] == []
    for private_key, address in zip(found["privateKeys"], found["addresses"], strict=True):
        assert public_address(bytes.fromhex(private_key)).base58 == address
        assert await balance(http, address) == 1_000_000_000_000


async def test_temporary_accounts_are_funded_and_listed(http: httpx.AsyncClient) -> None:
    for count in (1, 3):
        made = (await http.get(f"/admin/temporary-accounts-generation?accounts={count}")).json()
        assert [await balance(http, address) for address in made["addresses"]] == [10_000_000_000] * count
    more = (await http.get("/admin/accounts-json")).json()["more"]
    assert [len(batch["privateKeys"]) for batch in more] == [1, 3]
    assert more[1] == made


async def test_the_faucet_sends_a_real_transfer(node: DevnetNode, http: httpx.AsyncClient, strangers: Keys) -> None:
    to = strangers[0].address
    answers = [(await http.post("/admin/faucet", json={"address": to.hex, "amount_sun": 5})).json() for _ in range(2)]
    assert answers[0]["to"] == to.base58
    assert answers[0]["txid"] != answers[1]["txid"]
    assert (await http.post("/admin/mine")).json()["head"]["number"] == 2
    assert await balance(http, to.base58) == 10
    shown = (await http.post("/wallet/gettransactionbyid", json={"value": answers[0]["txid"]})).json()
    assert shown["raw_data"]["contract"][0]["parameter"]["value"]["amount"] == 5


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"address": "Tnonsense"}, "address"),
        ({"address": "41" + "00" * 20, "amount_sun": 0}, "amount_sun"),
        ({"address": "41" + "00" * 20, "amount_sun": "5"}, "amount_sun"),
        ({"address": "41" + "00" * 20, "trx": 5}, "trx"),
        ({}, "address"),
    ],
)
async def test_a_faucet_request_that_makes_no_sense_names_the_field(
    http: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    answer = await http.post("/admin/faucet", json=body)
    assert answer.status_code == 422
    assert [entry["field"] for entry in answer.json()["fields"]] == [field]


async def test_blocks_are_made_on_demand(node: DevnetNode, http: httpx.AsyncClient) -> None:
    answer = (await http.post("/admin/mine?blocks=60")).json()
    assert (answer["blocks"], answer["head"]["number"], answer["solid"]) == (60, 61, 43)
    status = (await http.get("/admin/status")).json()
    assert (status["head"]["number"], status["solid"]["number"], status["pool"]) == (61, 43, 0)
    assert status["transactions"] == 10
    assert status["burnt_sun"] == 11_000_000


@pytest.mark.parametrize("query", ["blocks=0", "blocks=10001", "blocks=x", "blocks=-1", "blocks=", "blocks=1.5"])
async def test_a_number_of_blocks_that_makes_no_sense_is_refused(http: httpx.AsyncClient, query: str) -> None:
    answer = await http.post(f"/admin/mine?{query}")
    assert (answer.status_code, answer.json()["fields"][0]["field"]) == (422, "blocks")


async def test_reads_go_on_while_blocks_are_made(http: httpx.AsyncClient) -> None:
    mining = asyncio.create_task(http.post("/admin/mine?blocks=300"))
    head = 0
    while not mining.done():
        head = (await http.get("/healthcheck")).json()["head"]
    assert (await mining).json()["head"]["number"] == 301
    assert head > 1


async def test_a_large_body_is_not_read(http: httpx.AsyncClient) -> None:
    answer = await http.post("/admin/faucet", content=b"x" * ((1 << 20) + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
