"""Blocks: header bytes, ids, signatures, the transaction tree, and the devnet's block 0.

Messages: `BlockHeader` and `BlockHeader.raw` in java-tron's `core/Tron.proto`; ids: `BlockCapsule.BlockId`; tree:
`MerkleTree` over SHA-256 of each whole transaction, result included.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated

from services.protocol.address import Address
from services.protocol.contracts import Transfer
from services.protocol.hashes import sha256
from services.protocol.networks import (
    DEVNET_FAUCET_KEY,
    DEVNET_FAUCET_SUPPLY_SUN,
    DEVNET_GENESIS_TIMESTAMP_MS,
    DEVNET_WITNESS_KEY,
)
from services.protocol.signature import public_address, recover
from services.protocol.transaction import RawData, SignedTransaction
from services.protocol.wire import Field, Kind, encode

ZERO_HASH = bytes(32)
"""Root of the tree of no transactions, and parent of the devnet's block 0."""

BLOCK_VERSION = 32
"""Version that java-tron 4.8.0 writes into headers."""


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """What a witness signs of a block (`BlockHeader.raw`)."""

    number: Annotated[int, Field(7, "number", Kind.INT64)]
    """Height; block 0 is the genesis."""
    timestamp_ms: Annotated[int, Field(1, "timestamp", Kind.INT64)]
    """Unix time of the block's slot."""
    parent_hash: Annotated[bytes, Field(3, "parentHash", Kind.BYTES)]
    """Id of the block before, 32 bytes."""
    tx_trie_root: Annotated[bytes, Field(2, "txTrieRoot", Kind.BYTES)]
    """`merkle_root` of its transactions."""
    witness_address: Annotated[bytes, Field(9, "witness_address", Kind.BYTES)]
    """Who made it: an address's 21 bytes, except in mainnet's block 0."""
    version: Annotated[int, Field(10, "version", Kind.INT32)] = 0
    """Version of the node that made it."""
    witness_id: Annotated[int, Field(8, "witness_id", Kind.INT64)] = 0
    """Not used by the network."""
    account_state_root: Annotated[bytes, Field(11, "accountStateRoot", Kind.BYTES)] = b""
    """Not used by the network."""

    def encode(self) -> bytes:
        """The protobuf bytes of the header."""
        return encode(self)

    @property
    def hash(self) -> bytes:
        """SHA-256 of the header's bytes: what the witness signs."""
        return sha256(self.encode())

    @property
    def block_id(self) -> bytes:
        """Id of the block, 32 bytes: the height in eight, then the hash from its ninth byte on."""
        return self.number.to_bytes(8) + self.hash[8:]


@dataclass(frozen=True, slots=True)
class Block:
    """A block with everything in it."""

    header: BlockHeader
    """What the id is made of."""
    transactions: tuple[SignedTransaction, ...] = ()
    """In the order of the block, results included."""
    witness_signature: bytes = b""
    """The witness's signature over the header's hash; empty in block 0."""

    @property
    def number(self) -> int:
        """Height."""
        return self.header.number

    @property
    def block_id(self) -> bytes:
        """Id of the block, 32 bytes."""
        return self.header.block_id

    @property
    def signer(self) -> Address:
        """Who signed it, to compare with the header's witness.

        Raises:
            ProtocolError: the signature is malformed.
        """
        return recover(self.header.hash, self.witness_signature)


def merkle_root(transactions: Sequence[SignedTransaction]) -> bytes:
    """Root of the tree over those transactions, 32 bytes; a lone node goes up unhashed, no transaction is all zero."""
    if not transactions:
        return ZERO_HASH
    level = [sha256(transaction.encode()) for transaction in transactions]
    while len(level) > 1:
        level = [
            sha256(b"".join(level[at : at + 2])) if at + 1 < len(level) else level[at] for at in range(0, len(level), 2)
        ]
    return level[0]


@cache
def devnet_genesis() -> Block:
    """The devnet's block 0: one transfer that gives the faucet everything there is.

    It is fixed by constants, so that every devnet has the genesis id that `networks` pins.
    """
    nobody = Address.from_evm(bytes(20))
    transfer = Transfer(nobody, public_address(DEVNET_FAUCET_KEY), DEVNET_FAUCET_SUPPLY_SUN)
    raw = RawData(transfer, ref_block_bytes=b"", ref_block_hash=b"", expiration_ms=0, timestamp_ms=0)
    transactions = (SignedTransaction(raw.encode(), ()),)
    header = BlockHeader(
        number=0,
        timestamp_ms=DEVNET_GENESIS_TIMESTAMP_MS,
        parent_hash=ZERO_HASH,
        tx_trie_root=merkle_root(transactions),
        witness_address=public_address(DEVNET_WITNESS_KEY).raw,
    )
    return Block(header, transactions)
