"""The HTTP calls about contracts: shapes, both forms of addresses, and how errors come."""

from typing import Any

import httpx
import pytest

from services.devnet.deployed import PLAIN_TOKEN, USDT, USDT_SUPPLY
from services.devnet.genesis import KnownKey, faucet
from services.devnet.node import DevnetNode
from services.devnet.settings import DevnetSettings
from services.devnet.tokens import token
from services.protocol import abi
from services.protocol.address import Address
from services.protocol.hashes import keccak256
from services.protocol.signature import sign

Keys = tuple[KnownKey, ...]
Json = dict[str, Any]
REVERTED = b"REVERT opcode executed".hex()


async def post(http: httpx.AsyncClient, path: str, **body: Any) -> Json:
    answer = await http.post(path, json=body)
    assert answer.status_code == 200
    found: Json = answer.json()
    return found


async def send(http: httpx.AsyncClient, node: DevnetNode, transaction: Json, key: KnownKey) -> Json:
    """Sign what a call built, broadcast it, put it into a block; gives its info."""
    transaction["signature"] = [sign(bytes.fromhex(transaction["txID"]), key.private_key).hex()]
    sent = await post(http, "/wallet/broadcasttransaction", **transaction)
    assert sent == {"result": True, "txid": transaction["txID"]}
    node.mine()
    return await post(http, "/wallet/gettransactioninfobyid", value=transaction["txID"])


def transferring(sender: KnownKey, to: Address, amount: int, **more: Any) -> Json:
    return {
        "owner_address": sender.address.hex,
        "contract_address": USDT.hex,
        "function_selector": "transfer(address,uint256)",
        "parameter": abi.encode_transfer(to, amount)[4:].hex(),
        **more,
    }


def reason(answer: Json) -> tuple[str, str]:
    assert list(answer) == ["result"]
    assert set(answer["result"]) == {"code", "message"}
    return answer["result"]["code"], bytes.fromhex(answer["result"]["message"]).decode()


# --- triggering ---


async def test_a_transfer_from_trigger_to_receipt(http: httpx.AsyncClient, node: DevnetNode, accounts: Keys) -> None:
    to = accounts[0].address
    made = await post(http, "/wallet/triggersmartcontract", **transferring(faucet(), to, 7, fee_limit=30_000_000))
    assert made["result"] == {"result": True}
    transaction = made["transaction"]
    assert set(transaction) == {"visible", "txID", "raw_data", "raw_data_hex"}
    assert transaction["visible"] is False
    assert transaction["raw_data"]["fee_limit"] == 30_000_000
    assert transaction["raw_data"]["contract"] == [
        {
            "parameter": {
                "value": {
                    "data": abi.encode_transfer(to, 7).hex(),
                    "owner_address": faucet().address.hex,
                    "contract_address": USDT.hex,
                },
                "type_url": "type.googleapis.com/protocol.TriggerSmartContract",
            },
            "type": "TriggerSmartContract",
        }
    ]
    info = await send(http, node, transaction, faucet())
    assert info == {
        "id": transaction["txID"],
        "fee": 2_938_300,
        "blockNumber": 2,
        "blockTimeStamp": node.chain.head.time_ms,
        "contractResult": [bytes(32).hex()],
        "contract_address": USDT.hex,
        "receipt": {
            "energy_fee": 2_938_300,
            "energy_usage_total": 29_383,
            "net_usage": 345,
            "result": "SUCCESS",
        },
        "log": [
            {
                "address": USDT.evm.hex(),
                "topics": [
                    abi.event_topic("Transfer(address,address,uint256)").hex(),
                    faucet().address.evm.rjust(32, b"\0").hex(),
                    to.evm.rjust(32, b"\0").hex(),
                ],
                "data": (7).to_bytes(32).hex(),
            }
        ],
    }
    assert list(info) == [
        *("id", "fee", "blockNumber", "blockTimeStamp", "contractResult", "contract_address", "receipt", "log")
    ]
    visible = await post(http, "/wallet/gettransactioninfobyid", value=transaction["txID"], visible=True)
    assert visible["contract_address"] == visible["log"][0]["address"] == USDT.base58
    assert (await post(http, "/walletsolidity/gettransactioninfobyid", value=transaction["txID"])) == {}
    by_block = await http.post("/wallet/gettransactioninfobyblocknum", json={"num": 2})
    assert by_block.json() == [info]
    shown = await post(http, "/wallet/gettransactionbyid", value=transaction["txID"])
    assert shown["ret"] == [{"contractRet": "SUCCESS"}]


