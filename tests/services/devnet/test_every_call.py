"""Every call under `/wallet` and `/walletsolidity`: whatever it is sent it answers, and `visible` both ways."""

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import httpx
import pytest

from services.devnet.calls import SOLIDITY, WALLET
from services.devnet.deployed import USDT
from services.devnet.genesis import KnownKey, witnesses
from services.devnet.incoming import Incoming
from services.devnet.node import DevnetNode
from services.protocol.address import Address, AddressError
from services.protocol.contracts import DelegateResource, FreezeBalanceV2, Resource, Vote, VoteWitness

Keys = tuple[KnownKey, ...]
Build = Callable[..., Incoming]

ABOUT_TRANSACTIONS = ("broadcasttransaction", "broadcasthex", "getsignweight", "getapprovedlist")
PATHS = [f"/wallet/{name}" for name in (*sorted(WALLET), *ABOUT_TRANSACTIONS)]
PATHS += [f"/walletsolidity/{name}" for name in sorted(SOLIDITY)]

# fmt: off
NAMES = [
    "Permission_id", "abi", "account_address", "account_identifier", "actives", "address", "amount", "balance",
    "block_identifier", "bytecode", "call_token_value", "call_value", "consume_user_resource_percent",
    "contract_address", "data", "detail", "endNum", "extra_data", "fee_limit", "fromAddress", "frozen_balance",
    "function_selector", "id_or_num", "lock", "lock_period", "name", "num", "origin_energy_limit", "owner",
    "owner_address", "parameter", "raw_data", "receiver_address", "resource", "signature", "startNum",
    "timestamp", "toAddress", "to_address", "token_id", "transaction", "type", "unfreeze_balance", "value",
    "visible", "votes", "witness",
]
# fmt: on
"""Whatever the calls look for."""

JUNK: dict[str, Any] = {
    "null": None,
    "true": True,
    "minus one": -1,
    "one": 1,
    "beyond 64 bits": 1 << 64,
    "400 digits": 10**400,
    "fraction": 1.5,
    "empty text": "",
    "no hex": "zz",
    "odd hex": "0x4",
    "short address": "41",
    "unknown address": "41" + "77" * 20,
    "base58 of nobody": "T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb",
    "5,000 digits": "9" * 5000,
    "half a character": "\ud800",
    "zero character": "é\0",
    "JSON in text": '[{"type":"Function","inputs":[{"name":1}]}]',
    "empty list": [],
    "list of null": [None],
    "list of an object": [{}],
    "empty object": {},
    "object of numbers": {"address": 5, "hash": 7, "number": "x", "contract": [None]},
    "half a contract": {"contract": [{"parameter": {"value": None}, "type": "TransferContract"}]},
    "contract of text": {"contract": [{"parameter": {"value": {"amount": "q"}}, "type": "TransferContract"}]},
}


async def _answers(http: httpx.AsyncClient, path: str, body: str) -> None:
    answer = await http.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200, (path, body[:300], answer.text)
    answer.json()


@pytest.mark.parametrize("junk", JUNK)
async def test_junk_in_every_field_is_answered(http: httpx.AsyncClient, junk: str) -> None:
    everything = dict.fromkeys(NAMES, JUNK[junk])
    for path in PATHS:
        for visible in (True, False):
            await _answers(http, path, json.dumps(everything | {"visible": visible}))


async def test_junk_in_one_field_among_good_ones_is_answered(http: httpx.AsyncClient, accounts: Keys) -> None:
    pick = Random(7)
    good = _parameters(accounts, "00" * 32, visible=False)
    for _ in range(1_500):
        name, junk = pick.choice(NAMES), pick.choice(list(JUNK))
        await _answers(http, pick.choice(PATHS), json.dumps(good | {name: JUNK[junk]}))


@pytest.mark.parametrize(
    "body", ["", "null", "[]", "5", "{", '"x"', '{"a":', "\xff", '{"num":NaN,"amount":Infinity,"address":-Infinity}']
)
async def test_a_body_that_is_no_object_is_answered(http: httpx.AsyncClient, body: str) -> None:
    for path in PATHS:
        await _answers(http, path, body)


@pytest.mark.parametrize("value", ["", "x", "-1", "9" * 20, "41" + "77" * 20, "%ff%00"])
async def test_junk_in_the_query_is_answered(http: httpx.AsyncClient, value: str) -> None:
    query = "&".join(f"{name}={value}" for name in NAMES)
    for path in PATHS:
        answer = await http.get(f"{path}?{query}")
        # Some of java-tron's servlets have no GET.
        assert answer.status_code in {200, 405}, (path, answer.text)


async def test_half_a_character_becomes_a_question_mark(http: httpx.AsyncClient) -> None:
    body = '{"visible":true,"address":"\\ud800"}'
    answer = (await http.post("/wallet/getaccount", content=body)).json()
    assert answer["Error"].endswith("Illegal character ? at 0")


