"""Unlocking a wallet: the passphrase and the lease."""

from pydantic import SecretStr
from textual.app import ComposeResult

from lucid_tron_console.dialogs.base import Dialog, paragraphs
from lucid_tron_console.format import Line, utc
from lucid_tron_console.widgets.entry import Field
from services.wallet.api import Unlock, Wallet

LEASE_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
"""Seconds of each unit that a lease may be written with."""


def parse_lease(text: str) -> int | None:
    """Read a lease such as 15m, 90s, 2h or 1d; None when it is none or longer than a week."""
    text = text.strip().lower()
    unit = LEASE_UNITS.get(text[-1:])
    digits = text[:-1]
    if unit is None or not (digits.isascii() and digits.isdigit()) or len(digits) > 6:
        return None
    seconds = int(digits) * unit
    return seconds if 1 <= seconds <= 7 * 86400 else None


class UnlockDialog(Dialog[Wallet | None]):
    """Opens one wallet for a while; gives the wallet when it is open."""

    TITLE_WORDS = "UNLOCK"
    SUBMIT_WORDS = "Unlock"

    def __init__(self, name: str) -> None:
        super().__init__()
        self._wallet = name

    def title_words(self) -> str:
        """With the wallet's name."""
        return f"UNLOCK {self._wallet}"

    def intro(self) -> list[Line]:
        """What a lease is."""
        return [
            *paragraphs(
                max(40, self.cells - 4),
                f"While {self._wallet} is unlocked, payouts from it are signed without asking again. It locks itself "
                "when the lease ends; L locks all wallets at once.",
            ),
            (),
        ]

    def fields(self) -> ComposeResult:
        """Passphrase and lease."""
        yield Field("Passphrase", id="passphrase", password=True, max_length=1024)
        yield Field("For how long", id="lease", value="15m", max_length=8, cells=8)

    def locked(self) -> str:
        """Until both are there."""
        if not self.value("passphrase"):
            return "type the passphrase"
        if parse_lease(self.value("lease")) is None:
            return "write the lease as 90s, 15m, 2h or 7d at most"
        return ""

    async def submit(self) -> None:
        """Ask the wallet service."""
        lease_s = parse_lease(self.value("lease")) or 900
        self.say("stretching the passphrase; this takes a moment")
        request = Unlock(passphrase=SecretStr(self.value("passphrase")), lease_s=lease_s)
        try:
            wallet = await self.backend.wallet.unlock(self._wallet, request)
        finally:
            self.query_one("#passphrase", Field).entry.value = ""
        self.dismiss(wallet)
        self.lucid.say(f"{wallet.name} is unlocked until {utc(wallet.unlocked_until)}", "ok")
