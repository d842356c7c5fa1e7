"""The loss of relays as tor's events show it, seen in a private network, and what is told of it."""

from datetime import UTC, datetime

import pytest

from services.tor.picture import Picture

GUARD, SECOND, THIRD = (letter * 40 for letter in "ABC")
MIDDLE, OTHER_MIDDLE, EXIT, OTHER_EXIT = (digit * 40 for digit in "1234")


@pytest.fixture
def time() -> list[float]:
    """The monotonic time."""
    return [100.0]


@pytest.fixture
def picture(time: list[float]) -> Picture:
    """Three guards, of which one is used, and circuits to two exits."""
    made = Picture(lambda: time[0], lambda: datetime(2026, 1, 1, tzinfo=UTC), lambda _: None)
    names = (GUARD, "guard up"), (SECOND, "second never-connected"), (THIRD, "third up")
    made.guards_read("\n".join(f"${fingerprint}~{rest}" for fingerprint, rest in names))
    build(made, 1, GUARD, MIDDLE, EXIT)
    build(made, 2, GUARD, OTHER_MIDDLE, EXIT)
    build(made, 3, GUARD, MIDDLE, OTHER_EXIT)
    return made


def build(picture: Picture, number: int, *path: str) -> None:
    """Have a circuit built."""
    picture.circuit(f"{number} LAUNCHED PURPOSE=GENERAL")
    picture.circuit(f"{number} BUILT {','.join(f'${one}~n{one[0]}' for one in path)} PURPOSE=GENERAL")


def destroy(picture: Picture, *numbers: int) -> None:
    """Have circuits destroyed by a relay."""
    for number in numbers:
        picture.circuit(f"{number} CLOSED PURPOSE=GENERAL REASON=DESTROYED REMOTE_REASON=CHANNEL_CLOSED")


def test_an_exit_that_drops_all_its_circuits_is_named_until_one_stands_again(picture: Picture) -> None:
    destroy(picture, 1, 2)
    assert picture.gone_exits() == [
        f"exit n3 ({EXIT[:8]}) dropped 2 circuits: it seems to be gone, others are used",
    ]
    build(picture, 4, GUARD, OTHER_MIDDLE, EXIT)
    assert picture.gone_exits() == []


def test_one_circuit_may_have_ended_for_its_middle_relay(picture: Picture) -> None:
    destroy(picture, 1)
    destroy(picture, 3)
    assert picture.gone_exits() == []


def test_a_dead_guard_is_no_exits_fault(picture: Picture) -> None:
    destroy(picture, 1, 2, 3)
    assert picture.gone_exits() == []
    picture.guard(f"ENTRY ${GUARD}~guard DOWN")
    build(picture, 4, SECOND, MIDDLE, OTHER_EXIT)
    assert picture.gone_exits() == []
    assert picture.lost_guards() == [f"guard guard ({GUARD[:8]}) could not be reached: others are used"]
    build(picture, 5, GUARD, MIDDLE, OTHER_EXIT)
    assert picture.lost_guards() == []


def test_circuits_that_we_close_are_no_loss(picture: Picture) -> None:
    for number in (1, 2):
        picture.circuit(f"{number} CLOSED PURPOSE=GENERAL REASON=REQUESTED")
    assert picture.gone_exits() == []


def test_guards_that_fail_one_after_the_other_are_all_down_whatever_tor_lists(picture: Picture) -> None:
    for fingerprint in (GUARD, SECOND):
        picture.guard(f"ENTRY ${fingerprint}~x DOWN")
    assert picture.guards_tried_in_vain() == 0
    picture.guard(f"ENTRY ${THIRD}~x DOWN")
    assert picture.guards_tried_in_vain() == 3
    assert picture.lost_guards() == []
    # Two of them are listed as up again, just because tor is about to try them.
    assert [guard.state for guard in picture.guards].count("up") == 2
    picture.guard(f"ENTRY ${SECOND}~x UP")
    assert picture.guards_tried_in_vain() == 0


def test_failures_are_forgotten_when_circuits_are_built_again(picture: Picture) -> None:
    for number in range(10, 40):
        picture.circuit(f"{number} FAILED ${GUARD}~guard PURPOSE=GENERAL REASON=DESTROYED")
    assert picture.most_circuits_fail()
    build(picture, 50, GUARD, MIDDLE, EXIT)
    build(picture, 51, GUARD, MIDDLE, EXIT)
    assert picture.most_circuits_fail()
    build(picture, 52, GUARD, MIDDLE, EXIT)
    assert not picture.most_circuits_fail()
    for number in range(60, 64):
        picture.circuit(f"{number} FAILED ${GUARD}~guard PURPOSE=GENERAL REASON=DESTROYED")
    assert not picture.most_circuits_fail()
    picture.circuit(f"64 FAILED ${GUARD}~guard PURPOSE=GENERAL REASON=DESTROYED")
    assert picture.most_circuits_fail()


def test_failures_that_have_stopped_are_no_state(picture: Picture, time: list[float]) -> None:
    for number in range(10, 40):
        picture.circuit(f"{number} FAILED ${GUARD}~guard PURPOSE=GENERAL REASON=DESTROYED")
    time[0] += 9
    assert picture.most_circuits_fail()
    time[0] += 1
    assert not picture.most_circuits_fail()
    assert picture.circuit_counts().recent_failed == 30
