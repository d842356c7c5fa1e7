"""The three kinds of wire model: what a caller sends, what it asks for in a query, and what it gets; and what every
daemon says of itself."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Request(BaseModel):
    """A JSON body: exact types and known fields only, so that a misspelt field is an error and not a default."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Query(BaseModel):
    """The query string of a read: text turned into types, known fields only."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Response(BaseModel):
    """An answer: unknown fields are passed over, so that an older console reads a newer daemon."""

    model_config = ConfigDict(frozen=True, extra="ignore")


Checks = dict[str, str]
"""What a service depends on, each with `ok` or with words that say what is wrong."""


class Health(Response):
    """Whether the daemon can do its work."""

    status: Literal["ok", "degraded"]
    checks: Checks
    """What it depends on: `ok`, or words that say what is wrong."""


class Live(Response):
    """The daemon answers."""

    status: Literal["ok"] = "ok"


class Status(Response):
    """What runs here, since when, and how it is."""

    service: str
    version: str
    pid: int
    started_at: datetime
    uptime_s: int
    status: Literal["ok", "degraded"]
    checks: Checks
    details: dict[str, Any]
    """What only this service has to tell."""
