"""Retry: what may pass is repeated with growing, random pauses; everything else is not."""

import pytest

from services.kit.clock import Clock
from services.kit.errors import Conflict, LucidError, TooManyRequests, Unavailable
from services.kit.metrics import Metrics
from services.kit.retry import RetryPolicy, retry


class Calls:
    """Fails with each of its errors in turn, then answers."""

    def __init__(self, *errors: LucidError) -> None:
        self.errors = list(errors)
        self.count = 0

    async def __call__(self) -> str:
        self.count += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


async def test_a_passing_failure_is_repeated_and_counted(clock: Clock) -> None:
    calls, metrics = Calls(Unavailable("a"), Unavailable("b")), Metrics("test")
    assert await retry(calls, RetryPolicy(attempts=3), clock=clock, metrics=metrics) == "done"
    assert (calls.count, metrics.retries_total) == (3, 2)
    assert b'retry_attempts_total{reason="unavailable",service="test"} 2.0' in metrics.text()


async def test_the_last_failure_is_raised_as_it_was(clock: Clock) -> None:
    calls = Calls(*(Unavailable(str(number)) for number in range(5)))
    with pytest.raises(Unavailable, match="2"):
        await retry(calls, RetryPolicy(attempts=3), clock=clock)


async def test_what_will_not_pass_is_not_repeated(clock: Clock) -> None:
    calls = Calls(Conflict("used"))
    with pytest.raises(Conflict):
        await retry(calls, clock=clock)
    assert calls.count == 1


async def test_a_rate_limit_is_waited_for(clock: Clock) -> None:
    calls = Calls(TooManyRequests("slow down", retry_after_s=20), TooManyRequests("slow down"))
    assert await retry(calls, RetryPolicy(attempts=3, first_delay_s=0.1), clock=clock) == "done"
    assert clock.slept[0] >= 20  # type: ignore[attr-defined]
    assert clock.slept[1] >= 5  # type: ignore[attr-defined]


async def test_pauses_stay_within_the_policy(clock: Clock) -> None:
    calls = Calls(*(Unavailable(str(number)) for number in range(9)))
    await retry(calls, RetryPolicy(attempts=10, first_delay_s=1, max_delay_s=4), clock=clock)
    assert all(0 <= pause <= 4 for pause in clock.slept)  # type: ignore[attr-defined]
    assert len(set(clock.slept)) > 1  # type: ignore[attr-defined]
