"""Signatures over transaction ids and block hashes: secp256k1, recoverable, with RFC 6979 nonces and low s.

Form: r ‖ s ‖ v, 65 bytes (java-tron, `ECKey.ECDSASignature.toByteArray`). v is 27 or 28 when we sign; 0 and 1
mean the same and are read too (`Rsv.fromSignature`).
"""

from coincurve import PrivateKey, PublicKey

from services.protocol.address import Address
from services.protocol.wire import ProtocolError

SIGNATURE_BYTES = 65
"""Length of a signature."""

PRIVATE_KEY_BYTES = 32
"""Length of a private key."""

_V_OFFSET = 27
_RECOVERY_IDS = {0: 0, 1: 1, 27: 0, 28: 1}


def sign(txid: bytes, private_key: bytes | PrivateKey) -> bytes:
    """Sign a 32-byte hash; a kept `PrivateKey` is quicker than its bytes.

    Raises:
        ProtocolError: the hash has not 32 bytes, or the key is none.
    """
    _check_hash(txid)
    signature = _key(private_key).sign_recoverable(txid, hasher=None)
    return signature[:-1] + bytes([signature[-1] + _V_OFFSET])


def recover(txid: bytes, signature: bytes) -> Address:
    """The address whose key made the signature over that 32-byte hash.

    Raises:
        ProtocolError: the signature is malformed, or no key can have made it.
    """
    _check_hash(txid)
    if len(signature) != SIGNATURE_BYTES:
        raise ProtocolError(f"a signature has {SIGNATURE_BYTES} bytes, not {len(signature)}", "signature")
    recovery_id = _RECOVERY_IDS.get(signature[-1])
    if recovery_id is None:
        raise ProtocolError(f"its last byte is {signature[-1]}, must be 0, 1, 27 or 28", "signature")
    try:
        key = PublicKey.from_signature_and_message(signature[:-1] + bytes([recovery_id]), txid, hasher=None)
    except Exception as error:  # coincurve raises bare Exception for what cannot be recovered
        raise ProtocolError("no key can have made it", "signature") from error
    return Address.from_public_key(key.format(compressed=False))


def public_address(private_key: bytes | PrivateKey) -> Address:
    """The address that a private key controls.

    Raises:
        ProtocolError: it is no private key.
    """
    return Address.from_public_key(_key(private_key).public_key.format(compressed=False))


def _check_hash(txid: bytes) -> None:
    if len(txid) != 32:
        raise ProtocolError(f"a hash of 32 bytes is needed, not of {len(txid)}", "txid")


def _key(private_key: bytes | PrivateKey) -> PrivateKey:
    if isinstance(private_key, PrivateKey):
        return private_key
    # coincurve pads short keys with zeros: a cut-off key would silently become another one.
    if len(private_key) != PRIVATE_KEY_BYTES:
        raise ProtocolError(f"a private key has {PRIVATE_KEY_BYTES} bytes, not {len(private_key)}", "private_key")
    try:
        return PrivateKey(private_key)
    except ValueError:
        # Not chained: the cause must not carry the key into a log.
        raise ProtocolError("is zero or beyond the curve's order", "private_key") from None
