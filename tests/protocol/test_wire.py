"""The protobuf codec against hand-made bytes: what is written, what is refused, what is passed over."""

from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.protocol import wire
from services.protocol.address import Address
from services.protocol.wire import Field, Kind, ProtocolError

ADDRESS = Address.from_evm(bytes(range(20)))


class Colour(IntEnum):
    """An enum."""

    RED = 0
    BLUE = 1


@dataclass(frozen=True)
class Inner:
    """A message inside another."""

    number: Annotated[int, Field(1, "number", Kind.INT64)] = 0
    tags: Annotated[tuple[bytes, ...], Field(2, "tags", Kind.BYTES, repeated=True)] = ()


@dataclass(frozen=True)
class Sample:
    """A message with a field of every kind, declared out of order."""

    text: Annotated[str, Field(6, "text", Kind.STRING)] = ""
    big: Annotated[int, Field(1, "big", Kind.INT64)] = 0
    small: Annotated[int, Field(2, "small", Kind.INT32)] = 0
    flag: Annotated[bool, Field(3, "flag", Kind.BOOL)] = False
    colour: Annotated[Colour, Field(4, "colour", Kind.ENUM, of=Colour)] = Colour.RED
    data: Annotated[bytes, Field(5, "data", Kind.BYTES)] = b""
    inner: Annotated[Inner | None, Field(7, "inner", Kind.MESSAGE, of=Inner, optional=True)] = None
    many: Annotated[tuple[Inner, ...], Field(16, "many", Kind.MESSAGE, of=Inner, repeated=True)] = ()


@dataclass(frozen=True)
class Owned:
    """A message with an address and a number that must be at least 1."""

    owner: Annotated[Address, Field(1, "owner", Kind.ADDRESS)]
    amount: Annotated[int, Field(2, "amount", Kind.INT64, at_least=1)] = 1


@dataclass(frozen=True)
class Outer:
    """A message that needs another."""

    inner: Annotated[Inner, Field(1, "inner", Kind.MESSAGE, of=Inner)]


def lenient(data: str) -> Sample:
    return wire.decode(Sample, bytes.fromhex(data), strict=False)


def test_defaults_are_left_out() -> None:
    assert wire.encode(Sample()) == b""
    assert wire.decode(Sample, b"") == Sample()


@pytest.mark.parametrize(
    ("message", "data"),
    [
        (Sample(big=1), "0801"),
        (Sample(big=150), "089601"),
        (Sample(big=(1 << 63) - 1), "08ffffffffffffffff7f"),
        (Sample(big=-1), "08ffffffffffffffffff01"),
        (Sample(big=-(1 << 63)), "0880808080808080808001"),
        (Sample(small=-2), "10feffffffffffffffff01"),
        (Sample(flag=True), "1801"),
        (Sample(colour=Colour.BLUE), "2001"),
        (Sample(data=b"\x00"), "2a0100"),
        (Sample(text="ö"), "3202c3b6"),
        (Sample(inner=Inner()), "3a00"),
        (Sample(inner=Inner(number=5, tags=(b"", b"x"))), "3a0708051200120178"),
        (Sample(many=(Inner(), Inner(number=1))), "82010082010208 01"),
        (Sample(text="a", big=1), "0801320161"),
        (Sample(data=bytes(200)), "2ac801" + "00" * 200),
    ],
)
def test_bytes_are_protobufs(message: Sample, data: str) -> None:
    assert wire.encode(message).hex() == data.replace(" ", "")
    assert wire.decode(Sample, bytes.fromhex(data)) == message
    assert lenient(data) == message


@pytest.mark.parametrize(
    "message", [Sample(big=1 << 63), Sample(big=-(1 << 63) - 1), Sample(small=1 << 31), Sample(small=-(1 << 31) - 1)]
)
def test_numbers_that_do_not_fit_are_not_written(message: Sample) -> None:
    with pytest.raises(ProtocolError, match="does not fit"):
        wire.encode(message)


