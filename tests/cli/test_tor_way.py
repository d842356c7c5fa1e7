"""Which way out a node takes: every combination of --tor, the network, and the settings that send calls past Tor."""

import os
from collections.abc import Mapping
from typing import Any

import pytest

from lucid_tron_console import cli, daemon_settings, lab, node
from lucid_tron_console.exit_codes import ExitCode
from lucid_tron_console.home import Home
from lucid_tron_console.lab import Availability
from lucid_tron_console.tor_way import MODES, Mode, Told, TorWay, choose_mode
from services.__main__ import report
from services.kit.errors import Invalid, Unavailable

NO_TOR = "USE_TOR_FOR_EXTERNAL_CALLS"
NO_RPC = "TOR_ROUTE_RPC"
ACCEPTED = "I_ACCEPT_THAT_MAINNET_CALLS_SHOW_MY_ADDRESS"
ENDPOINT = {"TRON_HTTP_ENDPOINT": "https://one.example"}
NAMED = {"TOR_SOCKS_SOCKET": "/run/mine/socks"}
REAL = ("mainnet", "shasta", "nile")


@pytest.fixture(autouse=True)
def tor_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has; nothing is started here."""
    monkeypatch.setattr(lab, "available", lambda: Availability(True, "tor 0.4.9"))


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the settings here: a process for each combination takes too long."""

    def read(_home: Home, environ: Mapping[str, str], decided: Mapping[str, str]) -> dict[str, Any]:
        with monkeypatch.context() as patch:
            for name in list(os.environ):
                patch.delenv(name)
            for name, value in {**environ, **decided}.items():
                patch.setenv(name, value)
            return report(os.environ)

    monkeypatch.setattr(daemon_settings, "read", read)


def chosen(home: Home, network: str, asked: str | None, *remembered: Mode | None, **settings: str) -> tuple[str, str]:
    """The way out of a node with these settings, and the setting that sends its calls past Tor."""
    clean = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    way = node.choose_tor(home, network, asked, next(iter(remembered), None), {**clean, **settings})
    return way.mode, way.past.partition(" ")[0]


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("network", REAL)
def test_a_real_network_goes_through_the_machines_tor(home: Home, network: str) -> None:
    assert chosen(home, network, None, **ENDPOINT) == ("system", "")
    assert chosen(home, network, "system", **ENDPOINT) == ("system", "")
    # What was chosen when the settings allowed it does not outlive them.
    assert chosen(home, network, None, "off", **ENDPOINT) == ("system", "")
    with pytest.raises(Invalid, match="past Tor unless the settings say so"):
        chosen(home, network, "off", **ENDPOINT)
    with pytest.raises(Invalid, match="ends on this machine"):
        chosen(home, network, "lab", **ENDPOINT)
    with pytest.raises(Invalid, match="TRON_HTTP_ENDPOINT") as refused:
        chosen(home, network, "system")
    assert str(home.env_file) in refused.value.message


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("network", ["shasta", "nile"])
def test_a_test_network_goes_past_tor_when_a_setting_says_so(home: Home, network: str) -> None:
    without = {**ENDPOINT, NO_TOR: "false"}
    assert chosen(home, network, None, **without) == ("off", f"{NO_TOR}=false")
    assert chosen(home, network, "off", **without) == ("off", f"{NO_TOR}=false")
    assert chosen(home, network, None, "system", **without) == ("off", f"{NO_TOR}=false")
    with pytest.raises(Invalid, match=f"{NO_TOR}=false .in the environment. past it"):
        chosen(home, network, "system", **without)


@pytest.mark.usefixtures("in_this_process")
def test_mainnet_goes_past_tor_only_with_the_setting_that_names_the_risk(home: Home) -> None:
    without = {**ENDPOINT, NO_TOR: "false"}
    for asked in (None, "off"):
        with pytest.raises(Invalid, match=f"{ACCEPTED}=true"):
            chosen(home, "mainnet", asked, **without)
        assert chosen(home, "mainnet", asked, **without, **{ACCEPTED: "true"}) == ("off", f"{NO_TOR}=false")
    # The second setting alone changes nothing.
    assert chosen(home, "mainnet", None, **ENDPOINT, **{ACCEPTED: "true"}) == ("system", "")


@pytest.mark.usefixtures("in_this_process")
def test_calls_to_nodes_may_go_past_a_tor_that_runs_for_the_rest(home: Home) -> None:
    without = {**ENDPOINT, NO_RPC: "false"}
    for asked, mode in ((None, "system"), ("system", "system"), ("off", "off")):
        assert chosen(home, "nile", asked, **without) == (mode, f"{NO_RPC}=false")
    assert chosen(home, "devnet", "lab", **{NO_RPC: "false"}) == ("lab", f"{NO_RPC}=false")


