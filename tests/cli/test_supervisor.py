"""The supervisor with daemons that do nothing: they are restarted, they are stopped, and they never outlive it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lucid_tron_console.home import SERVICES, Home, NodeRecord, ServiceRun
from lucid_tron_console.node import commands, last_words, reserved_ports, stop
from lucid_tron_console.probe import health

IDLE = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
)
DYING = "import sys; print('no luck', file=sys.stderr); sys.exit(3)"
STEADY = "import time; time.sleep(0.6)"
POLITE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("goodbye", flush=True), sys.exit(0)))
print("here", flush=True)
time.sleep(600)
"""
TALKATIVE = "print('x' * 2000, flush=True); import time; time.sleep(600)"
UNREADY = """
import http.server, os, socketserver

class Service(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503)
        self.end_headers()
        self.wfile.write(b'{"checks": {"tor": "not_running: start tor"}}')

    def log_message(self, *_):
        pass

class Server(socketserver.UnixStreamServer):
    def get_request(self):
        return super().get_request()[0], ("here", 0)

os.makedirs("run/tron", exist_ok=True)
Server("run/tron/tron.sock", Service).serve_forever()
"""

SUPERVISE = """
import json, os, sys
from pathlib import Path
from lucid_tron_console import supervisor
from lucid_tron_console.home import Home, NodeLock, NodeRecord
from lucid_tron_console.supervisor import Command, Supervisor
home = Home.at(Path(sys.argv[1]))
scripts = json.loads(sys.argv[2])
supervisor.STOP_GRACE_S = 0.5
supervisor.HOME_LOOK_S = 0.2
supervisor.PATIENCE_S = 0.1
supervisor.STEADY_S = 0.5
supervisor.LOG_BYTES = 1000
home.prepare()
program = {"": "/no/such/program"}
commands = [
    Command(name, (program.get(text, sys.executable), "-c", text), dict(os.environ)) for name, text in scripts.items()
]
with NodeLock(home):
    Supervisor(home, NodeRecord("devnet", None, (9090,)), commands, lambda line: print(line, flush=True)).run()
"""

Supervise = Callable[[dict[str, str]], subprocess.Popen[str]]


@pytest.fixture
def supervise(home: Home) -> Iterator[Supervise]:
    """Start a supervisor over Python scripts; whatever is left of it is killed in the end."""
    started: list[subprocess.Popen[str]] = []

    def start(scripts: dict[str, str]) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", SUPERVISE, str(home.path), json.dumps(scripts)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


class FakeNode(BaseHTTPRequestHandler):
    """A TRON node that knows one block."""

    def do_GET(self) -> None:
        """Answer everything with it."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"blockID": "00"}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def fake_node() -> Iterator[int]:
    """A fake node on a port of its own."""
    with HTTPServer(("127.0.0.1", 0), FakeNode) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def until(condition: Callable[[], bool], words: str) -> None:
    """Wait for something that happens soon."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"never: {words}"
        time.sleep(0.01)


def run_of(home: Home, service: str) -> ServiceRun:
    """What node.json says of a service now."""
    return home.record().services.get(service, ServiceRun(None, 0, None))


def pid_of(home: Home, service: str) -> int:
    """The pid of a service, as soon as it has one."""
    until(lambda: run_of(home, service).pid is not None, f"{service} runs")
    pid = run_of(home, service).pid
    assert pid is not None
    return pid


def lives(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def test_a_daemon_that_is_killed_is_started_again_and_counted(home: Home, supervise: Supervise) -> None:
    supervise({"tron": IDLE, "wallet": IDLE})
    first, other = pid_of(home, "tron"), pid_of(home, "wallet")
    os.kill(first, signal.SIGKILL)
    until(lambda: run_of(home, "tron").pid not in {None, first}, "tron runs again")
    assert run_of(home, "tron").restarts == 1
    assert run_of(home, "wallet") == ServiceRun(other, 0, run_of(home, "wallet").started_at)


def test_a_daemon_that_keeps_dying_is_started_ever_more_slowly(home: Home, supervise: Supervise) -> None:
    process = supervise({"tron": DYING})
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(3)]
    assert lines == [f"tron ended with exit code 3; starting it again in {pause} s" for pause in ("0.25", "0.5", "1")]
    assert last_words(home, "tron") == "no luck"


