"""One tree of errors for every daemon and every client.

::

    LucidError
    ├── BadRequest 400          the request makes no sense
    │   └── Malformed 400       the body is not JSON
    ├── Forbidden 403           this caller may not do this
    ├── NotFound 404            there is no such thing
    ├── MethodNotAllowed 405    the path exists, the method does not
    ├── Conflict 409            the state of the thing forbids it, or a key was used for something else
    ├── TooLarge 413            the body is larger than the daemon reads
    ├── Invalid 422             a field is missing, unknown, of the wrong type, or out of bounds
    ├── Locked 423              a wallet is locked, or signing is frozen
    ├── TooManyRequests 429     wait before asking again
    ├── Internal 500            a defect of ours
    ├── UpstreamError 502       a neighbour answered nonsense
    ├── Unavailable 503         a neighbour, or a disk, cannot be used now
    └── Timeout 504             no answer in time: what was asked may have happened

Services raise them; `kit.http` writes them as problem details (RFC 9457); `kit.client` raises them again on the
other side. A service may add leaves of its own: a subclass with its own `code`.
"""

from collections.abc import Sequence
from typing import Any, ClassVar


class LucidError(Exception):
    """Something that the caller is told, in words that say what to do."""

    code: ClassVar[str] = "error"
    """Stable name for programs."""
    status: ClassVar[int] = 500
    """HTTP status."""
    title: ClassVar[str] = "Error"
    """The kind, for people."""

    _by_code: ClassVar[dict[str, type["LucidError"]]] = {}
    _by_status: ClassVar[dict[int, type["LucidError"]]] = {}

    def __init_subclass__(cls) -> None:
        cls._by_code.setdefault(cls.code, cls)
        cls._by_status.setdefault(cls.status, cls)

    def __init__(
        self, message: str, /, *, field: str | None = None, fields: Sequence[tuple[str, str]] = (), **extra: Any
    ) -> None:
        """Say `message`; name the `field` that is wrong, or several `fields` as (name, why); `extra` must be JSON."""
        super().__init__(message)
        self.message = message
        self.fields: tuple[tuple[str, str], ...] = tuple(fields) or (((field, message),) if field else ())
        self.extra = extra

    def problem(self) -> dict[str, Any]:
        """Problem details (RFC 9457): type, title, status, detail, code, fields and whatever else the error carries."""
        body: dict[str, Any] = {
            "type": f"urn:lucid:error:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.message,
            "code": self.code,
        }
        if self.fields:
            body["fields"] = [{"field": name, "message": why} for name, why in self.fields]
        return {**body, **{key: value for key, value in self.extra.items() if key not in body}}


class BadRequest(LucidError):
    """The request makes no sense."""

    code, status, title = "bad_request", 400, "Bad request"


class Malformed(BadRequest):
    """The body is not JSON."""

    code, title = "malformed", "Malformed body"


class Forbidden(LucidError):
    """This caller may not do this."""

    code, status, title = "forbidden", 403, "Forbidden"


class NotFound(LucidError):
    """There is no such thing."""

    code, status, title = "not_found", 404, "Not found"


class MethodNotAllowed(LucidError):
    """The path exists, the method does not."""

    code, status, title = "method_not_allowed", 405, "Method not allowed"


class Conflict(LucidError):
    """The state of the thing forbids it, or a key was used for something else."""

    code, status, title = "conflict", 409, "Conflict"


class TooLarge(LucidError):
    """The body is larger than the daemon reads."""

    code, status, title = "too_large", 413, "Body too large"


class Invalid(LucidError):
    """A field is missing, unknown, of the wrong type, or out of bounds."""

    code, status, title = "invalid", 422, "Invalid request"


class Locked(LucidError):
    """A wallet is locked, or signing is frozen."""

    code, status, title = "locked", 423, "Locked"


class TooManyRequests(LucidError):
    """Wait before asking again; `retry_after_s` in `extra` says how long, when it is known."""

    code, status, title = "too_many_requests", 429, "Too many requests"


class Internal(LucidError):
    """A defect of ours; the log has it under the correlation id."""

    code, status, title = "internal", 500, "Internal error"


class UpstreamError(LucidError):
    """A neighbour answered nonsense."""

    code, status, title = "upstream_error", 502, "Bad answer from a neighbour"


class Unavailable(LucidError):
    """A neighbour, or a disk, cannot be used now."""

    code, status, title = "unavailable", 503, "Unavailable"


class Timeout(LucidError):
    """No answer in time: what was asked may have happened."""

    code, status, title = "timeout", 504, "No answer in time"


def from_problem(status: int, body: Any) -> LucidError:
    """Rebuild the error that the other side raised, from its problem details or from the bare HTTP status."""
    body = body if isinstance(body, dict) else {}
    known = LucidError._by_code.get(str(body.get("code"))) or LucidError._by_status.get(status) or UpstreamError
    raw = body.get("fields")
    fields = [
        (str(item.get("field", "")), str(item.get("message", "")))
        for item in (raw if isinstance(raw, list) else [])
        if isinstance(item, dict)
    ]
    standard = {"type", "title", "status", "detail", "code", "fields", "field", "message"}
    extra = {str(key): value for key, value in body.items() if key not in standard}
    return known(str(body.get("detail") or f"HTTP status {status}"), fields=fields, **extra)
