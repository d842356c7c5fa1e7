"""Bandwidth: one pool pays for all bytes of a transaction, and what was used comes back over a day."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from services.devnet import bandwidth, resources
from services.devnet.chain import Chain, slot_of
from services.devnet.genesis import KnownKey
from services.devnet.incoming import Incoming
from services.devnet.refusals import ResourcesInsufficient, TooBig
from services.devnet.resources import DAY_SLOTS
from services.devnet.rules import Context
from services.devnet.state import Account, Counters, Stake, State
from services.protocol.contracts import Resource

Keys = tuple[KnownKey, ...]
Build = Callable[..., Incoming]


class Nowhere:
    """A source without accounts, with a chain that somebody staked on."""

    def __init__(self, total_net_weight: int = 0) -> None:
        self.counters = Counters(total_net_weight=total_net_weight)

    def account(self, _address: bytes) -> Account | None:
        return None

    def cell(self, _key: bytes) -> bytes | None:
        return None


def fees(chain: Chain, transactions: list[Incoming]) -> list[tuple[int, int]]:
    stored = [chain.store.transaction(transaction.txid) for transaction in transactions]
    return [(found.receipt.net_usage, found.receipt.net_fee_sun) for found in stored if found]


def test_two_transfers_a_day_are_free_and_the_third_is_paid_in_full(chain: Chain, accounts: Keys, build: Build) -> None:
    sent = [build(chain, accounts[0], accounts[1].address, amount) for amount in (1, 2, 3)]
    for transaction in sent:
        chain.submit(transaction)
    chain.produce()
    sizes = [transaction.size + 64 for transaction in sent]
    # 600 - 2 * 265 = 70 bytes are left, and not one of them counts for the third.
    assert fees(chain, sent) == [(sizes[0], 0), (sizes[1], 0), (0, sizes[2] * 1_000)]


def test_a_real_node_showed_529_after_two_transfers_of_265_and_eleven_slots() -> None:
    account = Account(b"\x41" * 21, free_net_used=265, free_net_slot=1_000)
    assert bandwidth._use_free(account, 265, 1_000)
    assert bandwidth.free_used(account, 1_000) == 530
    assert bandwidth.free_used(account, 1_011) == 529


@pytest.mark.parametrize(
    ("slots", "left"),
    [(0, 600), (1, 599), (DAY_SLOTS // 2, 300), (DAY_SLOTS - 1, 0), (DAY_SLOTS, 0), (DAY_SLOTS * 9, 0)],
)
def test_free_bandwidth_recovers_evenly_over_a_day(slots: int, left: int) -> None:
    account = Account(b"\x41" * 21, free_net_used=600, free_net_slot=50)
    assert bandwidth.free_used(account, 50 + slots) == left


def test_free_bandwidth_is_back_after_a_day(
    chain: Chain, accounts: Keys, build: Build, advance: Callable[[float], None]
) -> None:
    for day in range(2):
        sent = [build(chain, accounts[0], accounts[1].address, 10 * day + amount) for amount in (1, 2)]
        for transaction in sent:
            chain.submit(transaction)
        chain.produce()
        assert [fee for _, fee in fees(chain, sent)] == [0, 0]
        advance(24 * 3600)
        chain.produce()


def test_staked_bandwidth_goes_first_and_recovers_in_its_window() -> None:
    # One of 43,200 TRX staked gives a million bytes a day.
    state = State(Nowhere(total_net_weight=43_200))
    account = Account(b"\x41" * 21, bandwidth=Stake(own_sun=1_000_000))
    assert resources.limit(account.bandwidth, Resource.BANDWIDTH, state.counters) == 1_000_000
    assert bandwidth._use_staked(state, account, 400_000, 100)
    assert resources.used(account.bandwidth, 100) == 400_000
    assert resources.used(account.bandwidth, 100 + DAY_SLOTS // 2) == 200_000
    assert bandwidth._use_staked(state, account, 100_000, 100 + DAY_SLOTS // 2)
    # 200,000 bytes that recover in half a day and 100,000 in a whole one: two thirds of a day together.
    assert account.bandwidth.window == pytest.approx(DAY_SLOTS * 1_000 * 2 / 3, abs=1_000)
    assert not bandwidth._use_staked(state, account, 700_001, 100 + DAY_SLOTS // 2)


def test_nobody_has_staked_bandwidth_where_nobody_staked() -> None:
    assert resources.limit(Stake(own_sun=1_000_000), Resource.BANDWIDTH, Counters()) == 0


def test_who_cannot_pay_the_bytes_is_refused(chain: Chain, accounts: Keys, strangers: Keys, build: Build) -> None:
    chain.submit(build(chain, accounts[0], strangers[0].address, 100_000))
    chain.produce()
    for amount in (1, 2):
        chain.submit(build(chain, strangers[0], accounts[1].address, amount))
    with pytest.raises(ResourcesInsufficient) as caught:
        chain.submit(build(chain, strangers[0], accounts[1].address, 3))
    assert caught.value.answer == "Account resource insufficient error."


def test_who_cannot_pay_memo_or_activation_is_refused(
    chain: Chain, accounts: Keys, strangers: Keys, build: Build
) -> None:
    chain.submit(build(chain, accounts[0], strangers[0].address, 99_999))
    chain.produce()
    with pytest.raises(ResourcesInsufficient):
        chain.submit(build(chain, strangers[0], strangers[1].address, 1))
    with pytest.raises(ResourcesInsufficient):
        chain.submit(build(chain, strangers[0], accounts[1].address, 1, memo=b"m"))


def test_an_activating_transaction_may_not_be_large(
    chain: Chain, accounts: Keys, strangers: Keys, build: Build
) -> None:
    with pytest.raises(TooBig, match="Too big new account transaction"):
        chain.submit(build(chain, accounts[0], strangers[0].address, 1, memo=b"m" * 900))
    chain.submit(build(chain, accounts[0], accounts[1].address, 1, memo=b"m" * 900))


def test_slots_are_counted_from_block_0(chain: Chain) -> None:
    assert replace(chain.context, block=None) == Context(
        1, chain.head.time_ms, slot_of(chain.head.time_ms), is_after_maintenance=True
    )
    genesis = chain.store.block(0)
    assert genesis is not None
    assert slot_of(genesis.time_ms) == 0
