"""`lucid-tron wallets`, `freeze` and `unfreeze`: keys and the signer."""

import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import SecretStr

from lucid_tron_console import output
from lucid_tron_console.cli.framework import SECRET_FILE, WALLET, Command, Duration, Group, Session, pass_session
from lucid_tron_console.cli.requests import build
from lucid_tron_console.secret_input import ask, passphrase, read_secret_file
from services.kit.errors import Invalid, LucidError
from services.kit.money import format_money, format_units
from services.tron.api import Account
from services.tron.client import TronClient
from services.wallet.api import (
    CreateWallet,
    Freeze,
    ImportWallet,
    ShowWords,
    Signer,
    Unlock,
    Wallet,
    WatchWallet,
)
from services.wallet.client import WalletClient

T = TypeVar("T")

PASSPHRASE_FILE = click.option(
    "--passphrase-file", type=SECRET_FILE, metavar="FILE", help="Read it from FILE (mode 0600) instead of asking."
)
WORDS_FILE = click.option(
    "--words-file", type=SECRET_FILE, metavar="FILE", help="Write the recovery words to a new FILE (mode 0600)."
)


def ask_wallet(session: Session, work: Callable[[WalletClient], Awaitable[T]]) -> T:
    """Do one thing with the wallet service of the session's node."""
    return session.ask(WalletClient, "wallet", work)


@click.group(cls=Group)
def wallets() -> None:
    """Create, import, unlock and show wallets."""


@wallets.command("create", examples=["wallets create hot", "wallets create hot --passphrase-file p --words-file w"])
@click.argument("name")
@PASSPHRASE_FILE
@WORDS_FILE
@click.option("--words", "count", type=click.Choice(["12", "24"]), default="12", show_default=True)
@pass_session
def create(session: Session, name: str, passphrase_file: Path | None, words_file: Path | None, count: str) -> None:
    """Make the wallet NAME from fresh recovery words, sealed with a passphrase.

    The words go to --words-file, or to the terminal (stderr). Write them down: whoever has them has the money.
    """
    secret = passphrase(name, passphrase_file, new=True)
    request = build(CreateWallet, name=name, passphrase=SecretStr(secret), word_count=int(count))
    with _words_file(words_file) as write:
        created = ask_wallet(session, lambda client: client.create(request))
        if words_file is not None:
            write(created.words)
    if words_file is None and sys.stderr.isatty():
        _show_words(created.words)
    elif words_file is None:
        again = session.home().command(f"wallets words {name}")
        session.note(f"the recovery words of {name} were not printed: `{again}` shows them")
    _print_wallet(session, created.wallet)


@wallets.command("import", examples=["wallets import hot --secret-file words.txt"])
@click.argument("name")
@click.option("--format", "form", type=click.Choice(["words", "private_key"]), default="words", show_default=True)
@click.option("--secret-file", type=SECRET_FILE, metavar="FILE", help="The words or the key, in FILE (mode 0600).")
@PASSPHRASE_FILE
@pass_session
def import_(session: Session, name: str, form: str, secret_file: Path | None, passphrase_file: Path | None) -> None:
    """Bring a key along as the wallet NAME: recovery words, or a private key as 64 hex characters."""
    if secret_file is not None:
        secret = read_secret_file(secret_file, "secret_file")
    elif sys.stdin.isatty():
        secret = ask("Recovery words" if form == "words" else "Private key")
    else:
        raise Invalid("no terminal to ask for the key: give --secret-file FILE (mode 0600)", field="secret")
    sealed = passphrase(name, passphrase_file, new=True)
    request = build(
        ImportWallet, name=name, passphrase=SecretStr(sealed), format=form, secret=SecretStr(" ".join(secret.split()))
    )
    _print_wallet(session, ask_wallet(session, lambda client: client.import_(request)))


@wallets.command("watch", examples=["wallets watch vault T..."])
@click.argument("name")
@click.argument("address")
@pass_session
def watch(session: Session, name: str, address: str) -> None:
    """Watch ADDRESS as the cold wallet NAME; its key is elsewhere."""
    request = build(WatchWallet, name=name, address=address)
    _print_wallet(session, ask_wallet(session, lambda client: client.watch(request)))


@wallets.command("list", examples=["wallets list -o json"])
@pass_session
def list_(session: Session) -> None:
    """List all wallets of the node."""
    found = ask_wallet(session, lambda client: client.list())
    rows = [(one.name, one.kind, one.state, output.utc(one.unlocked_until), one.address) for one in found.items]
    headers = ("name", "kind", "state", "unlocked until", "address")
    output.data(session.output, found.model_dump(mode="json"), output.table(headers, rows))


@wallets.command("show", examples=["wallets show hot -o json"])
@click.argument("name", type=WALLET)
@pass_session
def show(session: Session, name: str) -> None:
    """Show the wallet NAME, with its balance if the chain can be asked."""
    wallet = ask_wallet(session, lambda client: client.get(name))
    try:
        account = session.ask(TronClient, "tron", lambda client: client.account(wallet.address))
    except LucidError as error:
        session.note(f"its balance is not known now: {output.clean(error.message)}")
        account = None
    _print_wallet(session, wallet, account)


