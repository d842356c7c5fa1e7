"""`lucid-tron completion`: the script that teaches a shell our commands."""

import click
from click.shell_completion import get_completion_class

from lucid_tron_console.cli import PROGRAM, root
from lucid_tron_console.cli.framework import Command
from services.kit.errors import Invalid


@click.command(cls=Command, examples=["completion bash > ~/.local/share/bash-completion/completions/lucid-tron"])
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL (bash 4.4 or newer, zsh, fish)."""
    kind = get_completion_class(shell)
    if kind is None:
        raise Invalid(f"there is no completion for {shell}", field="shell")
    click.echo(kind(root, {}, PROGRAM, "_LUCID_TRON_COMPLETE").source())
