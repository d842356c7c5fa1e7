"""One thing that the doctor looked at, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a finding is meant."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing; nothing has to be done."""
    RISK = "risk"
    """Chosen by a setting that names it: never to be overlooked, but no failure of the node's."""
    BAD = "bad"
    """Something will not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    verdict: Verdict
    words: str
    advice: str = ""
    """What to do; empty when nothing has to be done."""
