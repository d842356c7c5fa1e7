"""Reads where endpoints are unlike each other: without an index, lying about bytes, or away."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import pytest

from services.kit.cache import Cache
from services.kit.errors import Unavailable, UpstreamError
from services.kit.metrics import Metrics
from services.tron import api
from services.tron.api import EndpointState, JobState, TxState
from services.tron.node import Kind, NodeError
from services.tron.reads import FRESH_S, Reads
from tests.services.tron.conftest import MakeWorld
from tests.services.tron.world import OWNER, PAYEE, REFUSED, World, http

T = TypeVar("T")
PRICES = ("getTransactionFee", "getCreateNewAccountFeeInSystemContract", "getCreateAccountFee", "getMemoFee")


async def patiently(world: World, asking: Awaitable[T]) -> T:
    """Let time pass while a read tries again."""
    task = asyncio.ensure_future(asking)
    for _ in range(1_000):
        await world.settle()
        if task.done():
            return await task
        wake = world.clock.next_wake()
        if wake is not None:
            world.clock.jump(wake)
    raise AssertionError("the read does not end")


@pytest.fixture
def reads(world: World) -> Reads:
    return Reads(world.life.endpoints, world.life.chain, Cache(world.clock, Metrics("tron")))


async def test_a_history_is_read_from_blocks_where_there_is_no_index(world: World, reads: Reads) -> None:
    for number in range(3):
        await world.submit(f"k-{number}", amount_sun=10 + number)
    for number in range(3):
        await world.until(JobState.PAID, key=f"k-{number}")
    for _ in range(5):  # asking for what it does not have must not put an endpoint to rest
        world.clock.jump(world.clock.seconds + 10)
        history = await patiently(world, reads.history(OWNER, api.HistoryQuery(skip=1, limit=5)))
    assert len({item.amount_sun for item in history.items} & {10, 11, 12}) == 2
    assert {item.state for item in history.items} == {TxState.SOLID}
    assert [upstream.state for upstream in world.life.endpoints.all] == [EndpointState.OK] * 2
    assert (await patiently(world, reads.history(PAYEE, api.HistoryQuery(limit=1)))).more


async def test_bytes_of_another_id_are_not_shown(world: World, reads: Reads) -> None:
    await world.submit()
    paid = await world.until(JobState.PAID)

    async def lie(path: str, body: dict[str, str]) -> dict[str, object]:
        return {"txID": body["value"], "raw_data_hex": "0a00", "blockNumber": 1, "id": body["value"]}

    for node in world.nodes:
        node.post = lie  # type: ignore[method-assign, assignment]
    with pytest.raises((UpstreamError, Unavailable), match="other bytes"):
        await patiently(world, reads.transaction(paid.txid or ""))


async def test_another_endpoint_answers_when_one_does_not(world: World, reads: Reads) -> None:
    await world.submit()
    paid = await world.until(JobState.PAID)
    world.nodes[0].down = http(503)
    assert (await patiently(world, reads.transaction(paid.txid or ""))).endpoint == "node-1"
    world.nodes[1].down = REFUSED
    world.clock.jump(world.clock.seconds + 10)
    with pytest.raises(Unavailable, match="no endpoint answered"):
        await patiently(world, reads.receipt("ab" * 32))


async def test_a_transaction_nobody_knows_is_unknown(world: World, reads: Reads) -> None:
    assert (await patiently(world, reads.transaction("ab" * 32))).state is TxState.UNKNOWN


@pytest.mark.parametrize(
    ("error", "about"),
    [
        (NodeError("it says: no", Kind.NODE), True),
        (http(404), True),
        (http(405), True),
        (http(403), False),
        (http(500), False),
        (REFUSED, False),
    ],
)
def test_only_a_bad_question_leaves_an_endpoint_in_good_standing(error: NodeError, about: bool) -> None:
    assert error.about_the_question is about


async def test_a_balance_is_never_said_to_be_of_a_later_block_than_it_is(world: World, reads: Reads) -> None:
    """A block comes while the balance is on its way: what that block pays may not have left this balance yet."""
    before = world.chain.head.number
    asked, arrived = asyncio.Event(), asyncio.Event()

    async def slow(path: str, body: dict[str, object]) -> dict[str, object]:
        if path == "wallet/getaccount":
            asked.set()
            await arrived.wait()
            return {"balance": 5, "address": OWNER}
        if path == "wallet/getchainparameters":
            return {"chainParameter": [{"key": name, "value": 1_000} for name in PRICES]}
        return {}

    honest = [node.post for node in world.nodes]
    for node, ask in zip(world.nodes, honest, strict=True):

        async def post(path: str, body: dict[str, object], ask: object = ask) -> dict[str, object]:
            told = path.startswith(("wallet/getaccount", "wallet/getchainparameters"))
            return await (slow if told else ask)(path, body)  # type: ignore[operator, no-any-return]

        node.post = post  # type: ignore[method-assign, assignment]
    asking = asyncio.ensure_future(reads.quote(api.QuoteTransfer(owner=OWNER, to=PAYEE, amount_sun=1)))
    await asked.wait()  # tronpy is loaded first
    await world.run(20)
    assert world.chain.head.number > before
    arrived.set()
    quote = await patiently(world, asking)
    assert (quote.owner_balance_sun, quote.block_number) == (5, before)
    assert (quote.bandwidth_fee_sun, quote.burn_sun) == (265_000, 0)


@pytest.mark.parametrize("ahead_ms", [60_000, 40 * 86_400_000])
async def test_no_endpoint_alone_puts_the_time_forward(make_world: MakeWorld, ahead_ms: int) -> None:
    """Limits are counted over hours of chain time: whoever could move it could lift them."""
    world = make_world()
    world.nodes[1].future_ms = ahead_ms
    await world.start()
    reads = Reads(world.life.endpoints, world.life.chain, Cache(world.clock, Metrics("tron")))
    await world.run(10)
    assert (await reads.latest_block()).time_ms <= world.chain.head.time_ms
    world.nodes[0].down = REFUSED
    await world.run(60)
    assert (await reads.latest_block()).time_ms <= world.chain.head.time_ms


async def test_a_cached_account_is_made_once_and_anew_when_it_is_read_anew(world: World, reads: Reads) -> None:
    balance_sun = 5

    async def account(path: str, _body: dict[str, object]) -> dict[str, object]:
        return {"balance": balance_sun, "address": OWNER} if path == "wallet/getaccount" else {}

    for node in world.nodes:
        node.post = account  # type: ignore[method-assign, assignment]
    first = await patiently(world, reads.account(OWNER))
    assert await patiently(world, reads.account(OWNER)) is first
    balance_sun = 6
    world.clock.jump(world.clock.seconds + FRESH_S + 1)
    later = await patiently(world, reads.account(OWNER))
    assert (first.balance_sun, later.balance_sun) == (5, 6)
    assert later.read_at > first.read_at
