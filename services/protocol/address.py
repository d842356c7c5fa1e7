"""TRON addresses: 21 bytes that begin with 0x41, written as base58check (`T…`) or as hex (`41…`).

An address is the last 20 bytes of keccak256(public key) behind the prefix byte (java-tron, `ECKey.computeAddress`);
its text form is base58 of the 21 bytes and the first four bytes of their double SHA-256 (`StringUtil.encode58Check`).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Self

from coincurve import PublicKey
from pydantic import AfterValidator

from services.protocol.hashes import keccak256, sha256

ADDRESS_BYTES = 21
"""Length of an address: the prefix and 20 bytes."""

PREFIX = 0x41
"""First byte of every address on mainnet, shasta, nile and the devnet (java-tron, `ADD_PRE_FIX_BYTE_MAINNET`)."""

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS = {letter: digit for digit, letter in enumerate(_ALPHABET)}
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
# 25 bytes (address and checksum) that begin with 0x41 always make 34 letters, so length alone rejects the rest.
_BASE58_LENGTH = 34
_PAYLOAD_BYTES = ADDRESS_BYTES + 4


class AddressError(ValueError):
    """The text or bytes are not a TRON address; the message says what is wrong with them."""


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """One TRON address, always valid: whoever holds an `Address` need not check it again."""

    raw: bytes
    """The 21 bytes, 0x41 first."""

    def __post_init__(self) -> None:
        if len(self.raw) != ADDRESS_BYTES:
            raise AddressError(f"a TRON address has {ADDRESS_BYTES} bytes, not {len(self.raw)}")
        if self.raw[0] != PREFIX:
            raise AddressError(f"a TRON address begins with byte 41, not {self.raw[0]:02x}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address from base58check or from 42 hex digits that begin with 41.

        Raises:
            AddressError: it is neither, or the checksum does not match.
        """
        if len(text) == _BASE58_LENGTH:
            return cls(_decode_base58check(text))
        if len(text) == 2 * ADDRESS_BYTES and _HEX_DIGITS.issuperset(text):
            return cls(bytes.fromhex(text))
        raise AddressError(_why_not(text))

    @classmethod
    def from_public_key(cls, public_key: bytes) -> Self:
        """Address of a secp256k1 public key in SEC form: 65 bytes uncompressed or 33 compressed.

        Raises:
            AddressError: the bytes are not a point of the curve.
        """
        try:
            point = PublicKey(public_key).format(compressed=False)
        except ValueError as error:
            raise AddressError("not a public key: 33 or 65 bytes of a secp256k1 point are needed") from error
        return cls.from_evm(keccak256(point[1:])[12:])

    @classmethod
    def from_evm(cls, evm: bytes) -> Self:
        """Address from the 20 bytes that contracts and event logs use, where the prefix is left out."""
        if len(evm) != ADDRESS_BYTES - 1:
            raise AddressError(f"an address inside a contract has 20 bytes, not {len(evm)}")
        return cls(bytes([PREFIX]) + evm)

    @property
    def base58(self) -> str:
        """The form people use: 34 letters, `T` first, with a checksum."""
        return _encode_base58check(self.raw)

    @property
    def hex(self) -> str:
        """42 lower-case hex digits, `41` first."""
        return self.raw.hex()

    @property
    def evm(self) -> bytes:
        """The 20 bytes without the prefix, as contracts see the address."""
        return self.raw[1:]

    def __str__(self) -> str:
        return self.base58


def _canonical(text: str) -> str:
    return Address.parse(text).base58


TronAddress = Annotated[str, AfterValidator(_canonical)]
"""A string field of a wire model that must be an address; base58 or hex comes in, base58 is kept."""


@lru_cache(maxsize=4096)
def _encode_base58check(raw: bytes) -> str:
    number = int.from_bytes(raw + _checksum(raw))
    letters = []
    while number:
        number, digit = divmod(number, 58)
        letters.append(_ALPHABET[digit])
    return "".join(reversed(letters))


@lru_cache(maxsize=4096)
def _decode_base58check(text: str) -> bytes:
    number = 0
    for position, letter in enumerate(text, start=1):
        digit = _DIGITS.get(letter)
        if digit is None:
            raise AddressError(f"character {position} ({letter!r}) is not used in TRON addresses (no 0, O, I, l)")
        number = number * 58 + digit
    try:
        payload = number.to_bytes(_PAYLOAD_BYTES)
    except OverflowError as error:
        raise AddressError("not a TRON address: those begin with T") from error
    raw, checksum = payload[:ADDRESS_BYTES], payload[ADDRESS_BYTES:]
    if raw[0] != PREFIX:
        raise AddressError("not a TRON address: those begin with T")
    if checksum != _checksum(raw):
        raise AddressError("the checksum does not match: a character of the address is wrong, copy it again")
    return raw


def _checksum(raw: bytes) -> bytes:
    return sha256(sha256(raw))[:4]


def _why_not(text: str) -> str:
    """Say what a text that has the form of no address might be, for the person who typed it."""
    if not text:
        return "the address is empty"
    if text != text.strip():
        return "the address has spaces around it"
    if text.startswith(("0x", "0X")):
        return "an address that begins with 0x is Ethereum's form; give the TRON form that begins with T"
    return f"a TRON address has 34 letters and begins with T (or 42 hex digits and begins with 41); got {len(text)}"
