"""Addresses: both text forms, and everything that is not one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from tronpy.keys import PrivateKey as TronpyKey
from tronpy.keys import to_base58check_address

from services.protocol.address import Address, AddressError, TronAddress
from services.protocol.signature import public_address

USDT = "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"
USDT_HEX = "41a614f803b6fd780986a42c78ec9c7f77e6ded13c"
KEY = bytes(31) + b"\x01"

addresses = st.binary(min_size=20, max_size=20).map(Address.from_evm)


def test_usdt_reads_the_same_from_both_forms() -> None:
    address = Address.parse(USDT)
    assert address == Address.parse(USDT_HEX) == Address.parse(USDT_HEX.upper())
    assert address.base58 == str(address) == USDT
    assert address.hex == USDT_HEX
    assert address.evm == bytes.fromhex(USDT_HEX[2:])
    assert Address.from_evm(address.evm) == address


def test_address_of_a_public_key() -> None:
    expected = TronpyKey(KEY).public_key
    assert public_address(KEY).hex == expected.to_hex_address() == "417e5f4552091a69125d5dfcb7b8c2659029395bdf"
    uncompressed = b"\x04" + expected.to_bytes()
    compressed = bytes([2 + uncompressed[-1] % 2]) + uncompressed[1:33]
    assert Address.from_public_key(uncompressed) == Address.from_public_key(compressed) == public_address(KEY)


@pytest.mark.parametrize("bad", [b"", bytes(33), bytes(65), b"\x04" + bytes(64), b"\x02" * 32])
def test_bytes_that_are_no_public_key_are_refused(bad: bytes) -> None:
    with pytest.raises(AddressError, match="not a public key"):
        Address.from_public_key(bad)


@given(addresses)
def test_every_address_survives_both_forms(address: Address) -> None:
    assert Address.parse(address.base58) == Address.parse(address.hex) == address
    assert address.base58 == to_base58check_address(address.raw)


@given(addresses, st.integers(0, 33), st.sampled_from("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"))
def test_a_mistyped_letter_is_always_noticed(address: Address, position: int, letter: str) -> None:
    typed = address.base58[:position] + letter + address.base58[position + 1 :]
    if typed != address.base58:
        with pytest.raises(AddressError):
            Address.parse(typed)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    try:
        address = Address.parse(text)
    except AddressError:
        return
    assert text in (address.base58, address.hex, address.hex.upper())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (f" {USDT}", "spaces"),
        ("0x" + USDT_HEX[2:], "Ethereum"),
        (USDT[:-1], "34 letters"),
        (USDT + "t", "34 letters"),
        (USDT[:-1] + "u", "checksum"),
        (USDT[:-1] + "0", "character 34 ('0')"),
        (USDT[:-1] + "\u0661", "character 34"),
        ("1" * 34, "begin with T"),
        ("z" * 34, "begin with T"),
        ("42" + USDT_HEX[2:], "begins with byte 41"),
        (USDT_HEX[2:], "34 letters"),
        (USDT_HEX[:-1] + "g", "34 letters"),
        (USDT_HEX[:-2] + " 3c", "34 letters"),
    ],
)
def test_what_is_no_address_is_told_why(text: str, reason: str) -> None:
    with pytest.raises(AddressError, match=re.escape(reason)):
        Address.parse(text)


@pytest.mark.parametrize("raw", [b"", bytes(21), b"\x41" * 20, b"\x41" * 22])
def test_an_invalid_address_cannot_exist(raw: bytes) -> None:
    with pytest.raises(AddressError):
        Address(raw)


def test_evm_form_needs_twenty_bytes() -> None:
    with pytest.raises(AddressError, match="20 bytes"):
        Address.from_evm(bytes(21))


def test_addresses_sort_and_count_by_their_bytes() -> None:
    low, high = Address.from_evm(bytes(20)), Address.from_evm(b"\xff" * 20)
    assert sorted({high, low, Address(low.raw)}) == [low, high]


class Order(BaseModel):
    """A wire model with an address."""

    to: TronAddress


def test_wire_models_keep_base58_and_name_the_field_at_fault() -> None:
    assert Order(to=USDT).to == Order(to=USDT_HEX).to == USDT
    with pytest.raises(ValidationError, match=r"(?s)to\n.*checksum does not match"):
        Order(to=USDT[:-1] + "u")
