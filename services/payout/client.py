"""Typed calls to the payout router."""

from pathlib import Path
from urllib.parse import quote

from services.kit.client import Client
from services.payout.api import (
    AcceptDeath,
    CreatePayout,
    ListPayouts,
    Payout,
    PayoutIntent,
    PayoutPage,
    PayoutStats,
    Quote,
    RetriedPayout,
)

_PAYOUTS = "/api/v1/tron/payouts"


class PayoutClient(Client):
    """The payout router; errors as in `Client`, and those that `services.payout.service` names."""

    def __init__(self, socket_path: Path | str) -> None:
        """Reach the service at its socket."""
        super().__init__(socket_path, "payout")

    async def create(self, body: CreatePayout) -> Payout:
        """Make a payout, once per key: after a timeout send the same body again."""
        return await self._post(_PAYOUTS, Payout, body)

    async def quote(self, intent: PayoutIntent) -> Quote:
        """Try a payout dry; a `CreatePayout` will do, its key plays no part."""
        bare = PayoutIntent.model_construct(**{name: getattr(intent, name) for name in PayoutIntent.model_fields})
        return await self._post(f"{_PAYOUTS}/quote", Quote, bare)

    async def list(self, query: ListPayouts | None = None) -> PayoutPage:
        """Return a page of payouts, newest first."""
        return await self._get(_PAYOUTS, PayoutPage, params=query)

    async def stats(self) -> PayoutStats:
        """Return counts, what was paid, and what is used of the limits."""
        return await self._get(f"{_PAYOUTS}/stats", PayoutStats)

    async def get(self, payout_id: str) -> Payout:
        """Return one payout."""
        return await self._get(_one(payout_id), Payout)

    async def cancel(self, payout_id: str) -> Payout:
        """Withdraw a payout before its bytes leave."""
        return await self._post(f"{_one(payout_id)}/cancel", Payout)

    async def retry(self, payout_id: str) -> RetriedPayout:
        """Push a payout on; the answer says what was done."""
        return await self._post(f"{_one(payout_id)}/retry", RetriedPayout)

    async def accept_death(self, payout_id: str, txid: str) -> Payout:
        """Take a death proof that rests on one endpoint."""
        return await self._post(f"{_one(payout_id)}/accept-death", Payout, AcceptDeath(txid=txid))


def _one(payout_id: str) -> str:
    return f"{_PAYOUTS}/{quote(payout_id, safe='')}"