@pytest.mark.usefixtures("in_this_process")
def test_a_devnet_is_off_or_behind_a_lab_and_that_is_remembered(home: Home) -> None:
    cases: list[tuple[str | None, Mode | None, str]] = [
        (None, None, "off"), ("off", "lab", "off"), ("lab", "off", "lab"), (None, "lab", "lab"),
    ]  # fmt: skip
    for asked, remembered, mode in cases:
        assert chosen(home, "devnet", asked, remembered) == (mode, "")


@pytest.mark.usefixtures("in_this_process")
def test_a_devnet_without_tor_by_its_settings_is_off_and_says_that_it_is_in_the_clear(home: Home) -> None:
    assert chosen(home, "devnet", None, "lab", **{NO_TOR: "false"}) == ("off", f"{NO_TOR}=false")
    with pytest.raises(Invalid, match="take the setting back"):
        chosen(home, "devnet", "lab", **{NO_TOR: "false"})


@pytest.mark.usefixtures("in_this_process")
def test_a_setting_that_does_without_tor_for_a_while_leaves_the_home_its_tor(home: Home) -> None:
    way = node.choose_tor(home, "devnet", None, "lab", {"PATH": os.environ["PATH"], NO_TOR: "false"})
    assert (way.mode, way.remembered) == ("off", "lab")
    kept = TorWay.from_json(way.to_json())
    assert kept == way
    again = node.choose_tor(home, "devnet", None, kept.remembered, {"PATH": os.environ["PATH"], NO_TOR: "false"})
    assert again == way
    assert chosen(home, "devnet", None, again.remembered) == ("lab", "")
    # Who says --tor off means it for longer than a setting stands.
    off = node.choose_tor(home, "devnet", "off", kept.remembered, {"PATH": os.environ["PATH"], NO_TOR: "false"})
    assert off.remembered == "off"


def test_a_home_of_another_version_stays_with_the_way_that_it_has() -> None:
    for back in (None, "", "elsewhere"):
        assert TorWay.from_json({"mode": "off", "returns_to": back}).remembered == "off"


@pytest.mark.usefixtures("in_this_process")
def test_a_devnet_goes_through_a_tor_that_is_named_and_not_through_the_public_one(home: Home) -> None:
    with pytest.raises(Invalid, match="--tor lab"):
        chosen(home, "devnet", "system")
    assert chosen(home, "devnet", None, **NAMED) == ("system", "")
    assert chosen(home, "devnet", None, "off", **NAMED) == ("system", "")
    assert chosen(home, "devnet", "lab", **NAMED) == ("lab", "")
    with pytest.raises(Invalid, match="TOR_SOCKS_SOCKET=/run/mine/socks"):
        chosen(home, "devnet", "off", **NAMED)


def test_the_settings_file_counts_as_the_environment_does(home: Home) -> None:
    home.env_file.write_text(f"{NO_TOR}=false\nTRON_HTTP_ENDPOINT=https://one.example\n")
    way = node.choose_tor(home, "nile", None, None, {"PATH": os.environ["PATH"]})
    assert (way.mode, way.past) == ("off", f"{NO_TOR}=false (in lucid.env)")


def test_every_combination_is_chosen_or_refused_with_words_that_say_what_to_do() -> None:
    settings = [Told(), Told(clear=True, past="B"), Told(clear=True, past="A", no_tor="A"), Told(socks="C")]
    for network in (*REAL, "devnet"):
        for told in settings:
            for remembered in (None, *MODES):
                for asked in (None, *MODES):
                    mode, words = outcome(network, asked, remembered, told)
                    if mode is None:
                        assert asked is not None or (network, remembered) == ("devnet", "system")
                        assert "--tor" in words
                        continue
                    assert mode == asked or asked is None
                    # Never without Tor unless the settings say so, or nothing leaves this machine.
                    assert mode != "off" or told.clear or (network == "devnet" and not told.socks)
                    assert mode != "lab" or network == "devnet"


def outcome(network: str, asked: str | None, remembered: Mode | None, told: Told) -> tuple[Mode | None, str]:
    """What is chosen, or why nothing is."""
    try:
        return choose_mode(network, asked, remembered, told), ""
    except Invalid as error:
        return None, error.message


@pytest.mark.usefixtures("in_this_process")
def test_a_lab_without_tor_is_refused_with_the_way_to_install_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "available", lambda: Availability(False, "tor cannot be found: apt-get install -y tor"))
    with pytest.raises(Unavailable, match="apt-get install -y tor"):
        chosen(home, "devnet", None, "lab")


def test_up_refuses_before_anything_is_made(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    new = Home.at(home.path / "new")
    assert cli.main(["--home", str(new.path), "up", "--network", "mainnet", "--tor", "lab"]) == ExitCode.REFUSED
    assert "ends on this machine" in capsys.readouterr().err
    assert not new.path.exists()
