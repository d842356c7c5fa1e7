"""The payout router's decisions: what is accepted, what may be cancelled, and what a retry does."""

from collections.abc import Sequence
from datetime import timedelta

from services.kit import log
from services.kit.clock import Clock
from services.kit.errors import Conflict, Invalid, LucidError, NotFound
from services.kit.models import Checks
from services.kit.money import Asset
from services.payout.api import (
    AcceptDeath,
    CreatePayout,
    ListPayouts,
    Payout,
    PayoutIntent,
    PayoutPage,
    PayoutState,
    PayoutStats,
    Quote,
    RetriedPayout,
)
from services.payout.orders import KeyedLocks, Orders
from services.payout.policy import Policy, Usage
from services.payout.preflight import Facts, Preflight, Refused, body_hash
from services.payout.store import RETRYABLE, Claim, Draft, PayoutStore, payout_id, same_body, seq_of
from services.protocol.address import Address, AddressError
from services.tron.client import TronClient

MAX_ATTEMPTS = 3
"""Transactions that one payout may have, one after the other."""


class PayoutService:
    """Accepts payouts and answers for them: each is paid once, or shown to be dead."""

    def __init__(
        self,
        *,
        network: str,
        policy: Policy,
        store: PayoutStore,
        preflight: Preflight,
        orders: Orders,
        tron: TronClient,
        clock: Clock,
    ) -> None:
        self._network = network
        self._policy = policy
        self._store = store
        self._preflight = preflight
        self._orders = orders
        self._tron = tron
        self._clock = clock
        self._keys = KeyedLocks()

    async def start(self) -> None:
        """Open the store and go on with every open payout.

        Raises:
            Unavailable: the store cannot be used, or is another network's.
        """
        await self._store.open(self._network)
        await self._orders.start()

    async def stop(self) -> None:
        """Stop between two steps."""
        await self._orders.stop()
        await self._store.close()

    async def ready(self) -> Checks:
        """Say whether the TRON client can be reached; accepting a payout needs it."""
        try:
            await self._tron.latest_block()
        except LucidError as error:
            return {"tron": error.message}
        return {"tron": "ok"}

    async def quote(self, intent: PayoutIntent) -> Quote:
        """Try a payout dry: what it would cost, what would be left, and what forbids it.

        Raises:
            Refused: it can never be paid as it stands.
            Unavailable: the chain or the wallet service could not be asked.
        """
        facts = await self._preflight.look(intent)
        usage = await self._store.usage(facts.claim)
        balance, fee_sun = facts.balance(usage), facts.claim.fee_in(usage)
        twins = await self._store.twins(intent.to, intent.asset, intent.amount)
        again = [f"{', '.join(twins)} pays the same amount to the same address and is still open"] if twins else []
        return Quote(
            wallet=facts.wallet.name,
            from_address=facts.wallet.address,
            to=intent.to,
            asset=intent.asset,
            amount=intent.amount,
            balance=balance,
            balance_after=balance - intent.amount - fee_sun,
            fee_sun=fee_sun,
            to_activated=facts.price.to_activated,
            check_code=self._preflight.check_code(intent, facts.wallet.address),
            limits=self._policy.limits(intent.amount, usage),
            forbidden=tuple(why for _, why in self._objections(intent, facts, usage)),
            warnings=(*again, *facts.warnings(intent.memo)),
            block_number=facts.price.block_number,
        )

    async def create(self, body: CreatePayout, by: str) -> tuple[Payout, bool]:
        """Accept a payout, once per key; returns it, and whether it is new.

        When this returns, the payout, its key, its reservation and its use of the limits are on the disk.

        Raises:
            Conflict: the key was used with another body.
            Refused: the policy, the balance or the wallet forbids it.
            Unavailable: the chain or the wallet service could not be asked; nothing was accepted.
        """
        # One caller per key: the others wait for the first and get its payout, never an error beside it.
        async with self._keys.hold(body.key):
            digest = body_hash(body)
            if known := await self._store.by_key(body.key):
                return same_body(*known, digest), False
            facts = await self._preflight.look(body)
            draft = Draft(
                key=body.key,
                body_hash=digest,
                wallet=body.wallet,
                from_address=facts.wallet.address,
                to=body.to,
                asset=body.asset,
                amount=body.amount,
                memo=body.memo,
                reason=body.reason,
                check_code=self._preflight.check_code(body, facts.wallet.address),
                by=by,
            )
            payout, is_new = await self._store.create(
                draft,
                facts.claim,
                lambda usage: self._refuse(body, facts, usage),
                self._clock.now(),
                self._policy.max_concurrent,
            )
        if is_new:
            log.get_logger().info(
                "payout.accepted", payout=payout.id, by=by, amount=payout.amount, asset=payout.asset, to=payout.to
            )
            self._orders.publish(payout)
            self._orders.wake()
        return payout, is_new

    async def list(self, query: ListPayouts) -> PayoutPage:
        """Return a page of payouts, newest first.

        Raises:
            Invalid: `before` is no page, or `to` no address.
        """
        try:
            before = seq_of(query.before) if query.before is not None else None
            to = Address.parse(query.to).base58 if query.to is not None else None
        except NotFound:
            raise Invalid("give the `next` of the page before", field="before") from None
        except AddressError as error:
            raise Invalid(str(error), field="to") from None
        items, following = await self._store.page(query, before, to)
        return PayoutPage(items=tuple(items), next=payout_id(following) if following is not None else None)

    async def stats(self) -> PayoutStats:
        """Count payouts, what was paid in the last 24 hours, and what is used of the limits."""
        try:
            chain_ms = await self._preflight.chain_ms()
        except LucidError:
            chain_ms = await self._store.newest_chain_ms()  # shows more used than there is, never less
        view = Claim(address="", asset=Asset.TRX, amount=0, fee_sun=0, block_number=0, chain_ms=chain_ms)
        return PayoutStats(
            by_state=await self._store.counts(),
            paid_today=await self._store.paid_since(self._clock.now() - timedelta(days=1)),
            limits=self._policy.limits(0, await self._store.usage(view)),
        )

    async def get(self, text: str) -> Payout:
        """Return one payout by its id.

        Raises:
            NotFound: there is none.
        """
        return await self._store.get(seq_of(text))

    async def cancel(self, text: str, by: str) -> Payout:
        """Withdraw a payout before its bytes leave; one that is cancelled already stays so.

        Raises:
            NotFound: there is none.
            Conflict: it is too late.
        """
        payout = await self._orders.cancel(seq_of(text), by)
        log.get_logger().info("payout.cancel", payout=payout.id, by=by, state=payout.state)
        return payout

    async def retry(self, text: str, by: str) -> RetriedPayout:
        """Push a payout on: the same bytes again, or a new attempt after the last one failed on chain or died.

        Raises:
            NotFound: there is none.
            Refused: a new attempt is forbidden by the policy, the balance or the wallet.
            Unavailable: the TRON client, the chain or the wallet service could not be asked; nothing was opened.
        """
        payout = await self._store.get(seq_of(text))
        log.get_logger().info("payout.retry", payout=payout.id, by=by, state=payout.state)
        if payout.state in RETRYABLE:
            return await self._retry_ended(payout)
        if payout.state.final or payout.state is PayoutState.AWAITING_APPROVAL:
            words = f"{payout.id} is {payout.state.value.replace('_', ' ')}: there is nothing to send"
            return RetriedPayout(payout=payout, act="none", message=words)
        return await self._retry_live(payout)

    async def accept_death(self, text: str, body: AcceptDeath, by: str) -> Payout:
        """Take a death proof that rests on one endpoint; the attempt then counts as dead.

        Raises:
            NotFound: there is no such payout.
            Conflict: the txid is not that of its live attempt, or there is no proof to accept.
        """
        payout = await self._store.get(seq_of(text))
        if payout.txid is None or payout.txid != body.txid.lower():
            raise Conflict(f"that is not the transaction of {payout.id}: it is {payout.txid or 'not built yet'}")
        await self._orders.accept_death(seq_of(text), payout.txid)
        log.get_logger().info("payout.death_accepted", payout=payout.id, by=by, txid=payout.txid)
        return await self._store.get(seq_of(text))

    async def _retry_live(self, payout: Payout) -> RetriedPayout:
        done = await self._orders.send_again(seq_of(payout.id))
        now = await self._store.get(seq_of(payout.id))
        if done is None:
            words = "its order is being handed to the TRON client; nothing was signed before"
            return RetriedPayout(payout=now, act="none", message=words)
        return RetriedPayout(payout=now, act=done.act, message=done.message)

    async def _retry_ended(self, payout: Payout) -> RetriedPayout:
        number = payout.attempt + 1
        if number > MAX_ATTEMPTS:
            words = f"{payout.id} had {MAX_ATTEMPTS} attempts, which is the most: find out why, then make a new payout"
            return RetriedPayout(payout=payout, act="none", message=words)
        intent = PayoutIntent(
            wallet=payout.wallet,
            to=payout.to,
            asset=payout.asset,
            amount=payout.amount,
            memo=payout.memo,
            reason=payout.reason,
        )
        facts = await self._preflight.look(intent)
        if facts.wallet.address != payout.from_address:
            raise Refused(
                f"{payout.wallet} has another address than when {payout.id} was accepted: make a new payout",
                field="wallet",
            )
        reopened = await self._store.reopen(
            seq_of(payout.id), number, facts.claim, lambda usage: self._refuse(intent, facts, usage), self._clock.now()
        )
        self._orders.publish(reopened)
        self._orders.wake()
        ended = payout.state.value.replace("_", " ")
        return RetriedPayout(
            payout=reopened,
            act="new_attempt",
            message=f"attempt {payout.attempt} is {ended}; attempt {number} was opened",
        )

    def _objections(self, intent: PayoutIntent, facts: Facts, usage: Usage) -> Sequence[tuple[str, str]]:
        return [
            *self._policy.objections(intent.to, intent.asset, intent.amount, usage),
            *facts.shortage(usage),
        ]

    def _refuse(self, intent: PayoutIntent, facts: Facts, usage: Usage) -> None:
        if found := self._objections(intent, facts, usage):
            raise Refused("; ".join(why for _, why in found), fields=found)
