"""TRX are neither made nor lost: after random transfers all balances and burnt fees add up to the genesis supply."""

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from services.devnet.chain import Chain
from services.devnet.genesis import SUPPLY_SUN, account_batch
from services.devnet.incoming import Incoming
from services.devnet.refusals import Refusal
from services.devnet.settings import DevnetSettings
from services.devnet.store import Store
from services.protocol.contracts import Transfer
from services.protocol.signature import sign
from services.protocol.transaction import RawData, SignedTransaction, ref_block

KEYS = account_batch(0, 4) + account_batch(4_000_000, 4)
"""Four rich accounts and four that are not activated yet."""

MEMOS = st.sampled_from([b"", b"memo"])
AMOUNTS = st.one_of(
    st.integers(-2, 3),
    st.integers(1, 3_000_000),
    st.integers(990_000_000_000, 1_000_000_000_000),
    st.sampled_from([1_100_000, 1_000_000_000_000, (1 << 63) - 1]),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 7), st.integers(0, 7), AMOUNTS, MEMOS, st.sampled_from([0, 2])),
        st.tuples(st.just("mine"), st.integers(1, 3)),
    ),
    min_size=1,
    max_size=30,
)


class StandingClock:
    def now(self) -> datetime:
        return datetime(2026, 11, 20, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nobody sleeps {seconds} s here")


def transfer(chain: Chain, stamp: int, step: tuple[int, int, int, bytes, int]) -> Incoming:
    sender, to, amount_sun, memo, permission_id = step
    ref_bytes, ref_hash = ref_block(chain.solid.number, chain.solid.id)
    raw = RawData(
        Transfer(KEYS[sender].address, KEYS[to].address, amount_sun),
        ref_block_bytes=ref_bytes,
        ref_block_hash=ref_hash,
        expiration_ms=chain.head.time_ms + 30_000,
        timestamp_ms=stamp,
        memo=memo,
        permission_id=permission_id,
    ).encode()
    unsigned = Incoming.decode(SignedTransaction(raw, ()).encode())
    return Incoming(raw, (sign(unsigned.txid, KEYS[sender].private_key),), unsigned.fields)


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_all_trx_are_accounted_for_after_every_block(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    store = Store(None)
    store.open()
    try:
        chain = Chain(store, StandingClock(), DevnetSettings(block_interval_ms=0, solid_lag=2))
        accepted = 10
        for stamp, (kind, *step) in enumerate(steps, start=1):
            if kind == "mine":
                for _ in range(step[0]):
                    chain.produce()
                    assert store.balances_sun() + chain.head.counters.burnt_sun == SUPPLY_SUN
                continue
            try:
                chain.submit(transfer(chain, stamp, tuple(step)))
                accepted += 1
            except Refusal:
                continue
        chain.produce()
        # The pool promised it, so the block has it: nothing that was taken is refused afterwards.
        assert chain.head.counters.transactions == accepted
        assert store.balances_sun() + chain.head.counters.burnt_sun == SUPPLY_SUN
        balances = [account.balance_sun for key in KEYS if (account := store.account(key.address.raw))]
        assert all(balance >= 0 for balance in balances)
    finally:
        store.close()
