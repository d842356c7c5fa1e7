"""What votes earn: credited when an account's votes change or when it asks for it (java-tron's `MortgageService`).

Only the reward algorithm of today is here (`getAllowNewReward`, in force on the devnet from cycle 0 on): what one vote
for a witness has earned is summed up cycle by cycle, and an account is given the difference between two cycles.
"""

from services.devnet import witnesses
from services.devnet.state import Account, Source, State, Votes


def settle(state: State, address: bytes) -> None:
    """Credit an account with what its votes earned until the last maintenance (`withdrawReward`)."""
    now = state.counters.cycle
    account = state.account(address)
    if account is None or account.begin_cycle > now:
        return
    if account.begin_cycle == now and account.settled_votes is not None:
        return
    earned_sun, begin = _earlier(state, account)
    changed = state.change(address)
    if account.votes:
        earned_sun += _earned(state, account.votes, begin, now)
        changed.begin_cycle, changed.end_cycle, changed.settled_votes = now, now + 1, account.votes
    else:
        # Votes that are given in this cycle count from the next one on.
        changed.begin_cycle, changed.settled_votes = now + 1, None
    changed.allowance_sun += earned_sun
    state.count(voters_sun=-earned_sun)


def owed_sun(source: Source, account: Account) -> int:
    """Everything that an account could withdraw now (`queryReward`)."""
    now = source.counters.cycle
    credited_sun = allowance_sun(source, account)
    if account.begin_cycle > now:
        return credited_sun
    earned_sun, begin = _earlier(source, account)
    return credited_sun + earned_sun + _earned(source, account.votes, begin, now)


def allowance_sun(source: Source, account: Account) -> int:
    """What was credited to an account and not withdrawn yet, a witness's own rewards included."""
    witness = witnesses.find(source, account.address) if account.is_witness else None
    return account.allowance_sun + (witness.allowance_sun if witness else 0)


def _earlier(source: Source, account: Account) -> tuple[int, int]:
    """What the votes of the first cycle earned, which may not be those of today, and the cycle to go on with."""
    begin = account.begin_cycle
    if begin + 1 != account.end_cycle or begin >= source.counters.cycle:
        return 0, begin
    votes = account.settled_votes or ()
    return _earned(source, votes, begin, begin + 1), begin + 1


def _earned(source: Source, votes: Votes, begin: int, end: int) -> int:
    """What votes earned from one cycle up to and without another (`computeReward`)."""
    if begin >= end or not votes:
        return 0
    before, after = witnesses.vi(source, begin - 1), witnesses.vi(source, end - 1)
    return sum(
        (after.get(address, 0) - before.get(address, 0)) * count // witnesses.VI_PRECISION for address, count in votes
    )
