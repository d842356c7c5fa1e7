"""Where secrets come from: a prompt, a private file, or a systemd credential; never an argument or the environment."""

import os
import stat
import sys
from pathlib import Path

import click

from services.kit.errors import Invalid

CREDENTIAL = "wallet-passphrase"
"""Name of the systemd credential (`LoadCredential=wallet-passphrase:…`) that opens a wallet."""

_MOST_BYTES = 4096


def read_secret_file(path: Path, field: str, *, by_systemd: bool = False) -> str:
    """Read the one line of a private file; its line end is not part of the secret.

    A credential made `by_systemd` may show group bits, which are the mask of its access list.

    Raises:
        Invalid: others may read the file, or it is no short text of one line.
    """
    if str(path) == "-":
        raise Invalid("a secret does not come from a pipe: name a file that only you can read", field=field)
    try:
        # A named pipe without a writer is not waited for.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise Invalid(f"{path} is no regular file", field=field)
            if info.st_mode & (stat.S_IRWXO if by_systemd else stat.S_IRWXO | stat.S_IRWXG):
                raise Invalid(f"{path} can be read by others: `chmod 600 {path}`", field=field)
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", field=field) from error
    try:
        text = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise Invalid(f"{path} is no UTF-8 text", field=field) from None
    if not text or "\n" in text or len(content) > _MOST_BYTES:
        raise Invalid(f"{path} must hold one line, which is the secret", field=field)
    return text


def passphrase(wallet: str, file: Path | None, *, new: bool = False) -> str:
    """Get the passphrase of a wallet: from `file`, from systemd, or from the person at the terminal (twice if `new`).

    Raises:
        Invalid: there is none of these.
    """
    found = passphrase_without_asking(file)
    if found is not None:
        return found
    if not sys.stdin.isatty():
        raise Invalid(
            f"no terminal to ask for the passphrase of {wallet}: give --passphrase-file FILE (mode 0600)",
            field="passphrase",
        )
    return ask(f"{'New passphrase' if new else 'Passphrase'} of {wallet}", twice=new)


def passphrase_without_asking(file: Path | None) -> str | None:
    """Get a passphrase from `file` or from systemd; None if there is neither."""
    if file is not None:
        return read_secret_file(file, "passphrase_file")
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(directory) / CREDENTIAL if directory else None
    if credential is None or not credential.exists():
        return None
    return read_secret_file(credential, CREDENTIAL, by_systemd=True)


def ask(words: str, *, twice: bool = False) -> str:
    """Ask the person at the terminal, without showing what is typed."""
    answer: str = click.prompt(words, hide_input=True, confirmation_prompt=twice, err=True)
    return answer
