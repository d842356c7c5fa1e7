"""Sealed files: what opens them, what damages them, and what a full disk or a power cut leaves of them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from services.kit.errors import Conflict, NotFound, Unavailable
from services.wallet import keystore as module
from services.wallet import recovery
from services.wallet.keystore import (
    FLOOR_MEMORY_KIB,
    MIN_ITERATIONS,
    MOST_ITERATIONS,
    PREFERRED_MEMORY_KIB,
    Damaged,
    KdfCost,
    Keystore,
    WrongPassphrase,
    choose_cost,
)

WORDS = "abandon " * 11 + "about"
ADDRESS = "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"
OTHER = "TSeJkUh4Qv67VNFwY8LaAxERygNdy6NQZK"
PASSPHRASE = "correct horse battery staple"
CHEAP = KdfCost(memory_kib=64, iterations=1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def seal(keystore: Keystore, name: str = "hot", passphrase: str = PASSPHRASE) -> Path:
    keystore.create(name, ADDRESS, recovery.from_words(WORDS), passphrase, cost=CHEAP, created_at=NOW)
    return keystore._path(name)


def change(path: Path, **fields: Any) -> None:
    """Change header fields and put the checksum right, as somebody would who knows the format."""
    file = json.loads(path.read_text())
    for name, value in fields.items():
        target, key = file["header"], name
        while "__" in key:
            outer, _, key = key.partition("__")
            target = target[outer]
        target[key] = value
    canonical = json.dumps(file["header"], sort_keys=True, separators=(",", ":")).encode()
    file["sha256"] = hashlib.sha256(canonical + bytes.fromhex(file["ciphertext"])).hexdigest()
    path.write_text(json.dumps(file))


def test_sealed_secret_comes_back_by_its_passphrase(keystore: Keystore) -> None:
    seal(keystore)
    header, secret = keystore.unseal("hot", PASSPHRASE)
    assert recovery.words_of(secret) == tuple(WORDS.split())
    assert (header.name, header.address, header.network, header.created_at) == ("hot", ADDRESS, "devnet", NOW)


def test_private_key_comes_back_as_such(keystore: Keystore) -> None:
    key = "b5a4cea271ff424d7c31dc12a3e43e401df7a40d7412a15750f3f0b6b5449a28"
    keystore.create("raw", ADDRESS, recovery.from_private_key(key), PASSPHRASE, cost=CHEAP, created_at=NOW)
    assert keystore.unseal("raw", PASSPHRASE)[1].data.hex() == key


def test_file_can_be_opened_by_its_documentation_alone(keystore: Keystore) -> None:
    file = json.loads(seal(keystore).read_text())
    header = file["header"]
    kdf, associated = header["kdf"], json.dumps(header, sort_keys=True, separators=(",", ":")).encode("ascii")
    key = Argon2id(
        salt=bytes.fromhex(kdf["salt"]),
        length=32,
        iterations=kdf["iterations"],
        lanes=kdf["lanes"],
        memory_cost=kdf["memory_kib"],
    ).derive(PASSPHRASE.encode())
    ciphertext = bytes.fromhex(file["ciphertext"])
    payload = AESGCM(key).decrypt(bytes.fromhex(header["cipher"]["nonce"]), ciphertext, associated)
    assert payload == b"\x01" + bytes(16)


def test_wrong_passphrase_does_not_open(keystore: Keystore) -> None:
    seal(keystore)
    with pytest.raises(WrongPassphrase, match="does not open hot"):
        keystore.unseal("hot", "correct horse battery stapl")


def test_passphrase_is_the_same_however_the_keyboard_composes_it(keystore: Keystore) -> None:
    seal(keystore, passphrase="Zürich")
    assert keystore.unseal("hot", "Zu\u0308rich")[1].data == bytearray(16)


def test_same_secret_is_sealed_differently_each_time(keystore: Keystore) -> None:
    one, two = (json.loads(seal(keystore, name).read_text()) for name in ("one", "two"))
    assert one["header"]["kdf"]["salt"] != two["header"]["kdf"]["salt"]
    assert one["header"]["cipher"]["nonce"] != two["header"]["cipher"]["nonce"]


def test_files_are_for_their_owner_alone(keystore: Keystore) -> None:
    path = seal(keystore)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_open_directory_is_refused_with_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir(mode=0o755)
    with pytest.raises(Unavailable, match="run chmod 700"):
        Keystore(tmp_path / "keys", "devnet").open()


def test_second_process_is_kept_out(keystore: Keystore, tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="in use by another wallet service"):
        Keystore(tmp_path / "keys", "devnet").open()


def test_wallet_is_never_overwritten(keystore: Keystore) -> None:
    before = seal(keystore).read_bytes()
    with pytest.raises(Conflict, match="there is a wallet hot already"):
        seal(keystore, passphrase="another")
    with pytest.raises(Conflict, match="already"):
        keystore.watch("hot", OTHER, NOW)
    assert keystore._path("hot").read_bytes() == before
    assert len(list(keystore._directory.iterdir())) == 2  # the wallet and the lock


def test_watched_wallet_has_no_key(keystore: Keystore) -> None:
    keystore.watch("cold", OTHER, NOW)
    (entry,) = keystore.entries()
    assert entry.header is not None
    assert (entry.header.kind, entry.header.address) == ("cold", OTHER)
    with pytest.raises(NotFound, match="only watched"):
        keystore.unseal("cold", PASSPHRASE)


def test_unknown_wallet(keystore: Keystore) -> None:
    with pytest.raises(NotFound, match="there is no wallet hot"):
        keystore.unseal("hot", PASSPHRASE)


@pytest.mark.parametrize(
    "fields",
    [
        {"address": OTHER},
        {"network": "mainnet", "kdf__memory_kib": FLOOR_MEMORY_KIB},
        {"network": "nile", "kdf__memory_kib": FLOOR_MEMORY_KIB},
        {"created_at": "2020-01-01T00:00:00Z"},
        {"kdf__memory_kib": 128},
        {"kdf__iterations": 2},
        {"kdf__lanes": 1},
        {"kdf__salt": "00" * 16},
        {"cipher__nonce": "00" * 12},
    ],
)
def test_no_header_field_can_be_changed(keystore: Keystore, fields: dict[str, Any]) -> None:
    change(seal(keystore), **fields)
    with pytest.raises(WrongPassphrase):
        keystore.unseal("hot", PASSPHRASE)


def test_wallet_cannot_be_renamed(keystore: Keystore) -> None:
    path = seal(keystore)
    path.rename(path.with_name("cold.json"))
    with pytest.raises(Damaged, match=r"belongs to wallet hot: it must be called hot\.json"):
        keystore.unseal("cold", PASSPHRASE)
    change(path.with_name("cold.json"), name="cold")
    with pytest.raises(WrongPassphrase):
        keystore.unseal("cold", PASSPHRASE)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"kdf__memory_kib": 100 * 1024 * 1024}, "header.kdf.memory_kib"),
        ({"kdf__memory_kib": 1}, "header.kdf.memory_kib"),
        ({"kdf__memory_kib": "64"}, "header.kdf.memory_kib"),
        ({"kdf__iterations": 1_000_000}, "header.kdf.iterations"),
        ({"kdf__lanes": 64}, "header.kdf.lanes"),
        ({"kdf__name": "md5"}, "header.kdf.name"),
        ({"kdf__salt": "00"}, "header.kdf.salt"),
        ({"cipher__nonce": "xx" * 12}, "header.cipher.nonce"),
        ({"cipher__name": "none"}, "header.cipher.name"),
        ({"version": 2}, "header.version"),
        ({"address": "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdX"}, "header.address"),
        ({"note": "hello"}, "header.note"),
        ({"kind": "cold"}, "cannot look like this"),
        ({"kdf": None}, "its checksum is wrong"),
        ({"network": "mainnet"}, "is the least"),
    ],
)
def test_forged_file_is_damaged_and_costs_nothing(keystore: Keystore, fields: dict[str, Any], why: str) -> None:
    change(seal(keystore), **fields)
    with pytest.raises(Damaged, match=why) as caught:
        keystore.unseal("hot", PASSPHRASE)
    assert "restore it from a backup" in caught.value.message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"header": {}, "ciphertext": "", "sha256": ""}',
        b'{"header": {}, "header": {}}',
        b"[" * 10_000,
        b"x" * 20_000,
    ],
    ids=["empty", "cut", "list", "binary", "hollow", "twice", "deep", "huge"],
)
def test_garbage_is_damaged_and_others_work(keystore: Keystore, content: bytes) -> None:
    seal(keystore, "good")
    keystore._path("bad").write_bytes(content)
    bad, good = keystore.entries()
    assert (bad.name, bad.header, good.name, good.damage) == ("bad", None, "good", "")
    assert "damaged" in bad.damage
    assert keystore.unseal("good", PASSPHRASE)[1].data == bytearray(16)


def test_every_flipped_byte_is_noticed(keystore: Keystore) -> None:
    path = seal(keystore)
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        (entry,) = keystore.entries()
        assert entry.header is None or entry.header.canonical() in _same(content), place


def _same(content: bytes) -> tuple[bytes, ...]:
    header = json.loads(content)["header"]
    return (json.dumps(header, sort_keys=True, separators=(",", ":")).encode(),)


def test_unreadable_file_is_damaged(keystore: Keystore) -> None:
    keystore._path("hot").mkdir()
    (entry,) = keystore.entries()
    assert "cannot be read" in entry.damage


def test_foreign_file_name_cannot_reach_a_terminal(keystore: Keystore) -> None:
    (keystore._directory / "\x1b[2J\u202e.json").write_bytes(b"")
    (entry,) = keystore.entries()
    assert entry.name.isprintable()
    assert entry.name.isascii()


@pytest.mark.parametrize("step", ["open", "write", "fsync", "link", "directory"])
def test_full_disk_loses_nothing(keystore: Keystore, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    before = seal(keystore, "old").read_bytes()

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    real = os.write
    written: list[int] = []

    def partly(descriptor: int, data: memoryview) -> int:
        if written:
            full()
        written.append(real(descriptor, data[:10]))
        return written[0]

    match step:
        case "open":
            monkeypatch.setattr(os, "open", full)
        case "write":  # the first bytes still fit
            monkeypatch.setattr(os, "write", partly)
        case "directory":
            monkeypatch.setattr(module, "_sync_directory", full)
        case _:
            monkeypatch.setattr(os, step, full)
    with pytest.raises(Unavailable, match=r"wallet new was not made: .* the disk is full"):
        seal(keystore, "new")
    monkeypatch.undo()
    assert [entry.name for entry in keystore.entries()] == ["old"]
    assert keystore._path("old").read_bytes() == before
    assert len(list(keystore._directory.iterdir())) == 2
    seal(keystore, "new")
    assert keystore.unseal("new", PASSPHRASE)[1].data == bytearray(16)


def test_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("in the way")
    with pytest.raises(Unavailable, match="cannot be written"):
        Keystore(tmp_path / "keys", "devnet").open()


def test_kill_between_any_two_steps_leaves_a_whole_wallet_or_none(tmp_path: Path) -> None:
    script = """
        import os, sys
        from datetime import UTC, datetime
        from pathlib import Path
        from services.wallet import keystore as module, recovery
        from services.wallet.keystore import KdfCost, Keystore

        def seal(keystore, name):
            secret = recovery.from_words("abandon " * 11 + "about")
            keystore.create(name, sys.argv[2], secret, "pw", cost=KdfCost(64, 1), created_at=datetime.now(UTC))

        directory = Path(sys.argv[1])
        first = Keystore(directory, "devnet")
        first.open()
        seal(first, "old")
        first.close()
        for step in ("write", "fsync", "close", "link", "unlink"):
            for when in ("before", "after"):
                name = f"{step}-{when}"
                child = os.fork()
                if child == 0:
                    keystore = Keystore(directory, "devnet")
                    keystore.open()
                    real = getattr(os, step)
                    def die(*args, **rest):
                        if when == "after":
                            real(*args, **rest)
                        os._exit(9)
                    setattr(os, step, die)
                    seal(keystore, name)
                    os._exit(0)
                assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9, name
                keystore = Keystore(directory, "devnet")
                keystore.open()
                entries = keystore.entries()
                assert not any(entry.damage for entry in entries), entries
                for entry in entries:
                    keystore.unseal(entry.name, "pw")
                assert not [path for path in directory.iterdir() if path.suffix == ".tmp"]
                assert "old" in {entry.name for entry in entries}
                keystore.close()
        print(*sorted(entry.name for entry in entries))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "keys"), ADDRESS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["link-after", "old", "unlink-after", "unlink-before"]


