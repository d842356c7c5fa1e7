"""A node comes up, goes down, stays apart from others, and survives dead neighbours."""

import contextlib
import fcntl
import json
import os
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lucid_tron_console.home import NodeRecord
from lucid_tron_console.probe import ask


def states(status: Any) -> dict[str, str]:
    """Service to state."""
    return {one["service"]: one["state"] for one in status["services"]}


def free_ports() -> tuple[int, int]:
    """Two ports that the system gives to nobody else soon."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return one.getsockname()[1], two.getsockname()[1]


@contextlib.contextmanager
def dead(node: Any, service: str) -> Iterator[None]:
    """Kill a daemon and hold its place, so that every new one gives up while the block runs."""
    with Path(f"{node.home.socket(service)}.lock").open("r+b") as place:
        waiting = threading.Thread(target=fcntl.flock, args=(place, fcntl.LOCK_EX))
        waiting.start()
        node.kill(service)
        waiting.join(30)
        yield


def test_up_on_a_running_node_says_so_and_is_content(fast_node: Any) -> None:
    first = fast_node.up()
    again = fast_node.run("up", "--detach", "-o", "json")
    assert "runs already" in json.loads(again.stderr)["note"]
    made = [path for path in fast_node.home.path.rglob("*") if stat.S_IMODE(path.lstat().st_mode) & 0o007]
    assert made == []
    assert json.loads(again.stdout)["pid"] == first["pid"]
    fast_node.json("down")
    assert fast_node.json("status", code=5)["running"] is False


def test_a_home_comes_up_again_with_its_chain_its_wallets_and_its_ports(fast_node: Any) -> None:
    node = fast_node
    # Ports that no other node, whose tests run beside this one, would take while this one is down.
    ports = free_ports()
    node.home.prepare()
    node.home.write_record(NodeRecord("devnet", None, ports))
    node.up()
    assert node.record().devnet_ports == ports
    address = node.wallet()
    node.json("down")
    # The home knows its network by now.
    node.json("up", "--detach")
    assert node.record().devnet_ports == ports
    assert node.json("wallets", "show", "hot")["address"] == address
    assert node.json("wallets", "show", "hot")["balance_sun"] == 1_000_000_000
    refused = node.run("up", "--network", "nile", code=4)
    assert "belongs to devnet" in refused.stderr


def test_a_foreground_node_ends_with_control_c(fast_node: Any) -> None:
    node = fast_node
    process = node.start("up", "--network", "devnet")
    wanted = {f"{name} is ready" for name in ("devnet", "wallet", "tron", "payout")}
    while wanted:
        line = process.stderr.readline()
        assert line, f"it ended before {wanted}"
        wanted.discard(line.strip())
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    assert node.home.holder() is None


def test_a_stale_record_and_a_stale_lock_file_are_no_obstacle(fast_node: Any) -> None:
    node = fast_node
    node.up()
    record: NodeRecord = node.record()
    node.kill_all()
    # What a power cut leaves: a record with pids, a lock file, sockets that nobody serves.
    assert node.record() == record
    assert node.home.lock_file.exists()
    assert node.home.socket("tron").exists()
    status = node.json("status", code=5)
    assert status["running"] is False
    assert set(states(status).values()) == {"down"}
    # Sockets that a dead node left behind are no more wrong than a node that was stopped.
    assert node.json("doctor")["ok"]
    assert "lucid-tron up" in node.run("payouts", "list", code=5).stderr
    assert states(node.up()) == dict.fromkeys(("devnet", "wallet", "tron", "payout"), "ready")


def test_two_homes_never_disturb_each_other(fast_node: Any, slow_node: Any) -> None:
    one, two = fast_node, slow_node
    started = [node.start("up", "--network", "devnet", "--detach") for node in (one, two)]
    for process in started:
        assert process.wait(90) == 0, process.stderr
        process.communicate()
    assert not set(one.record().devnet_ports) & set(two.record().devnet_ports)
    address = one.wallet()
    two.wallet()
    receiver = one.account()
    one.run("payouts", "create", "--from", "hot", "--to", receiver, "--amount", "5", "--key", "k", "--wait", "paid")
    assert len(one.transfers(receiver, 5_000_000)) == 1
    assert two.json("payouts", "list")["items"] == []
    assert two.devnet("/wallet/getaccount", {"address": address, "visible": True}) == {}
    one.json("down")
    assert set(states(two.json("status")).values()) == {"ready"}


def test_a_daemon_that_never_gets_ready_is_named_with_its_reason(fast_node: Any) -> None:
    node = fast_node
    (node.home.path / "state" / "tron" / "orders.db").mkdir(parents=True)
    done = node.run("up", "--network", "devnet", "--detach", code=5)
    assert "tron died" in done.stderr
    assert "orders.db" in done.stderr
    assert str(node.home.log("tron")) in done.stderr
    # Nothing half-started is left behind.
    assert node.home.holder() is None


def test_settings_that_no_daemon_could_start_with_are_refused_before_anything_starts(fast_node: Any) -> None:
    node = fast_node
    (node.home.path / "lucid.env").write_text("TRON_TIMEOUT=soon\n")
    node.env.pop("TRON_TIMEOUT")
    done = node.run("up", "--network", "devnet", "--detach", code=4)
    assert "TRON_TIMEOUT" in done.stderr
    assert str(node.home.env_file) in done.stderr
    assert not node.home.lock_file.exists()

    wrong = node.run("config", "validate", code=4)
    assert "TRON_TIMEOUT" in wrong.stderr


def test_killed_daemons_are_started_again_and_counted(fast_node: Any) -> None:
    node = fast_node
    node.up()
    for service in ("devnet", "wallet", "tron", "payout"):
        node.kill(service)
    node.until(lambda: all(run.restarts == 1 for run in node.record().services.values()), "all were started again")
    node.healthy()
    assert {one["restarts"] for one in node.json("status")["services"]} == {1}


def test_up_on_a_running_node_forgives_deaths_of_long_ago(fast_node: Any) -> None:
    node = fast_node
    node.up()
    for deaths in range(1, 4):
        node.kill("tron")
        node.until(lambda deaths=deaths: node.record().services["tron"].restarts == deaths, "the death is counted")
    # The last one is not started again yet.
    assert states(node.json("up", "--detach"))["tron"] == "ready"


def test_a_detached_node_has_its_sockets_where_the_environment_says(fast_node: Any) -> None:
    node = fast_node
    node.env["LUCID_RUN_DIR"] = str(node.home.path / "elsewhere")
    assert set(states(node.up()).values()) == {"ready"}
    assert (node.home.path / "elsewhere" / "tron" / "tron.sock").exists()
    assert node.json("wallets", "list")["items"] == []


def test_a_wallet_service_that_hangs_is_seen(fast_node: Any) -> None:
    node = fast_node
    node.up()
    os.kill(node.pid("wallet"), signal.SIGSTOP)
    assert states(node.json("status", code=5))["wallet"] == "not ready"
    os.kill(node.pid("wallet"), signal.SIGCONT)
    assert states(node.json("status"))["wallet"] == "ready"


def test_a_payout_waits_in_words_for_a_wallet_service_that_is_dead(fast_node: Any) -> None:
    node = fast_node
    node.up()
    node.wallet()
    node.lock()
    receiver = node.account()
    node.create(receiver, 6_000_000, "k")
    with dead(node, "wallet"):
        assert states(node.json("status", code=5))["wallet"] == "down"
        node.until(lambda: "wallet" in node.payout("P-1").get("waiting", ""), "the payout says what it waits for")
    node.healthy("wallet")
    node.unlock()
    node.run("payouts", "watch", "P-1", "--timeout", "60s")
    assert len(node.transfers(receiver, 6_000_000)) == 1


def test_a_chain_that_does_not_answer_makes_a_payout_wait_in_words(fast_node: Any) -> None:
    node = fast_node
    node.up()
    node.wallet()
    node.lock()
    receiver = node.account()
    node.create(receiver, 7_000_000, "k")
    os.kill(node.pid("devnet"), signal.SIGSTOP)
    node.unlock()
    assert states(node.json("status", code=5))["devnet"] == "not ready"
    waiting = node.until(lambda: node.payout("P-1").get("waiting"), "the payout says what it waits for")
    assert waiting
    os.kill(node.pid("devnet"), signal.SIGCONT)
    node.run("payouts", "watch", "P-1", "--timeout", "60s")
    assert len(node.transfers(receiver, 7_000_000)) == 1


def test_a_payout_router_that_dies_does_not_end_a_wait(fast_node: Any) -> None:
    node = fast_node
    node.up()
    node.wallet()
    receiver = node.account()
    words = ["--to", receiver, "--amount", "8", "--key", "k", "--wait", "paid", "-o", "json"]
    process = node.start("payouts", "create", "--from", "hot", *words)
    node.until(lambda: node.payout("P-1"), "the payout is there")
    node.kill("payout")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["state"] == "paid"
    assert len(node.transfers(receiver, 8_000_000)) == 1


def test_a_demo_without_a_terminal_says_how_to_attach_and_goes_on(fast_node: Any) -> None:
    node = fast_node
    told = node.json("demo", "--tor", "off")
    assert told["home"] == str(node.home.path)
    assert told["attach"].endswith(f"--home {node.home.path} console")
    assert node.json("status")["running"]


def test_a_hang_up_while_a_demo_starts_leaves_no_node_behind(fast_node: Any) -> None:
    node = fast_node
    process = node.start("demo", "--tor", "off")
    node.until(lambda: node.home.holder() is not None, "the node starts")
    process.send_signal(signal.SIGHUP)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in told
    assert node.home.holder() is None


def test_no_secret_is_in_a_daemons_environment(fast_node: Any) -> None:
    node = fast_node
    node.up()
    for service in ("devnet", "wallet", "tron", "payout"):
        environment = Path(f"/proc/{node.pid(service)}/environ").read_bytes()
        assert b"LUCID_HOME=" in environment
        assert b"correct horse" not in environment


def test_doctor_finds_nothing_bad_on_a_node_that_runs(fast_node: Any) -> None:
    fast_node.up()
    fast_node.wallet()
    found = fast_node.json("doctor")
    assert found["ok"]
    subjects = {one["subject"] for one in found["findings"]}
    assert subjects >= {
        "python",
        "home",
        "disk",
        "terminal",
        "tmux",
        "tor",
        "devnet",
        "wallet",
        "tron",
        "payout",
        "clock",
    }


def test_doctor_names_an_open_keystore_and_a_dead_service(fast_node: Any) -> None:
    node = fast_node
    node.up()
    node.wallet()
    keys: Path = node.home.path / "state" / "wallet" / "keys"
    keys.chmod(0o755)
    os.kill(node.pid("tron"), signal.SIGSTOP)
    found = node.json("doctor", code=5)
    bad = {one["subject"]: one for one in found["findings"] if one["verdict"] == "bad"}
    assert set(bad) >= {"permissions", "tron"}
    assert bad["permissions"]["advice"] == f"chmod 700 {keys}"


def test_config_says_where_each_value_is_from(fast_node: Any) -> None:
    node = fast_node
    (node.home.path / "lucid.env").write_text("TRON_MAX_RETRIES=2\nTRON_MAX_RETRY=9\nTRON_API_KEY=canary\n")
    shown = node.run("config", "show", "-o", "json")
    values = {one["name"]: one for one in json.loads(shown.stdout)["settings"]}
    assert (values["TRON_MAX_RETRIES"]["value"], values["TRON_MAX_RETRIES"]["source"]) == ("2", "lucid.env")
    assert values["TRON_TIMEOUT"]["source"] == "environment"
    assert values["TRON_TX_LIFETIME"]["source"] == "default"
    assert values["TRON_API_KEY"]["value"] == "**********"
    assert "canary" not in shown.stdout + shown.stderr


def test_config_of_a_node_tells_what_the_node_decides_from_what_the_operator_says(fast_node: Any) -> None:
    node = fast_node
    node.env.pop("TRON_CONFIRMATION_CHECK_INTERVAL")
    (node.home.path / "lucid.env").write_text("TRON_MAX_RETRIES=2\n")
    node.home.write_record(NodeRecord("devnet", None, (9, 10), {}))

    def settings() -> dict[str, tuple[str, str]]:
        shown = node.json("config", "show")["settings"]
        return {one["name"]: (one["value"], one["source"]) for one in shown}

    look = "TRON_CONFIRMATION_CHECK_INTERVAL"
    found = settings()
    assert found["TRON_MAX_RETRIES"] == ("2", "lucid.env")
    assert found["TRON_TIMEOUT"] == ("2.0", "environment")
    assert found["TRON_HTTP_ENDPOINT"] == ("http://127.0.0.1:9,http://127.0.0.1:10", "the node")
    # A devnet makes a block every three seconds: who looks every ten sees a payout late.
    assert found[look] == ("1.0", "the node")
    (node.home.path / "lucid.env").write_text("tron_confirmation_check_interval=5\n")
    assert settings()[look] == ("5.0", "lucid.env")


def test_config_names_what_cannot_be_used_and_what_nobody_reads(fast_node: Any) -> None:
    node = fast_node
    (node.home.path / "lucid.env").write_text("TRON_NETWORK=devnet\nDEVNET_SOLID_LAGG=9\n")
    right = node.run("config", "validate")
    assert "DEVNET_SOLID_LAGG" in right.stderr
    node.env["DEVNET_SOLID_LAG"] = "many"
    wrong = node.run("config", "validate", code=4)
    assert "DEVNET_SOLID_LAG:" in wrong.stderr


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_serve_is_the_daemons_themselves_and_two_share_a_process(fast_node: Any) -> None:
    node = fast_node
    ports = (free_port(), free_port())
    node.home.write_record(NodeRecord("devnet", None, ports, {}))
    urls = [f"127.0.0.1:{port}" for port in ports]
    node.env |= {
        "TRON_NETWORK": "devnet",
        "DEVNET_LISTEN": ",".join(urls),
        "DEVNET_HOME": str(node.home.devnet_dir()),
        "TRON_HTTP_ENDPOINT": ",".join(f"http://{url}" for url in urls),
    }
    served: list[subprocess.Popen[str]] = [
        node.start("serve", *names) for names in (["devnet"], ["wallet"], ["tron", "payout"])
    ]
    try:
        node.healthy()
        assert {ask(node.home.socket(name), "/status")["pid"] for name in ("tron", "payout")} == {served[2].pid}
        status = node.json("status")
        assert (status["running"], status["pid"]) == (True, None)
        assert set(states(status).values()) == {"ready"}
        for process in reversed(served):
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=30)
            assert process.returncode == 0, err
    finally:
        for process in served:
            process.kill()
            process.communicate()


def test_serve_refuses_company_for_the_wallet(fast_node: Any) -> None:
    done = fast_node.run("serve", "wallet", "tron", code=2)
    assert "stands alone" in done.stderr
