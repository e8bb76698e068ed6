"""One command goes through all stages and leaves a checkpoint that can be loaded."""

import sys

import pytest

from flashvggt_ros.model.checkpoint import load_checkpoint
from training import reproduce
from training.schedule import SCHEDULES


def test_all_stages_run_and_leave_one_checkpoint(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(reproduce, "STAGES", reproduce.STAGES[:3])  # first, from it, and to mean
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # threads cost a toy model more than they give
    monkeypatch.setattr(sys, "argv", ["reproduce", "--tiny", "--out", str(tmp_path)])
    reproduce.main()
    model, _ = load_checkpoint(tmp_path / "flashvggt-mini.safetensors", name="tiny")
    assert model.config.width == 64
    printed = capfd.readouterr().out
    assert printed.count('"saved"') == 3
    assert printed.count("--init") == 2  # each stage after the first goes on from the one before
    reproduce.main()  # nothing is left to do but to take the mean
    assert '"saved"' not in capfd.readouterr().out


@pytest.mark.parametrize("stage", reproduce.STAGES, ids=lambda stage: f"{stage[0]}-{stage[1]}")
def test_every_stage_has_a_schedule(stage):
    assert stage[1] in SCHEDULES
