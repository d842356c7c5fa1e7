"""Staking, unstaking, withdrawing, staying after all: every refusal in java-tron's order and words, every effect."""

from typing import Any

import pytest

from services.devnet.genesis import KnownKey, witnesses
from services.devnet.state import Stake, Unfreezing
from services.protocol.contracts import (
    CancelAllUnfreezeV2,
    FreezeBalanceV2,
    Resource,
    UnfreezeBalanceV2,
    VoteWitness,
    WithdrawExpireUnfreeze,
)

Keys = tuple[KnownKey, ...]
BANDWIDTH, ENERGY, TRON_POWER = Resource
TRX = 1_000_000
INVALID = "Contract validate error : "
DAY_MS = 86_400_000
WITNESSES = witnesses()[:3]


@pytest.fixture
def owner(world: Any, accounts: Keys) -> bytes:
    address: bytes = world.add(accounts[0], 100 * TRX)
    return address


# --- freezing ---


def test_freezing_is_refused_in_java_trons_order(world: Any, owner: bytes, strangers: Keys) -> None:
    def refusal(**values: Any) -> str:
        words: str = world.refusal(FreezeBalanceV2, **values)
        return words.removeprefix(INVALID)

    nobody = strangers[0].address
    assert refusal(owner=b"", amount_sun=-1) == "Invalid address"
    assert refusal(owner=b"\x42" + bytes(20), amount_sun=-1) == "Invalid address"
    assert refusal(owner=nobody.raw, amount_sun=-1) == f"Account[{nobody.hex}] not exists"
    assert refusal(owner=owner, resource=2) == "frozenBalance must be positive"
    assert refusal(owner=owner, amount_sun=-1, resource=2) == "frozenBalance must be positive"
    below = "frozenBalance must be greater than or equal to 1 TRX"
    assert refusal(owner=owner, amount_sun=TRX - 1, resource=2) == below
    above = "frozenBalance must be less than or equal to accountBalance"
    assert refusal(owner=owner, amount_sun=100 * TRX + 1, resource=2) == above
    kinds = "ResourceCode error, valid ResourceCode[BANDWIDTH、ENERGY]"
    assert refusal(owner=owner, amount_sun=TRX, resource=2) == kinds
    assert refusal(owner=owner, amount_sun=TRX, resource=3) == kinds


@pytest.mark.parametrize("resource", [BANDWIDTH, ENERGY])
def test_freezing_moves_trx_into_the_stake_and_counts_whole_trx(world: Any, owner: bytes, resource: Resource) -> None:
    total_sun = world.total_sun()
    receipt = world.run(FreezeBalanceV2, owner=owner, amount_sun=TRX + 600_000, resource=resource)
    assert receipt.fee_sun == 0
    assert world.account(owner).balance_sun == 98_400_000
    assert world.account(owner).stake(resource) == Stake(own_sun=1_600_000)
    assert world.state.counters.weight(resource) == 1
    world.run(FreezeBalanceV2, owner=owner, amount_sun=TRX + 400_000, resource=resource)
    # 1.6 and 1.4 TRX are three whole ones together.
    assert world.state.counters.weight(resource) == 3
    assert world.account(owner).tron_power_sun == 3 * TRX
    assert world.total_sun() == total_sun


# --- unfreezing ---


def test_unfreezing_is_refused_in_java_trons_order(world: Any, owner: bytes, strangers: Keys) -> None:
    def refusal(**values: Any) -> str:
        words: str = world.refusal(UnfreezeBalanceV2, **values)
        return words.removeprefix(INVALID)

    nobody = strangers[0].address
    assert refusal(owner=b"\x41") == "Invalid address"
    assert refusal(owner=nobody.raw) == f"Account[{nobody.hex}] does not exist"
    assert refusal(owner=owner, resource=0) == "no frozenBalance(BANDWIDTH)"
    assert refusal(owner=owner, resource=1) == "no frozenBalance(Energy)"
    kinds = "ResourceCode error.valid ResourceCode[BANDWIDTH、Energy]"
    assert refusal(owner=owner, resource=2) == kinds
    assert refusal(owner=owner, resource=7) == kinds
    world.run(FreezeBalanceV2, owner=owner, amount_sun=40 * TRX, resource=ENERGY)
    for amount_sun in (0, -1, 40 * TRX + 1):
        words = f"Invalid unfreeze_balance, [{amount_sun}] is error"
        assert refusal(owner=owner, amount_sun=amount_sun, resource=1) == words
    for _ in range(32):
        world.run(UnfreezeBalanceV2, owner=owner, amount_sun=1, resource=ENERGY)
    over = "Invalid unfreeze operation, unfreezing times is over limit"
    assert refusal(owner=owner, amount_sun=1, resource=1) == over
    # What is free already does not count.
    world.wait(ms=14 * DAY_MS)
    assert world.run(UnfreezeBalanceV2, owner=owner, amount_sun=1, resource=ENERGY).unfrozen_sun == 32


