"""Asking the Tor service, and saying so when the node runs without Tor."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from lucid_tron_console.cli.framework import Session
from services.kit.errors import Conflict, Unavailable
from services.tor.client import TorClient

T = TypeVar("T")


def ask_tor(session: Session, work: Callable[[TorClient], Awaitable[T]]) -> T:
    """Do one thing with the Tor service of the session's node.

    Raises:
        Conflict: the node runs without Tor.
        Unavailable: neither runs.
    """
    home = session.home()

    async def go() -> T:
        async with TorClient(home.socket("tor")) as client:
            return await work(client)

    try:
        return session.run(go)
    except Unavailable:
        if home.holder() is not None and home.record().tor.mode == "off":
            raise Conflict(
                f"the node of {home.path} runs without Tor: `lucid-tron down`, then `lucid-tron up --tor lab` or "
                "`--tor system`",
                field="tor",
            ) from None
        raise
