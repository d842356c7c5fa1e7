"""tronpy, as it comes from the registry, on the devnet: it pays, stakes, lends, votes, claims and shares an account."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from tronpy import AsyncTron, Tron
from tronpy.exceptions import (
    AddressNotFound,
    BadKey,
    BadSignature,
    TaposError,
    TransactionNotFound,
    UnknownError,
    ValidationError,
)
from tronpy.keys import PrivateKey
from tronpy.providers import HTTPProvider
from tronpy.providers.async_http import AsyncHTTPProvider

from services.devnet import rewards
from services.devnet.genesis import KnownKey
from services.devnet.node import DevnetNode
from services.devnet.settings import DevnetSettings
from services.kit.clock import SystemClock

Keys = tuple[KnownKey, ...]
TRX = 1_000_000


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


class EarlierClock(SystemClock):
    """An hour behind, so that a chain on it can jump ahead without leaving tronpy's expirations behind."""

    def now(self) -> datetime:
        return super().now() - timedelta(hours=1)


@pytest.fixture
async def early_node() -> AsyncIterator[DevnetNode]:
    async with DevnetNode(DevnetSettings(listen="127.0.0.1:0", block_interval_ms=0), EarlierClock()) as started:
        yield started


async def test_the_async_client_stakes_votes_and_shares_an_account(early_node: DevnetNode, accounts: Keys) -> None:
    node = early_node
    own, other = accounts[0].address.base58, accounts[1].address.base58
    keys = [PrivateKey(key.private_key) for key in accounts[:4]]
    async with AsyncTron(AsyncHTTPProvider(node.url + "/", client=httpx.AsyncClient(timeout=10))) as tron:

        async def land(builder: Any, *signers: PrivateKey) -> Any:
            """Build, sign, send, and the bill."""
            transaction = await builder.build()
            for signer in signers or keys[:1]:
                transaction = transaction.sign(signer)
            sent = await transaction.broadcast()
            mine(node, 1)
            return await tron.get_transaction_info(sent.txid)

        await land(tron.trx.freeze_balance(own, 3_000 * TRX, "ENERGY"))
        await land(tron.trx.freeze_balance(own, 2_000 * TRX, "BANDWIDTH"))
        resources = await tron.get_account_resource(own)
        assert (resources["tronPowerLimit"], resources["TotalEnergyWeight"]) == (5_000, 3_000)
        assert await tron.get_energy(own) == 50_000_000_000
        assert await tron.get_bandwidth(own) > 43_000_000_000
        witness = (await tron.list_witnesses())[0]["address"]
        await land(tron.trx.vote_witness(own, (witness, 5_000)))
        assert (await tron.get_account(own))["votes"] == [{"vote_address": witness, "vote_count": 5_000}]
        with pytest.raises(ValidationError, match="does not have any reward"):
            await land(tron.trx.withdraw_rewards(own))
        # The votes are counted, and earn for a period.
        for _ in range(3):
            node.chain.produce(missed=100)
        owed_sun = rewards.owed_sun(node.chain.pending, node.chain.pending.change(accounts[0].address.raw))
        assert (await land(tron.trx.withdraw_rewards(own)))["withdraw_amount"] == owed_sun > 0
        await land(tron.trx.delegate_resource(own, other, 1_000 * TRX, "ENERGY"))
        lent = (await tron.get_delegated_resource_v2(own, other))["delegatedResource"]
        assert lent == [{"from": own, "to": other, "frozen_balance_for_energy": 1_000 * TRX}]
        assert (await tron.get_can_delegated_max_size(own))["max_size"] == 2_000 * TRX
        index = await tron.get_delegated_resource_account_index_v2(other)
        assert index == {"account": other, "fromAccounts": [own]}
        await land(tron.trx.undelegate_resource(own, other, 1_000 * TRX, "ENERGY"))
        assert await tron.get_delegated_resource_v2(own, other) == {}
        await land(tron.trx.unfreeze_balance(own, "ENERGY", unfreeze_balance=1_000 * TRX))
        shown = await tron.get_account(own)
        assert [part["unfreeze_amount"] for part in shown["unfrozenV2"]] == [1_000 * TRX]
        assert shown["votes"][0]["vote_count"] == 4_000
        with pytest.raises(ValidationError, match="no unFreeze balance to withdraw"):
            await land(tron.trx.withdraw_stake_balance(own))

        permission: Any = await tron.get_account_permission(own)
        three = [{"address": key.public_key.to_base58check_address(), "weight": 1} for key in keys[1:]]
        for part in (permission["owner"], permission["actives"][0]):
            part.update(threshold=2, keys=three)
        assert (await land(tron.trx.account_permission_update(own, permission)))["fee"] == 100 * TRX
        with pytest.raises(BadKey):
            await land(tron.trx.transfer(own, other, 1))
        with pytest.raises(BadSignature, match="sig error"):
            await land(tron.trx.transfer(own, other, 1), keys[1])
        receipt = await land(tron.trx.transfer(own, other, 7).permission_id(2), keys[3], keys[2])
        assert receipt["fee"] == TRX
