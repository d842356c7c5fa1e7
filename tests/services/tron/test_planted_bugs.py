"""Bugs planted on purpose: each must break an invariant that the world checks, or the checks are worth nothing."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from services.kit.errors import Conflict
from services.tron import api
from services.tron.api import JobState
from services.tron.endpoints import Upstream
from services.tron.evidence import Evidence, Final, Sent, View
from services.tron.sender import Sender, _Live
from services.tron.store import JobRow, JobStore
from tests.services.tron.conftest import MakeWorld
from tests.services.tron.world import SLOT_MS, TIMEOUT, Crash, Fault, Parts, Violation, World, said

END = (JobState.PAID, JobState.FAILED_ON_CHAIN, JobState.DEAD)


class BareStore(JobStore):
    """The store without its triggers, which would stop some of the bugs by themselves."""

    async def open(self, network: str) -> None:
        await super().open(network)
        for name in ("final_is_final", "never_back_from_sending", "bytes_stay", "signed_stays"):
            await self.force(f"DROP TRIGGER {name}")

    async def force(self, statement: str, *values: object) -> None:
        await self._db.write(lambda connection: connection.execute(statement, values))


class SignsAgainOnTimeout(Sender):
    """Retry wrapped around build, sign and send: the first of the ten defects of the old code."""

    async def _send_to(self, row: JobRow, targets: Sequence[Upstream]) -> JobRow:
        row = await super()._send_to(row, targets)
        if row.build == 1 and any(answer.code == "timeout" for answer in row.answers):
            store: Any = self._store
            await store.force("UPDATE builds SET void = 1 WHERE key = ?", row.key)
            await store.force("UPDATE jobs SET state = 'accepted' WHERE key = ?", row.key)
        return row


class PersistsAfterBroadcast(Sender):
    async def _depart(self, row: JobRow, live: _Live) -> float:
        await self._send_to(row, self._endpoints.usable())
        await self._store.depart(row.key, row.txid or "")
        return 1.0


class DupMeansPaid(Sender):
    async def _send_to(self, row: JobRow, targets: Sequence[Upstream]) -> JobRow:
        row = await super()._send_to(row, targets)
        if any(answer.code == "DUP_TRANSACTION_ERROR" for answer in row.answers):
            await self._store.finish(row.key, row.txid or "", Final(JobState.PAID, 1, 0), ())
        return row


class ExpiryCodeIsFinal(Sender):
    async def _send_to(self, row: JobRow, targets: Sequence[Upstream]) -> JobRow:
        row = await super()._send_to(row, targets)
        if any(answer.code == "TRANSACTION_EXPIRATION_ERROR" for answer in row.answers):
            await self._store.die(row.key, _proof(row))
        return row


class ExpiresByTheWallClock(Sender):
    async def _bury(self, row: JobRow, sent: Sent) -> bool:
        if self._clock.now().timestamp() * 1000 > sent.expiration_ms:
            await self._store.die(row.key, _proof(row))
            return True
        return False


class HeadInsteadOfSolid(Evidence):
    async def _final(self, upstream: Upstream, sent: Sent) -> Final | None:
        info = await self._info(upstream, "wallet", sent)
        return Final(JobState.PAID, info["blockNumber"], 0) if info else None

    async def _look_at(self, upstream: Upstream, sent: Sent) -> Any:
        upstream.solid = upstream.head
        return await super()._look_at(upstream, sent)


class OffByOneSlot(Evidence):
    def past(self, solid_time_ms: int, expiration_ms: int) -> bool:
        return solid_time_ms >= expiration_ms - SLOT_MS


class OffByOneSlotSender(Sender):
    """Asks as early as `OffByOneSlot` believes."""

    async def _bury(self, row: JobRow, sent: Sent) -> bool:
        proof = (await self._evidence.death(sent)).proof
        return proof is not None and await self._store.die(row.key, proof) is not None


class IncludedMeansPaid(Sender):
    async def _end(self, row: JobRow, view: View) -> bool:
        if view.block_number is None:
            return False
        await self._store.finish(row.key, row.txid or "", Final(JobState.PAID, view.block_number, 0), ())
        return True


class CancelsWhileSending(BareStore):
    async def cancel(self, key: str) -> JobRow | None:
        await self.force("UPDATE jobs SET state = 'cancelled' WHERE key = ?", key)
        return await self.get(key)


class RebuildsWithoutPromise(Sender):
    """Gives up bytes without asking the wallet, which may have signed them."""

    async def _void(self, row: JobRow, txid: str) -> float:
        await self._store.unbuild(row.key, txid)
        return 0.0


def _proof(row: JobRow) -> api.DeathProof:
    return api.DeathProof(
        txid=row.txid or "", expiration_ms=row.expiration_ms or 0, witnesses=(), single_endpoint=False
    )


# --- what goes wrong around them ---


async def pay(world: World) -> None:
    await world.submit()
    await world.until(*END, limit_s=400)
    await world.aftermath()


def faulty(*faults: Fault) -> Callable[[World], Awaitable[None]]:
    async def run(world: World) -> None:
        for node in world.nodes:
            node.faults.extend(faults)
        await pay(world)

    return run


async def phantom(world: World) -> None:
    world.nodes[0].faults.extend([Fault(take=False, answer=said("SUCCESS"))] * 99)
    world.nodes[1].phantom = True
    await pay(world)


async def reorganised(world: World) -> None:
    await world.submit()
    await world.until(JobState.SEEN, *END)
    world.chain.reorg(2, keep=False)
    await world.check()


async def last_slot(world: World) -> None:
    """Solid follows at once; a stranger has the bytes included in the last block that takes them."""
    for node in world.nodes:
        node.faults.extend([Fault(take=False, answer=said("SUCCESS"))] * 99)
    await world.submit()
    job = await world.until(JobState.SENDING)
    while world.chain.head.time_ms < (job.expiration_ms or 0) - SLOT_MS:
        await world.tick()
    world.mining = False
    await world.run(2)
    signed = next(tx for node in world.nodes for tx in node.sent.values())
    assert world.chain.take(signed) == "SUCCESS"
    world.chain.mine()
    await world.check()


async def wrong_clock(world: World) -> None:
    world.clock.wall_offset_s = 86_400 * 365
    await pay(world)


async def late_cancel(world: World) -> None:
    await world.submit()
    await world.until(JobState.SENDING)
    await world.settle()
    await world.sender.cancel(world.key)
    await world.run(30)


async def signed_unseen(world: World) -> None:
    """The wallet signs and its answer is lost, until the bytes are too old to be signed again."""
    world.wallet.sign_answer_lost = True
    await world.submit()
    await world.run(150)
    world.wallet.sign_answer_lost = False
    await pay(world)


LOST = Fault(take=True, answer=TIMEOUT)
Scenario = Callable[[World], Awaitable[None]]

BUGS: dict[str, tuple[Parts, Scenario]] = {
    "re-sign on timeout": (Parts(sender=SignsAgainOnTimeout, store=BareStore), faulty(LOST)),
    "persist after broadcast": (Parts(sender=PersistsAfterBroadcast), pay),
    "DUP means paid": (
        Parts(sender=DupMeansPaid), faulty(Fault(take=False, answer=said("DUP_TRANSACTION_ERROR"))),
    ),
    "an expiry code is final": (
        Parts(sender=ExpiryCodeIsFinal), faulty(Fault(take=True, answer=said("TRANSACTION_EXPIRATION_ERROR"))),
    ),
    "wall-clock expiry": (Parts(sender=ExpiresByTheWallClock), wrong_clock),
    "one node trusted": (Parts(needed=1), phantom),
    "head instead of solid": (Parts(evidence=HeadInsteadOfSolid), reorganised),
    "off by one slot": (Parts(evidence=OffByOneSlot, sender=OffByOneSlotSender), last_slot),
    "included means paid": (Parts(sender=IncludedMeansPaid), reorganised),
    "cancel while sending": (Parts(store=CancelsWhileSending), late_cancel),
    "rebuild without the wallet's promise": (Parts(sender=RebuildsWithoutPromise, store=BareStore), signed_unseen),
}  # fmt: skip


def make(make_world: MakeWorld, scenario: Scenario) -> World:
    return make_world(solid_lag=0 if scenario is last_slot else 5)


@pytest.mark.parametrize("bug", BUGS)
async def test_the_checks_catch(make_world: MakeWorld, bug: str) -> None:
    parts, scenario = BUGS[bug]
    world = make(make_world, scenario)
    await world.start(parts)
    with pytest.raises(Violation):
        await scenario(world)


SAFE_ENDS: dict[Scenario, AbstractContextManager[object]] = {
    # A liar may hold up the end for ever; that is safe.
    phantom: pytest.raises(AssertionError, match="is still"),
    late_cancel: pytest.raises(Conflict, match="can be cancelled"),
}


@pytest.mark.parametrize("bug", BUGS)
async def test_the_real_client_passes_what_kills(make_world: MakeWorld, bug: str) -> None:
    """The same scenario without the bug breaks nothing."""
    _, scenario = BUGS[bug]
    world = make(make_world, scenario)
    await world.start()
    with SAFE_ENDS.get(scenario, nullcontext()):
        await scenario(world)


async def test_a_crash_is_not_swallowed_by_the_world(make_world: MakeWorld) -> None:
    world = make_world()
    await world.start()
    world.seams.arm(0)
    with pytest.raises(Crash):
        await world.submit()
