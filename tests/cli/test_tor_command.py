"""`lucid-tron tor` and `up --tor` without a node: what is refused, in which words, with which exit code."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lucid_tron_console import cli, lab
from lucid_tron_console.cli.tor import _COUNTRY, _RELAY
from lucid_tron_console.exit_codes import ExitCode
from lucid_tron_console.home import Home, NodeRecord
from lucid_tron_console.lab import Availability
from lucid_tron_console.node import last_words
from lucid_tron_console.tor_way import TorWay


def run(home: Home, *words: str) -> int:
    """Run a command line in a home."""
    return cli.main(["--home", str(home.path), *words])


@pytest.mark.parametrize(
    "words",
    [
        *("status", "test", "env", "circuits", "streams", "guards", "log", "isolation", "newnym", "newnym --wait"),
        *("rotate --all", "rotate read:a.example", "close 3", "bandwidth", "exits", "exits --any", "reconnect"),
        *("onion list", "onion create a --target 127.0.0.1:80", "onion show a", "leak-test"),
    ],
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


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("close ../x", ExitCode.NOT_FOUND),
        ("close", ExitCode.USAGE),
        ("exits --country germany", ExitCode.USAGE),
        ("exits --exclude-node relay1", ExitCode.USAGE),
        ("exits --any --country de", ExitCode.USAGE),
        ("bandwidth --for soon", ExitCode.USAGE),
        ("env --for /etc", ExitCode.USAGE),
        ("onion show ../x", ExitCode.NOT_FOUND),
        ("onion remove a --address short.onion", ExitCode.REFUSED),
        ("onion create a --target 127.0.0.1:80 --port 70000", ExitCode.USAGE),
    ],
)
def test_what_makes_no_sense_is_refused_without_asking(
    home: Home, words: str, code: ExitCode, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(home, "tor", *words.split()) == code
    told = capsys.readouterr().err
    assert "lucid-tron up" not in told
    assert "defect" not in told


def test_a_country_and_a_relay_are_taken_as_people_write_them() -> None:
    assert _COUNTRY.convert("DE", None, None) == "de"
    assert _RELAY.convert(f"${'ab' * 20}", None, None) == "AB" * 20


@pytest.mark.parametrize(
    ("way", "words"),
    [
        (TorWay(), "up --tor system"),
        (TorWay("off", past="USE_TOR_FOR_EXTERNAL_CALLS=false (in lucid.env)"), "PAST TOR"),
    ],
)
def test_a_node_that_runs_without_tor_says_so(
    home: Home, way: TorWay, words: str, capsys: pytest.CaptureFixture[str], holder: Callable[[], None]
) -> None:
    home.prepare()
    home.write_record(NodeRecord("nile", tor=way))
    holder()
    for command in ("status", "test", "newnym", "onion list"):
        assert run(home, "tor", *command.split()) == ExitCode.REFUSED
        told = capsys.readouterr().err
        assert "runs without Tor" in told
        assert words in told


@pytest.fixture
def holder(home: Home) -> Iterator[Callable[[], None]]:
    """Hold the home's lock as a node does."""
    held: list[subprocess.Popen[str]] = []
    code = "import sys; from pathlib import Path; from lucid_tron_console.home import *\n"
    code += "with NodeLock(Home.at(Path(sys.argv[1]))): print(flush=True); sys.stdin.read()"

    def hold() -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        held.append(subprocess.Popen([sys.executable, "-c", code, str(home.path)], text=True, **pipes))  # type: ignore[call-overload]
        assert held[0].stdout is not None
        held[0].stdout.readline()

    yield hold
    for one in held:
        one.communicate()


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


def test_a_lab_that_dies_is_told_in_its_own_words(home: Home) -> None:
    home.prepare()
    lab.prepare(home)
    lab.report_file(home).write_text(json.dumps({"state": "failed", "message": "no port is free"}) + "\n")
    assert last_words(home, "lab") == "no port is free; without it: --tor off"
