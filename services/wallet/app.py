"""Routes of the wallet service, one line each into `WalletService`."""

import re

from services.kit.errors import Conflict, Forbidden, Invalid, Locked, NotFound, TooManyRequests, Unavailable
from services.kit.http import BASE, Call, Endpoint
from services.kit.peer import Role
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
from services.wallet.service import WalletService

_WALLETS = f"{BASE}/wallets"
_SIGNER = f"{BASE}/signer"
_SIGN_KEY = re.compile(r"[A-Za-z0-9._:-]{1,160}")


class _Routes:
    def __init__(self, service: WalletService) -> None:
        self._service = service

    async def list_wallets(self, _call: Call) -> WalletList:
        return await self._service.list_()

    async def get_wallet(self, call: Call) -> Wallet:
        return await self._service.get(call.path["name"])

    async def create_wallet(self, call: Call) -> CreatedWallet:
        return await self._service.create(call.body)

    async def import_wallet(self, call: Call) -> Wallet:
        return await self._service.import_(call.body)

    async def watch_wallet(self, call: Call) -> Wallet:
        return await self._service.watch(call.body)

    async def unlock_wallet(self, call: Call) -> Wallet:
        return await self._service.unlock(call.path["name"], call.body)

    async def lock_wallet(self, call: Call) -> Wallet:
        return await self._service.lock(call.path["name"])

    async def show_words(self, call: Call) -> Words:
        return await self._service.words(call.path["name"], call.body)

    async def sign(self, call: Call) -> Signature:
        return await self._service.sign(call.path["name"], call.body, call.peer)

    async def void_signature(self, call: Call) -> SignRecord:
        return await self._service.void(call.path["name"], _sign_key(call), call.peer)

    async def get_signer(self, _call: Call) -> Signer:
        return await self._service.signer()

    async def lock_all(self, _call: Call) -> Signer:
        return await self._service.lock_all()

    async def freeze(self, call: Call) -> Signer:
        return await self._service.freeze(call.body, call.peer)

    async def unfreeze(self, call: Call) -> Signer:
        return await self._service.unfreeze(call.peer)


def _sign_key(call: Call) -> str:
    """The sign key of the path, held to the same pattern as `api.SignKey`."""
    key = call.path["key"]
    if not _SIGN_KEY.fullmatch(key):
        raise Invalid("a sign key has 1 to 160 letters, digits, dots, underscores, colons or hyphens", field="key")
    return key


def endpoints(service: WalletService) -> list[Endpoint]:
    """The table of routes."""
    on = _Routes(service)
    operator, admin = Role.OPERATOR, Role.ADMIN
    known = (NotFound, Unavailable)
    making = (Conflict, Invalid, TooManyRequests, Unavailable)
    opening = (NotFound, Conflict, Forbidden, Locked, TooManyRequests, Unavailable)
    return [
        Endpoint("GET", _WALLETS, on.list_wallets, response=WalletList, summary="All wallets"),
        Endpoint(
            "POST", _WALLETS, on.create_wallet, request=CreateWallet, response=CreatedWallet, status=201,
            role=operator, errors=making, summary="Make a wallet; its recovery words are in the answer",
        ),
        Endpoint(
            "POST", f"{_WALLETS}/import", on.import_wallet, request=ImportWallet, response=Wallet, status=201,
            role=operator, errors=making, summary="Bring a key along",
        ),
        Endpoint(
            "POST", f"{_WALLETS}/watch", on.watch_wallet, request=WatchWallet, response=Wallet, status=201,
            role=operator, errors=making, summary="Watch an address whose key is elsewhere",
        ),
        Endpoint("GET", f"{_WALLETS}/{{name}}", on.get_wallet, response=Wallet, errors=known, summary="One wallet"),
        Endpoint(
            "POST", f"{_WALLETS}/{{name}}/unlock", on.unlock_wallet, request=Unlock, response=Wallet,
            role=operator, errors=opening, summary="Open a wallet for a while",
        ),
        Endpoint(
            "POST", f"{_WALLETS}/{{name}}/lock", on.lock_wallet, response=Wallet,
            role=operator, errors=known, summary="Forget a wallet's key",
        ),
        Endpoint(
            "POST", f"{_WALLETS}/{{name}}/words", on.show_words, request=ShowWords, response=Words,
            role=admin, errors=opening, summary="Show the recovery words again",
        ),
        Endpoint(
            "POST", f"{_WALLETS}/{{name}}/sign", on.sign, request=Sign, response=Signature,
            role=operator, errors=(*opening, Invalid), summary="Sign a transaction that is understood and allowed",
        ),
        Endpoint(
            "POST", f"{_WALLETS}/{{name}}/signatures/{{key}}/void", on.void_signature, response=SignRecord,
            role=operator, errors=(NotFound, Conflict, Unavailable), summary="Make sure that a key is never signed",
        ),
        Endpoint("GET", _SIGNER, on.get_signer, response=Signer, summary="How the signer stands"),
        Endpoint(
            "POST", f"{_SIGNER}/lock", on.lock_all, response=Signer, role=operator, summary="Lock every wallet",
        ),
        Endpoint(
            "POST", f"{_SIGNER}/freeze", on.freeze, request=Freeze, response=Signer,
            role=operator, errors=(Unavailable,), summary="Stop all signing at once",
        ),
        Endpoint(
            "POST", f"{_SIGNER}/unfreeze", on.unfreeze, response=Signer,
            role=admin, errors=(Unavailable,), summary="Let the signer work again",
        ),
    ]  # fmt: skip
