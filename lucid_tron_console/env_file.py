"""Reading a home's `lucid.env` exactly as the daemons read it, but strictly: a line that means nothing is an error."""

import io
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from services.kit.errors import Invalid


def read(path: Path) -> dict[str, str]:
    """Settings by name, in upper case; none if there is no such file.

    Raises:
        Invalid: the file cannot be read, or a line is no NAME=value.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} cannot be read: {error}", field="lucid.env") from error
    for binding in parse_stream(io.StringIO(text)):
        if binding.error or (binding.key and binding.value is None):
            raise Invalid(
                f"{path}, line {binding.original.line}: write NAME=value, or begin with # for a comment",
                field="lucid.env",
            )
    return {name.upper(): value or "" for name, value in dotenv_values(stream=io.StringIO(text)).items()}
