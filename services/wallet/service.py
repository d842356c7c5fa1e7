"""The wallet service's decisions: who may open what for how long, and what is signed once and never otherwise."""

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from services.kit import log
from services.kit.clock import Clock
from services.kit.errors import Conflict, Invalid, Locked, NotFound, TooManyRequests, Unavailable
from services.kit.events import EventBus
from services.kit.peer import Peer
from services.protocol.signature import sign
from services.wallet import recovery, signer
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
    WalletKind,
    WalletList,
    WalletState,
    WatchWallet,
    Words,
)
from services.wallet.keystore import Damaged, Header, KdfCost, Keystore, Secret, WrongPassphrase, calibrate, wipe
from services.wallet.passphrase import PassphraseFile
from services.wallet.signer import Policy
from services.wallet.store import Asked, Boot, FreezeRow, SignerStore
from services.wallet.vault import Guesses, Vault

T = TypeVar("T")

MOST_WAITING = 8
"""Requests that may wait for the one thread that stretches passphrases."""
SHORTEST_PASSPHRASE = 12
"""Characters of a new passphrase where money is real; the devnet takes any."""
KEEP_TIME_EVERY_S = 600.0
"""How often running time is written down while nothing is signed."""


class WalletService:
    """Wallets of this node: their files, their unlocked keys, and the signer."""

    def __init__(
        self,
        *,
        keystore: Keystore,
        store: SignerStore,
        bus: EventBus,
        clock: Clock,
        network: str,
        policy: Policy,
        boot_id: str,
        kdf_cost: KdfCost | None = None,
        passphrase_file: PassphraseFile | None = None,
    ) -> None:
        """Decide over `keystore` and `store`, which `start` opens.

        Without a `kdf_cost` this machine is measured when the first wallet is sealed. `boot_id` says which readings of
        the monotonic clock belong together. `passphrase_file` opens wallets at start, with a lease that does not end.
        """
        self._keystore = keystore
        self._store = store
        self._bus = bus
        self._clock = clock
        self._network = network
        self._policy = policy
        self._boot_id = boot_id
        self._kdf_cost = kdf_cost
        self._passphrase_file = passphrase_file
        self._wallets: dict[str, Header] = {}
        self._damaged: dict[str, str] = {}
        self._vault = Vault(clock, self._lease_ended)
        self._guesses = Guesses(clock)
        self._frozen: FreezeRow | None = None
        # One thread and one turn: two stretchings at once would need twice the memory.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keystore")
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._opening = ""

    # --- life ---

    async def start(self) -> None:
        """Read what there is, and begin to open wallets if a passphrase lies ready.

        Raises:
            Conflict: another process holds the keystore.
            Unavailable: the keystore, the database or the passphrase file cannot be used.
        """
        await self._in_thread(self._keystore.open)
        await self._store.open()
        self._frozen = await self._store.read(lambda ledger: ledger.freeze())
        for entry in await self._in_thread(self._keystore.entries):
            if entry.header is None:
                self._mark_damaged(entry.name, entry.damage)
            else:
                self._wallets[entry.name] = entry.header
        if self._frozen is not None:
            log.get_logger().warning("signer.still_frozen", by=self._frozen.frozen_by, reason=self._frozen.reason)
        self._spawn(self._keep_time())
        self._open_unattended()

    async def stop(self) -> None:
        """Lock every wallet and close."""
        self._vault.lock_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(Unavailable):  # it may never have been opened
            await self._note_time()
        await self._store.close()
        await self._in_thread(self._keystore.close)
        self._thread.shutdown(wait=False)

    async def checks(self) -> dict[str, str]:
        """What the service depends on; a wallet that is damaged or locked keeps nobody else from working."""
        try:
            await self._store.read(lambda ledger: ledger.freeze())
            database = "ok"
        except Unavailable as error:
            database = error.message
        return {"database": database, "unattended": self._opening or "ok"}

    def details(self) -> dict[str, Any]:
        """More for a status page."""
        return {
            "network": self._network,
            "wallets": len(self._wallets),
            "unlocked": len(self._vault),
            "damaged": dict(self._damaged),
            "frozen": self._frozen is not None,
        }

    # --- wallets ---

    async def list_(self) -> WalletList:
        """All wallets that can be read, by name."""
        return WalletList(items=tuple(self._view(self._wallets[name]) for name in sorted(self._wallets)))

    async def get(self, name: str) -> Wallet:
        """One wallet.

        Raises:
            NotFound: there is none of that name.
            Damaged: its file cannot be used.
        """
        return self._view(self._header(name))

    async def create(self, request: CreateWallet) -> CreatedWallet:
        """Make a wallet from fresh words, which are told this once.

        Raises:
            Conflict: the name is taken.
            Invalid: the passphrase is too short.
            Unavailable: the disk cannot be written; nothing was made.
        """
        with recovery.fresh(request.word_count) as secret:
            wallet = await self._seal(request.name, secret, request.passphrase.get_secret_value())
            return CreatedWallet(wallet=wallet, words=recovery.words_of(secret) or ())

    async def import_(self, request: ImportWallet) -> Wallet:
        """Make a wallet from recovery words or a private key.

        Raises:
            Conflict: the name is taken, or the key is here already.
            Invalid: these are no recovery words or no private key, or the passphrase is too short.
            Unavailable: the disk cannot be written; nothing was made.
        """
        read = recovery.from_words if request.format == "words" else recovery.from_private_key
        with read(request.secret.get_secret_value()) as secret:
            return await self._seal(request.name, secret, request.passphrase.get_secret_value())

    async def watch(self, request: WatchWallet) -> Wallet:
        """Watch an address whose key is elsewhere.

        Raises:
            Conflict: the name is taken, or the address is here already.
            Unavailable: the disk cannot be written.
        """
        async with self._turns():
            self._refuse_taken(request.name)
            self._refuse_known(request.address, set(WalletKind))
            header = await self._in_thread(self._keystore.watch, request.name, request.address, self._second())
        return self._added(header)

    async def _seal(self, name: str, secret: Secret, passphrase: str) -> Wallet:
        self._refuse_short(passphrase)
        key = recovery.key_of(secret)
        try:
            async with self._turns():
                self._refuse_taken(name)
                address = recovery.address_of(key)
                self._refuse_known(address, {WalletKind.HOT})
                if self._kdf_cost is None:
                    self._kdf_cost = await self._in_thread(calibrate)
                seal = partial(self._keystore.create, cost=self._kdf_cost, created_at=self._second())
                header = await self._in_thread(seal, name, address, secret, passphrase)
            if self._opens_unattended(passphrase) and self._frozen is None:
                self._vault.put(name, bytearray(key), None)
        finally:
            wipe(key)
        return self._added(header)

    def _added(self, header: Header) -> Wallet:
        self._wallets[header.name] = header
        log.get_logger().info("wallet.added", wallet=header.name, kind=header.kind, address=header.address)
        return self._tell(header.name)

    def _refuse_short(self, passphrase: str) -> None:
        if self._network != "devnet" and len(passphrase) < SHORTEST_PASSPHRASE:
            raise Invalid(
                f"the passphrase has {len(passphrase)} characters: at least {SHORTEST_PASSPHRASE} are needed",
                field="passphrase",
            )

    def _refuse_taken(self, name: str) -> None:
        if name in self._wallets or name in self._damaged:
            raise Conflict(f"there is a wallet {name} already: choose another name", field="name")

    def _refuse_known(self, address: str, kinds: set[WalletKind]) -> None:
        for header in self._wallets.values():
            if header.address == address and header.kind in kinds:
                raise Conflict(f"{address} is here already, as wallet {header.name}", wallet=header.name)

    def _header(self, name: str) -> Header:
        if damage := self._damaged.get(name):
            raise Damaged(damage)
        header = self._wallets.get(name)
        if header is None:
            raise NotFound(f"there is no wallet {name}")
        return header

    def _hot(self, name: str) -> Header:
        header = self._header(name)
        if header.kind is WalletKind.COLD:
            raise Conflict(f"{name} is only watched: its key is elsewhere, and so are its signatures made")
        if header.network != self._network:
            raise Conflict(f"{name} is a wallet of {header.network}, and this node runs on {self._network}")
        return header

    def _view(self, header: Header) -> Wallet:
        active = header.kind is WalletKind.COLD or self._vault.is_open(header.name)
        return Wallet(
            name=header.name,
            address=header.address,
            kind=header.kind,
            state=WalletState.ACTIVE if active else WalletState.LOCKED,
            network=header.network,
            created_at=header.created_at,
            unlocked_until=self._vault.until(header.name),
        )

    def _tell(self, name: str) -> Wallet:
        """Show a wallet that has changed to whoever asked and to whoever listens."""
        wallet = self._view(self._wallets[name])
        self._bus.publish("wallet", wallet)
        self._spawn(self._tell_signer())
        return wallet

    def _mark_damaged(self, name: str, why: str) -> None:
        self._wallets.pop(name, None)
        self._vault.lock(name)  # what is not listed any more must not stay open
        self._damaged[name] = why
        log.get_logger().error("wallet.damaged", wallet=name, why=why)

    # --- unlocking ---

    async def unlock(self, name: str, request: Unlock) -> Wallet:
        """Open a hot wallet for a while; a lease that ends later stays as it is.

        Raises:
            NotFound, Damaged: as `get`.
            Conflict: it is only watched, or belongs to another network.
            Locked: signing is frozen.
            WrongPassphrase: the passphrase does not open it.
            TooManyRequests: the pause after wrong passphrases is not over, or too many wait.
        """
        header = self._hot(name)
        self._refuse_frozen()
        with await self._unseal(header, request.passphrase.get_secret_value()) as secret:
            self._refuse_frozen()
            self._vault.put(name, recovery.key_of(secret), request.lease_s)
        log.get_logger().info("wallet.unlocked", wallet=name, lease_s=request.lease_s)
        return self._tell(name)

    async def lock(self, name: str) -> Wallet:
        """Forget a wallet's key; safe to repeat.

        Raises:
            NotFound, Damaged: as `get`.
        """
        header = self._header(name)
        if not self._vault.lock(name):
            return self._view(header)
        log.get_logger().info("wallet.locked", wallet=name, why="asked")
        return self._tell(name)

    async def words(self, name: str, request: ShowWords) -> Words:
        """Show the recovery words again.

        Raises:
            Conflict: the wallet was imported by its private key, and has no words; and as `unlock`.
        """
        header = self._hot(name)
        self._refuse_frozen()
        with await self._unseal(header, request.passphrase.get_secret_value()) as secret:
            words = recovery.words_of(secret)
        if words is None:
            raise Conflict(f"{name} was imported by its private key: there are no words of it")
        log.get_logger().warning("wallet.words_shown", wallet=name)
        return Words(words=words)

    async def _unseal(self, header: Header, passphrase: str) -> Secret:
        """Open a wallet's file, if the guesses so far allow it, and check that it holds what it says."""
        name = header.name
        async with self._turns():
            self._guesses.check(name)
            try:
                _, secret = await self._in_thread(self._keystore.unseal, name, passphrase)
            except WrongPassphrase:
                self._guesses.wrong(name)
                log.get_logger().warning("wallet.wrong_passphrase", wallet=name)
                raise
            except (Damaged, NotFound) as error:
                self._mark_damaged(name, error.message)
                raise Damaged(error.message) from None
        self._guesses.right(name)
        self._refuse_other_key(header, secret)
        return secret

    def _refuse_other_key(self, header: Header, secret: Secret) -> None:
        key = recovery.key_of(secret)
        try:
            if recovery.address_of(key) != header.address:
                secret.wipe()
                self._mark_damaged(header.name, f"the sealed key of {header.name} is not that of {header.address}")
                raise Damaged(self._damaged[header.name])
        finally:
            wipe(key)

    def _lease_ended(self, name: str) -> None:
        log.get_logger().info("wallet.locked", wallet=name, why="lease ended")
        self._tell(name)

    # --- opening unattended ---

    def _open_unattended(self) -> None:
        """Try the passphrase that lies ready on every hot wallet, beside the requests that come in meanwhile."""
        if self._passphrase_file is None or self._frozen is not None:
            return
        passphrase = self._passphrase_file.read()
        names = [
            name
            for name, header in sorted(self._wallets.items())
            if header.kind is WalletKind.HOT and header.network == self._network and not self._vault.is_open(name)
        ]
        self._opening = f"opening {len(names)} wallets" if names else ""
        self._spawn(self._try_all(names, passphrase))

    async def _try_all(self, names: list[str], passphrase: str) -> None:
        try:
            for number, name in enumerate(names, start=1):
                self._opening = f"opening wallet {number} of {len(names)}"
                await self._try_one(name, passphrase)
        finally:
            self._opening = ""

    async def _try_one(self, name: str, passphrase: str) -> None:
        try:
            async with self._turn:
                header, secret = await self._in_thread(self._keystore.unseal, name, passphrase)
            with secret:
                self._refuse_other_key(header, secret)
                if self._frozen is not None:
                    return
                self._vault.put(name, recovery.key_of(secret), None)
        except WrongPassphrase:
            log.get_logger().info("wallet.stays_locked", wallet=name, why="it has another passphrase")
        except (Damaged, NotFound) as error:
            self._mark_damaged(name, error.message)
        except Unavailable as error:
            log.get_logger().error("wallet.stays_locked", wallet=name, why=error.message)
        else:
            log.get_logger().info("wallet.unlocked", wallet=name, why="unattended")
            self._tell(name)

    def _opens_unattended(self, passphrase: str) -> bool:
        if self._passphrase_file is None:
            return False
        try:
            return hmac.compare_digest(self._passphrase_file.read().encode(), passphrase.encode())
        except Unavailable as error:
            log.get_logger().warning("wallet.passphrase_file", why=error.message)
            return False

    # --- signing ---

    async def sign(self, name: str, request: Sign, peer: Peer) -> Signature:
        """Sign bytes for a key, once; the same key with the same bytes gives the same signature again.

        The key, the transaction and its amount are on the disk before the signature leaves.

        Raises:
            NotFound, Damaged: as `get`.
            Invalid, Refused: as `signer.judge` and `signer.enter`.
            Conflict: the wallet cannot sign here, or as `signer.enter`.
            Locked: the wallet is locked, or signing is frozen.
            Unavailable: the database cannot be written; nothing was signed.
        """
        header = self._hot(name)
        self._refuse_frozen()
        judged = signer.judge(bytes.fromhex(request.raw_data_hex), header.address, self._policy)
        self._key(name)
        asked, boot = self._asked(request.key, name, peer), self._boot()
        entered = await self._store.write(lambda ledger: signer.enter(ledger, asked, boot, judged, self._policy))
        # A freeze or a lock may have come meanwhile: the record stays, and the same request works later.
        self._refuse_frozen()
        signature = sign(judged.txid, bytes(self._key(name)))
        log.get_logger().info(
            "signer.signed",
            wallet=name,
            key=request.key,
            txid=judged.txid.hex(),
            amount_sun=judged.spent.amount_sun,
            again=not entered.fresh,
            caller=asked.caller,
        )
        if entered.fresh:
            self._bus.publish("signer", self._signer(entered.signed_today_sun))
        return Signature(key=request.key, txid=judged.txid.hex(), signature_hex=signature.hex())

    async def void(self, name: str, key: str, peer: Peer) -> SignRecord:
        """Make sure that a key is never signed; safe to repeat, and possible while a wallet is damaged or frozen.

        Raises:
            NotFound: there is no wallet of that name.
            Conflict: it was signed; `txid` in `extra` says for which transaction.
        """
        if name not in self._damaged:
            self._header(name)
        asked, boot = self._asked(key, name, peer), self._boot()
        record = await self._store.write(lambda ledger: signer.void(ledger, asked, boot))
        log.get_logger().info("signer.voided", wallet=name, key=key, caller=asked.caller)
        return SignRecord(key=record.key, state=record.state, txid=record.txid)

    def _key(self, name: str) -> bytearray:
        key = self._vault.key(name)
        if key is None:
            raise Locked(f"wallet {name} is locked: unlock it with its passphrase", wallet=name)
        return key

    def _asked(self, key: str, name: str, peer: Peer) -> Asked:
        return Asked(key, name, self._clock.now().isoformat(), _caller(peer))

    def _boot(self) -> Boot:
        return Boot(self._boot_id, int(self._clock.monotonic() * 1000))

    # --- the signer as a whole ---

    async def signer(self) -> Signer:
        """How the signer stands."""
        boot = self._boot()
        return self._signer(
            await self._store.read(
                lambda ledger: ledger.spent_since(ledger.running_ms(boot) - signer.DAY_MS).amount_sun
            )
        )

    async def lock_all(self) -> Signer:
        """Lock every wallet."""
        self._lock_all("asked")
        return await self.signer()

    async def freeze(self, request: Freeze, peer: Peer) -> Signer:
        """Stop all signing at once, until an admin unfreezes; a restart does not lift it. Safe to repeat.

        A freeze that comes while an unfreeze is being written down wins.

        Raises:
            Unavailable: it could not be written down; signing is stopped all the same, until a restart.
        """
        before = self._frozen
        # In memory first: what waits for the disk must not be signed meanwhile. Another object each time, so that an
        # unfreeze that waits for the disk sees that it was overtaken.
        freeze = replace(before) if before else FreezeRow(request.reason, _caller(peer), self._second().isoformat())
        self._frozen = freeze
        if before is None:
            self._lock_all("frozen")
            log.get_logger().warning("signer.frozen", by=freeze.frozen_by, reason=freeze.reason)
            self._spawn(self._tell_signer())
        try:
            await self._store.write(lambda ledger: None if ledger.freeze() else ledger.add_freeze(freeze))
        except Unavailable as error:
            raise Unavailable(
                "signing is stopped, but a restart would lift the freeze, for it could not be written down:"
                f" {error.message}"
            ) from error
        return await self.signer()

    async def unfreeze(self, peer: Peer) -> Signer:
        """Let the signer work again. Wallets stay locked, but for those that open unattended. Safe to repeat."""
        lifted = self._frozen
        if lifted is None:
            return await self.signer()
        at = self._second().isoformat()
        await self._store.write(lambda ledger: ledger.lift_freeze(_caller(peer), at))
        if self._frozen is lifted:  # else somebody froze it again meanwhile
            self._frozen = None
            log.get_logger().warning("signer.unfrozen", by=_caller(peer))
            await self._tell_signer()
            try:
                self._open_unattended()
            except Unavailable as error:
                self._opening = error.message
                log.get_logger().error("wallet.stays_locked", why=error.message)
        return await self.signer()

    def _lock_all(self, why: str) -> None:
        for name in self._vault.lock_all():
            log.get_logger().info("wallet.locked", wallet=name, why=why)
            self._tell(name)

    def _refuse_frozen(self) -> None:
        if self._frozen is not None:
            raise signer.frozen(self._frozen)

    def _signer(self, signed_today_sun: int) -> Signer:
        frozen = self._frozen
        return Signer.model_validate(
            {
                "network": self._network,
                "frozen": frozen is not None,
                "frozen_by": frozen and frozen.frozen_by,
                "frozen_reason": frozen and frozen.reason,
                "frozen_at": frozen and frozen.frozen_at,
                "unlocked": len(self._vault),
                "signed_today_sun": signed_today_sun,
                "daily_limit_sun": self._policy.daily_limit_sun,
            }
        )

    async def _tell_signer(self) -> None:
        with contextlib.suppress(Unavailable):  # whoever asks for it is told why; nobody asked here
            self._bus.publish("signer", await self.signer())

    # --- time, threads and tasks ---

    def _second(self) -> datetime:
        """Now to the second, for people."""
        return self._clock.now().replace(microsecond=0)

    async def _keep_time(self) -> None:
        while True:
            with contextlib.suppress(Unavailable):  # the disk is full: budgets stay small, nothing else happens
                await self._note_time()
            await self._clock.sleep(KEEP_TIME_EVERY_S)

    async def _note_time(self) -> None:
        boot = self._boot()
        await self._store.write(lambda ledger: ledger.keep_running_ms(boot))

    @contextlib.asynccontextmanager
    async def _turns(self) -> AsyncIterator[None]:
        """Wait for the thread that stretches passphrases, unless too many do."""
        if self._waiting >= MOST_WAITING:
            raise TooManyRequests("too many passphrases are being checked: try again in a few seconds")
        self._waiting += 1
        try:
            async with self._turn:
                yield
        finally:
            self._waiting -= 1

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run in the one thread. Who is cancelled still waits: what the thread holds must not be wiped under it."""
        running = asyncio.get_running_loop().run_in_executor(self._thread, partial(function, *arguments))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.gather(running, return_exceptions=True)
            raise

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _caller(peer: Peer) -> str:
    return f"{peer.user} (uid {peer.uid}, pid {peer.pid})"
