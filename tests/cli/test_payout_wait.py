"""Waiting for a payout while its router comes and goes."""

import asyncio
from datetime import UTC, datetime

import pytest

from lucid_tron_console.cli import payouts
from lucid_tron_console.home import Home
from services.kit.money import Asset
from services.payout.api import Payout, PayoutReason, PayoutState
from services.payout.client import PayoutClient

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PAID = Payout(
    id="P-1", key="k", state=PayoutState.PAID, wallet="hot", from_address="", to="", asset=Asset.TRX, amount=1_000_000,
    memo="", reason=PayoutReason.CUSTOM, check_code="", created_by="op", created_at=NOW, updated_at=NOW,
)  # fmt: skip


async def test_a_router_that_is_away_at_the_first_look_is_waited_for(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payouts, "LOOK_AGAIN_S", 0.02)
    looks = 0

    async def router(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Die at the first look, and at every wish for events."""
        nonlocal looks
        request = await reader.readuntil(b"\r\n\r\n")
        if b"/payouts/P-1" in request:
            looks += 1
            if looks > 1:
                body = PAID.model_dump_json().encode()
                head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
        writer.close()

    path = home.path / "payout.sock"
    server = await asyncio.start_unix_server(router, path)
    async with server, PayoutClient(path) as client:
        changes = payouts._changes(client, "P-1")
        assert await asyncio.wait_for(anext(changes), 10) == PAID
        await changes.aclose()  # type: ignore[attr-defined] # a generator
    assert looks == 2
