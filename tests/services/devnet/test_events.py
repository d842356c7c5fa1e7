"""TronGrid's view of tokens: transfers of an account, events of contracts, blocks and transactions, balances."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from services.devnet.deployed import PLAIN_TOKEN, USDT
from services.devnet.events import named_event
from services.devnet.genesis import KnownKey, faucet
from services.devnet.incoming import Incoming
from services.devnet.node import DevnetNode
from services.protocol.abi import encode_approve, encode_transfer, event_topic
from services.protocol.address import Address
from services.protocol.contracts import TriggerSmartContract

Keys = tuple[KnownKey, ...]
Build = Callable[..., Incoming]


@pytest.fixture
def sent(node: DevnetNode, accounts: Keys, build: Build) -> list[Incoming]:
    """Six transfers of USDT and two of the plain token from the faucet, an approval; each in a block of its own."""

    def transfer(contract: Address, to: KnownKey, amount: int) -> Incoming:
        return call(node, build, contract, encode_transfer(to.address, amount))

    usdt = [transfer(USDT, accounts[at % 2], 1_000_000 + at) for at in range(6)]
    plain = [transfer(PLAIN_TOKEN, to, 10**18) for to in accounts[:2]]
    return [*usdt, *plain, call(node, build, USDT, encode_approve(accounts[0].address, 5))]


def call(node: DevnetNode, build: Build, contract: Address, data: bytes) -> Incoming:
    owner = faucet()
    transaction = build(
        node.chain,
        owner,
        contract,
        contract=TriggerSmartContract(owner.address, contract, data),
        fee_limit_sun=100_000_000,
    )
    node.chain.submit(transaction)
    node.mine()
    stored = node.chain.store.transaction(transaction.txid)
    assert stored is not None
    assert stored.receipt.result == "SUCCESS"
    return transaction


async def get(http: httpx.AsyncClient, path: str, **query: Any) -> Any:
    answer = await http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["success"] is True
    return body


async def test_token_transfers_of_an_account(http: httpx.AsyncClient, accounts: Keys, sent: list[Incoming]) -> None:
    me = accounts[0].address.base58
    found = (await get(http, f"/v1/accounts/{me}/transactions/trc20"))["data"]
    assert [entry["value"] for entry in found] == ["1000000000000000000", "1000004", "1000002", "1000000"]
    newest = found[0]
    assert newest["token_info"]["address"] == PLAIN_TOKEN.base58
    assert newest["token_info"]["decimals"] == 18
    assert found[1]["token_info"] == {
        "address": USDT.base58,
        "symbol": "USDT",
        "name": "Tether USD",
        "decimals": 6,
    }
    assert (found[1]["from"], found[1]["to"]) == (faucet().address.base58, me)
    assert (found[1]["transaction_id"], found[1]["type"]) == (sent[4].txid.hex(), "Transfer")
    only = await get(http, f"/v1/accounts/{me}/transactions/trc20", contract_address=USDT.base58)
    assert len(only["data"]) == 3
    assert (await get(http, f"/v1/accounts/{me}/transactions/trc20", only_from="true"))["data"] == []
    assert (await get(http, f"/v1/accounts/{me}/transactions/trc20", only_confirmed="true"))["data"] == []


async def test_pages_of_token_transfers_join_without_a_gap(
    http: httpx.AsyncClient, node: DevnetNode, sent: list[Incoming]
) -> None:
    whom = faucet().address.base58
    for order in ("desc", "asc"):
        seen, query = list[str](), {"limit": 3, "order_by": f"block_timestamp,{order}"}
        while True:
            found = await get(http, f"/v1/accounts/{whom}/transactions/trc20", **query)
            seen += [entry["transaction_id"] for entry in found["data"]]
            if "fingerprint" not in found["meta"]:
                break
            assert found["meta"]["fingerprint"] in found["meta"]["links"]["next"]
            query |= {"fingerprint": found["meta"]["fingerprint"]}
        wanted = [each.txid.hex() for each in sent[:8]]
        assert seen == (wanted if order == "asc" else wanted[::-1])


async def test_events_of_a_contract(http: httpx.AsyncClient, accounts: Keys, sent: list[Incoming]) -> None:
    found = (await get(http, f"/v1/contracts/{USDT.base58}/events"))["data"]
    assert [entry["event_name"] for entry in found] == ["Approval"] + ["Transfer"] * 6
    event = found[1]
    assert event["contract_address"] == event["caller_contract_address"] == USDT.base58
    assert event["event"] == "Transfer(address indexed from, address indexed to, uint256 value)"
    assert event["result_type"] == {"from": "address", "to": "address", "value": "uint256"}
    assert event["result"] == {
        "0": "0x" + faucet().address.evm.hex(),
        "1": "0x" + accounts[1].address.evm.hex(),
        "2": "1000005",
        "from": "0x" + faucet().address.evm.hex(),
        "to": "0x" + accounts[1].address.evm.hex(),
        "value": "1000005",
    }
    assert (event["transaction_id"], event["event_index"]) == (sent[5].txid.hex(), 0)
    path = f"/v1/contracts/{USDT.base58}/events"
    assert len((await get(http, path, event_name="Approval"))["data"]) == 1
    assert (await get(http, path, event_name="Nothing"))["data"] == []
    assert len((await get(http, path, block_number=event["block_number"]))["data"]) == 1
    since = event["block_timestamp"]
    assert len((await get(http, path, min_block_timestamp=since))["data"]) == 2
    assert len((await get(http, path, max_block_timestamp=since))["data"]) == 6


async def test_events_of_a_transaction_and_of_a_block(
    http: httpx.AsyncClient, node: DevnetNode, sent: list[Incoming]
) -> None:
    found = (await get(http, f"/v1/transactions/{sent[0].txid.hex()}/events"))["data"]
    assert [entry["result"]["value"] for entry in found] == ["1000000"]
    assert found[0]["_unconfirmed"] is True
    height = found[0]["block_number"]
    assert (await get(http, f"/v1/blocks/{height}/events"))["data"] == found
    assert [e["event_name"] for e in (await get(http, "/v1/blocks/latest/events"))["data"]] == ["Approval"]
    node.mine(30)
    confirmed = (await get(http, f"/v1/transactions/{sent[0].txid.hex()}/events", only_confirmed="true"))["data"]
    assert "_unconfirmed" not in confirmed[0]
    assert (await get(http, f"/v1/transactions/{'00' * 32}/events"))["data"] == []


async def test_an_account_with_its_tokens(http: httpx.AsyncClient, accounts: Keys, sent: list[Incoming]) -> None:
    (found,) = (await get(http, f"/v1/accounts/{accounts[0].address.base58}"))["data"]
    assert found["address"] == accounts[0].address.hex
    assert {USDT.base58: "3000006"} in found["trc20"]
    assert {PLAIN_TOKEN.base58: str(10**18)} in found["trc20"]
    stranger = Address.from_evm(b"\x07" * 20).base58
    assert (await get(http, f"/v1/accounts/{stranger}"))["data"] == []


async def test_undone_blocks_have_no_events(http: httpx.AsyncClient, node: DevnetNode, sent: list[Incoming]) -> None:
    await http.post("/admin/fork", json={"blocks": 3, "transactions": "lost"})
    found = (await get(http, f"/v1/contracts/{USDT.base58}/events"))["data"]
    assert [entry["event_name"] for entry in found] == ["Transfer"] * 6


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/contracts/nobody/events", "Not a valid address"),
        (f"/v1/contracts/{USDT.base58}/events?limit=201", "limit: "),
        (f"/v1/contracts/{USDT.base58}/events?fingerprint=1-2", "another list"),
        (f"/v1/accounts/{USDT.base58}/transactions?fingerprint=1-2-3", "another list"),
        (f"/v1/contracts/{USDT.base58}/events?fingerprint=x", "fingerprint: it is not one that this node gave"),
        (f"/v1/accounts/{USDT.base58}/transactions/trc20?contract_address=T", "contract_address: "),
        ("/v1/transactions/xyz/events", "Not a valid transaction id"),
        ("/v1/blocks/-1/events", "Not a valid block number"),
    ],
)
async def test_a_query_that_makes_no_sense_is_explained(http: httpx.AsyncClient, path: str, words: str) -> None:
    answer = await http.get(path)
    assert answer.status_code == 400
    assert answer.json()["success"] is False
    assert words in answer.json()["error"]


ABI = """{"entrys": [{"type": "Event", "name": "Noted", "inputs": [
    {"name": "who", "type": "string", "indexed": true}, {"name": "text", "type": "string"},
    {"name": "less", "type": "int8"}, {"name": "", "type": "bool"}, {"name": "raw", "type": "bytes"}]}]}"""


def test_values_of_every_kind_are_read() -> None:
    topic = event_topic("Noted(string,string,int8,bool,bytes)").hex()
    words = [4 * 32, (1 << 256) - 2, 1, 6 * 32, 2, int.from_bytes(b"hi".ljust(32, b"\0")), 1, 0xAB << 248]
    data = b"".join(word.to_bytes(32) for word in words).hex()
    event = named_event(ABI, [topic, "11" * 32], data)
    assert event.name == "Noted"
    assert event.result["who"] == "11" * 32
    assert (event.result["text"], event.result["less"], event.result["3"]) == ("hi", "-2", "true")
    assert event.result["raw"] == "ab"


def test_an_event_that_no_abi_names_is_shown_raw() -> None:
    event = named_event("", ["22" * 32], "33")
    assert (event.name, event.signature, event.result) == ("", "", {"0": "22" * 32, "data": "33"})
