"""A transaction as it arrives: read as leniently as java-tron reads, with ids and sizes computed by us."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Annotated, Self

from services.devnet.canonical import TRANSACTION, canonical
from services.protocol.contracts import CONTRACT_TYPES
from services.protocol.hashes import sha256
from services.protocol.transaction import ContractRet, SignedTransaction
from services.protocol.wire import Field, Kind, ProtocolError, decode, encode


@dataclass(frozen=True, slots=True)
class _Any:
    type_url: Annotated[bytes, Field(1, "type_url", Kind.BYTES)]
    value: Annotated[bytes, Field(2, "value", Kind.BYTES)]


@dataclass(frozen=True, slots=True)
class Envelope:
    """`Transaction.Contract`: one contract, its message still in bytes."""

    type: Annotated[int, Field(1, "type", Kind.ENUM)]
    """`ContractType` number; any number may come."""

    parameter: Annotated[_Any | None, Field(2, "parameter", Kind.MESSAGE, of=_Any, optional=True)]
    """The message and its type_url."""

    permission_id: Annotated[int, Field(5, "Permission_id", Kind.INT32)]
    """Which permission of the owner signs."""

    @property
    def type_url(self) -> str:
        """Which message the bytes are said to be."""
        return self.parameter.type_url.decode("utf-8", "replace") if self.parameter else ""

    @property
    def is_what_it_says(self) -> bool:
        """Whether the message is said to be of the contract's type; else java-tron finds no owner in it."""
        known = CONTRACT_TYPES.get(self.type)
        return known is None or self.type_url.rpartition("/")[1:] == ("/", f"protocol.{known.type_name}")

    @property
    def value(self) -> bytes:
        """The bytes of the contract's own message."""
        return self.parameter.value if self.parameter else b""


@dataclass(frozen=True, slots=True)
class _Owned:
    """What all contract messages have in common."""

    owner: Annotated[bytes, Field(1, "owner_address", Kind.BYTES)]


@dataclass(frozen=True, slots=True)
class _Raw:
    ref_block_bytes: Annotated[bytes, Field(1, "ref_block_bytes", Kind.BYTES)]
    ref_block_hash: Annotated[bytes, Field(4, "ref_block_hash", Kind.BYTES)]
    expiration_ms: Annotated[int, Field(8, "expiration", Kind.INT64)]
    memo: Annotated[bytes, Field(10, "data", Kind.BYTES)]
    contracts: Annotated[tuple[Envelope, ...], Field(11, "contract", Kind.MESSAGE, of=Envelope, repeated=True)]
    timestamp_ms: Annotated[int, Field(14, "timestamp", Kind.INT64)]
    fee_limit_sun: Annotated[int, Field(18, "fee_limit", Kind.INT64)]


@dataclass(frozen=True, slots=True)
class _Transaction:
    raw: Annotated[bytes, Field(1, "raw_data", Kind.BYTES)]
    signatures: Annotated[tuple[bytes, ...], Field(2, "signature", Kind.BYTES, repeated=True)]


@dataclass(frozen=True)
class Incoming:
    """One transaction that somebody sent; nothing in it has been checked but that it is protobuf."""

    raw: bytes
    """raw_data as java-tron would write it: what the id is made of."""

    signatures: tuple[bytes, ...]
    """Of any length."""

    fields: _Raw
    """What raw_data says."""

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read the bytes of a `Transaction`.

        Raises:
            ProtocolError: they are no protobuf message of that kind.
        """
        found = decode(_Transaction, canonical(TRANSACTION, data), strict=False)
        return cls(found.raw, found.signatures, decode(_Raw, found.raw, strict=False))

    @cached_property
    def txid(self) -> bytes:
        """The id, 32 bytes."""
        return sha256(self.raw)

    @cached_property
    def size(self) -> int:
        """Bytes of the transaction without a result."""
        return len(SignedTransaction(self.raw, self.signatures).encode())

    @property
    def contract(self) -> Envelope | None:
        """The first contract: the one that signatures are checked for."""
        return self.fields.contracts[0] if self.fields.contracts else None

    @cached_property
    def owner(self) -> bytes:
        """Whose transaction it is; empty or of any length when the contract does not say it rightly."""
        contract = self.contract
        if contract is None or not contract.is_what_it_says:
            return b""
        return _owner_of(contract.value)

    def signed(self, result: ContractRet = ContractRet.DEFAULT) -> SignedTransaction:
        """The transaction in the form of the protocol package, to print and to put into a block."""
        return SignedTransaction(self.raw, self.signatures, result)

    @classmethod
    def contractless(
        cls,
        *,
        ref_block_bytes: bytes,
        ref_block_hash: bytes,
        expiration_ms: int,
        timestamp_ms: int,
        signatures: tuple[bytes, ...],
    ) -> Self:
        """A transaction that does nothing: what remains when its contract cannot be read.

        Raises:
            ProtocolError: a number does not fit its field.
        """
        fields = _Raw(
            ref_block_bytes=ref_block_bytes,
            ref_block_hash=ref_block_hash,
            expiration_ms=expiration_ms,
            memo=b"",
            contracts=(),
            timestamp_ms=timestamp_ms,
            fee_limit_sun=0,
        )
        return cls(encode(fields), signatures, fields)


@lru_cache(maxsize=1024)
def _owner_of(value: bytes) -> bytes:
    try:
        return decode(_Owned, value, strict=False).owner
    except ProtocolError:
        return b""
