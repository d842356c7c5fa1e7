"""What the command line prints: data on stdout, everything else on stderr, each as text or as JSON."""

import contextlib
import io
import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from services.kit.errors import LucidError

Format = Literal["text", "json"]


def clean(value: object) -> str:
    """Text that cannot steer a terminal: control and direction characters are shown as `\ufffd`.

    A memo or a node's error is written by strangers; an escape sequence in it could clear the screen, write the
    clipboard or show an address backwards.
    """
    return "".join("\ufffd" if unicodedata.category(char) in {"Cc", "Cf", "Cs"} else char for char in str(value))


def data(output: Format, body: Any, text: Iterable[str]) -> None:
    """Print one result on stdout: `body` as one line of JSON, or the lines of `text`.

    Raises:
        BrokenPipeError: the reader is gone.
        Unwritable: stdout cannot be written for another reason.
    """
    lines = [json.dumps(body)] if output == "json" else list(text)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that has no letter for something shows it as \\u1234; that is no reason to lose the rest.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        for line in lines:
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        silence_stdout()
        raise Unwritable(
            f"the result cannot be written ({error.strerror}); the command itself was carried out"
        ) from error


def silence_stdout() -> None:
    """Send what is still buffered for stdout nowhere: nothing may be flushed into a broken one at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


class Unwritable(LucidError):
    """Stdout cannot be written."""

    code, status, title = "output_unwritable", 500, "Output cannot be written"


def note(output: Format, words: str) -> None:
    """Say something to the person, on stderr; if nobody is there any more, the work goes on all the same."""
    line = json.dumps({"note": words}) if output == "json" else words
    _say(line)


def alarm(output: Format, words: str) -> None:
    """Say something that must not be overlooked, on stderr: red where there are colours."""
    if output == "json":
        _say(json.dumps({"alarm": words}))
    else:
        _say(red(clean(words), sys.stderr))


def red(line: str, stream: TextIO) -> str:
    """The line in bold red, if it is for a terminal with colours."""
    return f"\x1b[1;31m{line}\x1b[0m" if stream.isatty() and not os.environ.get("NO_COLOR") else line


def _say(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def problem(output: Format, error: LucidError) -> None:
    """Print an error on stderr: one problem object, or one line and a line per field."""
    if output == "json":
        _say(json.dumps(error.problem()))
        return
    _say(f"error: {clean(error.message)}")
    for field, message in error.fields:
        if message not in error.message:  # it was said already
            _say(f"  {clean(field)}: {clean(message)}")


def utc(moment: datetime | None) -> str:
    """A moment for people, in UTC to the second; empty for None."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}" if moment else ""


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], right: Iterable[str] = ()) -> list[str]:
    """Lay rows out in columns; the columns named in `right` are set flush right."""
    cells = [[clean("" if value is None else value) for value in row] for row in rows]
    widths = [max(len(row[column]) for row in [list(headers), *cells]) for column in range(len(headers))]
    flush = {headers.index(name) for name in right}
    return [
        "  ".join(
            cell.rjust(width) if column in flush else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [list(headers), *cells]
    ]


def facts(pairs: Iterable[tuple[str, object]]) -> list[str]:
    """One fact a line, labels flush; what is None or empty is left out."""
    shown = [(label, clean(value)) for label, value in pairs if value not in (None, "")]
    width = max((len(label) for label, _ in shown), default=0)
    return [f"{label.ljust(width)}  {value}" for label, value in shown]
