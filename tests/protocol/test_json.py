"""TRON's JSON: the very text that a real node prints, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.protocol.address import Address
from services.protocol.block import Block, BlockHeader, devnet_genesis
from services.protocol.contracts import (
    AccountCreate,
    AccountPermissionUpdate,
    DelegateResource,
    FreezeBalanceV2,
    Key,
    Permission,
    PermissionType,
    Resource,
    Transfer,
    TriggerSmartContract,
    Vote,
    VoteWitness,
)
from services.protocol.json import (
    block_to_json,
    contract_to_json,
    java_order,
    raw_from_json,
    raw_to_json,
    transaction_from_json,
    transaction_to_json,
)
from services.protocol.transaction import ContractRet, RawData, SignedTransaction
from services.protocol.wire import ProtocolError

NODE: dict[str, Any] = json.loads((Path(__file__).parent / "java_tron.json").read_text())
VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "vectors.json").read_text())
OWNER = Address.parse("TMVQGm1qAQYVdetCeGRRkTWYYrLXuHK2HC")
OTHER = Address.parse("TLWjMh8dvQMfAMFZoUcDzj8sU9gQGJfUre")


def text(shown: object) -> str:
    """As text, because the order of keys counts."""
    return json.dumps(shown)


@pytest.mark.parametrize(
    ("call", "visible"),
    [("gettransactionbyid", True), ("createtransaction", True), ("getsignweight_transaction", False)],
)
def test_transactions_are_printed_to_the_letter_as_a_real_node_does(call: str, visible: bool) -> None:
    shown = NODE[call]
    transaction = transaction_from_json(shown, visible)
    assert transaction.txid == shown["txID"]
    assert transaction.raw.hex() == shown["raw_data_hex"]
    assert text(transaction_to_json(transaction, visible, with_visible="visible" in shown)) == text(shown)


@pytest.mark.parametrize("call", ["getnowblock", "getnowblock_empty"])
def test_blocks_are_printed_to_the_letter_as_a_real_node_does(call: str) -> None:
    shown = NODE[call]
    raw = shown["block_header"]["raw_data"]
    header = BlockHeader(
        number=raw["number"],
        timestamp_ms=raw["timestamp"],
        parent_hash=bytes.fromhex(raw["parentHash"]),
        tx_trie_root=bytes.fromhex(raw["txTrieRoot"]),
        witness_address=bytes.fromhex(raw["witness_address"]),
        version=raw["version"],
    )
    transactions = tuple(transaction_from_json(entry, visible=False) for entry in shown.get("transactions", []))
    block = Block(header, transactions, bytes.fromhex(shown["block_header"]["witness_signature"]))
    assert text(block_to_json(block, visible=False)) == text(shown)
    visible = block_to_json(block, visible=True)["block_header"]["raw_data"]["witness_address"]
    assert visible == Address(header.witness_address).base58


def test_block_0_shows_no_number_and_no_signature() -> None:
    shown = block_to_json(devnet_genesis(), visible=True)
    assert list(shown) == ["blockID", "block_header", "transactions"]
    assert list(shown["block_header"]) == ["raw_data"]
    assert "number" not in shown["block_header"]["raw_data"]
    assert "signature" not in shown["transactions"][0]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
@pytest.mark.parametrize("visible", [True, False])
def test_every_contract_type_is_read_back_from_its_json(vector: dict[str, Any], visible: bool) -> None:
    transaction = SignedTransaction(bytes.fromhex(vector["raw_data_hex"]), (bytes.fromhex(vector["signature"]),))
    shown = json.loads(text(transaction_to_json(transaction, visible)))
    assert transaction_from_json(shown, visible) == transaction
    if not visible:
        assert shown["raw_data"] == vector["raw_data"]


def test_visible_makes_base58_of_every_address_and_of_nothing_else() -> None:
    keys = (Key(OTHER, 1),)
    permission = Permission(PermissionType.Active, "a", 1, keys, operations=b"\x7f" + bytes(31), id=2)
    update = AccountPermissionUpdate(OWNER, Permission(PermissionType.Owner, "o", 1, keys), permission, (permission,))
    delegate = DelegateResource(OWNER, Resource.ENERGY, 5, OTHER, lock=True)
    trigger = TriggerSmartContract(OWNER, OTHER, OTHER.raw)
    for contract in (update, delegate, trigger, VoteWitness(OWNER, (Vote(OTHER, 1),)), AccountCreate(OWNER, OTHER)):
        hidden = text(contract_to_json(contract, visible=False))
        shown = text(contract_to_json(contract, visible=True))
        assert "T" + OTHER.base58[1:] in shown
        assert "TMVQ" not in hidden
        # Call data stays hex, also where it happens to look like an address.
        call_data = f'"data": "{OTHER.hex}"'
        assert shown == hidden.replace(call_data, "@").replace(OWNER.hex, OWNER.base58).replace(
            OTHER.hex, OTHER.base58
        ).replace("@", call_data)


def test_memo_permission_and_fee_limit_stand_where_a_node_puts_them() -> None:
    trigger = TriggerSmartContract(OWNER, OTHER, b"\xa9", call_value_sun=1, call_token_value=2, token_id=3)
    raw = RawData(trigger, b"\x01\x02", bytes(8), 1_000, 500, fee_limit_sun=77, memo=b"hi", permission_id=2)
    shown = raw_to_json(raw, visible=True)
    assert list(shown) == [
        "data",
        "contract",
        "ref_block_bytes",
        "ref_block_hash",
        "expiration",
        "fee_limit",
        "timestamp",
    ]
    assert shown["data"] == "6869"
    assert list(shown["contract"][0]) == ["parameter", "type", "Permission_id"]
    assert shown["contract"][0]["Permission_id"] == 2
    assert raw_from_json(shown, visible=True) == raw


def test_usdt_transfers_list_their_keys_as_explorers_show_them() -> None:
    shown = contract_to_json(TriggerSmartContract(OWNER, OTHER, b"\xa9"), visible=False)
    assert list(shown["parameter"]["value"]) == ["data", "owner_address", "contract_address"]


def test_results_are_shown_by_name_and_read_back() -> None:
    raw = RawData(Transfer(OWNER, OTHER, 1), b"\x01\x02", bytes(8), 1_000, 500).encode()
    transaction = SignedTransaction(raw, (bytes(65),), ContractRet.OUT_OF_ENERGY)
    shown = transaction_to_json(transaction, visible=False)
    assert shown["ret"] == [{"contractRet": "OUT_OF_ENERGY"}]
    assert transaction_from_json(shown, visible=False) == transaction


def test_txid_and_raw_data_hex_are_not_believed() -> None:
    shown = {**NODE["gettransactionbyid"], "txID": "00" * 32, "raw_data_hex": "00"}
    assert transaction_from_json(shown, visible=True).txid == NODE["gettransactionbyid"]["txID"]


def test_java_order_is_that_of_a_hash_map() -> None:
    assert java_order(("b", "a")) == ("a", "b")
    # "Aa" and "BB" have the same hash in Java: whoever was put in first comes first.
    assert java_order(("BB", "Aa")) == ("BB", "Aa")
    assert java_order(("Aa", "BB")) == ("Aa", "BB")
    # With twelve entries there are 16 buckets, and `p` (112) falls into the first; the thirteenth makes it 32.
    assert "".join(java_order(tuple("efghijklmnop"))) == "pefghijklmno"
    assert "".join(java_order(tuple("defghijklmnop"))) == "defghijklmnop"


def _changed(path: str, value: object) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(text(NODE["gettransactionbyid"]))
    *parents, last = path.split(".")
    place: Any = shown
    for name in parents:
        place = place[int(name)] if name.isdigit() else place[name]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return shown


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("raw_data", None, "raw_data"),
        ("raw_data", [], "raw_data"),
        ("raw_data.contract", None, "contract"),
        ("raw_data.contract", [], "contract"),
        ("raw_data.contract", [1], "contract"),
        ("raw_data.contract", "x", "contract"),
        ("raw_data.contract.0.type", "AssetIssueContract", "contract"),
        ("raw_data.contract.0.type", ["TransferContract"], "contract"),
        ("raw_data.contract.0.parameter", None, "parameter"),
        ("raw_data.contract.0.parameter.value", "0a", "value"),
        ("raw_data.contract.0.parameter.value.amount", "13", "amount"),
        ("raw_data.contract.0.parameter.value.amount", 13.0, "amount"),
        ("raw_data.contract.0.parameter.value.amount", True, "amount"),
        ("raw_data.contract.0.parameter.value.amount", 1 << 63, "amount"),
        ("raw_data.contract.0.parameter.value.to_address", None, "to_address"),
        ("raw_data.contract.0.parameter.value.to_address", 5, "to_address"),
        ("raw_data.contract.0.parameter.value.to_address", "TLWjMh8dvQMfAMFZoUcDzj8sU9gQGJfUrf", "to_address"),
        ("raw_data.contract.0.Permission_id", "2", "Permission_id"),
        ("raw_data.ref_block_bytes", "0g", "ref_block_bytes"),
        ("raw_data.ref_block_bytes", "00 35", "ref_block_bytes"),
        ("raw_data.ref_block_hash", 5, "ref_block_hash"),
        ("raw_data.expiration", "soon", "expiration"),
        ("raw_data.data", "hello", "data"),
        ("signature", "00", "signature"),
        ("signature", [5], "signature"),
        ("ret", [{"contractRet": "FINE"}], "contractRet"),
        ("ret", [{"contractRet": 99}], "contractRet"),
        ("ret", [{"contractRet": True}], "contractRet"),
    ],
)
def test_malformed_json_is_refused_and_the_field_named(path: str, value: object, field: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        transaction_from_json(_changed(path, value), visible=True)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("resource", "WIND", "resource"),
        ("resource", 7, "resource"),
        ("resource", 1.5, "resource"),
        ("lock", 1, "lock"),
        ("owner_address", "zz", "owner_address"),
        ("owner_address", "41" * 20, "owner_address"),
    ],
)
def test_malformed_contracts_are_refused_and_the_field_named(name: str, value: object, field: str) -> None:
    raw = RawData(DelegateResource(OWNER, Resource.ENERGY, 5, OTHER), b"\x01\x02", bytes(8), 1_000, 500)
    shown = raw_to_json(raw, visible=False)
    shown["contract"][0]["parameter"]["value"][name] = value
    with pytest.raises(ProtocolError) as caught:
        raw_from_json(shown, visible=False)
    assert caught.value.field == field


@pytest.mark.parametrize("actives", [5, [5], [{"keys": 5}], [{"permission_name": 5}]])
def test_malformed_permissions_are_refused(actives: object) -> None:
    value = {"owner_address": OWNER.hex, "owner": {}, "actives": actives}
    contract = {"type": "AccountPermissionUpdateContract", "parameter": {"value": value}}
    with pytest.raises(ProtocolError):
        raw_from_json({"contract": [contract]}, visible=False)


def test_enums_may_be_numbers() -> None:
    raw = RawData(FreezeBalanceV2(OWNER, 5, Resource.ENERGY), b"\x01\x02", bytes(8), 1_000, 500)
    shown = raw_to_json(raw, visible=False)
    shown["contract"][0]["parameter"]["value"]["resource"] = 1
    assert raw_from_json(shown, visible=False) == raw


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
PATHS = [
    "raw_data",
    "raw_data.contract",
    "raw_data.contract.0.parameter",
    "raw_data.contract.0.parameter.value",
    "raw_data.contract.0.parameter.value.to_address",
    "raw_data.contract.0.parameter.value.amount",
    "raw_data.contract.0.type",
    "raw_data.ref_block_hash",
    "raw_data.timestamp",
    "signature",
    "ret",
]


@given(st.sampled_from(PATHS), JSON_VALUES, st.booleans())
def test_any_json_is_a_transaction_or_a_protocol_error(path: str, value: object, visible: bool) -> None:
    try:
        transaction = transaction_from_json(_changed(path, value), visible)
    except ProtocolError:
        return
    assert transaction_from_json(transaction_to_json(transaction, visible), visible) == transaction
