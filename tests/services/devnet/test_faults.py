"""The fault switchboard: each fault does what it says, where and as often as it was told."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from services.devnet.faults import Fault, FaultBoard, FaultRequest
from services.devnet.genesis import KnownKey
from services.devnet.incoming import Incoming
from services.devnet.node import DevnetNode

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
        ({"kind": "explode"}, "known are delay, drop_before, drop_after, error_before"),
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
