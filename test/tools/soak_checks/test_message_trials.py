"""Messages that are broken in any way are refused with a reason, or taken and used sanely."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashvggt_ros.tools.soak_checks.message_trials import message_trials
from flashvggt_ros.tools.soak_checks.sound_messages import SOUND

PER_TRIAL = 3


@pytest.mark.parametrize("kind", SOUND)
def test_no_message_does_harm(kind: str) -> None:
    trial, outcomes = message_trials()[kind], set()

    @settings(max_examples=100, derandomize=True, deadline=None, database=None)
    @given(st.randoms(use_true_random=False))
    def no_message_does_harm(random) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            for _ in range(PER_TRIAL):
                outcomes.add(trial(random))

    no_message_does_harm()
    assert outcomes == {True, False}
