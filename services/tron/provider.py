"""tronpy over our endpoints: its client for reads and contract calls, with every call going through one of our nodes.

tronpy is imported when it is first needed, and in a thread: that takes a third of a second and 42 MB. It never builds,
hashes or signs here: calls that would have a node make or take a transaction do not get through the provider.
"""

import asyncio
from functools import cache
from typing import Any

from services.kit.errors import Forbidden
from services.tron.endpoints import Upstream

_NOT_READS = {"getsignweight", "getapprovedlist"}
_CALLS_OF_CONTRACTS = {"triggerconstantcontract", "estimateenergy"}


async def tronpy_over(upstream: Upstream) -> Any:
    """Return a `tronpy.AsyncTron` that asks this endpoint and no other; failures come out as NodeError."""
    client, provider = await asyncio.to_thread(_classes)
    return client(provider(upstream))


@cache
def _classes() -> tuple[type[Any], type[Any]]:
    from tronpy import AsyncTron  # noqa: PLC0415 - see above
    from tronpy.providers import AsyncHTTPProvider  # noqa: PLC0415

    class Provider(AsyncHTTPProvider):  # type: ignore[misc]
        """A provider without an HTTP client of its own, without keys and without a way round our endpoints."""

        def __init__(self, upstream: Upstream) -> None:
            # The base's constructor would open an HTTP client and take six shared API keys: it is not called.
            self._upstream = upstream

        async def make_request(self, method: str, params: Any = None) -> dict[str, Any]:
            _refuse_unless_it_reads(method)
            return await self._upstream.post(method, params or {})

    return AsyncTron, Provider


def _refuse_unless_it_reads(method: str) -> None:
    call = method.rpartition("/")[2]
    if call in _CALLS_OF_CONTRACTS or (call.startswith(("get", "list")) and call not in _NOT_READS):
        return
    raise Forbidden(f"{method} does not read: transactions are made and sent by the sender alone")
