"""Requests made of what was typed: what a model refuses becomes an error that names the field."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from services.kit.errors import Invalid

M = TypeVar("M", bound=BaseModel)

_PLAINER = {
    "string_pattern_mismatch": "has characters that are not allowed there, or is too long",
    "string_too_short": "is too short",
    "string_too_long": "is too long",
    "too_short": "must not be empty",
}
"""Words for what pydantic says in terms of patterns."""


def build(model: type[M], **values: Any) -> M:
    """Make a request.

    Raises:
        Invalid: fields are wrong; every one of them is named.
    """
    try:
        return model(**values)
    except ValidationError as error:
        fields = [
            (
                ".".join(str(part) for part in one["loc"]),
                _PLAINER.get(one["type"], one["msg"]).removeprefix("Value error, "),
            )
            for one in error.errors()
        ]
        raise Invalid(": ".join(fields[0]), fields=fields) from None
