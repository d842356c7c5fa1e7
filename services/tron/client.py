"""Typed calls to the TRON client service."""

from pathlib import Path
from typing import Literal
from urllib.parse import quote

from services.kit.client import Client
from services.tron import api

_BASE = "/api/v1/tron"


class TronClient(Client):
    """The TRON client; errors as in `Client`, and those that `services.tron.service` names."""

    def __init__(self, socket_path: Path | str) -> None:
        """Reach the service at its socket."""
        super().__init__(socket_path, "tron")

    async def network_status(self) -> api.NetworkStatus:
        """The chain and its endpoints as last seen."""
        return await self._get(f"{_BASE}/network/status", api.NetworkStatus)

    async def stats(self) -> api.NetworkStats:
        """Counters since the service started."""
        return await self._get(f"{_BASE}/network/stats", api.NetworkStats)

    async def latest_block(self) -> api.Block:
        """The head."""
        return await self._get(f"{_BASE}/network/latest-block", api.Block)

    async def block(self, number: int) -> api.Block:
        """A block; raises NotFound."""
        return await self._get(f"{_BASE}/network/block/{number}", api.Block)

    async def account(self, address: str) -> api.Account:
        """An account."""
        return await self._get(f"{_BASE}/network/account/{_part(address)}", api.Account)

    async def validate(self, address: str) -> api.AddressCheck:
        """Whether a text is an address, and whether the chain knows it."""
        return await self._post(
            f"{_BASE}/network/validate-address", api.AddressCheck, api.ValidateAddress(address=address)
        )

    async def quote_transfer(self, transfer: api.QuoteTransfer) -> api.TransferQuote:
        """What a transfer of TRX would cost now."""
        return await self._post(f"{_BASE}/network/quote-transfer", api.TransferQuote, transfer)

    async def broadcast(self, signed: api.Broadcast) -> api.BroadcastResult:
        """Send signed bytes that were made elsewhere."""
        return await self._post(f"{_BASE}/transactions/broadcast", api.BroadcastResult, signed, timeout_s=60)

    async def transaction(self, txid: str) -> api.Transaction:
        """A transaction as an endpoint shows it."""
        return await self._get(f"{_BASE}/transactions/{_part(txid)}", api.Transaction)

    async def receipt(self, txid: str) -> api.Receipt:
        """What a transaction cost; raises NotFound while no block has it."""
        return await self._get(f"{_BASE}/transactions/{_part(txid)}/receipt", api.Receipt)

    async def wait(self, txid: str, until: Literal["seen", "solid"] = "solid", timeout_s: int = 60) -> api.Transaction:
        """Wait until a transaction is in a block, or until that is solid; raises Timeout if it is not in time."""
        return await self.request(
            "GET",
            f"{_BASE}/transactions/{_part(txid)}/wait",
            api.Transaction,
            params=api.WaitQuery(until=until, timeout_s=timeout_s),
            timeout_s=timeout_s + 30,
        )

    async def retry_transaction(self, txid: str) -> api.Retried:
        """Send the same bytes of an order's transaction again."""
        return await self._post(f"{_BASE}/transactions/{_part(txid)}/retry", api.Retried, timeout_s=60)

    async def history(self, address: str, query: api.HistoryQuery | None = None) -> api.History:
        """Transactions of an address, or of a wallet of this node by its name, newest first."""
        return await self._get(f"{_BASE}/transactions/{_part(address)}/history", api.History, query)

    async def submit(self, order: api.Order) -> api.Job:
        """Have something done on the chain, once; safe to repeat with the same key and the same order."""
        return await self._post(f"{_BASE}/orders", api.Job, order)

    async def job(self, key: str) -> api.Job:
        """An order's job; raises NotFound."""
        return await self._get(f"{_BASE}/orders/{_part(key)}", api.Job)

    async def jobs(self, live: bool | None = None) -> api.JobList:
        """Jobs, newest first."""
        return await self._get(f"{_BASE}/orders", api.JobList, {"live": live})

    async def retry(self, key: str) -> api.Retried:
        """Send an order's bytes again, unchanged."""
        return await self._post(f"{_BASE}/orders/{_part(key)}/retry", api.Retried, timeout_s=60)

    async def cancel(self, key: str) -> api.Job:
        """Withdraw an order; raises Conflict once its bytes may have left."""
        return await self._post(f"{_BASE}/orders/{_part(key)}/cancel", api.Job)

    async def accept_death(self, key: str, txid: str) -> api.Job:
        """Take a death proof that rests on one endpoint, which is asked once more before."""
        return await self._post(
            f"{_BASE}/orders/{_part(key)}/accept-death", api.Job, api.AcceptDeath(txid=txid), timeout_s=60
        )


def _part(text: str) -> str:
    return quote(text, safe="")
