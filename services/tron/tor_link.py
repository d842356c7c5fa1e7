"""The Tor service and our way out agree: who moved to which circuit, and that it is remembered across restarts."""

import asyncio
import contextlib
from typing import Any

from pydantic import ValidationError

from services.kit import log
from services.kit.client import follow
from services.kit.egress import Egress
from services.kit.errors import LucidError
from services.kit.events import RESET
from services.tor.api import Isolation
from services.tor.client import TorClient

_FIRST_WORD_S = 2.0
"""How long the start may wait for the Tor service."""


class TorLink:
    """Follows the Tor service's rotations, and tells it of ours; without that service our way out goes on alone."""

    def __init__(self, client: TorClient, egress: Egress) -> None:
        """Join the two; nothing is asked before `start`."""
        self._client = client
        self._egress = egress
        self._listening: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[bool]] = set()
        self._one_at_a_time = asyncio.Lock()

    async def start(self) -> None:
        """Take up where the last process was, if the Tor service runs, and begin to follow."""
        self._egress.on_move = self._tell
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_WORD_S):
                await self._agree_on_all()
        self._listening = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        """Stop following."""
        self._egress.on_move = None
        tasks: list[asyncio.Task[Any]] = [task for task in (self._listening, *self._telling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()

    async def _listen(self) -> None:
        async for event in follow(self._client):
            if event.name == RESET:
                await self._agree_on_all()
            elif event.name == "isolation":
                with contextlib.suppress(ValidationError):  # another version's; the next reset sets it right
                    shown = Isolation.model_validate_json(event.data)
                    self._egress.moved(shown.name, shown.generation, shown.reason)

    async def _agree_on_all(self) -> None:
        for name in self._egress.generations:
            if not await self._agree(name, "restart"):
                return

    def _tell(self, name: str, _generation: int, why: str) -> None:
        task = asyncio.create_task(self._agree(name, why))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _agree(self, name: str, why: str) -> bool:
        """Bring both to the later generation; False if the Tor service cannot be asked: a `reset` tells when it can."""
        try:
            # Two at once would both see the service behind, and push it past us.
            async with self._one_at_a_time:
                found = await self._client.isolation(name)
                if found.generation < (ours := self._egress.generations[name]):
                    found = await self._client.rotate(name, why[:120], to=ours)
        except LucidError as error:
            log.get_logger().info("tor.not_told", name=name, reason=error.message)
            return False
        self._egress.moved(name, found.generation, why)
        return True
