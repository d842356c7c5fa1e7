"""Transactions: built byte for byte as others build them, and read with suspicion."""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.protocol.address import Address
from services.protocol.contracts import CONTRACT_TYPES, CONTRACT_TYPES_BY_NAME, Contract, Transfer
from services.protocol.json import raw_from_json, transaction_from_json, transaction_to_json
from services.protocol.signature import recover
from services.protocol.transaction import (
    MAX_TRANSACTION_BYTES,
    RESULT_RESERVE_BYTES,
    ContractRet,
    RawData,
    SignedTransaction,
    ref_block,
    txid,
)
from services.protocol.wire import Field, Kind, ProtocolError, slots_of

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "vectors.json").read_text())
OWNER = Address.parse("TPL66VK2gCXNCD7EJg9pgJRfqcRazjhUZY")
TO = Address.parse("TMVQGm1qAQYVdetCeGRRkTWYYrLXuHK2HC")
RAW = RawData(Transfer(OWNER, TO, 5), b"\x2f\x4a", bytes(range(8)), 1_767_225_660_000, 1_767_225_600_000)
PLAIN = RAW.encode()


# --- vectors that tronweb made ---


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vectors(vector: dict[str, Any]) -> None:
    expected = bytes.fromhex(vector["raw_data_hex"])
    raw = raw_from_json(vector["raw_data"], visible=False)
    assert raw.encode() == expected
    assert txid(expected).hex() == vector["txID"]
    assert RawData.decode(expected) == RawData.decode(expected, strict=False) == raw
    assert recover(bytes.fromhex(vector["txID"]), bytes.fromhex(vector["signature"])) == raw.contract.owner


def test_vectors_cover_every_contract_type_that_we_send() -> None:
    seen = {vector["raw_data"]["contract"][0]["type"] for vector in VECTORS}
    # We make no contracts; the devnet takes those that others make, and test_tronweb compares them.
    assert seen == set(CONTRACT_TYPES_BY_NAME) - {"CreateSmartContract"}


def test_contract_types_have_javas_numbers() -> None:
    assert {number: kind.type_name for number, kind in CONTRACT_TYPES.items()} == {
        0: "AccountCreateContract",
        1: "TransferContract",
        4: "VoteWitnessContract",
        13: "WithdrawBalanceContract",
        30: "CreateSmartContract",
        31: "TriggerSmartContract",
        46: "AccountPermissionUpdateContract",
        54: "FreezeBalanceV2Contract",
        55: "UnfreezeBalanceV2Contract",
        56: "WithdrawExpireUnfreezeContract",
        57: "DelegateResourceContract",
        58: "UnDelegateResourceContract",
        59: "CancelAllUnfreezeV2Contract",
    }


# --- whatever is written is read back ---

_INT_TOP = {Kind.INT64: (1 << 63) - 1, Kind.INT32: (1 << 31) - 1}


def messages(message: type[Any]) -> st.SearchStrategy[Any]:
    """Any message of that class that strict reading accepts."""
    return st.builds(message, **{slot.attr: _values(slot.field) for slot in slots_of(message)})


def _values(field: Field) -> st.SearchStrategy[Any]:
    value = _value(field)
    if field.repeated:
        return st.lists(value, max_size=4).map(tuple)
    return st.none() | value if field.optional else value


def _value(field: Field) -> st.SearchStrategy[Any]:
    match field.kind:
        case Kind.INT64 | Kind.INT32:
            return st.integers(field.at_least or 0, _INT_TOP[field.kind])
        case Kind.BOOL:
            return st.booleans()
        case Kind.ADDRESS:
            return st.binary(min_size=20, max_size=20).map(Address.from_evm)
        case Kind.BYTES:
            return st.binary(max_size=200)
        case Kind.STRING:
            return st.text(max_size=20)
        case Kind.ENUM:
            assert field.of is not None
            return st.sampled_from(list(field.of))  # type: ignore[call-overload]
        case Kind.MESSAGE:
            assert field.of is not None
            return messages(field.of)


contracts: st.SearchStrategy[Contract] = st.one_of([messages(kind) for kind in CONTRACT_TYPES.values()])
raws = st.builds(
    RawData,
    contract=contracts,
    ref_block_bytes=st.binary(min_size=2, max_size=2),
    ref_block_hash=st.binary(min_size=8, max_size=8),
    expiration_ms=st.integers(1, (1 << 63) - 1),
    timestamp_ms=st.integers(0, (1 << 63) - 1),
    fee_limit_sun=st.integers(0, (1 << 63) - 1),
    memo=st.binary(max_size=100),
    permission_id=st.integers(0, (1 << 31) - 1),
)


@given(raws)
def test_every_transaction_is_read_back(raw: RawData) -> None:
    data = raw.encode()
    assert RawData.decode(data) == RawData.decode(data, strict=False) == raw


