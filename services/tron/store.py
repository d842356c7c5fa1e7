"""What the sender remembers: jobs, the bytes that were built for them, and what endpoints said.

Every change of state is a compare-and-set in one commit: it names the states that it starts from and, where bytes are
concerned, their txid; it returns None, and changes nothing, when the job is somewhere else by now. Triggers hold what
must never happen whatever the code above does: bytes do not change, a signed build is not thrown away, a final state
stays, and a job has one live build at most.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.kit.clock import Clock
from services.kit.errors import Conflict, NotFound, Unavailable
from services.kit.store import Store
from services.tron import api
from services.tron.api import JobState
from services.tron.build import Built
from services.tron.evidence import Final

MIGRATIONS = (
    """
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        body_sha256 TEXT NOT NULL,
        body TEXT NOT NULL,
        owner TEXT NOT NULL DEFAULT '',
        state TEXT NOT NULL CHECK (state IN ('accepted', 'built', 'signed', 'sending', 'seen',
                                             'paid', 'failed_on_chain', 'dead', 'cancelled')),
        waiting TEXT NOT NULL DEFAULT '',
        build INTEGER NOT NULL DEFAULT 0,
        block_number INTEGER,
        fee_sun INTEGER,
        sends INTEGER NOT NULL DEFAULT 0,
        sending_at TEXT,
        proof TEXT,
        evidence TEXT,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL
    ) STRICT;
    CREATE INDEX jobs_live ON jobs (id) WHERE state IN ('accepted', 'built', 'signed', 'sending', 'seen');
    CREATE TABLE builds (
        key TEXT NOT NULL REFERENCES jobs (key),
        number INTEGER NOT NULL,
        txid TEXT NOT NULL UNIQUE,
        raw BLOB NOT NULL,
        expiration_ms INTEGER NOT NULL,
        signature BLOB,
        void INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (key, number)
    ) STRICT;
    CREATE UNIQUE INDEX one_live_build ON builds (key) WHERE void = 0;
    CREATE TABLE answers (
        key TEXT NOT NULL REFERENCES jobs (key),
        endpoint TEXT NOT NULL,
        code TEXT NOT NULL,
        message TEXT NOT NULL,
        reading TEXT NOT NULL,
        at TEXT NOT NULL,
        PRIMARY KEY (key, endpoint)
    ) STRICT;
    CREATE TRIGGER final_is_final BEFORE UPDATE OF state ON jobs
        WHEN OLD.state IN ('paid', 'failed_on_chain', 'dead', 'cancelled') AND NEW.state <> OLD.state
        BEGIN SELECT RAISE(ABORT, 'a final state stays'); END;
    CREATE TRIGGER never_back_from_sending BEFORE UPDATE OF state ON jobs
        WHEN OLD.state IN ('sending', 'seen') AND NEW.state IN ('accepted', 'built', 'signed', 'cancelled')
        BEGIN SELECT RAISE(ABORT, 'bytes may be anywhere: there is no way back'); END;
    CREATE TRIGGER bytes_stay BEFORE UPDATE OF txid, raw, expiration_ms ON builds
        BEGIN SELECT RAISE(ABORT, 'built bytes do not change'); END;
    CREATE TRIGGER signed_stays BEFORE UPDATE OF void ON builds
        WHEN OLD.signature IS NOT NULL
        BEGIN SELECT RAISE(ABORT, 'a signed build cannot be thrown away'); END;
    """,
)
"""Scripts that lead from one version of the database to the next."""

_LIVE = "('accepted', 'built', 'signed', 'sending', 'seen')"
_SELECT = """
    SELECT jobs.*, builds.txid, builds.raw, builds.expiration_ms, builds.signature
    FROM jobs LEFT JOIN builds ON builds.key = jobs.key AND builds.void = 0
