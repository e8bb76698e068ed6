"""The soak tells what endures from what does not, in small."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from misbehaving_trials import WRONG_AT, misbehave

from flashvggt_ros.tools import soak_report
from flashvggt_ros.tools.backend_checks.finding import Finding
from flashvggt_ros.tools.soak_checks import fuzzing, trial
from flashvggt_ros.tools.soak_checks.trial import run_trials


@pytest.mark.parametrize(
    ("wrong", "count", "faults"),
    [
        ("raise", 8, {WRONG_AT: "InsaneError: wrong (misbehaving_trials.py:"}),
        ("kill", 7, {WRONG_AT: "the process ended, code -9"}),
        ("exit", 2, {0: "the process ended, code 7", 1: "the process ended, code 7"}),
        ("hang", 5, {WRONG_AT: "no answer for 2 s"}),
    ],
)
def test_every_way_to_go_wrong_is_a_fault_of_its_trial_and_the_others_go_on(
    wrong: str, count: int, faults: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "HANG_S", 2.0 if wrong == "hang" else 30.0)
    outcome = run_trials(partial(misbehave, wrong), count)
    assert outcome.trials == count
    assert set(outcome.faults) == set(faults)
    assert all(outcome.faults[number].startswith(text) for number, text in faults.items())


def test_the_memory_that_one_trial_took_for_a_while_is_measured() -> None:
    assert 290e6 < run_trials(partial(misbehave, "memory"), 8).memory < 400e6


def test_faults_break_the_limit() -> None:
    faults, memory, seconds = fuzzing._findings("odd files", partial(misbehave, "raise"), 8, 50, 9)
    assert (faults.value, faults.is_ok, memory.is_ok, seconds.is_ok) == (1, False, True, True)


def test_the_exit_status_says_whether_all_limits_are_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(part: float) -> Iterator[Finding]:
        yield Finding("crashes", part, 0.5, "")

    monkeypatch.setitem(soak_report.CHECKS, "luck", check)
    assert soak_report.main(["--only", "luck", "--part", "0.2"]) == 0
    assert soak_report.main(["--only", "luck"]) == 1
    assert "0 of 1 limits kept" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        soak_report.main(["--only", "luck", "--part", "2"])


def test_messages_endure_in_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "SOUND", ["Imu", "CompressedImage"])
    findings = list(fuzzing.check_messages(0.02))
    assert len(findings) == 6
    assert [finding for finding in findings if not finding.is_ok] == []


def test_files_endure_in_small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fuzzing, "FILE_KINDS",
                        {"saved maps": fuzzing.map_trial, "checkpoints": fuzzing.checkpoint_trial})
    findings = list(fuzzing.check_files(0.008))
    assert len(findings) == 6
    assert [finding for finding in findings if not finding.is_ok] == []