@wallets.command("unlock", examples=["wallets unlock hot --lease 1h"])
@click.argument("name", type=WALLET)
@click.option("--lease", type=Duration(), default="15m", show_default=True, help="Until it locks itself again.")
@PASSPHRASE_FILE
@pass_session
def unlock(session: Session, name: str, lease: int, passphrase_file: Path | None) -> None:
    """Let the wallet NAME sign for a while."""
    ask_wallet(session, lambda client: client.get(name))
    request = build(Unlock, passphrase=SecretStr(passphrase(name, passphrase_file)), lease_s=lease)
    _print_wallet(session, ask_wallet(session, lambda client: client.unlock(name, request)))


@wallets.command("lock", examples=["wallets lock hot", "wallets lock --all"])
@click.argument("name", type=WALLET, required=False)
@click.option("--all", "everything", is_flag=True, help="Lock every wallet.")
@pass_session
def lock(session: Session, name: str | None, everything: bool) -> None:
    """Lock the wallet NAME, or all of them: they sign nothing until they are unlocked."""
    if everything == (name is not None):
        raise click.UsageError("name a wallet, or say --all")
    if name is None:
        _print_signer(session, ask_wallet(session, lambda client: client.lock_all()))
    else:
        _print_wallet(session, ask_wallet(session, lambda client: client.lock(name)))


@wallets.command("words", examples=["wallets words hot --words-file hot.words"])
@click.argument("name", type=WALLET)
@PASSPHRASE_FILE
@WORDS_FILE
@pass_session
def words(session: Session, name: str, passphrase_file: Path | None, words_file: Path | None) -> None:
    """Show the recovery words of the wallet NAME again: on stdout, or in a new file."""
    request = build(ShowWords, passphrase=SecretStr(passphrase(name, passphrase_file)))
    with _words_file(words_file) as write:
        found = ask_wallet(session, lambda client: client.words(name, request)).words
        if words_file is not None:
            write(found)
    if words_file is not None:
        output.data(session.output, {"name": name, "words_file": str(words_file)}, [f"written to {words_file}"])
    else:
        output.data(session.output, {"name": name, "words": list(found)}, [" ".join(found)])


@click.command(cls=Command, examples=['freeze --reason "laptop stolen"'])
@click.option("--reason", required=True, help="Shown to everybody who finds the signer frozen.")
@pass_session
def freeze(session: Session, reason: str) -> None:
    """Stop all signing at once; what was signed before may still be paid."""
    request = build(Freeze, reason=reason)
    _print_signer(session, ask_wallet(session, lambda client: client.freeze(request)))


@click.command(cls=Command, examples=["unfreeze"])
@pass_session
def unfreeze(session: Session) -> None:
    """Let the signer sign again; wallets stay as locked as they are."""
    _print_signer(session, ask_wallet(session, lambda client: client.unfreeze()))


def _print_wallet(session: Session, wallet: Wallet, account: Account | None = None) -> None:
    body: dict[str, Any] = wallet.model_dump(mode="json")
    if account is not None:
        body |= {
            "activated": account.activated,
            "balance_sun": account.balance_sun,
            "balance_text": format_units(account.balance_sun),
            "balance_read_at": account.model_dump(mode="json")["read_at"],
        }
    lines = output.facts(
        [
            ("name", wallet.name),
            ("address", wallet.address),
            ("kind", wallet.kind),
            ("state", wallet.state),
            ("network", wallet.network),
            ("unlocked until", output.utc(wallet.unlocked_until)),
            ("balance", f"{format_money(account.balance_sun)} TRX" if account else None),
        ]
    )
    output.data(session.output, body, lines)


def _print_signer(session: Session, signer: Signer) -> None:
    lines = output.facts(
        [
            ("network", signer.network),
            ("signing", f"frozen: {signer.frozen_reason}" if signer.frozen else "possible"),
            ("frozen by", signer.frozen_by),
            ("unlocked", signer.unlocked),
        ]
    )
    output.data(session.output, signer.model_dump(mode="json"), lines)


def _show_words(found: Sequence[str]) -> None:
    output.note("text", "recovery words: write them down, and keep them from everybody")
    for start in range(0, len(found), 4):
        row = "".join(f"{start + offset + 1:>3} {word:<10}" for offset, word in enumerate(found[start : start + 4]))
        output.note("text", row.rstrip())


@contextmanager
def _words_file(path: Path | None) -> Iterator[Callable[[Sequence[str]], None]]:
    """Make the file before the wallet, so that words are never left without a place; take it away if nothing came.

    Raises:
        Invalid: the file exists already, or cannot be made.
    """
    if path is None:
        yield lambda _: None
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise Invalid(f"{path} exists: it is not overwritten, name a new file", field="words_file") from error
    except OSError as error:
        raise Invalid(f"{path} cannot be made: {error.strerror}", field="words_file") from error
    written = False

    def write(found: Sequence[str]) -> None:
        nonlocal written
        os.write(fd, (" ".join(found) + "\n").encode())
        os.fsync(fd)
        written = True

    try:
        yield write
    finally:
        os.close(fd)
        if not written:
            path.unlink(missing_ok=True)
