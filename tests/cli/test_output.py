"""What is printed cannot steer a terminal, and programs can read it."""

import json
import os
import subprocess
import sys

import pytest

from lucid_tron_console import output
from services.kit.errors import Invalid


@pytest.mark.parametrize(
    "evil", ["\x1b[2J", "\x1b]52;c;eA==\x07", "\x9b31m", "a\rb", "\u202egnp.exe", "\u200b", "\ud800"]
)
def test_control_and_direction_characters_are_shown_as_replacements(evil: str) -> None:
    cleaned = output.clean(evil)
    assert "\ufffd" in cleaned
    assert all(char.isprintable() or char == "\ufffd" for char in cleaned)


def test_ordinary_text_stays_as_it_is() -> None:
    assert output.clean("Grüße, 東京 12.5") == "Grüße, 東京 12.5"


def test_a_table_sets_numbers_flush_right() -> None:
    assert output.table(("id", "amount"), [("P-1", "1.00"), ("P-10", "12.50")], ("amount",)) == [
        "id    amount",
        "P-1     1.00",
        "P-10   12.50",
    ]


def test_what_is_unknown_is_left_out() -> None:
    assert output.facts([("id", "P-1"), ("txid", None), ("memo", "")]) == ["id  P-1"]


def test_a_letter_that_the_terminal_does_not_have_is_no_reason_to_lose_the_rest() -> None:
    script = "from lucid_tron_console import output; output.data('text', None, ['Grüße', 'and the rest'])"
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=True
    )
    assert done.stdout.splitlines() == [b"Gr\\xfc\\xdfe", b"and the rest"]


def test_a_note_is_json_beside_json(capsys: pytest.CaptureFixture[str]) -> None:
    output.note("text", "hello")
    output.note("json", "hello")
    assert capsys.readouterr().err == 'hello\n{"note": "hello"}\n'


def test_an_error_names_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    error = Invalid("two fields are wrong", fields=[("to", "no address"), ("amount", "too small\x1b[0m")])
    output.problem("text", error)
    assert capsys.readouterr().err.splitlines() == [
        "error: two fields are wrong",
        "  to: no address",
        "  amount: too small\ufffd[0m",
    ]
    output.problem("json", error)
    assert json.loads(capsys.readouterr().err)["fields"][0] == {"field": "to", "message": "no address"}
