"""Answers have the shape of a real java-tron's: the same keys, in the same order, with the same types.

`shapes.json` holds what a java-tron 4.8.0 node answered, call by call.
"""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.devnet.genesis import KnownKey, faucet, witnesses
from services.devnet.incoming import Incoming
from services.devnet.node import DevnetNode
from services.devnet.settings import DevnetSettings
from services.protocol.json import transaction_to_json

Keys = tuple[KnownKey, ...]
Build = Callable[..., Incoming]
Ask = Callable[..., Awaitable[Any]]

SHAPES: dict[str, Any] = json.loads((Path(__file__).parent / "shapes.json").read_text())

NOT_HERE = {"account_name"}
"""What the devnet's accounts do not have: nobody names them."""


def shape(value: Any) -> Any:
    """The keys in their order and the types; of lists, each different entry once."""
    if isinstance(value, dict):
        return [(key, shape(inner)) for key, inner in value.items() if key not in NOT_HERE]
    if isinstance(value, list):
        entries: list[Any] = []
        for entry in map(shape, value):
            if entry not in entries:
                entries.append(entry)
        return {"list": entries}
    return type(value).__name__


class Devnet:
    """A devnet in which what the shapes are about has happened, call by call."""

    def __init__(self, node: DevnetNode, http: httpx.AsyncClient, build: Build, accounts: Keys) -> None:
        self.node, self.http, self.build = node, http, build
        self.own, self.to = accounts[0], accounts[1].address
        self.new = accounts[2]

    async def ask(self, path: str, body: Any) -> Any:
        return (await self.http.post(path, json=body)).json()

    async def landed(self, transaction: Incoming) -> str:
        self.node.chain.submit(transaction)
        self.node.chain.produce()
        return transaction.txid.hex()

    def signed(self, **fields: Any) -> Incoming:
        return self.build(self.node.chain, self.own, self.to, 13, **fields)

    async def broadcasthex_ok(self) -> Any:
        return await self.ask("/wallet/broadcasthex", {"transaction": self.signed().signed().encode().hex()})

    async def broadcast_dup(self) -> Any:
        transaction = self.signed()
        self.node.chain.submit(transaction)
        return await self.ask("/wallet/broadcasthex", {"transaction": transaction.signed().encode().hex()})

    async def broadcast_json_ok(self) -> Any:
        return await self.ask(
            "/wallet/broadcasttransaction", transaction_to_json(self.signed().signed(), visible=False)
        )

    async def broadcast_json_err(self) -> Any:
        return await self.ask("/wallet/broadcasttransaction", self.malformed())

    def malformed(self) -> Any:
        return transaction_to_json(self.signed().signed(), visible=False) | {"signature": ["11" * 65]}

    async def getsignweight(self) -> Any:
        return await self.ask("/wallet/getsignweight", self.malformed())

    async def info_transfer(self) -> Any:
        for _ in range(2):
            await self.landed(self.signed())
        return await self.ask("/wallet/gettransactioninfobyid", {"value": await self.landed(self.signed())})

    async def info_activate(self) -> Any:
        txid = await self.landed(self.build(self.node.chain, self.own, _unused(), 5))
        return await self.ask("/walletsolidity/gettransactioninfobyid", {"value": await self.solid(txid)})

    async def solid(self, txid: str) -> str:
        for _ in range(18):
            self.node.chain.produce()
        return txid

    async def txbyid(self) -> Any:
        return await self.ask(
            "/wallet/gettransactionbyid", {"value": await self.landed(self.signed()), "visible": True}
        )

    async def getaccount(self) -> Any:
        witness = witnesses()[5]
        # It was in block 0, and has used some of its free bandwidth since.
        await self.landed(self.build(self.node.chain, faucet(), witness.address, 1_000_000))
        await self.landed(self.build(self.node.chain, witness, self.to, 1))
        return await self.ask("/wallet/getaccount", {"address": witness.address.hex})

    async def getaccountresource(self) -> Any:
        await self.landed(self.signed())
        return await self.ask("/wallet/getaccountresource", {"address": self.own.address.hex})

    async def getaccountnet(self) -> Any:
        await self.landed(self.signed())
        return await self.ask("/wallet/getaccountnet", {"address": self.own.address.base58, "visible": True})

    async def getnowblock(self) -> Any:
        await self.landed(self.signed())
        return await self.ask("/wallet/getnowblock", {})

    async def getblock(self) -> Any:
        await self.landed(self.signed())
        return await self.ask("/wallet/getblock", {"detail": False})

    async def solid_nowblock(self) -> Any:
        await self.solid("")
        await self.solid("")
        return await self.ask("/walletsolidity/getnowblock", {})

    async def createtransaction(self) -> Any:
        body = {"owner_address": self.own.address.base58, "to_address": self.to.base58, "amount": 3, "visible": True}
        return await self.ask("/wallet/createtransaction", body)

    async def createtransaction_err(self) -> Any:
        body = {"owner_address": self.own.address.hex, "to_address": self.to.hex, "amount": 1 << 60}
        return await self.ask("/wallet/createtransaction", body)

    async def witnesses(self) -> Any:
        for _ in range(30):
            self.node.chain.produce()
        answer = await self.ask("/wallet/listwitnesses", {})
        # The node of the shapes had no candidates without votes.
        return {"witnesses": [witness for witness in answer["witnesses"] if witness.get("isJobs")]}

    async def bad(self) -> Any:
        answer = await self.http.post("/wallet/gettransactionbyid", content='{"value":"zz"}')
        return answer.json()

    async def reward(self) -> Any:
        return await self.ask("/wallet/getReward", {"address": self.own.address.hex})


