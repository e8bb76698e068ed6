import json
import shutil

import numpy as np
import pytest

from flashvggt_ros.mapping.map_io import write_tum
from flashvggt_ros.tools.evaluation.inputs import Job
from flashvggt_ros.tools.evaluation.runner import _finished_scores, bag_of, run_here, run_job
from flashvggt_ros.worlds import walk

STAMPS = [1_700_000_000_000_000_000 + number * 100_000_000 for number in range(12)]


@pytest.fixture
def job(tmp_path):
    """A run whose places are a little off, and a file of its truth."""
    run = tmp_path / "run"
    run.mkdir()
    write_tum(tmp_path / "truth.tum", STAMPS, walk(12))
    poses = walk(12)
    poses[:, :3, 3] += np.random.default_rng(0).normal(0, 0.01, (12, 3))
    write_tum(run / "trajectory.tum", STAMPS, poses)
    return Job("run", run, str(tmp_path / "truth.tum"), tmp_path / "scores/run", "", (), False)


def test_a_run_is_scored_anew_only_where_it_or_its_truth_changed(job):
    first = run_job(job)
    assert first.failure == "" and first.kept == ()
    again = run_job(job)
    assert again.kept == ("scores",) and again.metrics == first.metrics
    write_tum(job.path / "trajectory.tum", [stamp + 10**12 for stamp in STAMPS], walk(12))
    assert "only 0 poses" in run_job(job).failure


def test_scores_that_are_not_whole_any_more_are_made_anew(job, tmp_path):
    first = run_job(job)
    for name, content in (("metrics.json", "{"), ("metrics.json", None), ("evaluation.png", None)):
        damaged = shutil.copytree(job.output, tmp_path / f"{name}{content}")
        assert _finished_scores(damaged) == first.metrics
        (damaged / name).unlink()
        if content:
            (damaged / name).write_text(content)
        assert _finished_scores(damaged) == {}
    (job.output / "errors.json").unlink()
    again = run_job(job)
    assert (again.failure, again.kept, again.metrics) == ("", (), first.metrics)
    assert run_job(job).kept == ("scores",)


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "is damaged"), ("[]", "is no report"), ('{"checkpoint": null}', "is no report"),
     ('{"trajectories": ["a"]}', "is no report"), ('{"frames_read": "40"}', "is no report")],
)
def test_a_damaged_report_is_named(job, text, said):
    (job.path / "report.json").write_text(text)
    assert f"{job.path / 'report.json'} {said}" in run_job(job).failure


def test_what_nobody_thought_of_is_an_outcome_and_stops_nobody(job, caplog):
    (job.path / "report.json").write_text(json.dumps({"trajectories": {"camera": 5}}))
    outcomes = list(run_here([job, job]))
    assert ["TypeError" in outcome.failure for outcome in outcomes] == [True, True]
    assert "Traceback" in caplog.text


def test_the_bag_of_a_run_is_that_of_its_report(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps({"bag": "/bags/walk"}))
    assert str(bag_of(tmp_path)) == "/bags/walk"
    for text in ("[]", "{", "{}"):
        (tmp_path / "report.json").write_text(text)
        assert bag_of(tmp_path) is None
