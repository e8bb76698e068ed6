"""flashvggt_convert: public data sets in their folder forms, as bags to map and score."""

from __future__ import annotations

import argparse
import heapq
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from flashvggt_ros.closed_pipes import silent_when_unread
from flashvggt_ros.counts import positive_count
from flashvggt_ros.geometry.camera import Calibration, Pinhole
from flashvggt_ros.home_paths import expanded
from flashvggt_ros.mapping.map_io import write_tum
from flashvggt_ros.tools.camera_bag import CameraBag
from flashvggt_ros.tools.conversion.euroc import read_euroc
from flashvggt_ros.tools.conversion.kitti_odometry import read_kitti_odometry
from flashvggt_ros.tools.conversion.recording import (
    LAST_S,
    ReadRecording,
    Recording,
    TimedFile,
    Truth,
    content_of,
    read_image,
)
from flashvggt_ros.tools.conversion.seven_scenes import read_seven_scenes
from flashvggt_ros.tools.conversion.tum_rgbd import read_tum_rgbd
from flashvggt_ros.tools.sample_bag import TRUTH_FILE
from flashvggt_ros.tools.stop_signals import ending_as_interrupt

PROGRAM = "flashvggt_convert"
FORMATS: dict[str, ReadRecording] = {
    "tum_rgbd": read_tum_rgbd,
    "seven_scenes": read_seven_scenes,
    "euroc": read_euroc,
    "kitti_odometry": read_kitti_odometry,
}
MARGIN_NS = 10**9  # of true poses kept before the first and after the last image
DEPTH_TOLERANCE_NS = 20_000_000  # between an image and its depth image
logger = logging.getLogger(__name__)
EXAMPLES = """examples:
  flashvggt_convert tum_rgbd rgbd_dataset_freiburg1_desk --output bags/fr1_desk
  flashvggt_convert seven_scenes chess/seq-01 --output bags/chess_01 --every 3
  flashvggt_convert euroc V1_01_easy --output bags/V1_01
  flashvggt_convert kitti_odometry dataset/sequences/07 --output bags/kitti_07 --max-frames 500

Writes a rosbag2 (MCAP) with /camera/image_raw/compressed (the image files as they are),
/camera/camera_info, /ground_truth/pose (world-from-camera, optical axes) and, of TUM RGB-D with
depth.txt, /camera/depth/image_raw/compressedDepth; inside the folder groundtruth.tum, the same
poses. The data sets' licenses hold for the bags too."""


