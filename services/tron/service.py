"""The TRON client's decisions: reads, broadcasts of strangers' bytes, waiting, and orders through the sender."""

import asyncio
import contextlib
from typing import Any

from services.kit.cache import Cache
from services.kit.client import follow
from services.kit.clock import Clock
from services.kit.errors import Conflict, Invalid, NotFound, Timeout, Unavailable
from services.kit.metrics import Metrics
from services.protocol.address import Address, AddressError
from services.protocol.transaction import ProtocolError, RawData, SignedTransaction
from services.tron import api
from services.tron.api import JobState, TxState
from services.tron.chain import Chain
from services.tron.endpoints import Endpoints
from services.tron.pause import wait_for
from services.tron.reads import Reads
from services.tron.sender import Sender
from services.tron.store import JobStore
from services.wallet.client import WalletClient

_WAKING = {"wallet", "signer", "reset"}
"""Events of the wallet service after which an order that waits for it looks again."""


class TronService:
    """Everything that the routes offer."""

    def __init__(
        self,
        *,
        network: str,
        store: JobStore,
        endpoints: Endpoints,
        chain: Chain,
        reads: Reads,
        sender: Sender,
        wallet: WalletClient,
        cache: Cache,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """Join the parts; nothing is opened before `start`."""
        self._network = network
        self._store = store
        self._endpoints = endpoints
        self._chain = chain
        self._reads = reads
        self._sender = sender
        self._wallet = wallet
        self._cache = cache
        self._clock = clock
        self._metrics = metrics
        self._listening: asyncio.Task[None] | None = None

    # --- life ---

    async def start(self) -> None:
        """Open the store, begin to watch the chain, and go on with every live order."""
        await self._store.open(self._network)
        await self._chain.start()
        await self._sender.start()
        self._listening = asyncio.create_task(self._listen_to_wallet())

    async def stop(self) -> None:
        """Stop; orders go on after the next start."""
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening
        await self._sender.stop()
        await self._chain.stop()
        await self._endpoints.close()
        await self._wallet.close()
        await self._store.close()

    async def ready(self) -> dict[str, str]:
        """Every dependency with `ok` or words."""
        return {"chain": self._chain_words(), "wallet": await self._wallet_words()}

    def _chain_words(self) -> str:
        try:
            self._chain.base()
        except Unavailable as error:
            return error.message
        return "ok"

    async def _wallet_words(self) -> str:
        try:
            await self._wallet.signer()
        except (Unavailable, Timeout) as error:
            return error.message
        return "ok"

    def details(self) -> dict[str, Any]:
        """More for `/status`."""
        return {"network": self._network, "jobs_live": self._sender.jobs_live, "endpoints": len(self._endpoints.all)}

    async def _listen_to_wallet(self) -> None:
        """Let waiting orders go on as soon as a wallet is unlocked or signing is thawed."""
        async for event in follow(self._wallet):
            if event.name in _WAKING:
                self._sender.wake()

    # --- the network ---

    def status(self) -> api.NetworkStatus:
        """The chain and its endpoints as last seen."""
        return self._chain.status()

    def health(self) -> api.NetworkStatus:
        """The same, if transactions can be built and followed now; raises Unavailable if not."""
        self._chain.base()
        return self._chain.status()

    def stats(self) -> api.NetworkStats:
        """Counters since the start."""
        return api.NetworkStats(
            upstream_calls=sum(upstream.calls for upstream in self._endpoints.all),
            upstream_failures=sum(upstream.failures for upstream in self._endpoints.all),
            retries=self._metrics.retries_total,
            cache_hits=self._cache.hits,
            cache_misses=self._cache.misses,
            jobs_live=self._sender.jobs_live,
        )

    async def latest_block(self) -> api.Block:
        """Return the head."""
        return await self._reads.latest_block()

    async def block(self, number: str) -> api.Block:
        """Return a block by its number."""
        if not (number.isascii() and number.isdigit() and len(number) <= 18):
            raise Invalid(f"{number[:32]!r} is not a block number", field="number")
        return await self._reads.block(int(number))

    async def account(self, address: str) -> api.Account:
        """Return an account."""
        return await self._reads.account(_address(address))

    async def validate(self, body: api.ValidateAddress) -> api.AddressCheck:
        """Say what is known of a text that should be an address."""
        return await self._reads.validate(body.address)

    async def quote(self, body: api.QuoteTransfer) -> api.TransferQuote:
        """Price a transfer."""
        return await self._reads.quote(body)

    # --- transactions ---

    async def transaction(self, txid: str) -> api.Transaction:
        """Return a transaction as an endpoint shows it."""
        return await self._reads.transaction(_txid(txid))

    async def receipt(self, txid: str) -> api.Receipt:
        """Return what a transaction cost."""
        return await self._reads.receipt(_txid(txid))

    async def history(self, wallet: str, query: api.HistoryQuery) -> api.History:
        """Return transactions of an address, or of a wallet of this node by its name."""
        try:
            address = Address.parse(wallet).base58
        except AddressError:
            address = (await self._wallet.get(wallet)).address
        return await self._reads.history(address, query)

    async def wait(self, txid: str, query: api.WaitQuery) -> api.Transaction:
        """Return a transaction once it is in a block, or once that block is solid.

        Raises:
            Timeout: it is not yet; it may still be later.
        """
        txid = _txid(txid)
        wanted = {TxState.SOLID} if query.until == "solid" else {TxState.SEEN, TxState.SOLID}
        end = self._clock.monotonic() + query.timeout_s
        changed = asyncio.Event()
        self._chain.listen(changed.set)
        try:
            while True:
                changed.clear()
                self._cache.forget(f"tx:{txid}")
                shown = await self._reads.transaction(txid)
                if shown.state in wanted:
                    return shown
                if self._clock.monotonic() >= end:
                    raise Timeout(
                        f"{txid} is {shown.state.value} after {query.timeout_s} s, not yet {query.until}: ask again",
                        state=shown.state.value,
                    )
                await wait_for(changed, end - self._clock.monotonic(), self._clock)
        finally:
            self._chain.unlisten(changed.set)

    async def broadcast(self, body: api.Broadcast) -> api.BroadcastResult:
        """Send signed bytes that were made elsewhere, to every endpoint, once.

        Raises:
            Invalid: they are not a signed transaction.
            Conflict: they are an order's, whose bytes only the sender sends.
            Unavailable: no endpoint can be asked.
        """
        try:
            signed = SignedTransaction.decode(bytes.fromhex(body.transaction_hex))
            RawData.decode(signed.raw, strict=False)
        except ProtocolError as error:
            raise Invalid(f"not a transaction: {error}", field="transaction_hex") from None
        if not signed.signatures:
            raise Invalid("it is not signed", field="transaction_hex")
        row = await self._store.by_txid(signed.txid)
        if row is not None:
            raise Conflict(f"{signed.txid} is order {row.key}'s: use its retry", key=row.key)
        answers = await self._sender.broadcast(body.transaction_hex, signed.txid)
        return api.BroadcastResult(txid=signed.txid, answers=answers)

    # --- orders ---

    async def submit(self, order: api.Order) -> api.Job:
        """Take an order, once; see `Sender.submit`."""
        return await self._sender.submit(order)

    async def job(self, key: str) -> api.Job:
        """Return an order's job."""
        return await self._sender.job(key)

    async def jobs(self, live: bool | None) -> api.JobList:
        """Return the newest jobs."""
        return await self._sender.jobs(live)

    async def cancel(self, key: str) -> api.Job:
        """Withdraw an order; see `Sender.cancel`."""
        return await self._sender.cancel(key)

    async def retry(self, key: str) -> api.Retried:
        """Send an order's bytes again; see `Sender.retry`."""
        return await self._sender.retry(key)

    async def retry_transaction(self, txid: str) -> api.Retried:
        """Send the bytes of this node's own transaction again.

        Raises:
            NotFound: they are not an order's; this node has no bytes of them.
        """
        row = await self._store.by_txid(_txid(txid))
        if row is None:
            raise NotFound(f"no order of this node has {txid}: it has no bytes to send; use broadcast")
        if row.txid != txid and row.state is not JobState.CANCELLED:
            raise Conflict(f"{txid} was given up unsigned, order {row.key} goes on with {row.txid or 'new bytes'}")
        return await self._sender.retry(row.key)

    async def accept_death(self, key: str, body: api.AcceptDeath, by: str) -> api.Job:
        """Take a death proof that rests on one endpoint; see `Sender.accept_death`."""
        return await self._sender.accept_death(key, body.txid, by)


def _address(text: str) -> str:
    try:
        return Address.parse(text).base58
    except AddressError as error:
        raise Invalid(str(error), field="address") from None


def _txid(text: str) -> str:
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise Invalid("a transaction id has 64 lower-case hex characters", field="txid")
    return text
