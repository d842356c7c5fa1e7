"""`lucid-tron`, and `python -m lucid_tron_console`."""

import sys

from lucid_tron_console import cli


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(cli.main())


if __name__ == "__main__":
    main()
