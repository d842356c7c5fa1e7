"""Sealed wallets on the disk: one file each, that says how it was sealed and can be opened by its passphrase alone.

The file `<name>.json` is JSON (UTF-8) with four members, and no others:

    {
      "header": {
        "version": 1,
        "kind": "hot",
        "name": "payouts",
        "address": "T…",                     base58check, what the key controls
        "network": "mainnet",                the only network that it is used on
        "created_at": "2026-01-01T00:00:00Z",
        "kdf": {"name": "argon2id", "memory_kib": 262144, "iterations": 3, "lanes": 4, "salt": "32 hex digits"},
        "cipher": {"name": "aes-256-gcm", "nonce": "24 hex digits"}
      },
      "ciphertext": "hex",                   the sealed payload, its 16-byte tag at the end
      "sha256": "hex"                        of canonical header and ciphertext: tells decay from a wrong word
    }

To open it by other means: key = Argon2id(passphrase in Unicode NFC as UTF-8, header.kdf, 32 bytes); payload =
AES-256-GCM(key, header.cipher.nonce, ciphertext, associated data = the canonical header). The canonical header is the
header as JSON with sorted keys, no spaces, and ASCII only, so that no field of it can be changed unseen. The first byte
of the payload is its kind: 1 = BIP-39 entropy follows (16 to 32 bytes; English words, no BIP-39 passphrase, path
m/44'/195'/0'/0/0); 2 = a raw secp256k1 private key follows (32 bytes).

A wallet that is only watched has `"kind": "cold"`, neither `kdf` nor `cipher`, and an empty ciphertext.

A file is written once: under another name first, then synchronised, then linked to its own name, which fails when that
exists, then the directory is synchronised. A crash leaves all of the file or none; what else it leaves start sweeps.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.kit.errors import Conflict, Forbidden, NotFound, Unavailable
from services.protocol.address import TronAddress
from services.wallet.api import WalletKind, WalletName

FLOOR_MEMORY_KIB = 128 * 1024
"""The least memory that a guess at a passphrase must cost, except on the devnet, whose coins are worth nothing."""
PREFERRED_MEMORY_KIB = 256 * 1024
MOST_MEMORY_KIB = 1024 * 1024
"""A file that asks for more is refused: a forged one must not take the machine down."""
MIN_ITERATIONS = 3
MOST_ITERATIONS = 16
LANES = 4
SALT_BYTES = 16
NONCE_BYTES = 12
TAG_BYTES = 16
KEY_BYTES = 32
MOST_FILE_BYTES = 16 * 1024
UNLOCK_TARGET_S = 1.0
"""What calibration aims at for one guess on this machine, in seconds."""

_FILE_MODE = 0o600
_DIRECTORY_MODE = 0o700
_SUFFIX = ".json"
_UNFINISHED = ".tmp"
_PROBE_MEMORY_KIB = 32 * 1024


class SecretKind(IntEnum):
    """What a sealed payload holds; its first byte."""

    ENTROPY = 1
    """BIP-39 entropy: words can be made of it again."""
    PRIVATE_KEY = 2
    """A private key that came without words."""


class Secret:
    """What a wallet protects. Kept in a bytearray, wiped by `wipe` or at the end of a `with` block, never shown."""

    __slots__ = ("data", "kind")

    def __init__(self, kind: SecretKind, data: bytearray) -> None:
        """Take `data` over: it is wiped with this object."""
        self.kind = kind
        """What `data` is."""
        self.data = data
        """Entropy or private key."""

    def __repr__(self) -> str:
        return f"Secret({self.kind.name})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()

    def wipe(self) -> None:
        """Overwrite the bytes with zeros."""
        wipe(self.data)


def wipe(data: bytearray) -> None:
    """Overwrite with zeros."""
    data[:] = bytes(len(data))


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _hex(length: int, most: int | None = None) -> Any:
    digits = f"{{{2 * length}}}" if most is None else f"{{{2 * length},{2 * most}}}"
    return Field(pattern=f"^[0-9a-f]{digits}$")


class Kdf(_Part):
    """How a passphrase becomes a key; bounded, because a file may be forged."""

    name: Literal["argon2id"] = "argon2id"
    memory_kib: int = Field(ge=8 * LANES, le=MOST_MEMORY_KIB, strict=True)
    """Memory of one guess."""
    iterations: int = Field(ge=1, le=MOST_ITERATIONS, strict=True)
    """Passes over that memory."""
    lanes: int = Field(default=LANES, ge=1, le=LANES, strict=True)
    """Parallel parts."""
    salt: Annotated[str, _hex(SALT_BYTES)]


class Cipher(_Part):
    """How the payload is sealed."""

    name: Literal["aes-256-gcm"] = "aes-256-gcm"
    nonce: Annotated[str, _hex(NONCE_BYTES)]


class Header(_Part):
    """What a file says openly; every field is authenticated by the seal."""

    version: Literal[1] = 1
    kind: WalletKind
    name: WalletName
    address: TronAddress
    network: str = Field(pattern=r"^[a-z]{1,16}$")
    created_at: datetime
    kdf: Kdf | None = None
    cipher: Cipher | None = None

    def canonical(self) -> bytes:
        """The bytes that the seal covers: sorted keys, no spaces, ASCII."""
        fields = self.model_dump(mode="json", exclude_none=True)
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")


class _File(_Part):
    header: Header
    ciphertext: Annotated[str, _hex(0, most=1 + KEY_BYTES + TAG_BYTES)]
    sha256: Annotated[str, _hex(32)]


@dataclass(frozen=True, slots=True)
class KdfCost:
    """What one guess at a passphrase costs."""

    memory_kib: int
    iterations: int


class Damaged(Unavailable):
    """The wallet's file cannot be used; the other wallets are not concerned."""

    code, title = "damaged", "Damaged wallet file"


