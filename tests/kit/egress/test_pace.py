"""The pace of an endpoint: learned, never impatient at first, and within a budget."""

import pytest

from services.kit.egress.pace import FEWEST, MOST_SAVED, SHORTEST_S, Pace


def test_nothing_is_known_at_first() -> None:
    pace = Pace(2.5)
    for _ in range(FEWEST - 1):
        pace.learn(0.1)
    assert (pace.p95_s, pace.patience_s) == (None, 2.5)
    pace.learn(0.1)
    assert (pace.p95_s, pace.patience_s) == (0.1, 0.1)


def test_one_in_twenty_is_slower_than_the_pace() -> None:
    pace = Pace(2.5)
    for hundredth in range(100):
        pace.learn(hundredth / 100)
    assert pace.p95_s == 0.95
    assert pace.median_s == 0.5


def test_the_oldest_is_forgotten() -> None:
    pace = Pace(2.5)
    for seconds in [2.0] * 100 + [0.2] * 100:
        pace.learn(seconds)
    assert pace.patience_s == 0.2


@pytest.mark.parametrize(("taken_s", "patience_s"), [(0.001, SHORTEST_S), (9.0, 2.5)])
def test_patience_has_bounds(taken_s: float, patience_s: float) -> None:
    pace = Pace(2.5)
    for _ in range(FEWEST):
        pace.learn(taken_s)
    assert pace.patience_s == patience_s


def test_second_questions_are_paid_for() -> None:
    pace = Pace(2.5)
    assert [pace.spend() for _ in range(int(MOST_SAVED) + 1)] == [True] * int(MOST_SAVED) + [False]
    for _ in range(9):
        pace.earn()
    assert not pace.spend()
    for _ in range(2):
        pace.earn()
    assert pace.spend()
    assert not pace.spend()
