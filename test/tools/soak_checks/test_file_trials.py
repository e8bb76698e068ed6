"""Files that are broken in any way are refused with a reason, or taken and used sanely."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashvggt_ros.tools.soak_checks.fuzzing import FILE_KINDS
from flashvggt_ros.tools.soak_checks.map_trials import (
    export_trial,
    map_trial,
    save_sound_map,
)

EXAMPLES = {"saved maps": 40, "ply, tum and g2o": 100, "checkpoints": 60, "parameter files": 40,
            "recordings": 60}  # fmt: skip


@pytest.fixture(scope="module")
def sound_map(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps") / "map"
    save_sound_map(folder)
    return folder


@pytest.mark.parametrize("kind", FILE_KINDS)
def test_no_file_does_harm(kind: str, sound_map: Path, tmp_path: Path) -> None:
    make = FILE_KINDS[kind]
    trial = make(sound_map if make in (map_trial, export_trial) else tmp_path)
    outcomes = set()

    @settings(max_examples=EXAMPLES[kind], derandomize=True, deadline=None, database=None)
    @given(st.randoms(use_true_random=True))
    def no_file_does_harm(random) -> None:
        outcomes.add(trial(random))

    no_file_does_harm()
    assert outcomes == {True, False}
