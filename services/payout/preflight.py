"""What a payout is measured against before it is accepted: its wallet, its price, and the chain's newest block."""

import hashlib
import json
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from services.kit.errors import Invalid, LucidError, NotFound, Unavailable
from services.kit.money import Asset, format_money
from services.payout.api import PayoutIntent
from services.payout.policy import Usage
from services.payout.store import Claim
from services.tron.api import QuoteTransfer, TransferQuote
from services.tron.client import TronClient
from services.wallet.api import Wallet, WalletKind, WalletState
from services.wallet.client import WalletClient

T = TypeVar("T")

NOTHING_ACCEPTED = "nothing was accepted; try again with the same key"


class Refused(Invalid):
    """The policy, the balance or the wallet forbids this payout; each reason stands under its field."""

    code, title = "payout_refused", "Payout refused"


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found out about an intended payout."""

    wallet: Wallet
    price: TransferQuote
    claim: Claim
    """What the payout would set aside, from whom, as of which block."""

    def balance(self, usage: Usage) -> int:
        """What the wallet can still pay, in sun: its balance less what open payouts have set aside."""
        return self.price.owner_balance_sun - usage.reserved - usage.reserved_fee_sun

    def shortage(self, usage: Usage) -> list[tuple[str, str]]:
        """Return why the balance does not suffice, as (field, words); empty when it does."""
        left, needed = self.balance(usage), self.claim.amount + self.claim.fee_in(usage)
        if left >= needed:
            return []
        held = usage.reserved + usage.reserved_fee_sun
        aside = f" ({format_money(held)} TRX are set aside for open payouts)" if held else ""
        return [
            (
                "amount",
                f"{self.wallet.name} can pay {format_money(max(0, left))} TRX{aside}, and this takes "
                f"{format_money(needed)} with its fee: pay less, or send TRX to {self.wallet.address}",
            )
        ]

    def warnings(self, memo: str) -> list[str]:
        """Say what the operator should know, though it forbids nothing."""
        found = []
        if not self.price.to_activated:
            fee = format_money(self.price.activation_fee_sun)
            found.append(f"the receiver is new to the chain: activating it costs {fee} TRX")
        if memo:
            fee = format_money(self.price.memo_fee_sun)
            found.append(f"the memo is public for ever and costs {fee} TRX")
        if self.wallet.state is WalletState.LOCKED:
            found.append(f"wallet {self.wallet.name} is locked: the payout waits until it is unlocked")
        return found


class Preflight:
    """Asks the neighbours; it only reads. The wallet service tells whose address pays, and signs nothing here."""

    def __init__(self, network: str, tron: TronClient, wallets: WalletClient) -> None:
        self._network = network
        self._tron = tron
        self._wallets = wallets

    async def look(self, intent: PayoutIntent) -> Facts:
        """Find out what a payout would cost, and from where.

        Raises:
            Refused: it can never be paid: the asset, the wallet, the memo, or a payout to its own sender.
            Unavailable: the wallet service or the chain could not be asked.
        """
        if intent.asset is not Asset.TRX:
            raise Refused("USDT payouts are not available yet: choose TRX", field="asset")
        if not intent.memo.isprintable():
            raise Refused("the memo holds control characters: write one line of plain text", field="memo")
        wallet = await self._wallet(intent.wallet)
        if wallet.address == intent.to:
            raise Refused(f"{intent.to} is the address of {wallet.name} itself: TRON refuses to pay it", field="to")
        question = QuoteTransfer(owner=wallet.address, to=intent.to, amount_sun=intent.amount, memo=intent.memo)
        price = await _asked("the chain", self._tron.quote_transfer(question))
        return Facts(
            wallet=wallet,
            price=price,
            claim=Claim(
                address=wallet.address,
                asset=intent.asset,
                amount=intent.amount,
                fee_sun=price.fee_sun,
                block_number=price.block_number,
                chain_ms=await self.chain_ms(),
                crowded_fee_sun=price.fee_sun + price.burn_sun,
            ),
        )

    async def chain_ms(self) -> int:
        """Return the time of the newest block, in milliseconds."""
        return (await _asked("the chain", self._tron.latest_block())).time_ms

    def check_code(self, intent: PayoutIntent, from_address: str) -> str:
        """Return the code to read aloud, as in 7f3a-91c2: eight hex characters over what will be paid."""
        what = [self._network, from_address, intent.to, intent.asset, intent.amount, intent.memo]
        digest = hashlib.sha256(json.dumps(what, separators=(",", ":"), ensure_ascii=True).encode()).hexdigest()
        return f"{digest[:4]}-{digest[4:8]}"

    async def _wallet(self, name: str) -> Wallet:
        try:
            wallet = await _asked("the wallet service", self._wallets.get(name))
        except NotFound:
            raise Refused(f"there is no wallet {name!r} on this node: create or import it", field="wallet") from None
        if wallet.kind is not WalletKind.HOT:
            raise Refused(f"{name} is a cold wallet: this node watches it and has no key to pay with", field="wallet")
        if wallet.network != self._network:
            raise Refused(
                f"{name} is a wallet of {wallet.network}, and this node is on {self._network}", field="wallet"
            )
        return wallet


def body_hash(intent: PayoutIntent) -> str:
    """Return the hash that tells one body from another: sha256 of its canonical JSON.

    Defaults are left out, so that the same body stays the same when later versions know more fields.
    """
    canonical = json.dumps(intent.model_dump(mode="json", exclude_defaults=True), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


async def _asked(whom: str, answer: Awaitable[T]) -> T:
    """Await an answer; when there is none, say that nothing happened and what to do."""
    try:
        return await answer
    except LucidError as error:
        if error.status < 500:
            raise
        raise Unavailable(f"{whom} could not be asked ({error.message}): {NOTHING_ACCEPTED}") from error
