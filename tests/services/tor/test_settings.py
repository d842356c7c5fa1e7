"""Every TOR_* name: it is declared once, has the default that operators know, and the service does what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import ValidationError

from services.kit import tor_settings
from services.kit.egress.settings import EgressSettings
from services.kit.settings import KitSettings
from services.kit.tor_settings import SharedTorSettings
from services.tor import settings as settings_module
from services.tor.api import TorState
from services.tor.settings import TorSettings

A, B, C = "A" * 40, "B" * 40, "C" * 40
PATH = f"${A}~alice,${B}~bob,${C}~carol"

KNOWN: dict[str, Any] = {
    "TOR_PROXY_HOST": "127.0.0.1",
    "TOR_PROXY_SOCKS_PORT": 9050,
    "TOR_PROXY_CONTROL_PORT": 9051,
    "TOR_PROXY_HTTP_PORT": 0,
    "USE_TOR_FOR_EXTERNAL_CALLS": True,
    "TOR_ROUTE_RPC": True,
    "TOR_CIRCUIT_ROTATION_ENABLED": True,
    "TOR_CIRCUIT_ROTATION_INTERVAL": 3600,
    "TOR_PREVENT_DNS_LEAKS": True,
    "TOR_MONITOR_EXIT_NODES": True,
    "TOR_DETECT_CIRCUIT_FAILURES": True,
    "TOR_HEALTH_CHECK_INTERVAL": 60,
    "TOR_CONNECTIVITY_TIMEOUT": 30,
    "TOR_MAX_LATENCY_MS": 5000,
    "TOR_CONNECTION_MAX_RETRIES": 5,
    "TOR_CONNECTION_RETRY_DELAY_MS": 1000,
    "TOR_CONNECTION_MAX_RETRY_DELAY_MS": 30_000,
    "TOR_LOG_LEVEL": "notice",
    "TOR_LOG_CONNECTIONS": True,
    "TOR_LOG_CIRCUITS": False,
}
"""What Lucid nodes are configured with, and its default. Containers set the host, and a tunnel's port, themselves."""


