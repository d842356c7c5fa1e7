"""Wire models of the wallet service: wallets, unlocking, and signatures."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints

from services.kit.models import Request, Response
from services.protocol.address import TronAddress

WalletName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
"""Unique on this node, chosen once: lower-case letters, digits and hyphens."""

SignKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,160}$")]
"""What a signature is for, such as `payout:rent-11:1.1`. One key is good for one txid, for ever."""

Passphrase = Annotated[SecretStr, Field(min_length=1, max_length=1024)]
"""Never logged, never stored."""


class WalletKind(StrEnum):
    """Where the key is."""

    HOT = "hot"
    """Sealed on this machine: it can sign."""
    COLD = "cold"
    """Elsewhere: this node watches the address and cannot sign."""


class WalletState(StrEnum):
    """Whether the wallet can sign now."""

    ACTIVE = "active"
    """Unlocked, until its lease ends; a cold wallet is always active."""
    LOCKED = "locked"
    """Needs its passphrase."""


class Wallet(Response):
    """One wallet, without anything secret."""

    name: WalletName
    address: str
    """Base58check."""
    kind: WalletKind
    state: WalletState
    network: str
    """The network whose key this is; another network's transactions are refused."""
    created_at: datetime
    unlocked_until: datetime | None = None
    """When the lease ends; None while locked or cold, and when it is open without end (auto-unlock)."""


class WalletList(Response):
    """All wallets of this node, by name."""

    items: tuple[Wallet, ...]


class CreateWallet(Request):
    """Make a new key from fresh BIP-39 words."""

    name: WalletName
    passphrase: Passphrase
    word_count: Literal[12, 24] = 12


class CreatedWallet(Response):
    """A new wallet and its recovery words."""

    wallet: Wallet
    words: tuple[str, ...] = Field(repr=False)
    """BIP-39 English words of m/44'/195'/0'/0/0: shown once, to be written down."""


class ImportWallet(Request):
    """Bring a key along: recovery words, or a private key in hex."""

    name: WalletName
    passphrase: Passphrase
    format: Literal["words", "private_key"]
    secret: SecretStr
    """The words, separated by spaces, or 64 hex characters."""


class WatchWallet(Request):
    """Watch an address whose key is elsewhere."""

    name: WalletName
    address: TronAddress


class Unlock(Request):
    """Open a hot wallet for a while."""

    passphrase: Passphrase
    lease_s: int = Field(default=900, ge=1, le=7 * 86400)
    """Seconds until it locks itself again."""


class ShowWords(Request):
    """Show the recovery words again."""

    passphrase: Passphrase


class Words(Response):
    """Recovery words of a wallet."""

    words: tuple[str, ...] = Field(repr=False)


class Sign(Request):
    """Sign a transaction that this service decodes and judges by itself."""

    key: SignKey
    raw_data_hex: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2})+$", max_length=20_000)]
    """The protobuf bytes of raw_data, in lower-case hex."""


class Signature(Response):
    """A signature over one txid."""

    key: str
    txid: str
    signature_hex: str
    """65 bytes: r, s, v (27 or 28)."""


class SignRecord(Response):
    """What the signer remembers of a key."""

    key: str
    state: Literal["signed", "void"]
    txid: str | None = None


class Freeze(Request):
    """Stop all signing at once."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Signer(Response):
    """The signer as a whole."""

    network: str
    frozen: bool
    frozen_by: str | None = None
    frozen_reason: str | None = None
    frozen_at: datetime | None = None
    unlocked: int
    """How many hot wallets can sign now."""
    signed_today_sun: int
    """What signatures of the last 24 hours of running time let go, in sun; time while the machine is off counts not."""
    daily_limit_sun: int
    """The signer's own budget for 24 hours, in sun; 0 means none is set (devnet)."""
