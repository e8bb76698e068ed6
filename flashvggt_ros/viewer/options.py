"""The options of commands that show a page."""

from __future__ import annotations

import argparse
import importlib.util

from flashvggt_ros.counts import positive_count
from flashvggt_ros.viewer.page import Page

PROGRAM = "flashvggt_view"
EXAMPLES = """examples:
  flashvggt_view                                    the node /mapping, as it runs
  flashvggt_view --node /robot1/mapping --image /robot1/camera/image_raw
  flashvggt_view office_bag                         map a bag, and watch the map grow
  flashvggt_view out/office                         what a replay, or the demo, has written
  flashvggt_view ~/maps/office                      a map that the node saved

With a bag all options of flashvggt_replay may be given; nothing is written unless --output is
among them. With a node, ROS arguments may follow:
  flashvggt_view --ros-args --remap /mapping/map_cloud:=/other/map_cloud"""
HOST, PORT = "127.0.0.1", 8080
MOST_POINTS = 2_000_000
REMEDY = "the live view needs viser: pip install 'viser>=1.1,<2' (make setup does that)"


def view_parser() -> argparse.ArgumentParser:
    """Return the parser of flashvggt_view for a node, whose help is that of the command."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage="%(prog)s [BAG, RUN or MAP] [options]",
        description="Show a map in the browser: of a running node, a bag, a run or a saved map.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_node_options(parser)
    add_page_options(parser)
    return parser


def add_node_options(parser: argparse.ArgumentParser) -> None:
    """Add --node and --image."""
    parser.add_argument("--node", default="/mapping",
                        help="the node to listen to, with its namespace; default: %(default)s")
    parser.add_argument("--image", default="", metavar="TOPIC",
                        help="the node's image topic, for the pictures in the frustums; "
                             "compressed images where its name ends with /compressed")


def add_page_options(parser: argparse.ArgumentParser) -> None:
    """Add --host, --port and --max-points."""
    group = parser.add_argument_group("the page")
    group.add_argument("--host", default=HOST,
                       help="address to serve it at; default: %(default)s, for browsers on this "
                            "machine alone. 0.0.0.0: for everyone who reaches this machine")
    group.add_argument("--port", type=int, default=PORT,
                       help="or the next free one; default: %(default)s")
    group.add_argument("--max-points", type=positive_count, default=MOST_POINTS, metavar="N",
                       help="a larger map is thinned on the page; default: %(default)s")


def open_page(arguments: argparse.Namespace) -> Page:
    """Serve the page and say where; ValueError, with the remedy, where that is not possible."""
    if importlib.util.find_spec("viser") is None:
        raise ValueError(REMEDY)
    page = Page(arguments.host, arguments.port, arguments.max_points)
    print(f"live view: {page.address}", flush=True)
    return page
