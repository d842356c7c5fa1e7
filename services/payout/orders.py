"""The conversation with the TRON client: orders handed over, jobs followed, cancellations and retries passed on.

Everything here can be repeated: an attempt has one order key for ever, and the TRON client gives the same job for it.
So recovery after a crash, a lost answer or a restart of either side is the same act as the first try: hand over again,
until the TRON client has said that it took the order. From then on it is only asked for: should the TRON client have
lost it, giving it again could pay again.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from services.kit import log
from services.kit.client import follow
from services.kit.clock import Clock
from services.kit.errors import Conflict, Locked, LucidError, NotFound, TooManyRequests, Unavailable
from services.kit.events import RESET, EventBus
from services.payout.api import Payout, PayoutState
from services.payout.jobs import ORDER_KEY, progress_of
from services.payout.store import TOO_LATE, Handover, PayoutStore, seq_of
from services.tron.api import Job, Retried
from services.tron.client import TronClient

T = TypeVar("T")

JOB_EVENT = "job"
"""Name of the TRON client's event that carries a whole Job."""

PAYOUT_EVENT = "payout"
"""Name of our event, which carries a whole Payout."""

AT_ONCE = 16
"""Orders handed over side by side."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0


class KeyedLocks:
    """One lock per key, made when it is wanted and gone when nobody holds it."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Let one caller at a time into the block."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)


