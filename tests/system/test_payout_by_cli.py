"""A payout by the command line alone, as a script makes it."""

import json
import os
import pty
import signal
import stat
import sys
from typing import Any

import pytest

from lucid_tron_console.exit_codes import ExitCode

MNEMONIC_WORDS = 12


def test_a_script_pays_from_nothing_to_solid(fast_node: Any) -> None:
    node = fast_node
    secret = ("--passphrase-file", str(node.passphrase_file))
    status = node.json("up", "--network", "devnet", "--detach")
    assert status["running"]
    assert {one["service"]: one["state"] for one in status["services"]} == dict.fromkeys(
        ("devnet", "wallet", "tron", "payout"), "ready"
    )

    words_file = node.home.path / "hot.words"
    wallet = node.json("wallets", "create", "hot", *secret, "--words-file", str(words_file))
    assert wallet["state"] == "locked"
    assert len(words_file.read_text().split()) == MNEMONIC_WORDS
    assert stat.S_IMODE(words_file.stat().st_mode) == 0o600
    receiver = node.account()
    assert node.json("devnet", "faucet", "hot", "--trx", "1000")["block_number"] > 0
    assert node.json("devnet", "faucet", "hot", "--usdt", "250")["block_number"] > 0

    words = ["payouts", "create", "--from", "hot", "--to", receiver, "--asset", "TRX", "--amount", "12.5"]
    words += ["--key", "rent-11", "--wait", "paid", "--timeout", "60s", *secret]
    payout = node.json(*words)
    expected = {"state": "paid", "amount": 12_500_000, "amount_text": "12.5", "asset": "TRX", "key": "rent-11"}
    assert {name: payout[name] for name in expected} == expected
    assert payout["id"] == "P-1"
    assert payout["to"] == receiver
    assert node.solid(payout["txid"])
    assert node.transfers(receiver, 12_500_000) == [payout["txid"]]

    again = node.json(*words)
    assert (again["id"], again["txid"]) == (payout["id"], payout["txid"])
    assert node.transfers(receiver, 12_500_000) == [payout["txid"]]

    other = node.run(*[word if word != "12.5" else "13" for word in words], code=4)
    assert "rent-11" in other.stderr
    assert not other.stdout

    assert node.json("tx", "show", payout["txid"])["state"] == "solid"
    assert node.run("tx", "show", "0" * 64, code=3).stdout == ""
    assert node.json("tx", "receipt", payout["txid"])["result"] == "SUCCESS"
    assert payout["txid"] in {one["txid"] for one in node.json("tx", "history", "hot")["items"]}
    assert [one["id"] for one in node.json("payouts", "list", "--state", "paid")["items"]] == ["P-1"]
    assert node.json("payouts", "stats")["by_state"]["paid"] == 1

    assert node.json("down") == {"home": str(node.home.path), "stopped": True}
    assert node.json("down")["stopped"] is False


def test_a_key_is_made_and_told_before_anything_is_sent(fast_node: Any) -> None:
    node = fast_node
    node.up()
    node.wallet()
    receiver = node.account()
    done = node.run("payouts", "create", "--from", "hot", "--to", receiver, "--amount", "1", "-o", "json")
    payout = json.loads(done.stdout)
    assert json.loads(done.stderr)["note"].startswith(f"key {payout['key']}: ")

    lost = node.run("payouts", "create", "--from", "nobody", "--to", receiver, "--amount", "1", "-o", "json", code=4)
    note, problem = (json.loads(line) for line in lost.stderr.splitlines())
    assert note["note"].startswith("key ")
    assert "nobody" in problem["detail"]


def test_a_locked_wallet_is_said_and_the_payout_waits_for_it(fast_node: Any) -> None:
    node = fast_node
    node.up(unlocked=False)
    node.wallet()
    node.run("wallets", "lock", "--all")
    receiver = node.account()
    words = ["payouts", "create", "--from", "hot", "--to", receiver, "--amount", "2", "--key", "k", "-o", "json"]

    late = node.run(*words, "--wait", "paid", "--timeout", "1s", code=6)
    assert json.loads(late.stdout)["state"] == "reserved"
    note, problem = (json.loads(line) for line in late.stderr.splitlines())
    assert "locked" in note["note"]
    assert problem["code"] == "still_waiting"

    node.run("wallets", "unlock", "hot", "--passphrase-file", str(node.passphrase_file))
    watched = node.run("payouts", "watch", "P-1", "--timeout", "60s", "-o", "json")
    states = [json.loads(line)["state"] for line in watched.stdout.splitlines()]
    assert states[-1] == "paid"
    assert len(node.transfers(receiver, 2_000_000)) == 1


def test_a_cancelled_payout_is_exit_code_7_for_whoever_waits(fast_node: Any) -> None:
    node = fast_node
    node.up(unlocked=False)
    node.wallet()
    node.lock()
    receiver = node.account()
    node.create(receiver, 3_000_000, "k")
    assert node.json("payouts", "cancel", "P-1")["state"] == "cancelled"
    done = node.run("payouts", "watch", "P-1", code=7)
    assert "cancelled" in done.stderr
    node.run("payouts", "cancel", "P-1")
    again = node.run(
        "payouts", "create", "--from", "hot", "--to", receiver, "--amount", "3", "--key", "k", "--wait", "paid", code=7
    )
    assert "P-1" in again.stdout
    assert node.transfers(receiver, 3_000_000) == []


