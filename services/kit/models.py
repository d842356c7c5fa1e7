"""The three kinds of wire model: what a caller sends, what it asks for in a query, and what it gets."""

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
