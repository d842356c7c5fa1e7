"""The command line `lucid-tron`: everything that the console does, for scripts and for people without a terminal UI."""

import importlib.metadata
import os
import sys
from collections.abc import Sequence

import click
from click.exceptions import NoArgsIsHelpError

from lucid_tron_console import exit_codes, output
from lucid_tron_console.cli.framework import Lazy, LazyGroup, Session
from lucid_tron_console.exit_codes import ExitCode
from services.kit.errors import BadRequest, Internal, LucidError

PROGRAM = "lucid-tron"

_HERE = "lucid_tron_console.cli"

COMMANDS = {
    "console": Lazy(f"{_HERE}.console", "console", "Open the console (what a bare lucid-tron does)."),
    "demo": Lazy(f"{_HERE}.console", "demo", "Start a node on the embedded devnet and open the console on it."),
    "up": Lazy(f"{_HERE}.node", "up", "Start the node of a home."),
    "down": Lazy(f"{_HERE}.node", "down", "Stop the node, and wait until it is gone."),
    "serve": Lazy(f"{_HERE}.node", "serve", "Be one daemon, or several (for systemd and compose)."),
    "status": Lazy(f"{_HERE}.node", "status", "Show the node, its services and the chain."),
    "wallets": Lazy(f"{_HERE}.wallets", "wallets", "Create, import, unlock and show wallets."),
    "payouts": Lazy(f"{_HERE}.payouts", "payouts", "Create, list, watch, cancel and retry payouts."),
    "tx": Lazy(f"{_HERE}.tx", "tx", "Show transactions, receipts and histories."),
    "freeze": Lazy(f"{_HERE}.wallets", "freeze", "Stop all signing at once."),
    "unfreeze": Lazy(f"{_HERE}.wallets", "unfreeze", "Let the signer sign again."),
    "tor": Lazy(f"{_HERE}.tor", "tor", "Circuits, streams, new identities, onions, and the leak test."),
    "devnet": Lazy(
        f"{_HERE}.devnet", "devnet", "Play money, blocks, forks, snapshots and faults of the embedded devnet."
    ),
    "doctor": Lazy(f"{_HERE}.doctor", "doctor", "Look at everything that a node needs, and say what to do."),
    "config": Lazy(f"{_HERE}.config", "config", "Show or check the settings."),
    "completion": Lazy(f"{_HERE}.completion", "completion", "Print the completion script of a shell."),
}
"""Every command, in the order of the overview."""

EXAMPLES = (
    "up --network devnet --detach",
    "wallets create hot --passphrase-file ~/hot.pass",
    "devnet faucet hot --trx 1000",
    "payouts create --from hot --to T... --asset TRX --amount 12.5 --key rent-11 --wait paid -o json",
    "console payouts/P-1",
)


def _epilog() -> str:
    codes = "\n".join(f"  {code:>3}  {words}" for code, words in exit_codes.MEANINGS.items())
    return f"\b\nExit codes:\n{codes}"


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    examples=EXAMPLES,
    invoke_without_command=True,
    epilog=_epilog(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(importlib.metadata.version("lucid-tron-console"), prog_name=PROGRAM)
@click.pass_context
def root(ctx: click.Context) -> int | None:
    """Operate a TRON payments node.

    Without a command it opens the console. Data goes to stdout, everything else to stderr; with `-o json`, before or
    behind any command, stdout is one JSON document, and so is each line of stderr. Passphrases come from a prompt,
    from --passphrase-file or from systemd, never from an argument or the environment.
    """
    ctx.ensure_object(Session)
    command = root.get_command(ctx, "console") if ctx.invoked_subcommand is None else None
    return ctx.invoke(command) if command is not None else None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; every error becomes words on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    session = Session()
    try:
        code = root.main(arguments, prog_name=PROGRAM, standalone_mode=False, obj=session)
        return code if isinstance(code, int) else ExitCode.OK
    except NoArgsIsHelpError as error:
        return _no_command(error, wants_json(arguments))
    except click.UsageError as error:
        return _usage(error, wants_json(arguments))
    except LucidError as error:
        output.problem(session.output, error)
        return exit_codes.of(error)
    except (click.Abort, KeyboardInterrupt):
        output.note(session.output, "interrupted")
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        output.problem(session.output, BadRequest(error.format_message()))
        return ExitCode.USAGE
    except BrokenPipeError:
        # The reader of our output is gone; what was done is done.
        output.silence_stdout()
        return ExitCode.OK
    except Exception as error:
        output.problem(session.output, Internal(f"this is a defect of ours: {type(error).__name__}: {error}"))
        if os.environ.get("LUCID_LOG_LEVEL") == "debug":
            raise
        return ExitCode.FAILURE


def _no_command(error: NoArgsIsHelpError, as_json: bool) -> int:
    """A group without one of its commands: its help, where help that nobody asked for belongs."""
    if as_json:
        words = f"say which one: `{error.ctx.command_path} --help` lists the commands"
        output.problem("json", BadRequest(words))
    else:
        output.note("text", error.format_message())
    return ExitCode.USAGE


def _usage(error: click.UsageError, as_json: bool) -> int:
    if as_json:
        output.problem("json", BadRequest(error.format_message()))
        return ExitCode.USAGE
    if error.ctx is not None:
        output.note("text", error.ctx.get_usage())
        output.note("text", f"Try '{error.ctx.command_path} --help' for help.\n")
    output.problem("text", BadRequest(error.format_message()))
    return ExitCode.USAGE


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line that could not be parsed asks for JSON."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return any(
        one in {"-ojson", "--output=json"} or (one in {"-o", "--output"} and following == "json")
        for one, following in pairs
    )