def _unused() -> Any:
    from services.devnet.genesis import account_batch

    return account_batch(4_000_001, 1)[0].address


SIMPLE = {
    "getaccount_missing": ("/wallet/getaccount", {"address": "41" + "77" * 20}),
    "chainparams": ("/wallet/getchainparameters", {}),
    "nodeinfo": ("/wallet/getnodeinfo", {}),
    "energyprices": ("/wallet/getenergyprices", {}),
    "burn": ("/wallet/getburntrx", {}),
}
"""Calls that need nothing but their parameters."""

EXACT = {"chainparams", "energyprices", "createtransaction_err", "bad", "getaccount_missing"}
"""Answers that must be the same to the letter."""


@pytest.mark.parametrize("name", SHAPES)
async def test_an_answer_has_java_trons_shape(
    node: DevnetNode, http: httpx.AsyncClient, build: Build, accounts: Keys, name: str
) -> None:
    devnet = Devnet(node, http, build, accounts)
    answer = await (devnet.ask(*SIMPLE[name]) if name in SIMPLE else getattr(devnet, name)())
    if name in EXACT:
        assert answer == SHAPES[name]
    assert shape(answer) == shape(SHAPES[name])


async def test_words_of_refusals_are_java_trons(
    node: DevnetNode, http: httpx.AsyncClient, build: Build, accounts: Keys
) -> None:
    devnet = Devnet(node, http, build, accounts)
    assert (await devnet.broadcast_json_err())["message"] == SHAPES["broadcast_json_err"]["message"]
    assert (await devnet.getsignweight())["result"] == SHAPES["getsignweight"]["result"]
    # The node of the shapes had its id cache on.
    cached = DevnetNode(DevnetSettings(listen="127.0.0.1:0", block_interval_ms=0, tx_cache=True))
    async with cached, httpx.AsyncClient(base_url=cached.url) as client:
        answer = await Devnet(cached, client, build, accounts).broadcast_dup()
    assert answer["message"] == SHAPES["broadcast_dup"]["message"]


async def test_fees_are_those_of_a_real_node(
    node: DevnetNode, http: httpx.AsyncClient, build: Build, accounts: Keys
) -> None:
    devnet = Devnet(node, http, build, accounts)
    transfer, activation = await devnet.info_transfer(), await devnet.info_activate()
    assert (transfer["fee"], transfer["receipt"]) == (265_000, {"net_fee": 265_000})
    assert (activation["fee"], activation["receipt"]) == (1_100_000, {"net_fee": 100_000})
