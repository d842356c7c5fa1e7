"""`lucid-tron doctor`: what is wrong, and what to do."""

import os
import sys
from dataclasses import asdict

import click

from lucid_tron_console import output
from lucid_tron_console.cli.framework import Command, Session, pass_session
from lucid_tron_console.doctor import examine
from lucid_tron_console.exit_codes import ExitCode
from lucid_tron_console.finding import Verdict


@click.command(cls=Command, examples=["doctor", "doctor -o json"])
@pass_session
def doctor(session: Session) -> int:
    """Look at everything that a node needs, and say what to do.

    The exit code is 0 when nothing is bad, else 5. A risk that a setting takes, such as calls past Tor, is red but
    not bad.
    """
    home = session.home()
    found = examine(home, os.environ)
    bad = any(one.verdict is Verdict.BAD for one in found)
    rows = [(one.verdict.upper(), one.subject, one.words + (f": {one.advice}" if one.advice else "")) for one in found]
    body = {"home": str(home.path), "ok": not bad, "findings": [asdict(one) for one in found]}
    head, *lines = output.table(("", "what", "how"), rows)
    marked = [
        output.red(line, sys.stdout) if one.verdict in {Verdict.BAD, Verdict.RISK} else line
        for one, line in zip(found, lines, strict=True)
    ]
    output.data(session.output, body, [head, *marked])
    return ExitCode.UNAVAILABLE if bad else ExitCode.OK
