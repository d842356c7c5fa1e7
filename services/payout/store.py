"""Payouts in SQLite: one row per payout, one per attempt, one per reservation, changed together or not at all.

A reservation belongs to an attempt: it is made in the commit that makes the attempt, is settled once, and is also what
the limits count. A partial unique index holds at most one live attempt per payout.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from services.kit.errors import Conflict, NotFound, Unavailable
from services.kit.money import Asset
from services.kit.store import Store
from services.payout.api import Attempt, ListPayouts, Payout, PayoutReason, PayoutState
from services.payout.jobs import Progress, order_of
from services.payout.policy import DAY_MS, HOUR_MS, Usage
from services.tron.api import Order

MIGRATIONS = (
    """
    CREATE TABLE network (name TEXT NOT NULL) STRICT;

    CREATE TABLE payouts (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        body_hash TEXT NOT NULL,
        state TEXT NOT NULL,
        open INTEGER NOT NULL CHECK (open IN (0, 1)),
        waiting TEXT NOT NULL,
        wallet TEXT NOT NULL,
        from_address TEXT NOT NULL,
        to_address TEXT NOT NULL,
        asset TEXT NOT NULL,
        amount INTEGER NOT NULL CHECK (amount > 0),
        memo TEXT NOT NULL,
        reason TEXT NOT NULL,
        check_code TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        txid TEXT,
        cancel_by TEXT,
        created_by TEXT NOT NULL,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX payouts_by_state ON payouts (state);
    CREATE INDEX payouts_by_wallet ON payouts (wallet);
    CREATE INDEX payouts_by_receiver ON payouts (to_address);
    CREATE INDEX payouts_open ON payouts (seq) WHERE open = 1;

    CREATE TABLE attempts (
        payout INTEGER NOT NULL REFERENCES payouts (seq),
        number INTEGER NOT NULL,
        order_key TEXT NOT NULL UNIQUE,
        wallet TEXT NOT NULL,
        live INTEGER NOT NULL CHECK (live IN (0, 1)),
        handed INTEGER NOT NULL CHECK (handed IN (0, 1)),
        state TEXT NOT NULL,
        txid TEXT,
        shown TEXT NOT NULL,
        PRIMARY KEY (payout, number)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX attempts_one_live ON attempts (payout) WHERE live = 1;
    CREATE INDEX attempts_to_hand_over ON attempts (wallet, payout) WHERE live = 1 AND handed = 0;
    CREATE INDEX attempts_on_their_way ON attempts (wallet, state) WHERE live = 1 AND handed = 1;
    CREATE INDEX attempts_by_txid ON attempts (txid) WHERE txid IS NOT NULL;

    CREATE TABLE reservations (
        payout INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        address TEXT NOT NULL,
        asset TEXT NOT NULL,
        amount INTEGER NOT NULL CHECK (amount > 0),
        fee_sun INTEGER NOT NULL CHECK (fee_sun >= 0),
        chain_ms INTEGER NOT NULL,
        block_number INTEGER,
        outcome TEXT CHECK (outcome IN ('paid', 'released')),
        settled_at TEXT,
        PRIMARY KEY (payout, attempt),
        FOREIGN KEY (payout, attempt) REFERENCES attempts (payout, number)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX reservations_held ON reservations (address, block_number, asset, amount, fee_sun)
        WHERE outcome IS NULL;
    CREATE INDEX reservations_by_time ON reservations (asset, chain_ms, outcome, amount);
    CREATE INDEX reservations_paid ON reservations (settled_at) WHERE outcome = 'paid'
    """,
)
"""`attempts.live`: it may still pay. `attempts.handed`: the TRON client may know its order. `reservations.chain_ms`:
the time of the newest block when it was made. `reservations.outcome`: NULL while it is held."""

QUEUED = "queued"
"""State of an attempt whose order was not handed over yet."""

HANDED = "handed over"
"""State of an attempt whose order may be with the TRON client, which has not answered yet."""

_BACKWARDS = -(2**63)


@dataclass(frozen=True, slots=True)
class Draft:
    """A payout that passed its checks, about to be stored."""

    key: str
    body_hash: str
    wallet: str
    from_address: str
    to: str
    asset: Asset
    amount: int
    memo: str
    reason: PayoutReason
    check_code: str
    by: str
    """Who asked for it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What an attempt sets aside, and when."""

    address: str
    asset: Asset
    amount: int
    """Smallest units of the asset."""
    fee_sun: int
    block_number: int
    """The balance that was looked at is this block's."""
    chain_ms: int
    """Time of the newest block."""
    crowded_fee_sun: int = 0
    """The fee if other payouts use up the bandwidth that is free now."""

    def fee_in(self, usage: Usage) -> int:
        """The most that the network takes, while what is in use is under way before it."""
        return max(self.fee_sun, self.crowded_fee_sun) if usage.open_payouts else self.fee_sun


@dataclass(frozen=True, slots=True)
class Handover:
    """A live attempt, as the TRON client is told of it."""

    seq: int
    payout_id: str
    number: int
    order: Order
    from_address: str
    handed: bool
    """Whether the TRON client may know the order."""
    taken: bool
    """Whether the TRON client said that it has it."""
    cancel_by: str | None
    """Who wants it cancelled."""

    @property
    def ordered(self) -> Order:
        """The order as it leaves: only the address that the operator saw may pay it."""
        return self.order.model_copy(update={"owner": self.from_address})


Check = Callable[[Usage], None]
"""Raises if what is in use leaves no room; runs inside the commit, so that nothing can come between."""


def payout_id(seq: int) -> str:
    """Write a sequence number as operators see it: P-12."""
    return f"P-{seq}"


def seq_of(text: str) -> int:
    """Read `P-12` (or `p-12`, or `12`).

    Raises:
        NotFound: it is no payout's id.
    """
    digits = text.upper().removeprefix("P-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
        raise NotFound(f"there is no payout {text[:40]!r}: ids look like P-12")
    return int(digits)


class PayoutStore:
    """What is remembered of payouts. Every method that writes is one commit, on the disk when it returns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open(self, network: str) -> None:
        """Open the database for one network, for good.

        Raises:
            Unavailable: it cannot be opened, or it holds payouts of another network.
        """
        await self._store.open()

        def claim(db: sqlite3.Connection) -> str:
            row = db.execute("SELECT name FROM network").fetchone()
            if row is None:
                db.execute("INSERT INTO network VALUES (?)", (network,))
            return str(row["name"]) if row else network

        if (stored := await self._store.write(claim)) != network:
            await self._store.close()
            # Its open payouts would be paid a second time, on a network that they were not meant for.
            raise Unavailable(f"this home's payouts are on {stored}, not on {network}: use another home for {network}")

    async def close(self) -> None:
        """Finish what was asked, then close the database."""
        await self._store.close()

    async def by_key(self, key: str) -> tuple[Payout, str] | None:
        """Return the payout of an idempotency key, with the hash of its body."""
        return await self._store.read(lambda db: _by_key(db, key))

    async def usage(self, claim: Claim) -> Usage:
        """Sum up what is in use, from the point of view of a claim."""
        return await self._store.read(lambda db: _usage(db, claim))

    async def twins(self, to: str, asset: Asset, amount: int) -> list[str]:
        """Return ids of open payouts of the same amount to the same receiver, oldest first, ten at most."""
        sql = """SELECT seq FROM payouts WHERE to_address = ? AND asset = ? AND amount = ? AND open = 1
                 ORDER BY seq LIMIT 10"""
        rows = await self._store.read(lambda db: db.execute(sql, (to, asset, amount)).fetchall())
        return [payout_id(row["seq"]) for row in rows]

    async def create(
        self, draft: Draft, claim: Claim, check: Check, now: datetime, per_wallet: int
    ) -> tuple[Payout, bool]:
        """Store a payout, its idempotency record, its reservation and its use of the limits, in one commit.

        It waits for its turn when `per_wallet` payouts of its wallet are before it (0: never). Returns the payout and
        whether it is new: a key that exists gives the payout that it made.

        Raises:
            Conflict: the key was used with another body.
            whatever `check` raises; then nothing is stored.
        """

        def unit(db: sqlite3.Connection) -> tuple[Payout, bool]:
            if known := _by_key(db, draft.key):
                return same_body(*known, draft.body_hash), False
            usage = _usage(db, claim)
            check(usage)
            claimed = replace(claim, fee_sun=claim.fee_in(usage))
            return _insert(db, draft, claimed, now, _in_line(db, draft.wallet, per_wallet)), True

        return await self._store.write(unit)

    async def get(self, seq: int) -> Payout:
        """Return one payout.

        Raises:
            NotFound: there is none of that number.
        """
        return await self._store.read(lambda db: _payout(db, seq))

    async def page(self, query: ListPayouts, before: int | None, to: str | None) -> tuple[list[Payout], int | None]:
        """Return payouts below `before`, newest first, and where the next page begins (None: there is none)."""
        return await self._store.read(lambda db: _page(db, query, before, to))

    async def counts(self) -> dict[str, int]:
        """Count payouts by state; states without any are missing."""
        sql = "SELECT state, count(*) AS n FROM payouts GROUP BY state"
        rows = await self._store.read(lambda db: db.execute(sql).fetchall())
        return {row["state"]: row["n"] for row in rows}

    async def paid_since(self, moment: datetime) -> dict[str, int]:
        """Sum up what was seen paid since a moment, in smallest units by asset."""
        sql = """SELECT asset, sum(amount) AS total FROM reservations
                 WHERE outcome = 'paid' AND settled_at > ? GROUP BY asset"""
        rows = await self._store.read(lambda db: db.execute(sql, (_text(moment),)).fetchall())
        return {row["asset"]: row["total"] for row in rows}

    async def newest_chain_ms(self) -> int:
        """Return the latest chain time of any reservation; 0 when there is none."""
        sql = "SELECT coalesce(max(chain_ms), 0) FROM reservations"
        return int((await self._store.read(lambda db: db.execute(sql).fetchone()))[0])

    async def reopen(self, seq: int, number: int, claim: Claim, check: Check, now: datetime) -> Payout:
        """Open attempt `number`, after the one before it failed on chain or died, with a reservation of its own.

        Raises:
            Conflict: the payout has moved on meanwhile.
            whatever `check` raises; then nothing is stored.
        """

        def unit(db: sqlite3.Connection) -> Payout:
            row = _row(db, seq)
            if row["state"] not in RETRYABLE or row["attempt"] != number - 1:
                raise Conflict(f"{payout_id(seq)} is {row['state']} by now: look at it again")
            usage = _usage(db, claim)
            check(usage)
            _open_attempt(db, row, number, replace(claim, fee_sun=claim.fee_in(usage)))
            _set(
                db, seq, now, state=PayoutState.APPROVED, open=1, waiting="", attempt=number, txid=None, cancel_by=None
            )
            return _payout(db, seq)

        return await self._store.write(unit)

    async def ask_cancel(self, seq: int, by: str, now: datetime) -> tuple[Payout, Handover | None]:
        """Cancel a payout here if its order never left, else note who wants it and return what to cancel over there.

        Raises:
            Conflict: it is final, or its bytes may be anywhere.
        """

        def unit(db: sqlite3.Connection) -> tuple[Payout, Handover | None]:
            row = _row(db, seq)
            state = PayoutState(row["state"])
            if state is PayoutState.CANCELLED:
                return _payout(db, seq), None
            if state.final or state in TOO_LATE:
                raise Conflict(f"{payout_id(seq)} cannot be cancelled: it is {state.value.replace('_', ' ')}")
            handover = _handover(db, seq)
            if handover is not None and handover.handed:
                _set(db, seq, now, cancel_by=by)
                return _payout(db, seq), handover
            if handover is not None:
                _end_attempt(db, seq, handover.number, PayoutState.CANCELLED, now)
            _set(db, seq, now, state=PayoutState.CANCELLED, open=0, waiting="", cancel_by=by)
            return _payout(db, seq), None

        return await self._store.write(unit)

    async def drop_cancel(self, seq: int, now: datetime) -> None:
        """Forget that somebody wanted a payout cancelled: it was too late."""
        await self._store.write(lambda db: _set(db, seq, now, cancel_by=None))

    async def hand_over(self, seq: int) -> Handover | None:
        """Note that the live attempt's order goes to the TRON client now; None when there is no live attempt.

        Stored before the order leaves: from here on it may be there, and only the TRON client can cancel it.
        """

        def unit(db: sqlite3.Connection) -> Handover | None:
            handover = _handover(db, seq)
            if handover is not None and not handover.handed:
                shown = Attempt(number=handover.number, state=HANDED).model_dump_json()
                db.execute(
                    "UPDATE attempts SET handed = 1, state = ?, shown = ? WHERE payout = ? AND live = 1",
                    (HANDED, shown, seq),
                )
            return handover

        return await self._store.write(unit)

    async def live(self, seq: int) -> Handover | None:
        """Return the live attempt of a payout; None when it has none."""
        return await self._store.read(lambda db: _handover(db, seq))

    async def take_back(self, seq: int, number: int, waiting: str, now: datetime) -> Payout | None:
        """Note that the TRON client refused an order for good and does not have it; None when nothing changed."""

        def unit(db: sqlite3.Connection) -> Payout | None:
            shown = Attempt(number=number, state=QUEUED).model_dump_json()
            sql = """UPDATE attempts SET handed = 0, state = ?, shown = ?
                     WHERE payout = ? AND number = ? AND live = 1 AND handed = 1 AND state = ?"""
            changed = db.execute(sql, (QUEUED, shown, seq, number, HANDED)).rowcount
            return _say(db, seq, waiting, now) if changed else None

        return await self._store.write(unit)

    async def say(self, seq: int, waiting: str, now: datetime) -> Payout | None:
        """Note what an open payout waits for; None when nothing changed."""
        return await self._store.write(lambda db: _say(db, seq, waiting, now))

    async def advance(self, progress: Progress, now: datetime) -> Payout | None:
        """Take over how an attempt stands, settling its reservation when it ends; None when nothing changed.

        What was signed is never unsigned, and what was sent never unsent or another transaction: a job that says so
        comes from an older copy of the TRON client's database, and changes only what the payout waits for.

        Raises:
            Conflict: the job is for something else than the attempt ordered.
        """
        return await self._store.write(lambda db: _advance(db, progress, now))

    async def handed_over(self) -> list[int]:
        """Return every payout whose live attempt may be with the TRON client, oldest first."""
        sql = "SELECT payout FROM attempts WHERE live = 1 AND handed = 1 ORDER BY payout"
        return [row["payout"] for row in await self._store.read(lambda db: db.execute(sql).fetchall())]

    async def next_in_line(self, per_wallet: int, resting: frozenset[int]) -> list[int]:
        """Return the payouts whose turn it is, oldest first.

        `per_wallet` payouts of each wallet may be on their way (0: any number). One that a block shows is no longer
        on its way. `resting` ones are passed over.
        """
        return await self._store.read(lambda db: _next_in_line(db, per_wallet, resting))


RETRYABLE = frozenset({PayoutState.FAILED_ON_CHAIN, PayoutState.DEAD})
"""Only these may open a new attempt."""

TOO_LATE = frozenset({PayoutState.SENDING, PayoutState.SEEN})
"""The bytes may be anywhere: nothing can be cancelled."""


def same_body(payout: Payout, stored_hash: str, body_hash: str) -> Payout:
    """Return the payout of a key, if the body is the one that made it.

    Raises:
        Conflict: it is another body.
    """
    if stored_hash != body_hash:
        raise Conflict(
            f"the key {payout.key!r} was used for another payout, {payout.id}: repeat the same body, or take a new key",
            payout=payout.id,
        )
    return payout


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


def _by_key(db: sqlite3.Connection, key: str) -> tuple[Payout, str] | None:
    row = db.execute("SELECT * FROM payouts WHERE key = ?", (key,)).fetchone()
    return (_payouts(db, [row])[0], str(row["body_hash"])) if row else None


def _usage(db: sqlite3.Connection, claim: Claim) -> Usage:
    # A payout in a block at or before the one whose balance was read has left that balance already.
    held = db.execute(
        """SELECT coalesce(sum(CASE WHEN asset = ? THEN amount ELSE 0 END), 0), coalesce(sum(fee_sun), 0), count(*)
           FROM reservations WHERE outcome IS NULL AND address = ? AND (block_number IS NULL OR block_number > ?)""",
        (claim.asset, claim.address, claim.block_number),
    ).fetchone()
    hour, day = (
        db.execute(
            """SELECT coalesce(sum(amount), 0) FROM reservations
               WHERE asset = ? AND chain_ms > ? AND (outcome IS NULL OR outcome = 'paid')""",
            (claim.asset, max(_BACKWARDS, claim.chain_ms - window_ms)),
        ).fetchone()[0]
        for window_ms in (HOUR_MS, DAY_MS)
    )
    return Usage(hour=hour, day=day, reserved=held[0], reserved_fee_sun=held[1], open_payouts=held[2])


def _in_line(db: sqlite3.Connection, wallet: str, per_wallet: int) -> str:
    """Say that a new payout of a wallet has to wait for its turn; empty when it has not."""
    if not per_wallet:
        return ""
    before = db.execute(
        """SELECT (SELECT count(*) FROM attempts WHERE wallet = ?1 AND live = 1 AND handed = 1 AND state <> 'seen')
                + (SELECT count(*) FROM (SELECT 1 FROM attempts
                                         WHERE wallet = ?1 AND live = 1 AND handed = 0 LIMIT ?2))""",
        (wallet, per_wallet),
    ).fetchone()[0]
    if before < per_wallet:
        return ""
    return f"its turn: at most {per_wallet} payouts of {wallet} are on their way at once (PAYOUT_MAX_CONCURRENT)"


def _insert(db: sqlite3.Connection, draft: Draft, claim: Claim, now: datetime, waiting: str) -> Payout:
    values: dict[str, Any] = {
        "key": draft.key, "body_hash": draft.body_hash, "state": PayoutState.APPROVED, "open": 1, "waiting": waiting,
        "wallet": draft.wallet, "from_address": draft.from_address, "to_address": draft.to, "asset": draft.asset,
        "amount": draft.amount, "memo": draft.memo, "reason": draft.reason, "check_code": draft.check_code,
        "attempt": 1, "created_by": draft.by, "created_at": _text(now), "updated_at": _text(now),
    }  # fmt: skip
    marks = ", ".join("?" * len(values))
    sql = f"INSERT INTO payouts ({', '.join(values)}) VALUES ({marks}) RETURNING *"  # noqa: S608 - names of ours
    row = db.execute(sql, tuple(values.values())).fetchone()
    _open_attempt(db, row, 1, claim)
    return _payout(db, row["seq"])


def _open_attempt(db: sqlite3.Connection, row: sqlite3.Row, number: int, claim: Claim) -> None:
    order = _order(row, number)
    shown = Attempt(number=number, state=QUEUED).model_dump_json()
    db.execute(
        "INSERT INTO attempts (payout, number, order_key, wallet, live, handed, state, shown)"
        " VALUES (?, ?, ?, ?, 1, 0, ?, ?)",
        (row["seq"], number, order.key, row["wallet"], QUEUED, shown),
    )
    db.execute(
        "INSERT INTO reservations (payout, attempt, address, asset, amount, fee_sun, chain_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (row["seq"], number, claim.address, claim.asset, claim.amount, claim.fee_sun, claim.chain_ms),
    )


def _end_attempt(db: sqlite3.Connection, seq: int, number: int, state: PayoutState, now: datetime) -> None:
    """End a live attempt and settle its reservation, which can happen once only."""
    db.execute("UPDATE attempts SET live = 0, state = ? WHERE payout = ? AND number = ?", (state, seq, number))
    if state is PayoutState.CANCELLED:
        sql = "UPDATE attempts SET shown = json_set(shown, '$.state', ?) WHERE payout = ? AND number = ?"
        db.execute(sql, (state, seq, number))
    outcome = "paid" if state is PayoutState.PAID else "released"
    settled = db.execute(
        "UPDATE reservations SET outcome = ?, settled_at = ? WHERE payout = ? AND attempt = ? AND outcome IS NULL",
        (outcome, _text(now), seq, number),
    ).rowcount
    if settled != 1:
        raise AssertionError(f"attempt {number} of {payout_id(seq)} has {settled} open reservations instead of one")


def _advance(db: sqlite3.Connection, progress: Progress, now: datetime) -> Payout | None:
    new, key = progress.attempt, progress.order.key
    sql = "SELECT payout, number, live, state, txid, shown FROM attempts WHERE order_key = ?"
    known = db.execute(sql, (key,)).fetchone()
    if known is None or not known["live"]:
        return None  # not ours, or ended: an end is for good
    row = _row(db, known["payout"])
    if _order(row, known["number"]) != progress.order:
        raise Conflict(f"the TRON client's order {key} is for something else than {payout_id(row['seq'])}")
    if words := _step_back(known, progress):
        return _say(db, row["seq"], words, now)
    shown = new.model_dump_json()
    if (known["shown"], row["state"], row["waiting"]) == (shown, progress.state, progress.waiting):
        return None
    seq, number = known["payout"], known["number"]
    db.execute(
        "UPDATE attempts SET handed = 1, state = ?, txid = ?, shown = ? WHERE payout = ? AND number = ?",
        (progress.state, new.txid, shown, seq, number),
    )
    sql = "UPDATE reservations SET block_number = ? WHERE payout = ? AND attempt = ?"
    db.execute(sql, (new.block_number, seq, number))
    final = progress.state.final
    if final:
        _end_attempt(db, seq, number, progress.state, now)
    _set(db, seq, now, state=progress.state, open=int(not final), waiting=progress.waiting, txid=new.txid)
    return _payout(db, seq)


_STEPS = {PayoutState.SIGNED: 1, PayoutState.SENDING: 2, PayoutState.SEEN: 2}
"""How far an attempt has come, from where on there is no way back."""


def _step_back(known: sqlite3.Row, progress: Progress) -> str:
    """Say what is wrong with a job that stands where it cannot; empty when nothing is."""
    step, new = _STEPS.get(known["state"], 0), progress.state
    cancelled = new is PayoutState.CANCELLED and step < _STEPS[PayoutState.SENDING]
    back = _STEPS.get(new, 0) < step and not cancelled and (not new.final or new is PayoutState.CANCELLED)
    if step and progress.attempt.txid not in {None, known["txid"]}:
        return (
            f"the TRON client goes on with another transaction, {progress.attempt.txid}, though {known['txid']} may "
            "have paid: its database was lost or replaced; look both up on the chain"
        )
    if back:
        return (
            f"the TRON client says {progress.attempt.state}, and was further before: an older copy of its database was "
            "put back; restore the newest one"
        )
    return ""


def _say(db: sqlite3.Connection, seq: int, waiting: str, now: datetime) -> Payout | None:
    row = _row(db, seq)
    if not row["open"] or row["waiting"] == waiting:
        return None
    _set(db, seq, now, waiting=waiting)
    return _payout(db, seq)


def _set(db: sqlite3.Connection, seq: int, now: datetime, **values: Any) -> None:
    values["updated_at"] = _text(now)
    columns = ", ".join(f"{name} = ?" for name in values)
    db.execute(f"UPDATE payouts SET {columns} WHERE seq = ?", (*values.values(), seq))  # noqa: S608 - names of ours


def _order(row: sqlite3.Row, number: int) -> Order:
    return order_of(
        row["key"],
        number,
        wallet=row["wallet"],
        to=row["to_address"],
        amount_sun=row["amount"],
        memo=row["memo"],
    )


def _handover(db: sqlite3.Connection, seq: int) -> Handover | None:
    sql = "SELECT number, handed, state FROM attempts WHERE payout = ? AND live = 1"
    live = db.execute(sql, (seq,)).fetchone()
    if live is None:
        return None
    row = _row(db, seq)
    return Handover(
        seq=seq,
        payout_id=payout_id(seq),
        number=live["number"],
        order=_order(row, live["number"]),
        from_address=row["from_address"],
        handed=bool(live["handed"]),
        taken=bool(live["handed"]) and live["state"] != HANDED,
        cancel_by=row["cancel_by"],
    )


def _next_in_line(db: sqlite3.Connection, per_wallet: int, resting: frozenset[int]) -> list[int]:
    turns: list[int] = []
    wallets = db.execute("SELECT DISTINCT wallet FROM attempts WHERE live = 1 AND handed = 0").fetchall()
    for (wallet,) in wallets:
        sql = "SELECT count(*) FROM attempts WHERE wallet = ? AND live = 1 AND handed = 1 AND state <> 'seen'"
        free = max(0, per_wallet - int(db.execute(sql, (wallet,)).fetchone()[0])) if per_wallet else -1
        sql = "SELECT payout FROM attempts WHERE wallet = ? AND live = 1 AND handed = 0 ORDER BY payout LIMIT ?"
        rows = db.execute(sql, (wallet, free + len(resting) if per_wallet else -1)).fetchall()
        awake = [row["payout"] for row in rows if row["payout"] not in resting]
        turns += awake[:free] if per_wallet else awake
    return sorted(turns)


def _page(
    db: sqlite3.Connection, query: ListPayouts, before: int | None, to: str | None
) -> tuple[list[Payout], int | None]:
    where, values = _filters(query, to)
    if before is not None:
        where.append("seq < ?")
        values.append(before)
    condition = f"WHERE {' AND '.join(where)}" if where else ""
    sql = f"SELECT * FROM payouts {condition} ORDER BY seq DESC LIMIT ?"  # noqa: S608 - only our own words
    rows = db.execute(sql, (*values, query.limit + 1)).fetchall()
    following = rows[query.limit - 1]["seq"] if len(rows) > query.limit else None
    return _payouts(db, rows[: query.limit]), following


def _filters(query: ListPayouts, to: str | None) -> tuple[list[str], list[Any]]:
    wanted: list[tuple[str, Any]] = []
    if query.state is not None:
        wanted.append(("state = ?", query.state))
    if query.open is not None:
        # Written out, so that the partial index of open payouts can be used.
        wanted.append(("open = 1" if query.open else "open = 0", None))
    if query.wallet is not None:
        wanted.append(("wallet = ?", query.wallet))
    if to is not None:
        wanted.append(("to_address = ?", to))
    if query.txid is not None:
        wanted.append(("seq IN (SELECT payout FROM attempts WHERE txid = ?)", query.txid.lower()))
    where, values = [sql for sql, _ in wanted], [value for _, value in wanted if value is not None]
    if query.text:
        columns = ("'P-' || seq", "key", "memo", "to_address", "from_address")
        where.append("(" + " OR ".join(f"{column} LIKE ? ESCAPE '\\'" for column in columns) + ")")
        values += [f"%{_escape(query.text)}%"] * len(columns)
    return where, values


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _row(db: sqlite3.Connection, seq: int) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute("SELECT * FROM payouts WHERE seq = ?", (seq,)).fetchone()
    if row is None:
        raise NotFound(f"there is no payout {payout_id(seq)}")
    return row


def _payout(db: sqlite3.Connection, seq: int) -> Payout:
    return _payouts(db, [_row(db, seq)])[0]


def _payouts(db: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> list[Payout]:
    """Make the wire models of rows, with all their attempts in one more query."""
    marks = ", ".join("?" * len(rows))
    sql = f"SELECT payout, shown FROM attempts WHERE payout IN ({marks}) ORDER BY payout, number"  # noqa: S608 - marks
    attempts: dict[int, list[Attempt]] = {row["seq"]: [] for row in rows}
    for payout, shown in db.execute(sql, tuple(attempts)):
        attempts[payout].append(Attempt.model_validate_json(shown))
    return [_model(row, attempts[row["seq"]]) for row in rows]


def _model(row: sqlite3.Row, attempts: Iterable[Attempt]) -> Payout:
    return Payout(
        id=payout_id(row["seq"]),
        key=row["key"],
        state=PayoutState(row["state"]),
        waiting=row["waiting"],
        wallet=row["wallet"],
        from_address=row["from_address"],
        to=row["to_address"],
        asset=Asset(row["asset"]),
        amount=row["amount"],
        memo=row["memo"],
        reason=PayoutReason(row["reason"]),
        check_code=row["check_code"],
        txid=row["txid"],
        attempt=row["attempt"],
        attempts=tuple(attempts),
        created_by=row["created_by"],
        created_at=datetime.fromisoformat(row["created_at"]),
        updated_at=datetime.fromisoformat(row["updated_at"]),
    )
