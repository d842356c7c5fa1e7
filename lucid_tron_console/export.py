"""Lists and screens as files in the home: CSV, JSON and SVG."""

import csv
import io
import json
import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

_NOT_IN_A_NAME = re.compile(r"[^a-z0-9-]+")

KINDS = ("csv", "json", "svg")
"""What can be written."""


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV (RFC 4180). A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    out = io.StringIO(newline="")
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(out, names)
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list | tuple):
        value = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value[:1] in set("=+-@\t\r"):
        return f"'{value}"
    return value


def as_json(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a JSON array."""
    return json.dumps(list(rows), indent=2, ensure_ascii=False, default=str) + "\n"


def write(directory: Path, name: str, kind: str, content: str, at: datetime) -> Path:
    """Write a file that only its owner reads (0600); an existing one is never overwritten. Returns its path."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    stem = _NOT_IN_A_NAME.sub("-", name.lower()).strip("-") or "screen"
    for number in range(1, 1000):
        suffix = "" if number == 1 else f"-{number}"
        path = directory / f"{stem}-{at:%Y%m%d-%H%M%S}{suffix}.{kind}"
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(content)
        return path
    raise FileExistsError(f"too many exports in {directory}")
