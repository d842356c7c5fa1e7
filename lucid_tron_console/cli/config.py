"""`lucid-tron config`: what the daemons are configured with, and what is wrong with it."""

import os
from typing import Any

import click

from lucid_tron_console import daemon_settings, node, output
from lucid_tron_console.cli.framework import Group, Session, pass_session
from lucid_tron_console.exit_codes import ExitCode
from lucid_tron_console.home import Home
from services.kit.errors import Invalid


@click.group(cls=Group)
def config() -> None:
    """Show or check the settings of the daemons.

    Each is read from the environment, else from lucid.env in the home, else it has its default.
    """


@config.command("show", examples=["config show", "config show -o json"])
@click.option("--all/--set", "everything", default=True, help="All settings, or only those that are set somewhere.")
@pass_session
def show(session: Session, everything: bool) -> None:
    """Show every setting, its value and where the value is from; secrets are hidden."""
    body = read(session.home())
    shown = [one for one in body["settings"] if everything or one["source"] != "default"]
    rows = [(one["name"], one["value"], one["source"], " ".join(one["services"])) for one in shown]
    output.data(
        session.output, {**body, "settings": shown}, output.table(("setting", "value", "source", "read by"), rows)
    )
    if body["problems"]:
        session.note("some settings cannot be used: `lucid-tron config validate` says which")


@config.command("validate", examples=["config validate"])
@pass_session
def validate(session: Session) -> int:
    """Check every setting; the exit code is 4 when one cannot be used."""
    body = read(session.home())
    for name in body["unknown"]:
        session.note(f"warning: no daemon reads {output.clean(name)}; is it misspelt?")
    if body["problems"]:
        raise Invalid(
            f"{len(body['problems'])} of the settings cannot be used",
            fields=[(one["name"], one["message"]) for one in body["problems"]],
        )
    output.data(session.output, body, ["every setting can be used"])
    return ExitCode.OK


def read(home: Home) -> dict[str, Any]:
    """Ask the daemons' own code what it would be configured with in this home.

    Raises:
        Invalid: `lucid.env` has a line that is no setting.
    """
    return daemon_settings.read(home, os.environ, node.decided_by(home, home.record(), os.environ))
