"""An endpoint that answers nonsense of every kind, beside two honest ones: orders are paid, reads are answered."""

import asyncio
import copy
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from services.kit.cache import Cache
from services.kit.errors import LucidError
from services.kit.metrics import Metrics
from services.tron import api
from services.tron.api import JobState
from services.tron.node import checked_answer
from services.tron.reads import Reads
from services.tron.sender import Sender, _Live
from tests.services.tron.conftest import MakeWorld
from tests.services.tron.test_endpoint_changes import swallow
from tests.services.tron.test_reads import patiently
from tests.services.tron.world import OWNER, FakeNode, Parts, World

JUNK: list[Any] = [
    None, True, False, 0, -1, 5, 2**63, 10**40, 1.5, float("inf"), "", "x", "00" * 32, "zz", [], [None], [[]], [5], {},
    {"a": 1}, [{"contractRet": 5}], {"raw_data": []}, "\x1b[2J", "9" * 5_000,
]  # fmt: skip


def spoilt(value: Any, rng: Random) -> Any:
    """Put junk somewhere into an answer, or in its place."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(sorted(value))
        return {**value, name: spoilt(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        place = rng.randrange(len(value))
        return [*value[:place], spoilt(value[place], rng), *value[place + 1 :]]
    return copy.deepcopy(rng.choice(JUNK))


def spoil(node: FakeNode, rng: Random) -> None:
    """Let most answers of a node, but for block 0, have junk in them."""
    honest = node.post

    async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await honest(path, body)
        if body.get("num") == 0 or rng.random() < 0.3:
            return answer
        return checked_answer(spoilt(answer, rng), node.name)

    async def get(_path: str, _params: Mapping[str, str]) -> dict[str, Any]:
        entry = {"txID": "ab" * 32, "ret": [{}], "blockNumber": 3, "block_timestamp": 4, "raw_data_hex": "0a"}
        index = {"data": [entry, entry], "meta": {"fingerprint": "next"}}
        return checked_answer(spoilt(index, rng), node.name)

    node.post = post  # type: ignore[method-assign, assignment]
    node.get = get  # type: ignore[method-assign, assignment]


DEFECTS: list[Exception] = []


class Watched(Sender):
    """Keeps what a turn raises, which the sender itself only logs."""

    async def _turn(self, live: _Live) -> float | None:
        try:
            return await super()._turn(live)
        except Exception as error:
            DEFECTS.append(error)
            raise


@pytest.mark.parametrize("seed", range(10))
async def test_an_order_is_paid_beside_an_endpoint_that_talks_nonsense(make_world: MakeWorld, seed: int) -> None:
    DEFECTS.clear()
    world = make_world(nodes=3)
    spoil(world.nodes[seed % 3], Random(seed))
    await world.start(Parts(sender=Watched))
    await world.submit(amount_sun=1_000 + seed)
    assert (await world.until(JobState.PAID, JobState.DEAD)).state is JobState.PAID
    assert DEFECTS == []
    await world.aftermath()


@pytest.mark.parametrize("seed", range(10))
async def test_a_death_is_proved_beside_an_endpoint_that_talks_nonsense(make_world: MakeWorld, seed: int) -> None:
    """A nonsensical answer to whether it knows the transaction counts as knowing it: safe, though it may take long."""
    DEFECTS.clear()
    world = make_world(nodes=3)
    swallow(world)
    spoil(world.nodes[seed % 3], Random(seed))
    await world.start(Parts(sender=Watched))
    await world.submit(amount_sun=1_000 + seed)
    await world.run(600)
    assert (await world.job()).state in {JobState.SENDING, JobState.SEEN, JobState.DEAD}
    assert DEFECTS == []
    await world.aftermath()


@pytest.fixture
def reads(world: World) -> Reads:
    return Reads(world.life.endpoints, world.life.chain, Cache(world.clock, Metrics("tron")))


@pytest.mark.parametrize("seed", range(10))
async def test_reads_fail_in_words_or_not_at_all(world: World, reads: Reads, seed: int) -> None:
    await world.submit(amount_sun=1_000 + seed)
    paid = await world.until(JobState.PAID)
    for node in world.nodes:
        spoil(node, Random(seed))
    id_ = paid.txid or ""
    for asking in (
        reads.transaction(id_),
        reads.receipt(id_),
        reads.block(3),
        reads.history(OWNER, api.HistoryQuery(limit=5)),
        reads.account(OWNER),
        reads.validate(OWNER),
    ):
        async with asyncio.timeout(20):
            [said] = await asyncio.gather(patiently(world, asking), return_exceptions=True)
        if isinstance(said, BaseException):
            assert isinstance(said, LucidError)
            assert said.message.isprintable()
            assert len(said.message) < 2_000


@pytest.mark.parametrize(
    ("call", "name", "junk"),
    [
        ("gettransactionbyid", "ret", 5),
        ("gettransactionbyid", "ret", {"a": 1}),
        ("gettransactionbyid", "ret", "x"),
        ("gettransactionbyid", "ret", [5]),
        ("gettransactioninfobyid", "fee", "x"),
        ("gettransactioninfobyid", "blockNumber", [5]),
        ("getblock", "transactions", 5),
        ("getblockbynum", "transactions", 5),
        ("getblock", "block_header", 5),
    ],
)
async def test_one_field_of_nonsense_holds_up_nobody(make_world: MakeWorld, call: str, name: str, junk: object) -> None:
    """The other two endpoints suffice for a payment, and for a death."""
    DEFECTS.clear()
    world = make_world(nodes=3)
    honest = world.nodes[1].post

    async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await honest(path, body)
        return {**answer, name: junk} if answer and path.endswith(call) else answer

    await world.start(Parts(sender=Watched))
    world.nodes[1].post = post  # type: ignore[method-assign, assignment]
    await world.submit()
    assert (await world.until(JobState.PAID, JobState.DEAD)).state is JobState.PAID
    swallow(world)
    await world.submit("dying", amount_sun=5)
    assert (await world.until(JobState.PAID, JobState.DEAD, key="dying")).state is JobState.DEAD
    assert DEFECTS == []


async def test_an_index_without_an_end_is_left(world: World, reads: Reads) -> None:
    """Every page has entries that are none, and a mark of the next page."""

    async def get(_path: str, _params: Mapping[str, str]) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"data": [{"txID": "ab" * 32, "raw_data_hex": "0a"}], "meta": {"fingerprint": "next"}}

    for node in world.nodes:
        node.get = get  # type: ignore[method-assign, assignment]
    async with asyncio.timeout(5):
        history = await patiently(world, reads.history(OWNER, api.HistoryQuery(limit=5)))
    assert history.items == ()
    assert history.more
