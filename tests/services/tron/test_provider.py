"""tronpy over our endpoints: contract calls go through endpoints, cache and breaker, and nothing but reads gets out."""

import asyncio
from typing import Any

import pytest

from services.kit.cache import Cache
from services.kit.errors import Forbidden, Unavailable
from services.kit.metrics import Metrics
from services.protocol.abi import encode_balance_of
from services.protocol.address import Address
from services.protocol.networks import NETWORKS
from services.tron.endpoints import Upstream
from services.tron.provider import tronpy_over
from tests.services.tron.world import OWNER, REFUSED, FakeNode, World

USDT = NETWORKS["mainnet"].usdt.base58
ABI = {
    "entrys": [
        {
            "name": "balanceOf",
            "type": "Function",
            "stateMutability": "View",
            "inputs": [{"name": "who", "type": "address"}],
            "outputs": [{"type": "uint256"}],
        }
    ]
}


def give_contract(node: FakeNode, balance: int, asked: list[str]) -> None:
    """Let a node have a TRC-20 contract; everything else it answers as before."""
    honest = node.post

    async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        if node.down is None and path == "wallet/getcontract":
            return {"contract_address": body["value"], "origin_address": body["value"], "name": "T", "abi": ABI}
        if node.down is None and path == "wallet/triggerconstantcontract":
            asked.append(f"{body['contract_address']} {body['function_selector']} {body['parameter']}")
            return {"result": {"result": True}, "constant_result": [balance.to_bytes(32).hex()]}
        return await honest(path, body)

    node.post = post  # type: ignore[method-assign, assignment]


async def token_balance(upstream: Upstream) -> int:
    contract = await (await tronpy_over(upstream)).get_contract(USDT)
    balance: int = await contract.functions.balanceOf(OWNER)
    return balance


async def test_a_token_balance_is_read_once_for_all_and_from_another_endpoint_if_need_be(world: World) -> None:
    asked: list[str] = []
    for node, balance in zip(world.nodes, (1_234_567, 7), strict=True):
        give_contract(node, balance, asked)
    endpoints, cache = world.life.endpoints, Cache(world.clock, Metrics("tron"))
    first = endpoints.usable()[0].name

    async def read() -> tuple[int, str]:
        found = await cache.get("token", 3.0, lambda: endpoints.ask(token_balance))
        return found.value.value, found.value.endpoint

    answers = await asyncio.gather(*(read() for _ in range(50)))
    assert len(set(answers)) == 1
    holder = encode_balance_of(Address.parse(OWNER))[4:].hex()
    assert asked == [f"{USDT} balanceOf(address) {holder}"]
    next(node for node in world.nodes if node.name == first).down = REFUSED
    cache.forget()
    _, other = await read()
    assert other != first


@pytest.mark.parametrize(
    "method",
    [
        "wallet/broadcasttransaction",
        "wallet/broadcasthex",
        "wallet/createtransaction",
        "wallet/triggersmartcontract",
        "wallet/getsignweight",
        "wallet/getapprovedlist",
        "wallet/deploycontract",
        "/wallet/easytransfer",
    ],
)
async def test_no_transaction_is_made_or_sent_through_tronpy(world: World, method: str) -> None:
    tron = await tronpy_over(world.life.endpoints.all[0])
    calls = world.nodes[0].calls
    with pytest.raises(Forbidden, match="does not read"):
        await tron.provider.make_request(method, {})
    assert world.nodes[0].calls == calls


async def test_an_endpoint_that_is_away_is_unavailable_for_contracts_too(world: World) -> None:
    for node in world.nodes:
        node.down = REFUSED
    asking = asyncio.ensure_future(world.life.endpoints.ask(token_balance))
    for _ in range(1_000):
        await world.settle()
        if asking.done():
            break
        wake = world.clock.next_wake()
        if wake is not None:
            world.clock.jump(wake)
    with pytest.raises(Unavailable, match="no endpoint answered"):
        await asking