class Orders:
    """Brings every live attempt to the TRON client, and what it says back into the store."""

    def __init__(self, tron: TronClient, store: PayoutStore, bus: EventBus, clock: Clock, per_wallet: int) -> None:
        """Hand over at most `per_wallet` payouts of a wallet that no block shows yet (0: any number)."""
        self._tron = tron
        self._store = store
        self._bus = bus
        self._clock = clock
        self._per_wallet = per_wallet
        self._locks = KeyedLocks()
        self._unsure: set[int] = set()
        """Handed over, and how they stand is to be asked."""
        self._gap = True
        """An event may have been missed: whatever was handed over is to be asked for."""
        self._resting: set[int] = set()
        """Refused for good; tried again when the TRON client or an operator gives a reason."""
        self._heard: Counter[str] = Counter()
        """Events heard per order key: an answer that was on its way meanwhile may be older than the last of them."""
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin where the last run ended."""
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._deliver())]

    async def stop(self) -> None:
        """Stop between two steps; whatever is open goes on at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def wake(self) -> None:
        """Look at once for what can be handed over."""
        self._wake.set()

    def publish(self, payout: Payout | None) -> None:
        """Tell everybody who listens how a payout stands now."""
        if payout is not None:
            self._bus.publish(PAYOUT_EVENT, payout)

    # What operators ask for

    async def cancel(self, seq: int, by: str) -> Payout:
        """Withdraw a payout before its bytes leave.

        One whose order never left is cancelled here. For any other the TRON client decides; while it cannot be asked,
        the wish is kept and comes before anything else.

        Raises:
            Conflict: it is too late.
        """
        async with self._locks.hold(str(seq)):
            payout, handover = await self._store.ask_cancel(seq, by, self._clock.now())
            self.publish(payout)
            if handover is None:
                self.wake()
                return payout
            try:
                await self._cancel_there(handover)
            except Conflict:
                self._unsure.add(seq)
                self.wake()
                raise
            except LucidError as error:
                await self._postpone(seq, f"cancelling: {error.message}")
                self.wake()
        return await self._store.get(seq)

    async def send_again(self, seq: int) -> Retried | None:
        """Have the same bytes sent again; None when the order is not there yet, and then it is handed over now.

        Raises:
            Unavailable: the TRON client could not be asked, or has lost the order.
        """
        async with self._locks.hold(str(seq)):
            handover = await self._store.live(seq)
            if handover is not None and handover.handed:
                try:
                    return await self._ask(handover.order.key, self._tron.retry(handover.order.key), lambda it: it.job)
                except NotFound:
                    if handover.taken:
                        raise _lost(handover.order.key) from None
                    self._unsure.add(seq)  # lost on its way
        self._resting.discard(seq)
        self.wake()
        return None

    async def accept_death(self, seq: int, txid: str) -> None:
        """Pass on that an operator takes the death proof of the live attempt.

        Raises:
            Conflict: there is no live attempt, or the TRON client has no such proof.
        """
        async with self._locks.hold(str(seq)):
            handover = await self._store.live(seq)
            if handover is None or not handover.handed:
                raise Conflict("there is no proof to accept: no transaction of this payout is alive")
            key = handover.order.key
            await self._ask(key, self._tron.accept_death(key, txid), _itself)

    # Following

    async def _listen(self) -> None:
        """Hear of every change; after a gap, ask for everything that is open."""
        while True:
            try:
                async for event in follow(self._tron):
                    if event.name == RESET:
                        self._recover()
                    elif event.name == JOB_EVENT:
                        await self.hear(Job.model_validate_json(event.data))
            except Exception:  # noqa: BLE001 - a defect must not end the following of money
                log.get_logger().exception("payout.listen_failed")
                await self._clock.sleep(FIRST_PAUSE_S)

    def _recover(self) -> None:
        self._resting.clear()
        self._gap = True
        self.wake()

    async def hear(self, job: Job) -> None:
        """Take in an event of the TRON client."""
        if not ORDER_KEY.fullmatch(job.key):
            return
        self._heard[job.key] += 1
        try:
            await self._advance(job)
            if job.state.final:
                del self._heard[job.key]
        except LucidError as error:
            log.get_logger().error("payout.event_lost", order=job.key, reason=error.message)
            self._gap = True
            self.wake()

    async def _ask(self, key: str, question: Awaitable[T], job_in: Callable[[T], Job]) -> T:
        """Await an answer with a job in it and take the job in, unless an event that may be newer came meanwhile."""
        heard = self._heard[key]
        answer = await question
        job = job_in(answer)
        if self._heard[key] == heard or job.state.final:
            await self._advance(job)
        return answer

    async def _advance(self, job: Job) -> None:
        payout = await self._store.advance(progress_of(job), self._clock.now())
        if payout is None:
            return
        log.get_logger().info(
            "payout.moved", payout=payout.id, state=payout.state, txid=payout.txid, waiting=payout.waiting
        )
        self.publish(payout)
        if payout.state.final or payout.state is PayoutState.SEEN:
            self.wake()  # it makes room for the next
        elif payout.state not in TOO_LATE and job.owner not in {"", payout.from_address}:
            await self._withdraw(payout, job)

    async def _withdraw(self, payout: Payout, job: Job) -> None:
        """Have an order cancelled whose wallet has another address by now than the one that the operator saw."""
        log.get_logger().error("payout.wallet_changed", payout=payout.id, was=payout.from_address, now=job.owner)
        seq = seq_of(payout.id)
        await self._store.ask_cancel(seq, "payout service: the wallet has another address", self._clock.now())
        self._unsure.add(seq)
        self.wake()

    # Handing over

    async def _deliver(self) -> None:
        """Hand over whatever is due, now and whenever something changes; with pauses while it fails."""
        pause = FIRST_PAUSE_S
        while True:
            self._wake.clear()
            if await self._deliver_due():
                pause = FIRST_PAUSE_S
                await self._wake.wait()
            else:
                await self._first_of(self._wake.wait(), self._clock.sleep(pause))
                pause = min(LONGEST_PAUSE_S, pause * 2)

    async def _deliver_due(self) -> bool:
        """Hand over what is due; False when something has to be tried again."""
        try:
            await self._close_gap()
            unsure = sorted(self._unsure)
            self._unsure.clear()
            fine = await self._each(unsure)
            fresh = await self._store.next_in_line(self._per_wallet, frozenset(self._resting))
            return await self._each(fresh) and fine
        except Exception:  # noqa: BLE001 - a defect must not end the handing over
            log.get_logger().exception("payout.deliver_failed")
            return False

    async def _close_gap(self) -> None:
        """After a missed event, look again at everything that was handed over."""
        if not self._gap:
            return
        self._gap = False  # before the read: an event that is missed meanwhile opens it again
        try:
            self._unsure.update(await self._store.handed_over())
        except LucidError:
            self._gap = True
            raise

    async def _each(self, seqs: Iterable[int]) -> bool:
        room = asyncio.Semaphore(AT_ONCE)

        async def one(seq: int) -> bool:
            async with room:
                return await self._deliver_one(seq)

        return all(await asyncio.gather(*(one(seq) for seq in seqs)))

    async def _deliver_one(self, seq: int) -> bool:
        try:
            async with self._locks.hold(str(seq)):
                await self._hand_over(seq)
        except LucidError as error:
            await self._postpone(seq, error.message)
            return False
        except Exception:  # noqa: BLE001 - one defect must not hold up the other payouts
            log.get_logger().exception("payout.hand_over_failed", payout=seq)
            self._unsure.add(seq)
            return False
        return True

    async def _postpone(self, seq: int, why: str) -> None:
        """Say what an open payout waits for, and try it again later."""
        self._unsure.add(seq)
        try:
            self.publish(await self._store.say(seq, why, self._clock.now()))
        except LucidError as error:
            log.get_logger().error("payout.not_noted", payout=seq, reason=error.message)

    async def _hand_over(self, seq: int) -> None:
        # Committed before the order leaves: after a crash it counts as being there, and is cancelled there only.
        handover = await self._store.hand_over(seq)
        if handover is None:
            return
        if handover.cancel_by is not None:
            try:
                await self._cancel_there(handover)
            except Conflict as error:
                log.get_logger().warning("payout.cancel_too_late", payout=handover.payout_id, reason=error.message)
            return
        if handover.taken:
            await self._ask_for(handover)
            return
        key = handover.order.key
        try:
            await self._ask(key, self._tron.submit(handover.ordered), _itself)
        except LucidError as error:
            if error.status >= 500 or isinstance(error, Locked | TooManyRequests):
                raise
            await self._refused(handover, error)

    async def _ask_for(self, handover: Handover) -> None:
        """Ask how an order stands that the TRON client has taken. It is never given again.

        Raises:
            Unavailable: the TRON client could not be asked, or has lost it.
        """
        key = handover.order.key
        try:
            await self._ask(key, self._tron.job(key), _itself)
        except NotFound:
            log.get_logger().error("payout.order_lost", payout=handover.payout_id, order=key)
            raise _lost(key) from None

    async def _refused(self, handover: Handover, refusal: LucidError) -> None:
        """Hold an order that the TRON client does not take: it has none under this key, or one that is not ours."""
        key = handover.order.key
        try:
            job = await self._tron.job(key)
        except NotFound:
            pass
        else:
            if progress_of(job).order == handover.order:
                await self._advance(job)
                return
        self._resting.add(handover.seq)
        log.get_logger().error("payout.order_refused", payout=handover.payout_id, order=key, reason=refusal.message)
        waiting = f"the TRON client refuses the order: {refusal.message}; cancel it, or retry when the cause is gone"
        self.publish(await self._store.take_back(handover.seq, handover.number, waiting, self._clock.now()))

    async def _cancel_there(self, handover: Handover) -> None:
        """Have the TRON client withdraw an order that it may know.

        Raises:
            Conflict: too late; the payout goes on.
            Unavailable: it could not be asked; the wish is kept.
        """
        key = handover.order.key
        try:
            try:
                await self._ask(key, self._tron.cancel(key), _itself)
            except NotFound:
                if handover.taken:
                    raise _lost(key) from None
                # Lost on its way, or still on it: only what is there can be withdrawn for good.
                await self._tron.submit(handover.ordered)
                await self._ask(key, self._tron.cancel(key), _itself)
        except Conflict as error:
            await self._store.drop_cancel(handover.seq, self._clock.now())
            await self._ask(key, self._tron.job(key), _itself)
            raise Conflict(f"{handover.payout_id} can no longer be cancelled: {error.message}") from error

    async def _first_of(self, *waits: Coroutine[Any, Any, Any]) -> None:
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _lost(key: str) -> Unavailable:
    return Unavailable(
        f"the TRON client has lost the order {key}, which may be paid: restore its database; nothing is ordered again"
    )


def _itself(job: Job) -> Job:
    return job
