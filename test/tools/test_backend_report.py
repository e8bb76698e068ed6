"""The report measures what it says, tells good from bad, and the back end keeps its limits."""

import json
import math
from collections.abc import Iterator

import pytest

from flashvggt_ros.tools import backend_report
from flashvggt_ros.tools.backend_checks.finding import Finding
from flashvggt_ros.tools.backend_report import CHECKS, main
from flashvggt_ros.tools.limit_table import Row, format_row


@pytest.mark.parametrize(
    ("value", "is_at_most", "is_ok"),
    [(1.0, True, True), (2.1, True, False), (2.1, False, True), (1.9, False, False),
     (math.nan, True, False), (math.nan, False, False)],
)  # fmt: skip
def test_a_limit_is_kept_or_not(value: float, is_at_most: bool, is_ok: bool) -> None:
    assert Finding("drift", value, 2.0, "m", is_at_most).is_ok is is_ok


def test_the_table_shows_value_limit_and_verdict() -> None:
    kept = format_row(Row("a", Finding("drift", 1.5, 2.0, "m"), 3.25))
    assert kept.split() == ["drift", "1.5", "<=", "2", "m", "yes", "3.2"]
    broken = format_row(Row("a", Finding("recall", 0.5, 0.8, "", is_at_most=False), 0.5))
    assert broken.split() == ["recall", "0.5", ">=", "0.8", "NO", "0.5"]


def test_the_table_is_printed_row_by_row_and_summed_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(is_quick: bool) -> Iterator[Finding]:
        assert not is_quick
        for value in (1.0, 3.0):
            yield Finding("gap", value, 2.0, "m")

    monkeypatch.setitem(backend_report.CHECKS, "gap", check)
    assert main(["--only", "gap"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["what", "gap", "gap", "1"]
    assert lines[-1] == "1 of 2 limits kept"


@pytest.mark.parametrize(("value", "status"), [(1.0, 0), (3.0, 1), (math.nan, 1)])
def test_the_exit_status_says_whether_all_limits_are_kept(
    value: float, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(is_quick: bool) -> Iterator[Finding]:
        assert is_quick
        yield Finding("gap", value, 2.0, "m")

    monkeypatch.setitem(backend_report.CHECKS, "gap", check)
    assert main(["--quick", "--only", "gap", "--json"]) == status
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["check"], row["ok"]) == ("gap", status == 0)
    assert row["value"] == (value if math.isfinite(value) else None)


def test_an_unknown_check_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "luck"])
    assert "endurance" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(set(CHECKS) - {"archive"}))  # see test_archive
def test_every_limit_is_kept_in_small_worlds(name: str) -> None:
    rows = list(backend_report.run_checks([name], is_quick=True))
    assert rows
    assert [row.finding for row in rows if not row.finding.is_ok] == []
