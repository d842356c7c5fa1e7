"""Settings of the way out, and which URLs may be called at all."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.kit import tor_settings
from services.kit.egress import EgressPolicy, Mode, SocksPort, checked_url
from services.kit.egress.settings import EgressSettings

Make = Callable[..., EgressSettings]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    monkeypatch.setenv("LUCID_HOME", str(tmp_path))
    monkeypatch.setattr(tor_settings, "DEBIAN_SOCKS", tmp_path / "socks")
    return EgressSettings


def test_names_and_defaults_are_those_that_operators_know(settings: Make) -> None:
    found = settings(tron_network="mainnet").egress_policy()
    assert found == EgressPolicy(
        mode=Mode.TOR,
        socks=SocksPort(host="127.0.0.1", port=9050),
        connect_timeout_s=30.0,
        max_latency_s=5.0,
        retries=5,
        retry_delay_s=1.0,
        max_retry_delay_s=30.0,
        rotation_interval_s=3600,
        log_connections=True,
    )


def test_every_setting_does_what_it_says(settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "TRON_NETWORK": "nile",
        "TOR_PROXY_HOST": "10.0.0.2",
        "TOR_PROXY_SOCKS_PORT": "9150",
        "TOR_PROXY_HTTP_PORT": "8888",
        "TOR_CONNECTIVITY_TIMEOUT": "12",
        "TOR_MAX_LATENCY_MS": "2500",
        "TOR_CONNECTION_MAX_RETRIES": "2",
        "TOR_CONNECTION_RETRY_DELAY_MS": "50",
        "TOR_CONNECTION_MAX_RETRY_DELAY_MS": "400",
        "TOR_CIRCUIT_ROTATION_INTERVAL": "600",
        "TOR_DETECT_CIRCUIT_FAILURES": "false",
        "TOR_LOG_CONNECTIONS": "false",
    }.items():
        monkeypatch.setenv(name, value)
    assert settings().egress_policy() == EgressPolicy(
        mode=Mode.TOR,
        socks=SocksPort(host="10.0.0.2", port=9150),
        http_proxy="10.0.0.2:8888",
        connect_timeout_s=12,
        max_latency_s=2.5,
        retries=2,
        retry_delay_s=0.05,
        max_retry_delay_s=0.4,
        rotation_interval_s=600,
        watch_circuits=False,
        log_connections=False,
    )
    monkeypatch.setenv("TOR_CIRCUIT_ROTATION_ENABLED", "false")
    assert settings().egress_policy().rotation_interval_s == 0


def test_a_unix_socket_comes_before_a_host(settings: Make) -> None:
    found = settings(tron_network="mainnet", tor_socks_socket="/run/tor/socks", tor_proxy_host="127.0.0.1")
    assert found.egress_policy().socks == SocksPort(path=Path("/run/tor/socks"))
    with pytest.raises(ValidationError, match="107 bytes"):
        settings(tron_network="mainnet", tor_socks_socket="/" + "x" * 107)


def test_debians_tor_is_found_unless_a_host_is_named(settings: Make, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socks"))
        assert settings(tron_network="mainnet").socks_port == SocksPort(path=tmp_path / "socks")
        assert settings(tron_network="mainnet", tor_proxy_host="::1").socks_port == SocksPort(host="::1", port=9050)
        assert settings(tron_network="devnet").mode is Mode.LOOPBACK


def test_a_devnet_on_this_machine_uses_tor_only_when_a_socks_port_is_named(settings: Make) -> None:
    assert settings(tron_network="devnet").mode is Mode.LOOPBACK
    assert settings(tron_network="devnet", tor_socks_socket="/run/tor/socks").mode is Mode.TOR
    assert settings(tron_network="devnet", tor_proxy_host="127.0.0.1").mode is Mode.TOR
    assert settings(tron_network="nile").mode is Mode.TOR


@pytest.mark.parametrize("name", ["use_tor_for_external_calls", "tor_route_rpc"])
@pytest.mark.parametrize("network", ["devnet", "nile", "shasta"])
def test_test_networks_may_go_past_tor(settings: Make, name: str, network: str) -> None:
    assert settings(tron_network=network, **{name: False}).mode is Mode.CLEAR


@pytest.mark.parametrize("name", ["use_tor_for_external_calls", "tor_route_rpc"])
def test_mainnet_past_tor_takes_a_second_setting_that_names_the_risk(settings: Make, name: str) -> None:
    with pytest.raises(ValidationError, match="I_ACCEPT_THAT_MAINNET_CALLS_SHOW_MY_ADDRESS") as caught:
        settings(tron_network="mainnet", **{name: False})
    assert name.upper() in str(caught.value)
    accepted = settings(
        tron_network="mainnet", i_accept_that_mainnet_calls_show_my_address=True, **{name: False}
    ).egress_policy()
    assert (accepted.mode, accepted.socks) == (Mode.CLEAR, None)


def test_accepting_the_risk_alone_changes_nothing(settings: Make) -> None:
    assert settings(tron_network="mainnet", i_accept_that_mainnet_calls_show_my_address=True).mode is Mode.TOR


@pytest.mark.parametrize(
    ("host", "good"),
    [("tor-proxy", True), ("localhost", True), ("::1", True), ("172.20.0.9", True), ("tor.example.org", False)],
)
def test_the_proxys_own_name_is_not_asked_of_the_public_dns(settings: Make, host: str, good: bool) -> None:
    values = {"tron_network": "mainnet", "tor_proxy_host": host}
    if good:
        assert settings(**values).socks_port.port == 9050
    else:
        with pytest.raises(ValidationError, match="TOR_PREVENT_DNS_LEAKS"):
            settings(**values)
        assert settings(**values, tor_prevent_dns_leaks=False).socks_port.host == host


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("https://API.trongrid.io/", "https://api.trongrid.io"),
        ("https://api.trongrid.io:443", "https://api.trongrid.io"),
        ("https://api.trongrid.io:8443/jsonrpc/", "https://api.trongrid.io:8443/jsonrpc"),
        ("https://api.trongrid.io.", "https://api.trongrid.io"),
        (f"http://{'a' * 56}.onion:80", f"http://{'a' * 56}.onion"),
        (f"https://{'a' * 56}.onion", f"https://{'a' * 56}.onion"),
        ("https://192.0.2.7", "https://192.0.2.7"),
        ("https://[2001:db8::7]:8443", "https://[2001:db8::7]:8443"),
    ],
)
def test_what_may_be_called_has_one_spelling(url: str, written: str) -> None:
    assert checked_url(url, Mode.TOR, devnet=False) == written


@pytest.mark.parametrize(
    "url",
    [
        "http://api.trongrid.io",
        "http://10.0.0.5:8090",
        "http://127.0.0.1:9090",
        "http://localhost:9090",
        "http://127.0.0.1.evil.example",
        "http://onion",
        "http://evil.onion.example",
        "socks5://127.0.0.1:9050",
        "ftp://api.trongrid.io",
        "//api.trongrid.io",
        "api.trongrid.io",
        "https://",
        "https://a b.example",
        "https://exa\u0301mple.org",
        "https://a..example",
        "https://api.trongrid.io:0",
        "https://api.trongrid.io:99999",
        "https://user:secret@api.trongrid.io",
        "https://api.trongrid.io/?a=b",
        "https://api.trongrid.io/#a",
        "",
    ],
)
def test_anything_else_is_refused(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        checked_url(url, Mode.TOR, devnet=False)
    assert "secret" not in str(caught.value)


def test_the_devnet_may_be_http_on_loopback_and_nowhere_else() -> None:
    assert checked_url("http://localhost:9090/", Mode.LOOPBACK, devnet=True) == "http://127.0.0.1:9090"
    assert checked_url("http://[::1]:9090", Mode.TOR, devnet=True) == "http://[::1]:9090"
    for url in ("http://10.0.0.5:9090", "http://devnet:9090"):
        for mode in Mode:
            with pytest.raises(ValueError, match="use https"):
                checked_url(url, mode, devnet=True)


def test_what_stays_on_this_machine_cannot_be_made_to_leave_it() -> None:
    with pytest.raises(ValueError, match="not on this machine"):
        checked_url("https://api.trongrid.io", Mode.LOOPBACK, devnet=True)


def test_an_onion_service_is_never_asked_of_the_dns() -> None:
    for mode in (Mode.CLEAR, Mode.LOOPBACK):
        with pytest.raises(ValueError, match="through Tor only"):
            checked_url(f"http://{'a' * 56}.onion", mode, devnet=True)
