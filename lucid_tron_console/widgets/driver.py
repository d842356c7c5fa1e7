"""The wire to the terminal: only the escape sequences that the console needs get through."""

import base64
import re

from textual.drivers.linux_driver import LinuxDriver

ALLOWED = re.compile(
    r"\x1b\[[0-9;]*[mHJKABCD]"  # colours, and where the cursor goes
    r"|\x1b\[\?[0-9;]+[hl]"  # modes: alternate screen, cursor, paste, focus, synchronised output, line wrap
    r"|\x1b\[\?[0-9]+\$p"  # the question which modes there are
    r"|\x1b\[[<>][0-9]*u"  # the kitty keyboard protocol
)
"""Everything that Textual 8.2.8 sends to draw and to read keys. No OSC: no titles, no links, no pointer shapes."""

UNWANTED = re.compile(ALLOWED.pattern + r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def gate(data: str) -> str:
    """Take out every control character and sequence that is not allowed."""
    return UNWANTED.sub(lambda found: found[0] if ALLOWED.fullmatch(found[0]) else "", data)


class GatedDriver(LinuxDriver):
    """Textual's driver behind the gate."""

    def write(self, data: str) -> None:
        """Write what may pass."""
        super().write(gate(data))

    def offer_to_clipboard(self, text: str) -> None:
        """Offer a text to the terminal's clipboard (OSC 52); it may refuse, and does not say."""
        super().write(f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\x07")
        self.flush()
