"""New wallets: created with recovery words, imported, or watched."""

import re
import secrets
from collections.abc import Sequence
from typing import TypeVar

from pydantic import SecretStr
from textual.app import ComposeResult

from lucid_tron_console.dialogs.base import Dialog, paragraphs
from lucid_tron_console.format import Line, Span, columns, groups, line
from lucid_tron_console.widgets.entry import Field
from lucid_tron_console.widgets.lines import Lines
from services.tron.api import AddressCheck
from services.wallet.api import CreatedWallet, CreateWallet, ImportWallet, Wallet, WatchWallet

R = TypeVar("R")

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)

SHORTEST_PASSPHRASE = 8
"""Characters below which the console asks for more; the wallet service has the last word."""


def name_fault(name: str, taken: Sequence[str]) -> str:
    """Why a name cannot be a new wallet's; empty when it can."""
    if not name:
        return "give it a name"
    if not _NAME.fullmatch(name):
        return "name: lower-case letters, digits and hyphens, 32 at most"
    return f"the name {name} is taken" if name in taken else ""


def passphrase_fault(first: str, second: str) -> str:
    """Why a passphrase cannot be taken; empty when it can."""
    if len(first) < SHORTEST_PASSPHRASE:
        return f"passphrase: {SHORTEST_PASSPHRASE} characters or more"
    return "" if first == second else "the two passphrases differ"


class _NewWalletDialog(Dialog[R]):
    """What the three have in common."""

    def taken(self) -> list[str]:
        """Names that are in use."""
        return [wallet.name for wallet in self.snapshot.wallets or ()]

    def forget(self) -> None:
        """Empty the fields that hold secrets."""
        for field in self.query(Field):
            if field.entry.password:
                field.entry.value = ""


class CreateWalletDialog(_NewWalletDialog[CreatedWallet | None]):
    """Makes a key; gives the wallet and its words, which are then shown once."""

    TITLE_WORDS = "NEW WALLET"
    SUBMIT_WORDS = "Create"

    def intro(self) -> list[Line]:
        """What will happen."""
        return [
            *paragraphs(
                max(40, self.cells - 4),
                "A new key is made on this machine and sealed with the passphrase. Then twelve recovery words are "
                "shown, once: have paper at hand.",
            ),
            (),
        ]

    def fields(self) -> ComposeResult:
        """Name and passphrase, twice."""
        yield Field("Name", id="name", max_length=32, cells=34)
        yield Field("Passphrase", id="passphrase", password=True, max_length=1024)
        yield Field("Once more", id="again", password=True, max_length=1024)

    def locked(self) -> str:
        """Until the name is free and the passphrases match."""
        return name_fault(self.value("name"), self.taken()) or passphrase_fault(
            self.value("passphrase"), self.value("again")
        )

    async def submit(self) -> None:
        """Ask the wallet service."""
        self.say("making the key and stretching the passphrase; this takes a moment")
        request = CreateWallet(name=self.value("name"), passphrase=SecretStr(self.value("passphrase")))
        created = await self.backend.wallet.create(request)
        self.forget()
        self.dismiss(created)


class WordsDialog(Dialog[Wallet | None]):
    """Shows the recovery words of a new wallet once, and has two of them typed."""

    TITLE_WORDS = "RECOVERY WORDS"
    SUBMIT_WORDS = "I wrote them down"
    GUARDED = True

    def __init__(self, created: CreatedWallet) -> None:
        super().__init__()
        self._wallet = created.wallet
        self._words: tuple[str, ...] = created.words
        self._asked = tuple(sorted(secrets.SystemRandom().sample(range(len(created.words)), 2)))

    def title_words(self) -> str:
        """With the wallet's name."""
        return f"RECOVERY WORDS of {self._wallet.name}"

    def intro(self) -> list[Line]:
        """The words, in four columns."""
        per_row = 4
        rows: list[Line] = [
            *paragraphs(
                max(40, self.cells - 4),
                "Whoever has these words has the money. Write them on paper, in this order. They are not shown again "
                "on this screen.",
            ),
            (),
        ]
        for start in range(0, len(self._words), per_row):
            cells: list[tuple[str | Span, int]] = []
            for at, word in enumerate(self._words[start : start + per_row], start=start + 1):
                cells += [(Span(f"{at}", "dim"), -3), (Span(word, "strong"), 12)]
            rows.append(columns(cells))
        return [*rows, (), line(Span("Address  ", "dim"), groups(self._wallet.address)), ()]

    def fields(self) -> ComposeResult:
        """Two of the words."""
        for number, at in enumerate(self._asked, start=1):
            yield Field(f"Word {at + 1}", id=f"word{number}", max_length=12, cells=14)

    def locked(self) -> str:
        """Until both words are right."""
        if self.is_guarded:
            return "wait"
        for number, at in enumerate(self._asked, start=1):
            if self.value(f"word{number}").strip().lower() != self._words[at]:
                return f"type word {at + 1}"
        return ""

    def command_leave(self, _argument: str) -> None:
        """Not before the words were typed: this is the only time that they are seen."""
        self.say(
            f"type words {self._asked[0] + 1} and {self._asked[1] + 1} first; without the words a lost disk is "
            "lost money",
            "warn",
        )

    async def submit(self) -> None:
        """Forget the words."""
        self._words = ()
        self.query_one("#intro", Lines).show(())
        wallet = self._wallet
        self.dismiss(wallet)
        self.lucid.say(f"wallet {wallet.name} is ready; u unlocks it", "ok")

    def paint(self) -> None:
        """Show nothing any more once they were written down."""
        if self._words:
            super().paint()


