"""Transactions: what is signed (`RawData`), and what is sent (`SignedTransaction`).

Messages: `Transaction`, `Transaction.raw` and `Transaction.Contract` in java-tron's `core/Tron.proto`. The id of a
transaction is SHA-256 of its raw_data bytes; every signature is made over that id.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Annotated, Self

from services.protocol.contracts import CONTRACT_TYPES, Contract
from services.protocol.hashes import sha256
from services.protocol.wire import Field, Kind, ProtocolError, decode, encode

__all__ = [
    "MAX_TRANSACTION_BYTES",
    "RESULT_RESERVE_BYTES",
    "ContractRet",
    "ProtocolError",
    "RawData",
    "SignedTransaction",
    "ref_block",
    "txid",
]

MAX_TRANSACTION_BYTES = 512_000
"""A transaction of more bytes is refused by every node (java-tron, `TRANSACTION_MAX_BYTE_SIZE`)."""

RESULT_RESERVE_BYTES = 64
"""Added to `SignedTransaction.size` for bandwidth: room for the result (java-tron, `MAX_RESULT_SIZE_IN_TX`)."""

REF_BLOCK_BYTES = 2
"""Length of `RawData.ref_block_bytes`."""

REF_BLOCK_HASH_BYTES = 8
"""Length of `RawData.ref_block_hash`."""

TYPE_URL_PREFIX = "type.googleapis.com/protocol."
"""What stands before the message name in a contract's type_url."""


class ContractRet(IntEnum):
    """How a transaction ended in its block (`Transaction.Result.contractResult` in `core/Tron.proto`)."""

    DEFAULT = 0
    SUCCESS = 1
    REVERT = 2
    BAD_JUMP_DESTINATION = 3
    OUT_OF_MEMORY = 4
    PRECOMPILED_CONTRACT = 5
    STACK_TOO_SMALL = 6
    STACK_TOO_LARGE = 7
    ILLEGAL_OPERATION = 8
    STACK_OVERFLOW = 9
    OUT_OF_ENERGY = 10
    OUT_OF_TIME = 11
    JVM_STACK_OVER_FLOW = 12
    UNKNOWN = 13
    TRANSFER_FAILED = 14
    INVALID_CODE = 15


@dataclass(frozen=True, slots=True)
class _Any:
    type_url: Annotated[str, Field(1, "type_url", Kind.STRING)]
    value: Annotated[bytes, Field(2, "value", Kind.BYTES)]


@dataclass(frozen=True, slots=True)
class _Envelope:
    """`Transaction.Contract`: a contract of any type."""

    type: Annotated[int, Field(1, "type", Kind.ENUM)]
    parameter: Annotated[_Any, Field(2, "parameter", Kind.MESSAGE, of=_Any)]
    provider: Annotated[bytes, Field(3, "provider", Kind.BYTES)]
    contract_name: Annotated[bytes, Field(4, "ContractName", Kind.BYTES)]
    permission_id: Annotated[int, Field(5, "Permission_id", Kind.INT32, at_least=0)]


@dataclass(frozen=True, slots=True)
class _AccountId:
    name: Annotated[bytes, Field(1, "name", Kind.BYTES)]
    address: Annotated[bytes, Field(2, "address", Kind.BYTES)]


@dataclass(frozen=True, slots=True)
class _Authority:
    """`authority`, which no transaction uses."""

    account: Annotated[_AccountId | None, Field(1, "account", Kind.MESSAGE, of=_AccountId, optional=True)]
    permission_name: Annotated[bytes, Field(2, "permission_name", Kind.BYTES)]


@dataclass(frozen=True, slots=True)
class _Raw:
    """`Transaction.raw` with the fields that nobody uses, so that they can be refused by name."""

    ref_block_bytes: Annotated[bytes, Field(1, "ref_block_bytes", Kind.BYTES)]
    ref_block_num: Annotated[int, Field(3, "ref_block_num", Kind.INT64)]
    ref_block_hash: Annotated[bytes, Field(4, "ref_block_hash", Kind.BYTES)]
    expiration: Annotated[int, Field(8, "expiration", Kind.INT64, at_least=1)]
    auths: Annotated[tuple[_Authority, ...], Field(9, "auths", Kind.MESSAGE, of=_Authority, repeated=True)]
    data: Annotated[bytes, Field(10, "data", Kind.BYTES)]
    contracts: Annotated[tuple[_Envelope, ...], Field(11, "contract", Kind.MESSAGE, of=_Envelope, repeated=True)]
    scripts: Annotated[bytes, Field(12, "scripts", Kind.BYTES)]
    timestamp: Annotated[int, Field(14, "timestamp", Kind.INT64, at_least=0)]
    fee_limit: Annotated[int, Field(18, "fee_limit", Kind.INT64, at_least=0)]


