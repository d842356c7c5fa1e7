"""`python -m services`: which daemons may share a process, and what they would be configured with."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lucid_tron_console.home import Home
from services import __main__ as services_main


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "usage"),
        (["tron", "wallet"], "wallet stands alone"),
        (["devnet", "payout"], "devnet stands alone"),
        (["tron", "tron"], "named twice"),
        (["moon"], "no service 'moon'"),
    ],
)
def test_what_cannot_be_served_together_is_refused(names: list[str], words: str) -> None:
    assert words in services_main.refusal(names)


@pytest.mark.parametrize("names", [["wallet"], ["devnet"], ["tron"], ["tron", "payout"], ["payout", "tron"]])
def test_what_may_be_served_is_not_refused(names: list[str]) -> None:
    assert services_main.refusal(names) == ""


def report(home: Home, **env: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings by name, and the whole report."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(services_main.PREFIXES)}
    done = subprocess.run(
        [sys.executable, "-m", "services", "--settings"],
        env={**clean, "LUCID_HOME": str(home.path), **env},
        capture_output=True,
        text=True,
        check=True,
    )
    body = json.loads(done.stdout)
    return {one["name"]: one for one in body["settings"]}, body


def test_the_environment_goes_before_the_file_and_the_file_before_the_default(home: Home) -> None:
    home.env_file.write_text("TRON_NETWORK=devnet\nTRON_MAX_RETRIES=2\nTRON_TIMEOUT=7\n")
    values, body = report(home, TRON_TIMEOUT="8")
    found = {name: (values[name]["value"], values[name]["source"]) for name in ("TRON_NETWORK", "TRON_MAX_RETRIES")}
    assert found == {"TRON_NETWORK": ("devnet", "lucid.env"), "TRON_MAX_RETRIES": ("2", "lucid.env")}
    assert (float(values["TRON_TIMEOUT"]["value"]), values["TRON_TIMEOUT"]["source"]) == (8.0, "environment")
    assert values["TRON_TX_LIFETIME"]["source"] == "default"
    assert set(values["TRON_NETWORK"]["services"]) == {"wallet", "tor", "tron", "payout"}
    assert body["problems"] == []


def test_a_setting_that_cannot_be_used_is_named_and_shown_as_it_was_given(home: Home) -> None:
    values, body = report(home, TRON_NETWORK="devnet", TRON_TIMEOUT="soon", DEVNET_LISTEN="0.0.0.0:9090")
    assert values["TRON_TIMEOUT"]["value"] == "soon"
    assert {one["name"] for one in body["problems"]} == {"TRON_TIMEOUT", "DEVNET_LISTEN"}


def test_settings_that_do_not_go_together_are_told_in_our_own_words(home: Home) -> None:
    past_tor = {"USE_TOR_FOR_EXTERNAL_CALLS": "false", "TRON_HTTP_ENDPOINT": "https://one.example"}
    _, body = report(home, TRON_NETWORK="mainnet", **past_tor)
    assert body["problems"][0]["message"].startswith("USE_TOR_FOR_EXTERNAL_CALLS=false on mainnet")
    assert body["way_out"] is None


def test_the_way_out_is_what_the_tron_client_would_do(home: Home) -> None:
    endpoint = {"TRON_NETWORK": "nile", "TRON_HTTP_ENDPOINT": "https://one.example"}
    named = {"TOR_PROXY_HOST": "127.0.0.1", "TOR_PROXY_SOCKS_PORT": "9050"}
    assert report(home, TRON_NETWORK="devnet")[1]["way_out"]["mode"] == "loopback"
    clear = report(home, **endpoint, USE_TOR_FOR_EXTERNAL_CALLS="false")[1]["way_out"]
    assert (clear["mode"], clear["proxies"]) == ("clear", {})
    assert "past Tor" in clear["detail"]
    through = report(home, **endpoint, **named)[1]["way_out"]
    assert (through["mode"], through["socks"]) == ("tor", "127.0.0.1:9050")
    assert through["environment"]["ALL_PROXY"] == through["proxies"]["socks5h"]


def test_secrets_are_hidden_even_when_other_settings_are_broken(home: Home) -> None:
    for more in ({}, {"TRON_TIMEOUT": "soon"}):
        values, body = report(home, TRON_NETWORK="devnet", TRON_API_KEY="canary", **more)
        assert values["TRON_API_KEY"]["value"] == services_main.HIDDEN
        assert "canary" not in json.dumps(body)


def test_a_name_that_nobody_reads_is_told(home: Home) -> None:
    home.env_file.write_text("TRON_TIMEOUTS=7\n")
    _, body = report(home, TRON_NETWORK="devnet", WALLET_LEASE="9", UNRELATED="x")
    assert body["unknown"] == ["TRON_TIMEOUTS", "WALLET_LEASE"]


def test_the_report_needs_no_home(tmp_path: Path) -> None:
    _, body = report(Home.at(tmp_path / "none"), TRON_NETWORK="devnet")
    assert body["problems"] == []
