"""Typed calls to the Tor service."""

from pathlib import Path
from urllib.parse import quote

from services.kit.client import Client
from services.tor.api import (
    Bandwidth,
    Circuit,
    CircuitList,
    CreateOnion,
    ExitPolicy,
    ExitPolicyStatus,
    GuardList,
    Isolation,
    IsolationList,
    ListCircuits,
    NewIdentity,
    Onion,
    OnionList,
    RemoveOnion,
    Rotate,
    StreamList,
    TestResult,
    TorLog,
    TorStatus,
)

_TOR = "/api/v1/tron/tor"

_MOVE_S = 15.0
"""A move tries the new path first, for a few seconds."""
_TEST_S = 250.0
"""A test may take twice TOR_CONNECTIVITY_TIMEOUT: one request makes the circuit, one measures it."""


class TorClient(Client):
    """The Tor service; errors as in `Client`, and those that `services.tor.service` names."""

    def __init__(self, socket_path: Path | str) -> None:
        """Reach the service at its socket."""
        super().__init__(socket_path, "tor")

    async def tor(self) -> TorStatus:
        """How Tor is; answers whatever state Tor is in."""
        return await self._get(f"{_TOR}/status", TorStatus)

    async def circuits(self, isolation: str | None = None) -> CircuitList:
        """All circuits, or those of one isolation name."""
        return await self._get(f"{_TOR}/circuits", CircuitList, params=ListCircuits(isolation=isolation))

    async def streams(self) -> StreamList:
        """All open streams."""
        return await self._get(f"{_TOR}/streams", StreamList)

    async def guards(self) -> GuardList:
        """Entry guards, in Tor's order."""
        return await self._get(f"{_TOR}/guards", GuardList)

    async def bandwidth(self) -> Bandwidth:
        """The last minutes of traffic; `bandwidth` events follow for a while."""
        return await self._get(f"{_TOR}/bandwidth", Bandwidth)

    async def log(self) -> TorLog:
        """The newest lines of Tor's log."""
        return await self._get(f"{_TOR}/log", TorLog)

    async def newnym(self) -> NewIdentity:
        """Ask for a new identity: every isolation name moves to a new circuit. TooManyRequests says when it can."""
        return await self._post(f"{_TOR}/newnym", NewIdentity, timeout_s=_MOVE_S)

    async def reconnect(self) -> TorStatus:
        """Look for tor's control port now instead of after the pause."""
        return await self._post(f"{_TOR}/reconnect", TorStatus)

    async def test(self) -> TestResult:
        """Try the way out, on a circuit of its own."""
        return await self._post(f"{_TOR}/test", TestResult, timeout_s=_TEST_S)

    async def close_circuit(self, circuit_id: str) -> Circuit:
        """Close one circuit, with whatever goes through it."""
        return await self._post(f"{_TOR}/circuits/{quote(circuit_id, safe='')}/close", Circuit)

    async def isolations(self) -> IsolationList:
        """Everybody that has a path of its own."""
        return await self._get(f"{_TOR}/isolation", IsolationList)

    async def isolation(self, name: str) -> Isolation:
        """The SOCKS user that `name` gives to new connections; a new name is taken in."""
        return await self._post(f"{_TOR}/isolation/{quote(name, safe='')}", Isolation)

    async def rotate(self, name: str, reason: str = "operator", to: int | None = None) -> Isolation:
        """Move one name to a new circuit; what is in flight finishes on the old one.

        With `to`, remember a generation that this program has gone to by itself.
        """
        body = Rotate(reason=reason, to=to)
        return await self._post(f"{_TOR}/isolation/{quote(name, safe='')}/rotate", Isolation, body, _MOVE_S)

    async def exit_policy(self) -> ExitPolicyStatus:
        """The exit policy, and what it leaves."""
        return await self._get(f"{_TOR}/exit-policy", ExitPolicyStatus)

    async def set_exit_policy(self, policy: ExitPolicy) -> ExitPolicyStatus:
        """Choose exits; every isolation name moves."""
        return await self._post(f"{_TOR}/exit-policy", ExitPolicyStatus, policy, _MOVE_S)

    async def onions(self) -> OnionList:
        """All onion services."""
        return await self._get(f"{_TOR}/onions", OnionList)

    async def create_onion(self, body: CreateOnion) -> Onion:
        """Make an onion service with a new key, and publish it."""
        return await self._post(f"{_TOR}/onions", Onion, body)

    async def onion(self, name: str) -> Onion:
        """One onion service."""
        return await self._get(_one_onion(name), Onion)

    async def publish_onion(self, name: str) -> Onion:
        """Publish a withdrawn one again, under the same address."""
        return await self._post(f"{_one_onion(name)}/publish", Onion)

    async def withdraw_onion(self, name: str) -> Onion:
        """Take it off the network, and keep its key."""
        return await self._post(f"{_one_onion(name)}/withdraw", Onion)

    async def remove_onion(self, name: str, address: str) -> Onion:
        """Take it off the network and destroy its key: the address is lost for ever."""
        return await self._post(f"{_one_onion(name)}/remove", Onion, RemoveOnion(address=address))


def _one_onion(name: str) -> str:
    return f"{_TOR}/onions/{quote(name, safe='')}"
