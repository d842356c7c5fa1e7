"""Broadcasts over HTTP: every code, in the form of the JSON call and in that of the hex call."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from services.devnet.chain import Chain
from services.devnet.faults import FaultRequest
from services.devnet.genesis import KnownKey
from services.devnet.incoming import Incoming
from services.devnet.node import DevnetNode
from services.devnet.refusals import Code
from services.protocol.json import transaction_to_json
from services.protocol.transaction import SignedTransaction

Keys = tuple[KnownKey, ...]
Build = Callable[..., Incoming]


def as_json(transaction: Incoming, *, visible: bool = False) -> dict[str, Any]:
    return transaction_to_json(transaction.signed(), visible, with_visible=True)


async def send_json(http: httpx.AsyncClient, body: Any) -> Any:
    answer = await http.post("/wallet/broadcasttransaction", json=body)
    assert answer.status_code == 200
    return answer.json()


async def send_hex(http: httpx.AsyncClient, data: bytes) -> Any:
    answer = await http.post("/wallet/broadcasthex", json={"transaction": data.hex()})
    assert answer.status_code == 200
    return answer.json()


async def test_a_taken_transaction_by_json_has_a_result_and_its_id(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys, build: Build
) -> None:
    for visible in (False, True):
        transaction = build(node.chain, accounts[0], accounts[1].address)
        answer = await send_json(http, as_json(transaction, visible=visible))
        assert answer == {"result": True, "txid": transaction.txid.hex()}


async def test_a_taken_transaction_by_hex_is_repeated(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys, build: Build
) -> None:
    transaction = build(node.chain, accounts[0], accounts[1].address, 5)
    answer = await send_hex(http, transaction.signed().encode())
    assert list(answer) == ["result", "code", "txid", "message", "transaction"]
    assert (answer["result"], answer["code"], answer["message"]) == (True, "SUCCESS", "")
    raw_json = as_json(transaction)["raw_data"]
    assert transaction.contract is not None
    url, value = "type.googleapis.com/protocol.TransferContract", transaction.contract.value.hex()
    assert answer["transaction"] == (
        f'{{"raw_data": {{"ref_block_bytes": "{raw_json["ref_block_bytes"]}",'
        f'"ref_block_hash": "{raw_json["ref_block_hash"]}","expiration": {raw_json["expiration"]},'
        '"contract": [{"type": "TransferContract","parameter": '
        f'{{"type_url": "{url}","value": "{value}"}}}}],'
        f'"timestamp": {raw_json["timestamp"]}}},"signature": ["{transaction.signatures[0].hex()}"]}}'
    )


async def test_the_json_call_looks_at_raw_data_alone(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys, build: Build
) -> None:
    transaction = build(node.chain, accounts[0], accounts[1].address)
    body = as_json(transaction) | {"txID": "00" * 32, "raw_data_hex": "00"}
    assert (await send_json(http, body))["txid"] == transaction.txid.hex()


async def test_a_message_is_hex_by_json_and_text_by_hex_or_when_visible(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys, build: Build
) -> None:
    transaction = build(node.chain, accounts[0], accounts[1].address, 1 << 60)
    words = "Contract validate error : Validate TransferContract error, balance is not sufficient."
    by_json = await send_json(http, as_json(transaction))
    assert list(by_json) == ["code", "txid", "message"]
    assert bytes.fromhex(by_json["message"]).decode() == words
    assert (await send_json(http, as_json(transaction, visible=True)))["message"] == words
    assert (await send_hex(http, transaction.signed().encode()))["message"] == words


def refused(chain: Chain, keys: Keys, strangers: Keys, build: Build) -> dict[Code, Incoming]:
    """A transaction for each code that the state of a chain can bring about."""
    own, to = keys[0], keys[1].address
    taken = build(chain, own, to)
    chain.submit(taken)
    for amount in (1_000_000, 1, 2):
        chain.submit(
            build(chain, own if amount > 2 else strangers[0], strangers[0].address if amount > 2 else to, amount)
        )
    twice = build(chain, own, to)
    # The contract (field 11) once more.
    contract = twice.raw[twice.raw.index(b"\x5a") : twice.raw.rindex(b"\x70")]
    return {
        Code.SIGERROR: build(chain, own, to, signers=(keys[2],)),
        Code.CONTRACT_VALIDATE_ERROR: build(chain, own, own.address),
        Code.BANDWITH_ERROR: build(chain, strangers[0], to, 999_990, memo=b"m"),
        Code.DUP_TRANSACTION_ERROR: taken,
        Code.TAPOS_ERROR: build(chain, own, to, ref_block_hash=b"otherone"),
        Code.TOO_BIG_TRANSACTION_ERROR: build(chain, own, to, memo=b"m" * 511_700),
        Code.TRANSACTION_EXPIRATION_ERROR: build(chain, own, to, expiration_ms=chain.head.time_ms),
        Code.OTHER_ERROR: Incoming.decode(SignedTransaction(twice.raw + contract, ()).encode()),
    }


async def test_each_code_of_a_refusal_is_answered(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys, strangers: Keys, build: Build
) -> None:
    for code, transaction in refused(node.chain, accounts, strangers, build).items():
        if code is Code.OTHER_ERROR:
            continue
        answer = await send_hex(http, transaction.signed().encode())
        assert (answer["result"], answer["code"]) == (False, code.name)
        assert answer["message"]
        if code is not Code.TOO_BIG_TRANSACTION_ERROR:
            assert (await send_json(http, as_json(transaction)))["code"] == code.name


async def test_two_contracts_in_one_transaction_are_another_error(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys, strangers: Keys, build: Build
) -> None:
    from services.protocol.signature import sign

    transaction = refused(node.chain, accounts, strangers, build)[Code.OTHER_ERROR]
    signature = sign(transaction.txid, accounts[0].private_key)
    answer = await send_hex(http, SignedTransaction(transaction.raw, (signature,)).encode())
    assert answer["code"] == "OTHER_ERROR"
    assert answer["message"].endswith("contract size should be exactly 1, this is extend feature ,actual :2")


async def test_a_full_pool_answers_server_busy(accounts: Keys, build: Build) -> None:
    from services.devnet.settings import DevnetSettings

    settings = DevnetSettings(listen="127.0.0.1:0", block_interval_ms=0, pool_size=10)
    async with DevnetNode(settings) as node, httpx.AsyncClient(base_url=node.url) as http:
        for _ in range(10):
            await send_hex(http, build(node.chain, accounts[0], accounts[1].address).signed().encode())
        answer = await send_hex(http, build(node.chain, accounts[0], accounts[1].address).signed().encode())
        assert (answer["code"], answer["message"]) == ("SERVER_BUSY", "Server busy.")


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.SUCCESS])
async def test_every_code_can_be_asked_for(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys, build: Build, code: Code
) -> None:
    node.faults.add(FaultRequest(kind="answer", code=code.name, count=1))
    transaction = build(node.chain, accounts[0], accounts[1].address)
    answer = await send_json(http, as_json(transaction))
    assert answer["code"] == code.name
    assert transaction.txid not in node.chain.pool
    assert (await send_json(http, as_json(transaction)))["result"] is True


async def test_what_is_no_transaction_is_a_java_exception(http: httpx.AsyncClient) -> None:
    null = {"Error": "class java.lang.NullPointerException : null"}
    bodies: list[dict[str, Any]] = [{}, {"raw_data": {}}, {"raw_data": "00"}, {"raw_data": {"contract": {}}}]
    for body in bodies:
        assert await send_json(http, body) == null
    assert "DecoderException" in (await http.post("/wallet/broadcasthex", json={"transaction": "xy"})).json()["Error"]
    answer = (await http.post("/wallet/broadcasthex", json={"transaction": "0aff"})).json()
    assert answer["Error"].startswith("class com.google.protobuf.InvalidProtocolBufferException : ")
    for text in ("", "[]", "{", "7", '{"a":' * 100_000):
        answer = (await http.post("/wallet/broadcasttransaction", content=text)).json()
        assert answer["Error"].startswith("class ")


async def test_a_contract_that_makes_no_sense_is_no_contract(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys, build: Build
) -> None:
    body = as_json(build(node.chain, accounts[0], accounts[1].address))
    body["raw_data"]["contract"][0]["type"] = "NoSuchContract"
    answer = await send_json(http, body)
    assert answer["code"] == "CONTRACT_VALIDATE_ERROR"
    assert bytes.fromhex(answer["message"]) == b"Contract validate error : No contract!"


async def test_a_body_of_more_than_a_mebibyte_is_refused(http: httpx.AsyncClient) -> None:
    answer = await http.post("/wallet/broadcasthex", json={"transaction": "00" * (1 << 20)})
    assert answer.json() == {"Error": "class java.lang.Exception : body size is too big, the limit is 1048576"}


async def test_a_get_of_a_broadcast_is_not_allowed(http: httpx.AsyncClient) -> None:
    assert (await http.get("/wallet/broadcasttransaction")).status_code == 405
    assert (await http.get("/wallet/createtransaction")).text == ""


async def test_sign_weight_tells_how_far_signatures_reach(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys, strangers: Keys, build: Build
) -> None:
    async def weigh(transaction: Incoming) -> Any:
        return (await http.post("/wallet/getsignweight", json=as_json(transaction))).json()

    own, to = accounts[0], accounts[1].address
    enough = await weigh(build(node.chain, own, to))
    assert enough["result"] == {}
    assert (enough["current_weight"], enough["approved_list"]) == (1, [own.address.hex])
    assert (await weigh(build(node.chain, own, to, signers=())))["result"] == {"code": "NOT_ENOUGH_PERMISSION"}
    stranger = await weigh(build(node.chain, own, to, signers=(strangers[0],)))
    assert stranger["result"]["code"] == "PERMISSION_ERROR"
    missing = await weigh(build(node.chain, strangers[0], to))
    assert missing["result"] == {"code": "PERMISSION_ERROR", "message": "Account does not exist!"}
    active = await weigh(build(node.chain, own, to, permission_id=2))
    assert (active["permission"]["type"], active["permission"]["id"]) == ("Active", 2)


async def test_the_approved_list_names_signers_whoever_they_are(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys, strangers: Keys, build: Build
) -> None:
    transaction = build(node.chain, accounts[0], accounts[1].address, signers=(strangers[0], strangers[1]))
    answer = (await http.post("/wallet/getapprovedlist", json=as_json(transaction, visible=True))).json()
    assert answer["approved_list"] == [key.address.base58 for key in strangers[:2]]
    assert answer["result"] == {}
