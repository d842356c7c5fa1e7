"""Limits as a property: never exceeded in any window of chain time, whatever the clock, the order and the restarts."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from services.kit.clock import SystemClock
from services.kit.errors import Invalid
from services.kit.money import Asset
from services.kit.store import Store
from services.payout.api import Attempt, PayoutReason, PayoutState
from services.payout.jobs import Progress, order_of
from services.payout.policy import DAY_MS, HOUR_MS, Limit, Policy, Usage
from services.payout.store import MIGRATIONS, Claim, Draft, PayoutStore
from services.tron.api import JobState

MINUTE_MS = 60_000
FROM, TO = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8", "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"
POLICY = Policy(
    minimum=2,
    per_payout=60,
    hour=Limit("hour", 100, "PAYOUT_HOURLY_LIMIT"),
    day=Limit("day", 250, "PAYOUT_DAILY_LIMIT"),
    allowed=None,
    max_concurrent=0,
)
ENDS = (PayoutState.PAID, PayoutState.CANCELLED, PayoutState.DEAD, PayoutState.FAILED_ON_CHAIN)


@dataclass
class Book:
    """What a bookkeeper who sees everything knows of accepted payouts: chain time and amount, and how they ended."""

    rows: dict[int, tuple[int, int]] = field(default_factory=dict)
    ends: dict[int, PayoutState] = field(default_factory=dict)

    def used(self, now_ms: int, window_ms: int) -> int:
        counted = {seq for seq in self.rows if self.ends.get(seq) in {None, PayoutState.PAID}}
        return sum(amount for seq, (at, amount) in self.rows.items() if seq in counted and at > now_ms - window_ms)


async def accept(store: PayoutStore, key: str, amount: int, chain_ms: int) -> int:
    draft = Draft(
        key=key, body_hash=key, wallet="hot", from_address=FROM, to=TO, asset=Asset.TRX, amount=amount, memo="",
        reason=PayoutReason.CUSTOM, check_code="", by="alice",
    )  # fmt: skip
    claim = Claim(address=FROM, asset=Asset.TRX, amount=amount, fee_sun=0, block_number=1, chain_ms=chain_ms)

    def check(usage: Usage) -> None:
        if POLICY.objections(TO, Asset.TRX, amount, usage):
            raise Invalid("over a limit")

    payout, _ = await store.create(draft, claim, check, SystemClock().now(), per_wallet=0)
    return int(payout.id.removeprefix("P-"))


async def end(store: PayoutStore, key: str, amount: int, state: PayoutState) -> None:
    order = order_of(key, 1, wallet="hot", to=TO, amount_sun=amount, memo="")
    attempt = Attempt(number=1, state=JobState(state.value))
    await store.advance(
        Progress(order=order, owner=FROM, state=state, waiting="", attempt=attempt), SystemClock().now()
    )


moves = st.lists(
    st.one_of(
        st.tuples(st.just("pay"), st.integers(1, 70), st.integers(-90 * MINUTE_MS, 9 * HOUR_MS)),
        st.tuples(st.just("end"), st.integers(0, 40), st.sampled_from(ENDS)),
        st.tuples(st.just("restart"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=40)
@given(moves)
def test_no_window_of_chain_time_holds_more_than_its_limit(script: list[tuple[str, int, int | PayoutState]]) -> None:
    """Time jumps forwards and back, payouts end or stay open, the router restarts: the sums hold all the same."""
    with TemporaryDirectory() as home:
        asyncio.run(_play(Path(home) / "payouts.db", script))


async def _play(path: Path, script: list[tuple[str, int, int | PayoutState]]) -> None:
    book, now_ms = Book(), 10 * DAY_MS
    store = PayoutStore(Store(path, MIGRATIONS))
    await store.open("devnet")
    for number, (move, first, second) in enumerate(script):
        if move == "restart":
            await store.close()
            store = PayoutStore(Store(path, MIGRATIONS))
            await store.open("devnet")
        elif move == "end" and first in book.rows and isinstance(second, PayoutState):
            await end(store, (await store.get(first)).key, book.rows[first][1], second)
            book.ends.setdefault(first, second)  # the first end is the one that holds
        elif move == "pay" and isinstance(second, int):
            now_ms += second
            fits = (
                2 <= first <= 60
                and book.used(now_ms, HOUR_MS) + first <= 100
                and book.used(now_ms, DAY_MS) + first <= 250
            )
            try:
                seq = await accept(store, f"k-{number}", first, now_ms)
            except Invalid:
                assert not fits
            else:
                assert fits
                book.rows[seq] = (now_ms, first)
    await store.close()
