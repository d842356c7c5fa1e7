"""VoteWitnessContract (type 4): replaces all votes of an account; one vote for each whole TRX staked.

Order and words of the checks: java-tron's `VoteWitnessActuator`.
"""

from dataclasses import dataclass
from typing import Annotated

from services.devnet import rewards, witnesses
from services.devnet.parameters import INT64_MAX, MAX_VOTES
from services.devnet.receipt import Receipt
from services.devnet.refusals import ContractInvalid
from services.devnet.rules.message import Native, OwnerBytes, is_address, missing, reader
from services.devnet.rules.rule import Context
from services.devnet.state import SUN_PER_TRX, State
from services.protocol.wire import Field, Kind


@dataclass(frozen=True, slots=True)
class _Vote:
    address: Annotated[bytes, Field(1, "vote_address", Kind.BYTES)]
    count: Annotated[int, Field(2, "vote_count", Kind.INT64)]


@dataclass(frozen=True, slots=True)
class _VoteWitness:
    owner: OwnerBytes
    votes: Annotated[tuple[_Vote, ...], Field(2, "votes", Kind.MESSAGE, of=_Vote, repeated=True)]


_read = reader(_VoteWitness)


class VoteRule(Native):
    """The rules of voting."""

    def validate(self, state: State, value: bytes, _context: Context) -> None:
        """Check the witnesses one by one, and that the stake covers all votes.

        Raises:
            ContractInvalid: one of them is wrong.
        """
        vote = _read(value)
        if not is_address(vote.owner):
            raise ContractInvalid("Invalid address")
        if not vote.votes:
            raise ContractInvalid("VoteNumber must more than 0")
        if len(vote.votes) > MAX_VOTES:
            raise ContractInvalid(f"VoteNumber more than maxVoteNumber {MAX_VOTES}")
        total = 0
        for item in vote.votes:
            _check(state, item)
            if total + item.count > INT64_MAX:
                raise ContractInvalid(f"overflow: checkedAdd({total}, {item.count})")
            total += item.count
        owner = state.account(vote.owner)
        if owner is None:
            missing(vote.owner)
        if total * SUN_PER_TRX > INT64_MAX:
            raise ContractInvalid(f"overflow: checkedMultiply({total}, {SUN_PER_TRX})")
        if total * SUN_PER_TRX > owner.tron_power_sun:
            raise ContractInvalid(
                f"The total number of votes[{total * SUN_PER_TRX}] is greater than the "
                f"tronPower[{owner.tron_power_sun}]"
            )

    def execute(self, state: State, value: bytes, _context: Context, _receipt: Receipt) -> None:
        """Credit what the old votes earned, then replace them; the next maintenance counts the new ones."""
        vote = _read(value)
        rewards.settle(state, vote.owner)
        owner = state.change(vote.owner)
        votes = tuple((item.address, item.count) for item in vote.votes)
        witnesses.count_votes(state, owner.votes, votes)
        owner.votes = votes


def _check(state: State, vote: _Vote) -> None:
    if not is_address(vote.address):
        raise ContractInvalid("Invalid vote address!")
    if vote.count <= 0:
        raise ContractInvalid("vote count must be greater than 0")
    if state.account(vote.address) is None:
        missing(vote.address)
    if witnesses.find(state, vote.address) is None:
        raise ContractInvalid(f"Witness[{vote.address.hex()}] not exists")
