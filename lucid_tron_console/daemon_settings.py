"""What the daemons of a home would be configured with: asked of their own code, so that no rule stands twice."""

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from lucid_tron_console import env_file
from lucid_tron_console.home import Home
from lucid_tron_console.python import PYTHON_M
from services.kit.errors import Internal, Invalid


def read(
    home: Home, environ: Mapping[str, str], decided: Mapping[str, str], program: str = "program"
) -> dict[str, Any]:
    """Ask for every setting, its source and its problems, and for the way out (`services.__main__.report`).

    `decided` are the settings that are the node's own to choose; `program` is the name of another program that wants
    to leave in the same way.

    Raises:
        Invalid: `lucid.env` has a line that is no setting.
    """
    env_file.read(home.env_file)
    environment = {**environ, "LUCID_HOME": str(home.path), **decided}
    command = [*PYTHON_M, "services", "--settings", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Internal(f"the settings could not be read: {done.stderr.strip()[-500:]}")
    body: dict[str, Any] = json.loads(done.stdout)
    for one in body["settings"]:
        if one["name"] in decided:
            one["source"] = "the node"
    return body


def refuse(home: Home, body: dict[str, Any]) -> None:
    """Refuse settings that a daemon could not start with.

    Raises:
        Invalid: there are such; every one of them is named.
    """
    wrong = [(one["name"], one["message"]) for one in body["problems"]]
    if wrong:
        name, message = wrong[0]
        # What is said of several settings names them itself.
        words = message if name.islower() or message.startswith(name) else f"{name}: {message}"
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise Invalid(
            f"the settings cannot be used{more}: {words} (they are read from the environment and {home.env_file})",
            fields=wrong,
        )
