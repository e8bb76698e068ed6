import argparse

import pytest

from flashvggt_ros.viewer.options import MOST_POINTS, add_page_options, view_parser


def test_the_page_is_for_this_machine_alone_unless_asked_otherwise():
    arguments = view_parser().parse_args([])
    assert (arguments.host, arguments.port) == ("127.0.0.1", 8080)
    assert arguments.node == "/mapping"
    assert arguments.max_points == MOST_POINTS
    assert "0.0.0.0" in view_parser().format_help()


@pytest.mark.parametrize("number", ["0", "-5", "many"])
def test_a_budget_of_no_points_is_misuse(number, capsys):
    parser = argparse.ArgumentParser()
    add_page_options(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--max-points", number])
    assert "--max-points" in capsys.readouterr().err