def test_a_daemon_that_lived_for_a_while_is_started_again_at_once(supervise: Supervise) -> None:
    process = supervise({"tron": STEADY})
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(3)]
    assert set(lines) == {"tron ended with exit code 0; starting it again in 0.25 s"}


def test_a_long_log_is_put_aside_when_its_daemon_starts_again(home: Home, supervise: Supervise) -> None:
    supervise({"tron": TALKATIVE})
    until(lambda: home.log("tron").exists() and home.log("tron").stat().st_size > 1000, "the daemon talks")
    os.kill(pid_of(home, "tron"), signal.SIGKILL)
    until(home.log("tron").with_suffix(".log.1").exists, "the log is put aside")
    until(lambda: home.log("tron").stat().st_size > 1000, "the daemon talks again")


def test_a_daemon_that_cannot_be_started_does_not_take_the_others_along(home: Home, supervise: Supervise) -> None:
    process = supervise({"tron": "", "wallet": IDLE})
    assert process.stdout is not None
    assert process.stdout.readline() == "tron cannot be started (No such file or directory); again in 0.25 s\n"
    assert lives(pid_of(home, "wallet"))


def test_a_record_that_cannot_be_written_does_not_end_the_node(home: Home, supervise: Supervise) -> None:
    home.prepare()
    (home.path / "node.json.new").mkdir()
    process = supervise({"tron": "print('here', flush=True); import time; time.sleep(600)"})
    until(lambda: last_words(home, "tron") == "here", "the daemon runs")
    (home.path / "node.json.new").rmdir()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def test_a_service_that_is_not_ready_says_why_once(home: Home, supervise: Supervise) -> None:
    process = supervise({"tron": UNREADY})
    assert process.stdout is not None
    assert process.stdout.readline() == "tron is not ready: tor: not_running: start tor\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.stdout.read().splitlines() == ["SIGTERM: stopping", "stopped"]


def test_a_stop_ends_every_daemon_and_clears_the_record(home: Home, supervise: Supervise) -> None:
    process = supervise({"tron": IDLE, "wallet": IDLE})
    pids = [pid_of(home, "tron"), pid_of(home, "wallet")]
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert not any(lives(pid) for pid in pids)
    assert home.record() == NodeRecord("devnet", None, (9090,), {})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_hang_up_and_control_c_stop_it_as_well(home: Home, supervise: Supervise, number: signal.Signals) -> None:
    process = supervise({"tron": IDLE})
    pid = pid_of(home, "tron")
    process.send_signal(number)
    assert process.wait(10) == 0
    assert not lives(pid)


def test_a_daemon_that_does_not_listen_is_killed(home: Home, supervise: Supervise) -> None:
    process = supervise({"tron": STUBBORN})
    pid = pid_of(home, "tron")
    until(lambda: last_words(home, "tron") == "deaf", "it ignores SIGTERM")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert not lives(pid)