def _parameters(accounts: Keys, txid: str, *, visible: bool) -> dict[str, Any]:
    """Something sensible for every parameter that any call has."""

    def shown(address: Address) -> str:
        return address.base58 if visible else address.hex

    own, to = shown(accounts[0].address), shown(accounts[1].address)
    return {
        "visible": visible,
        "address": own,
        "owner_address": own,
        "account_address": shown(Address.from_evm(bytes(20))),
        "to_address": to,
        "receiver_address": to,
        "contract_address": shown(USDT),
        "fromAddress": own,
        "toAddress": to,
        "amount": 5,
        "frozen_balance": 1_000_000,
        "unfreeze_balance": 1_000_000,
        "balance": 1_000_000,
        "resource": "ENERGY",
        "votes": [{"vote_address": shown(witnesses()[0].address), "vote_count": 1}],
        "function_selector": "transfer(address,uint256)",
        "parameter": accounts[1].address.evm.hex().zfill(64) + f"{0:064x}",
        "abi": "[]",
        "bytecode": "00",
        "num": 2,
        "startNum": 1,
        "endNum": 3,
        "id_or_num": "2",
        "detail": True,
        "value": txid,
    }


NOT_VISIBLE = {"getnowblock", "listwitnesses"}
"""Calls that look for `visible` in the query alone."""

CALLS_OF_AN_ADDRESS = {
    "getcontract",
    "getcontractinfo",
    "getdelegatedresourceaccountindex",
    "getdelegatedresourceaccountindexv2",
}
"""Those whose `value` is an address, not an id."""


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


def _in_hex(value: Any) -> Any:
    """The same answer with every base58 address in hex."""
    if isinstance(value, dict):
        return {key: _in_hex(inner) for key, inner in value.items() if key not in {"visible", "timestamp", "message"}}
    if isinstance(value, list):
        return [_in_hex(inner) for inner in value]
    try:
        return Address.parse(value).hex if isinstance(value, str) else value
    except AddressError:
        return value


STAMPED = {"txID", "raw_data_hex"}
"""What is different in two transactions that are built one after the other."""


def _without_stamps(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_stamps(inner) for key, inner in value.items() if key not in STAMPED}
    return value


@pytest.mark.parametrize("prefix", ["wallet", "walletsolidity"])
async def test_visible_changes_the_form_of_addresses_and_nothing_else(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys, build: Build, prefix: str
) -> None:
    own, other = accounts[0], accounts[1].address
    transfer = build(node.chain, own, other, 5)
    stakes = [FreezeBalanceV2(own.address, 9_000_000, resource) for resource in (Resource.ENERGY, Resource.BANDWIDTH)]
    vote = VoteWitness(own.address, (Vote(witnesses()[1].address, 3),))
    lent = DelegateResource(own.address, Resource.ENERGY, 2_000_000, other)
    for transaction in (transfer, *(build(node.chain, own, other, contract=item) for item in (*stakes, vote, lent))):
        node.chain.submit(transaction)
    node.mine(30)
    addresses = 0
    for name in sorted((WALLET if prefix == "wallet" else SOLIDITY).keys() - NOT_VISIBLE):
        answers = []
        for visible in (True, False):
            body = _parameters(accounts, transfer.txid.hex(), visible=visible)
            if name in CALLS_OF_AN_ADDRESS:
                address = own.address if "delegated" in name else USDT
                body["value"] = address.base58 if visible else address.hex
            answers.append((await http.post(f"/{prefix}/{name}", json=body)).json())
        in_base58, in_hex = answers
        if name == "deploycontract":
            # It follows from the id.
            del in_base58["contract_address"], in_hex["contract_address"]
        assert _without_stamps(_in_hex(in_base58)) == _without_stamps(_in_hex(in_hex)), name
        if name != "validateaddress":
            assert not any(text == own.address.base58 for text in _texts(in_hex)), name
            assert not any(text == own.address.hex for text in _texts(in_base58)), name
        addresses += any(text == own.address.base58 for text in _texts(in_base58))
    assert addresses >= (15 if prefix == "wallet" else 5)


NO_GET = {
    "broadcasthex",
    "broadcasttransaction",
    "cancelallunfreezev2",
    "createaccount",
    "delegateresource",
    "freezebalancev2",
    "getaccountbalance",
}
"""Calls whose servlet has no `doGet`."""

EMPTY_GET = {
    "accountpermissionupdate",
    "createtransaction",
    "deploycontract",
    "estimateenergy",
    "getapprovedlist",
    "getsignweight",
    "triggerconstantcontract",
    "triggersmartcontract",
    "undelegateresource",
    "unfreezebalancev2",
    "votewitnessaccount",
    "withdrawbalance",
    "withdrawexpireunfreeze",
}
"""Calls whose `doGet` does nothing."""


async def test_a_get_is_what_java_trons_servlets_make_of_it(http: httpx.AsyncClient) -> None:
    for path in PATHS:
        name = path.rpartition("/")[2]
        answer = await http.get(path)
        assert answer.status_code == (405 if name in NO_GET else 200), name
        assert bool(answer.content) == (name not in NO_GET | EMPTY_GET), name