async def test_a_failed_transfer_lands_in_a_block(
    http: httpx.AsyncClient, node: DevnetNode, accounts: Keys, strangers: Keys
) -> None:
    made = await post(
        http, "/wallet/triggersmartcontract", **transferring(accounts[0], strangers[0].address, 7, fee_limit=5_000_000)
    )
    info = await send(http, node, made["transaction"], accounts[0])
    energy = info["receipt"]["energy_usage_total"]
    assert info["receipt"] == {
        "energy_fee": energy * 100,
        "energy_usage_total": energy,
        "net_usage": 345,
        "result": "REVERT",
    }
    assert (info["result"], info["resMessage"], info["contractResult"]) == ("FAILED", REVERTED, [""])
    assert "log" not in info
    shown = await post(http, "/wallet/gettransactionbyid", value=info["id"])
    assert shown["ret"] == [{"contractRet": "REVERT"}]


async def test_out_of_energy_says_so(http: httpx.AsyncClient, node: DevnetNode, accounts: Keys) -> None:
    made = await post(
        http, "/wallet/triggersmartcontract", **transferring(faucet(), accounts[0].address, 7, fee_limit=1_000)
    )
    info = await send(http, node, made["transaction"], faucet())
    assert info["receipt"]["result"] == "OUT_OF_ENERGY"
    assert (info["fee"], info["receipt"]["energy_usage_total"]) == (1_000, 10)
    assert bytes.fromhex(info["resMessage"]).startswith(b"Not enough energy for '")


async def test_a_constant_call_tells_result_and_energy(http: httpx.AsyncClient, accounts: Keys) -> None:
    body = {
        "owner_address": accounts[0].address.base58,
        "contract_address": USDT.base58,
        "function_selector": "balanceOf(address)",
        "parameter": abi.encode_address(faucet().address).hex(),
        "visible": True,
    }
    for path in (
        "/wallet/triggerconstantcontract",
        "/walletsolidity/triggerconstantcontract",
        # Told by the ABI, it answers at once here too.
        "/wallet/triggersmartcontract",
    ):
        answer = await post(http, path, **body)
        assert answer["result"] == {"result": True}
        assert answer["constant_result"] == [USDT_SUPPLY.to_bytes(32).hex()]
        assert answer["energy_used"] == 716
        assert answer["transaction"]["ret"] == [{}]
        assert answer["transaction"]["visible"] is True
        assert set(answer) == {"result", "energy_used", "constant_result", "transaction"}


async def test_a_constant_call_of_what_would_change_something(
    http: httpx.AsyncClient, node: DevnetNode, accounts: Keys
) -> None:
    asked = transferring(faucet(), accounts[0].address, 7)
    answer = await post(http, "/wallet/triggerconstantcontract", **asked)
    assert (answer["energy_used"], answer["constant_result"]) == (29_383, [bytes(32).hex()])
    assert [log["address"] for log in answer["logs"]] == [USDT.evm.hex()]
    # Nothing has changed.
    again = await post(http, "/wallet/triggerconstantcontract", **asked)
    assert again["energy_used"] == 29_383
    assert not node.chain.pool
    poor = await post(http, "/wallet/triggerconstantcontract", **transferring(accounts[0], faucet().address, 7))
    assert poor["result"] == {"result": True, "message": REVERTED}
    assert poor["transaction"]["ret"] == [{"ret": "FAILED"}]


async def test_data_may_be_given_instead_of_selector_and_parameter(http: httpx.AsyncClient, accounts: Keys) -> None:
    body = {
        "owner_address": accounts[0].address.hex,
        "contract_address": USDT.hex,
        "data": abi.encode_balance_of(faucet().address).hex(),
    }
    answer = await post(http, "/wallet/triggerconstantcontract", **body)
    assert answer["constant_result"] == [USDT_SUPPLY.to_bytes(32).hex()]


async def test_a_deployment_can_be_tried_without_a_contract(http: httpx.AsyncClient, accounts: Keys) -> None:
    arguments = accounts[0].address.evm.rjust(32, b"\0") + bytes(32)
    body = {"owner_address": accounts[0].address.hex, "data": (token("PlainToken").bytecode + arguments).hex()}
    answer = await post(http, "/wallet/triggerconstantcontract", **body)
    assert answer["energy_used"] > 300_000
    assert len(answer["constant_result"][0]) > 3_000


