"""Settings: names that operators know, and endpoints that may be called."""

import inspect
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.kit.egress.settings import EgressSettings
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
    found = settings(monkeypatch, tmp_path, TRON_NETWORK="devnet", TRON_HTTP_ENDPOINT=text)
    assert found.endpoints == ("http://127.0.0.1:9090", "http://127.0.0.1:9091/tron", "http://[::1]:9092")


@pytest.mark.parametrize(
    "endpoint",
    ["https://api.trongrid.io", "https://10.0.0.5:8090/tron", f"http://{'a' * 56}.onion", "https://127.0.0.1"],
)
def test_elsewhere_https_and_onion_services_may_be_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, endpoint: str
) -> None:
    found = settings(
        monkeypatch,
        tmp_path,
        TRON_NETWORK="mainnet",
        TRON_HTTP_ENDPOINT=endpoint,
        TOR_SOCKS_SOCKET="/run/tor/socks",
    )
    assert found.endpoints[0].startswith(endpoint)


def test_an_onion_service_without_tls_needs_a_socket_that_nobody_else_can_take(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    onion = f"{'a' * 56}.onion"
    tcp = {"TRON_NETWORK": "mainnet", "TOR_PROXY_HOST": "127.0.0.1", "TOR_PROXY_SOCKS_PORT": "9050"}
    with pytest.raises(ValidationError, match="could play that onion service; name Tor's Unix socket"):
        settings(monkeypatch, tmp_path, TRON_HTTP_ENDPOINT=f"http://{onion}", **tcp)
    assert settings(monkeypatch, tmp_path, TRON_HTTP_ENDPOINT=f"https://{onion}", **tcp).endpoints


@pytest.mark.parametrize(
    ("endpoint", "key"),
    [
        ("https://api.trongrid.io", "k-1"),
        ("https://nile.trongrid.io", "k-1"),
        ("https://trongrid.io.evil.example", ""),
        ("https://eviltrongrid.io", ""),
        ("https://node.example", ""),
    ],
)
def test_trongrids_key_goes_to_trongrid_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, endpoint: str, key: str
) -> None:
    values = {"TRON_NETWORK": "mainnet", "TRON_HTTP_ENDPOINT": endpoint, "TRON_API_KEY": "k-1"}
    assert settings(monkeypatch, tmp_path, **values).api_key_for(endpoint) == key


@pytest.mark.parametrize(
    ("network", "endpoint", "words"),
    [
        ("mainnet", "http://api.trongrid.io", "use https"),
        ("nile", "http://127.0.0.1:9090", "use https"),
        ("mainnet", "http://10.0.0.5:8090", "use https"),
        ("mainnet", "http://127.0.0.1.evil.example:8090", "use https"),
        ("devnet", "http://127.0.0.1.evil.example:8090", "use https"),
        ("devnet", "https://api.trongrid.io", "not on this machine"),
        ("mainnet", "socks5://127.0.0.1:9050", "no URL"),
        ("mainnet", "https://user:secret@127.0.0.1:9090", "only"),
        ("mainnet", "https://127.0.0.1:99999", "no URL"),
        ("mainnet", "127.0.0.1:9090", "no URL"),
        ("devnet", "http://127.0.0.1:9090,http://localhost:9090", "twice"),
        ("devnet", "http://127.0.0.1:9090,http://127.0.0.2:9090", "twice"),
        ("devnet", "http://127.0.0.1:9090,http://[::1]:9090", "twice"),
        ("devnet", "http://127.0.0.1:9090,http://127.0.0.1:9090/tron", "twice"),
        ("mainnet", "https://api.trongrid.io,https://API.trongrid.io:443/", "twice"),
        ("mainnet", "", "at least one endpoint"),
    ],
)
def test_anything_else_is_refused_at_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, network: str, endpoint: str, words: str
) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        settings(monkeypatch, tmp_path, TRON_NETWORK=network, TRON_HTTP_ENDPOINT=endpoint)
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


def test_every_setting_that_operators_know_has_a_reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The names that Lucid nodes are configured with; each goes into what the daemon is built of."""
    known = {
        "tron_http_endpoint",
        "tron_api_key",
        "tron_timeout",
        "tron_max_retries",
        "tron_retry_backoff",
        "tron_initial_retry_delay",
        "tron_max_connection_retries",
        "tron_transaction_confirmation_timeout",
        "tron_confirmation_check_interval",
    }
    assert known <= set(TronSettings.model_fields)
    source = Path(inspect.getfile(TronSettings)).with_name("__main__.py").read_text()
    by_methods = {"tron_http_endpoint", "tron_api_key"}
    own = set(TronSettings.model_fields) - set(EgressSettings.model_fields) - by_methods
    assert [name for name in sorted(own) if f"settings.{name}" not in source] == []
    found = settings(monkeypatch, tmp_path, TRON_NETWORK="devnet", TRON_MAX_CONNECTION_RETRIES="7")
    assert found.tron_max_connection_retries == 7
