"""The readings of broadcast answers, one by one."""

import pytest

from services.tron.answers import READINGS, Reading, read_answer, read_failure
from tests.services.tron.world import CUT, REFUSED, RESET, TIMEOUT, http

TXID = "ab" * 32


@pytest.mark.parametrize(
    ("code", "reading"),
    [
        ("SUCCESS", Reading.POOLED),
        ("DUP_TRANSACTION_ERROR", Reading.KNOWN),
        ("SERVER_BUSY", Reading.NOT_POOLED),
        ("NO_CONNECTION", Reading.NOT_POOLED),
        ("BLOCK_UNSOLIDIFIED", Reading.NOT_POOLED),
        ("NOT_ENOUGH_EFFECTIVE_CONNECTION", Reading.AMBIGUOUS),
        ("OTHER_ERROR", Reading.AMBIGUOUS),
        ("SOMETHING_NEW", Reading.AMBIGUOUS),
        ("SIGERROR", Reading.REFUSED),
        ("CONTRACT_VALIDATE_ERROR", Reading.REFUSED),
        ("CONTRACT_EXE_ERROR", Reading.REFUSED),
        ("BANDWITH_ERROR", Reading.REFUSED),
        ("TOO_BIG_TRANSACTION_ERROR", Reading.REFUSED),
        ("TAPOS_ERROR", Reading.OPINION),
        ("TRANSACTION_EXPIRATION_ERROR", Reading.OPINION),
    ],
)
def test_every_code_has_its_reading(code: str, reading: Reading) -> None:
    answer = {"result": code == "SUCCESS", "code": code, "txid": TXID, "message": ""}
    assert read_answer(answer, TXID)[2] is reading
    assert reading.value


def test_every_code_of_the_protocol_is_read() -> None:
    assert len(READINGS) == 14


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"result": False},
        {"result": True, "code": "SIGERROR"},
        {"result": False, "code": "SUCCESS"},
        {"result": "true", "code": "SUCCESS"},
        {"result": True, "code": "SUCCESS", "txid": "cd" * 32},
        {"code": 5},
        {"code": ["DUP_TRANSACTION_ERROR"]},
    ],
)
def test_an_answer_that_does_not_fit_is_ambiguous(answer: dict[str, object]) -> None:
    assert read_answer(answer, TXID)[2] is Reading.AMBIGUOUS


def test_the_json_calls_answer_without_a_code_and_with_a_message_in_hex() -> None:
    assert read_answer({"result": True, "txid": TXID}, TXID) == ("SUCCESS", "", Reading.POOLED)
    answer = {"code": "SIGERROR", "txid": TXID, "message": b"Validate signature error".hex()}
    assert read_answer(answer, TXID) == ("SIGERROR", "Validate signature error", Reading.REFUSED)


@pytest.mark.parametrize("failure", [TIMEOUT, RESET, CUT, REFUSED, http(403), http(429), http(500), http(503)])
def test_no_answer_is_ambiguous(failure: object) -> None:
    code, _, reading = read_failure(failure)  # type: ignore[arg-type]
    assert reading is Reading.AMBIGUOUS
    assert code in {"timeout", "reset", "garbled", "refused", "http 403", "http 429", "http 500", "http 503"}


def test_words_of_another_version_are_ambiguous() -> None:
    assert Reading("words that an older version stored") is Reading.AMBIGUOUS
