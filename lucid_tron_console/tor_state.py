"""How Tor is for this node, in one glance that costs two small calls: for `status`, which must be fast."""

from typing import Any

from lucid_tron_console.home import Home, NodeRecord
from lucid_tron_console.probe import ask
from services.kit.errors import LucidError


def tor_state(home: Home, record: NodeRecord) -> dict[str, Any]:
    """The way out of a node: as it was started, as the Tor service sees it, and as the TRON client uses it.

    `past` is why calls go past Tor; empty: they do not. Without a supervisor, systemd or compose run the services.
    """
    egress = egress_state(home)
    started = record.tor.to_json()
    past = egress["egress_detail"] if egress["egress"] == "clear" else started["past"] if not egress["egress"] else ""
    return {**started, **_service(home, expected=record.tor.mode != "off"), **egress, "past": past}


def _service(home: Home, *, expected: bool) -> dict[str, Any]:
    running = home.holder() is not None
    seen: dict[str, Any] = {}
    if expected or not running:
        try:
            seen = ask(home.socket("tor"), "/api/v1/tron/tor/status", timeout_s=1.0)
        except LucidError as error:
            seen = {"state": "no service", "detail": error.message} if running else {}
    return {
        "state": seen.get("state"),
        "detail": seen.get("detail", ""),
        "bootstrap": (seen.get("bootstrap") or {}).get("percent"),
        "circuits": (seen.get("circuits") or {}).get("built"),
        "version": seen.get("version"),
        **{name: seen[name] for name in ("socks", "control") if seen.get(name)},
    }


def egress_state(home: Home) -> dict[str, Any]:
    """How the TRON client's calls leave: `tor`, `loopback`, `clear` or None (it does not answer), and what is wrong."""
    try:
        seen = ask(home.socket("tron"), "/status", timeout_s=1.0)
    except LucidError:
        seen = {}
    egress = (seen.get("details") or {}).get("egress") or {}
    return {"egress": egress.get("mode"), "egress_detail": egress.get("detail", "")}


def past_tor_words(network: str, why: str) -> str:
    """What a node says loudly whose calls go past Tor."""
    if network == "devnet":
        return f"PAST TOR: calls to the devnet do not go through Tor: {why}"
    return f"PAST TOR: every endpoint of {network} sees this node's address: {why}"


def tor_words(body: dict[str, Any]) -> str:
    """The same for people."""
    words = _words(body)
    if not body["past"]:
        return words
    return f"PAST TOR: {body['past']}" + (f" (tor: {words})" if body["mode"] != "off" else "")


def _words(body: dict[str, Any]) -> str:
    if body["state"] is None:
        return "off: nothing leaves this machine" if body["mode"] == "off" else str(body["mode"])
    words = f"{body['mode']}, {body['state']}" if body["mode"] != "off" else str(body["state"])
    if body["bootstrap"] is not None:
        words += f", bootstrap {body['bootstrap']} %, {body['circuits']} circuits"
    return f"{words}: {body['detail']}" if body["detail"] else words
