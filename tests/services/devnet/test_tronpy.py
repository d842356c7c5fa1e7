"""tronpy, as it comes from the registry, sends TRX on the devnet and reads it back: the async client and the other."""

import asyncio
from typing import Any

import httpx
import pytest
from tronpy import AsyncTron, Tron
from tronpy.exceptions import AddressNotFound, TaposError, TransactionNotFound, UnknownError, ValidationError
from tronpy.keys import PrivateKey
from tronpy.providers import HTTPProvider
from tronpy.providers.async_http import AsyncHTTPProvider

from services.devnet.genesis import KnownKey
from services.devnet.node import DevnetNode

Keys = tuple[KnownKey, ...]


def mine(node: DevnetNode, blocks: int) -> None:
    for _ in range(blocks):
        node.chain.produce()


async def test_the_async_client_pays_and_reads_back(node: DevnetNode, accounts: Keys, strangers: Keys) -> None:
    own, to = accounts[0], strangers[0].address.base58
    key = PrivateKey(own.private_key)
    provider = AsyncHTTPProvider(node.url + "/", client=httpx.AsyncClient(timeout=10))
    async with AsyncTron(provider) as tron:
        built = await tron.trx.transfer(own.address.base58, to, 5_000_000).memo("thanks").fee_limit(1_000_000).build()
        sent = await built.sign(key).broadcast()
        assert sent["txid"] == sent.txid
        with pytest.raises(TransactionNotFound):
            await tron.get_transaction_info(sent.txid)
        mine(node, 1)
        info = await tron.get_transaction_info(sent.txid)
        assert (info["fee"], info["receipt"]) == (2_100_000, {"net_fee": 100_000})
        assert (await tron.get_transaction(sent.txid))["ret"] == [{"contractRet": "SUCCESS"}]
        with pytest.raises(TransactionNotFound):
            await tron.get_solid_transaction_info(sent.txid)
        mine(node, 18)
        assert await tron.get_solid_transaction_info(sent.txid) == info
        assert (await tron.get_account_balance(to)) == 5
        assert await tron.get_latest_solid_block_number() == node.chain.head.number - 18
        assert await tron.get_latest_block_number() == node.chain.head.number
        assert (await tron.get_block(node.chain.head.number))["blockID"] == node.chain.head.id.hex()
        assert await tron.get_bandwidth(to) == 600
        assert len(await tron.list_witnesses()) == 30
        parameters: list[Any] = await tron.get_chain_parameters()
        assert {"key": "getMemoFee", "value": 1_000_000} in parameters
        with pytest.raises(AddressNotFound):
            await tron.get_account(strangers[1].address.base58)


async def test_the_async_client_is_told_what_is_wrong(node: DevnetNode, accounts: Keys) -> None:
    own, to = accounts[0], accounts[1].address.base58
    key = PrivateKey(own.private_key)
    provider = AsyncHTTPProvider(node.url + "/", client=httpx.AsyncClient(timeout=10))
    async with AsyncTron(provider) as tron:
        built = await tron.trx.transfer(own.address.base58, to, 9_000_000_000_000).build()
        with pytest.raises(ValidationError, match="balance is not sufficient"):
            await built.sign(key).broadcast()
        built = await tron.trx.transfer(own.address.base58, to, 1).build()
        signed = built.sign(key)
        await signed.broadcast()
        with pytest.raises(UnknownError, match="Dup transaction"):
            await signed.broadcast()
        built = await tron.trx.transfer(own.address.base58, to, 2).build()
        built._raw_data["ref_block_hash"] = "00" * 8
        weighed = await tron.get_sign_weight(built)
        built.txid = weighed["transaction"]["transaction"]["txID"]
        with pytest.raises(TaposError):
            await built.sign(key).broadcast()


async def test_the_blocking_client_pays_and_reads_back(node: DevnetNode, accounts: Keys) -> None:
    own, to = accounts[0], accounts[1].address.base58

    def pay() -> str:
        tron = Tron(HTTPProvider(node.url + "/"))
        signed = tron.trx.transfer(own.address.base58, to, 42).build().sign(PrivateKey(own.private_key))
        txid: str = signed.broadcast()["txid"]
        return txid

    def read(txid: str) -> tuple[Any, Any]:
        tron = Tron(HTTPProvider(node.url + "/"))
        return tron.get_solid_transaction_info(txid), tron.get_account_balance(to)

    txid = await asyncio.to_thread(pay)
    mine(node, 19)
    info, balance = await asyncio.to_thread(read, txid)
    assert info["receipt"]["net_usage"] > 0
    assert balance * 1_000_000 == 1_000_000_000_042
