"""Settings: read once, the environment before the file, and a bad one named."""

import os
from pathlib import Path
from typing import Self

import pytest
from pydantic import field_validator, model_validator

from services.kit.settings import EX_CONFIG, KitSettings, load


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TRON_NETWORK", "LUCID_RUN_DIR", "LUCID_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LUCID_HOME", str(tmp_path))
    return tmp_path


def test_defaults(home: Path) -> None:
    settings = load(KitSettings)
    assert settings.tron_network == "mainnet"
    assert settings.socket("tron") == home / "run" / "tron" / "tron.sock"
    assert settings.state_dir("tron").stat().st_mode & 0o777 == 0o700


def test_environment_comes_before_the_file_of_the_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "lucid.env").write_text("TRON_NETWORK=nile\nLUCID_LOG_LEVEL=debug\n")
    assert load(KitSettings).tron_network == "nile"
    monkeypatch.setenv("TRON_NETWORK", "testnet")
    settings = load(KitSettings)
    assert (settings.tron_network, settings.lucid_log_level) == ("shasta", "debug")


def test_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRON_NETWORK", "")
    assert load(KitSettings).tron_network == "mainnet"


def test_unusable_setting_is_named_and_its_value_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRON_NETWORK", "moonnet")
    with pytest.raises(SystemExit) as caught:
        load(KitSettings)
    assert caught.value.code == EX_CONFIG
    words = capsys.readouterr().err
    assert "TRON_NETWORK" in words
    assert "moonnet" not in words


class Strict(KitSettings):
    """Settings of which two do not go together."""

    passphrase_file: Path | None = None
    limit_sun: int = 5

    @model_validator(mode="after")
    def _limit_where_money_is_real(self) -> Self:
        if not self.limit_sun:
            raise ValueError("LIMIT_SUN=0 is for the devnet only: set a limit in sun")
        return self

    @field_validator("limit_sun")
    @classmethod
    def _small(cls, value: int) -> int:
        if value > 9:
            raise ValueError("at most 9")
        return value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("0", "LIMIT_SUN=0 is for the devnet only: set a limit in sun"),
        ("10", "LIMIT_SUN: at most 9"),
        ("ten", "LIMIT_SUN: Input should be a valid integer, unable to parse string as an integer"),
    ],
)
def test_a_finding_reads_as_a_sentence_about_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str, words: str
) -> None:
    monkeypatch.setenv("LIMIT_SUN", value)
    with pytest.raises(SystemExit):
        load(Strict)
    assert capsys.readouterr().err == f"settings: {words}\n"


def test_a_tilde_is_the_home_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LUCID_HOME", "~/node")
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "lucid.env").write_text("LUCID_RUN_DIR=~/run\nPASSPHRASE_FILE=~/pass\nTRON_NETWORK=nile\n")
    settings = load(Strict)
    assert (settings.lucid_home, settings.run_dir, settings.passphrase_file, settings.tron_network) == (
        tmp_path / "node",
        tmp_path / "run",
        tmp_path / "pass",
        "nile",
    )


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_settings_that_others_may_write_are_not_read(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mode: int
) -> None:
    """Whoever writes lucid.env lifts limits and names the endpoint that is believed."""
    (home / "lucid.env").write_text("TRON_NETWORK=nile\n")
    (home / "lucid.env").chmod(mode)
    if mode == 0o620:
        assert load(KitSettings).tron_network == "nile"  # the group is our own
    monkeypatch.setattr(os, "getegid", lambda: 1 + (home / "lucid.env").stat().st_gid)
    with pytest.raises(SystemExit) as caught:
        load(KitSettings)
    assert caught.value.code == EX_CONFIG
    assert f"run chmod go-w {home / 'lucid.env'}" in capsys.readouterr().err


def test_settings_that_are_no_text_are_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "lucid.env").write_bytes(b"TRON_NETWORK=\xff\n")
    with pytest.raises(SystemExit) as caught:
        load(KitSettings)
    assert caught.value.code == EX_CONFIG
    assert "lucid.env cannot be read" in capsys.readouterr().err


def test_state_is_for_its_owner_alone_however_it_was_found(home: Path) -> None:
    before = os.umask(0)
    try:
        (home / "state" / "tron").mkdir(parents=True, mode=0o777)
        settings = load(KitSettings)
        assert settings.state_dir("tron").stat().st_mode & 0o777 == 0o700
        assert settings.state_dir("wallet").stat().st_mode & 0o777 == 0o700
        (home / "other").mkdir()
        fresh = KitSettings(lucid_home=home / "other" / "node")
        fresh.state_dir("wallet")
        assert (home / "other" / "node" / "state").stat().st_mode & 0o022 == 0
    finally:
        os.umask(before)


def test_state_that_cannot_be_made_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "state").write_text("a file")
    with pytest.raises(SystemExit) as caught:
        load(KitSettings).state_dir("tron")
    assert caught.value.code == EX_CONFIG
    assert f"{home / 'state' / 'tron'} cannot be used" in capsys.readouterr().err
