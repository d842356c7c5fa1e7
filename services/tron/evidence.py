"""What endpoints show of one transaction: whether it is in a block, whether that is final, or whether it can never be.

Nothing final rests on one endpoint where two are configured. Bytes are compared, not ids: an endpoint that shows other
bytes under our txid shows nothing.

Why the death proof holds. A block takes a transaction only while the time of the block before it is lower than the
expiration (java-tron, `Manager.validateCommon`: refused when `expiration <= head block time`). The block's own time may
be later than the expiration, by a slot or by many missed ones. Now let S be a solid block with `S.time > expiration`,
and suppose the transaction stands in a block B of the final chain. If B came after S, the block before B would be S or
a descendant of it, with a time that is not lower than S's, hence later than the expiration, and B would not be valid.
So B is S or before it, and a node that has S solid knows the transaction. A node that does not know it, asked after it
showed S, therefore says that no block of its final chain has it or ever will. (S.time = expiration would do by the same
reasoning; the strict comparison leaves room for a node that takes the last moment for valid.)

Two things are taken for granted there, and asked for therefore: that the node is on our chain, and that its history
reaches back far enough (a node that was set up from a snapshot has no older transactions, and says so by an empty
answer). Both are shown by the block that the transaction refers to: whoever has it, solid, has all that came after it.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.kit import log
from services.protocol.transaction import RawData
from services.tron import api
from services.tron.api import JobState
from services.tron.endpoints import NONSENSE, BlockRef, Endpoints, Upstream, read_block
from services.tron.node import Kind, NodeError

_UNSOLID, _SOLID = "wallet", "walletsolidity"
_NEWEST_SOLID = (f"{_SOLID}/getblock", {"detail": False})

_REF_BLOCKS = 1 << 16
"""A transaction names the block that it refers to by the two low bytes of its number."""

_MOST_ROUNDS = 400
"""How often those bytes may have come round since: more than two years."""

_BLOCKS_AHEAD = 100
"""How far a block may be ahead of the head that its endpoint showed last."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The transaction that is looked for."""

    txid: str
    raw_hex: str
    """Its raw_data bytes in lower-case hex."""
    expiration_ms: int

    @property
    def ref_block(self) -> tuple[int, bytes]:
        """The two low bytes of its reference block's number, and bytes 8 to 16 of that block's id."""
        raw_data = RawData.decode(bytes.fromhex(self.raw_hex), strict=False)
        return int.from_bytes(raw_data.ref_block_bytes), raw_data.ref_block_hash


