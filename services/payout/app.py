"""Routes of the payout router, one line each into `PayoutService`."""

from services.kit.errors import Conflict, Invalid, NotFound, Unavailable
from services.kit.http import BASE, Answer, Call, Endpoint
from services.kit.peer import Role
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
from services.payout.service import PayoutService

_PAYOUTS = f"{BASE}/payouts"


class _Routes:
    def __init__(self, service: PayoutService) -> None:
        self._service = service

    async def create_payout(self, call: Call) -> Answer:
        payout, is_new = await self._service.create(call.body, call.peer.user)
        return Answer(payout, 201 if is_new else 200)

    async def quote_payout(self, call: Call) -> Quote:
        return await self._service.quote(call.body)

    async def list_payouts(self, call: Call) -> PayoutPage:
        return await self._service.list(call.query)

    async def payout_stats(self, _call: Call) -> PayoutStats:
        return await self._service.stats()

    async def get_payout(self, call: Call) -> Payout:
        return await self._service.get(call.path["id"])

    async def cancel_payout(self, call: Call) -> Payout:
        return await self._service.cancel(call.path["id"], call.peer.user)

    async def retry_payout(self, call: Call) -> RetriedPayout:
        return await self._service.retry(call.path["id"], call.peer.user)

    async def accept_death(self, call: Call) -> Payout:
        return await self._service.accept_death(call.path["id"], call.body, call.peer.user)


def endpoints(service: PayoutService) -> list[Endpoint]:
    """The table of routes."""
    on = _Routes(service)
    one, operator = f"{_PAYOUTS}/{{id}}", Role.OPERATOR
    return [
        Endpoint(
            "POST", _PAYOUTS, on.create_payout, request=CreatePayout, response=Payout, status=201, also=(200,),
            role=operator, errors=(Conflict, Invalid, Unavailable),
            summary="Make a payout, once per key; 200 when the key has made it before",
        ),
        Endpoint(
            "GET", _PAYOUTS, on.list_payouts, query=ListPayouts, response=PayoutPage, errors=(Invalid,),
            summary="Payouts, newest first",
        ),
        Endpoint(
            "POST", f"{_PAYOUTS}/quote", on.quote_payout, request=PayoutIntent, response=Quote,
            errors=(Invalid, Unavailable), summary="What a payout would cost, and what forbids it",
        ),
        Endpoint("GET", f"{_PAYOUTS}/stats", on.payout_stats, response=PayoutStats, summary="Counts and limits"),
        Endpoint("GET", one, on.get_payout, response=Payout, errors=(NotFound,), summary="One payout"),
        Endpoint(
            "POST", f"{one}/cancel", on.cancel_payout, response=Payout, role=operator,
            errors=(NotFound, Conflict), summary="Withdraw a payout before its bytes leave",
        ),
        Endpoint(
            "POST", f"{one}/retry", on.retry_payout, response=RetriedPayout, role=operator,
            errors=(NotFound, Conflict, Invalid, Unavailable), summary="The same bytes again, or a new attempt",
        ),
        Endpoint(
            "POST", f"{one}/accept-death", on.accept_death, request=AcceptDeath, response=Payout, role=operator,
            errors=(NotFound, Conflict, Unavailable), summary="Take a death proof that rests on one endpoint",
        ),
    ]  # fmt: skip
