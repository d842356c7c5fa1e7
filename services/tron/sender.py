"""The exactly-once sender: an order becomes one transaction that is paid, failed or provably dead.

One task drives each live job, and everything it decides on is in the store: after a crash the tasks are started again
and go on. A job moves so::

    accepted → built → signed → sending ⇄ seen → paid | failed_on_chain | dead
        ↑________|  only when the wallet promised never to sign those bytes

Where a crash may happen, before, within or after, and why it is harmless (the tests die at each, by these names)::

    store.add            accepted, nothing built: it is built after the restart
    wallet.get, .signer  only asked
    store.build          bytes and txid are durable and unsigned: the same bytes are signed
    wallet.sign          the wallet may have signed: it gives the same signature for the same key and bytes
    wallet.void          the wallet may have promised: it promises again, or says that it had signed
    store.unbuild        after the promise; before this is stored, the promise is asked for again
    store.sign           nothing has left
    store.depart         `sending` is durable before the first byte leaves: the same bytes are sent
    broadcast            nobody knows who has them: the same bytes are sent
    store.note_answers   what endpoints say to a broadcast decides nothing
    store.count_send     before a repeated send of the same bytes
    store.see, .lose     where it stands is looked for again
    store.finish, .die   final, or found to be so once more
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from services.kit import log
from services.kit.clock import Clock
from services.kit.errors import Conflict, LucidError, NotFound, Unavailable
from services.kit.events import EventBus
from services.kit.metrics import Metrics
from services.protocol.address import Address
from services.protocol.transaction import SignedTransaction
from services.tron import api
from services.tron.answers import Reading, read_answer, read_failure
from services.tron.api import JobState
from services.tron.build import build
from services.tron.chain import Chain
from services.tron.endpoints import Endpoints, Upstream
from services.tron.evidence import Evidence, Sent, View
from services.tron.node import NodeError
from services.tron.pause import wait_for
from services.tron.signing import Signer, able_wallet, checked_signature, sign_key
from services.tron.store import JobRow, JobStore
from services.wallet import api as wallet_api


@dataclass(frozen=True, slots=True)
class SenderPolicy:
    """How long and how often. None of it decides about money."""

    lifetime_ms: int = 180_000
    """Chain time from the head to the expiration."""
    sign_margin_ms: int = 45_000
    """Bytes with less chain time left than this are not signed any more; new ones are built."""
    wallet_retry_s: float = 5.0
    """How soon a wallet that could not sign is asked again, unless it tells before."""
    look_s: float = 10.0
    """How soon endpoints are asked again, unless the chain moves before."""
    first_resend_s: float = 1.0
    resend_factor: float = 2.0
    longest_resend_s: float = 20.0
    held_resend_s: float = 15.0
    """The least to wait after an endpoint said that it holds the bytes: five blocks."""
    confirmation_timeout_s: float = 300.0
    """After this long without an end the job says so."""


@dataclass
class _Live:
    """What is known of a live job only in memory; a restart may lose it."""

    key: str
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    state: JobState = JobState.ACCEPTED
    sent_rounds: int = 0
    """Sends since the start of this process."""
    next_send: float = 0.0
    """Monotonic time before which the bytes are not sent again."""
    doubts: str = ""
    """Why its death, which is due, cannot be proved."""


_AT_ONCE = 0.0
_SENT = {JobState.SENDING, JobState.SEEN}


class Sender:
    """Takes orders and sees each through to its end."""

    def __init__(
        self,
        store: JobStore,
        wallet: Signer,
        chain: Chain,
        endpoints: Endpoints,
        evidence: Evidence,
        *,
        network: str,
        clock: Clock,
        bus: EventBus,
        metrics: Metrics,
        policy: SenderPolicy,
        rng: Random | None = None,
    ) -> None:
        """Join the parts; `rng` only spreads repeated sends in time."""
        self._store = store
        self._wallet = wallet
        self._chain = chain
        self._endpoints = endpoints
        self._evidence = evidence
        self._network = network
        self._clock = clock
        self._bus = bus
        self._metrics = metrics
        self._policy = policy
        self._rng = rng or Random()  # noqa: S311 - jitter
        self._live: dict[str, _Live] = {}
        self._stopped = True
        chain.listen(self.wake)

    # --- life ---

    async def start(self) -> None:
        """Go on with every live job."""
        self._stopped = False
        for key in await self._store.live_keys():
            self._drive_in_background(key)

    async def stop(self) -> None:
        """Stop driving; nothing is lost, whatever was under way."""
        self._stopped = True
        tasks = [live.task for live in self._live.values() if live.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._live.clear()

    def wake(self) -> None:
        """Let every job look again now: the chain moved, or the wallet did."""
        for live in self._live.values():
            live.wake.set()

    @property
    def jobs_live(self) -> int:
        """How many jobs are neither paid, failed, dead nor cancelled."""
        return len(self._live)

    # --- orders ---

    async def submit(self, order: api.Order) -> api.Job:
        """Take an order, once.

        Safe to repeat: the same key gives the same job. Nothing is asked of anybody before it is stored.

        Raises:
            Conflict: the key was used for a different order.
        """
        row = await self._store.add(order, _digest(order))
        if not row.state.final and row.key not in self._live:
            self._publish(row)
            self._drive_in_background(row.key)
        return row.job()

    async def job(self, key: str) -> api.Job:
        """Return a job; raises NotFound."""
        return (await self._store.get(key)).job()

    async def jobs(self, live: bool | None, limit: int = 200) -> api.JobList:
        """Return jobs, newest first."""
        return api.JobList(items=tuple(row.job() for row in await self._store.list(live, limit)))

    async def cancel(self, key: str) -> api.Job:
        """Withdraw an order before anything left.

        Raises:
            NotFound: there is no such order.
            Conflict: its bytes may have left, or it has ended otherwise.
        """
        row = await self._store.cancel(key)
        if row is None:
            row = await self._store.get(key)
            if row.state is not JobState.CANCELLED:
                raise Conflict(
                    f"order {key} is {row.state.value}: only what has not been sent can be cancelled",
                    state=row.state.value,
                )
            return row.job()
        self._publish(row)
        self._wake(key)
        return row.job()

    async def retry(self, key: str) -> api.Retried:
        """Send the stored bytes again now, if they may be sent; nothing is ever built or signed by it."""
        row = await self._store.get(key)
        if row.state not in _SENT or row.txid is None:
            words = "nothing has been sent yet; it goes on by itself" if not row.state.final else "it has ended"
            self._wake(key)
            return api.Retried(job=row.job(), act="none", message=f"order {key} is {row.state.value}: {words}")
        counted = await self._store.count_send(key, row.txid)
        targets = self._endpoints.usable()
        if counted is None or not targets:
            row = await self._store.get(key)
            why = self._endpoints.why_none() if not targets else f"it is {row.state.value} now"
            return api.Retried(job=row.job(), act="none", message=f"order {key}: nothing was sent: {why}")
        self._metrics.retried("operator")
        row = await self._send_to(counted, targets)
        said = "; ".join(f"{answer.endpoint} says {answer.code}" for answer in row.answers)
        self._wake(key)
        return api.Retried(job=row.job(), act="same_bytes", message=f"the same bytes were sent again: {said}")

    async def accept_death(self, key: str, txid: str, by: str) -> api.Job:
        """Take a death proof that rests on the one configured endpoint; it is made once more before.

        Raises:
            NotFound: there is no such order.
            Conflict: there is no such proof, it is not needed, or the endpoint knows the transaction after all.
            Unavailable: the endpoint does not repeat what it said; nothing was accepted.
        """
        row = await self._store.get(key)
        if row.state is JobState.DEAD and row.txid == txid:
            return row.job()
        if row.state not in _SENT or row.proof is None or row.proof.txid != txid:
            raise Conflict(f"order {key} is {row.state.value} and has no death proof for {txid} to accept")
        if not self._endpoints.single:
            raise Conflict("several endpoints are configured by now: what one of them says is not enough")
        inquest = await self._evidence.death(_sent(row))
        if inquest.known:
            await self._store.note_proof(key, None)
            self._wake(key)
            raise Conflict(f"the endpoint knows {txid} now: the proof is void")
        if inquest.proof is None:
            why = inquest.words or self._endpoints.why_none()
            raise Unavailable(f"the proof cannot be repeated now, and nothing was accepted: {why}")
        proof = inquest.proof.model_copy(update={"accepted_by": by, "accepted_at": self._clock.now()})
        dead = await self._store.die(key, proof)
        if dead is None:
            raise Conflict(f"order {key} has changed meanwhile: look again")
        self._publish(dead)
        self._wake(key)
        return dead.job()

    async def broadcast(self, signed_hex: str, txid: str) -> tuple[api.Answer, ...]:
        """Send bytes that are no order's to every endpoint, once.

        Raises:
            Unavailable: no endpoint can be asked; nothing was sent.
        """
        targets = self._endpoints.usable()
        if not targets:
            raise Unavailable(f"nothing was sent, no endpoint can be asked: {self._endpoints.why_none()}")
        return tuple(await asyncio.gather(*(self._broadcast(upstream, signed_hex, txid) for upstream in targets)))

    # --- driving ---

    def _drive_in_background(self, key: str) -> None:
        if self._stopped or key in self._live:
            return
        live = self._live[key] = _Live(key)
        live.task = asyncio.create_task(self._drive(live))

    async def _drive(self, live: _Live) -> None:
        """Take step after step until the job has ended."""
        while True:
            live.wake.clear()
            try:
                pause_s = await self._turn(live)
            except Exception:  # noqa: BLE001 - a defect, or a full disk: the job must be seen through all the same
                log.get_logger().exception("job.turn_failed", job=live.key)
                pause_s = self._policy.look_s
            if pause_s is None:
                break
            if pause_s > 0:
                await wait_for(live.wake, pause_s, self._clock)
        self._live.pop(live.key, None)

    async def _turn(self, live: _Live) -> float | None:
        """Take one step from what the store says; return how long to pause, None at the end."""
        row = await self._store.get(live.key)
        live.state = row.state
        if row.state.final:
            return None
        if not self._chain.looked:
            return self._policy.look_s
        steps: dict[JobState, Callable[[JobRow, _Live], Awaitable[float]]] = {
            JobState.ACCEPTED: self._build,
            JobState.BUILT: self._sign,
            JobState.SIGNED: self._depart,
            JobState.SENDING: self._follow,
            JobState.SEEN: self._follow,
        }
        try:
            return await steps[row.state](row, live)
        except LucidError as error:
            if error.message != row.waiting:
                log.get_logger().info("job.waits", job=row.key, state=row.state.value, reason=error.message)
            await self._say(row, error.message)
            return self._policy.wallet_retry_s

    # --- accepted → built ---

    async def _build(self, row: JobRow, _live: _Live) -> float:
        wallet = await able_wallet(self._wallet, row, self._network)
        base = self._chain.base()
        owner = Address.parse(wallet.address)
        built = await self._store.build(
            row.key, owner.base58, lambda last_ms: build(row.order, owner, base, self._policy.lifetime_ms, last_ms)
        )
        if built is not None:
            log.get_logger().info("job.built", job=row.key, txid=built.txid, expiration_ms=built.expiration_ms)
            self._publish(built)
        return _AT_ONCE

    # --- built → signed ---

    async def _sign(self, row: JobRow, _live: _Live) -> float:
        """Have the bytes signed; when their time runs out first, have the wallet promise never to sign them."""
        txid, raw, expiration_ms = _bytes(row)
        if self._chain.base().head_time_ms > expiration_ms - self._policy.sign_margin_ms:
            try:
                return await self._void(row, txid)
            except Conflict:
                # It was signed after all (a crash hid it from us): those bytes are the only ones that may be used.
                log.get_logger().info("job.was_signed", job=row.key, txid=txid)
        try:
            signed = await self._wallet.sign(
                row.order.wallet, wallet_api.Sign(key=sign_key(row), raw_data_hex=raw.hex())
            )
        except Conflict as refusal:
            # Void by a promise that a crash hid from us, or something that only an operator understands.
            try:
                return await self._void(row, txid)
            except Conflict:
                raise refusal from None
        signature = checked_signature(row, signed)
        stored = await self._store.sign(row.key, txid, signature)
        if stored is not None:
            log.get_logger().info("job.signed", job=row.key, txid=txid)
            self._publish(stored)
        return _AT_ONCE

    async def _void(self, row: JobRow, txid: str) -> float:
        """Give up unsigned bytes; only after the wallet's promise may others be built.

        Raises:
            Conflict: the wallet has signed them.
        """
        await self._wallet.void(row.order.wallet, sign_key(row))
        back = await self._store.unbuild(row.key, txid)
        if back is not None:
            log.get_logger().info("job.build_void", job=row.key, txid=txid)
            self._publish(back)
        return _AT_ONCE

    # --- signed → sending ---

    async def _depart(self, row: JobRow, live: _Live) -> float:
        """Commit `sending`, then send: never the other way round."""
        txid, _, _ = _bytes(row)
        # Stored before the first byte leaves. Who cancels at the same moment wins or loses in this one commit.
        departed = await self._store.depart(row.key, txid)
        if departed is None:
            return _AT_ONCE
        self._publish(departed)
        await self._send(departed, live, self._endpoints.usable())
        return self._policy.look_s

    # --- sending, seen → the end ---

    async def _follow(self, row: JobRow, live: _Live) -> float:
        """Look for the transaction; end the job if its end is proved, else send the same bytes when it is time."""
        sent = _sent(row)
        view = await self._evidence.look(sent)
        if await self._end(row, view):
            return _AT_ONCE
        row = await self._note_sight(row, view)
        if row.state in _SENT and await self._bury(row, sent):
            return _AT_ONCE
        await self._send_again(row, live, view)
        await self._say(row, self._words(row, view))
        return self._pause_s(live)

    async def _end(self, row: JobRow, view: View) -> bool:
        """paid or failed_on_chain, when enough endpoints' solid data say so."""
        final = view.final
        if final is None or row.txid is None:
            return False
        done = await self._store.finish(row.key, row.txid, final, view.witnesses)
        if done is not None:
            log.get_logger().info(
                "job.ended", job=row.key, txid=row.txid, state=final.state.value, witnesses=view.witnesses
            )
            self._publish(done)
        return True

    async def _note_sight(self, row: JobRow, view: View) -> JobRow:
        """sending ⇄ seen: in a block that can still be undone, or undone."""
        number = view.block_number
        moved = None
        if number is not None and (row.state is JobState.SENDING or number != row.block_number):
            moved = await self._store.see(row.key, number)
        elif number is None and row.state is JobState.SEEN and view.sightings:
            moved = await self._store.lose(row.key)
        if number is not None and row.proof is not None:
            moved = await self._store.note_proof(row.key, None) or moved
        if moved is None:
            return row
        log.get_logger().info("job.sight", job=row.key, txid=row.txid, state=moved.state.value, block=number)
        self._publish(moved)
        return moved

    async def _bury(self, row: JobRow, sent: Sent) -> bool:
        """dead, when it is proved that no block can have the transaction any more."""
        live = self._live[row.key]
        live.doubts = ""
        if row.proof is not None and self._endpoints.single:
            return False
        if row.proof is not None:
            # There was one endpoint when it was made, and there are several now.
            noted = await self._store.note_proof(row.key, None)
            if noted is not None:
                self._publish(noted)
        if self._chain.solid_past(sent.expiration_ms) < self._endpoints.needed:
            return False
        inquest = await self._evidence.death(sent)
        proof = inquest.proof
        if proof is None:
            live.doubts = inquest.words
            return False
        if proof.single_endpoint:
            noted = await self._store.note_proof(row.key, proof)
            if noted is not None:
                self._publish(noted)
            return noted is not None
        dead = await self._store.die(row.key, proof)
        if dead is not None:
            log.get_logger().warning("job.dead", job=row.key, txid=row.txid)
            self._publish(dead)
        return True

    async def _send_again(self, row: JobRow, live: _Live, view: View) -> None:
        """Send the same bytes to whoever does not show them, until every head is past their expiration."""
        txid, _, expiration_ms = _bytes(row)
        head_ms = self._chain.lowest_head_ms()
        if head_ms is None or head_ms >= expiration_ms or self._clock.monotonic() < live.next_send:
            return
        # Also those that are behind the block in which others show it: whoever shows it there may lie.
        targets = [upstream for upstream in self._endpoints.usable() if upstream.name in view.missing]
        if not targets:
            return
        counted = await self._store.count_send(row.key, txid)
        if counted is not None:
            self._metrics.retried("broadcast")
            await self._send(counted, live, targets)

    # --- bytes on their way ---

    async def _send(self, row: JobRow, live: _Live, targets: Sequence[Upstream]) -> JobRow:
        """Send the bytes and set the time of the next send.

        The first time to the best endpoint, and to the others only if that one did not say that it holds them; later to
        all at once, because the first one's word was not enough.
        """
        first, rest = (targets[:1], targets[1:]) if live.sent_rounds == 0 else (targets, [])
        live.sent_rounds += 1
        row = await self._send_to(row, first)
        if rest and not self._held(row, first):
            row = await self._send_to(row, rest)
        live.next_send = self._clock.monotonic() + self._resend_pause_s(live, self._held(row, targets))
        return row

    async def _send_to(self, row: JobRow, targets: Sequence[Upstream]) -> JobRow:
        """Send the stored bytes to some endpoints at once, and keep what each said."""
        txid, raw, _ = _bytes(row)
        if row.signature is None:
            raise Conflict(f"order {row.key} has no signature")
        signed = SignedTransaction(raw, (row.signature,)).encode().hex()
        answers = await asyncio.gather(*(self._broadcast(upstream, signed, txid) for upstream in targets))
        if not answers:
            return row
        noted = await self._store.note_answers(row.key, answers)
        for answer in answers:
            log.get_logger().info("job.broadcast", job=row.key, txid=txid, endpoint=answer.endpoint, code=answer.code)
        self._publish(noted)
        return noted

    async def _broadcast(self, upstream: Upstream, signed_hex: str, txid: str) -> api.Answer:
        """Send bytes to one endpoint. Whatever it answers, it proves nothing."""
        started = self._clock.monotonic()
        try:
            answer = await upstream.post("wallet/broadcasthex", {"transaction": signed_hex})
            code, message, reading = read_answer(answer, txid)
        except NodeError as error:
            code, message, reading = read_failure(error)
        self._metrics.broadcast_duration.observe(self._clock.monotonic() - started)
        return api.Answer(
            endpoint=upstream.name, code=code, message=message, reading=reading.value, at=self._clock.now()
        )

    def _held(self, row: JobRow, targets: Sequence[Upstream]) -> bool:
        names = {upstream.name for upstream in targets}
        return any(answer.endpoint in names and Reading(answer.reading).held for answer in row.answers)

    def _resend_pause_s(self, live: _Live, held: bool) -> float:
        policy = self._policy
        pause = min(
            policy.longest_resend_s, policy.first_resend_s * policy.resend_factor ** min(live.sent_rounds - 1, 16)
        )
        if held:
            pause = max(pause, policy.held_resend_s)
        return pause * self._rng.uniform(0.8, 1.2)

    def _pause_s(self, live: _Live) -> float:
        """Until the next look, or the next send if that is sooner."""
        until_send = live.next_send - self._clock.monotonic()
        return min(self._policy.look_s, until_send) if until_send > 0 else self._policy.look_s

    # --- telling ---

    def _words(self, row: JobRow, view: View) -> str:
        """What the job waits for, when that is not simply the next block."""
        if row.proof is not None and self._endpoints.single:
            return "it can never be paid by what the one configured endpoint says: an operator has to accept the proof"
        if view.disagree:
            return f"endpoints contradict each other about how it ended: {', '.join(view.witnesses)}; one of them lies"
        if not view.sightings:
            return f"no endpoint can be asked: {self._endpoints.why_none()}"
        live = self._live.get(row.key)
        if live and live.doubts:
            return f"its time is over, and its death cannot be proved yet: {live.doubts}"
        head_ms = self._chain.lowest_head_ms()
        if row.state is JobState.SENDING and head_ms is not None and head_ms >= (row.expiration_ms or 0):
            return "its time is over: waiting for solid blocks that prove that it was not and will not be paid"
        refusals = [answer for answer in row.answers if not Reading(answer.reading).may_land]
        if row.state is JobState.SENDING and refusals and len(refusals) == len(row.answers):
            first = refusals[0]
            return f"{first.endpoint} says {first.code} {first.message}; it is sent again until its time is over"
        if row.sending_at is not None:
            waited_s = (self._clock.now() - row.sending_at).total_seconds()
            if waited_s > self._policy.confirmation_timeout_s:
                patience_s = self._policy.confirmation_timeout_s
                return f"not final after {patience_s:g} s: it is followed until it is paid or provably dead"
        return ""

    async def _say(self, row: JobRow, words: str) -> None:
        """Store what the job waits for, if that is news."""
        if words == row.waiting:
            return
        told = await self._store.wait(row.key, row.state, words)
        if told is not None:
            self._publish(told)

    def _publish(self, row: JobRow) -> None:
        self._bus.publish("job", row.job())

    def _wake(self, key: str) -> None:
        if live := self._live.get(key):
            live.wake.set()


def _digest(order: api.Order) -> str:
    """Hash of what an order says; fields with their defaults are left out, so that a new one changes nothing."""
    said = order.model_dump(mode="json", exclude_defaults=True)
    said["contract"]["type"] = order.contract.type
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _bytes(row: JobRow) -> tuple[str, bytes, int]:
    """Return txid, raw_data bytes and expiration of a job that was built."""
    if row.txid is None or row.raw is None or row.expiration_ms is None:
        raise NotFound(f"order {row.key} is {row.state.value} and has no bytes")
    return row.txid, row.raw, row.expiration_ms


def _sent(row: JobRow) -> Sent:
    txid, raw, expiration_ms = _bytes(row)
    return Sent(txid, raw.hex(), expiration_ms)
