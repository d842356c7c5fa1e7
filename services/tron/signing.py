"""What the sender asks of the wallet service, and what it believes of the answers."""

from typing import Protocol

from services.kit.errors import Conflict
from services.protocol.address import Address
from services.protocol.signature import recover
from services.protocol.transaction import ProtocolError
from services.tron.store import JobRow
from services.wallet import api


class Signer(Protocol):
    """What the sender asks of the wallet service; `services.wallet.client.WalletClient` is one."""

    async def get(self, name: str) -> api.Wallet:
        """Return a wallet and whether it can sign now."""

    async def signer(self) -> api.Signer:
        """Say whether signing is frozen."""

    async def sign(self, name: str, body: api.Sign) -> api.Signature:
        """Sign; the same key with the same bytes gives the same signature."""

    async def void(self, name: str, key: str) -> api.SignRecord:
        """Promise never to sign under a key; raises Conflict if it has."""


def sign_key(row: JobRow) -> str:
    """Name of one build for the wallet, which signs one txid under it, for ever, or none.

    The build's number stands behind the last dot, so that no two builds of any orders have the same name.
    """
    return f"{row.key}.{row.build}"


async def able_wallet(wallets: Signer, row: JobRow, network: str) -> api.Wallet:
    """Return the order's wallet if it can sign now.

    Asked before anything is built: the life of a transaction begins when it is built, and should not be spent on
    waiting for an operator.

    Raises:
        LucidError: it cannot, in words.
    """
    name = row.order.wallet
    wallet = await wallets.get(name)
    signer = await wallets.signer()
    if signer.frozen:
        raise Conflict(f"signing is frozen by {signer.frozen_by or 'somebody'}: {signer.frozen_reason or 'no reason'}")
    if wallet.kind is not api.WalletKind.HOT:
        raise Conflict(
            f"wallet {name} is only watched: its key is elsewhere and this node cannot sign; cancel the order"
        )
    if wallet.network != network:
        raise Conflict(f"wallet {name} belongs to {wallet.network}, this node is on {network}; cancel the order")
    if wallet.state is not api.WalletState.ACTIVE:
        raise Conflict(f"wallet {name} is locked: unlock it")
    if wallet.address == row.order.contract.to:
        raise Conflict(f"wallet {name} would pay itself, which the chain refuses: cancel the order")
    if row.order.owner not in {None, wallet.address}:
        raise Conflict(f"wallet {name} is {wallet.address}, and {row.order.owner} was to pay this order: cancel it")
    if row.owner not in {"", wallet.address}:
        raise Conflict(f"wallet {name} was {row.owner} when this order began and is another address now: cancel it")
    return wallet


def checked_signature(row: JobRow, signed: api.Signature) -> bytes:
    """Return a signature if it is the owner's, over our txid.

    Raises:
        Conflict: it is not; nothing may be sent.
    """
    try:
        signature = bytes.fromhex(signed.signature_hex)
        signer: Address = recover(bytes.fromhex(row.txid or ""), signature)
    except (ProtocolError, ValueError) as error:
        raise Conflict(f"the wallet's signature cannot be used: {error}") from None
    if signer.base58 != row.owner:
        raise Conflict(f"the wallet's signature is by {signer.base58}, not by {row.owner}: nothing was sent")
    return signature
