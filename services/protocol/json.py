"""TRON's JSON form of transactions and blocks, as java-tron prints and reads it.

java-tron prints messages field by field without defaults (`JsonFormat`), then puts them through JSON objects that
are hash maps (`Util.printTransactionToJSON`): the order of keys is Java's, and we give the same one. With `visible`
addresses are base58, without they are hex; every other `bytes` field is hex either way (`HttpSelfFormatFieldName`).
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Any, TypeVar

from services.protocol.address import Address, AddressError
from services.protocol.block import Block
from services.protocol.contracts import CONTRACT_TYPES_BY_NAME, Contract, CreateSmartContract
from services.protocol.hashes import keccak256
from services.protocol.transaction import TYPE_URL_PREFIX, ContractRet, RawData, SignedTransaction
from services.protocol.wire import Field, Kind, ProtocolError, Slot, build, slots_of

Json = dict[str, Any]
"""A JSON object."""

M = TypeVar("M")


# --- printing ---


def transaction_to_json(transaction: SignedTransaction, visible: bool, *, with_visible: bool = False) -> Json:
    """A transaction as `gettransactionbyid` and blocks show it.

    `with_visible` adds the key of that name, as in the answers of calls that make transactions (`createtransaction`).

    Raises:
        ProtocolError: the raw bytes are no transaction of a known contract type.
    """
    shown: Json = {"raw_data": raw_to_json(transaction.raw_data, visible)}
    if transaction.signatures:
        shown["signature"] = [signature.hex() for signature in transaction.signatures]
    if transaction.result is not ContractRet.DEFAULT:
        shown["ret"] = [{"contractRet": transaction.result.name}]
    if isinstance(transaction.raw_data.contract, CreateSmartContract):
        shown["contract_address"] = created_address(transaction).hex
    shown["raw_data_hex"] = transaction.raw.hex()
    shown["txID"] = transaction.txid
    if with_visible:
        shown["visible"] = visible
    return _in_java_order(shown)


def created_address(transaction: SignedTransaction) -> Address:
    """Where the contract that a transaction makes will be (java-tron, `WalletUtil.generateContractAddress`)."""
    seed = bytes.fromhex(transaction.txid) + transaction.raw_data.contract.owner.raw
    return Address.from_evm(keccak256(seed)[12:])


def raw_to_json(raw: RawData, visible: bool) -> Json:
    """The `raw_data` object of a transaction."""
    shown: Json = {
        "ref_block_bytes": raw.ref_block_bytes.hex(),
        "ref_block_hash": raw.ref_block_hash.hex(),
        "expiration": raw.expiration_ms,
        "data": raw.memo.hex(),
        "contract": [contract_to_json(raw.contract, visible, raw.permission_id)],
        "timestamp": raw.timestamp_ms,
        "fee_limit": raw.fee_limit_sun,
    }
    return _in_java_order({key: value for key, value in shown.items() if value})


def contract_to_json(contract: Contract, visible: bool, permission_id: int = 0) -> Json:
    """One entry of `raw_data.contract`."""
    parameter = {"value": message_to_json(contract, visible), "type_url": TYPE_URL_PREFIX + contract.type_name}
    shown: Json = {"parameter": _in_java_order(parameter), "type": contract.type_name}
    if permission_id > 0:
        shown["Permission_id"] = permission_id
    return _in_java_order(shown)


def block_to_json(block: Block, visible: bool) -> Json:
    """A block as `getnowblock` and `getblockbynum` show it.

    Raises:
        ProtocolError: a transaction in it is of no known contract type.
    """
    header = message_to_json(block.header, visible)
    # A block's witness is declared as bytes, because in mainnet's block 0 it is a sentence; shown, it is an address.
    if visible and len(block.header.witness_address) == 21:
        header["witness_address"] = Address(block.header.witness_address).base58
    block_header: Json = {"raw_data": header}
    if block.witness_signature:
        block_header["witness_signature"] = block.witness_signature.hex()
    shown: Json = {}
    if block.transactions:
        shown["transactions"] = [transaction_to_json(transaction, visible) for transaction in block.transactions]
    shown["block_header"] = _in_java_order(block_header)
    shown["blockID"] = block.block_id.hex()
    return _in_java_order(shown)


def message_to_json(message: object, visible: bool) -> Json:
    """Any message of `contracts` by its fields' names, defaults left out."""
    shown = {}
    for slot in slots_of(type(message)):
        value = getattr(message, slot.attr)
        if slot.field.repeated:
            if value:
                shown[slot.field.name] = [_shown(slot.field, item, visible) for item in value]
        elif isinstance(value, Address) or value:
            shown[slot.field.name] = _shown(slot.field, value, visible)
    return _in_java_order(shown)


