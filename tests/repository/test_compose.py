"""The compose file is valid, hardened, and mounts exactly the sockets that a service may call; the units too."""

import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.kit.settings import KitSettings
from services.payout.settings import PayoutSettings
from services.tor.settings import TorSettings
from services.tron.settings import TronSettings
from services.wallet.settings import WalletSettings

REPOSITORY = Path(__file__).resolve().parents[2]
COMPOSE = REPOSITORY / "compose"

CALLS: dict[str, set[str]] = {"wallet": set(), "tor": set(), "tron": {"wallet", "tor"}, "payout": {"tron", "wallet"}}
"""Who calls whom."""

TOR_DOORS = {"tor": {"tor-socks", "tor-control"}, "tron": {"tor-socks"}}
"""Who enters the Tor daemon, and where."""

CONTAINERS = {
    "wallet": "lucid-tron-wallet-manager",
    "tor": "lucid-tor",
    "tron": "lucid-tron-client",
    "payout": "lucid-payout-router",
}
PROXY = "lucid-tor-proxy"
UNITS = {name: COMPOSE / "systemd" / f"{container}.service" for name, container in CONTAINERS.items()}
EXPOSURE = 0.4
"""The most that `systemd-analyze security` may say."""

SETTINGS: dict[str, type[KitSettings]] = {
    "wallet": WalletSettings,
    "tor": TorSettings,
    "tron": TronSettings,
    "payout": PayoutSettings,
}
NOT_FOR_CONTAINERS = {"CREDENTIALS_DIRECTORY"}
"""systemd sets it."""


def tool(name: str, package: str) -> str:
    """Path of a program that these tests need."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is missing: apt-get install {package}")
    return found


@pytest.fixture(scope="module")
def node() -> dict[str, Any]:
    """The compose file as docker-compose understands it, with the example's settings."""
    return composed(COMPOSE / "node.env.example")


