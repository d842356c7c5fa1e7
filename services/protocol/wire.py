"""A protobuf codec of our own: messages are dataclasses whose fields carry their numbers.

A message declares each field once, with its number and its name in java-tron's `.proto` files:

    @dataclass(frozen=True)
    class Transfer:
        amount_sun: Annotated[int, Field(3, "amount", Kind.INT64)]

Written is what protobuf's Java library writes: fields ascending, defaults left out, negative numbers in ten bytes.
Read is in one of two ways. *Strict* is for who signs: an unknown field, a repeated single field, a wrong wire type
or an amount out of range is refused. *Lenient* is for who judges as a node does: unknown fields are skipped, the last
value of a repeated single field wins and single messages merge. Either way nothing but `ProtocolError` is raised.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar, get_type_hints

from services.protocol.address import Address, AddressError

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""No message that is longer is looked at (java-tron refuses transactions over 512,000 bytes)."""

_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1
_INT32_MIN, _INT32_MAX = -(1 << 31), (1 << 31) - 1
_UINT64_MASK = (1 << 64) - 1
_UINT32_MASK = (1 << 32) - 1
_VARINT, _FIXED64, _LENGTH, _GROUP_START, _GROUP_END, _FIXED32 = range(6)
_VARINT_MAX_BYTES = 10
# As protobuf's CodedInputStream: nested groups beyond this are taken for an attack.
_MAX_GROUP_DEPTH = 100

M = TypeVar("M")


class ProtocolError(ValueError):
    """Bytes or fields that are no valid TRON message; the message says which part and why."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


class Kind(Enum):
    """How a field is written, and which Python type holds it."""

    INT64 = "int64"
    INT32 = "int32"
    BOOL = "bool"
    ENUM = "enum"
    BYTES = "bytes"
    ADDRESS = "address"
    STRING = "string"
    MESSAGE = "message"


_VARINT_KINDS = frozenset({Kind.INT64, Kind.INT32, Kind.BOOL, Kind.ENUM})


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: goes into `Annotated` beside the Python type of the attribute."""

    number: int
    """Its number in the `.proto` file."""

    name: str
    """Its name there, which is also its key in TRON's JSON."""

    kind: Kind
    """Its type there; ADDRESS is `bytes` that hold an address."""

    of: type | None = None
    """For ENUM the `IntEnum`, for MESSAGE the dataclass."""

    repeated: bool = False
    """Whether the attribute is a tuple of values."""

    optional: bool = False
    """For a single MESSAGE: whether it may be absent, `None` then."""

    at_least: int | None = None
    """For numbers: the smallest value that strict reading accepts."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A field together with the attribute it fills."""

    attr: str
    """Name of the dataclass attribute."""

    field: Field
    """Its declaration."""

    tag: bytes
    """The encoded field number and wire type."""


_slots: dict[type[Any], dict[int, Slot]] = {}
_in_order: dict[type[Any], tuple[Slot, ...]] = {}


def slots_of(message: type[Any]) -> tuple[Slot, ...]:
    """The fields that a message class declares, by ascending number."""
    known = _in_order.get(message)
    if known is None:
        known = _in_order[message] = tuple(_by_number(message).values())
    return known


def _by_number(message: type[Any]) -> dict[int, Slot]:
    known = _slots.get(message)
    if known is None:
        known = _slots[message] = _declared(message)
    return known


def _declared(message: type[Any]) -> dict[int, Slot]:
    found = []
    for attr, hint in get_type_hints(message, include_extras=True).items():
        for extra in getattr(hint, "__metadata__", ()):
            if isinstance(extra, Field):
                wire_type = _VARINT if extra.kind in _VARINT_KINDS else _LENGTH
                found.append(Slot(attr, extra, _varint(extra.number << 3 | wire_type)))
    return {slot.field.number: slot for slot in sorted(found, key=lambda slot: slot.field.number)}


# --- writing ---


def encode(message: object) -> bytes:
    """The protobuf bytes of a message.

    Raises:
        ProtocolError: a number does not fit its field's type.
    """
    out = bytearray()
    for slot in slots_of(type(message)):
        value = getattr(message, slot.attr)
        if slot.field.repeated:
            for item in value:
                out += slot.tag + _payload(slot.field, item)
        elif value is not None and (slot.field.kind is Kind.MESSAGE or not _is_default(value)):
            out += slot.tag + _payload(slot.field, value)
    return bytes(out)


