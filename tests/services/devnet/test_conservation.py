"""TRX are neither made nor lost: whatever happens, all there is adds up to block 0's supply and the rewards since."""

from collections import Counter
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from services.devnet import delegations, rewards, witnesses
from services.devnet.chain import Chain, Fate
from services.devnet.genesis import SUPPLY_SUN, account_batch, candidates, genesis_witnesses
from services.devnet.incoming import Incoming
from services.devnet.permissions import DEFAULT_OPERATIONS
from services.devnet.refusals import Refusal
from services.devnet.settings import DevnetSettings
from services.devnet.state import Account
from services.devnet.store import Store
from services.protocol.address import Address
from services.protocol.contracts import (
    AccountCreate,
    AccountPermissionUpdate,
    CancelAllUnfreezeV2,
    Contract,
    DelegateResource,
    FreezeBalanceV2,
    Key,
    Permission,
    PermissionType,
    Resource,
    Transfer,
    UnDelegateResource,
    UnfreezeBalanceV2,
    Vote,
    VoteWitness,
    WithdrawBalance,
    WithdrawExpireUnfreeze,
)
from services.protocol.signature import sign
from services.protocol.transaction import RawData, SignedTransaction, ref_block

KEYS = account_batch(0, 4) + account_batch(4_000_000, 4)
"""Four rich accounts and four that are not activated yet."""

CANDIDATES = [witness.address for witness in genesis_witnesses()[:2]] + [candidates()[0].address.raw]
STAKED = (Resource.BANDWIDTH, Resource.ENERGY)
TRX = 1_000_000
DAY_SLOTS = 28_800

MEMOS = st.sampled_from([b"", b"memo"])
AMOUNTS = st.one_of(
    st.integers(-2, 3),
    st.integers(1, 3_000_000),
    st.integers(990_000_000_000, 1_000_000_000_000),
    st.sampled_from([1_100_000, 1_000_000_000_000, (1 << 63) - 1]),
)
STAKES = st.sampled_from([1, TRX, 2_500_000, 1_000 * TRX, 50_000 * TRX, 100_000 * TRX, 150_000 * TRX])
ACCOUNTS, STAKERS = (
    st.integers(0, 7).map(lambda at: KEYS[at].address),
    st.integers(0, 3).map(lambda at: KEYS[at].address),
)
RESOURCES = st.sampled_from([*STAKED, *STAKED, Resource.TRON_POWER])
VOTES = st.lists(
    st.builds(
        Vote,
        st.sampled_from(CANDIDATES).map(Address),
        st.sampled_from([1, 7, 1_000, 300_000]),
    ),
    max_size=3,
).map(tuple)


def permissions(owner: Address, other: Address) -> AccountPermissionUpdate:
    """Permissions that leave the account's own key enough weight."""
    keys = (Key(owner, 2),) if owner == other else (Key(owner, 2), Key(other, 1))
    return AccountPermissionUpdate(
        owner,
        Permission(PermissionType.Owner, "owner", 2, keys),
        None,
        (Permission(PermissionType.Active, "active", 2, keys, DEFAULT_OPERATIONS),),
    )


TRANSFERS = st.builds(Transfer, ACCOUNTS, ACCOUNTS, AMOUNTS)
NATIVE = st.one_of(
    st.builds(AccountCreate, STAKERS, ACCOUNTS),
    st.builds(FreezeBalanceV2, STAKERS, STAKES, RESOURCES),
    st.builds(FreezeBalanceV2, STAKERS, STAKES, RESOURCES),
    st.builds(UnfreezeBalanceV2, STAKERS, STAKES, RESOURCES),
    st.builds(WithdrawExpireUnfreeze, STAKERS),
    st.builds(CancelAllUnfreezeV2, STAKERS),
    st.builds(DelegateResource, STAKERS, RESOURCES, STAKES, STAKERS, st.booleans(), st.sampled_from([0, 1, 5])),
    st.builds(UnDelegateResource, STAKERS, RESOURCES, STAKES, st.just(KEYS[3].address)),
    st.builds(VoteWitness, STAKERS, VOTES),
    st.builds(WithdrawBalance, STAKERS),
    st.builds(permissions, STAKERS, ACCOUNTS),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.one_of(TRANSFERS, NATIVE, NATIVE), MEMOS, st.sampled_from([0, 2])),
        st.tuples(st.just("mine"), st.integers(1, 3), st.sampled_from([0, 1, 100, DAY_SLOTS, 14 * DAY_SLOTS])),
        st.tuples(st.just("fork"), st.integers(1, 2), st.sampled_from(Fate)),
    ),
    min_size=15,
    max_size=40,
)