def test_half_a_character_is_not_written() -> None:
    with pytest.raises(ProtocolError, match="text: holds half a character"):
        wire.encode(Sample(text="\ud800"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("08", "end within a number"),
        ("0880", "end within a number"),
        ("08ffffffffffffffffffff01", "longer than ten bytes"),
        ("2a0500", "5 bytes are announced, 1 follow"),
        ("2affffffff0f", "bytes are announced"),
        ("2a", "end within a number"),
        ("0000", "number 0"),
        ("0e00", "wire type 6"),
        ("0f00", "wire type 7"),
        ("320180", "not UTF-8"),
        ("3a020880", "end within a number"),
        ("2002", "colour: 2 has no meaning"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_malformed_bytes_are_refused_either_way(data: str, reason: str, strict: bool) -> None:
    with pytest.raises(ProtocolError, match=reason):
        wire.decode(Sample, bytes.fromhex(data), strict=strict)


@pytest.mark.parametrize(
    "data",
    [
        "a80601",
        "a106" + "00" * 8,
        "a20603616263",
        "a50600000000",
        "a306a80601a406",
        "a306ab06ac06a406",
        # A known number with another wire type is an unknown field too.
        "0d00000000",
        "0a0100",
        "2801",
    ],
)
def test_what_is_not_declared_is_refused_when_strict_and_else_passed_over(data: str) -> None:
    with pytest.raises(ProtocolError, match="not understood"):
        wire.decode(Sample, bytes.fromhex(data + "1801"))
    assert lenient("0801" + data + "1801") == Sample(big=1, flag=True)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("a306", "has no end"),
        ("a406", "has no beginning"),
        ("a306ac06", "has no beginning"),
        ("a306a80601", "has no end"),
        ("a3060f00a406", "wire type 7"),
        ("a306" * 101 + "a406" * 101, "too deep"),
        ("a20605", "announced"),
        ("a50600", "announced"),
    ],
)
def test_unknown_fields_must_still_be_well_formed(data: str, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        lenient(data)


def test_groups_nest_up_to_javas_limit() -> None:
    assert lenient("a306" * 100 + "a406" * 100 + "1801") == Sample(flag=True)


def test_a_repeated_single_field_is_refused_when_strict_and_else_the_last_one_wins() -> None:
    with pytest.raises(ProtocolError, match="big: is given twice"):
        wire.decode(Sample, bytes.fromhex("08010802"))
    assert lenient("08010802") == Sample(big=2)
    assert lenient("08010800") == Sample(big=0)


def test_single_messages_merge_when_lenient() -> None:
    with pytest.raises(ProtocolError, match="inner: is given twice"):
        wire.decode(Sample, bytes.fromhex("3a0208053a020806"))
    assert lenient("3a0508051201613a0508061201623a00") == Sample(inner=Inner(number=6, tags=(b"a", b"b")))
    assert lenient("3a0208053a03120162") == Sample(inner=Inner(number=5, tags=(b"b",)))


def test_lenient_numbers_are_cut_as_java_cuts_them() -> None:
    assert lenient("1880808080808080808001").flag is True
    assert lenient("10ffffffffff01").small == -1
    assert lenient("08ffffffffffffffffff7f").big == -1
    assert lenient("0880808000") == Sample()


def test_an_address_must_be_one_and_is_named_if_not() -> None:
    assert wire.decode(Owned, b"\x0a\x15" + ADDRESS.raw + b"\x10\x01") == Owned(ADDRESS, 1)
    for bad in (b"", b"\x0a\x00", b"\x0a\x14" + ADDRESS.evm, b"\x0a\x15" + bytes(21)):
        with pytest.raises(ProtocolError, match="owner: a TRON address") as caught:
            wire.decode(Owned, bad, strict=False)
        assert caught.value.field == "owner"


def test_amounts_out_of_range_are_refused_only_when_strict() -> None:
    owner = b"\x0a\x15" + ADDRESS.raw
    for amount, encoded in ((0, b""), (0, b"\x10\x00"), (-1, b"\x10" + b"\xff" * 9 + b"\x01")):
        with pytest.raises(ProtocolError, match=f"amount: {amount} is out of range"):
            wire.decode(Owned, owner + encoded)
        assert wire.decode(Owned, owner + encoded, strict=False) == Owned(ADDRESS, amount)


def test_a_needed_message_must_be_there() -> None:
    with pytest.raises(ProtocolError, match="inner: is missing"):
        wire.decode(Outer, b"", strict=False)
    assert wire.decode(Outer, b"\x0a\x00") == Outer(Inner())


def test_too_many_bytes_are_not_even_looked_at() -> None:
    with pytest.raises(ProtocolError, match="too many"):
        wire.decode(Sample, bytes(wire.MAX_MESSAGE_BYTES + 1), strict=False)


@given(st.binary(max_size=100), st.booleans())
@example(b"\x9b\x9a\x9b\x9c", False)
def test_any_bytes_are_a_message_or_a_protocol_error(data: bytes, strict: bool) -> None:
    with suppress(ProtocolError):
        found = wire.decode(Sample, data, strict=strict)
        assert wire.decode(Sample, wire.encode(found), strict=strict) == found