def unparse(message: type, values: Mapping[str, Any]) -> bytes:
    """The bytes of fields by attribute, as `parse` gives them: also of what `build` would not make a message of.

    Addresses are bytes of any length here, messages are mappings, and whatever is not given is left out.

    Raises:
        ProtocolError: a number does not fit its field's type.
    """
    out = bytearray()
    for slot in slots_of(message):
        given = values.get(slot.attr)
        if given is None or (slot.field.kind is not Kind.MESSAGE and not slot.field.repeated and not given):
            continue
        for item in given if slot.field.repeated else (given,):
            out += slot.tag + _raw_payload(slot.field, item)
    return bytes(out)


def _raw_payload(field: Field, value: Any) -> bytes:
    if field.kind is Kind.ADDRESS:
        return _prefixed(value)
    if field.kind is Kind.MESSAGE and field.of is not None:
        return _prefixed(unparse(field.of, value))
    return _payload(field, value)


def _is_default(value: object) -> bool:
    # An address is never empty; numbers, False, b"" and "" are left out when they are their type's zero.
    return not isinstance(value, Address) and not value


def _payload(field: Field, value: Any) -> bytes:
    # What is most frequent is asked first.
    match field.kind:
        case Kind.BYTES:
            return _prefixed(value)
        case Kind.ADDRESS:
            return _prefixed(value.raw)
        case Kind.INT64:
            return _varint(_in_range(field, value, _INT64_MIN, _INT64_MAX))
        case Kind.INT32 | Kind.ENUM:
            return _varint(_in_range(field, value, _INT32_MIN, _INT32_MAX))
        case Kind.BOOL:
            return b"\x01" if value else b"\x00"
        case Kind.STRING:
            return _prefixed(_utf8(field, value))
        case Kind.MESSAGE:
            return _prefixed(encode(value))


