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
from services.protocol.contracts import AccountCreate, Contract, DelegateResource, FreezeBalanceV2, Resource

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


def stake(chain: Chain, build: Build, owner: KnownKey, amount_sun: int, *, lent_to: KnownKey | None = None) -> None:
    """Stake for bandwidth, and lend half of it."""
    contracts: list[Contract] = [FreezeBalanceV2(owner.address, amount_sun, Resource.BANDWIDTH)]
    if lent_to:
        contracts.append(DelegateResource(owner.address, Resource.BANDWIDTH, amount_sun // 2, lent_to.address))
    for contract in contracts:
        chain.submit(build(chain, owner, owner.address, contract=contract))
        chain.produce()


def test_lent_bandwidth_pays_before_the_free_allowance(chain: Chain, accounts: Keys, build: Build) -> None:
    lender, borrower, whale, to = accounts[:4]
    stake(chain, build, whale, 863_980 * 1_000_000)
    stake(chain, build, lender, 20_000_000, lent_to=borrower)
    account = chain.pending.account(borrower.address.raw)
    assert account is not None
    # 10 of 864,000 TRX, a share of 43.2 G bytes a day.
    assert resources.limit(account.bandwidth, Resource.BANDWIDTH, chain.pending.counters) == 500_000
    sent = [build(chain, borrower, to.address, amount) for amount in range(1, 4)]
    for transaction in sent:
        chain.submit(transaction)
    chain.produce()
    assert [fee for _, fee in fees(chain, sent)] == [0, 0, 0]
    account = chain.pending.account(borrower.address.raw)
    assert account is not None
    assert (account.free_net_used, account.bandwidth.used) == (0, sum(usage for usage, _ in fees(chain, sent)))


def test_each_pool_pays_all_bytes_or_none(chain: Chain, accounts: Keys, build: Build) -> None:
    transaction = build(chain, accounts[0], accounts[1].address, 1)
    size = transaction.size + 64
    # With so much staked a TRX gives a byte a day: own and borrowed ones give enough for one transaction, not for two.
    state = State(Nowhere(total_net_weight=43_200_000_000))
    given = Stake(own_sun=200_000_000, acquired_sun=(size - 200 + 1) * 1_000_000)
    state.create(Account(accounts[0].address.raw, balance_sun=10_000_000, bandwidth=given))
    bills = [bandwidth.charge(state, transaction, chain.context, activates=False) for _ in range(4)]
    # Staked, then twice free, then in full from the balance.
    expected = [(size, 0), (size, 0), (size, 0), (0, size * 1_000)]
    assert [(bill.net_usage, bill.net_fee_sun) for bill in bills] == expected
    assert state.counters.burnt_sun == size * 1_000


def test_an_activation_is_paid_by_staked_bandwidth_or_a_tenth_of_a_trx(
    chain: Chain, accounts: Keys, strangers: Keys, build: Build
) -> None:
    own = accounts[0]
    stake(chain, build, own, 1_000_000)
    new = [build(chain, own, key.address, contract=AccountCreate(own.address, key.address)) for key in strangers[:1]]
    for transaction in new:
        chain.submit(transaction)
    chain.produce()
    assert fees(chain, new) == [(new[0].size + 64, 0)]
    stored = chain.store.transaction(new[0].txid)
    assert stored is not None
    assert stored.receipt.fee_sun == 1_000_000


def test_windows_are_java_trons_to_the_unit() -> None:
    first = resources.use(Stake(own_sun=1), 1_000, 0)
    assert (first.used, first.window, first.slot) == (1_000, 28_800_000, 0)
    # java-tron's `increaseV2`, step by step: averages of a millionth a slot, rounded up, the old one decayed ...
    second = resources.use(first, 500, 100)
    old, new = round(34_723 * (28_700 / 28_800)), 17_362
    assert second.used == (old * 28_800 + new * 28_800) // 1_000_000 == 1_496
    # ... and windows joined by what is left of each use.
    left = old * 28_800 // 1_000_000
    assert left == 996
    assert second.window == -(-(left * 28_700_000 + 500 * 28_800_000) // 1_496) == 28_733_423


def test_a_use_in_thousandths_of_a_slot_goes_on_where_it_was() -> None:
    stake = Stake(used=1_000, slot=0, window=10_500)
    # Ten whole slots and a half recover in ten.
    assert [resources.used(stake, slot) for slot in (0, 5, 9, 10)] == [1_000, 500, 100, 0]
    assert resources.refreshed(stake, 0, 5) == Stake(used=500, slot=0, window=5_500)
    assert resources.refreshed(stake, 0, 10) == Stake(used=0, slot=0, window=28_800_000)
    # Less than a slot counts as a day.
    assert resources.used(Stake(used=1_000, window=999), DAY_SLOTS // 2) == 500
