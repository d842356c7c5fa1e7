"""Event logs in the words of the ABI of the contract that wrote them, as TronGrid shows them.

Types and layout: the contract ABI specification of Solidity; indexed values of dynamic types are hashes.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from services.protocol.abi import WORD_BYTES, event_topic

_ARRAY = re.compile(r".*\[\d*\]$")
_DYNAMIC = frozenset({"string", "bytes"})


@dataclass(frozen=True, slots=True)
class NamedEvent:
    """An event as its contract's ABI names it."""

    name: str
    """Its name; empty if the ABI has no such event."""

    signature: str
    """As in the source: `Transfer(address indexed from, address indexed to, uint256 value)`."""

    result: dict[str, str]
    """Values by position and by name."""

    types: dict[str, str]
    """Types by name."""


def named_event(abi: str, topics: Sequence[str], data: str) -> NamedEvent:
    """Read a log (hex) by an ABI in the JSON that `getcontract` shows."""
    for entry in json.loads(abi or "{}").get("entrys", []):
        if str(entry.get("type", "")).lower() == "event" and topics and _topic(entry) == topics[0]:
            return _named(entry, topics, bytes.fromhex(data))
    unnamed = {str(at): topic for at, topic in enumerate(topics)} | ({"data": data} if data else {})
    return NamedEvent("", "", unnamed, {})


def topics_of(abi: str, name: str) -> tuple[bytes, ...]:
    """First topics of the events of that name."""
    return tuple(
        bytes.fromhex(_topic(entry))
        for entry in json.loads(abi or "{}").get("entrys", [])
        if str(entry.get("type", "")).lower() == "event" and entry.get("name") == name
    )


def _topic(entry: dict[str, Any]) -> str:
    types = ",".join(str(each.get("type", "")) for each in entry.get("inputs", []))
    return event_topic(f"{entry.get('name', '')}({types})").hex()


def _named(entry: dict[str, Any], topics: Sequence[str], data: bytes) -> NamedEvent:
    inputs = entry.get("inputs", [])
    result: dict[str, str] = {}
    for at, (each, value) in enumerate(zip(inputs, _values(inputs, topics, data), strict=True)):
        result[str(at)] = value
        if each.get("name"):
            result[each["name"]] = value
    written = ", ".join(
        " ".join(filter(None, (each["type"], "indexed" if each.get("indexed") else "", each.get("name", ""))))
        for each in inputs
    )
    types = {each.get("name") or str(at): each["type"] for at, each in enumerate(inputs)}
    return NamedEvent(entry["name"], f"{entry['name']}({written})", result, types)


def _values(inputs: list[dict[str, Any]], topics: Sequence[str], data: bytes) -> Iterator[str]:
    indexed = iter(topics[1:])
    at = 0
    for each in inputs:
        if each.get("indexed"):
            word = bytes.fromhex(next(indexed, ""))
            is_hash = each["type"] in _DYNAMIC or _ARRAY.match(each["type"])
            yield word.hex() if is_hash else _value(each["type"], word)
            continue
        word = data[at : at + WORD_BYTES]
        at += WORD_BYTES
        if each["type"] in _DYNAMIC:
            yield _dynamic(each["type"], data, int.from_bytes(word))
        else:
            yield _value(each["type"], word)


def _value(kind: str, word: bytes) -> str:
    if kind == "address":
        return "0x" + word[12:].hex()
    if kind == "bool":
        return "true" if any(word) else "false"
    if kind.startswith("uint"):
        return str(int.from_bytes(word))
    if kind.startswith("int"):
        return str(int.from_bytes(word, signed=True))
    return word.hex()


def _dynamic(kind: str, data: bytes, offset: int) -> str:
    length = int.from_bytes(data[offset : offset + WORD_BYTES])
    content = data[offset + WORD_BYTES : offset + WORD_BYTES + length]
    return content.decode("utf-8", "replace") if kind == "string" else content.hex()
