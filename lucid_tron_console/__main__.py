"""`lucid-tron`, and `python -m lucid_tron_console`."""

import os
import sys

from lucid_tron_console import cli


def main() -> None:
    """Run the command line and leave with its exit code."""
    _open_closed_streams()
    sys.exit(cli.main())


def _open_closed_streams() -> None:
    """Give a closed stdin, stdout or stderr to /dev/null: else the next file opened, such as a key, would be it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The lowest free number is the closed one, as they are gone through in order.
            number = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


if __name__ == "__main__":
    main()