@silent_when_unread
@ending_as_interrupt()
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 2 for misuse and missing files, or 130 (stopped)."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    output = expanded(arguments.output)
    try:
        folder = expanded(arguments.folder)
        if not folder.is_dir():
            hint = ": it is a file; unpack it, and name the folder" if folder.exists() else ""
            raise ValueError(f"there is no folder {folder}{hint}")
        recording = thin(FORMATS[arguments.format](folder), arguments.every, arguments.max_frames)
        write_recording(output, recording)
    except (ValueError, OSError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{PROGRAM}: stopped, nothing was written", file=sys.stderr)
        return 130
    print(f"{output}: {len(recording.images)} images, {len(recording.depth)} depth images, "
          f"{len(recording.truth.stamps_ns)} true poses")
    return 0


def thin(recording: Recording, every: int, max_frames: int) -> Recording:
    """Keep every n-th image, at most ``max_frames`` of them (0: all), and what is of their time.

    Of images with one stamp the first is kept, and said. Raises ValueError where no image is left,
    or their stamps do not grow or are none of ROS.
    """
    images = _of_each_stamp(recording.images)[::every][: max_frames or None]
    if not images:
        raise ValueError("the recording has no images")
    stamps = [image.stamp_ns for image in images]
    if any(after <= before for before, after in pairwise(stamps)):
        raise ValueError("the images are not in order of their stamps")
    if stamps[0] < 0 or stamps[-1] > LAST_S * 10**9:
        raise ValueError(f"{images[-1].path}: the stamps, from {stamps[0]} to {stamps[-1]} ns, are "
                         f"beyond those of ROS, from 0 to {LAST_S} s")
    first = max(stamps[0] - MARGIN_NS, 0)
    last = min(stamps[-1] + MARGIN_NS, LAST_S * 10**9)
    truth = recording.truth
    kept = [row for row, stamp in enumerate(truth.stamps_ns) if first <= stamp <= last]
    return replace(
        recording,
        images=images,
        depth=tuple(_beside(_of_each_stamp(recording.depth), np.array(stamps, np.int64))),
        truth=Truth([truth.stamps_ns[row] for row in kept], truth.T_world_camera[kept]),
    )


def _of_each_stamp(files: Sequence[TimedFile]) -> tuple[TimedFile, ...]:
    """The first file of each stamp; says how many are left out."""
    first: dict[int, TimedFile] = {}
    for file in files:
        first.setdefault(file.stamp_ns, file)
    twice = [file for file in files if first[file.stamp_ns] is not file]
    if twice:
        logger.warning("%d images have the stamp of an earlier one and were left out, such as %s",
                       len(twice), twice[0].path)
    return tuple(first.values())


def _beside(files: Sequence[TimedFile], stamps_ns: NDArray[np.int64]) -> Iterator[TimedFile]:
    """The files that are near in time to one of the stamps, which grow."""
    for file in files:
        at = int(np.searchsorted(stamps_ns, file.stamp_ns))
        if np.abs(stamps_ns[max(at - 1, 0) : at + 1] - file.stamp_ns).min() <= DEPTH_TOLERANCE_NS:
            yield file


def write_recording(path: Path, recording: Recording) -> None:
    """Write a recording as the bag folder ``path``, which appears complete or not at all.

    Raises ValueError where ``path`` exists, or an image is missing or of another kind.
    """
    if path.exists():
        raise ValueError(f"--output {path} exists already: name a new folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    _, _, (width, height) = read_image(recording.images[0].path)
    camera = recording.camera
    calibration = Calibration(Pinhole(*camera.K, width, height), camera.distortion,
                              camera.coefficients)
    with tempfile.TemporaryDirectory(prefix=".convert_", dir=path.parent) as folder:
        partial = Path(folder, path.name)
        with CameraBag(partial, calibration) as bag:
            for kind, row in tqdm(_in_order(recording), total=_messages(recording),
                                  unit="message", disable=not sys.stderr.isatty()):
                _write(bag, recording, kind, row)
        if recording.truth.stamps_ns:
            write_tum(partial / TRUTH_FILE, recording.truth.stamps_ns,
                      recording.truth.T_world_camera)
        else:
            print(f"{PROGRAM}: the data set has no true poses of this sequence", file=sys.stderr)
        partial.rename(path)


def _in_order(recording: Recording) -> Iterator[tuple[str, int]]:
    """Kinds and rows of everything, in order of time; of one time: truth, depth, image."""
    streams = (
        ((stamp_ns, 0, "truth", row) for row, stamp_ns in enumerate(recording.truth.stamps_ns)),
        ((file.stamp_ns, 1, "depth", row) for row, file in enumerate(recording.depth)),
        ((file.stamp_ns, 2, "image", row) for row, file in enumerate(recording.images)),
    )
    for _, _, kind, row in heapq.merge(*map(sorted, streams)):
        yield kind, row


def _messages(recording: Recording) -> int:
    return len(recording.truth.stamps_ns) + len(recording.depth) + len(recording.images)


def _write(bag: CameraBag, recording: Recording, kind: str, row: int) -> None:
    if kind == "truth":
        truth = recording.truth
        bag.write_truth(truth.stamps_ns[row], truth.T_world_camera[row])
    elif kind == "depth":
        file = recording.depth[row]
        bag.write_depth(file.stamp_ns, _depth_png(file, recording.depth_unit))
    else:
        file = recording.images[row]
        form, stream, _ = read_image(file.path)
        bag.write_image(file.stamp_ns, form, stream)


def _depth_png(file: TimedFile, unit: float) -> NDArray[np.uint8]:
    """Return a depth image as PNG in millimeters; what is too far for 16 bits is not measured."""
    content = np.frombuffer(content_of(file.path), np.uint8)
    values = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if len(content) else None
    if values is None or values.dtype != np.uint16 or values.ndim != 2:
        raise ValueError(f"{file.path} is no depth image of 16 bits")
    millimeters = np.round(values * unit)
    is_done, png = cv2.imencode(".png", np.where(millimeters < 2**16, millimeters, 0)
                                .astype(np.uint16))
    if not is_done:
        raise OSError("OpenCV could not encode a PNG image")
    return np.asarray(png.reshape(-1), np.uint8)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Convert a sequence of a public data set into a rosbag2.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("format", choices=list(FORMATS))
    parser.add_argument("folder", help="folder of the sequence, as it is unpacked")
    parser.add_argument("--output", required=True, metavar="BAG", help="folder of the bag")
    parser.add_argument("--every", type=positive_count, default=1, metavar="N",
                        help="take every n-th image")
    parser.add_argument("--max-frames", type=positive_count, default=0, metavar="N",
                        help="stop after this many images")
    return parser


if __name__ == "__main__":
    sys.exit(main())
