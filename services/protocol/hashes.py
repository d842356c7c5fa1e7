"""The two hash functions TRON is built on, in one place, because addresses and ABI share them."""

from hashlib import sha256 as _sha256

from Crypto.Hash import keccak


def sha256(data: bytes) -> bytes:
    """SHA-256 of the data, 32 bytes: transaction ids, block ids, base58 checksums."""
    return _sha256(data).digest()


def keccak256(data: bytes) -> bytes:
    """Keccak-256 (Ethereum's, not NIST SHA-3) of the data, 32 bytes: addresses, selectors, event topics."""
    return keccak.new(digest_bits=256, data=data).digest()