def test_a_stopped_daemon_is_woken_to_end_its_work(home: Home, supervise: Supervise) -> None:
    process = supervise({"tron": POLITE})
    pid = pid_of(home, "tron")
    until(lambda: last_words(home, "tron") == "here", "it listens to SIGTERM")
    os.kill(pid, signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert not lives(pid)
    assert last_words(home, "tron") == "goodbye"


def test_daemons_die_with_a_supervisor_that_is_killed(home: Home, supervise: Supervise) -> None:
    process = supervise({"tron": STUBBORN, "wallet": IDLE})
    pids = [pid_of(home, "tron"), pid_of(home, "wallet")]
    process.kill()
    until(lambda: not any(lives(pid) for pid in pids), "the daemons are gone")
    assert home.holder() is None


def test_a_node_whose_home_was_removed_ends(home: Home, supervise: Supervise) -> None:
    process = supervise({"tron": IDLE})
    pid = pid_of(home, "tron")
    shutil.rmtree(home.path)
    assert process.wait(10) == 0
    assert not lives(pid)


def test_stop_finds_the_supervisor_by_its_lock_and_not_by_a_number_in_a_file(home: Home, supervise: Supervise) -> None:
    process = supervise({"tron": IDLE})
    pid_of(home, "tron")
    bystander = subprocess.Popen([sys.executable, "-c", IDLE])
    try:
        home.write_record(NodeRecord("devnet", bystander.pid, (), {}))
        assert stop(home)
        assert process.wait(10) == 0
        assert bystander.poll() is None
        assert not stop(home)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.communicate()


def test_control_c_in_the_terminal_reaches_the_supervisor_alone(home: Home, supervise: Supervise) -> None:
    process = supervise({"tron": IDLE})
    pid = pid_of(home, "tron")
    assert os.getpgid(pid) != os.getpgid(process.pid)


def test_daemons_get_signals_as_usual(home: Home, supervise: Supervise) -> None:
    script = """
        import signal
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
        print("unblocked", flush=True)
        signal.pause()
    """
    supervise({"tron": textwrap.dedent(script)})
    until(lambda: last_words(home, "tron") == "unblocked", "the daemon looked at its signals")


def test_a_log_line_of_ours_is_read_for_its_words(home: Home) -> None:
    home.prepare()
    home.log("tron").write_text('{"event": "started"}\n{"event": "service.failed", "error": "no endpoint"}\n\n')
    assert last_words(home, "tron") == "no endpoint"
    assert last_words(home, "wallet") == "its log cannot be read"


def test_what_each_daemon_of_a_devnet_node_is_told(home: Home) -> None:
    home.env_file.write_text("DEVNET_SOLID_LAG=3\nTRON_TIMEOUT=5\nTRON_NETWORK=mainnet\n")
    environ = {"TRON_TIMEOUT": "6", "TRON_HTTP_ENDPOINT": "https://elsewhere", "NOTIFY_SOCKET": "/run/systemd/notify"}
    told = {one.service: one.env for one in commands(home, "devnet", ("http://127.0.0.1:9",), environ, Path("/p"))}
    assert tuple(told) == SERVICES
    for env in told.values():
        # The environment goes before the file, the node before both; what only the supervisor may tell systemd is gone.
        assert (env["DEVNET_SOLID_LAG"], env["TRON_TIMEOUT"], env["TRON_NETWORK"]) == ("3", "6", "devnet")
        assert env["TRON_HTTP_ENDPOINT"] == "http://127.0.0.1:9"
        assert "NOTIFY_SOCKET" not in env
    assert [name for name, env in told.items() if "WALLET_PASSPHRASE_FILE" in env] == ["wallet"]


def test_a_devnet_is_ready_when_every_endpoint_answers(home: Home) -> None:
    with fake_node() as port, socket.create_server(("127.0.0.1", 0)) as silent:
        deaf = int(silent.getsockname()[1])
        assert health(home, NodeRecord("devnet", None, (port,)), "devnet").state == "ready"
        assert health(home, NodeRecord("devnet", None, (port, deaf)), "devnet", 0.1).state == "not ready"
        assert health(home, NodeRecord("devnet"), "devnet").state == "down"


def test_two_nodes_never_get_the_same_port() -> None:
    with reserved_ports(()) as one, reserved_ports(()) as two, reserved_ports(one) as three:
        assert len({*one, *two, *three}) == 6


def test_ports_are_kept_from_run_to_run() -> None:
    with reserved_ports(()) as first, reserved_ports(()):
        pass
    with reserved_ports(first) as again:
        assert again == first


def test_a_port_that_somebody_listens_on_is_left_alone() -> None:
    with reserved_ports(()) as ports:
        pass
    with socket.create_server(("127.0.0.1", ports[0])), reserved_ports(ports) as others:
        assert ports[0] not in others
        assert ports[1] in others