def test_unfreezing_takes_14_days_and_claims_what_is_free(world: Any, owner: bytes) -> None:
    world.run(FreezeBalanceV2, owner=owner, amount_sun=10 * TRX + 500_000, resource=BANDWIDTH)
    start_ms = world.context.head_ms
    assert world.run(UnfreezeBalanceV2, owner=owner, amount_sun=3 * TRX, resource=BANDWIDTH).unfrozen_sun == 0
    account = world.account(owner)
    assert account.unfreezing == (Unfreezing(0, 3 * TRX, start_ms + 14 * DAY_MS),)
    assert (account.balance_sun, account.bandwidth.own_sun) == (89_500_000, 7_500_000)
    assert world.state.counters.total_net_weight == 7
    world.wait(ms=14 * DAY_MS)
    receipt = world.run(UnfreezeBalanceV2, owner=owner, amount_sun=TRX, resource=BANDWIDTH)
    assert receipt.unfrozen_sun == 3 * TRX
    account = world.account(owner)
    assert account.balance_sun == 92_500_000
    assert account.unfreezing == (Unfreezing(0, TRX, start_ms + 28 * DAY_MS),)


def test_votes_shrink_evenly_with_the_stake_they_rest_on(world: Any, owner: bytes) -> None:
    first, second, third = (witness.address.raw for witness in WITNESSES)
    world.run(FreezeBalanceV2, owner=owner, amount_sun=10 * TRX, resource=BANDWIDTH)
    world.run(FreezeBalanceV2, owner=owner, amount_sun=10 * TRX, resource=ENERGY)
    votes = [{"address": first, "count": 12}, {"address": second, "count": 3}, {"address": third, "count": 1}]
    world.run(VoteWitness, owner=owner, votes=votes)
    # 20 TRX carry 16 votes, and 17 TRX still do.
    world.run(UnfreezeBalanceV2, owner=owner, amount_sun=3 * TRX, resource=ENERGY)
    assert world.account(owner).votes == ((first, 12), (second, 3), (third, 1))
    # 8 TRX carry half of them; half a vote is none.
    world.run(UnfreezeBalanceV2, owner=owner, amount_sun=9 * TRX, resource=BANDWIDTH)
    assert world.account(owner).votes == ((first, 6), (second, 1))
    world.run(UnfreezeBalanceV2, owner=owner, amount_sun=7 * TRX, resource=ENERGY)
    world.run(UnfreezeBalanceV2, owner=owner, amount_sun=TRX, resource=BANDWIDTH)
    assert world.account(owner).votes == ()


# --- withdrawing ---


def test_withdrawing_is_refused_until_something_is_free(world: Any, owner: bytes, strangers: Keys) -> None:
    def refusal(**values: Any) -> str:
        words: str = world.refusal(WithdrawExpireUnfreeze, **values)
        return words.removeprefix(INVALID)

    nobody = strangers[0].address
    assert refusal() == "Invalid address"
    assert refusal(owner=nobody.raw) == f"Account[{nobody.hex}] not exists"
    assert refusal(owner=owner) == "no unFreeze balance to withdraw "
    world.run(FreezeBalanceV2, owner=owner, amount_sun=10 * TRX, resource=ENERGY)
    world.run(UnfreezeBalanceV2, owner=owner, amount_sun=2 * TRX, resource=ENERGY)
    world.wait(ms=14 * DAY_MS - 1)
    assert refusal(owner=owner) == "no unFreeze balance to withdraw "
    world.wait(ms=1)
    assert world.run(WithdrawExpireUnfreeze, owner=owner).unfrozen_sun == 2 * TRX
    assert (world.account(owner).balance_sun, world.account(owner).unfreezing) == (92 * TRX, ())
    assert refusal(owner=owner) == "no unFreeze balance to withdraw "


# --- staying after all ---


def test_cancelling_is_refused_when_nothing_is_pending(world: Any, owner: bytes, strangers: Keys) -> None:
    def refusal(**values: Any) -> str:
        words: str = world.refusal(CancelAllUnfreezeV2, **values)
        return words.removeprefix(INVALID)

    nobody = strangers[0].address
    assert refusal() == "Invalid address"
    assert refusal(owner=nobody.raw) == f"Account[{nobody.hex}] not exists"
    assert refusal(owner=owner) == "No unfreezeV2 list to cancel"


def test_cancelling_stakes_again_what_is_not_free_yet(world: Any, owner: bytes) -> None:
    world.run(FreezeBalanceV2, owner=owner, amount_sun=10 * TRX, resource=ENERGY)
    world.run(FreezeBalanceV2, owner=owner, amount_sun=10 * TRX, resource=BANDWIDTH)
    world.run(UnfreezeBalanceV2, owner=owner, amount_sun=2 * TRX, resource=ENERGY)
    world.wait(ms=7 * DAY_MS)
    world.run(UnfreezeBalanceV2, owner=owner, amount_sun=3 * TRX, resource=ENERGY)
    world.run(UnfreezeBalanceV2, owner=owner, amount_sun=1_500_000, resource=BANDWIDTH)
    world.wait(ms=7 * DAY_MS)
    receipt = world.run(CancelAllUnfreezeV2, owner=owner)
    assert receipt.unfrozen_sun == 2 * TRX
    # Keys in the order of Java's HashMap.
    assert list((receipt.cancelled_sun or {}).items()) == [
        ("ENERGY", 3 * TRX),
        ("TRON_POWER", 0),
        ("BANDWIDTH", 1_500_000),
    ]
    account = world.account(owner)
    assert (account.balance_sun, account.energy.own_sun, account.bandwidth.own_sun) == (82 * TRX, 8 * TRX, 10 * TRX)
    assert account.unfreezing == ()
    assert (world.state.counters.total_energy_weight, world.state.counters.total_net_weight) == (8, 10)