@pytest.fixture(autouse=True)
def nothing_of_debians(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LUCID_HOME", str(tmp_path))
    monkeypatch.setattr(tor_settings, "DEBIAN_SOCKS", tmp_path / "socks")
    monkeypatch.setattr(settings_module, "DEBIAN_CONTROL", tmp_path / "control")


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    """What the service logs."""
    with structlog.testing.capture_logs() as lines:
        yield lines  # type: ignore[misc]


@pytest.mark.parametrize("name", KNOWN)
def test_each_name_is_declared_in_one_place_with_the_default_that_operators_know(name: str) -> None:
    field = name.lower()
    kinds: list[type[KitSettings]] = [SharedTorSettings, TorSettings, EgressSettings]
    assert sum(field in kind.__annotations__ for kind in kinds) == 1
    found = next(kind for kind in kinds if field in kind.model_fields)
    assert found.model_fields[field].default == KNOWN[name]


@pytest.mark.parametrize(
    ("name", "value", "what", "expected"),
    [
        ("TOR_PROXY_HOST", "tor-proxy", "control_address", "tor-proxy:9051"),
        ("TOR_PROXY_HOST", "tor-proxy", "socks_port", "tor-proxy:9050"),
        ("TOR_PROXY_HOST", "localhost", "control_address", "127.0.0.1:9051"),
        ("TOR_PROXY_CONTROL_PORT", "9151", "control_address", "127.0.0.1:9151"),
        ("TOR_PROXY_SOCKS_PORT", "9150", "socks_port", "127.0.0.1:9150"),
        ("TOR_CONTROL_SOCKET", "/run/x/control", "control_address", "/run/x/control"),
        ("TOR_SOCKS_SOCKET", "/run/x/socks", "socks_port", "unix:/run/x/socks"),
        ("TOR_PROBE_TARGET", "[2001:db8::1]:443", "probe_target", "2001:db8::1:443"),
    ],
)
def test_where_tor_is(monkeypatch: pytest.MonkeyPatch, name: str, value: str, what: str, expected: str) -> None:
    monkeypatch.setenv(name, value)
    assert str(getattr(TorSettings(), what)) == expected


def test_debians_sockets_are_found_unless_something_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("socks", "control"):
        (tmp_path / name).touch()
    assert str(TorSettings().socks_port) == f"unix:{tmp_path}/socks"
    assert str(TorSettings().control_address) == f"{tmp_path}/control"
    named = TorSettings(tor_proxy_host="127.0.0.1")
    assert (str(named.socks_port), str(named.control_address)) == ("127.0.0.1:9050", "127.0.0.1:9051")
    monkeypatch.setenv("TOR_PROXY_CONTROL_PORT", "9051")
    assert str(TorSettings().control_address) == "127.0.0.1:9051"
    assert str(TorSettings().socks_port) == f"unix:{tmp_path}/socks"


def test_a_directory_that_is_closed_to_us_is_no_reason_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", closed)
    assert str(TorSettings().socks_port).startswith("unix:")
    assert TorSettings().control_address.path is not None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tor_proxy_host": "tor.example.org"}, "TOR_PREVENT_DNS_LEAKS"),
        ({"tor_proxy_host": "tor.example.org", "tor_socks_socket": "/x/socks"}, "TOR_PREVENT_DNS_LEAKS"),
        ({"tor_proxy_host": ""}, "TOR_PREVENT_DNS_LEAKS"),
        ({"tor_socks_socket": "socks"}, "TOR_SOCKS_SOCKET: write the whole path"),
        ({"tor_control_socket": "/" + "x" * 107}, "107 bytes"),
        ({"tor_connection_retry_delay_ms": 500, "tor_connection_max_retry_delay_ms": 499}, "raise it"),
        ({"tor_connectivity_timeout": 121}, "less than or equal to 120"),
        ({"tor_max_latency_ms": 0}, "greater than or equal to 1"),
        ({"tor_health_check_interval": 0.1}, "greater than or equal to 0.2"),
        ({"tor_connection_max_retries": -1}, "greater than or equal to 0"),
        ({"tor_probe_target": "bü.example:443"}, "is not host:port"),
        ({"tor_probe_target": "x" * 256 + ":443"}, "is not host:port"),
        ({"tor_probe_target": "node.example:0"}, "is not host:port"),
        ({"tron_http_endpoint": "https://node.example:99999"}, "TRON_HTTP_ENDPOINT"),
        ({"tron_http_endpoint": "nonsense"}, "TRON_HTTP_ENDPOINT"),
    ],
)
def test_what_cannot_be_used_is_said_with_the_name_to_change(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        TorSettings(**values)


def test_past_tor_its_tunnel_is_nobodys() -> None:
    past: dict[str, Any] = {"tron_network": "nile", "tor_proxy_host": "tor.example.org", "tor_proxy_http_port": 8888}
    assert EgressSettings(**past, use_tor_for_external_calls=False).egress_policy().http_proxy == ""
    through = EgressSettings(tron_network="nile", tor_proxy_host="::1", tor_proxy_http_port=8888)
    assert through.egress_policy().http_proxy == "[::1]:8888"


def test_with_leaks_allowed_tor_may_be_anywhere() -> None:
    found = TorSettings(tor_proxy_host="tor.example.org", tor_prevent_dns_leaks=False)
    assert str(found.control_address) == "tor.example.org:9051"


@pytest.mark.parametrize(
    ("level", "events"),
    [("err", "ERR"), ("warn", "ERR WARN"), ("notice", "ERR NOTICE WARN"), ("debug", "DEBUG ERR INFO NOTICE WARN")],
)
async def test_log_lines_are_taken_from_the_level_on(start_at: Any, peer: Any, level: str, events: str) -> None:
    async with start_at(peer.port, tor_log_level=level) as tor:
        await tor.until(TorState.OK)
    asked = next(command for command in peer.commands if command.startswith("SETEVENTS")).split()
    assert " ".join(sorted({"DEBUG", "INFO", "NOTICE", "WARN", "ERR"} & set(asked))) == events


@pytest.mark.parametrize("wanted", [True, False])
async def test_connections_are_logged_if_that_is_wanted(
    start_at: Any, peer: Any, logged: list[dict[str, Any]], wanted: bool
) -> None:
    async with start_at(peer.port, tor_log_connections=wanted) as tor:
        await tor.until(TorState.OK)
        peer.tell('STREAM 9 NEW 0 node.example:443 PURPOSE=USER SOCKS_USERNAME="rpc-1.1"')
        peer.tell("STREAM 9 CLOSED 7 node.example:443 REASON=DONE")
        await tor.client.bandwidth()
    found = [line for line in logged if line["event"] == "tor.stream"]
    assert [(line["user"], line["target"], line["circuit"]) for line in found] == (
        [("rpc-1.1", "node.example:443", "7")] if wanted else []
    )


@pytest.mark.parametrize("wanted", [True, False])
async def test_circuits_are_logged_if_that_is_wanted(
    start_at: Any, peer: Any, logged: list[dict[str, Any]], wanted: bool
) -> None:
    async with start_at(peer.port, tor_log_circuits=wanted) as tor:
        await tor.until(TorState.OK)
        for state in ("LAUNCHED", f"EXTENDED ${A}~alice", f"BUILT {PATH}", f"CLOSED {PATH}"):
            peer.tell(f"CIRC 7 {state} PURPOSE=GENERAL REASON=FINISHED")
        peer.tell("CIRC 8 FAILED PURPOSE=GENERAL REASON=TIMEOUT")
        await tor.client.bandwidth()
    found = [(line["id"], str(line["state"])) for line in logged if line["event"] == "tor.circuit"]
    assert found == ([("7", "BUILT"), ("7", "CLOSED"), ("8", "FAILED")] if wanted else [])


@pytest.mark.parametrize("wanted", [True, False])
async def test_exits_are_watched_if_that_is_wanted(start_at: Any, peer: Any, wanted: bool) -> None:
    peer.info["circuit-status"] = f"7 BUILT {PATH} PURPOSE=GENERAL"
    async with start_at(peer.port, tor_monitor_exit_nodes=wanted) as tor:
        await tor.until(TorState.OK)
        for number in range(3):
            peer.tell(f"STREAM {number} CLOSED 7 x.example:443 REASON=TIMEOUT")
        await asyncio.sleep(0.3)
        warnings = (await tor.client.tor()).warnings
    assert any("exit carol" in words for words in warnings) is wanted


async def test_the_first_pause_is_as_long_as_it_is_set_and_each_is_twice_the_one_before(
    start_at: Any, peer: Any, logged: list[dict[str, Any]]
) -> None:
    await peer.close()
    pauses = {"tor_connection_retry_delay_ms": 400, "tor_connection_max_retry_delay_ms": 60_000}
    async with start_at(peer.port, tor_connection_max_retries=1, **pauses) as tor:
        first = await tor.until(TorState.NOT_RUNNING, TorState.MISSING)
        assert (first.attempts, 0 < (first.retry_in_s or 0) <= 0.4) == (1, True)

        async def attempt(number: int) -> Any:
            status = await tor.client.tor()
            return status if status.attempts == number else None

        # One repetition is what is set; from then on the pauses are the longest, and an error says so.
        assert 55 < (await tor.eventually(lambda: attempt(2))).retry_in_s <= 60
        assert [line["attempts"] for line in logged if line["event"] == "tor.still_unreachable"] == [2]


async def test_pauses_are_doubled(start_at: Any, peer: Any) -> None:
    await peer.close()
    pauses = {"tor_connection_retry_delay_ms": 200, "tor_connection_max_retry_delay_ms": 60_000}
    async with start_at(peer.port, **pauses) as tor:

        async def third() -> Any:
            status = await tor.client.tor()
            return status if status.attempts == 3 else None

        assert 0.5 < (await tor.eventually(third)).retry_in_s <= 0.8


async def test_a_healthy_tor_is_looked_at_as_often_as_it_is_set(start_at: Any, peer: Any) -> None:
    async def looks() -> int:
        return sum(command.startswith("GETINFO status/bootstrap-phase") for command in peer.commands)

    async with start_at(peer.port, tor_health_check_interval=0.2) as tor:
        await tor.until(TorState.OK)
        await tor.eventually(lambda: _more_than(looks, 4), timeout_s=3)
    peer.commands.clear()
    async with start_at(peer.port, tor_health_check_interval=60) as tor:
        await tor.until(TorState.OK)
        await asyncio.sleep(0.7)
        assert await looks() == 1


async def _more_than(count: Any, most: int) -> bool:
    return bool(await count() > most)