class ImportWalletDialog(_NewWalletDialog[Wallet | None]):
    """Takes recovery words or a private key."""

    TITLE_WORDS = "IMPORT A WALLET"
    SUBMIT_WORDS = "Import"

    def intro(self) -> list[Line]:
        """What can be brought along."""
        return [
            *paragraphs(
                max(40, self.cells - 4),
                "Recovery words (12 or 24, separated by spaces) or a private key of 64 hex characters. It is hidden "
                "while you type, and sealed with the passphrase.",
            ),
            (),
        ]

    def fields(self) -> ComposeResult:
        """Name, secret, passphrase twice."""
        yield Field("Name", id="name", max_length=32, cells=34)
        yield Field("Words or key", id="secret", password=True, max_length=400)
        yield Field("Passphrase", id="passphrase", password=True, max_length=1024)
        yield Field("Once more", id="again", password=True, max_length=1024)

    def locked(self) -> str:
        """Until everything is there."""
        return (
            name_fault(self.value("name"), self.taken())
            or ("" if self.value("secret").strip() else "give the words or the key")
            or passphrase_fault(self.value("passphrase"), self.value("again"))
        )

    async def submit(self) -> None:
        """Ask the wallet service."""
        secret = " ".join(self.value("secret").split())
        self.say("stretching the passphrase; this takes a moment")
        request = ImportWallet(
            name=self.value("name"),
            passphrase=SecretStr(self.value("passphrase")),
            format="words" if " " in secret else "private_key",
            secret=SecretStr(secret),
        )
        wallet = await self.backend.wallet.import_(request)
        self.forget()
        self.dismiss(wallet)
        self.lucid.say(f"wallet {wallet.name} is imported; u unlocks it", "ok")


class WatchWalletDialog(_NewWalletDialog[Wallet | None]):
    """Watches an address whose key is elsewhere."""

    TITLE_WORDS = "WATCH AN ADDRESS"
    SUBMIT_WORDS = "Watch"

    def __init__(self) -> None:
        super().__init__()
        self._check: tuple[str, AddressCheck] | None = None

    def intro(self) -> list[Line]:
        """What watching means, and what is known of the address."""
        rows = [
            *paragraphs(
                max(40, self.cells - 4),
                "This node will show the balance and history of the address. It cannot pay from it.",
            ),
            (),
        ]
        if self._check and self._check[0] == self.value("address").strip():
            check = self._check[1]
            words = groups(check.base58 or "") if check.valid else check.reason
            rows += [line(Span(words, "ok" if check.valid else "bad")), ()]
        return rows

    def fields(self) -> ComposeResult:
        """Name and address."""
        yield Field("Name", id="name", max_length=32, cells=34)
        yield Field("Address", id="address", max_length=64, cells=44)

    def locked(self) -> str:
        """Until both are there."""
        return name_fault(self.value("name"), self.taken()) or (
            "" if self.value("address").strip() else "give the address"
        )

    async def submit(self) -> None:
        """Check the address, then ask the wallet service."""
        text = self.value("address").strip()
        check = await self.backend.tron.validate(text)
        self._check = (text, check)
        if not check.valid or check.base58 is None:
            self.say(f"not an address: {check.reason}", "bad")
            return
        wallet = await self.backend.wallet.watch(WatchWallet(name=self.value("name"), address=check.base58))
        self.dismiss(wallet)
        self.lucid.say(f"{wallet.name} is watched", "ok")