class WrongPassphrase(Forbidden):
    """The passphrase does not open the wallet."""

    code, title = "wrong_passphrase", "Wrong passphrase"


@dataclass(frozen=True, slots=True)
class Entry:
    """One wallet file, as found."""

    name: str
    header: Header | None
    """None: the file is damaged."""
    damage: str = ""
    """Why it cannot be used, in words; empty when it can."""


class Keystore:
    """The directory of wallet files. Blocking: call it from a thread; only one process may hold it."""

    def __init__(self, directory: Path, network: str) -> None:
        """Use `directory`; new wallets belong to `network`, which also says how weak a seal may be."""
        self._directory = directory
        self._network = network
        self._lock: int | None = None

    def open(self) -> None:
        """Take the directory for this process and sweep what a crash left.

        Raises:
            Conflict: another process holds it.
            Unavailable: it cannot be written, or others may read it.
        """
        try:
            self._directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            self._refuse_loose_mode()
            lock = os.open(self._directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
        except OSError as error:
            raise Unavailable(f"{self._directory} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise Conflict(f"{self._directory} is in use by another wallet service") from None
        self._lock = lock
        for leftover in self._directory.glob(f".*{_UNFINISHED}"):
            leftover.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the directory."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def entries(self) -> list[Entry]:
        """Every wallet file, by name; a damaged one is told as such and keeps nobody else from working."""
        return [self._entry(path) for path in sorted(self._directory.glob(f"*{_SUFFIX}"))]

    def create(
        self, name: str, address: str, secret: Secret, passphrase: str, *, cost: KdfCost, created_at: datetime
    ) -> Header:
        """Seal a secret under a passphrase into a new file.

        Raises:
            Conflict: there is a file of that name.
            Unavailable: the disk is full or cannot be written; nothing is left of the wallet.
        """
        header = Header(
            kind=WalletKind.HOT,
            name=name,
            address=address,
            network=self._network,
            created_at=created_at,
            kdf=Kdf(memory_kib=cost.memory_kib, iterations=cost.iterations, salt=secrets.token_hex(SALT_BYTES)),
            cipher=Cipher(nonce=secrets.token_hex(NONCE_BYTES)),
        )
        self._refuse_weak(header)
        self._write(header, _seal(header, secret, passphrase))
        return header

    def watch(self, name: str, address: str, created_at: datetime) -> Header:
        """Remember an address whose key is elsewhere.

        Raises:
            Conflict, Unavailable: as `create`.
        """
        header = Header(kind=WalletKind.COLD, name=name, address=address, network=self._network, created_at=created_at)
        self._write(header, b"")
        return header

    def unseal(self, name: str, passphrase: str) -> tuple[Header, Secret]:
        """Open a hot wallet's file. Takes as long, and as much memory, as its header says.

        Raises:
            WrongPassphrase: it does not open the seal.
            NotFound: there is no file of that name, or it holds no key.
            Damaged: the file is not what was written.
        """
        header, ciphertext = self._read(self._path(name))
        if header.kdf is None or header.cipher is None:
            raise NotFound(f"{name} is only watched: there is no key here")
        with _derived(header.kdf, passphrase) as key:
            payload = bytearray(len(ciphertext) - TAG_BYTES)
            try:
                AESGCM(key).decrypt_into(bytes.fromhex(header.cipher.nonce), ciphertext, header.canonical(), payload)
            except InvalidTag:
                raise WrongPassphrase(f"the passphrase does not open {name}") from None
        return header, self._payload(name, payload)

    def _payload(self, name: str, payload: bytearray) -> Secret:
        kind, data = payload[0], payload[1:]
        wipe(payload)
        if kind not in set(SecretKind):
            raise Damaged(f"{name}: the seal holds something that this version does not know")
        return Secret(SecretKind(kind), data)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}{_SUFFIX}"

    def _entry(self, path: Path) -> Entry:
        # The name of a foreign file may hold anything, terminal escapes too: only its ASCII form is shown.
        name = ascii(path.name.removesuffix(_SUFFIX))[1:-1]
        try:
            return Entry(name, self._read(path)[0])
        except (Damaged, NotFound) as error:
            return Entry(name, None, error.message)

    def _read(self, path: Path) -> tuple[Header, bytes]:
        """Read a file and hold it to everything that can be checked without a passphrase."""
        name = path.name.removesuffix(_SUFFIX)
        try:
            with path.open("rb") as file:
                text = file.read(MOST_FILE_BYTES + 1)
        except FileNotFoundError:
            raise NotFound(f"there is no wallet {name}") from None
        except OSError as error:
            raise Damaged(f"{path} cannot be read: {error.strerror}") from error
        try:
            if len(text) > MOST_FILE_BYTES:
                raise ValueError(f"it has more than {MOST_FILE_BYTES:,} bytes")
            file_ = _File.model_validate(json.loads(text, object_pairs_hook=_no_duplicates))
            ciphertext = bytes.fromhex(file_.ciphertext)
            self._check(name, file_, ciphertext)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part) for part in found["loc"]) or "file"
            raise Damaged(_DAMAGE.format(path=path, why=f"{where}: {found['msg']}")) from None
        except (ValueError, RecursionError) as error:
            raise Damaged(_DAMAGE.format(path=path, why=error)) from None
        return file_.header, ciphertext

    def _check(self, name: str, file: _File, ciphertext: bytes) -> None:
        header = file.header
        if _checksum(header, ciphertext) != file.sha256:
            raise ValueError("its checksum is wrong: the file has decayed or was changed")
        if header.name != name:
            raise ValueError(f"it belongs to wallet {header.name}: it must be called {header.name}{_SUFFIX}")
        sealed = header.kind is WalletKind.HOT
        if (header.kdf is not None, header.cipher is not None, len(ciphertext) > TAG_BYTES) != (sealed,) * 3:
            raise ValueError(f"a {header.kind} wallet cannot look like this")
        self._refuse_weak(header)

    def _refuse_weak(self, header: Header) -> None:
        if header.kdf and header.network != "devnet" and header.kdf.memory_kib < FLOOR_MEMORY_KIB:
            raise ValueError(
                f"its passphrase is stretched over {header.kdf.memory_kib} KiB, and {FLOOR_MEMORY_KIB} is the least"
            )

    def _refuse_loose_mode(self) -> None:
        mode = self._directory.stat().st_mode
        if mode & 0o077:
            raise Unavailable(f"others may look into {self._directory}: run chmod 700 {self._directory}")

    def _write(self, header: Header, ciphertext: bytes) -> None:
        path = self._path(header.name)
        file = _File(header=header, ciphertext=ciphertext.hex(), sha256=_checksum(header, ciphertext))
        content = file.model_dump_json(indent=2, exclude_none=True).encode() + b"\n"
        try:
            _write_new(path, content)
        except FileExistsError:
            raise Conflict(f"there is a wallet {header.name} already: choose another name") from None
        except OSError as error:
            words = "the disk is full" if error.errno in {errno.ENOSPC, errno.EDQUOT} else error.strerror
            raise Unavailable(f"wallet {header.name} was not made: {path} cannot be written: {words}") from error