"""


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job with its live build, as it stood at one commit."""

    order: api.Order
    owner: str
    """Address that pays, base58; empty until the wallet told it."""
    state: JobState
    waiting: str
    build: int
    """How many transactions were built for it; all but the last are void and unsigned."""
    txid: str | None
    raw: bytes | None
    expiration_ms: int | None
    signature: bytes | None
    block_number: int | None
    fee_sun: int | None
    sends: int
    answers: tuple[api.Answer, ...]
    proof: api.DeathProof | None
    sending_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def key(self) -> str:
        """The caller's idempotency key."""
        return self.order.key

    def job(self) -> api.Job:
        """The same for callers of this service."""
        return api.Job(
            key=self.key,
            state=self.state,
            waiting=self.waiting,
            wallet=self.order.wallet,
            owner=self.owner,
            contract=self.order.contract,
            memo=self.order.memo,
            txid=self.txid,
            raw_data_hex=self.raw.hex() if self.raw else None,
            expiration_ms=self.expiration_ms,
            block_number=self.block_number,
            fee_sun=self.fee_sun,
            sends=self.sends,
            answers=self.answers,
            proof=self.proof,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


class JobStore:
    """Jobs in a SQLite file."""

    def __init__(self, db: Store, clock: Clock) -> None:
        """Keep jobs in `db`, which was made with `MIGRATIONS`; `clock` dates rows for people."""
        self._db = db
        self._clock = clock

    async def open(self, network: str) -> None:
        """Open the file and bind it to a network for ever.

        Raises:
            Unavailable: it cannot be opened, or it belongs to another network.
        """
        await self._db.open()

        def bind(connection: sqlite3.Connection) -> str:
            connection.execute("INSERT OR IGNORE INTO facts VALUES ('network', ?)", (network,))
            return str(connection.execute("SELECT value FROM facts WHERE name = 'network'").fetchone()[0])

        bound = await self._db.write(bind)
        if bound != network:
            raise Unavailable(
                f"the orders in this home are of {bound}, the settings say {network}: use another home for {network}"
            )

    async def close(self) -> None:
        """Finish what was asked, then close the file."""
        await self._db.close()

    # --- reading ---

    async def get(self, key: str) -> JobRow:
        """Return a job.

        Raises:
            NotFound: no order has this key.
        """
        row = await self._db.read(lambda connection: _fetch(connection, key))
        if row is None:
            raise NotFound(f"no order has the key {key}")
        return row

    async def by_txid(self, txid: str) -> JobRow | None:
        """Return the job that a transaction belongs to, void builds included."""

        def find(connection: sqlite3.Connection) -> JobRow | None:
            found = connection.execute("SELECT key FROM builds WHERE txid = ?", (txid,)).fetchone()
            return _fetch(connection, found["key"]) if found else None

        return await self._db.read(find)

    async def list(self, live: bool | None, limit: int) -> tuple[JobRow, ...]:
        """Return jobs, newest first; `live` chooses those that are final or those that are not."""
        where = {None: "", True: f"WHERE state IN {_LIVE}", False: f"WHERE state NOT IN {_LIVE}"}[live]

        def find(connection: sqlite3.Connection) -> tuple[JobRow, ...]:
            rows = connection.execute(f"{_SELECT} {where} ORDER BY jobs.id DESC LIMIT ?", (limit,))
            return tuple(_row(connection, row) for row in rows.fetchall())

        return await self._db.read(find)

    async def live_keys(self) -> tuple[str, ...]:
        """Return the keys of all jobs that are not final, oldest first."""

        def find(connection: sqlite3.Connection) -> tuple[str, ...]:
            rows = connection.execute(f"SELECT key FROM jobs WHERE state IN {_LIVE} ORDER BY id")  # noqa: S608
            return tuple(row["key"] for row in rows)

        return await self._db.read(find)

    # --- changing ---

    async def add(self, order: api.Order, body_sha256: str) -> JobRow:
        """Keep an order, once: the same key gives the job that is there.

        Raises:
            Conflict: the key was used for a different order.
        """

        def unit(connection: sqlite3.Connection) -> JobRow:
            now = self._now()
            connection.execute(
                "INSERT INTO jobs (key, body_sha256, body, state, created_at, updated_at)"
                " VALUES (?, ?, ?, 'accepted', ?, ?) ON CONFLICT (key) DO NOTHING",
                (order.key, body_sha256, order.model_dump_json(), now, now),
            )
            found = connection.execute("SELECT body_sha256 FROM jobs WHERE key = ?", (order.key,)).fetchone()
            if found["body_sha256"] != body_sha256:
                raise Conflict(f"the key {order.key} was used for a different order: take a new key, or the same order")
            return _must(connection, order.key)

        return await self._db.write(unit)

    async def build(self, key: str, owner: str, make: Callable[[int], Built]) -> JobRow | None:
        """accepted → built: keep the bytes that `make(timestamp of the last build in ms)` returns.

        The last timestamp is counted up in the same commit, so that no two builds of this node are alike.
        """

        def unit(connection: sqlite3.Connection) -> JobRow | None:
            job = connection.execute("SELECT state, build, owner FROM jobs WHERE key = ?", (key,)).fetchone()
            if job["state"] != "accepted" or job["owner"] not in {"", owner}:
                return None
            last = connection.execute("SELECT value FROM facts WHERE name = 'last_timestamp_ms'").fetchone()
            made = make(int(last["value"]) if last else 0)
            connection.execute(
                "INSERT INTO facts VALUES ('last_timestamp_ms', ?)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (str(made.timestamp_ms),),
            )
            connection.execute(
                "INSERT INTO builds (key, number, txid, raw, expiration_ms) VALUES (?, ?, ?, ?, ?)",
                (key, job["build"] + 1, made.txid, made.raw, made.expiration_ms),
            )
            return self._move(connection, key, ("accepted",), "built", build=job["build"] + 1, owner=owner)

        return await self._db.write(unit)

    async def unbuild(self, key: str, txid: str) -> JobRow | None:
        """built → accepted: the wallet will never sign these bytes, so others may be built."""

        def unit(connection: sqlite3.Connection) -> JobRow | None:
            row = self._move(connection, key, ("built",), "accepted", txid=txid)
            if row is None:
                return None
            connection.execute("UPDATE builds SET void = 1 WHERE key = ? AND txid = ?", (key, txid))
            return _must(connection, key)

        return await self._db.write(unit)

    async def sign(self, key: str, txid: str, signature: bytes) -> JobRow | None:
        """built → signed: keep the signature."""

        def unit(connection: sqlite3.Connection) -> JobRow | None:
            row = self._move(connection, key, ("built",), "signed", txid=txid)
            if row is None:
                return None
            connection.execute("UPDATE builds SET signature = ? WHERE key = ? AND txid = ?", (signature, key, txid))
            return _must(connection, key)

        return await self._db.write(unit)

    async def depart(self, key: str, txid: str) -> JobRow | None:
        """signed → sending: from here on the bytes may be anywhere."""
        return await self._db.write(
            lambda connection: self._move(
                connection, key, ("signed",), "sending", txid=txid, sends=1, sending_at=self._now()
            )
        )

    async def count_send(self, key: str, txid: str) -> JobRow | None:
        """Count one more send of the same bytes, before it happens."""

        def unit(connection: sqlite3.Connection) -> JobRow | None:
            row = _fetch(connection, key)
            if row is None or row.txid != txid or row.state not in {JobState.SENDING, JobState.SEEN}:
                return None
            connection.execute("UPDATE jobs SET sends = sends + 1, updated_at = ? WHERE key = ?", (self._now(), key))
            return _must(connection, key)

        return await self._db.write(unit)

    async def note_answers(self, key: str, answers: Sequence[api.Answer]) -> JobRow:
        """Keep each endpoint's last answer to a broadcast."""

        def unit(connection: sqlite3.Connection) -> JobRow:
            connection.executemany(
                "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key, endpoint) DO UPDATE SET"
                " code = excluded.code, message = excluded.message, reading = excluded.reading, at = excluded.at",
                [(key, item.endpoint, item.code, item.message, item.reading, item.at.isoformat()) for item in answers],
            )
            connection.execute("UPDATE jobs SET updated_at = ? WHERE key = ?", (self._now(), key))
            return _must(connection, key)

        return await self._db.write(unit)

    async def see(self, key: str, block_number: int) -> JobRow | None:
        """sending → seen, or another block than before."""
        return await self._db.write(
            lambda connection: self._move(
                connection, key, ("sending", "seen"), "seen", block_number=block_number, waiting=""
            )
        )

    async def lose(self, key: str) -> JobRow | None:
        """seen → sending: no endpoint shows it any more."""
        return await self._db.write(
            lambda connection: self._move(connection, key, ("seen",), "sending", block_number=None)
        )

    async def finish(self, key: str, txid: str, final: Final, witnesses: Sequence[str]) -> JobRow | None:
        """sending or seen → paid or failed_on_chain, as the solid blocks of `witnesses` say."""
        return await self._db.write(
            lambda connection: self._move(
                connection, key, ("sending", "seen"), final.state.value, txid=txid, block_number=final.block_number,
                fee_sun=final.fee_sun, evidence=json.dumps(list(witnesses)), waiting="", proof=None,
            )
        )  # fmt: skip

    async def die(self, key: str, proof: api.DeathProof) -> JobRow | None:
        """sending or seen → dead, with the proof."""
        return await self._db.write(
            lambda connection: self._move(
                connection, key, ("sending", "seen"), "dead", txid=proof.txid, proof=proof.model_dump_json(),
                block_number=None, waiting="",
            )
        )  # fmt: skip

    async def note_proof(self, key: str, proof: api.DeathProof | None) -> JobRow | None:
        """Keep a death proof that an operator has to accept, or drop it; the state stays."""

        def unit(connection: sqlite3.Connection) -> JobRow | None:
            row = _fetch(connection, key)
            if row is None or row.state not in {JobState.SENDING, JobState.SEEN}:
                return None
            text = proof.model_dump_json() if proof else None
            return self._move(connection, key, (row.state.value,), row.state.value, proof=text)

        return await self._db.write(unit)

    async def cancel(self, key: str) -> JobRow | None:
        """accepted, built or signed → cancelled: nothing has left, and nothing will."""
        return await self._db.write(
            lambda connection: self._move(connection, key, ("accepted", "built", "signed"), "cancelled", waiting="")
        )

    async def wait(self, key: str, state: JobState, words: str) -> JobRow | None:
        """Say what a job waits for; None when it says so already."""
        return await self._db.write(
            lambda connection: self._move(connection, key, (state.value,), state.value, unless_waiting=words)
        )

    def _now(self) -> str:
        return self._clock.now().isoformat()

    def _move(
        self,
        connection: sqlite3.Connection,
        key: str,
        sources: tuple[str, ...],
        target: str,
        *,
        txid: str | None = None,
        unless_waiting: str | None = None,
        **columns: str | int | None,
    ) -> JobRow | None:
        """Compare and set: from one of `sources` (and with the live bytes of `txid`) to `target`, else None."""
        columns = {"state": target, "updated_at": self._now(), **columns}
        where = f"key = ? AND state IN ({', '.join('?' * len(sources))})"
        values: list[str | int | None] = [key, *sources]
        if target in {"built", "signed", "sending"} and unless_waiting is None:
            columns.setdefault("waiting", "")
        if txid is not None:
            where += " AND EXISTS (SELECT 1 FROM builds WHERE builds.key = jobs.key AND void = 0 AND txid = ?)"
            values.append(txid)
        if unless_waiting is not None:
            columns["waiting"] = unless_waiting
            where += " AND waiting <> ?"
            values.append(unless_waiting)
        assignments = ", ".join(f"{name} = ?" for name in columns)
        done = connection.execute(f"UPDATE jobs SET {assignments} WHERE {where}", [*columns.values(), *values])  # noqa: S608
        return _must(connection, key) if done.rowcount else None


def _fetch(connection: sqlite3.Connection, key: str) -> JobRow | None:
    row = connection.execute(f"{_SELECT} WHERE jobs.key = ?", (key,)).fetchone()
    return _row(connection, row) if row else None


def _must(connection: sqlite3.Connection, key: str) -> JobRow:
    row = _fetch(connection, key)
    if row is None:
        raise NotFound(f"no order has the key {key}")
    return row


def _row(connection: sqlite3.Connection, row: sqlite3.Row) -> JobRow:
    said = connection.execute("SELECT * FROM answers WHERE key = ? ORDER BY endpoint", (row["key"],))
    return JobRow(
        order=api.Order.model_validate_json(row["body"]),
        owner=row["owner"],
        state=JobState(row["state"]),
        waiting=row["waiting"],
        build=row["build"],
        txid=row["txid"],
        raw=row["raw"],
        expiration_ms=row["expiration_ms"],
        signature=row["signature"],
        block_number=row["block_number"],
        fee_sun=row["fee_sun"],
        sends=row["sends"],
        answers=tuple(
            api.Answer(
                endpoint=item["endpoint"],
                code=item["code"],
                message=item["message"],
                reading=item["reading"],
                at=datetime.fromisoformat(item["at"]),
            )
            for item in said.fetchall()
        ),
        proof=api.DeathProof.model_validate_json(row["proof"]) if row["proof"] else None,
        sending_at=datetime.fromisoformat(row["sending_at"]) if row["sending_at"] else None,
        created_at=datetime.fromisoformat(row["created_at"]),
        updated_at=datetime.fromisoformat(row["updated_at"]),
    )