async def test_what_cannot_be_carried_out_comes_as_an_error_inside_result(
    http: httpx.AsyncClient, accounts: Keys
) -> None:
    owner = accounts[0].address.hex
    invalid = "class java.security.InvalidParameterException : "

    async def asked(call: str, **body: Any) -> tuple[str, str]:
        return reason(await post(http, f"/wallet/{call}", **body))

    assert await asked("triggersmartcontract", contract_address=USDT.hex) == (
        "OTHER_ERROR",
        invalid + "owner_address isn't set.",
    )
    assert await asked("triggersmartcontract", owner_address=owner) == (
        "OTHER_ERROR",
        invalid + "contract_address isn't set.",
    )
    assert await asked("triggersmartcontract", owner_address=owner, contract_address=owner) == (
        "CONTRACT_VALIDATE_ERROR",
        "No contract or not a valid smart contract",
    )
    assert await asked("triggerconstantcontract", owner_address=owner, contract_address=owner) == (
        "CONTRACT_VALIDATE_ERROR",
        "Smart contract is not exist.",
    )
    assert await asked("triggerconstantcontract", owner_address=owner) == (
        "OTHER_ERROR",
        invalid + "At least one of contract_address and data must be set.",
    )
    code, message = await asked("triggerconstantcontract", owner_address=owner, data="fe")
    assert (code, message) == (
        "OTHER_ERROR",
        "class org.tron.core.vm.program.Program$IllegalOperationException : Invalid operation code: opCode[fe];",
    )
    code, message = await asked("triggerconstantcontract", owner_address=owner, data="zz")
    assert code == "OTHER_ERROR"
    assert message.startswith("class org.tron.core.services.http.JsonFormat$ParseException : 1:")
    code, message = await asked("triggerconstantcontract", owner_address=owner, data="5f5fda00")
    assert "does not carry out the opcode FREEZEBALANCEV2" in message


@pytest.mark.parametrize(
    "call", ["triggersmartcontract", "triggerconstantcontract", "estimateenergy", "deploycontract"]
)
async def test_there_is_nothing_to_get(http: httpx.AsyncClient, call: str) -> None:
    answer = await http.get(f"/wallet/{call}")
    assert (answer.status_code, answer.text) == (200, "")


# --- estimating ---


async def test_an_estimate_is_a_limit_that_suffices(http: httpx.AsyncClient, node: DevnetNode, accounts: Keys) -> None:
    to = accounts[0].address
    await send(
        http,
        node,
        (await post(http, "/wallet/triggersmartcontract", **transferring(faucet(), to, 7, fee_limit=9_000_000)))[
            "transaction"
        ],
        faucet(),
    )
    # As measured: half as much again as the 14,383 that are used.
    answer = await http.post("/wallet/estimateenergy", json=transferring(faucet(), to, 7))
    assert answer.text == '{"result":{"result":true},"energy_required":21575}\n'
    node.mine(19)
    solid = await post(http, "/walletsolidity/estimateenergy", **transferring(faucet(), to, 7))
    assert solid["energy_required"] == 21_575


async def test_what_fails_cannot_be_estimated(http: httpx.AsyncClient, accounts: Keys) -> None:
    answer = await post(http, "/wallet/estimateenergy", **transferring(accounts[0], faucet().address, 7))
    assert reason(answer) == ("CONTRACT_EXE_ERROR", "REVERT opcode executed")


# --- deploying and reading ---


async def test_a_contract_is_deployed_and_read_back(http: httpx.AsyncClient, node: DevnetNode, accounts: Keys) -> None:
    owner, compiled = accounts[0], token("PlainToken")
    arguments = owner.address.evm.rjust(32, b"\0") + (10**9).to_bytes(32)
    made = await post(
        http,
        "/wallet/deploycontract",
        owner_address=owner.address.base58,
        abi=compiled.abi,
        bytecode=compiled.bytecode.hex(),
        parameter=arguments.hex(),
        name="Mine",
        consume_user_resource_percent=30,
        origin_energy_limit=1_000_000,
        fee_limit=100_000_000,
        visible=True,
    )
    address = made["contract_address"]
    expected = keccak256(bytes.fromhex(made["txID"]) + owner.address.raw)[12:]
    assert address == "41" + expected.hex()
    assert made["raw_data"]["contract"][0]["type"] == "CreateSmartContract"
    info = await send(http, node, made, owner)
    assert (info["contract_address"], info["receipt"]["result"]) == (address, "SUCCESS")
    shown = await post(http, "/wallet/getcontract", value=address)
    assert shown["bytecode"] == (compiled.bytecode + arguments).hex()
    assert shown["origin_address"] == owner.address.hex
    assert (shown["name"], shown["consume_user_resource_percent"]) == ("Mine", 30)
    assert {entry["type"] for entry in shown["abi"]["entrys"]} == {"Constructor", "Event", "Function"}
    balance_of = next(entry for entry in shown["abi"]["entrys"] if entry.get("name") == "balanceOf")
    assert balance_of == {
        "name": "balanceOf",
        "inputs": [{"type": "address"}],
        "outputs": [{"type": "uint256"}],
        "type": "Function",
        "stateMutability": "View",
    }
    details = await post(http, "/wallet/getcontractinfo", value=address)
    assert details["smart_contract"] == shown
    assert details["runtimecode"] == info["contractResult"][0]
    assert keccak256(bytes.fromhex(details["runtimecode"])).hex() == shown["code_hash"]


