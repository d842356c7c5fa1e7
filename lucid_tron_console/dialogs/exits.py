"""Where the last hop may be, and which relays are never used: the exit policy."""

import re

from textual.app import ComposeResult

from lucid_tron_console.dialogs.base import Dialog, paragraphs
from lucid_tron_console.format import Line, clean
from lucid_tron_console.widgets.entry import Field
from services.tor.api import ExitPolicy, Hop

_COUNTRY = re.compile(r"[a-z]{2}", re.ASCII)
_FINGERPRINT = re.compile(r"[0-9A-F]{40}", re.ASCII)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.replace(",", " ").replace("$", " ").split()))


def countries(text: str) -> tuple[str, ...]:
    """Read countries as people type them: `de nl`, `DE, NL`; nothing is none.

    Raises:
        ValueError: one of them is not two letters; says which.
    """
    found = _listed(text.lower())
    for word in found:
        if not _COUNTRY.fullmatch(word):
            raise ValueError(f"{clean(word, 12)!r} is no country: two letters each, as in de nl")
    return found


def relays(text: str) -> tuple[str, ...]:
    """Read fingerprints of relays, each 40 hex digits, with or without a `$`; nothing is none.

    Raises:
        ValueError: one of them is none; says which.
    """
    found = _listed(text.upper())
    for word in found:
        if not _FINGERPRINT.fullmatch(word):
            raise ValueError(f"{clean(word, 12)!r} is no fingerprint: 40 hex digits each")
    return found


class ExitsDialog(Dialog[bool | None]):
    """Asks for countries and relays, and for a typed word; gives True when the service took them."""

    TITLE_WORDS = "EXITS"
    SUBMIT_WORDS = "Choose"
    GUARDED = True

    def __init__(self, excluded: Hop | None = None) -> None:
        """Start with what holds now; `excluded` comes on top of the relays that are never used."""
        super().__init__()
        self._excluded = excluded

    def intro(self) -> list[Line]:
        """What it does, and what holds now."""
        policy = self.snapshot.tor.policy
        left = "" if policy is None or policy.exits_left is None else f" {policy.exits_left} of {policy.exits_total}"
        new = f" New among the relays: {clean(self._excluded.nickname, 40)}." if self._excluded else ""
        return [
            *paragraphs(
                max(40, self.cells - 4),
                "The last hop of every circuit is chosen only in these countries; the relays below are used nowhere in "
                "a circuit. Everybody moves to new circuits; what is in flight finishes on the old ones. Few "
                "countries make this node easier to recognise.",
                f"Exits that may be used now:{left or ' not known'}.{new}",
            ),
            (),
        ]

    def fields(self) -> ComposeResult:
        """The wishes, and the word."""
        policy = self.snapshot.tor.policy
        wanted = " ".join(policy.countries) if policy else ""
        excluded = " ".join(policy.excluded_countries) if policy else ""
        known = policy.excluded_nodes if policy else ()
        new = (self._excluded.fingerprint,) if self._excluded else ()
        never = " ".join(dict.fromkeys((*new, *known)))
        yield Field("Only in", id="wanted", value=wanted, max_length=200, cells=42)
        yield Field("Never in", id="excluded", value=excluded, max_length=200, cells=42)
        yield Field("Never these", id="relays", value=never, max_length=256 * 41, cells=42)
        yield Field("Type exits", id="word", max_length=20, cells=10)

    def focus_first(self) -> None:
        """A relay came along: only the word is missing."""
        if self._excluded is not None:
            self.set_focus(self.query_one("#word", Field).entry)
        else:
            super().focus_first()

    def _policy(self) -> ExitPolicy:
        """What was typed; raises ValueError with words for people."""
        wanted, excluded = countries(self.value("wanted")), countries(self.value("excluded"))
        if both := sorted(set(wanted) & set(excluded)):
            raise ValueError(f"{', '.join(both)} cannot be wanted and excluded")
        nodes = relays(self.value("relays"))
        if max(len(wanted), len(excluded)) > 64 or len(nodes) > 256:
            raise ValueError("at most 64 countries each, and 256 relays")
        return ExitPolicy(countries=wanted, excluded_countries=excluded, excluded_nodes=nodes)

    def locked(self) -> str:
        """Until everything can be read and the word matches."""
        if self.is_guarded:
            return "wait"
        try:
            self._policy()
        except ValueError as error:
            return str(error)
        return "" if self.value("word").strip() == "exits" else "type exits (all empty: any exit)"

    async def submit(self) -> None:
        """Tell the service."""
        await self.backend.set_exit_policy(self._policy())
        self.dismiss(True)
