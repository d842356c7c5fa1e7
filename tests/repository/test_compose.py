"""The compose file is valid, hardened, and mounts exactly the sockets that a service may call; the units too."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
COMPOSE = REPOSITORY / "compose"

CALLS = {"wallet": set(), "tron": {"wallet"}, "payout": {"tron", "wallet"}}
"""Who calls whom."""

CONTAINERS = {
    "wallet": "lucid-tron-wallet-manager",
    "tron": "lucid-tron-client",
    "payout": "lucid-payout-router",
}
UNITS = {name: COMPOSE / "systemd" / f"{container}.service" for name, container in CONTAINERS.items()}
EXPOSURE = {"wallet": 0.5, "tron": 1.3, "payout": 0.5}
"""The most that `systemd-analyze security` may say."""


def tool(name: str, package: str) -> str:
    """Path of a program that these tests need."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is missing: apt-get install {package}")
    return found


@pytest.fixture(scope="module")
def node() -> dict[str, Any]:
    """The compose file as docker-compose understands it, with the example's settings."""
    command = [tool("docker-compose", "docker-compose"), "--env-file", str(COMPOSE / "node.env.example")]
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
    wanted = {name: True} | dict.fromkeys(CALLS[name], False)
    assert sockets(node["services"][CONTAINERS[name]]) == wanted


def test_the_console_reaches_every_service_and_can_replace_no_socket(node: dict[str, Any]) -> None:
    assert sockets(node["services"]["lucid-tron-console"]) == dict.fromkeys(CALLS, False)


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
        assert service["user"] == "65532:65532", container
        assert service["read_only"] is True, container
        assert service["cap_drop"] == ["ALL"], container
        assert service["security_opt"] == ["no-new-privileges:true"], container
        assert all({"noexec", "nosuid"} <= set(line.split(":")[1].split(",")) for line in service["tmpfs"]), container
        assert "ports" not in service, f"{container} shall be reached through its socket"
        assert "privileged" not in service, container
        assert not any("docker.sock" in source for source, _ in mounts(service).values()), container


@pytest.mark.parametrize("name", ["wallet", "payout"])
def test_who_needs_no_network_has_none(node: dict[str, Any], name: str) -> None:
    assert node["services"][CONTAINERS[name]]["network_mode"] == "none"


def test_the_client_has_the_address_that_operators_know(node: dict[str, Any]) -> None:
    network = node["services"]["lucid-tron-client"]["networks"]["lucid-pi-network"]
    assert network["ipv4_address"] == "172.20.1.91"
    assert node["networks"]["lucid-pi-network"]["external"] is True


def test_daemons_are_asked_whether_they_are_ready(node: dict[str, Any]) -> None:
    for name, container in CONTAINERS.items():
        check = node["services"][container]["healthcheck"]
        assert check["test"] == ["CMD", "healthcheck", f"/run/lucid/{name}/{name}.sock"]
        assert (check["interval"], check["timeout"], check["retries"]) == ("30s", "10s", 3)


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
    assert float(exposure[1]) <= EXPOSURE[name]


@pytest.mark.parametrize("name", CALLS)
def test_a_units_user_may_enter_the_directories_of_those_it_calls(name: str) -> None:
    users = (COMPOSE / "systemd" / "lucid-tron.sysusers.conf").read_text()
    entered = set(re.findall(rf"^m lucid-{name} lucid-(\w+)$", users, re.MULTILINE)) & CALLS.keys()
    assert entered == CALLS[name]