async def test_contracts_in_both_forms(http: httpx.AsyncClient, accounts: Keys) -> None:
    plain = await post(http, "/wallet/getcontract", value=USDT.hex)
    assert (plain["contract_address"], plain["name"]) == (USDT.hex, "UsdtToken")
    visible = await post(http, "/wallet/getcontract", value=USDT.base58, visible=True)
    assert visible["contract_address"] == USDT.base58
    got = (await http.get("/wallet/getcontract", params={"value": USDT.base58, "visible": "true"})).json()
    assert got == visible
    assert (await http.get("/wallet/getcontract", params={"value": USDT.hex})).json() == plain
    for nobody in (accounts[0].address, Address.from_evm(bytes(20))):
        assert await post(http, "/wallet/getcontract", value=nobody.hex) == {}
        assert await post(http, "/wallet/getcontractinfo", value=nobody.hex) == {}
    account = await post(http, "/wallet/getaccount", address=USDT.hex)
    assert (account["type"], bytes.fromhex(account["account_name"])) == ("Contract", b"UsdtToken")
    assert "owner_permission" not in account


# --- the faucet and the penalty ---


async def test_the_faucet_gives_tokens(http: httpx.AsyncClient, node: DevnetNode, strangers: Keys) -> None:
    to = strangers[0].address
    for name, contract in (("USDT", USDT), ("PLAIN", PLAIN_TOKEN)):
        given = await post(http, "/admin/faucet", address=to.base58, token=name, amount=250_000_000)
        assert given == {
            "txid": given["txid"],
            "from": faucet().address.base58,
            "to": to.base58,
            "token": name,
            "contract": contract.base58,
            "amount": 250_000_000,
        }
        node.mine()
        info = await post(http, "/wallet/gettransactioninfobyid", value=given["txid"])
        assert info["receipt"]["result"] == "SUCCESS"
    answer = await http.post("/admin/faucet", json={"address": to.base58, "token": "USDT"})
    assert answer.status_code == 422
    assert "token and amount come together" in answer.json()["detail"]


async def test_a_contract_is_made_dearer(accounts: Keys) -> None:
    settings = DevnetSettings(listen="127.0.0.1:0", block_interval_ms=0, dynamic_energy=True)
    async with DevnetNode(settings) as node, httpx.AsyncClient(base_url=node.url, timeout=10) as http:
        path = f"/admin/contracts/{USDT.base58}/energy-factor"
        assert await post(http, path, factor=34_000) == {"address": USDT.base58, "factor": 34_000}
        asked = transferring(faucet(), accounts[0].address, 7)
        answer = await post(http, "/wallet/triggerconstantcontract", **asked)
        assert answer["energy_used"] - answer["energy_penalty"] == 29_383
        assert answer["energy_penalty"] > 90_000
        info = await post(http, "/wallet/getcontractinfo", value=USDT.hex)
        assert info["contract_state"]["energy_factor"] == 34_000
        made = await post(http, "/wallet/triggersmartcontract", **asked, fee_limit=100_000_000)
        receipt = (await send(http, node, made["transaction"], faucet()))["receipt"]
        assert receipt["energy_penalty_total"] == answer["energy_penalty"]
        assert receipt["energy_usage_total"] == answer["energy_used"]
        parameters = (await post(http, "/wallet/getchainparameters"))["chainParameter"]
        assert {"key": "getDynamicEnergyMaxFactor", "value": 34_000} in parameters
        assert (
            await http.post(f"/admin/contracts/{accounts[0].address.base58}/energy-factor", json={"factor": 1})
        ).status_code == 404
        assert (await http.post("/admin/contracts/nonsense/energy-factor", json={"factor": 1})).status_code == 422
        assert (await http.post(path, json={"factor": -1})).status_code == 422


async def test_nothing_is_made_dearer_where_contracts_keep_their_price(http: httpx.AsyncClient) -> None:
    answer = await http.post(f"/admin/contracts/{USDT.base58}/energy-factor", json={"factor": 1})
    assert answer.status_code == 409
    assert "DEVNET_DYNAMIC_ENERGY" in answer.json()["detail"]
