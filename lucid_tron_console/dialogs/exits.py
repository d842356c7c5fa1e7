"""Where the last hop may be: the exit policy by country."""

import re

from textual.app import ComposeResult

from lucid_tron_console.dialogs.base import Dialog, paragraphs
from lucid_tron_console.format import Line, clean
from lucid_tron_console.widgets.entry import Field
from services.tor.api import ExitPolicy

_COUNTRY = re.compile(r"[a-z]{2}", re.ASCII)


def countries(text: str) -> tuple[str, ...]:
    """Read countries as people type them: `de nl`, `DE, NL`; nothing is none.

    Raises:
        ValueError: one of them is not two letters; says which.
    """
    found = tuple(dict.fromkeys(text.lower().replace(",", " ").split()))
    for word in found:
        if not _COUNTRY.fullmatch(word):
            raise ValueError(f"{clean(word, 12)!r} is no country: two letters each, as in de nl")
    return found


class ExitCountriesDialog(Dialog[bool | None]):
    """Asks for countries, and for a typed word; gives True when the service took them."""

    TITLE_WORDS = "EXIT COUNTRIES"
    SUBMIT_WORDS = "Choose"
    GUARDED = True

    def intro(self) -> list[Line]:
        """What it does, and what holds now."""
        policy = self.snapshot.tor.policy
        left = "" if policy is None or policy.exits_left is None else f" {policy.exits_left} of {policy.exits_total}"
        kept = len(policy.excluded_nodes) if policy else 0
        return [
            *paragraphs(
                max(40, self.cells - 4),
                "The last hop of every circuit is chosen only in these countries. Everybody moves to new circuits; "
                "what is in flight finishes on the old ones. Few countries make this node easier to recognise.",
                f"Exits that may be used now:{left or ' not known'}."
                + (f" {kept} excluded relays stay excluded." if kept else ""),
            ),
            (),
        ]

    def fields(self) -> ComposeResult:
        """The wishes, and the word."""
        policy = self.snapshot.tor.policy
        wanted = " ".join(policy.countries) if policy else ""
        excluded = " ".join(policy.excluded_countries) if policy else ""
        yield Field("Only in", id="wanted", value=wanted, max_length=200, cells=34)
        yield Field("Never in", id="excluded", value=excluded, max_length=200, cells=34)
        yield Field("Type exits", id="word", max_length=20, cells=10)

    def locked(self) -> str:
        """Until both are countries and the word matches."""
        if self.is_guarded:
            return "wait"
        try:
            both = set(countries(self.value("wanted"))) & set(countries(self.value("excluded")))
        except ValueError as error:
            return str(error)
        if both:
            return f"{', '.join(sorted(both))} cannot be wanted and excluded"
        return "" if self.value("word").strip() == "exits" else "type exits (empty fields: any exit)"

    async def submit(self) -> None:
        """Tell the service; relays that are excluded one by one stay so."""
        policy = self.snapshot.tor.policy
        await self.backend.set_exit_policy(
            ExitPolicy(
                countries=countries(self.value("wanted")),
                excluded_countries=countries(self.value("excluded")),
                excluded_nodes=policy.excluded_nodes if policy else (),
            )
        )
        self.dismiss(True)
