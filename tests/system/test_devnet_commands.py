"""The `lucid-tron devnet` commands, on a node whose blocks are made on demand."""

from typing import Any

from lucid_tron_console.exit_codes import ExitCode
from services.devnet.deployed import USDT


def _head(node: Any) -> int:
    return int(node.devnet("/admin/status")["head"]["number"])


def test_blocks_time_forks_and_snapshots(slow_node: Any) -> None:
    node = slow_node
    node.up()
    before = node.devnet("/admin/status")["head"]
    made = node.json("devnet", "mine", "--blocks", "3", "--skip", "14d")["head"]
    assert made["number"] == before["number"] + 3
    assert made["time_ms"] - before["time_ms"] >= 14 * 86_400_000

    saved = node.json("devnet", "snapshot", "save", "before-the-drill")
    assert saved["head"]["number"] == _head(node)
    receiver = node.account()
    given = node.json("devnet", "faucet", receiver, "--trx", "7", "--no-wait")
    node.run("devnet", "mine")
    assert node.json("devnet", "fork", "--transactions", "lost")["undone"] == [given["txid"]]
    assert node.devnet("/wallet/gettransactionbyid", {"value": given["txid"]}) == {}
    assert "solid" in node.run("devnet", "fork", "--blocks", "9999", code=ExitCode.REFUSED).stderr

    assert node.json("devnet", "snapshot", "list")["snapshots"] == ["before-the-drill"]
    assert node.json("devnet", "snapshot", "load", "before-the-drill")["head"]["number"] == saved["head"]["number"]
    node.run("devnet", "snapshot", "remove", "before-the-drill")
    node.run("devnet", "snapshot", "load", "before-the-drill", code=ExitCode.NOT_FOUND)


def test_accounts_faults_and_penalties(make_node: Any) -> None:
    node = make_node({"DEVNET_BLOCK_INTERVAL_MS": "0", "DEVNET_DYNAMIC_ENERGY": "true"})
    node.up()
    assert len(node.json("devnet", "accounts")["addresses"]) == 10

    added = node.json("devnet", "fault", "add", "drop_before", "--path", "/nowhere", "--probability", "0.5")
    assert [one["id"] for one in node.json("devnet", "fault", "list")["faults"]] == [added["id"]]
    assert node.json("devnet", "fault", "clear", str(added["id"]))["removed"] == 1
    assert node.json("devnet", "fault", "list")["faults"] == []

    # What is set before the first maintenance is forgotten by it, as on java-tron, and each one takes some off.
    node.run("devnet", "mine", "--skip", "10m")
    due_ms = node.devnet("/wallet/getnextmaintenancetime", {})["num"]
    head_ms = node.devnet("/wallet/getnowblock", {})["block_header"]["raw_data"]["timestamp"]
    if due_ms - head_ms < 20_000:
        node.run("devnet", "mine", "--blocks", "10")
    assert node.json("devnet", "penalty", USDT.base58, "--factor", "3.4")["factor"] == 34_000
    node.run("devnet", "mine")
    info = node.devnet("/wallet/getcontractinfo", {"value": USDT.hex})
    assert info["contract_state"]["energy_factor"] == 34_000
