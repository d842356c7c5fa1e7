"""Leases on unlocked keys, and the toll on wrong guesses, under a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from services.kit.errors import TooManyRequests
from services.wallet.vault import Guesses, Vault

if TYPE_CHECKING:
    from tests.services.wallet.conftest import Bench, ManualClock


@pytest.fixture
def clock(bench: Bench) -> ManualClock:
    return bench.clock


@pytest.fixture
def ended() -> list[str]:
    return []


@pytest.fixture
async def vault(clock: ManualClock, ended: list[str]) -> AsyncIterator[Vault]:
    made = Vault(clock, ended.append)
    yield made
    made.lock_all()


async def test_key_is_wiped_when_its_lease_ends(vault: Vault, clock: ManualClock, ended: list[str]) -> None:
    key = bytearray(b"k" * 32)
    vault.put("hot", key, 60)
    await clock.advance(59)
    assert vault.key("hot") is key
    assert not ended
    await clock.advance(1)
    assert ended == ["hot"]
    assert not any(key)
    assert vault.key("hot") is None


async def test_lease_ends_in_time_even_when_its_timer_is_late(
    vault: Vault, clock: ManualClock, ended: list[str]
) -> None:
    vault.put("hot", bytearray(32), 60)
    clock.seconds += 60  # the timer has not run yet
    assert vault.key("hot") is None
    assert ended == ["hot"]
    await clock.advance(60)
    assert ended == ["hot"]


async def test_lease_without_end_does_not_end(vault: Vault, clock: ManualClock) -> None:
    vault.put("hot", bytearray(32), None)
    await clock.advance(10 * 365 * 86400)
    assert vault.is_open("hot")
    assert vault.until("hot") is None


@pytest.mark.parametrize(("first", "second", "lasts_s"), [(60, 600, 600), (600, 60, 600), (None, 60, None)])
async def test_the_later_end_counts(
    vault: Vault, clock: ManualClock, first: float | None, second: float | None, lasts_s: float | None
) -> None:
    vault.put("hot", bytearray(32), first)
    vault.put("hot", bytearray(32), second)
    await clock.advance((lasts_s or 10_000) - 1)
    assert vault.is_open("hot")
    await clock.advance(1)
    assert vault.is_open("hot") is (lasts_s is None)


async def test_locking_wipes_and_can_be_repeated(vault: Vault, clock: ManualClock, ended: list[str]) -> None:
    keys = [bytearray(b"a" * 32), bytearray(b"b" * 32), bytearray(b"c" * 32)]
    for name, key, lease_s in zip("abc", keys, (60, None, 60), strict=True):
        vault.put(name, key, lease_s)
    assert vault.lock("a")
    assert not vault.lock("a")
    assert vault.lock_all() == ["b", "c"]
    assert not any(any(key) for key in keys)
    assert len(vault) == 0
    await clock.advance(60)
    assert not ended  # locked by hand: no lease has ended


async def test_unlocked_again_keeps_the_new_lease(vault: Vault, clock: ManualClock) -> None:
    vault.put("hot", bytearray(32), 60)
    vault.lock("hot")
    vault.put("hot", bytearray(32), 120)
    await clock.advance(60)
    assert vault.is_open("hot")


async def test_wrong_guesses_wait_longer_and_longer(clock: ManualClock) -> None:
    guesses = Guesses(clock)
    pauses = []
    for _ in range(10):
        guesses.check("hot")
        guesses.wrong("hot")
        before = clock.seconds
        while True:
            try:
                guesses.check("hot")
            except TooManyRequests:
                await clock.advance(1)
            else:
                break
        pauses.append(clock.seconds - before)
    assert pauses == [0, 0, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_right_guess_clears_and_other_wallets_are_not_concerned(clock: ManualClock) -> None:
    guesses = Guesses(clock)
    for _ in range(3):
        guesses.wrong("hot")
    guesses.check("other")
    with pytest.raises(TooManyRequests, match="3 wrong passphrases for hot in a row: wait 2 s") as caught:
        guesses.check("hot")
    assert caught.value.extra == {"retry_after_s": 2.0}
    guesses.right("hot")
    guesses.check("hot")
