"""The bytes that java-tron would write for a transaction that it read.

A node parses what it is sent and hashes its own encoding, not the bytes that came: fields out of order, defaults
written out and scalars given twice are straightened, unknown fields are kept behind the known ones. Whoever sends
anything but canonical bytes gets another txid than the one they computed; so here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from services.protocol.wire import ProtocolError

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_UINT64_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number: the last one given counts, 0 is left out."""

    bits: int = 64
    """Width; Java cuts off what is above."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """Bytes or text: the last one given counts unless it repeats, empty is left out unless it repeats."""

    repeated: bool = False
    """Whether every one counts."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message inside: single ones merge, repeated ones are straightened one by one."""

    fields: "Shape"
    """What it holds."""

    repeated: bool = False
    """Whether every one counts."""


Shape: TypeAlias = Mapping[int, Scalar | Bytes | Message]
"""The fields of a message by their numbers."""

ANY: Shape = {1: Bytes(), 2: Bytes()}
"""`google.protobuf.Any`; the value inside is bytes and stays as it is."""

CONTRACT: Shape = {1: Scalar(32), 2: Message(ANY), 3: Bytes(), 4: Bytes(), 5: Scalar(32)}
"""`Transaction.Contract`."""

RAW: Shape = {
    1: Bytes(),
    3: Scalar(),
    4: Bytes(),
    8: Scalar(),
    9: Bytes(repeated=True),
    10: Bytes(),
    11: Message(CONTRACT, repeated=True),
    12: Bytes(),
    14: Scalar(),
    18: Scalar(),
}
"""`Transaction.raw`. Its `auths` are messages that nobody uses; they are kept as they came."""

TRANSACTION: Shape = {1: Message(RAW), 2: Bytes(repeated=True), 5: Bytes(repeated=True)}
"""`Transaction`."""


@dataclass(slots=True)
class _Parsed:
    known: dict[int, list[int | bytes]] = field(default_factory=dict)
    unknown: dict[int, bytearray] = field(default_factory=dict)
    is_straight: bool = True
    """Whether the fields stand as they are to be written; messages inside have not been looked at."""


def canonical(shape: Shape, data: bytes) -> bytes:
    """The bytes of that message as java-tron writes them.

    Raises:
        ProtocolError: they are no protobuf message, or use the group fields that TRON does not have.
    """
    parsed = _parse(shape, data)
    # Nearly everything that comes is canonical, and need not be written again.
    if parsed.is_straight and _are_canonical(shape, parsed.known):
        return data
    out = bytearray()
    for number in sorted(parsed.known):
        out += _written(number, shape[number], parsed.known[number])
    for number in sorted(parsed.unknown):
        out += parsed.unknown[number]
    return bytes(out)


def _are_canonical(shape: Shape, known: Mapping[int, list[int | bytes]]) -> bool:
    """Whether the messages inside are as they are to be written."""
    return all(
        canonical(kind.fields, value) is value
        for number, values in known.items()
        if isinstance(kind := shape[number], Message)
        for value in values
        if isinstance(value, bytes)
    )


def _written(number: int, kind: Scalar | Bytes | Message, values: list[int | bytes]) -> bytes:
    match kind:
        case Scalar(bits):
            value = _cut(values[-1], bits)
            return _varint(number << 3) + _varint(value) if value else b""
        case Bytes(repeated):
            chosen = values if repeated else [value for value in values[-1:] if value]
            return b"".join(_chunk(number, value) for value in chosen)
        case Message(fields, repeated):
            # Concatenated messages read as one that is merged.
            parts = values if repeated else [b"".join(value for value in values if isinstance(value, bytes))]
            return b"".join(_chunk(number, canonical(fields, part)) for part in parts if isinstance(part, bytes))


def _cut(value: int | bytes, bits: int) -> int:
    if not isinstance(value, int):
        raise ProtocolError("a number was expected")
    low = value & ((1 << bits) - 1)
    # A negative int32 is written with its sign extended to 64 bits.
    return low | (_UINT64_MASK ^ ((1 << bits) - 1)) if low >> (bits - 1) else low


def _chunk(number: int, value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ProtocolError("bytes were expected")
    return _varint(number << 3 | _LENGTH) + _varint(len(value)) + value


def _parse(shape: Shape, data: bytes) -> _Parsed:
    parsed, at, last, end = _Parsed(), 0, 0, len(data)
    while at < end:
        start = at
        tag, at = _read_varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise ProtocolError("a field has the number 0")
        value, at = _read_value(data, at, wire_type)
        kind = shape.get(number)
        if kind is not None and wire_type == (_VARINT if isinstance(kind, Scalar) else _LENGTH):
            parsed.known.setdefault(number, []).append(value)
            if parsed.is_straight and not _stands_straight(kind, value, number, last, at - start):
                parsed.is_straight = False
            last = number
        else:
            parsed.unknown.setdefault(number, bytearray()).extend(data[start:at])
            parsed.is_straight = False
    return parsed


def _stands_straight(kind: Scalar | Bytes | Message, value: int | bytes, number: int, last: int, length: int) -> bool:
    """Whether a field is in its place, is no default, and takes no more bytes than it needs."""
    if isinstance(value, int):
        in_range = not isinstance(kind, Scalar) or _cut(value, kind.bits) == value
        return number > last and value != 0 and in_range and length == _varint_bytes(number << 3) + _varint_bytes(value)
    repeated = not isinstance(kind, Scalar) and kind.repeated
    is_left_out = not value and not repeated and isinstance(kind, Bytes)
    needed = _varint_bytes(number << 3) + _varint_bytes(len(value)) + len(value)
    return (number > last or (repeated and number == last)) and not is_left_out and length == needed


def _varint_bytes(value: int) -> int:
    return 1 if value < 0x80 else -(-value.bit_length() // 7)


def _read_value(data: bytes, at: int, wire_type: int) -> tuple[int | bytes, int]:
    if wire_type == _VARINT:
        return _read_varint(data, at)
    if wire_type == _LENGTH:
        length, at = _read_varint(data, at)
    elif wire_type in {_FIXED64, _FIXED32}:
        length = 8 if wire_type == _FIXED64 else 4
    else:
        raise ProtocolError(f"wire type {wire_type} is not used by TRON")
    if at + length > len(data):
        raise ProtocolError("the bytes end within a field")
    return data[at : at + length], at + length


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    if at < len(data) and data[at] < 0x80:
        return data[at], at + 1
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ProtocolError("the bytes end within a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _UINT64_MASK, at
    raise ProtocolError("a number has more than ten bytes")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
