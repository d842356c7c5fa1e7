"""The whole node behind a real private Tor network: a payout through three hops, rotation under load, onions.

tor has to be installed (apt-get install -y tor); without it the first test says so.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lucid_tron_console.probe import call
from services.protocol.address import Address

READS = 200
WORKERS = 8


def pay(node: Any, key: str) -> Any:
    """Pay 1 TRX to a new address by the command line, and wait until that is final."""
    receiver = node.account()
    words = ["--from", "hot", "--to", receiver, "--asset", "TRX", "--amount", "1", "--key", key]
    began = time.monotonic()
    payout = node.json("payouts", "create", *words, "--wait", "paid", "--timeout", "60s")
    print(f"{key}: paid in {time.monotonic() - began:.1f} s")
    assert payout["state"] == "paid"
    assert node.transfers(receiver, 1_000_000) == [payout["txid"]]
    return payout


def circuits(node: Any, purpose: str) -> list[dict[str, Any]]:
    """Built circuits whose isolation name begins so."""
    items = node.json("tor", "circuits")["items"]
    return [one for one in items if one["state"] == "BUILT" and (one["isolation"] or "").startswith(purpose)]


def generations(node: Any) -> dict[str, int]:
    """The generation of each isolation name."""
    return {one["name"]: one["generation"] for one in node.json("tor", "isolation")["items"]}


def test_a_payout_goes_through_three_real_hops(lab_node: Any) -> None:
    node = lab_node
    status = node.json("status")
    assert status["tor"]["egress"] == "tor"
    assert status["tor"]["state"] == "ok"
    roles = {one["name"]: one["role"] for one in node.json("tor", "lab", "status")["nodes"]}

    pay(node, "three-hops")

    for purpose in ("read:127.0.0.1:", "broadcast:127.0.0.1:"):
        found = circuits(node, purpose)
        assert found, f"no circuit for {purpose}"
        for one in found:
            names = [hop["nickname"] for hop in one["hops"]]
            assert len(names) == len(set(names)) == 3, names
            assert roles[names[-1]] == "exit"
    reads, sends = circuits(node, "read:"), circuits(node, "broadcast:")
    assert {one["id"] for one in reads}.isdisjoint(one["id"] for one in sends)
    ports = {str(port) for port in node.record().devnet_ports}
    assert {one["target"].rpartition(":")[2] for one in node.json("tor", "streams")["items"]} <= ports
    assert node.json("tor", "test")["ok"]
    leaks = node.json("tor", "leak-test", "--sockets-only", "--for", "1s")
    assert leaks["ok"], leaks
    assert leaks["checks"][1]["figures"]["loopback"] == 0


def test_a_rotation_under_load_fails_no_read(lab_node: Any) -> None:
    node = lab_node
    before = generations(node)
    took_ms: list[float] = []

    def read(number: int) -> int:
        # Addresses that nobody asked for yet: what is cached would not go through Tor.
        address = Address(b"\x41" + number.to_bytes(20, "big")).base58
        began = time.monotonic()
        status, _ = call(node.home.socket("tron"), f"/api/v1/tron/network/account/{address}", timeout_s=30)
        took_ms.append((time.monotonic() - began) * 1000)
        return status

    names = [name for name in sorted(before) if name.startswith("read:")]
    done = []
    with ThreadPoolExecutor(WORKERS) as pool:
        running = [pool.submit(read, number) for number in range(READS)]
        for enough in (READS // 5, READS // 2):
            node.until(lambda enough=enough: len(took_ms) >= enough, "reads are answered")
            done.append(len(took_ms))
            moved = [rotate(node, name) for name in names]
        done.append(len(took_ms))
        statuses = [one.result() for one in running]

    took_ms.sort()
    print(f"{READS} reads, rotated at {done[0]} and from {done[1]} to {done[2]}; ", end="")
    print(f"p50 {took_ms[len(took_ms) // 2]:.1f} ms, p99 {took_ms[len(took_ms) * 99 // 100]:.1f} ms")
    assert statuses == [200] * READS
    assert done[2] < READS
    users = {one["user"]: one["id"] for one in circuits(node, "read:")}
    for one in moved:
        old = f"{one['name']}.{before[one['name']]}"
        assert one["generation"] >= before[one["name"]] + 2
        assert users[one["user"]] != users.get(old)
    pay(node, "after-the-rotation")


def rotate(node: Any, name: str) -> Any:
    """Move one name, past the command line: it must happen while the reads run."""
    return node.ask("tor", f"/tor/isolation/{name}/rotate", {"reason": "test"})


def test_a_payout_goes_to_an_onion_service(lab_node: Any) -> None:
    node = lab_node
    made = [
        node.json("tor", "onion", "create", f"devnet-{port}", "--target", f"127.0.0.1:{port}")
        for port in node.record().devnet_ports
    ]
    node.json("down")
    node.env["TRON_HTTP_ENDPOINT"] = ",".join(f"http://{one['address']}" for one in made)
    began = time.monotonic()
    status = node.up()
    print(f"warm start, onions published and read: {time.monotonic() - began:.1f} s")
    node.unlock()
    assert status["tor"]["mode"] == "lab"
    assert {one["name"] for one in status["chain"]["endpoints"]} == {one["address"] for one in made}
    assert {one["state"] for one in node.json("tor", "onion", "list")["items"]} == {"published"}

    pay(node, "by-onion")

    meeting = [one for one in node.json("tor", "circuits")["items"] if one["purpose"] == "HS_CLIENT_REND"]
    assert meeting
    targets = {one["target"].partition(":")[0] for one in node.json("tor", "streams")["items"]}
    assert targets & {one["address"] for one in made}
