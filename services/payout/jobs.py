"""What the TRON client's job says about a payout: its state, its attempt in words, and what it waits for. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from services.payout.api import Attempt, PayoutState
from services.tron.api import Answer, DeathProof, Job, JobState, Order, Transfer

ORDER_KEY = re.compile(r"payout:[A-Za-z0-9._:-]{1,80}:[0-9]{1,3}", re.ASCII)
"""Order keys of this service: the payout's idempotency key, and the number of the attempt."""

STATES = {
    JobState.ACCEPTED: PayoutState.RESERVED,
    JobState.BUILT: PayoutState.RESERVED,
    JobState.SIGNED: PayoutState.SIGNED,
    JobState.SENDING: PayoutState.SENDING,
    JobState.SEEN: PayoutState.SEEN,
    JobState.PAID: PayoutState.PAID,
    JobState.FAILED_ON_CHAIN: PayoutState.FAILED_ON_CHAIN,
    JobState.DEAD: PayoutState.DEAD,
    JobState.CANCELLED: PayoutState.CANCELLED,
}
"""Where a payout stands when its newest attempt's job stands there."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How an attempt stands, as the store keeps it."""

    order: Order
    """What the job is for; it must be what the payout ordered."""
    owner: str
    """Address that the job pays from; empty until the TRON client knows it."""
    state: PayoutState
    waiting: str
    attempt: Attempt


def order_of(payout_key: str, number: int, *, wallet: str, to: str, amount_sun: int, memo: str) -> Order:
    """Make the order of an attempt; the same attempt always gives the same order.

    It is named after the caller's own key, not after our number: should this database be lost and its numbers begin
    anew, a repeated key still finds the transaction that paid it, and another key never does.
    """
    key = f"payout:{payout_key}:{number}"
    return Order(key=key, wallet=wallet, contract=Transfer(to=to, amount_sun=amount_sun), memo=memo)


def progress_of(job: Job) -> Progress:
    """Read a job.

    A death counts only with its proof, and with one endpoint only after an operator took it: until then the attempt is
    alive, because a second one could pay twice.
    """
    state, waiting = STATES[job.state], job.waiting
    if state is PayoutState.DEAD and not _is_proven(job.proof):
        state = PayoutState.SENDING
        waiting = waiting or "an operator has to accept the proof that it is dead"
    return Progress(
        order=Order(key=job.key, wallet=job.wallet, contract=job.contract, memo=job.memo),
        owner=job.owner,
        state=state,
        waiting=waiting,
        attempt=_attempt(job),
    )


def _is_proven(proof: DeathProof | None) -> bool:
    return proof is not None and not _needs_acceptance(proof)


def _needs_acceptance(proof: DeathProof) -> bool:
    return (
        proof.single_endpoint or len({witness.endpoint for witness in proof.witnesses}) < 2
    ) and not proof.accepted_by


def _attempt(job: Job) -> Attempt:
    return Attempt(
        number=int(job.key.rpartition(":")[2]),
        state=job.state,
        txid=job.txid,
        expiration_ms=job.expiration_ms,
        block_number=job.block_number,
        fee_sun=job.fee_sun,
        sends=job.sends,
        answers=tuple(_answer_in_words(answer) for answer in job.answers),
        proof=_proof_in_words(job.proof) if job.proof else "",
        proof_needs_acceptance=job.proof is not None and _needs_acceptance(job.proof),
    )


def _answer_in_words(answer: Answer) -> str:
    said = f"{answer.code} ({answer.message})" if answer.message else answer.code
    return f"{answer.endpoint} said {said}: {answer.reading}"


def _proof_in_words(proof: DeathProof) -> str:
    witnesses = "; ".join(
        f"{witness.endpoint} at its solid block {witness.solid_number:,} of {_chain_time(witness.solid_time_ms)} "
        "does not know it"
        for witness in proof.witnesses
    )
    words = f"It expired at {_chain_time(proof.expiration_ms)}. {witnesses}."
    if proof.accepted_by:
        return f"{words} Accepted by {proof.accepted_by}."
    if _needs_acceptance(proof):
        return f"{words} Only one endpoint says so: an operator has to accept it."
    return words


def _chain_time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