@given(raws, st.booleans())
def test_every_transaction_survives_json(raw: RawData, visible: bool) -> None:
    signed = SignedTransaction(raw.encode(), (bytes(65),), ContractRet.SUCCESS)
    shown = json.loads(json.dumps(transaction_to_json(signed, visible)))
    assert transaction_from_json(shown, visible) == signed


@given(raws, st.data())
def test_a_changed_byte_is_another_transaction_or_refused(raw: RawData, data: st.DataObject) -> None:
    original = raw.encode()
    changed = bytearray(original)
    changed[data.draw(st.integers(0, len(original) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(ProtocolError):
        found = RawData.decode(bytes(changed))
        assert found.encode() == bytes(changed)
        assert found != raw
    with suppress(ProtocolError):
        RawData.decode(bytes(changed), strict=False)


@given(raws, st.data())
def test_a_cut_or_longer_transaction_is_refused_or_another(raw: RawData, data: st.DataObject) -> None:
    original = raw.encode()
    cut = original[: data.draw(st.integers(0, len(original) - 1))]
    longer = original + data.draw(st.binary(min_size=1, max_size=10))
    for changed in (cut, longer):
        with suppress(ProtocolError):
            assert RawData.decode(changed) != raw


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_transaction_or_a_protocol_error(data: bytes, strict: bool) -> None:
    with suppress(ProtocolError):
        RawData.decode(data, strict)
    with suppress(ProtocolError):
        SignedTransaction.decode(data, strict)


# --- what a signer refuses, and a node passes over ---

TRANSFER = PLAIN[PLAIN.index(b"\x5a") :][: 2 + PLAIN[PLAIN.index(b"\x5a") + 1]]
"""Field 11 of PLAIN: tag, length, contract."""
BEFORE, AFTER = PLAIN.split(TRANSFER)


def _with_contract(contract: bytes) -> bytes:
    return BEFORE + b"\x5a" + bytes([len(contract)]) + contract + AFTER


def test_the_parts_are_what_the_next_tests_take_them_for() -> None:
    assert _with_contract(TRANSFER[2:]) == PLAIN
    assert TRANSFER[2:4] == b"\x08\x01"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (PLAIN + b"\x98\x01\x05", "field 19 with wire type 0 is not understood"),
        (PLAIN + b"\x90\x01\x01\x90\x01\x01", "fee_limit: is given twice"),
        (b"\x18\x05" + PLAIN, "ref_block_num: is not understood"),
        (PLAIN + b"\x4a\x00", "auths: is not understood"),
        (PLAIN + b"\x62\x01x", "scripts: is not understood"),
        (_with_contract(TRANSFER[2:] + b"\x1a\x01x"), "provider: is not understood"),
        (_with_contract(TRANSFER[2:] + b"\x22\x01x"), "ContractName: is not understood"),
        (_with_contract(TRANSFER[2:] + b"\x30\x01"), "field 6 with wire type 0"),
        (PLAIN + b"\x90\x01\x00", "not the canonical form"),
        (PLAIN + b"\x52\x00", "not the canonical form"),
        (PLAIN + b"\x18\x00", "not the canonical form"),
        (PLAIN[:-1] + bytes([PLAIN[-1] | 0x80, 0]), "not the canonical form"),
        (TRANSFER + BEFORE + AFTER, "not the canonical form"),
        (_with_contract(TRANSFER[4:] + TRANSFER[2:4]), "not the canonical form"),
        (PLAIN.replace(b"type.googleapis.com/", b"type.googleapis.org/"), "does not go with type TransferContract"),
        (PLAIN.replace(b"\x0a\x02\x2f\x4a", b"\x0a\x01\x2f"), "ref_block_bytes: 2 bytes are needed"),
        (PLAIN.replace(b"\x22\x08" + bytes(range(8)), b"\x22\x07" + bytes(7)), "ref_block_hash: 8 bytes are needed"),
    ],
)
def test_a_signer_refuses_what_a_node_passes_over(data: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        RawData.decode(data)
    assert RawData.decode(data, strict=False).contract == RAW.contract


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (replace(RAW, contract=Transfer(OWNER, TO, 0)), "amount: 0 is out of range"),
        (replace(RAW, contract=Transfer(OWNER, TO, -5)), "amount: -5 is out of range"),
        (replace(RAW, expiration_ms=0), "expiration: 0 is out of range"),
        (replace(RAW, timestamp_ms=-1), "timestamp: -1 is out of range"),
        (replace(RAW, fee_limit_sun=-1), "fee_limit: -1 is out of range"),
        (replace(RAW, permission_id=-1), "Permission_id: -1 is out of range"),
        (replace(RAW, ref_block_hash=b""), "ref_block_hash: 8 bytes are needed"),
    ],
)
def test_a_signer_refuses_senseless_values_that_a_node_can_hold(changed: RawData, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        RawData.decode(changed.encode())
    assert RawData.decode(changed.encode(), strict=False) == changed


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (BEFORE + AFTER, "exactly one contract is needed, there are 0"),
        (BEFORE + TRANSFER + TRANSFER + AFTER, "exactly one contract is needed, there are 2"),
        (_with_contract(b"\x08\x02" + TRANSFER[4:]), "contract type 2 is not understood"),
        (_with_contract(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + TRANSFER[4:]), "contract type -1"),
        (_with_contract(b"\x08\x0d" + TRANSFER[4:]), "does not go with type WithdrawBalanceContract"),
        (_with_contract(TRANSFER[2:4]), "parameter: is missing"),
        (PLAIN.replace(TO.raw, b"\x42" + TO.raw[1:]), "to_address: a TRON address begins with byte 41"),
        (PLAIN.replace(b"\x12\x15" + TO.raw, b"\x1a\x15" + TO.raw), "to_address: a TRON address has 21 bytes|field 3"),
        (PLAIN + b"\x4a\x01\x0a", "end within a number"),
        (bytes(MAX_TRANSACTION_BYTES + 1), "at most 512000 bytes"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_what_is_no_transaction_is_refused_by_both(data: bytes, reason: str, strict: bool) -> None:
    with pytest.raises(ProtocolError, match=reason):
        RawData.decode(data, strict)


def test_the_last_value_counts_for_a_node() -> None:
    assert RawData.decode(PLAIN + b"\x90\x01\x07\x90\x01\x09", strict=False).fee_limit_sun == 9


# --- signed transactions ---


def test_signed_bytes_are_the_message_that_nodes_take() -> None:
    signed = SignedTransaction(PLAIN, (b"\x01" * 65, b"\x02" * 65))
    data = signed.encode()
    assert data == b"\x0a" + bytes([len(PLAIN) & 0x7F | 0x80, len(PLAIN) >> 7]) + PLAIN + (
        b"\x12\x41" + b"\x01" * 65 + b"\x12\x41" + b"\x02" * 65
    )
    assert SignedTransaction.decode(data) == signed
    assert signed.txid == txid(PLAIN).hex()
    assert signed.raw_data == RAW


def test_a_transfer_costs_the_bandwidth_that_a_real_node_took() -> None:
    # Transfers of 5 and of 100,002 sun took 265 and 267 on a real node.
    for amount_sun, bandwidth in ((5, 265), (100_002, 267)):
        raw = replace(RAW, contract=Transfer(OWNER, TO, amount_sun)).encode()
        assert SignedTransaction(raw, (bytes(65),)).size + RESULT_RESERVE_BYTES == bandwidth


def test_the_result_is_part_of_the_bytes_in_a_block_but_not_of_size_or_txid() -> None:
    before = SignedTransaction(PLAIN, (bytes(65),))
    after = replace(before, result=ContractRet.SUCCESS)
    assert after.encode() == before.encode() + b"\x2a\x02\x18\x01"
    assert SignedTransaction.decode(after.encode()) == after
    assert (after.size, after.txid) == (before.size, before.txid)


def test_raw_bytes_are_kept_as_they_are() -> None:
    odd = PLAIN + b"\x98\x01\x05"
    signed = SignedTransaction(odd, ())
    assert SignedTransaction.decode(signed.encode()).raw == odd
    assert signed.txid == txid(odd).hex()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "raw_data: is missing"),
        (b"\x12\x01x", "raw_data: is missing"),
        (b"\x0a\x01x\x2a\x02\x18\x63", "contractRet: 99 has no meaning"),
        (b"\x0a\x05x", "announced"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_what_is_no_signed_transaction_is_refused_by_both(data: bytes, reason: str, strict: bool) -> None:
    with pytest.raises(ProtocolError, match=reason):
        SignedTransaction.decode(data, strict)


@pytest.mark.parametrize(
    "data", [b"\x0a\x01x\x32\x00", b"\x0a\x01x\x0a\x01x", b"\x12\x00\x0a\x01x", b"\x0a\x01x\x2a\x00"]
)
def test_signed_bytes_in_another_form_are_passed_over_only_leniently(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        SignedTransaction.decode(data)
    assert SignedTransaction.decode(data, strict=False).raw == b"x"


def test_ref_block_takes_the_low_bytes_of_the_number_and_the_middle_of_the_id() -> None:
    block_id = bytes(range(32))
    assert ref_block(0x12345, block_id) == (b"\x23\x45", bytes(range(8, 16)))
    assert ref_block(0, block_id)[0] == b"\x00\x00"
    with pytest.raises(ProtocolError, match="32 bytes"):
        ref_block(1, b"")