def test_control_c_at_the_passphrase_pays_nothing(fast_node: Any) -> None:
    node = fast_node
    node.up(unlocked=False)
    node.wallet()
    node.lock()
    words = ["payouts", "create", "--from", "hot", "--to", node.account(), "--amount", "3", "--key", "k"]
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background job would have it ignored
        os.execve(sys.executable, [sys.executable, "-m", "lucid_tron_console", *words], node.env)
    shown = b""
    while b"Passphrase: " not in shown:
        shown += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    assert node.until(lambda: os.waitpid(pid, os.WNOHANG)[1], "the command ends") == ExitCode.INTERRUPTED << 8
    os.close(terminal)
    assert node.json("payouts", "list")["items"] == []


@pytest.mark.long
def test_twenty_shells_with_one_key_unlock_and_pay_once(fast_node: Any) -> None:
    node = fast_node
    # Far stronger than needed: one check of a passphrase takes longer than a shell to start.
    node.env["WALLET_KDF_MEMORY_KIB"] = "1048576"
    node.up(unlocked=False)
    node.wallet()
    node.lock()
    receiver = node.account()
    words = ["payouts", "create", "--from", "hot", "--to", receiver, "--amount", "3", "--key", "k", "-o", "json"]
    words += ["--wait", "paid", "--passphrase-file", str(node.passphrase_file)]
    shells = [node.start(*words) for _ in range(20)]
    ended = [(shell.communicate(timeout=120), shell.returncode) for shell in shells]
    assert {code for _, code in ended} == {0}, ended
    assert {json.loads(out)["id"] for (out, _), _ in ended} == {"P-1"}
    assert len(node.transfers(receiver, 3_000_000)) == 1


def test_a_wrong_passphrase_pays_nothing(fast_node: Any) -> None:
    node = fast_node
    node.up(unlocked=False)
    node.wallet()
    node.lock()
    wrong = node.home.path / "wrong"
    wrong.write_text("not it")
    wrong.chmod(0o600)
    words = ["payouts", "create", "--from", "hot", "--to", node.account(), "--amount", "3", "--key", "k"]
    done = node.run(*words, "--passphrase-file", str(wrong), code=4)
    assert "passphrase" in done.stderr
    assert node.json("payouts", "list")["items"] == []


def test_freezing_stops_signing_until_it_is_lifted(fast_node: Any) -> None:
    node = fast_node
    node.up()
    node.wallet()
    assert node.json("freeze", "--reason", "a drill")["frozen"]
    receiver = node.account()
    node.create(receiver, 4_000_000, "k")
    frozen = node.run("payouts", "watch", "P-1", "--timeout", "1s", code=6)
    assert "frozen" in frozen.stdout
    assert node.json("unfreeze")["frozen"] is False
    node.run("payouts", "watch", "P-1", "--timeout", "60s")
    assert len(node.transfers(receiver, 4_000_000)) == 1


def test_a_payout_that_died_is_retried_by_hand_and_pays_once(slow_node: Any) -> None:
    node = slow_node
    node.up()
    node.wallet()
    receiver = node.account()
    node.devnet("/admin/faults", {"kind": "drop_before", "path": "/wallet/broadcast*"})
    node.create(receiver, 9_000_000, "k")
    node.until(lambda: node.payout("P-1").get("state") == "sending", "it is on its way")
    # Past its expiration by chain time, solid on both endpoints: it can never be included any more.
    node.mine(90)
    done = node.run("payouts", "watch", "P-1", "--timeout", "60s", "-o", "json", code=7)
    dead = json.loads(done.stdout.splitlines()[-1])
    assert dead["state"] == "dead"
    assert dead["attempts"][0]["proof"]
    assert json.loads(done.stderr)["code"] == "not_paid"
    assert "retry" in json.loads(done.stderr)["detail"]

    node.devnet("/admin/faults", method="DELETE")
    retried = node.json("payouts", "retry", "P-1")
    assert retried["act"] == "new_attempt"
    final = node.mine_until_paid("P-1")
    assert (final["state"], final["attempt"]) == ("paid", 2)
    assert final["txid"] != dead["txid"]
    assert node.transfers(receiver, 9_000_000) == [final["txid"]]
    assert node.json("payouts", "retry", "P-1")["act"] == "none"


def test_what_a_rule_forbids_is_exit_code_4_and_makes_nothing(fast_node: Any) -> None:
    node = fast_node
    (node.home.path / "lucid.env").write_text("MAX_PAYOUT_AMOUNT=5\n")
    node.up()
    node.wallet()
    receiver = node.account()
    words = ["payouts", "create", "--from", "hot", "--key", "k"]
    for arguments, said in (
        (["--to", receiver, "--amount", "6"], "5"),
        (["--to", receiver, "--amount", "0"], "amount"),
        (["--to", receiver[:-1] + "1", "--amount", "1"], "to"),
        (["--to", receiver, "--amount", "1", "--asset", "USDT"], "USDT"),
        (["--to", receiver, "--amount", "1", "--memo", "x" * 201], "memo"),
    ):
        done = node.run(*words, *arguments, code=4)
        assert said in done.stderr
        assert not done.stdout
    assert node.json("payouts", "list")["items"] == []
