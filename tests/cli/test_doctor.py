"""What the doctor says of a home without a node; a node that runs is looked at in tests/system."""

from pathlib import Path

import pytest

from lucid_tron_console import doctor
from lucid_tron_console.doctor import examine
from lucid_tron_console.finding import Finding, Verdict
from lucid_tron_console.home import Home

UTF8_TERMINAL = {"TERM": "xterm"}


def bad(home: Home) -> dict[str, Finding]:
    """What is bad, by subject."""
    return {one.subject: one for one in examine(home, UTF8_TERMINAL) if one.verdict is Verdict.BAD}


def test_a_new_home_is_fine(home: Home) -> None:
    assert bad(home) == {}
    assert bad(Home.at(home.path / "not-yet")) == {}


def test_a_full_disk_is_bad(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LOW_DISK_BYTES", 1 << 80)
    assert set(bad(home)) == {"disk"}


def test_a_state_that_others_may_open_is_bad_and_comes_with_its_cure(home: Home) -> None:
    home.prepare()
    state = home.path / "state"
    state.chmod(0o755)
    assert bad(home)["permissions"].advice == f"chmod 700 {state}"


def test_a_broken_record_and_a_path_too_long_are_bad(home: Home) -> None:
    (home.path / "node.json").write_text("[]")
    assert "node.json" in bad(home)["home"].words
    assert "shorter --home" in bad(Home.at(Path("/tmp/" + "x" * 100)))["home"].words


def test_a_terminal_that_is_none_is_a_note(home: Home) -> None:
    notes = {one.subject: one for one in examine(home, {}) if one.verdict is Verdict.NOTE}
    assert "set TERM" in notes["terminal"].advice
