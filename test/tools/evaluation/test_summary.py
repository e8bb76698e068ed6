import pytest

from flashvggt_ros.tools.evaluation.runner import Outcome
from flashvggt_ros.tools.evaluation.summary import TABLES, summarize


def scored(name, ape, scale_error, **more):
    metrics = {"ape_sim3_m": {"rmse": ape}, "scale_error": scale_error, "frames_placed": 10, **more}
    return Outcome(name, metrics, "", ())


def test_the_mean_is_over_those_that_have_a_figure_and_the_failed_are_named():
    summary = summarize([
        scored("a", 1.0, 0.1, map={"near_share": 0.5}),
        scored("b", 3.0, -0.3, drift_percent=None),
        Outcome("c", {}, "there is no bag at c", ()),
    ])
    assert list(summary["bags"]) == ["a", "b"]
    assert summary["failed"] == {"c": "there is no bag at c"}
    assert summary["mean"]["ape_sim3_m"]["rmse"] == 2.0
    assert summary["mean"]["map"]["near_share"] == 0.5
    assert summary["mean"]["scale_error_percent"] == pytest.approx(20.0)  # of the sizes
    assert "drift_percent" not in summary["mean"]


def test_nothing_scored_has_no_mean():
    assert summarize([Outcome("c", {}, "lost", ())])["mean"] == {}


def test_a_figure_that_is_missing_is_written_as_such():
    column = TABLES["Trajectory"][3]
    assert column.text({"ape_sim3_m": {"rmse": 0.12345}}) == "0.1235"
    assert column.text({}) == column.text({"ape_sim3_m": None}) == "\N{EN DASH}"
