"""Typed calls to the wallet service."""

from pathlib import Path
from urllib.parse import quote

from services.kit.client import Client
from services.wallet.api import (
    CreatedWallet,
    CreateWallet,
    Freeze,
    ImportWallet,
    ShowWords,
    Sign,
    Signature,
    Signer,
    SignRecord,
    Unlock,
    Wallet,
    WalletList,
    WatchWallet,
    Words,
)

_WALLETS = "/api/v1/tron/wallets"
_SIGNER = "/api/v1/tron/signer"
_STRETCHING_TIMEOUT_S = 90.0
"""Stretching a passphrase takes seconds on a small machine, and others may be before us."""


class WalletClient(Client):
    """The wallet service; errors as in `Client`, and those that `services.wallet.service` names."""

    def __init__(self, socket_path: Path | str) -> None:
        """Reach the service at its socket."""
        super().__init__(socket_path, "wallet")

    async def list(self) -> WalletList:
        """All wallets, by name."""
        return await self._get(_WALLETS, WalletList)

    async def get(self, name: str) -> Wallet:
        """One wallet."""
        return await self._get(_of(name), Wallet)

    async def create(self, request: CreateWallet) -> CreatedWallet:
        """Make a wallet; its recovery words are in the answer, and shown to nobody else."""
        return await self._post(_WALLETS, CreatedWallet, request, timeout_s=_STRETCHING_TIMEOUT_S)

    async def import_(self, request: ImportWallet) -> Wallet:
        """Bring a key along: recovery words or a private key."""
        return await self._post(f"{_WALLETS}/import", Wallet, request, timeout_s=_STRETCHING_TIMEOUT_S)

    async def watch(self, request: WatchWallet) -> Wallet:
        """Watch an address whose key is elsewhere."""
        return await self._post(f"{_WALLETS}/watch", Wallet, request, timeout_s=_STRETCHING_TIMEOUT_S)

    async def unlock(self, name: str, request: Unlock) -> Wallet:
        """Open a wallet for a while."""
        return await self._post(f"{_of(name)}/unlock", Wallet, request, timeout_s=_STRETCHING_TIMEOUT_S)

    async def lock(self, name: str) -> Wallet:
        """Forget a wallet's key."""
        return await self._post(f"{_of(name)}/lock", Wallet)

    async def words(self, name: str, request: ShowWords) -> Words:
        """Show the recovery words again."""
        return await self._post(f"{_of(name)}/words", Words, request, timeout_s=_STRETCHING_TIMEOUT_S)

    async def sign(self, name: str, request: Sign) -> Signature:
        """Sign a transaction; safe to repeat: one key gives one signature."""
        return await self._post(f"{_of(name)}/sign", Signature, request)

    async def void(self, name: str, key: str) -> SignRecord:
        """Make sure that a key is never signed; a Conflict with `txid` in `extra` says that it was."""
        return await self._post(f"{_of(name)}/signatures/{quote(key, safe='')}/void", SignRecord)

    async def signer(self) -> Signer:
        """How the signer stands."""
        return await self._get(_SIGNER, Signer)

    async def lock_all(self) -> Signer:
        """Lock every wallet."""
        return await self._post(f"{_SIGNER}/lock", Signer)

    async def freeze(self, request: Freeze) -> Signer:
        """Stop all signing at once."""
        return await self._post(f"{_SIGNER}/freeze", Signer, request)

    async def unfreeze(self) -> Signer:
        """Let the signer work again."""
        return await self._post(f"{_SIGNER}/unfreeze", Signer)


def _of(name: str) -> str:
    return f"{_WALLETS}/{quote(name, safe='')}"