def _shown(field: Field, value: Any, visible: bool) -> Any:
    match field.kind:
        case Kind.ADDRESS:
            return value.base58 if visible else value.hex
        case Kind.BYTES:
            return value.hex()
        case Kind.ENUM:
            return value.name
        case Kind.MESSAGE:
            return message_to_json(value, visible)
        case _:
            return value


def _in_java_order(entries: Json) -> Json:
    return {key: entries[key] for key in java_order(tuple(entries))}


@lru_cache(maxsize=1024)
def java_order(keys: tuple[str, ...]) -> tuple[str, ...]:
    """The keys in the order in which a Java `HashMap` gives them back after they were put in as given."""
    buckets = 16
    while len(keys) > buckets * 3 // 4:
        buckets *= 2
    return tuple(sorted(keys, key=lambda key: _java_bucket(key, buckets)))


def _java_bucket(key: str, buckets: int) -> int:
    hashed = 0
    for letter in key:
        hashed = (31 * hashed + ord(letter)) & 0xFFFFFFFF
    return (hashed ^ hashed >> 16) & (buckets - 1)


# --- reading ---


def transaction_from_json(shown: Mapping[str, Any], visible: bool) -> SignedTransaction:
    """The transaction of a JSON object, made from its `raw_data` alone, as `broadcasttransaction` does.

    `txID` and `raw_data_hex` are not looked at: compare `.txid` with what was shown before trusting it.

    Raises:
        ProtocolError: a part is missing or malformed.
    """
    raw = raw_from_json(_object(shown, "raw_data"), visible)
    signatures = tuple(_bytes(item, "signature") for item in _list(shown, "signature"))
    result = ContractRet.DEFAULT
    for entry in _list(shown, "ret")[:1]:
        name = entry.get("contractRet", ContractRet.DEFAULT.name) if isinstance(entry, Mapping) else entry
        result = _contract_ret(name)
    return SignedTransaction(raw.encode(), signatures, result)


def raw_from_json(raw_data: Mapping[str, Any], visible: bool) -> RawData:
    """The fields of a `raw_data` object; keys that it should not have are passed over, as java-tron does.

    Raises:
        ProtocolError: a part is missing or malformed; `field` names it.
    """
    contracts = _list(raw_data, "contract")
    if len(contracts) != 1 or not isinstance(contracts[0], Mapping):
        raise ProtocolError(f"exactly one contract is needed, there are {len(contracts)}", "contract")
    contract = contracts[0]
    return RawData(
        contract=_contract(contract, visible),
        ref_block_bytes=_bytes(raw_data.get("ref_block_bytes", ""), "ref_block_bytes"),
        ref_block_hash=_bytes(raw_data.get("ref_block_hash", ""), "ref_block_hash"),
        expiration_ms=_int(raw_data.get("expiration", 0), "expiration"),
        timestamp_ms=_int(raw_data.get("timestamp", 0), "timestamp"),
        fee_limit_sun=_int(raw_data.get("fee_limit", 0), "fee_limit"),
        memo=_bytes(raw_data.get("data", ""), "data"),
        permission_id=_int(contract.get("Permission_id", 0), "Permission_id"),
    )


