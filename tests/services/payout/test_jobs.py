"""What a job says about a payout."""

import pytest

from services.payout.jobs import STATES
from services.tron.api import JobState


@pytest.mark.parametrize("state", list(JobState))
def test_every_job_state_has_its_payout_state(state: JobState) -> None:
    assert STATES[state].final == state.final
