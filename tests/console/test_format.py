"""Words, ages, columns and addresses; and that no text of a stranger can steer a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lucid_tron_console.dialogs.unlock import parse_lease
from lucid_tron_console.format import (
    Span,
    age,
    clean,
    columns,
    countdown,
    fit,
    groups,
    line,
    plain,
    short,
    stale,
    width,
    wrap,
)
from lucid_tron_console.widgets.lines import changed_cells
from tests.console.fakes import FORBIDDEN, HOSTILE


@given(st.text())
def test_clean_leaves_nothing_that_steers_a_terminal(text: str) -> None:
    assert not FORBIDDEN.search(clean(text))
    assert "\n" not in clean(text)
    assert clean(clean(text)) == clean(text)


def test_clean_shows_that_something_was_taken_out() -> None:
    assert clean("a\x1b[31mb") == "a?[31mb"
    assert clean("pay\u202ecod.exe") == "pay?cod.exe"
    assert clean("two\nlines") == "two lines"
    assert clean("Zażółć 東京 ✓") == "Zażółć 東京 ✓"
    assert not FORBIDDEN.search(clean(HOSTILE))


@given(st.text(max_size=40).map(clean), st.integers(min_value=1, max_value=30))
def test_fit_is_exactly_as_wide_as_asked(text: str, cells: int) -> None:
    assert width(fit(text, cells)) == cells


@given(st.text(alphabet="ab cdé東", max_size=80), st.integers(min_value=2, max_value=20))
def test_wrapped_lines_keep_every_letter(text: str, cells: int) -> None:
    rows = wrap(text, cells)
    assert "".join(rows).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (4.9, "0s"), (42, "40s"), (60, "1m"), (3599, "59m"), (3700, "1h01m"), (90000, "1d 01h"), (-5, "0s")],
)
def test_ages_grow_in_steps(seconds: float, words: str) -> None:
    assert age(seconds) == words


def test_countdowns_are_exact_only_at_the_end() -> None:
    assert [countdown(s) for s in (7, 13, 61, 899, -1)] == ["7s", "10s", "1m", "14m", "0s"]


def test_addresses_in_groups_and_in_short() -> None:
    address = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8"
    assert groups(address) == "TJRa bPrw bZy4 5sba vfcj inPJ C18k jpRT v8"
    assert short(address) == "TJRabP..jpRTv8"


def test_a_stale_value_is_marked_and_not_only_dimmed() -> None:
    assert stale("5", True) == Span("~5", "dim")
    assert stale("5", False) == Span("5")


def test_columns_are_aligned() -> None:
    made = plain(columns([("id", 4), ("12.50", -8), (Span("a long word"), 6)]))
    assert made == "id      12.50 a lon…"


def test_only_cells_that_differ_are_repainted() -> None:
    assert changed_cells(line("height 1"), line("height 1")) is None
    assert changed_cells(line("height 199"), line("height 200")) == (7, 9)
    assert changed_cells(line("ab", Span("c")), line("abc")) is None
    assert changed_cells(line("abc"), line("ab", Span("c", "ok"))) == (2, 2)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604800), ("8d", None), ("0m", None), ("15", None), ("m", None)],
)
def test_leases(text: str, seconds: int | None) -> None:
    assert parse_lease(text) == seconds