_DAMAGE = "{path} is damaged: {why}; restore it from a backup, then restart the wallet service"


def _write_new(path: Path, content: bytes) -> None:
    """Make a file appear whole, under a name that is not taken, and durably."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_UNFINISHED}")
    try:
        with _exclusive(unfinished) as descriptor:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        # link, not rename: rename would replace a wallet of that name, and its key would be gone.
        os.link(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    try:
        _sync_directory(path.parent)
    except OSError:
        # Nobody was told of this wallet yet: better none than one that a power cut takes away.
        path.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field stands in it twice")
    return fields


def _checksum(header: Header, ciphertext: bytes) -> str:
    return hashlib.sha256(header.canonical() + ciphertext).hexdigest()


def _seal(header: Header, secret: Secret, passphrase: str) -> bytes:
    if header.kdf is None or header.cipher is None:
        raise TypeError("only a hot wallet is sealed")
    payload = bytearray([secret.kind]) + secret.data
    try:
        with _derived(header.kdf, passphrase) as key:
            return AESGCM(key).encrypt(bytes.fromhex(header.cipher.nonce), payload, header.canonical())
    finally:
        wipe(payload)


@contextlib.contextmanager
def _derived(kdf: Kdf, passphrase: str) -> Iterator[bytearray]:
    """Stretch a passphrase into the key of the seal; wiped at the end of the block."""
    material = bytearray(unicodedata.normalize("NFC", passphrase), "utf-8")
    key = bytearray(KEY_BYTES)
    try:
        try:
            _stretch(material, bytes.fromhex(kdf.salt), KdfCost(kdf.memory_kib, kdf.iterations), kdf.lanes, key)
        except MemoryError:
            raise Unavailable(
                f"{kdf.memory_kib // 1024} MiB of memory are needed for a passphrase: free some"
            ) from None
        yield key
    finally:
        wipe(material)
        wipe(key)


def _stretch(material: bytearray, salt: bytes, cost: KdfCost, lanes: int, into: bytearray) -> None:
    kdf = Argon2id(salt=salt, length=KEY_BYTES, iterations=cost.iterations, lanes=lanes, memory_cost=cost.memory_kib)
    # Its stubs know bytes alone; any buffer is taken, and one of ours can be wiped.
    kdf.derive_into(material, into)  # type: ignore[arg-type]


def calibrate(target_s: float = UNLOCK_TARGET_S) -> KdfCost:
    """Measure this machine, and choose what one guess shall cost on it: about `target_s`, never below the floor."""
    started = time.perf_counter()
    _stretch(bytearray(b"probe"), bytes(SALT_BYTES), KdfCost(_PROBE_MEMORY_KIB, 1), LANES, bytearray(KEY_BYTES))
    seconds_per_kib = (time.perf_counter() - started) / _PROBE_MEMORY_KIB
    return choose_cost(seconds_per_kib, os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024, target_s)


def choose_cost(seconds_per_kib: float, free_kib: int, target_s: float) -> KdfCost:
    """Choose 256 MiB where memory and time allow it, else 128, then as many passes as fit into `target_s`."""
    roomy = free_kib >= 4 * PREFERRED_MEMORY_KIB
    quick = seconds_per_kib * PREFERRED_MEMORY_KIB * MIN_ITERATIONS <= 2 * target_s
    memory_kib = PREFERRED_MEMORY_KIB if roomy and quick else FLOOR_MEMORY_KIB
    passes = int(target_s / max(seconds_per_kib * memory_kib, 1e-9))
    return KdfCost(memory_kib, min(max(passes, MIN_ITERATIONS), MOST_ITERATIONS))
