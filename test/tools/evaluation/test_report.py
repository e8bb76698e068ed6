import base64
import json
import re

import numpy as np
import pytest
from viewer.browser import Browser, needs_chromium

from flashvggt_ros.tools.evaluation.report import write_reports
from flashvggt_ros.tools.evaluation.runner import Outcome
from flashvggt_ros.tools.evaluation.summary import summarize
from flashvggt_ros.tools.plots import draw_comparison

WHY = "no bag <here>" + 80 * "/x"
LINE = np.cumsum(np.ones((20, 3)), axis=0)


def outcome(name):
    numbers = {"rmse": 0.25}
    return Outcome(name, {"ape_sim3_m": numbers, "scale_error": 0.5, "path_length_m": 10.0,
                          "frames_placed": 20, "frames_per_second": 7.5}, "", ())


@pytest.fixture
def written(tmp_path):
    """The reports of two bags, one with an odd name, and of one that failed."""
    names = ["walk", "<b>&|"]
    for number, name in enumerate(names):
        folder = tmp_path / str(number)
        folder.mkdir()
        seconds = np.arange(20.0)
        errors = {"after Sim(3)": seconds, "after SE(3)": seconds}
        draw_comparison(folder / "evaluation.png", LINE, LINE, seconds, errors, 2, name)
        curve = {"seconds": list(seconds), "ape_sim3_m": list(seconds)}
        (folder / "errors.json").write_text(json.dumps(curve))
    (tmp_path / "1" / "map_top.png").write_bytes((tmp_path / "0/evaluation.png").read_bytes())
    summary = summarize([*map(outcome, names), Outcome("lost", {}, WHY, ())])
    write_reports(tmp_path, summary, {name: (tmp_path / str(number),)
                                      for number, name in enumerate(names)})
    return tmp_path


def test_the_page_needs_no_other_file_and_shows_all_pictures(written):
    page = (written / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) == 4  # the overview, two evaluations, one map
    pictures = [base64.b64decode(source.removeprefix("data:image/png;base64,"), validate=True)
                for source in sources]
    assert pictures[1] == (written / "0/evaluation.png").read_bytes()
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)


def test_names_and_reasons_cannot_break_the_page_or_the_tables(written):
    page = (written / "report.html").read_text()
    assert "&lt;b&gt;&amp;|" in page and "<b>" not in page and "no bag &lt;here&gt;" in page
    text = (written / "report.md").read_text()
    assert f"| lost | {WHY} |" in text
    rows = [line for line in text.splitlines() if line.startswith(("| walk", "| <b>", "| mean"))]
    assert len(rows) == 6  # of two tables: a third, of maps, has no figures
    assert len({line.replace("\\|", "").count("|") for line in rows[:3]}) == 1
    assert "| walk | 20 | 10.00 | 0.2500 |" in text


@needs_chromium
def test_a_window_of_any_width_shows_the_pictures_whole_and_the_console_has_no_errors(
    written, tmp_path
):
    with Browser(tmp_path) as browser:
        for width in (360, 1000):
            browser.resize(width, 640)
            browser.open((written / "report.html").as_uri(), "Trajectory")
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
            assert browser.evaluate("[...document.images].every(each => each.naturalWidth > 0)")
        assert browser.errors == []
