"""Repeating a read that failed: which errors are worth it, how often, and how long between."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from services.kit.clock import Clock, SystemClock
from services.kit.errors import LucidError, Timeout, TooManyRequests, Unavailable, UpstreamError
from services.kit.metrics import Metrics

T = TypeVar("T")

WORTH_REPEATING: tuple[type[LucidError], ...] = (Unavailable, Timeout, UpstreamError, TooManyRequests)
"""What may pass by itself; everything else is answered the same the next time."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long. Only for calls that are safe to repeat: never for one that moves money."""

    attempts: int = 3
    first_delay_s: float = 1.0
    factor: float = 2.0
    max_delay_s: float = 30.0
    rate_limit_delay_s: float = 5.0
    """The least to wait after a 429 that does not say how long."""


class _Wait(tenacity.wait.wait_base):
    """Exponential with full jitter; after a 429, what the other side asked for."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._backoff = tenacity.wait_random_exponential(
            multiplier=policy.first_delay_s, exp_base=policy.factor, max=policy.max_delay_s
        )

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        delay = self._backoff(retry_state)
        error = retry_state.outcome.exception() if retry_state.outcome else None
        if isinstance(error, TooManyRequests):
            return delay + max(0.0, float(error.extra.get("retry_after_s", self._policy.rate_limit_delay_s)))
        return delay


async def retry(
    call: Callable[[], Awaitable[T]],
    policy: RetryPolicy | None = None,
    *,
    clock: Clock | None = None,
    metrics: Metrics | None = None,
) -> T:
    """Await `call()`, again after errors that may pass, and raise the last one when the attempts are used up."""
    policy = policy or RetryPolicy()

    def count(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if metrics is not None and isinstance(error, LucidError):
            metrics.retried(error.code)

    attempts = tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(policy.attempts),
        wait=_Wait(policy),
        retry=tenacity.retry_if_exception_type(WORTH_REPEATING),
        sleep=(clock or SystemClock()).sleep,
        before_sleep=count,
        reraise=True,
    )
    return await attempts(call)
