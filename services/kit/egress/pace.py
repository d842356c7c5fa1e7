"""How long an answer may take before it is worth asking a second time: learned from the answers, within a budget."""

from collections import deque

SAMPLES = 100
"""Answers that are remembered."""
FEWEST = 10
"""Below so many answers nothing is known, and the caller's own figure counts."""
SHARE = 0.95
"""A second question goes out when this share of the answers had come."""

SHORTEST_S = 0.02
"""Nobody is asked twice sooner than this."""
EARNED = 0.1
"""What each question earns towards a second one: in the long run one in ten is asked twice at most."""
MOST_SAVED = 5.0
"""Second questions that may be asked in a row, as when a path breaks under load."""


class Pace:
    """The pace of one endpoint: its 95th percentile, and what may be spent on second questions."""

    def __init__(self, first_guess_s: float) -> None:
        """Begin with `first_guess_s` as the patience, until enough is known."""
        self._first_guess_s = first_guess_s
        self._taken: deque[float] = deque(maxlen=SAMPLES)
        self._saved = MOST_SAVED

    def learn(self, seconds: float) -> None:
        """Take in how long a question took; for one that was given up, how long it had been waited for.

        Without the latter, the slow ones would never be learned, and more and more would be asked twice.
        """
        self._taken.append(seconds)

    @property
    def p95_s(self) -> float | None:
        """The 95th percentile, or None while too little is known."""
        if len(self._taken) < FEWEST:
            return None
        ordered = sorted(self._taken)
        return ordered[min(len(ordered) - 1, int(SHARE * len(ordered)))]

    @property
    def median_s(self) -> float | None:
        """The median, or None while nothing is known."""
        ordered = sorted(self._taken)
        return ordered[len(ordered) // 2] if ordered else None

    @property
    def patience_s(self) -> float:
        """How long to wait before asking a second time; never longer than the first guess."""
        p95_s = self.p95_s
        return self._first_guess_s if p95_s is None else min(max(p95_s, SHORTEST_S), self._first_guess_s)

    def earn(self) -> None:
        """Count one question."""
        self._saved = min(MOST_SAVED, self._saved + EARNED)

    def spend(self) -> bool:
        """Take what a second question costs; False if there is not enough."""
        if self._saved < 1:
            return False
        self._saved -= 1
        return True
