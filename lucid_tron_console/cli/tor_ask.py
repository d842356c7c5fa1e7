"""Asking the Tor service, and saying so when the node runs without Tor."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from lucid_tron_console.cli.framework import Session
from lucid_tron_console.home import Home, NodeRecord
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
        record = home.record()
        if home.holder() is not None and record.tor.mode == "off":
            raise without_tor(home, record) from None
        raise


def without_tor(home: Home, record: NodeRecord) -> Conflict:
    """Say that a node runs without Tor, what that means, and how to give it one."""
    past = f", and PAST TOR go its calls, by {record.tor.past}" if record.tor.past else ""
    back = "take that back, then " if record.tor.past else ""
    way = "system" if record.network != "devnet" else "lab"
    return Conflict(
        f"the node of {home.path} runs without Tor{past}: {back}`{home.command('down')}`, then "
        f"`{home.command(f'up --tor {way}')}`",
        field="tor",
    )
