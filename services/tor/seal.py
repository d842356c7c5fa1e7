"""Keys of onions: made here, and sealed on the disk (ChaCha20-Poly1305) under a key from a file or a credential.

What it is good for depends on where that key lies. As a credential (best: `LoadCredentialEncrypted=`, bound to the
machine's TPM or host key) a copy of the disk or a backup of the home tells nothing. As a generated file beside the
database it only keeps the secret out of copies of the database. `Onion.sealed_with` shows which it is.
"""

import base64
import binascii
import hashlib
import os
import secrets
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from services.kit.errors import Conflict, Unavailable

KEY_BYTES = 32
_NONCE_BYTES = 12
_VERSION = b"\x01"

_CHECKSUM = b".onion checksum"
_ONION_VERSION = b"\x03"


class Seal:
    """Seals and opens; each text is bound to a label, so that one secret cannot be passed off as another."""

    def __init__(self, key: bytes, kind: str) -> None:
        self._cipher = ChaCha20Poly1305(key)
        self.kind = kind
        """Where the key lies: `credential`, `key file`, `generated key file`."""

    @staticmethod
    def make_onion_key() -> tuple[bytes, str]:
        """Make a key: 64 bytes as tor's ED25519-V3 has them (the expanded secret), and the address with `.onion`.

        control-spec, ADD_ONION; rend-spec-v3, "Encoding onion addresses".
        """
        private = Ed25519PrivateKey.generate()
        expanded = bytearray(hashlib.sha512(private.private_bytes_raw()).digest())
        expanded[0] &= 248
        expanded[31] = (expanded[31] & 63) | 64
        return bytes(expanded), address_of(private.public_key().public_bytes_raw())

    def close(self, secret: bytes, label: str) -> bytes:
        """Encrypt: version, nonce, ciphertext and tag."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, secret, _VERSION + label.encode())

    def open(self, sealed: bytes, label: str) -> bytes:
        """Decrypt.

        Raises:
            Conflict: sealed under another key or for another label, or damaged.
        """
        nonce, text = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            if sealed[:1] != _VERSION:
                raise InvalidTag
            return self._cipher.decrypt(nonce, text, _VERSION + label.encode())
        except (InvalidTag, ValueError):
            raise Conflict(
                f"the key of {label} cannot be opened with this {self.kind}: bring back the one that sealed it"
            ) from None


def address_of(public: bytes) -> str:
    """The onion address of a public key."""
    checksum = hashlib.sha3_256(_CHECKSUM + public + _ONION_VERSION).digest()[:2]
    return base64.b32encode(public + checksum + _ONION_VERSION).decode().lower() + ".onion"


def load(path: Path, kind: str, *, generate: bool) -> Seal:
    """Read the key, 32 bytes or 64 hex digits; `generate` makes the file (0600) if it is not there.

    Raises:
        Unavailable: it cannot be read or made, others may read it, or it is no key.
    """
    try:
        if generate:
            _make(path)
        # A pipe would be waited for; it is no key below.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            mode = stat.S_IMODE(os.fstat(handle).st_mode)
            raw = os.read(handle, 200)
        finally:
            os.close(handle)
    except OSError as error:
        raise Unavailable(f"the key that seals onions, {path}, cannot be used: {error.strerror}") from None
    # systemd's credentials are 0440 with an access list, in a directory that only this unit sees.
    if kind != "credential" and mode & 0o077:
        raise Unavailable(f"others may read {path}, the key that seals onions: chmod 600 it, or make a new one")
    key = raw
    if len(raw.strip()) == 2 * KEY_BYTES:
        try:
            key = binascii.unhexlify(raw.strip())
        except ValueError:
            key = b""
    if len(key) != KEY_BYTES:
        raise Unavailable(f"{path} is no key: it needs {KEY_BYTES} bytes, or {2 * KEY_BYTES} hex digits")
    return Seal(key, kind)


def _make(path: Path) -> None:
    """Make the file with a new key, all of it or nothing, unless it is there."""
    if path.exists():
        return
    half = path.with_suffix(".new")
    half.unlink(missing_ok=True)
    handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, secrets.token_bytes(KEY_BYTES))
        os.fsync(handle)
    finally:
        os.close(handle)
    half.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
