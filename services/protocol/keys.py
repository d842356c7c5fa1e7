"""BIP-32 private key derivation, with TRON's path (SLIP-44 coin type 195) as the default.

Words to seed is BIP-39 and done elsewhere; here 16 to 64 bytes of seed become one 32-byte private key.
"""

import hmac
from hashlib import sha512

from coincurve import PrivateKey

from services.protocol.wire import ProtocolError

DEFAULT_PATH = "m/44'/195'/0'/0/0"
"""First address of the first account, as TronLink, tronweb and Ledger derive it."""

_CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_HARDENED = 1 << 31
_MAX_DEPTH = 255


def derive(seed: bytes, path: str = DEFAULT_PATH) -> bytes:
    """The private key at a path below the master key of a seed.

    Raises:
        ProtocolError: the path or the length of the seed is not BIP-32's, or (once in 2^127) there is no such key.
    """
    if not 16 <= len(seed) <= 64:
        raise ProtocolError(f"a seed has 16 to 64 bytes, not {len(seed)}", "seed")
    indexes = parse_path(path)
    key, chain_code = _split(b"Bitcoin seed", seed, parent=0)
    for index in indexes:
        key, chain_code = _child(key, chain_code, index)
    return key


def parse_path(path: str) -> tuple[int, ...]:
    """The child numbers of a path such as `m/44'/195'/0'/0/0`; hardened ones (`'` or `h`) have their top bit set.

    Raises:
        ProtocolError: it is no such path.
    """
    first, *parts = path.split("/")
    if first != "m" or len(parts) > _MAX_DEPTH:
        raise ProtocolError("a derivation path looks like m/44'/195'/0'/0/0", "path")
    return tuple(_child_number(part) for part in parts)


def _child_number(part: str) -> int:
    digits = part[:-1] if part.endswith(("'", "h")) else part
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 10 or int(digits) >= _HARDENED:
        raise ProtocolError(f"{part!r} is no child number: digits below 2147483648, then perhaps '", "path")
    return int(digits) + (_HARDENED if digits != part else 0)


def _child(key: bytes, chain_code: bytes, index: int) -> tuple[bytes, bytes]:
    hardened = index >= _HARDENED
    material = b"\x00" + key if hardened else PrivateKey(key).public_key.format(compressed=True)
    return _split(chain_code, material + index.to_bytes(4), parent=int.from_bytes(key))


def _split(mac_key: bytes, material: bytes, *, parent: int) -> tuple[bytes, bytes]:
    digest = hmac.digest(mac_key, material, sha512)
    tweak = int.from_bytes(digest[:32])
    key = (tweak + parent) % _CURVE_ORDER
    if tweak >= _CURVE_ORDER or key == 0:
        raise ProtocolError("there is no key at this path: take the next child number", "path")
    return key.to_bytes(32), digest[32:]