def _in_range(field: Field, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise ProtocolError(f"{value} does not fit {field.kind.value}", field.name)
    return value


def _utf8(field: Field, value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise ProtocolError("holds half a character", field.name) from error


def _prefixed(data: bytes) -> bytes:
    return _varint(len(data)) + data


_ONE_BYTE = tuple(bytes([value]) for value in range(0x80))


def _varint(value: int) -> bytes:
    if 0 <= value < 0x80:
        return _ONE_BYTE[value]
    value &= _UINT64_MASK
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# --- reading ---


def decode(message: type[M], data: bytes, *, strict: bool = True) -> M:
    """Read a message of that class.

    Raises:
        ProtocolError: the bytes are malformed or, when strict, hold anything that the class does not declare.
    """
    return build(message, parse(message, data, strict=strict), strict=strict)


def parse(message: type, data: bytes, *, strict: bool = True) -> dict[str, Any]:
    """Read the fields that are present, by attribute; `build` makes the message of them."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise ProtocolError(f"{len(data)} bytes are too many, at most {MAX_MESSAGE_BYTES} are read")
    known = _by_number(message)
    values: dict[str, Any] = {}
    reader = _Reader(data)
    for number, wire_type in reader.tags():
        slot = known.get(number)
        expected = slot and (_VARINT if slot.field.kind in _VARINT_KINDS else _LENGTH)
        if slot is None or wire_type != expected:
            if strict:
                raise ProtocolError(
                    f"field {number} with wire type {wire_type} is not understood", message.__name__.lstrip("_")
                )
            reader.skip(number, wire_type)
            continue
        raw = reader.varint() if wire_type == _VARINT else reader.chunk()
        _store(values, slot, _value(slot.field, raw, strict=strict), strict=strict)
    return values


def build(message: type[M], values: Mapping[str, Any], *, strict: bool = True) -> M:
    """Make a message of parsed fields: fills in defaults, checks enums, addresses and (strict) ranges.

    Raises:
        ProtocolError: a value is missing or not of its kind; `field` names it.
    """
    arguments = {}
    for slot in slots_of(message):
        if slot.field.repeated:
            items = values.get(slot.attr, ())
            arguments[slot.attr] = tuple(_built(slot.field, item, strict=strict) for item in items)
        else:
            arguments[slot.attr] = _built(slot.field, values.get(slot.attr), strict=strict)
    return message(**arguments)


_DEFAULTS: dict[Kind, Any] = {
    Kind.INT64: 0,
    Kind.INT32: 0,
    Kind.BOOL: False,
    Kind.ENUM: 0,
    Kind.BYTES: b"",
    Kind.ADDRESS: b"",
    Kind.STRING: "",
}


def _built(field: Field, value: Any, *, strict: bool) -> Any:
    if field.kind is Kind.MESSAGE:
        return _built_message(field, value, strict=strict)
    if value is None:
        value = _DEFAULTS[field.kind]
    if strict and field.at_least is not None and value < field.at_least:
        raise ProtocolError(f"{value} is out of range, at least {field.at_least} is needed", field.name)
    if field.kind is Kind.ADDRESS:
        try:
            return Address(value)
        except AddressError as error:
            raise ProtocolError(str(error), field.name) from error
    if field.kind is Kind.ENUM and field.of is not None:
        try:
            return field.of(value)
        except ValueError as error:
            raise ProtocolError(f"{value} has no meaning", field.name) from error
    return value


def _built_message(field: Field, value: Any, *, strict: bool) -> Any:
    if value is None:
        if field.optional:
            return None
        raise ProtocolError("is missing", field.name)
    if field.of is None:
        raise TypeError(f"{field.name} declares no message class")
    return build(field.of, value, strict=strict)


def _value(field: Field, raw: int | bytes, *, strict: bool) -> Any:
    if isinstance(raw, int):
        if field.kind is Kind.BOOL:
            return raw != 0
        bits = 64 if field.kind is Kind.INT64 else 32
        return _signed(raw, bits)
    if field.kind is Kind.STRING:
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise ProtocolError("is not UTF-8", field.name) from error
    if field.kind is Kind.MESSAGE and field.of is not None:
        return parse(field.of, raw, strict=strict)
    return raw


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _store(values: dict[str, Any], slot: Slot, value: Any, *, strict: bool) -> None:
    if slot.field.repeated:
        values.setdefault(slot.attr, []).append(value)
    elif slot.attr not in values:
        values[slot.attr] = value
    elif strict:
        raise ProtocolError("is given twice", slot.field.name)
    elif isinstance(value, dict):
        _merge(values[slot.attr], value, slot.field.of)
    else:
        values[slot.attr] = value


def _merge(old: dict[str, Any], new: dict[str, Any], message: type | None) -> None:
    """Merge a second occurrence of a single message into the first, as protobuf does."""
    if message is None:
        raise TypeError("only messages merge")
    for slot in slots_of(message):
        if slot.attr not in new:
            continue
        if slot.field.repeated:
            old.setdefault(slot.attr, []).extend(new[slot.attr])
        else:
            _store(old, slot, new[slot.attr], strict=False)


class _Reader:
    """Walks over protobuf bytes and never past their end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def tags(self) -> Iterator[tuple[int, int]]:
        """Field number and wire type of each field in turn; the caller reads or skips its value."""
        while self._at < len(self._data):
            yield self._tag()

    def _tag(self) -> tuple[int, int]:
        tag = self.varint() & _UINT32_MASK
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise ProtocolError("a field has the number 0")
        if wire_type > _FIXED32:
            raise ProtocolError(f"field {number} has the unknown wire type {wire_type}")
        return number, wire_type

    def varint(self) -> int:
        """An unsigned number of at most 64 bits."""
        if self._at < len(self._data) and (first := self._data[self._at]) < 0x80:
            self._at += 1
            return first
        value = 0
        for index in range(_VARINT_MAX_BYTES):
            if self._at >= len(self._data):
                raise ProtocolError("the bytes end within a number")
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return value & _UINT64_MASK
        raise ProtocolError("a number is longer than ten bytes")

    def chunk(self) -> bytes:
        """Bytes behind their length."""
        return self._take(self.varint() & _UINT32_MASK)

    def _take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._data):
            raise ProtocolError(f"{length} bytes are announced, {len(self._data) - self._at} follow")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def skip(self, number: int, wire_type: int) -> None:
        """Pass over the value of a field that is not known."""
        open_groups: list[int] = []
        while True:
            if wire_type == _GROUP_START:
                open_groups.append(number)
                if len(open_groups) > _MAX_GROUP_DEPTH:
                    raise ProtocolError("groups are nested too deep")
            elif wire_type == _GROUP_END:
                if not open_groups or open_groups.pop() != number:
                    raise ProtocolError(f"the end of group {number} has no beginning")
            else:
                self._skip_value(wire_type)
            if not open_groups:
                return
            if self._at >= len(self._data):
                raise ProtocolError(f"group {open_groups[-1]} has no end")
            number, wire_type = self._tag()

    def _skip_value(self, wire_type: int) -> None:
        if wire_type == _VARINT:
            self.varint()
        elif wire_type == _LENGTH:
            self.chunk()
        else:
            self._take(8 if wire_type == _FIXED64 else 4)
