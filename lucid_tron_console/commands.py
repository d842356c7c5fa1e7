"""Every command, one class each: from it come the key, the palette entry, the footer text and the help row.

A screen lists the commands that it has in `TAKES` and carries one out in `command_<name>`. A command that cannot be
carried out stays visible and says why. No command with a single letter moves money.
"""

import re
from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType


class Command:
    """Something that an operator can do with one key, in the palette, and by name after `:`."""

    key: ClassVar[str]
    """Textual's name of the key; empty: it is typed after `:` or chosen in the palette."""
    shows: ClassVar[str] = ""
    """The key as people write it; the key itself unless set."""
    footer: ClassVar[str] = ""
    """One word for the footer; empty: it is not shown there."""
    aliases: ClassVar[tuple[str, ...]] = ()
    """Other words for it after `:`."""
    changes: ClassVar[bool] = False
    """Whether it changes anything: refused while the console is read-only."""
    hidden: ClassVar[bool] = False
    """Whether the palette and the help leave it out (it stands there by another name)."""

    @classmethod
    def name(cls) -> str:
        """Its name after `:`, from the class's: NewPayout is `new-payout`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    @classmethod
    def method(cls) -> str:
        """Name of the screen's method that carries it out."""
        return f"command_{cls.name().replace('-', '_')}"

    @classmethod
    def label(cls) -> str:
        """The key for people."""
        return cls.shows or cls.key

    @classmethod
    def help(cls) -> str:
        """What it does, in a sentence: the class's docstring."""
        return (cls.__doc__ or "").strip().splitlines()[0]

    @classmethod
    def binding(cls, *, priority: bool = False) -> Binding:
        """The key binding that runs it."""
        return Binding(
            cls.key, f"run_command('{cls.name()}')", cls.help(), show=False, priority=priority, id=cls.name()
        )


def bindings(commands: Iterable[type[Command]], *, priority: bool = False) -> list[BindingType]:
    """Key bindings of several commands."""
    return [command.binding(priority=priority) for command in commands if command.key]


# Everywhere


class Help(Command):
    """Show every key and command of this screen."""

    key, shows, footer = "question_mark", "?", "help"


class CommandLine(Command):
    """Type a command or the name of a screen: `payouts P-3`, `freeze`, `export csv`."""

    key, shows = "colon", ":"
    footer = "command"


class Filter(Command):
    """Show only what matches: words; for payouts also state:, wallet:, to:, txid:, open; for Tor's events level:."""

    key, shows = "slash", "/"
    footer = "filter"


class Back(Command):
    """Go back, or leave the line that is being typed."""

    key, shows = "escape", "Esc"


class Quit(Command):
    """Leave the console; the daemons and every payout go on."""

    key, shows = "ctrl+q", "^Q"
    footer = "quit"
    aliases = ("q", "exit")


class Retry(Command):
    """Try lost services again at once."""

    key = "r"
    aliases = ("reconnect",)


class NewPayout(Command):
    """Start a new payout, with an idempotency key of its own."""

    key = "n"
    footer = "new payout"
    aliases = ("new", "pay")
    changes = True


class Alerts(Command):
    """Go to the alerts."""

    key = "a"
    footer = "alerts"


class Copy(Command):
    """Offer the chosen text to the terminal's clipboard (OSC 52); the terminal decides whether to take it."""

    key = "y"


class ShowText(Command):
    """Show the chosen text in full, alone on the screen, for selecting with the mouse."""

    key = "Y"


class Export(Command):
    """Write the current list as CSV or JSON, or the screen as SVG, to a file in the home."""

    key = "e"


class Maximise(Command):
    """Give one panel the whole screen, or take it back."""

    key = "m"


class Lock(Command):
    """Lock all wallets now."""

    key = "L"
    footer = "lock"
    aliases = ("lock-all",)
    changes = True


class Freeze(Command):
    """Stop all signing at once; asks for a typed word."""

    key = "F"
    footer = "freeze"
    changes = True


class Unfreeze(Command):
    """Allow signing again; asks for a typed word. Only an admin may."""

    key = ""
    shows = ":unfreeze"
    changes = True


# Screens


class GoDashboard(Command):
    """Dashboard: node, services, money, open payouts, alerts."""

    key = "1"
    aliases = ("dashboard", "dash")


class GoWallets(Command):
    """Wallets: create, import, watch, unlock, lock, fund."""

    key = "2"
    aliases = ("wallets", "wallet")


