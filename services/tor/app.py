"""Routes of the Tor service, one line each into `TorService`."""

from services.kit.errors import Conflict, Invalid, NotFound, Timeout, TooManyRequests, Unavailable, UpstreamError
from services.kit.http import BASE, Call, Endpoint
from services.kit.peer import Role
from services.tor import api
from services.tor.service import TorService

_TOR = f"{BASE}/tor"


class _Routes:
    def __init__(self, service: TorService) -> None:
        self._service = service

    async def tor_status(self, _call: Call) -> api.TorStatus:
        return self._service.status()

    async def list_circuits(self, call: Call) -> api.CircuitList:
        return self._service.circuits(call.query)

    async def list_streams(self, _call: Call) -> api.StreamList:
        return self._service.streams()

    async def list_guards(self, _call: Call) -> api.GuardList:
        return self._service.guards()

    async def get_bandwidth(self, _call: Call) -> api.Bandwidth:
        return await self._service.bandwidth()

    async def get_log(self, _call: Call) -> api.TorLog:
        return self._service.log()

    async def newnym(self, call: Call) -> api.NewIdentity:
        return await self._service.newnym(call.peer.user)

    async def reconnect(self, _call: Call) -> api.TorStatus:
        return await self._service.reconnect()

    async def check_tor(self, _call: Call) -> api.TestResult:
        return await self._service.test()

    async def close_circuit(self, call: Call) -> api.Circuit:
        return await self._service.close_circuit(call.path["id"], call.peer.user)

    async def list_isolation(self, _call: Call) -> api.IsolationList:
        return self._service.isolations()

    async def get_isolation(self, call: Call) -> api.Isolation:
        return await self._service.isolation(call.path["name"])

    async def rotate(self, call: Call) -> api.Isolation:
        return await self._service.rotate(call.path["name"], call.body)

    async def get_exit_policy(self, _call: Call) -> api.ExitPolicyStatus:
        return await self._service.exit_policy()

    async def set_exit_policy(self, call: Call) -> api.ExitPolicyStatus:
        return await self._service.set_exit_policy(call.body, call.peer.user)

    async def list_onions(self, _call: Call) -> api.OnionList:
        return self._service.onions()

    async def create_onion(self, call: Call) -> api.Onion:
        return await self._service.create_onion(call.body, call.peer.user)

    async def get_onion(self, call: Call) -> api.Onion:
        return self._service.onion(call.path["name"])

    async def publish_onion(self, call: Call) -> api.Onion:
        return await self._service.publish_onion(call.path["name"], call.peer.user)

    async def withdraw_onion(self, call: Call) -> api.Onion:
        return await self._service.withdraw_onion(call.path["name"], call.peer.user)

    async def remove_onion(self, call: Call) -> api.Onion:
        return await self._service.remove_onion(call.path["name"], call.body, call.peer.user)


def endpoints(service: TorService) -> list[Endpoint]:
    """The table of routes. There is none that passes a caller's words on to tor's control port."""
    on = _Routes(service)
    operator, admin = Role.OPERATOR, Role.ADMIN
    asked = (Unavailable, UpstreamError, Timeout)
    isolation, onion = f"{_TOR}/isolation/{{name}}", f"{_TOR}/onions/{{name}}"
    return [
        Endpoint("GET", f"{_TOR}/status", on.tor_status, response=api.TorStatus, summary="How Tor is"),
        Endpoint(
            "GET", f"{_TOR}/circuits", on.list_circuits, query=api.ListCircuits, response=api.CircuitList,
            errors=(Invalid,), summary="Circuits, hop by hop",
        ),
        Endpoint("GET", f"{_TOR}/streams", on.list_streams, response=api.StreamList, summary="Open streams"),
        Endpoint("GET", f"{_TOR}/guards", on.list_guards, response=api.GuardList, summary="Entry guards"),
        Endpoint(
            "GET", f"{_TOR}/bandwidth", on.get_bandwidth, response=api.Bandwidth, errors=asked,
            summary="Traffic of the last minutes; bandwidth events follow for a minute",
        ),
        Endpoint("GET", f"{_TOR}/log", on.get_log, response=api.TorLog, summary="The newest lines of tor's log"),
        Endpoint(
            "POST", f"{_TOR}/newnym", on.newnym, response=api.NewIdentity, role=operator,
            errors=(TooManyRequests, *asked), summary="A new identity: new circuits for everybody",
        ),
        Endpoint(
            "POST", f"{_TOR}/reconnect", on.reconnect, response=api.TorStatus, role=operator,
            summary="Look for tor now instead of after the pause",
        ),
        Endpoint(
            "POST", f"{_TOR}/test", on.check_tor, response=api.TestResult, role=operator, errors=(Conflict, *asked),
            summary="Try the way out, and time it",
        ),
        Endpoint(
            "POST", f"{_TOR}/circuits/{{id}}/close", on.close_circuit, response=api.Circuit, role=operator,
            errors=(NotFound, *asked), summary="Close one circuit",
        ),
        Endpoint(
            "GET", f"{_TOR}/isolation", on.list_isolation, response=api.IsolationList,
            summary="Who has a path of its own",
        ),
        Endpoint(
            "POST", isolation, on.get_isolation, response=api.Isolation, role=operator, errors=(Invalid, Conflict),
            summary="The SOCKS user of a name's new connections; a new name is taken in",
        ),
        Endpoint(
            "POST", f"{isolation}/rotate", on.rotate, request=api.Rotate, response=api.Isolation, role=operator,
            errors=(Invalid, Conflict), summary="Move one name to a new circuit",
        ),
        Endpoint(
            "GET", f"{_TOR}/exit-policy", on.get_exit_policy, response=api.ExitPolicyStatus,
            summary="The exit policy, and what it leaves",
        ),
        Endpoint(
            "POST", f"{_TOR}/exit-policy", on.set_exit_policy, request=api.ExitPolicy, response=api.ExitPolicyStatus,
            role=admin, errors=(Conflict, *asked), summary="Choose exits by country, and exclude relays",
        ),
        Endpoint("GET", f"{_TOR}/onions", on.list_onions, response=api.OnionList, summary="Onion services"),
        Endpoint(
            "POST", f"{_TOR}/onions", on.create_onion, request=api.CreateOnion, response=api.Onion, status=201,
            role=admin, errors=(Conflict, *asked), summary="Make an onion service with a new key, and publish it",
        ),
        Endpoint("GET", onion, on.get_onion, response=api.Onion, errors=(NotFound,), summary="One onion service"),
        Endpoint(
            "POST", f"{onion}/publish", on.publish_onion, response=api.Onion, role=admin,
            errors=(NotFound, Conflict, *asked), summary="Publish it again under its address",
        ),
        Endpoint(
            "POST", f"{onion}/withdraw", on.withdraw_onion, response=api.Onion, role=admin,
            errors=(NotFound, *asked), summary="Take it off the network, and keep its key",
        ),
        Endpoint(
            "POST", f"{onion}/remove", on.remove_onion, request=api.RemoveOnion, response=api.Onion, role=admin,
            errors=(NotFound, *asked), summary="Take it off the network, and destroy its key",
        ),
    ]  # fmt: skip
