"""What every command has: `--home`, `-o`, examples in its help, and groups that import a command when it is used."""

import asyncio
import importlib
import os
import re
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from click.shell_completion import CompletionItem

from lucid_tron_console import output
from lucid_tron_console.home import Home, default_home
from lucid_tron_console.output import Format
from lucid_tron_console.probe import listens
from services.kit.errors import NotFound, Unavailable
from services.kit.money import MoneyError, parse_units

T = TypeVar("T")
C = TypeVar("C")

_DURATION = re.compile(r"(\d{1,7})([smhd]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass
class Session:
    """What was said on the command line for all commands."""

    home_option: Path | None = None
    output: Format = "text"

    def home(self, default: Path | None = None) -> Home:
        """The home that was chosen: `--home`, else `default`, else the usual one."""
        if self.home_option is None:
            return Home.at(default or default_home())
        said = Home.at(self.home_option)
        named = os.environ.get("LUCID_HOME")
        # LUCID_RUN_DIR speaks of the sockets of LUCID_HOME, and of no other home's.
        return said if named and Home.at(Path(named)).path == said.path else Home.at(said.path, said.path / "run")

    def note(self, words: str) -> None:
        """Say something to the person, on stderr."""
        output.note(self.output, words)

    def alarm(self, words: str) -> None:
        """Say something on stderr that must not be overlooked."""
        output.alarm(self.output, words)

    def ask(
        self,
        connect: Callable[[Path], AbstractAsyncContextManager[C]],
        service: str,
        work: Callable[[C], Awaitable[T]],
    ) -> T:
        """Do one thing with one service of the node, over the client that `connect` makes.

        Raises:
            Unavailable: the node of this home is not running, or the service does not answer.
        """

        async def go() -> T:
            async with connect(self.home().socket(service)) as client:
                return await work(client)

        return self.run(go)

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run what talks to the services; when none answers because no node runs, say that instead.

        Raises:
            Unavailable: the node of this home is not running, or one of its services does not answer.
        """
        try:
            return asyncio.run(work())
        except Unavailable as error:
            home = self.home()
            if home.holder() is None and not any(listens(path) for path in home.run_dir.glob("*/*.sock")):
                raise home.not_running() from error
            raise


pass_session = click.make_pass_decorator(Session, ensure=True)


class _HomePath(click.Path):
    """A directory that is named: an empty shell variable must not turn the working directory into a home."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Take any path but the empty one."""
        if not str(value):
            self.fail("it is empty: name a directory", param, ctx)
        return super().convert(value, param, ctx)


def _set_home(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.ensure_object(Session).home_option = value


def _set_output(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Session).output = cast("Format", value)


def _common_options() -> list[click.Option]:
    """The options that stand behind any command as well as before it."""
    return [
        click.Option(
            ["--home"],
            type=_HomePath(path_type=Path),
            callback=_set_home,
            expose_value=False,
            is_eager=True,
            metavar="DIR",
            help="The node's home (default: LUCID_HOME, else lucid-tron in the XDG state directory).",
        ),
        click.Option(
            ["-o", "--output"],
            type=click.Choice(["text", "json"]),
            callback=_set_output,
            expose_value=False,
            is_eager=True,
            help="Print text for people (default) or JSON for programs.",
        ),
    ]


class Command(click.Command):
    """A command with the common options and with examples."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _common_options()
        self.examples = tuple(examples)
        """Command lines for the help, without `lucid-tron`."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, line by line."""
        write_examples(formatter, self.examples)
        super().format_epilog(ctx, formatter)


def write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    """Write examples as they are typed: never folded, so that they can be copied."""
    if examples:
        formatter.write_paragraph()
        formatter.write_heading("Examples")
        for example in examples:
            formatter.write(f"  lucid-tron {example}\n")


class Group(click.Group):
    """A group whose commands are ours."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _common_options()

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names in the order in which they are written: the first is needed first."""
        return list(self.commands)


@dataclass(frozen=True, slots=True)
class Lazy:
    """Where a command is, and what the overview says of it."""

    module: str
    attribute: str
    help: str


class LazyGroup(Group):
    """A group that imports a command only when it is used: `lucid-tron status` must not wait for Textual."""

    def __init__(self, *args: Any, lazy: dict[str, Lazy], examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy
        self._examples = examples

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names in the order of the table: the way to a first payout."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        lazy = self._lazy.get(cmd_name)
        return getattr(importlib.import_module(lazy.module), lazy.attribute) if lazy else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the overview without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in self._lazy.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, then the epilog."""
        write_examples(formatter, self._examples)
        super().format_epilog(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names without importing anything."""
        names = [
            CompletionItem(name, help=lazy.help) for name, lazy in self._lazy.items() if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)


class Duration(click.ParamType[int]):
    """Seconds, written as 90, 90s, 15m, 2h or 1d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Turn the text into seconds."""
        if isinstance(value, int):
            return value
        match = _DURATION.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{value!r} is no duration: write seconds, or 90s, 15m, 2h, 1d", param, ctx)
        return int(match[1]) * _SECONDS[match[2]]


class Money(click.ParamType[int]):
    """A decimal amount, turned into smallest units at once: no float is ever made of it."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Turn the text into smallest units of an asset with six decimals."""
        if isinstance(value, int):
            return value
        try:
            return parse_units(str(value))
        except MoneyError as error:
            self.fail(str(error), param, ctx)


SECRET_FILE = click.Path(path_type=Path, dir_okay=False)
"""A path whose file is opened by `secret_input`, which looks at its mode."""


class Word(click.ParamType[str]):
    """The name of a thing that must be there: what can be no name of any is not asked for."""

    def __init__(self, name: str, pattern: str, like: str) -> None:
        self.name = name
        self._pattern = re.compile(pattern)
        self._like = like

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Take the text as it is.

        Raises:
            NotFound: nothing can have that name.
        """
        if not self._pattern.fullmatch(str(value)):
            raise NotFound(f"there is no {self.name} {value!r}: {self._like}")
        return str(value)


WALLET = Word("wallet", r"[a-z0-9][a-z0-9-]{0,31}", "names are up to 32 lower-case letters, digits and dashes")
PAYOUT = Word("payout", r"([Pp]-)?[0-9]{1,18}", "ids look like P-12")


def new_key() -> str:
    """Make an idempotency key."""
    return str(uuid.uuid4())
