"""The exit codes of `lucid-tron`: one table, which the help prints and scripts rely on."""

from enum import IntEnum

from services.kit.errors import LucidError


class ExitCode(IntEnum):
    """What an exit code means; a number never changes its meaning."""

    OK = 0
    """What was asked was done."""
    FAILURE = 1
    """A defect of ours, or the result could not be written to stdout."""
    USAGE = 2
    """The command line makes no sense; nothing was done."""
    NOT_FOUND = 3
    """There is no such wallet, payout, transaction, circuit or onion service."""
    REFUSED = 4
    """The input is invalid, or a rule forbids it."""
    UNAVAILABLE = 5
    """A service of the node, or the whole node, is not running, not ready or too busy: try again later."""
    TIMEOUT = 6
    """Waited as long as allowed; the payout goes on."""
    NOT_PAID = 7
    """The payout that was waited for ended failed, dead, rejected or cancelled."""
    INTERRUPTED = 130
    """Stopped by ^C; a payout that was accepted goes on."""


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "done",
    ExitCode.FAILURE: "a defect of ours, or stdout cannot be written",
    ExitCode.USAGE: "the command line makes no sense; nothing was done",
    ExitCode.NOT_FOUND: "no such wallet, payout, transaction, circuit or onion service",
    ExitCode.REFUSED: "invalid input, or a rule forbids it",
    ExitCode.UNAVAILABLE: "the node or one of its services is not running, not ready or too busy",
    ExitCode.TIMEOUT: "waited as long as allowed; the payout goes on",
    ExitCode.NOT_PAID: "the payout ended failed, dead, rejected or cancelled",
    ExitCode.INTERRUPTED: "interrupted; a payout that was accepted goes on",
}
"""The table as the help prints it."""


class NotPaid(LucidError):
    """A payout that was waited for ended without paying."""

    code, status, title = "not_paid", 409, "Not paid"


class StillWaiting(LucidError):
    """The wait ended, the payout did not."""

    code, status, title = "still_waiting", 504, "Still waiting"


def of(error: LucidError) -> ExitCode:
    """Choose the exit code of an error."""
    match error:
        case NotPaid():
            return ExitCode.NOT_PAID
        case StillWaiting():
            return ExitCode.TIMEOUT
    if error.status == 404:
        return ExitCode.NOT_FOUND
    if error.status in {429, 502, 503, 504}:
        return ExitCode.UNAVAILABLE
    return ExitCode.REFUSED if 400 <= error.status < 500 else ExitCode.FAILURE
