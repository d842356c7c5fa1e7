"""The calls that build native contracts and read stakes: in hex and base58, by POST and GET, good and bad."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from services.devnet.genesis import KnownKey, candidates, faucet, witnesses
from services.devnet.incoming import Incoming
from services.devnet.node import DevnetNode
from services.devnet.refusals import SignatureInvalid
from services.protocol.contracts import (
    AccountPermissionUpdate,
    DelegateResource,
    FreezeBalanceV2,
    Key,
    Permission,
    PermissionType,
    Resource,
    Transfer,
    UnfreezeBalanceV2,
    Vote,
    VoteWitness,
)
from services.protocol.json import raw_from_json, transaction_to_json
from services.protocol.signature import sign
from services.protocol.transaction import SignedTransaction

Keys = tuple[KnownKey, ...]
Build = Callable[..., Incoming]
TRX = 1_000_000
VALIDATE = "class org.tron.core.exception.ContractValidateException : "
PARSE = "class org.tron.core.services.http.JsonFormat$ParseException : "


@pytest.fixture
def ask(http: httpx.AsyncClient) -> Callable[..., Any]:
    async def post(call: str, prefix: str = "wallet", **body: Any) -> Any:
        return (await http.post(f"/{prefix}/{call}", json=body)).json()

    return post


@pytest.fixture
def staked(node: DevnetNode, accounts: Keys, build: Build) -> DevnetNode:
    """A devnet on which the first account staked, lent to the second, voted, and takes some back."""
    own, other = accounts[0], accounts[1].address
    for contract in (
        FreezeBalanceV2(own.address, 3_000 * TRX, Resource.ENERGY),
        FreezeBalanceV2(own.address, 2_000 * TRX, Resource.BANDWIDTH),
        DelegateResource(own.address, Resource.ENERGY, 500 * TRX, other),
        DelegateResource(own.address, Resource.ENERGY, 250 * TRX, other, lock=True, lock_period=7),
        DelegateResource(own.address, Resource.BANDWIDTH, 100 * TRX, other),
        VoteWitness(own.address, (Vote(candidates()[0].address, 4_000),)),
        UnfreezeBalanceV2(own.address, 10 * TRX, Resource.BANDWIDTH),
        UnfreezeBalanceV2(own.address, 20 * TRX, Resource.ENERGY),
    ):
        node.chain.submit(build(node.chain, own, own.address, contract=contract))
        node.chain.produce()
    return node


# --- building ---


def bodies(own: str, other: str, witness: str) -> dict[str, dict[str, Any]]:
    """What each building call is given, so that it works on a devnet where the account staked."""
    key = {"address": own, "weight": 1}
    return {
        "createaccount": {"owner_address": own},
        "freezebalancev2": {"owner_address": own, "frozen_balance": TRX, "resource": "ENERGY"},
        "unfreezebalancev2": {"owner_address": own, "unfreeze_balance": TRX, "resource": 1},
        "delegateresource": {"owner_address": own, "receiver_address": other, "balance": TRX, "resource": "ENERGY"},
        "undelegateresource": {"owner_address": own, "receiver_address": other, "balance": TRX, "resource": "ENERGY"},
        "cancelallunfreezev2": {"owner_address": own},
        "votewitnessaccount": {"owner_address": own, "votes": [{"vote_address": witness, "vote_count": 5}]},
        "accountpermissionupdate": {
            "owner_address": own,
            "owner": {"type": 0, "permission_name": "owner", "threshold": 1, "keys": [key]},
            "actives": [
                {"type": 2, "permission_name": "a", "threshold": 1, "operations": "02" + "00" * 31, "keys": [key]}
            ],
        },
    }


@pytest.mark.parametrize("visible", [False, True])
@pytest.mark.parametrize("call", list(bodies("", "", "")))
async def test_what_a_call_builds_can_be_signed_and_lands(
    staked: DevnetNode, ask: Any, accounts: Keys, strangers: Keys, *, call: str, visible: bool
) -> None:
    def shown(key: KnownKey) -> str:
        return key.address.base58 if visible else key.address.hex

    own = accounts[0]
    body = bodies(shown(own), shown(accounts[1]), shown(witnesses()[3]))[call]
    if call == "createaccount":
        body["account_address"] = shown(strangers[0])
    built = await ask(call, visible=visible, **body)
    assert built["visible"] is visible
    raw = bytes.fromhex(built["raw_data_hex"])
    unsigned = SignedTransaction(raw, ())
    assert built["txID"] == unsigned.txid
    assert raw_from_json(built["raw_data"], visible).encode() == raw
    value = built["raw_data"]["contract"][0]["parameter"]["value"]
    assert value["owner_address"] == shown(own)
    signed = built | {"signature": [sign(bytes.fromhex(built["txID"]), own.private_key).hex()]}
    assert (await ask("broadcasttransaction", **signed))["result"] is True
    staked.chain.produce()
    assert staked.chain.store.has_transaction(bytes.fromhex(built["txID"]))


async def test_building_takes_a_permission_id(staked: DevnetNode, ask: Any, accounts: Keys) -> None:
    body = {"owner_address": accounts[0].address.hex, "frozen_balance": TRX}
    built = await ask("freezebalancev2", **body, Permission_id=2)
    assert built["raw_data"]["contract"][0]["Permission_id"] == 2
    assert "Permission_id" not in (await ask("freezebalancev2", **body))["raw_data"]["contract"][0]


async def test_building_tells_what_is_wrong(ask: Any, accounts: Keys, strangers: Keys) -> None:
    own, nobody = accounts[0].address, strangers[0].address
    assert await ask("freezebalancev2") == {"Error": VALIDATE + "Invalid address"}
    assert await ask("freezebalancev2", owner_address="4177") == {"Error": VALIDATE + "Invalid address"}
    missing = {"Error": f"{VALIDATE}Account[{nobody.hex}] not exists"}
    assert await ask("freezebalancev2", owner_address=nobody.hex) == missing
    poor = {"owner_address": own.hex, "frozen_balance": TRX, "resource": "TRON_POWER"}
    words = "ResourceCode error, valid ResourceCode[BANDWIDTH、ENERGY]"
    assert await ask("freezebalancev2", **poor) == {"Error": VALIDATE + words}
    for resource, told in (("WATER", 'named "WATER"'), (9, "with number 9")):
        answer = await ask("freezebalancev2", owner_address=own.hex, resource=resource)
        assert answer["Error"].startswith(PARSE)
        assert answer["Error"].endswith(f'Enum type "protocol.ResourceCode" has no value {told}.')
    votes: list[Any] = [{"vote_address": "zz", "vote_count": 1}]
    answer = await ask("votewitnessaccount", owner_address=own.hex, votes=votes)
    assert answer["Error"].endswith("INVALID hex String")
    answer = await ask("votewitnessaccount", owner_address=own.hex, votes=[7])
    assert answer["Error"].startswith(PARSE)
    answer = await ask("accountpermissionupdate", owner_address=own.hex)
    assert answer == {"Error": VALIDATE + "owner permission is missed"}
    assert await ask("withdrawbalance", owner_address=own.hex) == {
        "Error": VALIDATE + "witnessAccount does not have any reward"
    }
    assert await ask("withdrawexpireunfreeze", owner_address=own.hex) == {
        "Error": VALIDATE + "no unFreeze balance to withdraw "
    }


async def test_nothing_is_built_by_get(http: httpx.AsyncClient) -> None:
    answers = [await http.get(f"/wallet/{call}") for call in ("votewitnessaccount", "delegateresource")]
    # The servlet of the second knows no GET.
    assert [(answer.status_code, answer.text) for answer in answers] == [(200, ""), (405, "")]


# --- reading ---


async def test_an_account_shows_what_it_staked_lent_and_takes_back(
    staked: DevnetNode, ask: Any, accounts: Keys
) -> None:
    own, other = (key.address.base58 for key in accounts[:2])
    shown = await ask("getaccount", address=own, visible=True)
    assert shown["frozenV2"] == [
        {"amount": 1_890 * TRX},
        {"type": "ENERGY", "amount": 2_230 * TRX},
        {"type": "TRON_POWER"},
    ]
    expires_ms = [item["unfreeze_expire_time"] for item in shown["unfrozenV2"]]
    assert shown["unfrozenV2"] == [
        {"unfreeze_amount": 10 * TRX, "unfreeze_expire_time": expires_ms[0]},
        {"type": "ENERGY", "unfreeze_amount": 20 * TRX, "unfreeze_expire_time": expires_ms[1]},
    ]
    assert shown["votes"] == [{"vote_address": candidates()[0].address.base58, "vote_count": 4_000}]
    assert shown["delegated_frozenV2_balance_for_bandwidth"] == 100 * TRX
    assert shown["account_resource"]["delegated_frozenV2_balance_for_energy"] == 750 * TRX
    assert list(shown).index("unfrozenV2") == list(shown).index("frozenV2") + 1
    shown = await ask("getaccount", address=other, visible=True)
    assert shown["acquired_delegated_frozenV2_balance_for_bandwidth"] == 100 * TRX
    assert shown["account_resource"]["acquired_delegated_frozenV2_balance_for_energy"] == 750 * TRX


async def test_resources_are_the_share_of_all_stakes(staked: DevnetNode, ask: Any, accounts: Keys) -> None:
    own, other = accounts[0].address.hex, accounts[1].address.hex
    shown = await ask("getaccountresource", address=own)
    assert list(shown) == [
        "freeNetUsed",
        "freeNetLimit",
        "NetUsed",
        "NetLimit",
        "TotalNetLimit",
        "TotalNetWeight",
        "tronPowerUsed",
        "tronPowerLimit",
        "EnergyLimit",
        "TotalEnergyLimit",
        "TotalEnergyWeight",
    ]
    assert (shown["TotalNetWeight"], shown["TotalEnergyWeight"]) == (1_990, 2_980)
    assert shown["EnergyLimit"] == int(2_230 * (50_000_000_000 / 2_980))
    assert (shown["tronPowerUsed"], shown["tronPowerLimit"]) == (4_000, 4_970)
    lent = await ask("getaccountresource", address=other)
    assert lent["NetLimit"] == int(100 * (43_200_000_000 / 1_990))
    assert (await ask("getaccountnet", address=other))["NetLimit"] == lent["NetLimit"]


async def test_delegations_are_listed(staked: DevnetNode, http: httpx.AsyncClient, ask: Any, accounts: Keys) -> None:
    own, other = accounts[0].address, accounts[1].address
    found = await ask("getdelegatedresourcev2", fromAddress=own.hex, toAddress=other.hex)
    free, locked = found["delegatedResource"]
    assert free == {
        "from": own.hex,
        "to": other.hex,
        "frozen_balance_for_bandwidth": 100 * TRX,
        "frozen_balance_for_energy": 500 * TRX,
    }
    assert locked["frozen_balance_for_energy"] == 250 * TRX
    assert list(locked)[-1] == "expire_time_for_energy"
    query = {"fromAddress": own.base58, "toAddress": other.base58, "visible": "true"}
    shown = (await http.get("/wallet/getdelegatedresourcev2", params=query)).json()
    assert shown["delegatedResource"][0]["from"] == own.base58
    assert await ask("getdelegatedresourcev2", fromAddress=other.hex, toAddress=own.hex) == {}
    index = {"account": own.base58, "toAccounts": [other.base58]}
    assert await ask("getdelegatedresourceaccountindexv2", value=own.base58, visible=True) == index
    index = {"account": other.hex, "fromAccounts": [own.hex]}
    assert await ask("getdelegatedresourceaccountindexv2", value=other.hex) == index
    assert await ask("getdelegatedresourceaccountindexv2", value="41") == {}
    assert await ask("getdelegatedresource", fromAddress=own.hex, toAddress=other.hex) == {}
    assert await ask("getdelegatedresourceaccountindex", value=own.hex) == {"account": own.hex}


async def test_what_can_still_be_done(staked: DevnetNode, ask: Any, accounts: Keys, strangers: Keys) -> None:
    own, nobody = accounts[0].address.hex, strangers[0].address.hex
    assert await ask("getcandelegatedmaxsize", owner_address=own, type=1) == {"max_size": 2_230 * TRX}
    less = (await ask("getcandelegatedmaxsize", owner_address=own))["max_size"]
    # The bandwidth in use, and that of the delegation to come.
    assert 1_889 * TRX < less < 1_890 * TRX
    assert await ask("getcandelegatedmaxsize", owner_address=own, type=2) == {}
    assert await ask("getcandelegatedmaxsize", owner_address=nobody) == {}
    assert await ask("getavailableunfreezecount", owner_address=own) == {"count": 30}
    assert await ask("getavailableunfreezecount", owner_address=nobody) == {}
    assert await ask("getcanwithdrawunfreezeamount", owner_address=own) == {}
    later = staked.chain.head.time_ms + 15 * 86_400_000
    assert await ask("getcanwithdrawunfreezeamount", owner_address=own, timestamp=later) == {"amount": 30 * TRX}
    assert await ask("getcanwithdrawunfreezeamount", owner_address=own, timestamp=-1) == {}


async def test_solid_answers_lag_behind(staked: DevnetNode, ask: Any, accounts: Keys) -> None:
    own, other = accounts[0].address.hex, accounts[1].address.hex
    question = {"fromAddress": own, "toAddress": other}
    assert await ask("getdelegatedresourcev2", prefix="walletsolidity", **question) == {}
    assert "votes" not in await ask("getaccount", prefix="walletsolidity", address=own)
    staked.mine(18)
    assert len((await ask("getdelegatedresourcev2", prefix="walletsolidity", **question))["delegatedResource"]) == 2
    assert "votes" in await ask("getaccount", prefix="walletsolidity", address=own)


async def test_witnesses_and_maintenance(staked: DevnetNode, ask: Any, accounts: Keys) -> None:
    chain, candidate, own = staked.chain, candidates()[0].address.hex, accounts[0].address.hex
    due_ms = (await ask("getnextmaintenancetime"))["num"]
    assert 0 < due_ms - chain.head.time_ms <= 300_000

    async def shown() -> Any:
        listed = (await ask("listwitnesses"))["witnesses"]
        return next(witness for witness in listed if witness["address"] == candidate)

    assert await shown() == {"address": candidate, "url": "http://sr27.invalid"}
    for _ in range(2):
        chain.produce(missed=100)
        for _ in range(30):
            chain.produce()
    found = await shown()
    assert (found["voteCount"], found["isJobs"]) == (4_000, True)
    assert found["totalProduced"] >= 1
    assert (await ask("getnextmaintenancetime"))["num"] > due_ms
    chain.produce(missed=100)
    reward = (await ask("getReward", address=own))["reward"]
    assert reward > 0
    assert (await ask("getReward", address=candidate))["reward"] > 0
    assert (await ask("getBrokerage", address=candidate)) == {"brokerage": 20}
    built = await ask("withdrawbalance", owner_address=own)
    signed = built | {"signature": [sign(bytes.fromhex(built["txID"]), accounts[0].private_key).hex()]}
    assert (await ask("broadcasttransaction", **signed))["result"] is True
    chain.produce()
    info = await ask("gettransactioninfobyid", value=built["txID"])
    assert info["withdraw_amount"] == reward
    assert list(info)[-1] == "withdraw_amount"
    assert (await ask("getReward", address=own)) == {"reward": 0}
    assert (await ask("getaccount", address=own))["latest_withdraw_time"] > 0


# --- signatures ---


async def test_weights_and_signers_of_a_shared_account_are_told(
    node: DevnetNode, ask: Any, accounts: Keys, build: Build
) -> None:
    own, a, b, stranger = accounts[:4]
    only_transfers = bytes([1 << Transfer.type_id]) + bytes(31)
    keys = (Key(a.address, 2), Key(b.address, 1))
    update = AccountPermissionUpdate(
        own.address,
        Permission(PermissionType.Owner, "owner", 3, keys),
        None,
        (Permission(PermissionType.Active, "pay", 2, keys, only_transfers),),
    )
    node.chain.submit(build(node.chain, own, own.address, contract=update))
    node.chain.produce()

    async def asked(call: str, *signers: KnownKey, **fields: Any) -> Any:
        transaction = build(node.chain, own, stranger.address, 5, signers=signers, **fields)
        return await ask(call, **transaction_to_json(transaction.signed(), visible=False))

    found = await asked("getsignweight", b)
    assert (found["result"], found["current_weight"]) == ({"code": "NOT_ENOUGH_PERMISSION"}, 1)
    assert found["approved_list"] == [b.address.hex]
    assert found["permission"]["threshold"] == 3
    found = await asked("getsignweight", b, a)
    assert (found["result"], found["current_weight"]) == ({}, 3)
    found = await asked("getsignweight", a, permission_id=2)
    assert (found["result"], found["permission"]["id"]) == ({}, 2)
    found = await asked("getsignweight")
    assert found["result"] == {"code": "NOT_ENOUGH_PERMISSION"}
    assert "current_weight" not in found
    freeze = FreezeBalanceV2(own.address, TRX, Resource.ENERGY)
    found = await asked("getsignweight", a, permission_id=2, contract=freeze)
    assert found["result"] == {"code": "PERMISSION_ERROR", "message": "Permission denied!"}
    found = await asked("getsignweight", a, permission_id=3)
    assert found["result"]["message"] == "Permission for this, does not exist!"
    found = await asked("getsignweight", own)
    assert found["result"]["message"].endswith("but it is not contained of permission.")
    found = await asked("getsignweight", a, a)
    assert found["result"]["message"] == f"{a.address.base58} has signed twice!"
    # Who signed is told whether they may or not.
    found = await asked("getapprovedlist", own, a)
    assert (found["result"], found["approved_list"]) == ({}, [own.address.hex, a.address.hex])


async def test_an_account_of_block_0_has_no_active_permission(node: DevnetNode, accounts: Keys, build: Build) -> None:
    with pytest.raises(SignatureInvalid, match="permission isn't exit"):
        node.chain.submit(build(node.chain, faucet(), accounts[0].address, 5, permission_id=2))
    node.chain.submit(build(node.chain, faucet(), accounts[0].address, 5))
