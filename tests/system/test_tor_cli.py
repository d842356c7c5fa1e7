"""The command line behind the machine's own tor: a node that comes up before it, loses it, and goes on by itself.

The machine's tor is played by the client of a private network, which only its sockets tell from another.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from lucid_tron_console import lab, probe
from lucid_tron_console.exit_codes import ExitCode

NAMES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")


@pytest.fixture
def tor(make_node: Any) -> Iterator[Any]:
    """A home whose private Tor network is the machine's tor; not started yet."""
    machine = make_node({})
    yield machine
    machine.run("tor", "lab", "stop")


def behind(make_node: Any, tor: Any) -> Any:
    """A node whose settings name that tor."""
    node = make_node({})
    way = lab.way(tor.home)
    settings = {"TOR_SOCKS_SOCKET": way.socks, "TOR_CONTROL_SOCKET": way.control}
    fast = {"TOR_CONNECTION_MAX_RETRY_DELAY_MS": "1000", "TOR_HEALTH_CHECK_INTERVAL": "1"}
    quick = {"DEVNET_BLOCK_INTERVAL_MS": "250", "DEVNET_SOLID_LAG": "3", "TRON_CONFIRMATION_CHECK_INTERVAL": "0.2"}
    node.env |= {**settings, **fast, **quick, "WALLET_KDF_MEMORY_KIB": "8192"}
    return node


def test_a_node_comes_up_without_tor_stays_up_and_goes_on_when_tor_comes(make_node: Any, tor: Any) -> None:
    node = behind(make_node, tor)
    started = node.run("up", "--network", "devnet", "--detach", "-o", "json", code=ExitCode.UNAVAILABLE)
    shown = json.loads(started.stdout)
    states = {one["service"]: one["state"] for one in shown["services"]}
    assert shown["running"]
    assert states == {
        "devnet": "ready",
        "tor": "not ready",
        "wallet": "ready",
        "tron": "not ready",
        "payout": states["payout"],
    }
    assert (shown["tor"]["mode"], shown["tor"]["state"]) == ("system", "not_running")
    assert "goes on by itself" in started.stderr
    assert "systemctl start tor" in node.run("tor", "status", code=ExitCode.UNAVAILABLE).stdout
    assert "systemctl start tor" in node.run("tor", "test", code=ExitCode.UNAVAILABLE).stderr
    assert {"tor socks", "tor control"} <= bad(node)
    node.wallet()

    tor.run("tor", "lab", "start")
    node.healthy("tor", "tron", "payout")
    receiver = node.account()
    words = ["--from", "hot", "--to", receiver, "--asset", "TRX", "--amount", "1", "--key", "k"]
    assert node.json("payouts", "create", *words, "--wait", "paid")["state"] == "paid"
    assert len(node.transfers(receiver, 1_000_000)) == 1
    assert bad(node) == set()
    the_way_out_is_shown_and_lent(node)
    circuits_are_changed_by_hand(node)

    tor.run("tor", "lab", "stop")
    node.until(lambda: not ready(node, "tor") and not ready(node, "tron"), "the loss is seen")
    assert node.json("tor", "status", code=ExitCode.UNAVAILABLE)["state"] == "not_running"
    tor.run("tor", "lab", "start")
    node.healthy("tor", "tron", "payout")
    assert {one["restarts"] for one in node.json("status")["services"]} == {0}


def ready(node: Any, service: str) -> bool:
    """Whether a service says that it can do its work."""
    return probe.health(node.home, node.record(), service).state == "ready"


def bad(node: Any) -> set[str]:
    """What the doctor finds bad, of Tor."""
    done = node.start("doctor", "-o", "json").communicate()[0]
    findings = json.loads(done)["findings"]
    return {one["subject"] for one in findings if one["verdict"] == "bad" and one["subject"].startswith("tor ")}


def the_way_out_is_shown_and_lent(node: Any) -> None:
    """`tor test` and `tor env`: latency, proxies by protocol, and the environment of another program."""
    found = node.json("tor", "test")
    assert found["ok"]
    assert found["latency_ms"] > 0
    assert set(found["proxies"]) == {"http", "https", "socks5h"}
    assert set(found["environment"]) == {*NAMES, "NO_PROXY", *(name.lower() for name in (*NAMES, "NO_PROXY"))}
    script = "import os; print(os.environ['ALL_PROXY'], repr(os.environ['NO_PROXY']))"
    lent = node.run("tor", "env", "--for", "backup", sys.executable, "-c", script).stdout.split()
    assert lent[0].startswith("socks5h://program.backup:")
    assert lent[1] == "''"
    assert node.run("tor", "env", "no-such-program", code=ExitCode.NOT_FOUND).stdout == ""


def circuits_are_changed_by_hand(node: Any) -> None:
    """A new identity and its rate limit, one name, one circuit."""
    assert node.json("tor", "newnym")["ready_in_s"] > 5
    early = json.loads(node.run("tor", "newnym", "-o", "json", code=ExitCode.UNAVAILABLE).stderr)
    assert 0 < early["retry_after_s"] <= 10
    name = next(one["name"] for one in node.json("tor", "isolation")["items"] if one["name"].startswith("read:"))
    before = node.json("tor", "rotate", name)["items"][0]
    assert node.json("tor", "rotate", name)["items"][0]["generation"] > before["generation"]
    node.run("tor", "rotate", "nobody", code=ExitCode.NOT_FOUND)
    built = [one for one in node.json("tor", "circuits")["items"] if one["state"] == "BUILT" and not one["streams"]]
    closed = node.json("tor", "close", built[-1]["id"])
    assert closed["id"] == built[-1]["id"]
    node.run("tor", "close", "999999", code=ExitCode.NOT_FOUND)
    waited = node.run("tor", "newnym", "--wait")
    assert "a new identity in " in waited.stderr
    assert "goes to a new circuit" in waited.stdout


def test_a_node_past_tor_says_so_loudly_wherever_one_looks(fast_node: Any) -> None:
    node = fast_node
    node.env["USE_TOR_FOR_EXTERNAL_CALLS"] = "false"
    started = node.run("up", "--network", "devnet", "--detach")
    assert "PAST TOR" in started.stderr
    assert "PAST TOR" in node.run("status").stdout
    assert node.json("status")["tor"]["past"]
    assert "PAST TOR" in node.run("tor", "status", code=ExitCode.REFUSED).stderr
    # The operator took that risk by a setting: it is red, and no failure.
    findings = node.json("doctor")["findings"]
    assert {one["subject"] for one in findings if one["verdict"] != "ok"} == {"past Tor"}
    node.run("tor", "env", "true", code=ExitCode.REFUSED)
