"""The console's baseline on a terminal: a list of twenty rows, as one builds it with urwid."""

from typing import Any

import urwid


class Row(urwid.Text):  # type: ignore[misc,unused-ignore]
    """A row that can be chosen."""

    _selectable = True

    def keypress(self, _size: Any, key: str) -> str:
        """Leave every key to the list."""
        return key


def main() -> None:
    """Show the list until it is ended."""
    rows = [
        urwid.AttrMap(
            Row(f" w{number:02}   TJCnKsPa7y5okkXvQAidZBzqx3QyQ6sxMW   hot   locked   0.00 TRX"), None, "chosen"
        )
        for number in range(20)
    ]
    frame = urwid.Frame(
        urwid.LineBox(urwid.ListBox(urwid.SimpleFocusListWalker(rows)), title="Wallets (20)"),
        header=urwid.Text(" pinode  DEVNET  chain OK  signer OK  payout OK"),
        footer=urwid.Text(" c create  i import  n new payout  ? help  q quit"),
    )
    urwid.MainLoop(frame, [("chosen", "standout", "")]).run()


if __name__ == "__main__":
    main()
