"""How Tor is for this node, in one glance that costs two small calls: for `status`, which must be fast."""

from typing import Any

from lucid_tron_console.home import Home, NodeRecord
from lucid_tron_console.probe import ask
from services.kit.errors import LucidError


def tor_state(home: Home, record: NodeRecord) -> dict[str, Any]:
    """The way out of a node: as it was started, as the Tor service sees it, and as the TRON client uses it."""
    running = home.holder() is not None
    return {
        **record.tor.to_json(),
        **_service(home, running and record.tor.mode != "off"),
        **_egress(home, running),
    }


def _service(home: Home, running: bool) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    if running:
        try:
            seen = ask(home.socket("tor"), "/api/v1/tron/tor/status", timeout_s=1.0)
        except LucidError as error:
            seen = {"state": "no service", "detail": error.message}
    return {
        "state": seen.get("state"),
        "detail": seen.get("detail", ""),
        "bootstrap": (seen.get("bootstrap") or {}).get("percent"),
        "circuits": (seen.get("circuits") or {}).get("built"),
        "version": seen.get("version"),
        **{name: seen[name] for name in ("socks", "control") if seen.get(name)},
    }


def _egress(home: Home, running: bool) -> dict[str, Any]:
    try:
        seen = ask(home.socket("tron"), "/status", timeout_s=1.0) if running else {}
    except LucidError:
        seen = {}
    egress = (seen.get("details") or {}).get("egress") or {}
    return {"egress": egress.get("mode"), "egress_detail": egress.get("detail", "")}


def tor_words(body: dict[str, Any]) -> str:
    """The same for people."""
    if body["egress"] == "clear":
        return f"PAST TOR: {body['egress_detail']}"
    if body["mode"] == "off":
        return "off: nothing leaves this machine"
    if body["state"] is None:
        return str(body["mode"])
    words = f"{body['mode']}, {body['state']}"
    if body["bootstrap"] is not None:
        words += f", bootstrap {body['bootstrap']} %, {body['circuits']} circuits"
    return f"{words}: {body['detail']}" if body["detail"] else words
