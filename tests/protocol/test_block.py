"""Blocks: ids, roots and signatures of real ones, down to mainnet's first."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest

from services.protocol import wire
from services.protocol.address import Address
from services.protocol.block import ZERO_HASH, Block, BlockHeader, merkle_root
from services.protocol.hashes import sha256
from services.protocol.json import transaction_from_json
from services.protocol.networks import NETWORKS
from services.protocol.transaction import SignedTransaction

NODE: dict[str, Any] = json.loads((Path(__file__).parent / "java_tron.json").read_text())


def _block(shown: dict[str, Any]) -> Block:
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
    return Block(header, transactions, bytes.fromhex(shown["block_header"]["witness_signature"]))


@pytest.mark.parametrize("call", ["getnowblock", "getnowblock_empty"])
def test_blocks_of_a_real_node(call: str) -> None:
    block = _block(NODE[call])
    assert block.block_id.hex() == NODE[call]["blockID"]
    assert merkle_root(block.transactions) == block.header.tx_trie_root
    assert block.signer == Address(block.header.witness_address)


@dataclass(frozen=True)
class _Gift:
    """The TransferContract of mainnet's block 0, whose owner is a text and no address."""

    owner: Annotated[bytes, wire.Field(1, "owner_address", wire.Kind.BYTES)]
    to: Annotated[bytes, wire.Field(2, "to_address", wire.Kind.BYTES)]
    amount: Annotated[int, wire.Field(3, "amount", wire.Kind.INT64)]


@dataclass(frozen=True)
class _Any:
    type_url: Annotated[str, wire.Field(1, "type_url", wire.Kind.STRING)]
    value: Annotated[bytes, wire.Field(2, "value", wire.Kind.BYTES)]


@dataclass(frozen=True)
class _Contract:
    type: Annotated[int, wire.Field(1, "type", wire.Kind.ENUM)]
    parameter: Annotated[_Any, wire.Field(2, "parameter", wire.Kind.MESSAGE, of=_Any)]


@dataclass(frozen=True)
class _Raw:
    contract: Annotated[_Contract, wire.Field(11, "contract", wire.Kind.MESSAGE, of=_Contract)]


def _gift(to: str, amount: int) -> SignedTransaction:
    value = wire.encode(_Gift(b"0x000000000000000000000", Address.parse(to).raw, amount))
    raw = _Raw(_Contract(1, _Any("type.googleapis.com/protocol.TransferContract", value)))
    return SignedTransaction(wire.encode(raw), ())


def test_mainnets_first_block_can_be_made_again() -> None:
    gifts = [
        _gift("TLLM21wteSPs4hKjbxgmH1L6poyMjeTbHm", 99_000_000_000_000_000),
        _gift("TXmVpin5vq5gdZsciyyjdZgKRUju4st1wM", 0),
        _gift("TLsV52sRDL79HXGGm9yzwKibb6BeruhUzy", -(1 << 63)),
    ]
    header = BlockHeader(
        number=0,
        timestamp_ms=0,
        parent_hash=bytes.fromhex("e58f33f9baf9305dc6f82b9f1934ea8f0ade2defb951258d50167028c780351f"),
        tx_trie_root=merkle_root(gifts),
        witness_address=b"A new system must allow existing systems to be linked together without requiring any central "
        b"control or coordination",
    )
    assert header.block_id.hex() == NETWORKS["mainnet"].genesis_id


def _leaf(name: bytes) -> tuple[SignedTransaction, bytes]:
    transaction = SignedTransaction(name, ())
    return transaction, sha256(transaction.encode())


def test_a_lone_node_goes_up_the_tree_as_it_is() -> None:
    (one, a), (two, b), (three, c), (four, d), (five, e) = (_leaf(name) for name in (b"1", b"2", b"3", b"4", b"5"))
    assert merkle_root([]) == ZERO_HASH
    assert merkle_root([one]) == a
    assert merkle_root([one, two]) == sha256(a + b)
    assert merkle_root([one, two, three]) == sha256(sha256(a + b) + c)
    assert merkle_root([one, two, three, four]) == sha256(sha256(a + b) + sha256(c + d))
    assert merkle_root([one, two, three, four, five]) == sha256(sha256(sha256(a + b) + sha256(c + d)) + e)
