"""`lucid-tron tor` and `up --tor` without a node: what is refused, in which words, with which exit code."""

import json
from pathlib import Path

import pytest

from lucid_tron_console import cli, lab
from lucid_tron_console.exit_codes import ExitCode
from lucid_tron_console.home import Home, NodeRecord
from lucid_tron_console.lab import Availability


def run(home: Home, *words: str) -> int:
    """Run a command line in a home."""
    return cli.main(["--home", str(home.path), *words])


@pytest.mark.parametrize(
    "words", ["status", "test", "circuits", "streams", "newnym", "rotate --all", "close 3", "bandwidth", "leak-test"]
)
def test_without_a_node_each_says_how_to_start_one(home: Home, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home, "tor", *words.split()) == ExitCode.UNAVAILABLE
    assert "lucid-tron up" in capsys.readouterr().err


def test_rotate_wants_one_name_or_all(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home, "tor", "rotate") == ExitCode.USAGE
    assert run(home, "tor", "rotate", "read", "--all") == ExitCode.USAGE
    assert "--all" in capsys.readouterr().err


def test_an_exit_policy_that_contradicts_itself_is_refused(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home, "tor", "exits", "--country", "de", "--exclude-country", "de") == ExitCode.REFUSED
    assert "de cannot be wanted and excluded" in capsys.readouterr().err


def test_a_lab_that_does_not_run_is_stopped_and_that_is_no_error(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(home, "tor", "lab", "status", "-o", "json") == ExitCode.UNAVAILABLE
    assert json.loads(capsys.readouterr().out)["state"] == "stopped"
    assert run(home, "tor", "lab", "stop", "-o", "json") == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["stopped"] is False


def test_without_tor_a_lab_is_refused_with_the_way_to_install_it(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lab, "available", lambda: Availability(False, "tor cannot be found: apt-get install -y tor"))
    for words in (["up", "--network", "devnet", "--tor", "lab"], ["tor", "lab", "start"]):
        assert run(home, *words) == ExitCode.UNAVAILABLE
        assert "apt-get install -y tor" in capsys.readouterr().err


def test_status_shows_the_way_out_that_the_home_remembers(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.prepare()
    home.write_record(NodeRecord("devnet", None, (9090, 9091), {}, lab.way(home)))
    assert run(home, "status", "-o", "json") == ExitCode.UNAVAILABLE
    shown = json.loads(capsys.readouterr().out)
    assert shown["tor"]["mode"] == "lab"
    assert [one["service"] for one in shown["services"]] == ["devnet", "lab", "tor", "wallet", "tron", "payout"]
    assert Path(shown["tor"]["socks"]).parts[-4:] == ("tor", "lab", "run", "socks")
