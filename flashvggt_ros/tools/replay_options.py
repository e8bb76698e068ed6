"""The command line of flashvggt_replay, and the configuration that it asks for."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from flashvggt_ros.config import Config, build_config
from flashvggt_ros.counts import count
from flashvggt_ros.home_paths import expanded
from flashvggt_ros.sensors.bag_reader import Bag, BagError, ImageTopic
from flashvggt_ros.tools.run_config import parse_assignments, read_parameter_file
from flashvggt_ros.tools.run_folder import RunFolder
from flashvggt_ros.viewer.options import add_page_options

PROGRAM = "flashvggt_replay"
EXAMPLES = """examples:
  flashvggt_replay office_bag --output out/office
  flashvggt_replay walk.mcap --output out/walk --image-topic /camera/image_raw --max-frames 200
  flashvggt_replay walk.mcap --output out/walk --params-file robot.yaml --set chunk.size=6
  flashvggt_replay walk.mcap --output out/walk --view
  flashvggt_replay next_day.mcap --output out/next --map out/walk/map --localize
  flashvggt_evaluate out/walk --ground-truth walk_truth.tum

With --map it goes on from the folder map of an earlier run, or from one that the node saved. With
--localize it only finds out where it is in that: poses are then as they were known at the time.

Writes trajectory.tum (map-from-camera, optical axes, one line per image that has a place: images
that show nothing new lie between the keyframes around them), keyframes.tum (the keyframes alone),
map.ply, the folder map for later runs, trajectory.png, map_top.png and report.json. Every run on
the same input gives the same map."""

logger = logging.getLogger(__name__)


def replay_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Map a recorded rosbag2 (MCAP or sqlite3) offline; no ROS needed.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bag", help="folder of a rosbag2, or a single .mcap or .db3 file")
    add_replay_options(parser)
    return parser


def add_replay_options(parser: argparse.ArgumentParser) -> None:
    """Add all options of the command."""
    parser.add_argument("--output", metavar="DIR",
                        help="folder for the results; only --view can do without")
    parser.add_argument("--view", action="store_true",
                        help="show the map in a browser while it grows, until Ctrl-C")
    add_parameter_options(parser)
    parser.add_argument("--map", type=Path, metavar="FOLDER",
                        help="saved map to begin with: it is extended, and stays where it is")
    parser.add_argument("--localize", action="store_true",
                        help="do not extend the map, only find out where the bag is in it")
    add_page_options(parser)


def add_parameter_options(parser: argparse._ActionsContainer) -> None:
    """Add the options that say what is mapped and with which parameters."""
    parser.add_argument("--image-topic", action="append", metavar="TOPIC",
                        help="image topic, once per camera; default: the only one in the bag")
    parser.add_argument("--params-file", metavar="FILE", help="ROS parameter file of the node")
    parser.add_argument("--checkpoint", help="as the node's parameter checkpoint")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"))
    parser.add_argument("--max-frames", type=count, default=0, metavar="N",
                        help="stop after this many images; 0: read all")
    parser.add_argument("--set", "-p", action="append", default=[], metavar="NAME=VALUE",
                        help="set a parameter of the node, after the file; may be repeated; "
                        "NAME:=VALUE, as in ROS, does too")


def replay_config(arguments: argparse.Namespace, bag: Bag) -> Config:
    """Parameters of the run; the image topics are those asked for, or the bag's only one."""
    values = parameter_values(arguments)
    if arguments.localize:
        values["mode"] = "localization"
    values["image_topics"] = [topic.name for topic in _topics(arguments, values, bag)]
    return build_config(values)


def parameter_values(arguments: argparse.Namespace) -> dict[str, Any]:
    """Parameters that the command line and its file set, by name; the image topics aside."""
    values: dict[str, Any] = {}
    if arguments.params_file:
        values.update(read_parameter_file(Path(arguments.params_file)))
    values.update(parse_assignments(arguments.set))
    values.update(
        {name: getattr(arguments, name) for name in ("checkpoint", "device")
         if getattr(arguments, name) is not None}
    )
    return values


def run_folder(arguments: argparse.Namespace) -> RunFolder | None:
    """Return the folder for results, None for a view alone; ValueError where neither is asked."""
    if not (arguments.output or arguments.view):
        raise ValueError("name a folder for the results with --output, or ask for --view")
    return RunFolder(arguments.output) if arguments.output else None


def check_map(arguments: argparse.Namespace) -> None:
    """Raise ValueError where the map to begin with is missing, or would be written into."""
    if arguments.localize and not arguments.map:
        raise ValueError("--localize needs a map to find the place in: name it with --map")
    output = expanded(arguments.output).resolve() if arguments.output else None
    if arguments.map and output and arguments.map.resolve().is_relative_to(output):
        raise ValueError(f"--map {arguments.map} lies in --output, where it would be overwritten")
    if arguments.map and output and output.is_relative_to(arguments.map.resolve()):
        raise ValueError(f"--output {arguments.output} lies in --map, which stays as it is")


def _topics(
    arguments: argparse.Namespace, values: dict[str, Any], bag: Bag
) -> tuple[ImageTopic, ...]:
    """Those of the command line; else those of the parameters, where the bag has them."""
    if not arguments.image_topic and "image_topics" in values:
        try:
            return bag.choose_image_topics(values["image_topics"])
        except BagError:
            logger.warning("the bag has not all image_topics of the parameters (%s)",
                           ", ".join(values["image_topics"]))
    return bag.choose_image_topics(arguments.image_topic or ())