class GoPayouts(Command):
    """Payouts: every payout and how it stands."""

    key = "3"
    aliases = ("payouts", "payout")


class GoPayments(Command):
    """Incoming payments; comes with the payment gateway, not in this version."""

    key = "4"
    aliases = ("payments", "gateway", "pay-in")


class GoStaking(Command):
    """Staking; comes with the staking service, not in this version."""

    key = "5"
    aliases = ("staking",)


class GoTor(Command):
    """Tor: bootstrap, circuits hop by hop, streams, traffic, events."""

    key = "6"
    aliases = ("tor",)


class GoServices(Command):
    """Services: health, endpoints, retries, caches, logs."""

    key = "7"
    aliases = ("services",)


class GoAudit(Command):
    """The audit log; comes with approvals, not in this version."""

    key = "8"
    aliases = ("audit",)


# Wallets


class CreateWallet(Command):
    """Make a new wallet and write down its recovery words."""

    key = "c"
    footer = "create"
    changes = True


class ImportWallet(Command):
    """Bring a wallet along: recovery words or a private key."""

    key = "i"
    footer = "import"
    changes = True


class WatchWallet(Command):
    """Watch an address whose key is elsewhere."""

    key = "w"
    footer = "watch"
    changes = True


class UnlockWallet(Command):
    """Open the chosen wallet for signing, for a while."""

    key = "u"
    footer = "unlock"
    changes = True


class LockWallet(Command):
    """Lock the chosen wallet."""

    key = "k"
    footer = "lock"
    changes = True


class FundWallet(Command):
    """Fund the chosen wallet from the faucet; on the devnet only."""

    key = "f"
    footer = "fund"
    aliases = ("faucet",)
    changes = True


# Payouts


class RetryPayout(Command):
    """Retry the payout: sends the same bytes again, or opens a new attempt when the last one is dead or failed."""

    key = "R"
    footer = "retry"
    changes = True


class CancelPayout(Command):
    """Cancel the payout; possible only before it is sent."""

    key = "C"
    footer = "cancel"
    changes = True


class AcceptDeath(Command):
    """Accept the death proof of the payout; asks for typed characters."""

    key = "D"
    footer = "accept"
    changes = True


# Tor


class NewIdentity(Command):
    """Ask Tor for a new identity: everybody moves to new circuits; asks for a typed word."""

    key = "N"
    footer = "new identity"
    aliases = ("newnym",)
    changes = True


class CloseCircuit(Command):
    """Close the chosen circuit, with whatever goes through it; asks for its number."""

    key = "K"
    footer = "close"
    changes = True


class RotateIsolation(Command):
    """Move the isolation name of the chosen circuit to a new one; `:rotate NAME` any other, `:rotate all` everybody."""

    key = "X"
    footer = "rotate"
    aliases = ("rotate",)
    changes = True


class ExitCountries(Command):
    """Choose the countries of the last hop, and relays that are never used; everybody moves to new circuits."""

    key = "E"
    footer = "exits"
    aliases = ("exits",)
    changes = True


class ExcludeRelay(Command):
    """Never use the chosen relay again, in no place of a circuit; asks for a typed word."""

    key = "B"
    footer = "ban relay"
    aliases = ("ban",)
    changes = True


class Fold(Command):
    """Show or hide the hops of the chosen circuit; Enter does the same."""

    key = "space"
    footer = "fold"


class FoldAll(Command):
    """Show or hide the hops of every circuit."""

    key = "z"
    footer = "all"


# Dialogs


class Submit(Command):
    """Carry out what the dialog shows; unlocked only when everything that was typed matches."""

    key, shows = "ctrl+s", "^S"
    footer = "submit"


class Leave(Command):
    """Go back one step, or leave the dialog; nothing is done."""

    key, shows = "escape", "Esc"
    footer = "cancel"


class OpenWallet(Command):
    """Unlock the wallet that shall pay."""

    key, shows = "ctrl+o", "^O"
    footer = "unlock wallet"


SCREENS: tuple[type[Command], ...] = (
    GoDashboard,
    GoWallets,
    GoPayouts,
    GoPayments,
    GoStaking,
    GoTor,
    GoServices,
    GoAudit,
)
"""The screens by number."""

EVERYWHERE: tuple[type[Command], ...] = (
    NewPayout,
    Alerts,
    Help,
    Filter,
    CommandLine,
    Lock,
    Freeze,
    Unfreeze,
    Retry,
    Copy,
    ShowText,
    Export,
    Maximise,
    Back,
    Quit,
    *SCREENS,
)
"""What every screen has."""
