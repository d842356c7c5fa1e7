"""The daemons of a node as processes of their own, for tests that only look at them from outside."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SERVICES = ("wallet", "tron", "payout")
PATIENCE_S = 45.0


@dataclass(frozen=True)
class Answer:
    """What a daemon said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


@dataclass
class Daemon:
    """One daemon on its socket."""

    name: str
    path: Path
    document: dict[str, Any] = field(default_factory=dict)
    """Its OpenAPI document, as it serves it."""

    def ask(self, method: str, target: str, body: bytes | None = None) -> Answer:
        """Send one request over a fresh connection."""
        connection = http.client.HTTPConnection(self.name, timeout=PATIENCE_S)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.sock.settimeout(PATIENCE_S)
            connection.sock.connect(str(self.path))
            headers = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, target, body=body, headers=headers)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Method, path and description of everything in the document."""
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                yield method.upper(), path, operation

    def schema(self, operation: dict[str, Any]) -> dict[str, Any]:
        """Schema of an operation's body; empty when it takes none."""
        body = operation.get("requestBody")
        return self.resolve(body["content"]["application/json"]["schema"]) if body else {}

    def resolve(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Follow a reference."""
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
        return schema


@pytest.fixture(scope="session")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Daemon]]:
    """Wallet, TRON client and payout router, running; the TRON client has no node to ask."""
    home = tmp_path_factory.mktemp("home")
    strange = ("TRON_", "LUCID_", "WALLET_", "PAYOUT_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(strange)}
    env |= {"LUCID_HOME": str(home), "TRON_NETWORK": "devnet", "WALLET_KDF_MEMORY_KIB": "64"}
    env |= {"TRON_HTTP_ENDPOINT": "http://127.0.0.1:1", "TRON_TIMEOUT": "1", "TRON_MAX_RETRIES": "0"}
    processes = {
        name: subprocess.Popen([sys.executable, "-m", f"services.{name}"], env=env, stderr=subprocess.DEVNULL)
        for name in SERVICES
    }
    try:
        found = {name: Daemon(name, home / "run" / name / f"{name}.sock") for name in SERVICES}
        deadline = time.monotonic() + PATIENCE_S
        for name, one in found.items():
            while not one.document:
                assert processes[name].poll() is None, f"{name} ended"
                assert time.monotonic() < deadline, f"{name} does not answer"
                try:
                    one.document = one.ask("GET", "/openapi.json").json
                except (FileNotFoundError, ConnectionRefusedError):
                    time.sleep(0.02)
        yield found
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait(PATIENCE_S)


@pytest.fixture(scope="session", params=SERVICES)
def each(request: pytest.FixtureRequest, daemons: dict[str, Daemon]) -> Daemon:
    """Every daemon in turn."""
    return daemons[request.param]
