"""A transaction made from an order and a base, here and not by a node, so that its id is known before it is signed."""

from dataclasses import dataclass

from services.protocol.address import Address
from services.protocol.contracts import Contract, Transfer
from services.protocol.transaction import RawData, ref_block, txid
from services.tron import api
from services.tron.chain import Base


@dataclass(frozen=True, slots=True)
class Built:
    """Bytes to be signed."""

    raw: bytes
    """The protobuf bytes of raw_data."""
    txid: str
    """sha256 of them, 64 hex characters; a signature does not change it."""
    expiration_ms: int
    """Chain time from which no block may take it any more."""
    timestamp_ms: int
    """What makes it different from every other transaction of this node."""


def contract_of(order: api.Order, owner: Address) -> Contract:
    """Return the order's contract as the protocol has it, with its payer."""
    return Transfer(owner=owner, to=Address.parse(order.contract.to), amount_sun=order.contract.amount_sun)


def build(order: api.Order, owner: Address, base: Base, lifetime_ms: int, later_than_ms: int) -> Built:
    """Make the bytes of an order.

    No wall clock has a part in it: expiration and timestamp come from the head block's time. The timestamp is later
    than `later_than_ms`, that of the transaction built last, so that two equal orders never have the same bytes. If
    that one is far in the future, an endpoint showed a false head then, and the count begins anew at the head; should
    that ever make bytes that were made before, the store refuses them, and the next head makes others.
    """
    if later_than_ms >= base.head_time_ms + lifetime_ms // 2:
        later_than_ms = 0
    number_bytes, hash_bytes = ref_block(base.ref_number, bytes.fromhex(base.ref_id))
    raw_data = RawData(
        contract=contract_of(order, owner),
        ref_block_bytes=number_bytes,
        ref_block_hash=hash_bytes,
        expiration_ms=base.head_time_ms + lifetime_ms,
        timestamp_ms=max(base.head_time_ms, later_than_ms + 1),
        memo=order.memo.encode(),
    )
    raw = raw_data.encode()
    return Built(raw, txid(raw).hex(), raw_data.expiration_ms, raw_data.timestamp_ms)
