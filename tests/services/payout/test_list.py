"""The list: pages that neither skip nor repeat while payouts arrive, and filters."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from services.kit.errors import Invalid, NotFound
from services.payout.api import ListPayouts, PayoutState
from services.protocol.address import Address
from services.tron.api import JobState

if TYPE_CHECKING:
    from services.payout.client import PayoutClient
    from tests.services.payout.conftest import Router, World

pytestmark = pytest.mark.asyncio(loop_scope="module")
TRX = 1_000_000
STRANGER = "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"


async def ids(router: Router, **query: Any) -> list[str]:
    return [payout.id for payout in (await router.service.list(ListPayouts(**query))).items]


async def test_pages_are_complete_while_new_payouts_arrive(world: World, router: Router) -> None:
    for number in range(1, 11):
        await router.service.create(world.body(f"k-{number}"), "alice")
    seen, before = [], None
    while True:
        page = await router.service.list(ListPayouts(limit=3, before=before))
        seen += [payout.id for payout in page.items]
        await router.service.create(world.body(f"later-{len(seen)}"), "alice")
        if page.next is None:
            break
        before = page.next
    assert seen == [f"P-{number}" for number in range(10, 0, -1)]


async def test_a_page_that_ends_exactly_has_no_next(world: World, router: Router) -> None:
    for number in range(1, 4):
        await router.service.create(world.body(f"k-{number}"), "alice")
    page = await router.service.list(ListPayouts(limit=3))
    assert (len(page.items), page.next) == (3, None)
    assert (await router.service.list(ListPayouts(limit=2))).next == "P-2"


async def test_filters_narrow_the_list(world: World, router: Router) -> None:
    world.tron.autopilot = (JobState.BUILT, JobState.SIGNED, JobState.SENDING, JobState.SEEN, JobState.PAID)
    await router.service.create(world.body("invoice-7", memo="rent_100%"), "alice")
    await router.until("P-1", PayoutState.PAID)
    world.tron.autopilot = ()
    await router.service.create(world.body("k-2", to=STRANGER), "alice")
    await router.service.create(world.body("k-3", wallet="shut"), "alice")
    await router.until("P-3", PayoutState.RESERVED)
    await router.until("P-2", PayoutState.RESERVED)
    txid = (await router.service.get("P-1")).txid
    assert await ids(router) == ["P-3", "P-2", "P-1"]
    assert await ids(router, state=PayoutState.PAID) == ["P-1"]
    assert await ids(router, open=True) == ["P-3", "P-2"]
    assert await ids(router, open=False) == ["P-1"]
    assert await ids(router, wallet="shut") == ["P-3"]
    assert await ids(router, to=STRANGER) == ["P-2"]
    assert await ids(router, to=Address.parse(STRANGER).hex) == ["P-2"]
    assert await ids(router, txid=txid) == ["P-1"]
    assert await ids(router, txid="f" * 64) == []
    assert await ids(router, open=True, wallet="hot", state=PayoutState.RESERVED) == ["P-2"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("P-2", ["P-2"]),
        ("voice", ["P-1"]),
        ("100%", ["P-1"]),
        ("%", ["P-1"]),
        ("_", ["P-1"]),
        ("\\", []),
        ("TUEZ", ["P-2"]),
    ],
)
async def test_text_is_searched_as_it_is_written(world: World, router: Router, text: str, found: list[str]) -> None:
    await router.service.create(world.body("invoice-7", memo="rent_100%"), "alice")
    await router.service.create(world.body("k-2", to=STRANGER), "alice")
    assert await ids(router, text=text) == found


async def test_a_payout_is_found_by_the_txid_of_an_earlier_attempt(world: World, router: Router) -> None:
    await router.service.create(world.body(), "alice")
    await router.until("P-1", PayoutState.RESERVED)
    world.tron.walk("payout:k-1:1", JobState.BUILT, JobState.SIGNED, JobState.SENDING)
    world.tron.bury("payout:k-1:1", "a", "b")
    txid = (await router.until("P-1", PayoutState.DEAD)).txid
    await router.service.retry("P-1", "alice")
    assert await ids(router, txid=txid) == ["P-1"]


@pytest.mark.parametrize(("query", "field"), [({"before": "page 2"}, "before"), ({"to": "Txyz"}, "to")])
async def test_a_query_that_makes_no_sense_is_refused(router: Router, query: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        await router.service.list(ListPayouts(**query))
    assert [name for name, _ in refused.value.fields] == [field]


async def test_stats_count_and_add_up(world: World) -> None:
    async with world.router(daily_payout_limit="100") as router:
        world.tron.autopilot = (JobState.BUILT, JobState.SIGNED, JobState.SENDING, JobState.SEEN, JobState.PAID)
        await router.service.create(world.body("k-1"), "alice")
        await router.until("P-1", PayoutState.PAID)
        world.tron.autopilot = ()
        await router.service.create(world.body("k-2", 7 * TRX), "alice")
        await router.until("P-2", PayoutState.RESERVED)
        stats = await router.service.stats()
        assert stats.by_state == {"paid": 1, "reserved": 1}
        assert stats.paid_today == {"TRX": 5 * TRX}
        assert [(use.name, use.limit, use.used) for use in stats.limits] == [
            ("per payout", 0, 0),
            ("hour", 0, 12 * TRX),
            ("day", 100 * TRX, 12 * TRX),
        ]
        await world.stop_tron()
        assert await router.service.stats() == stats
        await world.start_tron()


async def test_every_route_by_its_client(world: World, router: Router, client: PayoutClient) -> None:
    assert (await client.quote(world.intent())).forbidden == ()
    created = await client.create(world.body())
    assert await client.create(world.body()) is not created
    await router.until("P-1", PayoutState.RESERVED)
    assert (await client.get("P-1")).id == created.id == "P-1"
    assert [payout.id for payout in (await client.list(ListPayouts(open=True, limit=1))).items] == ["P-1"]
    assert (await client.stats()).by_state == {"reserved": 1}
    assert (await client.retry("P-1")).act == "none"
    world.tron.walk("payout:k-1:1", JobState.BUILT, JobState.SIGNED, JobState.SENDING)
    world.tron.bury("payout:k-1:1", "node-a")
    held = await router.when("P-1", lambda payout: payout.attempts[0].proof_needs_acceptance)
    assert (await client.accept_death("P-1", held.txid or "")).state is PayoutState.DEAD
    second = await client.create(world.body("k-2"))
    assert (await client.cancel(second.id)).state is PayoutState.CANCELLED
    with pytest.raises(NotFound):
        await client.get("P-99")
    assert (await client.health()).status == "ok"
    assert (await client.status()).service == "payout"


async def test_a_new_payout_is_201_and_a_repeated_one_200(world: World, client: PayoutClient) -> None:
    connector = aiohttp.UnixConnector(path=str(world.socket("payout")))
    async with aiohttp.ClientSession(connector=connector) as http:
        codes = []
        for body in (world.body(), world.body(), world.body(amount=1)):
            async with http.post("http://payout/api/v1/tron/payouts", data=body.model_dump_json()) as answer:
                codes.append((answer.status, (await answer.json()).get("code")))
        assert codes == [(201, None), (200, None), (409, "conflict")]
        async with http.post("http://payout/api/v1/tron/payouts", data=b'{"key": "k", "amount": 12.5}') as answer:
            problem = await answer.json()
        assert answer.status == 422
        assert {"amount", "to", "wallet", "asset"} <= {item["field"] for item in problem["fields"]}


async def test_lists_and_writes_at_the_same_time(world: World, router: Router) -> None:
    async def write(number: int) -> None:
        await router.service.create(world.body(f"k-{number}"), "alice")

    await asyncio.gather(*(write(number) for number in range(50)), *(ids(router) for _ in range(20)))
    assert len(await ids(router, limit=200)) == 50
