"""Reading calls: what is missing, what is wrong, GET and POST, and what solid state hides."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from services.devnet.genesis import KnownKey
from services.devnet.incoming import Incoming
from services.devnet.node import DevnetNode

Keys = tuple[KnownKey, ...]
Build = Callable[..., Incoming]
PARSE = "class org.tron.core.services.http.JsonFormat$ParseException : "


async def post(http: httpx.AsyncClient, path: str, body: Any) -> Any:
    answer = await http.post(path, json=body)
    assert answer.status_code == 200
    return answer.json()


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        ("getblockbynum", {"num": 99}, {}),
        ("getblockbynum", {"num": -1}, {}),
        ("getblockbyid", {"value": "00" * 32}, {}),
        ("getblock", {"id_or_num": "99"}, {}),
        ("getblock", {"id_or_num": "-1"}, {"Error": "num must be non-positive number."}),
        ("getblock", {"id_or_num": "abc"}, {"Error": "id must be legal block hash."}),
        ("getblock", {"id_or_num": 5}, {"Error": PARSE + "1:14: Expected string."}),
        ("getblockbylatestnum", {"num": 100}, {}),
        ("getblockbylimitnext", {"startNum": 5, "endNum": 5}, {}),
        ("getblockbylimitnext", {"startNum": 0, "endNum": 101}, {}),
        ("gettransactionbyid", {"value": "00" * 32}, {}),
        ("gettransactioninfobyid", {}, {}),
        ("gettransactioninfobyblocknum", {"num": 0}, {}),
        ("gettransactioninfobyblocknum", {"num": 99}, []),
        ("gettransactioncountbyblocknum", {"num": 99}, {"count": 0}),
        ("getaccount", {"address": "4177"}, {}),
        ("getaccount", {"address": "xy"}, {"Error": PARSE + "1:12: INVALID hex String"}),
        (
            "getaccount",
            {"visible": True, "address": "T0"},
            {"Error": PARSE + "1:27: INVALID base58 String, Illegal character 0 at 1"},
        ),
        (
            "getaccount",
            {"visible": True, "address": "TSHFUuZ6DWvtn3nDnKH3ug8Mz4gCCttHbx"},
            {"Error": "class java.lang.NullPointerException : null"},
        ),
        ("getaccount", {"address": 7}, {"Error": PARSE + "1:12: Expected string."}),
        (
            "getblockbynum",
            {"num": "5"},
            {"Error": PARSE + '1:8: Couldn\'t parse integer: For input string: ""5""'},
        ),
        (
            "getblockbynum",
            {"num": 1 << 63},
            {"Error": PARSE + f"1:8: Couldn't parse integer: Number out of range for 64-bit signed integer: {1 << 63}"},
        ),
        ("getblock", {"detail": 1}, {"Error": PARSE + '1:11: Expected "true" or "false".'}),
        ("getaccountresource", {"address": "41" + "00" * 20}, {}),
        ("getaccountnet", {"address": ""}, {}),
        ("getReward", {"address": "T?"}, None),
        ("getcontract", {"value": "41" + "00" * 20}, {}),
        ("getcontractinfo", {"value": "41" + "00" * 20}, {}),
        ("listnodes", {}, {}),
        ("getmemofee", {}, {"prices": "0:1000000"}),
        ("getbandwidthprices", {}, {"prices": "0:1000"}),
        ("getpendingsize", {}, {"pendingSize": 0}),
        ("gettransactionlistfrompending", {}, {}),
        ("totaltransaction", {}, {"num": 10}),
        ("validateaddress", {"address": "41"}, {"result": False, "message": "Length error"}),
        ("validateaddress", {"address": "T" * 34}, {"result": False, "message": "Invalid address"}),
        ("validateaddress", {"address": "42" * 21}, {"result": False, "message": "Invalid address"}),
        ("validateaddress", {"address": "41" * 21}, {"result": True, "message": "Hex string format"}),
        (
            "validateaddress",
            {"address": "TSHFUuZ6DWvtn3nDnKH3ug8Mz4gCCttHbz"},
            {"result": True, "message": "Base58check format"},
        ),
        ("validateaddress", {"address": "QUFBQUFBQUFBQUFBQUFBQUFBQUFB"}, {"result": True, "message": "Base64 format"}),
    ],
)
async def test_an_answer_is_java_trons_to_the_letter(
    http: httpx.AsyncClient, path: str, body: Any, answer: Any
) -> None:
    # java-tron's columns count in text without spaces.
    found = (await http.post(f"/wallet/{path}", json=body)).json()
    if answer is None:
        assert found["Error"].startswith("INVALID address, ")
    else:
        assert found == answer


async def test_an_empty_body_is_no_object(http: httpx.AsyncClient) -> None:
    assert (await http.post("/wallet/getaccount")).json() == {"Error": PARSE + '1:1: Expected "{".'}
    assert "blockID" in (await http.post("/wallet/getblock")).json()
    assert "blockID" in (await http.post("/wallet/getnowblock")).json()


async def test_a_line_break_counts_in_the_position_of_an_error(http: httpx.AsyncClient) -> None:
    answer = await http.post("/wallet/getaccount", content='{\n  "address" :  "xy"\n}')
    assert answer.json() == {"Error": PARSE + "2:16: INVALID hex String"}


async def test_what_can_be_posted_can_be_got(http: httpx.AsyncClient, accounts: Keys) -> None:
    own = accounts[0].address
    calls: list[tuple[str, dict[str, str | int | bool]]] = [
        ("getaccount", {"address": own.base58, "visible": True}),
        ("getaccount", {"address": own.hex}),
        ("getaccountresource", {"address": own.hex}),
        ("getblockbynum", {"num": 1}),
        ("getblockbylimitnext", {"startNum": 0, "endNum": 2}),
        ("getblock", {"id_or_num": "1", "detail": True}),
        ("getnowblock", {}),
        ("getReward", {"address": own.base58}),
        ("validateaddress", {"address": own.base58}),
    ]
    for path, parameters in calls:
        query = {key: str(value).lower() if isinstance(value, bool) else value for key, value in parameters.items()}
        got = (await http.get(f"/wallet/{path}", params=query)).json()
        assert got == await post(http, f"/wallet/{path}", parameters)


async def test_two_calls_look_for_visible_in_the_query_alone(http: httpx.AsyncClient) -> None:
    def address_in(found: Any) -> str:
        inner = found["witnesses"][0] if "witnesses" in found else found["block_header"]["raw_data"]
        return str(inner.get("address") or inner["witness_address"])

    for call in ("getnowblock", "listwitnesses"):
        assert address_in(await post(http, f"/wallet/{call}", {"visible": True})).startswith("41")
        assert address_in(await post(http, f"/wallet/{call}?visible=true", {})).startswith("T")
        assert address_in((await http.get(f"/wallet/{call}?visible=true")).json()).startswith("T")


async def test_a_form_is_as_good_as_json(http: httpx.AsyncClient, accounts: Keys) -> None:
    form = await http.post("/wallet/getaccount", data={"address": accounts[0].address.hex})
    assert form.json()["balance"] == 1_000_000_000_000


async def test_a_query_that_is_no_number_is_javas_complaint(http: httpx.AsyncClient) -> None:
    words = "class java.lang.NumberFormatException : "
    assert (await http.get("/wallet/getblockbynum?num=x")).json() == {"Error": words + 'For input string: "x"'}
    assert (await http.get("/wallet/getblockbylatestnum")).json() == {"Error": words + "null"}
    assert "DecoderException" in (await http.get("/wallet/gettransactionbyid?value=zz")).json()["Error"]


async def test_solid_calls_know_nothing_of_later_blocks(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys, strangers: Keys, build: Build
) -> None:
    transaction = build(node.chain, accounts[0], strangers[0].address, 5)
    node.chain.submit(transaction)
    block = node.chain.produce()
    bodies = {
        "getblockbynum": {"num": block.number},
        "getblockbyid": {"value": block.id.hex()},
        "getblock": {"id_or_num": str(block.number), "detail": True},
        "gettransactionbyid": {"value": transaction.txid.hex()},
        "gettransactioninfobyid": {"value": transaction.txid.hex()},
        "gettransactioninfobyblocknum": {"num": block.number},
        "getaccount": {"address": strangers[0].address.hex},
    }
    for _ in range(18):
        for call, body in bodies.items():
            assert await post(http, f"/walletsolidity/{call}", body) in ({}, [])
        node.chain.produce()
    for call, body in bodies.items():
        solid = await post(http, f"/walletsolidity/{call}", body)
        assert solid
        if call != "getaccount":
            assert solid == await post(http, f"/wallet/{call}", body)


async def test_the_pool_is_seen_by_the_head_and_not_by_solid_state(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys, build: Build
) -> None:
    transaction = build(node.chain, accounts[0], accounts[1].address, 5)
    node.chain.submit(transaction)
    value = {"value": transaction.txid.hex()}
    shown = await post(http, "/wallet/gettransactionbyid", value)
    assert shown["ret"] == [{"contractRet": "SUCCESS"}]
    assert await post(http, "/wallet/gettransactioninfobyid", value) == {}
    assert await post(http, "/walletsolidity/gettransactionbyid", value) == {}
    assert (await post(http, "/wallet/getaccount", {"address": accounts[1].address.hex}))[
        "balance"
    ] == 1_000_000_000_005
    assert (await post(http, "/wallet/gettransactionfrompending", value))["txID"] == transaction.txid.hex()
    assert await post(http, "/wallet/gettransactionlistfrompending", {}) == {"txId": [transaction.txid.hex()]}


async def test_a_call_that_is_not_there_is_404(http: httpx.AsyncClient) -> None:
    for path in ("/wallet/nosuchcall", "/walletsolidity/createtransaction", "/walletsolidity/broadcasthex", "/v2"):
        assert (await http.post(path, json={})).status_code == 404


async def test_created_transactions_carry_memo_and_permission(http: httpx.AsyncClient, accounts: Keys) -> None:
    body = {"owner_address": accounts[0].address.hex, "to_address": accounts[1].address.hex, "amount": 1}
    made = await post(http, "/wallet/createtransaction", body | {"extra_data": "beef", "Permission_id": 2})
    assert made["raw_data"]["data"] == "beef"
    assert made["raw_data"]["contract"][0]["Permission_id"] == 2
    wrong = await post(http, "/wallet/createtransaction", body | {"to_address": "41"})
    assert wrong == {"Error": "class org.tron.core.exception.ContractValidateException : Invalid toAddress!"}
    wrong = await post(http, "/wallet/createtransaction", body | {"owner_address": ""})
    assert wrong == {"Error": "class org.tron.core.exception.ContractValidateException : Invalid ownerAddress!"}


async def test_a_balance_can_be_asked_for_with_a_block(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys
) -> None:
    identifier = {"number": node.chain.head.number, "hash": node.chain.head.id.hex()}
    body = {"account_identifier": {"address": accounts[0].address.hex}, "block_identifier": identifier}
    assert await post(http, "/wallet/getaccountbalance", body) == {
        "balance": 1_000_000_000_000,
        "block_identifier": identifier,
    }