def message_from_json(message: type[M], shown: Mapping[str, Any], visible: bool) -> M:
    """A message of `contracts` from its fields' names.

    Raises:
        ProtocolError: a field is missing or malformed; `field` names it.
    """
    return build(message, _values(message, shown, visible), strict=False)


def _contract(shown: Mapping[str, Any], visible: bool) -> Contract:
    name = shown.get("type")
    kind = CONTRACT_TYPES_BY_NAME.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ProtocolError(f"contract type {name!r} is not understood", "contract")
    return message_from_json(kind, _object(_object(shown, "parameter"), "value"), visible)


def _values(message: type, shown: Mapping[str, Any], visible: bool) -> Json:
    values = {}
    for slot in slots_of(message):
        given = shown.get(slot.field.name)
        if given is not None:
            values[slot.attr] = _slot_value(slot, given, visible)
    return values


def _slot_value(slot: Slot, given: Any, visible: bool) -> Any:
    if not slot.field.repeated:
        return _value(slot.field, given, visible)
    if not isinstance(given, list):
        raise ProtocolError("a list is needed", slot.field.name)
    return [_value(slot.field, item, visible) for item in given]


def _value(field: Field, given: Any, visible: bool) -> Any:
    match field.kind:
        case Kind.ADDRESS:
            return _address(given, field.name, visible)
        case Kind.BYTES:
            return _bytes(given, field.name)
        case Kind.ENUM:
            return _enum(field.of, given, field.name)
        case Kind.BOOL:
            if not isinstance(given, bool):
                raise ProtocolError("true or false is needed", field.name)
            return given
        case Kind.STRING:
            if not isinstance(given, str):
                raise ProtocolError("a string is needed", field.name)
            return given
        case Kind.MESSAGE:
            if not isinstance(given, Mapping) or field.of is None:
                raise ProtocolError("an object is needed", field.name)
            return _values(field.of, given, visible)
        case _:
            return _int(given, field.name)


def _address(given: Any, name: str, visible: bool) -> bytes:
    if not visible:
        return _bytes(given, name)
    try:
        return Address.parse(given if isinstance(given, str) else "").raw
    except AddressError as error:
        raise ProtocolError(str(error), name) from error


def _bytes(given: Any, name: str) -> bytes:
    # bytes.fromhex passes over spaces, which java-tron does not.
    if not isinstance(given, str) or any(letter.isspace() for letter in given):
        raise ProtocolError("hex digits are needed", name)
    try:
        return bytes.fromhex(given)
    except ValueError as error:
        raise ProtocolError("hex digits are needed", name) from error


def _int(given: Any, name: str) -> int:
    if isinstance(given, bool) or not isinstance(given, int):
        raise ProtocolError("a whole number is needed", name)
    return given


def _enum(kind: type | None, given: Any, name: str) -> int:
    if kind is None or not issubclass(kind, IntEnum):
        raise TypeError(f"{name} declares no enum")
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    # java-tron lets the names of an ABI begin small, as Solidity writes them.
    if isinstance(given, str) and given.isalpha() and given.islower():
        given = given.capitalize()
    if not isinstance(given, str) or given not in kind.__members__:
        raise ProtocolError(f"{given!r} is unknown, one of {', '.join(kind.__members__)} is needed", name)
    return int(kind[given])


def _contract_ret(given: Any) -> ContractRet:
    try:
        return ContractRet(_enum(ContractRet, given, "contractRet"))
    except ValueError as error:
        raise ProtocolError(f"{given!r} is unknown", "contractRet") from error


def _object(shown: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = shown.get(name)
    if not isinstance(found, Mapping):
        raise ProtocolError("an object is needed", name)
    return found


def _list(shown: Mapping[str, Any], name: str) -> Sequence[Any]:
    found = shown.get(name, [])
    if not isinstance(found, list):
        raise ProtocolError("a list is needed", name)
    return found
