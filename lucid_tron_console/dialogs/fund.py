"""Play money from the devnet's faucet."""

from textual.app import ComposeResult

from lucid_tron_console.dialogs.base import Dialog
from lucid_tron_console.format import Line, Span, groups, line, money, short_txid
from lucid_tron_console.widgets.entry import Field
from services.kit.money import MoneyError, parse_units


class FundDialog(Dialog[str | None]):
    """Asks the devnet to send TRX to a wallet; gives the txid."""

    TITLE_WORDS = "FUND FROM THE FAUCET"
    SUBMIT_WORDS = "Fund"

    def __init__(self, name: str, address: str) -> None:
        super().__init__()
        self._wallet = name
        self._address = address

    def intro(self) -> list[Line]:
        """Who gets it."""
        return [
            line(Span("To      ", "dim"), self._wallet),
            line(Span("        ", "dim"), groups(self._address)),
            (),
        ]

    def fields(self) -> ComposeResult:
        """The amount."""
        yield Field("TRX", id="amount", value="1000", max_length=20, cells=20)

    def _amount_sun(self) -> int | None:
        try:
            return parse_units(self.value("amount")) or None
        except MoneyError:
            return None

    def locked(self) -> str:
        """Until it is an amount."""
        return "" if self._amount_sun() else "write an amount such as 1000"

    async def submit(self) -> None:
        """Ask the faucet."""
        amount_sun = self._amount_sun() or 0
        txid = await self.backend.faucet(self._address, amount_sun)
        self.dismiss(txid)
        self.lucid.say(f"the faucet sent {money(amount_sun)} in {short_txid(txid)}: wait for a block", "ok")
