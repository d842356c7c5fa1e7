"""tronpy, as it comes from the registry, with contracts of the devnet: USDT, and a token that it deploys itself."""

from typing import Any

import httpx
import pytest
from tronpy import AsyncTron
from tronpy.abi import trx_abi
from tronpy.async_contract import AsyncContract
from tronpy.exceptions import TransactionError, TvmError
from tronpy.keys import PrivateKey
from tronpy.providers.async_http import AsyncHTTPProvider

from services.devnet.deployed import USDT
from services.devnet.genesis import KnownKey, faucet
from services.devnet.node import DevnetNode
from services.devnet.tokens import token

Keys = tuple[KnownKey, ...]
FEE_LIMIT = 100_000_000


class Client:
    """tronpy on one devnet: sends a call, puts it into a block, gives its receipt."""

    def __init__(self, tron: AsyncTron, node: DevnetNode) -> None:
        self.tron, self._node = tron, node

    async def send(self, key: KnownKey, building: Any, fee_limit_sun: int = FEE_LIMIT) -> dict[str, Any]:
        built = await building.with_owner(key.address.base58).fee_limit(fee_limit_sun).build()
        sent = await built.sign(PrivateKey(key.private_key)).broadcast()
        self._node.mine()
        info: dict[str, Any] = await self.tron.get_transaction_info(sent.txid)
        return info


async def test_tronpy_sends_allows_takes_and_deploys(node: DevnetNode, accounts: Keys) -> None:
    provider = AsyncHTTPProvider(node.url + "/", client=httpx.AsyncClient(timeout=10))
    async with AsyncTron(provider) as tron:
        client = Client(tron, node)
        one, two = (key.address.base58 for key in accounts[:2])
        usdt = await tron.get_contract(USDT.base58)
        assert (await usdt.functions.name(), await usdt.functions.decimals()) == ("Tether USD", 6)
        info = await client.send(faucet(), await usdt.functions.transfer(one, 1_000))
        assert info["receipt"]["energy_usage_total"] == 29_383
        assert await usdt.functions.balanceOf(one) == 1_000
        event = usdt.events.Transfer.get_event_data(info["log"][0])
        assert event["args"] == {"from": faucet().address.base58, "to": one, "value": 1_000}

        info = await client.send(accounts[0], await usdt.functions.transfer(two, 1_001))
        assert (info["result"], info["receipt"]["result"]) == ("FAILED", "REVERT")
        info = await client.send(accounts[0], await usdt.functions.transfer(two, 1), 1_000)
        assert info["receipt"]["result"] == "OUT_OF_ENERGY"

        await client.send(accounts[0], await usdt.functions.approve(two, 600))
        info = await client.send(accounts[0], await usdt.functions.approve(two, 700))
        assert info["receipt"]["result"] == "REVERT"
        info = await client.send(accounts[1], await usdt.functions.transferFrom(one, two, 500))
        assert info["receipt"]["result"] == "SUCCESS"
        assert await usdt.functions.allowance(one, two) == 100
        assert await usdt.functions.balanceOf(two) == 500

        address = await deploy(client, accounts[0])
        mine = await tron.get_contract(address)
        assert (mine.name, mine.origin_address) == ("Mine", one)
        info = await client.send(accounts[0], await mine.functions.transfer(two, 4))
        assert info["receipt"]["result"] == "SUCCESS"
        assert await mine.functions.balanceOf(two) == 4
        with pytest.raises((TvmError, TransactionError)):
            await tron.trigger_constant_contract(
                one, address, "transfer(address,uint256)", trx_abi.encode(["address", "uint256"], (two, 10**9)).hex()
            )


async def deploy(client: Client, owner: KnownKey) -> str:
    compiled = token("PlainToken")
    arguments = owner.address.evm.rjust(32, b"\0") + (10**6).to_bytes(32)
    contract = AsyncContract(
        name="Mine",
        bytecode=(compiled.bytecode + arguments).hex(),
        abi=compiled.abi,
        origin_energy_limit=1_000_000,
        user_resource_percent=100,
        origin_address=owner.address.base58,
        owner_address=owner.address.base58,
        client=client.tron,
    )
    info = await client.send(owner, client.tron.trx.deploy_contract(owner.address.base58, contract), 500_000_000)
    assert info["receipt"]["result"] == "SUCCESS"
    address: str = info["contract_address"]
    return address
