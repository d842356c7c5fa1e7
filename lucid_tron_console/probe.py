"""One small HTTP call to a Unix socket or a loopback port: imports next to nothing, so that `status` starts fast."""

import http.client
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lucid_tron_console import lab
from lucid_tron_console.home import Home, NodeRecord
from services.kit.errors import LucidError, Timeout, Unavailable, UpstreamError, from_problem

MAX_BODY = 32 * 1024 * 1024
"""More than any answer of a service or of the devnet has."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP/1.1 over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def call(
    where: Path | str, path: str, *, method: str = "GET", body: object = None, timeout_s: float = 5.0
) -> tuple[int, Any]:
    """Ask a Unix socket (a Path) or a plain `http://host:port`; returns the status and the decoded JSON.

    Raises:
        Unavailable: nobody listens there.
        Timeout: no answer in `timeout_s` seconds.
        UpstreamError: the answer is no JSON over HTTP.
    """
    connection = _UnixConnection(where, timeout_s) if isinstance(where, Path) else _tcp(where, timeout_s)
    payload = None if body is None else json.dumps(body).encode()
    headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if payload is not None else {})
    try:
        connection.request(method, path, body=payload, headers=headers)
        answer = connection.getresponse()
        text = answer.read(MAX_BODY)
        return answer.status, json.loads(text) if text.strip() else None
    except TimeoutError as error:
        raise Timeout(f"{where} did not answer in {timeout_s:g} s") from error
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise Unavailable(f"nothing answers at {where}") from error
    except OSError as error:
        raise Unavailable(f"{where} cannot be reached: {error.strerror or error}") from error
    except (http.client.HTTPException, ValueError) as error:
        raise UpstreamError(f"{where} answered something that is no JSON over HTTP") from error
    finally:
        connection.close()


def ask(where: Path | str, path: str, *, method: str = "GET", body: object = None, timeout_s: float = 5.0) -> Any:
    """Ask as `call` does, and raise what the other side refuses."""
    status, answer = call(where, path, method=method, body=body, timeout_s=timeout_s)
    if status >= 400:
        raise from_problem(status, answer)
    return answer


def _tcp(url: str, timeout_s: float) -> http.client.HTTPConnection:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return http.client.HTTPConnection(host, int(port), timeout=timeout_s)


def listens(path: Path) -> bool:
    """Whether a process accepts connections at a Unix socket; the file that a killed one left behind does not count."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.settimeout(1.0)
        try:
            caller.connect(str(path))
        except TimeoutError:
            return True  # it is too busy to take calls, but it is there
        except OSError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Health:
    """What one service says about itself now."""

    service: str
    state: Literal["ready", "not ready", "down"]
    detail: str = ""
    """Why it is not ready, in words; empty when it is."""


def health(home: Home, record: NodeRecord, service: str, timeout_s: float = 2.0) -> Health:
    """Ask one service whether it can do its work."""
    try:
        if service == "devnet":
            return _devnet_health(record, timeout_s)
        if service == "lab":
            return _lab_health(home)
        status, body = call(home.socket(service), "/health/ready", timeout_s=timeout_s)
    except Unavailable as error:
        return Health(service, "down", error.message)
    except LucidError as error:
        return Health(service, "not ready", error.message)
    return Health(service, "ready") if status == 200 else Health(service, "not ready", _why(body))


def _lab_health(home: Home) -> Health:
    if lab.pid(home) is None:
        return Health("lab", "down", str(lab.report(home).get("message", "")))
    said = lab.report(home)
    if said.get("state") == "ready":
        return Health("lab", "ready")
    return Health("lab", "not ready", str(said.get("message") or "the private Tor network is coming up"))


def _devnet_health(record: NodeRecord, timeout_s: float) -> Health:
    for url in record.devnet_urls:
        status, body = call(url, "/wallet/getnowblock", timeout_s=timeout_s)
        if status != 200 or not isinstance(body, dict) or "blockID" not in body:
            return Health("devnet", "not ready", f"{url} answers with HTTP {status} and no block")
    return Health("devnet", "ready") if record.devnet_urls else Health("devnet", "down", "no port is known yet")


def _why(body: Any) -> str:
    """Collect the checks that failed from a readiness answer; whatever it says if it has none."""
    if not isinstance(body, dict):
        return "says that it is not ready"
    checks = body.get("checks")
    if isinstance(checks, dict):
        bad = [f"{name}: {state}" for name, state in checks.items() if state != "ok"]
        if bad:
            return "; ".join(bad)
    return str(body.get("detail") or body.get("status") or "says that it is not ready")
