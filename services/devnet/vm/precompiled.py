"""Contracts without bytecode, at small addresses (java-tron, `PrecompiledContracts`).

Carried out: 1 ecrecover, 2 sha256, 3 (which on TRON is a double sha256, not RIPEMD-160), 4 identity, 5 modexp. The
others that TRON has are refused by name, since a wrong answer would be worse.
"""

from collections.abc import Callable
from dataclasses import dataclass

from services.devnet.vm.failures import NotCarriedOut
from services.protocol.hashes import sha256
from services.protocol.signature import recover
from services.protocol.wire import ProtocolError

_SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@dataclass(frozen=True, slots=True)
class Precompiled:
    """One of them."""

    energy: Callable[[bytes], int]
    """What a call with that data costs."""

    run: Callable[[bytes], bytes]
    """What it returns."""


def precompiled_at(address: int) -> Precompiled | None:
    """The contract at an address, given as the word on the stack."""
    return _TABLE.get(address)


def _words(data: bytes) -> int:
    return (len(data) + 31) // 32


def _ecrecover(data: bytes) -> bytes:
    data = data.ljust(128, b"\0")
    message, v = data[:32], int.from_bytes(data[32:64])
    r, s = int.from_bytes(data[64:96]), int.from_bytes(data[96:128])
    if v not in {27, 28} or not 0 < r < _SECP256K1_ORDER or not 0 < s < _SECP256K1_ORDER:
        return b""
    try:
        signer = recover(message, data[64:128] + bytes([v]))
    except ProtocolError:
        return b""
    # The whole address, with TRON's 0x41 before the 20 bytes.
    return signer.raw.rjust(32, b"\0")


def _hashed_twice(data: bytes) -> bytes:
    return sha256(sha256(data)[:20])


def _modexp_parts(data: bytes) -> tuple[int, int, int]:
    lengths = data[:96].ljust(96, b"\0")
    sizes = (int.from_bytes(lengths[at : at + 32]) for at in (0, 32, 64))
    base, exponent, modulus = (min(size, 1 << 20) for size in sizes)
    return base, exponent, modulus


def _slice(data: bytes, offset: int, size: int) -> bytes:
    return data[offset : offset + size].ljust(size, b"\0")


def _modexp_energy(data: bytes) -> int:
    base, exponent, modulus = _modexp_parts(data)
    head = int.from_bytes(_slice(data, 96 + base, min(exponent, 32)))
    adjusted = (8 * (exponent - 32) if exponent > 32 else 0) + max(head.bit_length() - 1, 0)
    size = max(base, modulus)
    if size <= 64:
        complexity = size * size
    elif size <= 1024:
        complexity = size * size // 4 + 96 * size - 3_072
    else:
        complexity = size * size // 16 + 480 * size - 199_680
    return complexity * max(adjusted, 1) // 20


def _modexp(data: bytes) -> bytes:
    base_size, exponent_size, modulus_size = _modexp_parts(data)
    base = int.from_bytes(_slice(data, 96, base_size))
    exponent = int.from_bytes(_slice(data, 96 + base_size, exponent_size))
    modulus = int.from_bytes(_slice(data, 96 + base_size + exponent_size, modulus_size))
    if modulus == 0:
        return b""
    return pow(base, exponent, modulus).to_bytes(modulus_size)


def _missing(name: str) -> Precompiled:
    def run(_data: bytes) -> bytes:
        raise NotCarriedOut(f"this devnet does not carry out the precompiled contract {name}")

    return Precompiled(lambda _data: 0, run)


_TABLE = {
    0x1: Precompiled(lambda _data: 3_000, _ecrecover),
    0x2: Precompiled(lambda data: 60 + 12 * _words(data), sha256),
    0x3: Precompiled(lambda data: 600 + 120 * _words(data), _hashed_twice),
    0x4: Precompiled(lambda data: 15 + 3 * _words(data), lambda data: data),
    0x5: Precompiled(_modexp_energy, _modexp),
    0x6: _missing("0x6 (altBN128Add)"),
    0x7: _missing("0x7 (altBN128Mul)"),
    0x8: _missing("0x8 (altBN128Pairing)"),
    0x9: _missing("0x9 (batchValidateSign)"),
    0xA: _missing("0xa (validateMultiSign)"),
    **{address: _missing(f"{address:#x}") for address in range(0x1000005, 0x1000016)},
}
