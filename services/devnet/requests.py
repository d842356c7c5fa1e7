"""What a caller asks for: the query of a GET or the JSON of a POST, read as java-tron's servlets read them.

java-tron reads a POST with `JsonFormat`, which complains with line and column of the value, and a GET by Java's own
parsers, which complain in other words. Unknown keys are passed over by both.
"""

import json
import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Self
from urllib.parse import parse_qsl

from services.devnet.answers import JavaError, null_pointer
from services.protocol.address import Address, AddressError

MAX_BODY_BYTES = 1 << 20
"""A longer body is not read to its end."""

_PARSE_EXCEPTION = "org.tron.core.services.http.JsonFormat$ParseException"
_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1
_BASE58_BYTES = re.compile("[1-9A-HJ-NP-Za-km-z]*", re.ASCII)
_HEX = re.compile("(?:[0-9a-fA-F]{2})*", re.ASCII)


class Params:
    """The parameters of one call."""

    def __init__(self, values: Mapping[str, Any], text: str | None, query: str = "") -> None:
        self.values = values
        """Everything that came, by name."""
        self._text = text
        self._query = query

    @classmethod
    def of_query(cls, query: str) -> Self:
        """Parameters of a GET."""
        return cls(dict(parse_qsl(query, keep_blank_values=True)), None, query)

    @classmethod
    def of_body(cls, body: bytes, content_type: str, query: str = "") -> Self:
        """Parameters of a POST: JSON, or a form. Its query is kept beside them, since a few calls look only there.

        Raises:
            JavaError: the body is neither.
        """
        text = body.decode("utf-8", "replace")
        if content_type.startswith("application/x-www-form-urlencoded"):
            text = json.dumps(dict(parse_qsl(text, keep_blank_values=True)))
        if not text.strip():
            return cls({}, text, query)
        try:
            values = _whole_characters(json.loads(text)) if "\\ud" in text.lower() else json.loads(text)
        except ValueError as error:
            raise JavaError("com.alibaba.fastjson.JSONException", f"syntax error, {error}") from error
        except RecursionError as error:
            raise JavaError("com.alibaba.fastjson.JSONException", "syntax error, nested too deep") from error
        if not isinstance(values, dict):
            raise JavaError(
                "com.alibaba.fastjson.JSONException", f"can not cast to JSONObject: {type(values).__name__}"
            )
        return cls(values, text, query)

    @property
    def visible(self) -> bool:
        """Whether addresses are base58, in the call and in its answer."""
        return str(self.values.get("visible", "")).lower() == "true"

    @property
    def visible_in_query(self) -> bool:
        """The same for calls that never read their body (java-tron's servlets whose `doPost` is `doGet`)."""
        return dict(parse_qsl(self._query)).get("visible", "").lower() == "true"

    def need_object(self) -> None:
        """Check that a POST brought an object at all.

        Raises:
            JavaError: its body was empty.
        """
        if self._text is not None and not self._text.strip():
            raise JavaError(_PARSE_EXCEPTION, '1:1: Expected "{".')

    def integer(self, name: str, *, required: bool = False) -> int:
        """A 64-bit number; 0 when it is not given.

        Raises:
            JavaError: not a number, out of range, or (in a query) missing although required.
        """
        given = self.values.get(name)
        if self._text is None:
            return _query_integer(given, required=required)
        if given is None:
            return 0
        if isinstance(given, bool) or not isinstance(given, int):
            shown = json.dumps(given)
            raise self._error(name, f'Couldn\'t parse integer: For input string: "{shown}"')
        if not _INT64_MIN <= given <= _INT64_MAX:
            raise self._error(name, f"Couldn't parse integer: Number out of range for 64-bit signed integer: {given}")
        return given

    def flag(self, name: str) -> bool:
        """A boolean; False when it is not given.

        Raises:
            JavaError: in JSON, neither true nor false.
        """
        given = self.values.get(name)
        if self._text is None:
            return str(given).lower() == "true"
        if given is None or isinstance(given, bool):
            return bool(given)
        raise self._error(name, 'Expected "true" or "false".')

    def enum(self, name: str, kind: type[IntEnum]) -> int:
        """A value of an enum, by name or number; its first when it is not given.

        Raises:
            JavaError: it has no such value.
        """
        given = self.values.get(name)
        if given is None:
            return 0
        if isinstance(given, str) and given in kind.__members__:
            return kind[given]
        if isinstance(given, int) and not isinstance(given, bool):
            if given in [int(member) for member in kind]:
                return given
            raise self._error(name, f'Enum type "protocol.{_proto_name(kind)}" has no value with number {given}.')
        raise self._error(name, f'Enum type "protocol.{_proto_name(kind)}" has no value named "{given}".')

    def inside(self, values: Mapping[str, Any]) -> "Params":
        """The parameters of an object inside these."""
        return Params({**values, "visible": self.visible}, self._text, self._query)

    def text(self, name: str) -> str:
        """A string; empty when it is not given.

        Raises:
            JavaError: in JSON, not a string.
        """
        given = self.values.get(name)
        if given is None:
            return ""
        if not isinstance(given, str):
            raise self._error(name, "Expected string.")
        return given

    def hex(self, name: str) -> bytes:
        """Bytes written in hex; empty when they are not given.

        Raises:
            JavaError: not hex.
        """
        given = self.text(name)
        try:
            return from_hex(given)
        except ValueError as error:
            if self._text is None:
                raise JavaError(
                    "org.bouncycastle.util.encoders.DecoderException",
                    "exception decoding Hex string: invalid characters encountered in Hex string",
                ) from error
            raise self._error(name, "INVALID hex String") from error

    def address(self, name: str) -> bytes:
        """An address: base58 when the call is `visible`, else hex, of any length then.

        Raises:
            JavaError: not of that form.
        """
        if not self.visible:
            return self.hex(name)
        given = self.text(name)
        if not given:
            return b""
        if not _BASE58_BYTES.fullmatch(given):
            bad = next(at for at, letter in enumerate(given) if not _BASE58_BYTES.fullmatch(letter))
            raise self._error(name, f"INVALID base58 String, Illegal character {given[bad]} at {bad}")
        try:
            return Address.parse(given).raw
        except AddressError as error:
            # java-tron's decoder gives nothing back, and its caller stumbles over that.
            raise null_pointer() from error

    def _error(self, name: str, message: str) -> JavaError:
        line, column = self._position(name)
        return JavaError(_PARSE_EXCEPTION, f"{line}:{column}: {message}")

    def _position(self, name: str) -> tuple[int, int]:
        """Line and column, from 1, where the value of a key begins."""
        text = self._text if self._text is not None else json.dumps(dict(self.values), separators=(",", ":"))
        found = re.search(rf'"{re.escape(name)}"\s*:\s*', text)
        at = found.end() if found else 0
        line = text.count("\n", 0, at)
        return line + 1, at - (text.rfind("\n", 0, at) + 1) + 1


def from_hex(text: str) -> bytes:
    """Bytes of hex digits as java-tron reads them: `0x` may stand before, an odd digit gets a zero.

    Raises:
        ValueError: other characters.
    """
    digits = text.removeprefix("0x")
    if len(digits) % 2:
        digits = "0" + digits
    if not _HEX.fullmatch(digits):
        raise ValueError("not hex")
    return bytes.fromhex(digits)


def _whole_characters(values: Any) -> Any:
    """Values with a question mark for each half of a character: what Java writes for one."""
    return json.loads(json.dumps(values, ensure_ascii=False).encode("utf-8", "replace"))


def _proto_name(kind: type[IntEnum]) -> str:
    """What the enum is called in java-tron's `.proto` files."""
    return {"Resource": "ResourceCode", "PermissionType": "Permission.PermissionType"}.get(kind.__name__, kind.__name__)


def _query_integer(given: Any, *, required: bool) -> int:
    if given is None and not required:
        return 0
    try:
        number = int(str(given)) if given is not None else None
    except ValueError:
        number = None
    if number is None or not _INT64_MIN <= number <= _INT64_MAX:
        shown = "null" if given is None else f'For input string: "{given}"'
        raise JavaError("java.lang.NumberFormatException", shown)
    return number