def prologue() -> list[Contract]:
    """Stakes, delegations and votes from which everything else can be tried."""
    owners = [key.address for key in KEYS[:3]]
    stakes = [FreezeBalanceV2(owner, 300_000 * TRX, kind) for owner in owners for kind in STAKED]
    lent = [
        DelegateResource(owner, kind, 100_000 * TRX, KEYS[3].address, lock, 5)
        for owner in owners
        for kind in STAKED
        for lock in (False, True)
    ]
    votes = [VoteWitness(owner, (Vote(Address(CANDIDATES[0]), 300_000),)) for owner in owners]
    return [*stakes, *lent, *votes]


class StandingClock:
    def now(self) -> datetime:
        return datetime(2026, 11, 20, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nobody sleeps {seconds} s here")


def signed(chain: Chain, stamp: int, contract: Contract, memo: bytes, permission_id: int) -> Incoming:
    ref_bytes, ref_hash = ref_block(chain.solid.number, chain.solid.id)
    raw = RawData(
        contract,
        ref_block_bytes=ref_bytes,
        ref_block_hash=ref_hash,
        expiration_ms=chain.head.time_ms + 30_000,
        timestamp_ms=stamp,
        memo=memo,
        permission_id=permission_id,
    ).encode()
    unsigned = Incoming.decode(SignedTransaction(raw, ()).encode())
    key = next(key for key in KEYS if key.address == contract.owner)
    return Incoming(unsigned.raw, (sign(unsigned.txid, key.private_key),), unsigned.fields)


def held_sun(account: Account) -> int:
    """All TRX of an account: to spend, staked, on its way back, and earned."""
    unfreezing_sun = sum(item.amount_sun for item in account.unfreezing)
    return account.balance_sun + account.tron_power_sun + unfreezing_sun + account.allowance_sun


def check(chain: Chain) -> None:
    """Everything that must add up after a block."""
    # As it is on disk.
    source, counters = chain.state_after(chain.head), chain.head.counters
    accounts, known = list(chain.store.accounts()), witnesses.load(source)
    held = sum(map(held_sun, accounts)) + sum(witness.allowance_sun for witness in known)
    assert held + counters.voters_sun + counters.burnt_sun == SUPPLY_SUN + counters.minted_sun
    assert all(account.balance_sun >= 0 for account in accounts)
    for resource in STAKED:
        stakes = {account.address: account.stake(resource) for account in accounts}
        assert counters.weight(resource) == sum(stake.weight for stake in stakes.values())
        assert all(min(stake.own_sun, stake.delegated_sun, stake.used) >= 0 for stake in stakes.values())
        lent, borrowed = Counter[bytes](), Counter[bytes]()
        for owner in stakes:
            for receiver in delegations.partners(source, owner)[1]:
                for locked in (False, True):
                    found = delegations.find(source, owner, receiver, locked=locked)
                    lent[owner] += found.sun(resource) if found else 0
                    borrowed[receiver] += found.sun(resource) if found else 0
        assert all(stake.delegated_sun == lent[address] for address, stake in stakes.items())
        assert all(stake.acquired_sun == borrowed[address] for address, stake in stakes.items())
    # Nobody can claim what nobody was paid for.
    claims = sum(rewards.owed_sun(source, account) - account.allowance_sun for account in accounts)
    assert claims - sum(witness.allowance_sun for witness in known) <= counters.voters_sun


@given(STEPS)
@settings(max_examples=50, deadline=None)
def test_all_trx_are_accounted_for_after_every_block(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    store = Store(None)
    store.open()
    try:
        chain = Chain(store, StandingClock(), DevnetSettings(block_interval_ms=0, solid_lag=2))
        accepted = 10
        for stamp, contract in enumerate(prologue(), start=1_000_000):
            chain.submit(signed(chain, stamp, contract, b"", 0))
            accepted += 1
        for _ in range(3):
            chain.produce(missed=100)
            check(chain)
        for stamp, (kind, *step) in enumerate(steps, start=1):
            if kind == "mine":
                blocks, missed = step
                for made in range(blocks):
                    chain.produce(missed=0 if made else missed)
                    check(chain)
                continue
            if kind == "fork":
                chain.fork(*step)
                check(chain)
                continue
            try:
                chain.submit(signed(chain, stamp, *step))
                accepted += 1
            except Refusal:
                continue
        for _ in range(3):
            chain.produce()
            check(chain)
        # The pool promised it, so a block has it: nothing that was taken is refused afterwards. (Only a fork and what
        # waits behind an update of permissions change the order, and with it what somebody can afford.)
        assert not chain.pool
        taken = chain.head.counters.transactions
        assert taken <= accepted
        if not any(step[0] == "fork" or isinstance(step[1], AccountPermissionUpdate) for step in steps):
            assert taken == accepted
    finally:
        store.close()
