"""Settings: names that operators know, and no way out but loopback."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.tron.settings import TronSettings


def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **values: str) -> TronSettings:
    monkeypatch.setenv("LUCID_HOME", str(tmp_path))
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return TronSettings()


def test_the_devnet_needs_no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = settings(monkeypatch, tmp_path, TRON_NETWORK="devnet")
    assert found.endpoints == ("http://127.0.0.1:9090",)
    assert (found.tron_timeout, found.tron_max_retries, found.tron_tx_lifetime) == (30.0, 3, 180)


def test_several_endpoints_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = "http://localhost:9090/, http://127.0.0.1:9091/tron , http://[::1]:9092"
    found = settings(monkeypatch, tmp_path, TRON_NETWORK="nile", TRON_HTTP_ENDPOINT=text)
    assert found.endpoints == ("http://127.0.0.1:9090", "http://127.0.0.1:9091/tron", "http://[::1]:9092")


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("https://api.trongrid.io", "no way out"),
        ("http://api.trongrid.io", "no way out"),
        ("http://10.0.0.5:8090", "no way out"),
        ("http://127.0.0.1.evil.example:8090", "no way out"),
        ("socks5://127.0.0.1:9050", "no way out"),
        ("http://user:secret@127.0.0.1:9090", "only"),
        ("http://127.0.0.1:99999", "no way out"),
        ("127.0.0.1:9090", "no way out"),
        ("http://127.0.0.1:9090,http://localhost:9090", "twice"),
        ("", "at least one endpoint"),
    ],
)
def test_anything_else_is_refused_at_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, endpoint: str, words: str
) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        settings(monkeypatch, tmp_path, TRON_NETWORK="mainnet", TRON_HTTP_ENDPOINT=endpoint)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("lifetime", "good"), [("119", False), ("120", True), ("300", True), ("301", False)])
def test_a_transaction_lives_two_to_five_minutes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lifetime: str, good: bool
) -> None:
    values = {"TRON_NETWORK": "devnet", "TRON_TX_LIFETIME": lifetime}
    if good:
        assert settings(monkeypatch, tmp_path, **values).tron_tx_lifetime == int(lifetime)
    else:
        with pytest.raises(ValidationError):
            settings(monkeypatch, tmp_path, **values)