@dataclass(frozen=True, slots=True)
class _Result:
    """`Transaction.Result`, as far as it stands in blocks."""

    contract_ret: Annotated[int, Field(3, "contractRet", Kind.ENUM)]


@dataclass(frozen=True, slots=True)
class _Transaction:
    raw: Annotated[bytes, Field(1, "raw_data", Kind.BYTES)]
    signatures: Annotated[tuple[bytes, ...], Field(2, "signature", Kind.BYTES, repeated=True)]
    results: Annotated[tuple[_Result, ...], Field(5, "ret", Kind.MESSAGE, of=_Result, repeated=True)]


@dataclass(frozen=True, slots=True)
class RawData:
    """Everything about a transaction but its signatures."""

    contract: Contract
    """What it does."""
    ref_block_bytes: bytes
    """Two low bytes of the number of a recent block of the chain it is meant for (TAPOS)."""
    ref_block_hash: bytes
    """Bytes 8 to 16 of that block's id."""
    expiration_ms: int
    """Unix time after which no block takes it any more; at most 24 hours after the head block."""
    timestamp_ms: int
    """Unix time of its making; it only tells like transactions apart."""
    fee_limit_sun: int = 0
    """The most that its energy may cost, staked energy included; only contract calls need it."""
    memo: bytes = b""
    """The field `data`; the network charges for it."""
    permission_id: int = 0
    """Which permission of the owner signs: 0 owner, 2 and up active."""

    def encode(self) -> bytes:
        """The protobuf bytes, the same that java-tron and tronweb make of these fields.

        Raises:
            ProtocolError: a number does not fit its field.
        """
        url = TYPE_URL_PREFIX + self.contract.type_name
        envelope = _Envelope(
            type=self.contract.type_id,
            parameter=_Any(url, encode(self.contract)),
            provider=b"",
            contract_name=b"",
            permission_id=self.permission_id,
        )
        return encode(
            _Raw(
                ref_block_bytes=self.ref_block_bytes,
                ref_block_num=0,
                ref_block_hash=self.ref_block_hash,
                expiration=self.expiration_ms,
                auths=(),
                data=self.memo,
                contracts=(envelope,),
                scripts=b"",
                timestamp=self.timestamp_ms,
                fee_limit=self.fee_limit_sun,
            )
        )

    @classmethod
    def decode(cls, data: bytes, strict: bool = True) -> Self:
        """Read raw_data bytes.

        Strict is for who signs: whatever these fields do not say in full is refused, and the result encodes to the
        same bytes again. Lenient is for who judges as a node does: unknown and unused fields are passed over.

        Raises:
            ProtocolError: not a transaction of one contract of a known type, or (strict) anything else in it.
        """
        _check_size(data)
        raw = decode(_Raw, data, strict=strict)
        if len(raw.contracts) != 1:
            raise ProtocolError(f"exactly one contract is needed, there are {len(raw.contracts)}", "contract")
        (envelope,) = raw.contracts
        if strict:
            _refuse_unused(raw, envelope)
        found = cls(
            contract=_contract(envelope, strict=strict),
            ref_block_bytes=raw.ref_block_bytes,
            ref_block_hash=raw.ref_block_hash,
            expiration_ms=raw.expiration,
            timestamp_ms=raw.timestamp,
            fee_limit_sun=raw.fee_limit,
            memo=raw.data,
            permission_id=envelope.permission_id,
        )
        if strict and found.encode() != data:
            raise ProtocolError("the bytes are not the canonical form of what they say")
        return found


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction as it is sent: the exact bytes that were signed, and the signatures."""

    raw: bytes
    """The raw_data bytes; kept as they are, because the id and the signatures are made of them."""
    signatures: tuple[bytes, ...]
    """r ‖ s ‖ v, 65 bytes each."""
    result: ContractRet = ContractRet.DEFAULT
    """How it ended, once it is in a block; DEFAULT before."""

    def encode(self) -> bytes:
        """The bytes of the `Transaction` message, as `broadcasthex` takes them."""
        results = () if self.result is ContractRet.DEFAULT else (_Result(self.result),)
        return encode(_Transaction(self.raw, self.signatures, results))

    @classmethod
    def decode(cls, data: bytes, strict: bool = True) -> Self:
        """Read the bytes of a `Transaction` message; raw_data inside is kept as it is and not looked into.

        Raises:
            ProtocolError: the bytes are malformed or hold no raw_data; strict: anything else in them.
        """
        _check_size(data)
        found = decode(_Transaction, data, strict=strict)
        if not found.raw:
            raise ProtocolError("is missing", "raw_data")
        result = _contract_ret(found.results[0].contract_ret) if found.results else ContractRet.DEFAULT
        signed = cls(found.raw, found.signatures, result)
        if strict and signed.encode() != data:
            raise ProtocolError("the bytes are not the canonical form of what they say")
        return signed

    @property
    def txid(self) -> str:
        """The transaction's id, 64 lower-case hex digits."""
        return txid(self.raw).hex()

    @property
    def size(self) -> int:
        """Bytes of the message without a result; bandwidth is this and RESULT_RESERVE_BYTES."""
        return len(replace(self, result=ContractRet.DEFAULT).encode())

    @property
    def raw_data(self) -> RawData:
        """The fields of the raw bytes, read leniently.

        Raises:
            ProtocolError: the bytes are no transaction of a known contract type.
        """
        return RawData.decode(self.raw, strict=False)


