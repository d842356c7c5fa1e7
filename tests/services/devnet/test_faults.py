"""The fault switchboard: each fault does what it says, where and as often as it was told."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from lucid_tron_console.cli.devnet import KINDS
from services.devnet.faults import Fault, FaultBoard, FaultRequest, Kind
from services.devnet.genesis import KnownKey
from services.devnet.incoming import Incoming
from services.devnet.node import DevnetNode
from services.protocol.json import transaction_to_json

Keys = tuple[KnownKey, ...]
Build = Callable[..., Incoming]


@pytest.fixture
def transaction(node: DevnetNode, accounts: Keys, build: Build) -> Incoming:
    return build(node.chain, accounts[0], accounts[1].address)


async def switch_on(http: httpx.AsyncClient, **fault: Any) -> Any:
    answer = await http.post("/admin/faults", json=fault)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def send(http: httpx.AsyncClient, transaction: Incoming) -> httpx.Response:
    return await http.post("/wallet/broadcasthex", json={"transaction": transaction.signed().encode().hex()})


async def test_drop_after_takes_the_transaction_and_says_nothing(
    node: DevnetNode, http: httpx.AsyncClient, transaction: Incoming
) -> None:
    await switch_on(http, kind="drop_after", count=1)
    with pytest.raises(httpx.RemoteProtocolError):
        await send(http, transaction)
    assert transaction.txid in node.chain.pool
    assert (await send(http, transaction)).json()["code"] == "DUP_TRANSACTION_ERROR"


async def test_drop_before_takes_nothing(node: DevnetNode, http: httpx.AsyncClient, transaction: Incoming) -> None:
    await switch_on(http, kind="drop_before", path="/wallet/broadcasthex", count=1)
    with pytest.raises(httpx.RemoteProtocolError):
        await send(http, transaction)
    assert transaction.txid not in node.chain.pool
    assert (await send(http, transaction)).json()["code"] == "SUCCESS"


@pytest.mark.parametrize(("kind", "is_taken"), [("error_before", False), ("error_after", True)])
async def test_an_error_comes_before_or_after_the_work(
    node: DevnetNode, http: httpx.AsyncClient, transaction: Incoming, kind: str, is_taken: bool
) -> None:
    await switch_on(http, kind=kind, status=502, count=1)
    assert (await send(http, transaction)).status_code == 502
    assert (transaction.txid in node.chain.pool) is is_taken


async def test_a_rate_limit_is_429_on_every_call_but_those_of_admin(http: httpx.AsyncClient) -> None:
    await switch_on(http, kind="rate_limit")
    for path in ("/wallet/getnowblock", "/walletsolidity/getnowblock", "/healthcheck"):
        answer = await http.get(path)
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"
    assert (await http.get("/admin/status")).status_code == 200


async def test_a_false_duplicate_takes_nothing(
    node: DevnetNode, http: httpx.AsyncClient, transaction: Incoming
) -> None:
    await switch_on(http, kind="false_duplicate", count=1)
    answer = (await send(http, transaction)).json()
    assert (answer["code"], answer["message"]) == ("DUP_TRANSACTION_ERROR", "Dup transaction.")
    assert transaction.txid not in node.chain.pool


async def test_a_delay_is_waited_for(http: httpx.AsyncClient) -> None:
    await switch_on(http, kind="delay", delay_ms=60, path="/wallet/getnowblock")
    before = time.monotonic()
    assert (await http.get("/wallet/getnowblock")).status_code == 200
    assert time.monotonic() - before >= 0.06


async def test_an_answer_that_is_late_was_carried_out_at_once(
    node: DevnetNode, http: httpx.AsyncClient, transaction: Incoming
) -> None:
    await switch_on(http, kind="delay_after", delay_ms=60_000, count=1)
    with pytest.raises(httpx.ReadTimeout):
        await send(httpx.AsyncClient(base_url=node.url, timeout=0.2), transaction)
    assert transaction.txid in node.chain.pool


async def test_an_answer_is_cut_after_the_work_was_done(
    node: DevnetNode, http: httpx.AsyncClient, transaction: Incoming
) -> None:
    await switch_on(http, kind="cut", count=1)
    with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
        await send(http, transaction)
    assert transaction.txid in node.chain.pool


async def test_an_answer_drips(http: httpx.AsyncClient) -> None:
    await switch_on(http, kind="drip", delay_ms=1, path="/wallet/getburntrx")
    began = time.monotonic()
    assert (await http.get("/wallet/getburntrx")).json().keys() == {"burnTrxAmount"}
    assert time.monotonic() - began >= 0.02


async def test_an_answer_is_huge_and_still_json(http: httpx.AsyncClient) -> None:
    await switch_on(http, kind="huge", megabytes=3, path="/wallet/getnowblock")
    answer = await http.get("/wallet/getnowblock")
    assert len(answer.content) > 3 * 2**20
    assert "blockID" in answer.json()


async def test_a_lost_transaction_was_a_success(
    node: DevnetNode, http: httpx.AsyncClient, transaction: Incoming
) -> None:
    await switch_on(http, kind="lose", count=1)
    answer = (await send(http, transaction)).json()
    assert (answer["result"], answer["code"]) == (True, "SUCCESS")
    assert transaction.txid not in node.chain.pool
    assert (await send(http, transaction)).json()["code"] == "SUCCESS"
    assert transaction.txid in node.chain.pool


@pytest.mark.parametrize("left_ms", [60_000, 61_000, 59_999, 90_000])
async def test_a_stranger_comes_in_the_last_block_that_may_have_it(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys, build: Build, left_ms: int
) -> None:
    expiration_ms = node.chain.head.time_ms + left_ms
    late = build(node.chain, accounts[0], accounts[1].address, expiration_ms=expiration_ms)
    await switch_on(http, kind="last_slot", count=1)
    assert (await send(http, late)).json()["code"] == "SUCCESS"
    while not node.chain.store.has_transaction(late.txid):
        assert node.chain.head.time_ms < expiration_ms, "it never came"
        assert late.txid not in node.chain.pool
        node.mine()
    # The slot of the block after this one is too late.
    assert node.chain.context.next_slot_ms > expiration_ms >= node.chain.head.time_ms


async def test_a_lagging_endpoint_ends_earlier_in_every_way(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys, build: Build
) -> None:
    payee = accounts[1].address
    for _ in range(60):
        node.chain.submit(build(node.chain, accounts[0], payee, 5))
        node.mine()
    newest = build(node.chain, accounts[0], payee, 5)
    node.chain.submit(newest)
    node.mine()
    head, solid = node.chain.head.number, node.chain.solid.number
    await switch_on(http, kind="lag", blocks=30, port=int(node.url.rpartition(":")[2]))
    assert await height(http, "wallet") == head - 30
    assert await height(http, "walletsolidity") == solid - 30
    assert (await http.post("/wallet/getblockbynum", json={"num": head - 29})).json() == {}
    question = {"value": newest.txid.hex()}
    assert (await http.post("/wallet/gettransactioninfobyid", json=question)).json() == {}
    whom = {"address": payee.base58, "visible": True}
    behind = (await http.post("/wallet/getaccount", json=whom)).json()["balance"]
    async with httpx.AsyncClient(base_url=node.urls[1]) as second:
        assert (await second.post("/wallet/getaccount", json=whom)).json()["balance"] == behind + 30 * 5
        assert await height(second, "wallet") == head


async def height(http: httpx.AsyncClient, prefix: str) -> int:
    block = (await http.get(f"/{prefix}/getnowblock")).json()
    return int(block["block_header"]["raw_data"].get("number", 0))


async def test_solidity_stands_still_where_it_was(node: DevnetNode, http: httpx.AsyncClient) -> None:
    node.mine(40)
    solid = node.chain.solid.number
    await switch_on(http, kind="stuck_solid")
    node.mine(10)
    assert (node.chain.solid.number, await height(http, "walletsolidity")) == (solid + 10, solid)
    info = (await http.get("/wallet/getnodeinfo")).json()
    assert info["solidityBlock"].startswith(f"Num:{solid},")
    assert info["block"].startswith(f"Num:{solid + 10 + 18},")


async def test_a_solid_time_lies_in_the_future(node: DevnetNode, http: httpx.AsyncClient) -> None:
    node.mine(20)
    await switch_on(http, kind="future_solid", ahead_ms=600_000)
    shown = (await http.get("/walletsolidity/getnowblock")).json()["block_header"]["raw_data"]
    assert shown["timestamp"] == node.chain.solid.time_ms + 600_000
    shown = (await http.get("/wallet/getnowblock")).json()["block_header"]["raw_data"]
    assert shown["timestamp"] == node.chain.head.time_ms


@pytest.mark.parametrize("place", ["pool", "block"])
async def test_transactions_of_one_address_are_hidden(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys, build: Build, place: str
) -> None:
    hidden = build(node.chain, accounts[0], accounts[1].address)
    plain = build(node.chain, accounts[0], accounts[2].address)
    for each in (hidden, plain):
        node.chain.submit(each)
    if place == "block":
        node.mine()
    await switch_on(http, kind="hide", address=accounts[1].address.base58)
    calls = ["gettransactionbyid"] + (["gettransactioninfobyid"] if place == "block" else [])
    for call in calls:
        assert (await http.post(f"/wallet/{call}", json={"value": hidden.txid.hex()})).json() == {}
        assert (await http.post(f"/wallet/{call}", json={"value": plain.txid.hex()})).json() != {}


async def test_a_phantom_is_shown_as_solid_before_any_block_has_it(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys, build: Build
) -> None:
    node.mine(20)
    transaction = build(node.chain, accounts[0], accounts[1].address)
    node.chain.submit(transaction)
    question = {"value": transaction.txid.hex()}
    assert (await http.post("/walletsolidity/gettransactioninfobyid", json=question)).json() == {}
    await switch_on(http, kind="phantom")
    found = (await http.post("/walletsolidity/gettransactioninfobyid", json=question)).json()
    assert (found["id"], found["blockNumber"]) == (transaction.txid.hex(), node.chain.solid.number)
    assert not node.chain.store.has_transaction(transaction.txid)


async def test_block_0_is_another_chains(node: DevnetNode, http: httpx.AsyncClient) -> None:
    honest = (await http.post("/wallet/getblockbynum", json={"num": 0})).json()["blockID"]
    await switch_on(http, kind="other_genesis")
    assert (await http.post("/wallet/getblockbynum", json={"num": 0})).json()["blockID"] != honest
    assert (await http.post("/wallet/getblockbynum", json={"num": 1})).json()["blockID"] == node.chain.head.id.hex()


async def test_one_account_has_a_false_balance(node: DevnetNode, http: httpx.AsyncClient, accounts: Keys) -> None:
    node.mine(20)
    rich, other = (key.address.base58 for key in accounts[:2])
    await switch_on(http, kind="false_balance", address=rich, balance_sun=7)
    for prefix in ("wallet", "walletsolidity"):
        balances = [
            (await http.post(f"/{prefix}/getaccount", json={"address": whom, "visible": True})).json().get("balance", 0)
            for whom in (rich, other)
        ]
        assert balances[0] == 7
        assert balances[1] != 7


@pytest.mark.parametrize("form", ["json", "hex"])
async def test_a_fault_of_one_address_strikes_its_transactions_only(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys, build: Build, form: str
) -> None:
    await switch_on(http, kind="error_after", status=502, address=accounts[1].address.base58)
    for whom, status in ((accounts[1], 502), (accounts[2], 200)):
        each = build(node.chain, accounts[0], whom.address)
        if form == "hex":
            answer = await send(http, each)
        else:
            body = transaction_to_json(each.signed(), visible=False)
            answer = await http.post("/wallet/broadcasttransaction", json=body)
        assert answer.status_code == status
        assert each.txid in node.chain.pool


async def test_a_false_answer_for_one_address(
    node: DevnetNode, http: httpx.AsyncClient, accounts: Keys, build: Build
) -> None:
    await switch_on(http, kind="answer", code="SERVER_BUSY", address=accounts[1].address.base58)
    codes = [(await send(http, build(node.chain, accounts[0], whom.address))).json()["code"] for whom in accounts[1:3]]
    assert codes == ["SERVER_BUSY", "SUCCESS"]


async def test_a_fault_of_one_endpoint_leaves_the_other_alone(node: DevnetNode, http: httpx.AsyncClient) -> None:
    await switch_on(http, kind="rate_limit", port=int(node.urls[1].rpartition(":")[2]))
    assert (await http.get("/wallet/getnowblock")).status_code == 200
    async with httpx.AsyncClient(base_url=node.urls[1]) as second:
        assert (await second.get("/wallet/getnowblock")).status_code == 429


async def test_faults_are_listed_and_switched_off(http: httpx.AsyncClient) -> None:
    first = await switch_on(http, kind="rate_limit", count=1, path="/wallet/getnowblock")
    second = await switch_on(http, kind="delay", delay_ms=5)
    await http.get("/wallet/getnowblock")
    listed = (await http.get("/admin/faults")).json()["faults"]
    assert [(fault["id"], fault["kind"], fault["struck"]) for fault in listed] == [
        (first["id"], "rate_limit", 1),
        (second["id"], "delay", 1),
    ]
    assert (await http.delete(f"/admin/faults/{second['id']}")).json() == {"removed": 1}
    missing = await http.delete(f"/admin/faults/{second['id']}")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert (await http.delete("/admin/faults")).json() == {"removed": 1}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"kind": "explode"}, "known are delay, delay_after, drop_before, drop_after, error_before"),
        ({"kind": "hide", "address": "TNobody"}, "address: "),
        ({"kind": "lag", "blocks": 91}, "blocks: Input should be less than or equal to 90"),
        ({"kind": "answer", "code": "MAYBE"}, "known are SUCCESS, SIGERROR"),
        ({"kind": "delay", "delay": 5}, "delay: Extra inputs are not permitted"),
        ({"kind": "rate_limit", "count": 0}, "count: Input should be greater than or equal to 1"),
        ({"kind": "error_after", "status": 404}, "status: Input should be greater than or equal to 500"),
        ({"kind": "drop_after", "probability": 1.5}, "probability: Input should be less than or equal to 1"),
        ({}, "kind: Field required"),
    ],
)
async def test_a_fault_that_makes_no_sense_is_explained(
    http: httpx.AsyncClient, fault: dict[str, Any], words: str
) -> None:
    answer = await http.post("/admin/faults", json=fault)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]


async def test_a_body_that_is_no_json_is_explained(http: httpx.AsyncClient) -> None:
    answer = await http.post("/admin/faults", content="{")
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


def hits(fault: Fault, calls: int) -> list[bool]:
    return [fault.strikes("/wallet/getnowblock", 1) for _ in range(calls)]


def test_the_dice_of_a_seed_fall_the_same_again() -> None:
    rolls = [
        hits(FaultBoard().add(FaultRequest(kind="rate_limit", probability=0.3, seed=seed)), 200) for seed in (7, 7, 8)
    ]
    assert rolls[0] == rolls[1] != rolls[2]
    assert 30 < sum(rolls[0]) < 90


def test_a_spent_fault_makes_room_for_others() -> None:
    board = FaultBoard()
    fault = board.add(FaultRequest(kind="rate_limit", count=2))
    assert hits(fault, 4) == [True, True, False, False]
    board.add(FaultRequest(kind="delay"))
    assert len(board.all()) == 1


def test_the_command_line_knows_every_kind() -> None:
    assert tuple(Kind) == KINDS
