"""Accepting a payout: once per key, all or nothing, and only when it can be paid."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from services.kit.errors import Conflict, Invalid, Timeout, Unavailable
from services.kit.money import Asset
from services.kit.store import Store
from services.payout.api import ListPayouts, PayoutReason, PayoutState
from services.payout.store import MIGRATIONS, PayoutStore
from services.tron.api import JobState

if TYPE_CHECKING:
    from services.payout.client import PayoutClient
    from tests.services.payout.conftest import Router, World

pytestmark = pytest.mark.asyncio(loop_scope="module")
TRX = 1_000_000
STRANGER = "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"


async def count(router: Router) -> int:
    return len((await router.service.list(ListPayouts())).items)


async def test_a_payout_shows_what_was_asked_and_who_asked(world: World, router: Router) -> None:
    body = world.body(memo="October", reason=PayoutReason.UPTIME_REWARD)
    payout, is_new = await router.service.create(body, "alice")
    assert is_new
    assert (payout.id, payout.key, payout.state, payout.attempt) == ("P-1", "k-1", PayoutState.APPROVED, 1)
    assert (payout.wallet, payout.to, payout.amount, payout.memo) == ("hot", body.to, 5 * TRX, "October")
    assert payout.from_address == world.wallets.wallets["hot"].address
    assert (payout.reason, payout.created_by, payout.txid) == (PayoutReason.UPTIME_REWARD, "alice", None)
    assert payout.created_at.utcoffset() is not None


async def test_the_same_key_and_body_give_the_same_payout(world: World, router: Router) -> None:
    first, _ = await router.service.create(world.body(), "alice")
    second, is_new = await router.service.create(world.body(), "bob")
    assert not is_new
    assert (second.id, second.created_by) == (first.id, "alice")
    assert await count(router) == 1


@pytest.mark.parametrize(
    "change", [{"amount": 6 * TRX}, {"to": "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8"}, {"memo": "x"}, {"wallet": "shut"}]
)
async def test_the_same_key_with_another_body_is_refused(world: World, router: Router, change: dict[str, Any]) -> None:
    await router.service.create(world.body(), "alice")
    with pytest.raises(Conflict, match="'k-1' was used for another payout, P-1"):
        await router.service.create(world.body(**change), "alice")
    assert await count(router) == 1


async def test_two_hundred_at_once_with_one_key_make_one_payout(
    world: World, router: Router, client: PayoutClient
) -> None:
    answers = await asyncio.gather(*(client.create(world.body()) for _ in range(200)))
    assert {payout.id for payout in answers} == {"P-1"}
    await router.until("P-1", PayoutState.RESERVED)
    assert list(world.tron.jobs) == ["payout:k-1:1"]
    assert world.tron.calls["quote"] == 1


async def test_two_payouts_of_the_same_amount_to_one_address_are_two(world: World, router: Router) -> None:
    await router.service.create(world.body("k-1"), "alice")
    quote = await router.service.quote(world.intent())
    assert any("P-1 pays the same amount to the same address" in warning for warning in quote.warnings)
    second, is_new = await router.service.create(world.body("k-2"), "alice")
    assert is_new
    assert second.id == "P-2"


@pytest.mark.parametrize("route", ["quote", "latest-block"])
@pytest.mark.parametrize("error", [Unavailable("no endpoint answers"), Timeout("no answer")])
async def test_nothing_is_accepted_while_the_chain_is_silent(
    world: World, router: Router, route: str, error: Unavailable | Timeout
) -> None:
    world.tron.before[route] = error
    with pytest.raises(Unavailable, match="nothing was accepted; try again with the same key"):
        await router.service.create(world.body(), "alice")
    assert await count(router) == 0
    world.tron.before.clear()
    payout, is_new = await router.service.create(world.body(), "alice")
    assert is_new
    assert payout.id == "P-1"


async def test_a_payout_that_exists_is_returned_while_the_chain_is_silent(world: World, router: Router) -> None:
    await router.service.create(world.body(), "alice")
    world.tron.before["quote"] = Unavailable("no endpoint answers")
    payout, is_new = await router.service.create(world.body(), "alice")
    assert not is_new
    assert payout.id == "P-1"


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"asset": Asset.USDT}, "asset", "USDT payouts are not available yet"),
        ({"wallet": "none"}, "wallet", "there is no wallet 'none'"),
        ({"wallet": "cold"}, "wallet", "cold wallet"),
        ({"wallet": "alien"}, "wallet", "a wallet of nile"),
        ({"memo": "pay \x1b[2J me"}, "memo", "control characters"),
        ({"amount": 1_000_001 * TRX}, "amount", "hot can pay 1,000,000.00 TRX"),
    ],
)
async def test_what_can_never_be_paid_is_refused_under_its_field(
    world: World, router: Router, change: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(Invalid, match=words) as refused:
        await router.service.create(world.body(**change), "alice")
    assert [name for name, _ in refused.value.fields] == [field]
    assert refused.value.code == "payout_refused"
    assert await count(router) == 0


async def test_a_wallet_does_not_pay_itself(world: World, router: Router) -> None:
    with pytest.raises(Invalid, match="the address of hot itself"):
        await router.service.create(world.body(to=world.wallets.wallets["hot"].address), "alice")


async def test_open_payouts_set_their_amount_and_fee_aside(world: World, router: Router) -> None:
    world.tron.balance_sun, world.tron.fee_sun = 12 * TRX, 500_000
    await router.service.create(world.body("k-1", 5 * TRX), "alice")
    quote = await router.service.quote(world.intent(amount=6 * TRX))
    assert (quote.balance, quote.balance_after, quote.fee_sun) == (6_500_000, 0, 500_000)
    assert quote.forbidden == ()
    with pytest.raises(Invalid, match=r"can pay 6\.50 TRX \(5\.50 TRX are set aside"):
        await router.service.create(world.body("k-2", 6 * TRX + 1), "alice")
    await router.service.create(world.body("k-2", 6 * TRX), "alice")


async def test_a_payout_in_a_block_is_no_longer_counted_against_the_balance_of_that_block(
    world: World, router: Router
) -> None:
    await router.service.create(world.body(), "alice")
    await router.until("P-1", PayoutState.RESERVED)
    world.tron.block = 1_010
    world.tron.walk("payout:k-1:1", JobState.BUILT, JobState.SIGNED, JobState.SENDING, JobState.SEEN)
    await router.until("P-1", PayoutState.SEEN)
    full = world.tron.balance_sun
    assert (await router.service.quote(world.intent())).balance == full
    world.tron.block = 1_009  # a reading from before: the payout has not left that balance yet
    assert (await router.service.quote(world.intent())).balance == full - 5 * TRX


async def test_a_quote_says_what_forbids_it_and_what_to_know(world: World) -> None:
    world.tron.activated = False
    async with world.router(max_payout_amount="4", payout_hourly_limit="3") as router:
        quote = await router.service.quote(world.intent(wallet="shut", memo="hi"))
    assert [(use.name, use.ok) for use in quote.limits] == [("per payout", False), ("hour", False), ("day", True)]
    assert len(quote.forbidden) == 2
    assert any("activating it costs 1.10 TRX" in warning for warning in quote.warnings)
    assert any("public for ever and costs 1.00 TRX" in warning for warning in quote.warnings)
    assert any("shut is locked" in warning for warning in quote.warnings)


async def test_the_check_code_is_over_what_is_paid_and_nothing_else(world: World, router: Router) -> None:
    code = (await router.service.quote(world.intent())).check_code
    payout, _ = await router.service.create(world.body("any-key", reason=PayoutReason.STORAGE_PROOF), "alice")
    assert payout.check_code == code
    assert len(code) == 9
    assert code[4] == "-"
    others = [
        world.intent(amount=1),
        world.intent(memo="m"),
        world.intent(wallet="shut"),
        world.intent(to="TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"),
    ]
    assert code not in {(await router.service.quote(other)).check_code for other in others}


async def test_the_payouts_of_one_network_are_not_opened_on_another(world: World) -> None:
    async with world.router() as router:
        await router.service.create(world.body(), "alice")
    store = PayoutStore(Store(world.database, MIGRATIONS))
    with pytest.raises(Unavailable, match="payouts are on devnet, not on mainnet"):
        await store.open("mainnet")


async def test_free_bandwidth_is_not_promised_twice(world: World, router: Router) -> None:
    """It covers the first payout; what comes while that is open may have to burn."""
    world.tron.balance_sun, world.tron.burn_sun = 10 * TRX, 267_000
    assert (await router.service.quote(world.intent(amount=10 * TRX))).forbidden == ()
    first, _ = await router.service.create(world.body("k-1", TRX), "alice")
    quote = await router.service.quote(world.intent(amount=9 * TRX))
    assert (quote.fee_sun, quote.balance_after) == (267_000, -267_000)
    with pytest.raises(Invalid, match=r"takes 9\.267 with its fee"):
        await router.service.create(world.body("k-2", 9 * TRX), "alice")
    many = await asyncio.gather(
        *(router.service.create(world.body(f"n-{number}", TRX), "alice") for number in range(20)),
        return_exceptions=True,
    )
    assert sum(not isinstance(one, BaseException) for one in many) == 9 * TRX // (TRX + 267_000)
    await router.service.cancel(first.id, "alice")
