"""The passphrase that opens wallets unattended: one file that nobody else may read."""

import os
import stat
from pathlib import Path

from services.kit.errors import Unavailable

MOST_BYTES = 4096
"""A passphrase has at most 1,024 characters of at most four bytes each."""


class PassphraseFile:
    """A file with a passphrase, read anew each time, so that it is not kept in memory in between."""

    def __init__(self, path: Path, *, by_systemd: bool = False) -> None:
        """Read `path`; a credential made `by_systemd` may show group bits, which are the mask of its access list."""
        self._path = path
        self._forbidden = stat.S_IRWXO if by_systemd else stat.S_IRWXO | stat.S_IRWXG

    def read(self) -> str:
        """Return the passphrase: the whole file, without one line end at its end.

        Raises:
            Unavailable: it is missing, empty, too long, no text, another user's, or others may read it.
        """
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise Unavailable(f"the passphrase file {self._path} cannot be read: {error.strerror}") from None
        try:
            found = os.fstat(descriptor)
            mode = found.st_mode
            if not stat.S_ISREG(mode):
                raise Unavailable(f"the passphrase file {self._path} is no file")
            if mode & self._forbidden:
                raise Unavailable(f"others may read the passphrase file {self._path}: run chmod 600 {self._path}")
            if found.st_uid not in {0, os.geteuid()}:  # who owns it knows it, or can
                raise Unavailable(f"the passphrase file {self._path} belongs to another user: make one of your own")
            return self._text(os.read(descriptor, MOST_BYTES + 1))
        finally:
            os.close(descriptor)

    def _text(self, data: bytes) -> str:
        if len(data) > MOST_BYTES:
            raise Unavailable(f"the passphrase file {self._path} has more than {MOST_BYTES:,} bytes")
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise Unavailable(f"the passphrase file {self._path} is not UTF-8 text") from None
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise Unavailable(f"the passphrase file {self._path} is empty")
        return text