def test_weak_seal_is_for_the_devnet_only(tmp_path: Path) -> None:
    strict = Keystore(tmp_path / "keys", "mainnet")
    strict.open()
    with pytest.raises(ValueError, match="is the least"):
        seal(strict)
    assert not strict.entries()
    strict.close()


def test_too_little_memory_is_told(keystore: Keystore, monkeypatch: pytest.MonkeyPatch) -> None:
    def starve(*_: Any) -> None:
        raise MemoryError

    seal(keystore)
    monkeypatch.setattr(module, "_stretch", starve)
    with pytest.raises(Unavailable, match="MiB of memory are needed"):
        keystore.unseal("hot", PASSPHRASE)


GIB = 1024 * 1024


@pytest.mark.parametrize(
    ("seconds_per_kib", "free_kib", "cost"),
    [
        (1 / PREFERRED_MEMORY_KIB / 5, 4 * GIB, KdfCost(PREFERRED_MEMORY_KIB, 5)),
        (1 / PREFERRED_MEMORY_KIB / 500, 4 * GIB, KdfCost(PREFERRED_MEMORY_KIB, MOST_ITERATIONS)),
        (1 / PREFERRED_MEMORY_KIB / 5, GIB // 2, KdfCost(FLOOR_MEMORY_KIB, 10)),
        (1 / PREFERRED_MEMORY_KIB, 4 * GIB, KdfCost(FLOOR_MEMORY_KIB, MIN_ITERATIONS)),
        (1.0, 0, KdfCost(FLOOR_MEMORY_KIB, MIN_ITERATIONS)),
    ],
)
def test_calibration_takes_what_the_machine_gives_and_never_less_than_the_floor(
    seconds_per_kib: float, free_kib: int, cost: KdfCost
) -> None:
    assert choose_cost(seconds_per_kib, free_kib, 1.0) == cost


def test_calibration_measures_this_machine() -> None:
    cost = module.calibrate()
    assert cost.memory_kib >= FLOOR_MEMORY_KIB
    assert cost.iterations >= MIN_ITERATIONS