@dataclass(frozen=True, slots=True)
class Final:
    """How a transaction ended, as solid data of one or more endpoints say alike."""

    state: JobState
    """PAID or FAILED_ON_CHAIN."""
    block_number: int
    fee_sun: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one endpoint shows of the transaction."""

    endpoint: str
    block_number: int | None = None
    """The block that has it; None: this endpoint does not know it."""
    final: Final | None = None
    """Set when that block is solid there."""


@dataclass(frozen=True, slots=True)
class View:
    """What all endpoints show of the transaction; those that could not be asked are missing."""

    sightings: tuple[Sighting, ...]
    needed: int
    """How many must say the same before it is final."""

    @property
    def final(self) -> Final | None:
        """The end that enough endpoints agree on; None if too few do, or if they contradict each other."""
        counts = Counter(sighting.final for sighting in self.sightings if sighting.final)
        enough = [final for final, count in counts.items() if count >= self.needed]
        return enough[0] if len(enough) == 1 else None

    @property
    def block_number(self) -> int | None:
        """The block that has it, as most endpoints say that know it."""
        counts = Counter(found.block_number for found in self.sightings if found.block_number is not None)
        return counts.most_common(1)[0][0] if counts else None

    @property
    def disagree(self) -> bool:
        """Whether solid data of two endpoints contradict each other."""
        return len({sighting.final for sighting in self.sightings if sighting.final}) > 1

    @property
    def missing(self) -> frozenset[str]:
        """Names of the endpoints that do not know it."""
        return frozenset(sighting.endpoint for sighting in self.sightings if sighting.block_number is None)

    @property
    def witnesses(self) -> tuple[str, ...]:
        """Names of the endpoints that say how it ended."""
        return tuple(sighting.endpoint for sighting in self.sightings if sighting.final)


@dataclass(frozen=True, slots=True)
class Doubt:
    """What an endpoint that is no witness of a death says instead."""

    words: str
    knows_it: bool = False


@dataclass(frozen=True, slots=True)
class Inquest:
    """What came of trying to prove a death."""

    proof: api.DeathProof | None = None
    doubts: tuple[Doubt, ...] = ()
    """Why some endpoints are no witnesses."""

    @property
    def known(self) -> bool:
        """Whether an endpoint knows the transaction."""
        return any(doubt.knows_it for doubt in self.doubts)

    @property
    def words(self) -> str:
        """The doubts as one text."""
        return "; ".join(doubt.words for doubt in self.doubts)


class Evidence:
    """Asks endpoints about transactions that this node made."""

    def __init__(self, endpoints: Endpoints) -> None:
        """Ask `endpoints`, as many as `endpoints.needed` for anything final."""
        self._endpoints = endpoints

    @property
    def needed(self) -> int:
        """How many endpoints must agree."""
        return self._endpoints.needed

    async def look(self, sent: Sent) -> View:
        """Ask every endpoint what it shows of a transaction."""
        found = await asyncio.gather(*(self._look_at(upstream, sent) for upstream in self._endpoints.usable()))
        return View(tuple(sighting for sighting in found if sighting), self.needed)

    async def _look_at(self, upstream: Upstream, sent: Sent) -> Sighting | None:
        try:
            info = await self._info(upstream, _UNSOLID, sent)
            if info is None:
                return Sighting(upstream.name)
            number = info["blockNumber"]
            if upstream.solid is not None and number <= upstream.solid.number:
                final = await self._final(upstream, sent)
                if final is not None:
                    return Sighting(upstream.name, final.block_number, final)
            if await self._transaction(upstream, _UNSOLID, sent) is None:
                return Sighting(upstream.name)
            return Sighting(upstream.name, number)
        except NodeError as error:
            log.get_logger().info("evidence.not_given", endpoint=upstream.name, txid=sent.txid, reason=error.message)
            return None
        except NONSENSE:
            log.get_logger().info("evidence.nonsense", endpoint=upstream.name, txid=sent.txid, exc_info=True)
            return None

    async def _final(self, upstream: Upstream, sent: Sent) -> Final | None:
        """How the transaction ended by this endpoint's solid data; None while they do not have it."""
        info = await self._info(upstream, _SOLID, sent)
        shown = await self._transaction(upstream, _SOLID, sent)
        if info is None or shown is None:
            return None
        return Final(_ending(info, shown, upstream.name), info["blockNumber"], info.get("fee", 0))

    async def _info(self, upstream: Upstream, part: str, sent: Sent) -> dict[str, Any] | None:
        """The receipt of a transaction that is in a block, else None."""
        info = await upstream.post(f"{part}/gettransactioninfobyid", {"value": sent.txid})
        if not info:
            return None
        well = info.get("id") == sent.txid and _is_count(info.get("blockNumber")) and _is_count(info.get("fee", 0))
        if not well:
            raise NodeError("it shows a receipt that is not this transaction's", Kind.GARBLED, upstream.name)
        if upstream.head is not None and info["blockNumber"] > upstream.head.number + _BLOCKS_AHEAD:
            raise NodeError("it shows the transaction in a block that does not exist", Kind.GARBLED, upstream.name)
        return info

    async def _transaction(self, upstream: Upstream, part: str, sent: Sent) -> dict[str, Any] | None:
        """The transaction as it stands in a block, else None; its bytes are ours."""
        shown = await upstream.post(f"{part}/gettransactionbyid", {"value": sent.txid})
        if not shown:
            return None
        if shown.get("raw_data_hex") != sent.raw_hex:
            raise NodeError("it shows other bytes under this txid", Kind.GARBLED, upstream.name)
        return shown

    # --- death ---

    def past(self, solid_time_ms: int, expiration_ms: int) -> bool:
        """Whether a solid block of that time excludes every later inclusion; strictly, see above."""
        return solid_time_ms > expiration_ms

    async def death(self, sent: Sent) -> Inquest:
        """Try to prove that a transaction can never be included.

        Every endpoint is asked. One that knows the transaction forbids the proof; one that cannot be asked, or whose
        solid block is not past the expiration, or that does not have the block which the transaction refers to, is
        simply no witness.
        """
        heard = await asyncio.gather(*(self._testify(upstream, sent) for upstream in self._endpoints.usable()))
        witnesses = tuple(item for item in heard if isinstance(item, api.DeathWitness))
        doubts = tuple(item for item in heard if isinstance(item, Doubt))
        if len(witnesses) < self.needed or any(doubt.knows_it for doubt in doubts):
            return Inquest(doubts=doubts)
        proof = api.DeathProof(
            txid=sent.txid,
            expiration_ms=sent.expiration_ms,
            witnesses=witnesses,
            single_endpoint=self._endpoints.single,
        )
        return Inquest(proof, doubts)

    async def _testify(self, upstream: Upstream, sent: Sent) -> api.DeathWitness | Doubt:
        """Hear one endpoint: its solid block first, then whether it knows the transaction, then its solid block again.

        The order matters: an empty answer counts only after the solid block that it stands beside. And a name may
        hide several machines; if the solid block went back meanwhile, the answers came from different ones.
        """
        try:
            before = await upstream.block(*_NEWEST_SOLID)
            if not self.past(before.time_ms, sent.expiration_ms):
                return Doubt(f"{upstream.name} has no solid block yet that is late enough")
            for part in (_SOLID, _UNSOLID):
                for call in ("gettransactionbyid", "gettransactioninfobyid"):
                    if await upstream.post(f"{part}/{call}", {"value": sent.txid}):
                        return Doubt(f"{upstream.name} knows it", knows_it=True)
            if stranger := await self._has_other_past(upstream, sent, before):
                return stranger
            after = await upstream.block(*_NEWEST_SOLID)
        except NodeError as error:
            return Doubt(error.message)
        except NONSENSE:
            log.get_logger().info("evidence.nonsense", endpoint=upstream.name, txid=sent.txid, exc_info=True)
            return Doubt(f"what {upstream.name} answers makes no sense")
        if after.number < before.number:
            return Doubt(f"{upstream.name} went back in time")
        return api.DeathWitness(endpoint=upstream.name, solid_number=before.number, solid_time_ms=before.time_ms)

    async def _has_other_past(self, upstream: Upstream, sent: Sent, solid: BlockRef) -> Doubt | None:
        """Say so if an endpoint does not have the block that the transaction refers to."""
        low_bytes, hash_bytes = sent.ref_block
        newest = solid.number - (solid.number - low_bytes) % _REF_BLOCKS
        for number in range(newest, max(-1, newest - _MOST_ROUNDS * _REF_BLOCKS), -_REF_BLOCKS):
            shown = await upstream.post(f"{_SOLID}/getblockbynum", {"num": number})
            if not shown:
                return Doubt(
                    f"{upstream.name} does not have block {number:,}, and may lack what came after it: only a node "
                    "with the whole history can tell"
                )
            block = read_block(shown, upstream.name)
            if block.number == number and bytes.fromhex(block.block_id)[8:16] == hash_bytes:
                return None
            if block.time_ms <= sent.expiration_ms:
                break  # the next one of that name is two days older, and was no recent block when this was made
        return Doubt(f"{upstream.name} is on another chain than the one that the transaction was made for")


def _ending(info: Mapping[str, Any], shown: Mapping[str, Any], endpoint: str) -> JobState:
    """Read how a transaction ended; an answer that contradicts itself says nothing.

    `contractRet` stands in the transaction, `result` in the receipt is left out or `SUCESS` (sic) unless it is `FAILED`
    (java-tron, `TransactionInfo.code`).
    """
    results: Sequence[Any] = shown.get("ret") or ()
    contract_ret = results[0].get("contractRet") if results and isinstance(results[0], dict) else None
    failed = info.get("result") == "FAILED"
    if contract_ret == "SUCCESS" and not failed:
        return JobState.PAID
    if isinstance(contract_ret, str) and contract_ret not in {"SUCCESS", "DEFAULT"} and failed:
        return JobState.FAILED_ON_CHAIN
    raise NodeError("its receipt and its transaction do not say the same", Kind.GARBLED, endpoint)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63