def txid(raw: bytes) -> bytes:
    """The id of the transaction with those raw_data bytes: their SHA-256, 32 bytes."""
    return sha256(raw)


def ref_block(number: int, block_id: bytes) -> tuple[bytes, bytes]:
    """`ref_block_bytes` and `ref_block_hash` that tie a transaction to that block (java-tron, `setReference`)."""
    if len(block_id) != 32:
        raise ProtocolError(f"a block id has 32 bytes, not {len(block_id)}")
    return (number & 0xFFFF).to_bytes(REF_BLOCK_BYTES), block_id[8:16]


def _check_size(data: bytes) -> None:
    if len(data) > MAX_TRANSACTION_BYTES:
        raise ProtocolError(f"a transaction has at most {MAX_TRANSACTION_BYTES} bytes, this one {len(data)}")


def _refuse_unused(raw: _Raw, envelope: _Envelope) -> None:
    """Refuse the fields that no wallet fills: whoever fills them wants something that we do not understand."""
    unused = {
        "ref_block_num": raw.ref_block_num,
        "auths": raw.auths,
        "scripts": raw.scripts,
        "provider": envelope.provider,
        "ContractName": envelope.contract_name,
    }
    for name, value in unused.items():
        if value:
            raise ProtocolError("is not understood", name)
    if len(raw.ref_block_bytes) != REF_BLOCK_BYTES:
        raise ProtocolError(f"{REF_BLOCK_BYTES} bytes are needed", "ref_block_bytes")
    if len(raw.ref_block_hash) != REF_BLOCK_HASH_BYTES:
        raise ProtocolError(f"{REF_BLOCK_HASH_BYTES} bytes are needed", "ref_block_hash")


def _contract(envelope: _Envelope, *, strict: bool) -> Contract:
    kind = CONTRACT_TYPES.get(envelope.type)
    if kind is None:
        raise ProtocolError(f"contract type {envelope.type} is not understood", "contract")
    # As protobuf's Any.is: what stands before the last slash does not matter to a node.
    url = envelope.parameter.type_url
    matches = url == TYPE_URL_PREFIX + kind.type_name if strict else url.endswith(f"/protocol.{kind.type_name}")
    if not matches:
        raise ProtocolError(f"type_url {url!r} does not go with type {kind.type_name}", "contract")
    return decode(kind, envelope.parameter.value, strict=strict)


def _contract_ret(number: int) -> ContractRet:
    try:
        return ContractRet(number)
    except ValueError as error:
        raise ProtocolError(f"{number} has no meaning", "contractRet") from error