def composed(env_file: Path) -> dict[str, Any]:
    """The compose file as docker-compose understands it, with the settings of a file."""
    command = [tool("docker-compose", "docker-compose"), "--env-file", str(env_file)]
    command += ["-f", str(COMPOSE / "compose.yaml"), "--profile", "devnet", "--profile", "console", "config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = yaml.safe_load(done.stdout)
    return document


def mounts(service: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """Target to (volume, writable); docker-compose prints them in a short and in a long form."""
    found = {}
    for volume in service.get("volumes", []):
        if isinstance(volume, str):
            source, target, mode = (*volume.split(":"), "rw")[:3]
            found[target] = (source, mode == "rw")
        else:
            found[volume["target"]] = (volume["source"], not volume.get("read_only", False))
    return found


def sockets(service: dict[str, Any]) -> dict[str, bool]:
    """Services whose socket directory is mounted, and whether for writing."""
    found = {}
    for target, (source, writable) in mounts(service).items():
        if target.startswith("/run/"):
            name = target.removeprefix("/run/lucid/")
            assert source == f"run-{name}"
            found[name] = writable
    return found


@pytest.mark.parametrize("name", CALLS)
def test_a_service_mounts_its_own_socket_and_those_it_calls(node: dict[str, Any], name: str) -> None:
    wanted = {name: True} | dict.fromkeys(CALLS[name] | TOR_DOORS.get(name, set()), False)
    assert sockets(node["services"][CONTAINERS[name]]) == wanted


def test_the_console_reaches_every_service_and_can_replace_no_socket(node: dict[str, Any]) -> None:
    assert sockets(node["services"]["lucid-tron-console"]) == dict.fromkeys(CALLS, False)


def test_tor_makes_its_doors_and_enters_nobody(node: dict[str, Any]) -> None:
    assert sockets(node["services"][PROXY]) == {"tor-socks": True, "tor-control": True}


def test_the_devnet_mounts_no_socket(node: dict[str, Any]) -> None:
    assert sockets(node["services"]["lucid-tron-devnet"]) == {}


@pytest.mark.parametrize("name", CALLS)
def test_the_code_calls_whom_the_map_allows(name: str) -> None:
    text = "\n".join(path.read_text() for path in (REPOSITORY / "services" / name).rglob("*.py"))
    called = set(re.findall(r"from services\.(\w+)(?:\.client)? import .*[Cc]lient", text)) - {name, "kit"}
    assert called == CALLS[name]


@pytest.mark.parametrize("name", CALLS)
def test_nobody_else_writes_a_services_state(node: dict[str, Any], name: str) -> None:
    users = [
        container
        for container, service in node["services"].items()
        if any(source == f"state-{name}" for source, _ in mounts(service).values())
    ]
    assert users == [CONTAINERS[name]]


def test_every_container_is_locked_down(node: dict[str, Any]) -> None:
    for container, service in node["services"].items():
        assert service["user"].endswith(":65532"), container
        assert service["read_only"] is True, container
        assert service["cap_drop"] == ["ALL"], container
        assert service["security_opt"] == ["no-new-privileges:true"], container
        assert all({"noexec", "nosuid"} <= set(line.split(":")[1].split(",")) for line in service["tmpfs"]), container
        assert "ports" not in service, f"{container} shall be reached through its socket"
        assert "privileged" not in service, container
        assert not any("docker.sock" in source for source, _ in mounts(service).values()), container


def test_every_container_has_a_user_of_its_own(node: dict[str, Any]) -> None:
    """A service takes its own user for an admin (services/kit/peer.py)."""
    users = [service["user"] for service in node["services"].values()]
    assert len(set(users)) == len(users)


def test_users_of_the_compose_file_are_those_of_the_image(node: dict[str, Any]) -> None:
    image = (COMPOSE / "Dockerfile").read_text()
    made = {name: uid for uid, name in re.findall(r"\b(65\d{3}):(\w+)", image)}
    containers = {**CONTAINERS, "devnet": "lucid-tron-devnet", "console": "lucid-tron-console"}
    for name, container in containers.items():
        assert node["services"][container]["user"] == f"{made[name]}:65532"
    assert node["services"][PROXY]["user"] == "65450:65532"
    assert "\nUSER 65450:65532\n" in image


def test_only_tor_has_a_network(node: dict[str, Any]) -> None:
    modes = {container: service.get("network_mode") for container, service in node["services"].items()}
    assert modes.pop(PROXY) is None
    # The devnet shares the loopback of the client, which has nothing else.
    assert modes.pop("lucid-tron-devnet") in {"service:lucid-tron-client", "container:lucid-tron-client"}
    assert set(modes.values()) == {"none"}
    assert set(node["services"][PROXY]["networks"]) == {"outside", "lucid-pi-network"}
    assert node["networks"]["lucid-pi-network"]["external"] is True


def test_tor_is_found_under_its_old_name_and_ports(node: dict[str, Any]) -> None:
    network = node["services"][PROXY]["networks"]["lucid-pi-network"]
    assert network["aliases"] == ["tor-proxy"]
    listens = dict(re.findall(r"^(\w+Port) ([\d.]+:\d+)", (COMPOSE / "torrc").read_text(), re.MULTILINE))
    assert listens == {
        "SocksPort": f"{network['ipv4_address']}:9050",
        "HTTPTunnelPort": f"{network['ipv4_address']}:8888",
        "ControlPort": "127.0.0.1:9051",
    }


def test_tor_itself_takes_the_torrc(tmp_path: Path) -> None:
    """With directories of this test, and its user."""
    text = (COMPOSE / "torrc").read_text()
    for path in ("/run/lucid/tor-socks", "/run/lucid/tor-control", "/var/lib/lucid/state/tor-proxy"):
        (tmp_path / Path(path).name).mkdir(mode=0o700)
        text = text.replace(path, str(tmp_path / Path(path).name))
    torrc = tmp_path / "torrc"
    torrc.write_text(text)
    command = [tool("tor", "tor"), "-f", str(torrc), "--ignore-missing-torrc", "--verify-config", "--hush"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert [line for line in done.stdout.splitlines() if "[warn]" in line and "as root" not in line] == []


def test_on_a_real_network_the_client_enters_tor(node: dict[str, Any], tmp_path: Path) -> None:
    """A forgotten setting shall not open another way; with the example's it uses a devnet on its loopback."""
    assert node["services"]["lucid-tron-client"]["environment"]["TOR_SOCKS_SOCKET"] == ""
    (tmp_path / "env").write_text("TRON_NETWORK=shasta\nTRON_HTTP_ENDPOINT=https://api.shasta.trongrid.io\n")
    given = composed(tmp_path / "env")["services"]["lucid-tron-client"]["environment"]
    assert given["TOR_SOCKS_SOCKET"] == "/run/lucid/tor-socks/socks"
    settings = TronSettings(**{key.lower(): value for key, value in given.items() if value})
    assert str(settings.egress_policy().socks).endswith("/run/lucid/tor-socks/socks")


@contextmanager
def control_port(phase: str) -> Iterator[int]:
    """Something that answers as tor's control port does; yields its port."""
    wanted = b"AUTHENTICATE 00ff20\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                if lines.readline() != wanted:
                    connection.sendall(b"515 Authentication failed\r\n")
                    return
                lines.readline()
                connection.sendall(f"250 OK\r\n250-status/bootstrap-phase={phase}\r\n250 OK\r\n".encode())

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


@pytest.mark.parametrize(
    ("cookie", "phase", "healthy"),
    [
        (b"\0\xff\x20", 'NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done"', True),
        (b"\0\xff\x20", 'NOTICE BOOTSTRAP PROGRESS=10 TAG=conn_done SUMMARY="PROGRESS=100"', False),
        (b"\0\xff", 'NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done"', False),
    ],
    ids=["all", "some", "wrong-cookie"],
)
def test_tor_is_healthy_at_a_hundred_percent_only(tmp_path: Path, cookie: bytes, phase: str, healthy: bool) -> None:
    (tmp_path / "cookie").write_bytes(cookie)
    with control_port(phase) as port:
        command = [str(COMPOSE / "tor-healthcheck"), str(tmp_path / "cookie"), str(port)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is healthy, done.stdout + done.stderr


def test_tor_is_not_healthy_when_nobody_listens(tmp_path: Path) -> None:
    (tmp_path / "cookie").write_bytes(b"cookie")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [str(COMPOSE / "tor-healthcheck"), str(tmp_path / "cookie"), str(port)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


def test_daemons_are_asked_whether_they_are_ready(node: dict[str, Any]) -> None:
    for name, container in CONTAINERS.items():
        check = node["services"][container]["healthcheck"]
        assert check["test"] == ["CMD", "healthcheck", f"/run/lucid/{name}/{name}.sock"]
        assert (check["interval"], check["timeout"], check["retries"]) == ("30s", "10s", 3)
    check = node["services"][PROXY]["healthcheck"]
    assert check["test"] == ["CMD", "tor-healthcheck"]
    assert (check["interval"], check["timeout"], check["retries"]) == ("30s", "10s", 10)
    assert check["start_period"] in {"120s", "2m", "2m0s"}


@pytest.mark.parametrize("name", CALLS)
def test_every_setting_that_a_daemon_reads_reaches_its_container(node: dict[str, Any], name: str) -> None:
    given = set(node["services"][CONTAINERS[name]]["environment"])
    read = {field.upper() for field in SETTINGS[name].model_fields} - NOT_FOR_CONTAINERS
    assert read - given == set()


def test_the_example_names_every_setting_of_the_compose_file() -> None:
    used = set(re.findall(r"\$\{(\w+)", (COMPOSE / "compose.yaml").read_text())) - {"TERM"}
    named = set(re.findall(r"^(\w+)=", (COMPOSE / "node.env.example").read_text(), re.MULTILINE))
    assert named == used


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_is_as_closed_as_we_say(name: str) -> None:
    command = [tool("systemd-analyze", "systemd"), "security", "--offline=yes", "--no-pager", str(UNITS[name])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert exposure is not None, done.stdout + done.stderr
    assert float(exposure[1]) <= EXPOSURE


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_has_no_network(name: str) -> None:
    lines = UNITS[name].read_text().splitlines()
    assert {"PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX", "IPAddressDeny=any"} <= set(lines)


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_says_nothing_that_systemd_does_not_know(name: str) -> None:
    command = [tool("systemd-analyze", "systemd"), "verify", "--man=no", str(UNITS[name])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if line.startswith((str(COMPOSE), UNITS[name].name))] in (
        [],
        [f"{UNITS[name].name}: Command /opt/lucid-tron/.venv/bin/python is not executable: No such file or directory"],
    )


@pytest.mark.parametrize("name", CALLS)
def test_a_units_user_may_enter_the_directories_of_those_it_calls(name: str) -> None:
    users = (COMPOSE / "systemd" / "lucid-tron.sysusers.conf").read_text()
    entered = set(re.findall(rf"^m lucid-{name} lucid-(\w+)$", users, re.MULTILINE)) & CALLS.keys()
    assert entered == CALLS[name]
