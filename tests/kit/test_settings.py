"""Settings: read once, the environment before the file, and a bad one named."""

from pathlib import Path

import pytest

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
