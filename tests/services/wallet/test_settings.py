"""Settings that are strict where money is real, and the file that opens wallets unattended."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.kit.errors import Unavailable
from services.wallet.keystore import FLOOR_MEMORY_KIB, KdfCost
from services.wallet.passphrase import PassphraseFile
from services.wallet.settings import _LIMITS, WalletSettings
from services.wallet.signer import Policy


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CREDENTIALS_DIRECTORY", "WALLET_PASSPHRASE_FILE", "TRON_NETWORK", "WALLET_KDF_MEMORY_KIB"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("network", ["mainnet", "shasta", "nile", "testnet"])
def test_limits_are_strict_where_nothing_is_set(network: Any) -> None:
    assert WalletSettings(tron_network=network).policy == Policy(10**9, 10**10, 10**11, 5 * 10**9)


def test_devnet_has_no_limits_unless_they_are_set() -> None:
    assert WalletSettings(tron_network="devnet").policy == Policy(0, 0, 0)
    assert WalletSettings(tron_network="devnet", wallet_max_tx_sun=5).policy == Policy(5, 0, 0)


@pytest.mark.parametrize("name", _LIMITS)
def test_no_limit_is_refused_where_money_is_real(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name.upper()}=0 .* is for the devnet only"):
        WalletSettings.model_validate({"tron_network": "nile", name: 0})


def test_weak_stretching_is_for_the_devnet_only() -> None:
    assert WalletSettings(tron_network="devnet", wallet_kdf_memory_kib=64).kdf_cost == KdfCost(64, 3)
    assert WalletSettings(wallet_kdf_memory_kib=FLOOR_MEMORY_KIB).kdf_cost == KdfCost(FLOOR_MEMORY_KIB, 3)
    with pytest.raises(ValidationError, match="is for the devnet only"):
        WalletSettings(wallet_kdf_memory_kib=FLOOR_MEMORY_KIB - 1)


def test_machine_is_measured_unless_a_cost_is_set() -> None:
    assert WalletSettings(tron_network="devnet").kdf_cost is None


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALLET_MAX_TX_SUN", "7")
    monkeypatch.setenv("WALLET_PASSPHRASE_FILE", "/run/secret")
    settings = WalletSettings()
    assert settings.policy.max_tx_sun == 7
    assert settings.passphrase_file == Path("/run/secret")


def test_systemd_credential_is_found_when_the_unit_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert WalletSettings().passphrase_file is None
    (tmp_path / "wallet-passphrase").write_text("secret")
    assert WalletSettings().passphrase_file == tmp_path / "wallet-passphrase"
    assert WalletSettings(wallet_passphrase_file=Path("/other")).passphrase_file == Path("/other")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.touch(mode=0o600)
    return path


@pytest.mark.parametrize(
    ("content", "passphrase"),
    [(b"secret", "secret"), (b"secret\n", "secret"), (b"secret\r\n", "secret"), (b" two words \n\n", " two words \n")],
)
def test_one_line_end_is_not_part_of_the_passphrase(file: Path, content: bytes, passphrase: str) -> None:
    file.write_bytes(content)
    assert PassphraseFile(file).read() == passphrase


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"\xff", "not UTF-8"), (b"x" * 4097, "more than 4,096")],
)
def test_file_without_a_passphrase_is_refused(file: Path, content: bytes, why: str) -> None:
    file.write_bytes(content)
    with pytest.raises(Unavailable, match=why):
        PassphraseFile(file).read()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660])
def test_file_that_others_can_read_is_refused_with_what_to_run(file: Path, mode: int) -> None:
    file.write_text("secret")
    file.chmod(mode)
    with pytest.raises(Unavailable, match=f"run chmod 600 {file}"):
        PassphraseFile(file).read()


def test_credential_may_show_the_mask_of_its_access_list(file: Path) -> None:
    file.write_text("secret")
    file.chmod(0o440)
    assert PassphraseFile(file, by_systemd=True).read() == "secret"
    file.chmod(0o444)
    with pytest.raises(Unavailable, match="others may read"):
        PassphraseFile(file, by_systemd=True).read()


def test_missing_file_and_directory_are_told(file: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be read: No such file"):
        PassphraseFile(file.with_name("none")).read()
    with pytest.raises(Unavailable, match="is no file"):
        PassphraseFile(file.parent).read()


def test_file_of_another_user_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("secret")
    fstat = os.fstat

    def foreign(descriptor: int) -> os.stat_result:
        fields = list(fstat(descriptor))
        fields[stat.ST_UID] = os.geteuid() + 1
        return os.stat_result(fields)

    monkeypatch.setattr(os, "fstat", foreign)
    with pytest.raises(Unavailable, match="belongs to another user"):
        PassphraseFile(file).read()


def test_pipe_is_refused_and_not_waited_for(file: Path) -> None:
    pipe = file.with_name("pipe")
    os.mkfifo(pipe, 0o600)
    with pytest.raises(Unavailable, match="is no file"):
        PassphraseFile(pipe).read()
