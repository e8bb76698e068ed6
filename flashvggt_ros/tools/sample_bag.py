"""flashvggt_sample_bag: a rosbag2 of a rendered room with known truth, to try everything with."""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from flashvggt_ros import __version__
from flashvggt_ros.closed_pipes import silent_when_unread
from flashvggt_ros.geometry.camera import Calibration, Pinhole
from flashvggt_ros.home_paths import expanded
from flashvggt_ros.mapping.map_io import write_ply, write_tum
from flashvggt_ros.mapping.voxel_grid import WeightedCloud, fuse_voxels
from flashvggt_ros.tools.camera_bag import CameraBag
from flashvggt_ros.tools.sample_walk import SURFACE_SPACING, render_walk
from flashvggt_ros.tools.stop_signals import ending_as_interrupt

PROGRAM = "flashvggt_sample_bag"
TRUTH_FILE, SURFACES_FILE, RECIPE_FILE = "groundtruth.tum", "surfaces.ply", "sample.json"
START_NS = 1_700_000_000_000_000_000
JPEG_QUALITY = 90
EXAMPLES = """examples:
  flashvggt_sample_bag --output out/sample
  flashvggt_sample_bag --output out/long --seconds 60 --rate 15 --size 320x240 --seed 3

Writes a rosbag2 (MCAP) with /camera/image_raw/compressed (JPEG), /camera/camera_info and
/ground_truth/pose (map-from-camera, optical axes), and inside the folder groundtruth.tum and
surfaces.ply, the true surfaces as far as the images show them. Equal arguments give an equal bag:
one that is there already is kept."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a sample bag depends on. Raises ValueError for what cannot be rendered."""

    seconds: float = 15.0
    rate: float = 10.0
    width: int = 640
    height: int = 480
    seed: int = 11
    fov_deg: float = 69.0
    version: str = __version__

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("seconds", self.seconds, 0.2, 3600), ("rate", self.rate, 0.5, 120),
            ("width", self.width, 64, 1920), ("height", self.height, 64, 1920),
            ("seed", self.seed, 0, 2**31 - 1), ("fov_deg", self.fov_deg, 20, 120),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}: it must be within {low} to {high}")

    @property
    def frames(self) -> int:
        """Number of images."""
        return max(2, round(self.seconds * self.rate))

    @property
    def camera(self) -> Pinhole:
        """The camera, with square pixels; ``fov_deg`` is its horizontal field of view."""
        fov_x = math.radians(self.fov_deg)
        fov_y = 2 * math.atan(math.tan(fov_x / 2) * self.height / self.width)
        return Pinhole.from_fov(fov_x, fov_y, self.width, self.height)


@silent_when_unread
@ending_as_interrupt()
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 2 for misuse, or 130 (stopped)."""
    arguments = _parser().parse_args(argv)
    try:
        width, height = _size(arguments.size)
        recipe = Recipe(arguments.seconds, arguments.rate, width, height, arguments.seed,
                        arguments.fov)
        made = make_sample_bag(expanded(arguments.output), recipe)
    except (ValueError, OSError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{PROGRAM}: stopped, nothing was written", file=sys.stderr)
        return 130
    print(f"{arguments.output}: {recipe.frames} images, "
          f"{'rendered' if made else 'there already, with the same arguments'}")
    return 0


def make_sample_bag(path: Path, recipe: Recipe) -> bool:
    """Make the bag folder ``path`` unless it is there with this recipe; return whether it was made.

    The folder appears complete or not at all. Raises ValueError when ``path`` is something else,
    or holds other files, too.
    """
    if path.name in ("", ".."):
        raise ValueError(f"'{path}' is no name of a new folder")
    if (path / RECIPE_FILE).is_file():
        if (path / SURFACES_FILE).is_file() and _is_of(path / RECIPE_FILE, recipe):
            return False
        if foreign := sorted(entry.name for entry in path.iterdir() if not _is_own(entry)):
            raise ValueError(f"{path} is another sample bag and holds other files, too "
                             f"({', '.join(foreign[:3])}): name a new folder")
        shutil.rmtree(path)
    elif path.exists() and (path.is_file() or any(path.iterdir())):
        raise ValueError(f"{path} exists and is no sample bag: name a new folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".sample_bag_", dir=path.parent) as folder:
        partial = Path(folder, path.name)
        T_world_camera, stamps_ns = _write(partial, recipe)
        write_tum(partial / TRUTH_FILE, stamps_ns, T_world_camera)
        (partial / RECIPE_FILE).write_text(json.dumps(asdict(recipe), indent=2), encoding="utf-8")
        if path.exists():
            path.rmdir()
        partial.rename(path)
    return True


def _is_of(recipe_file: Path, recipe: Recipe) -> bool:
    try:
        return bool(json.loads(recipe_file.read_text(encoding="utf-8")) == asdict(recipe))
    except ValueError:  # damaged
        return False


def _is_own(entry: Path) -> bool:
    names = ("metadata.yaml", TRUTH_FILE, RECIPE_FILE, SURFACES_FILE)
    return entry.is_file() and (entry.name in names or entry.suffix == ".mcap")


def _write(path: Path, recipe: Recipe) -> tuple[NDArray[np.float64], list[int]]:
    """Render and write the bag and its surfaces; return its poses (N, 4, 4) and stamps."""
    T_world_camera, views = render_walk(recipe.seed, recipe.seconds, recipe.frames, recipe.camera)
    surfaces = WeightedCloud.concatenate(())
    stamps_ns = [START_NS + round(index * 1e9 / recipe.rate) for index in range(recipe.frames)]
    with CameraBag(path, Calibration(recipe.camera, "none", ())) as bag:
        steps = zip(stamps_ns, T_world_camera, views, strict=True)
        for stamp_ns, T, view in tqdm(steps, total=recipe.frames, unit="image", desc="render",
                                      disable=not sys.stderr.isatty()):
            bag.write_truth(stamp_ns, T)
            bag.write_image(stamp_ns, "jpeg", _jpeg(view.image))
            both = WeightedCloud.concatenate([surfaces, view.surfaces_world])
            surfaces = fuse_voxels(both, SURFACE_SPACING)
    write_ply(path / SURFACES_FILE, surfaces.points, surfaces.colors)
    return T_world_camera, stamps_ns


def _jpeg(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    is_done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
    if not is_done:
        raise OSError("OpenCV could not encode a JPEG image")
    return np.asarray(data.reshape(-1), np.uint8)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ValueError(f"--size {text} is not of the form 640x480")
    return int(width), int(height)


def _parser() -> argparse.ArgumentParser:
    recipe = Recipe()
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Render a sample rosbag2 with known truth.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of the bag")
    parser.add_argument("--seconds", type=float, default=recipe.seconds, help="length")
    parser.add_argument("--rate", type=float, default=recipe.rate, help="images per second")
    parser.add_argument("--size", default=f"{recipe.width}x{recipe.height}", metavar="WxH")
    parser.add_argument("--fov", type=float, default=recipe.fov_deg, metavar="DEG",
                        help="horizontal field of view")
    parser.add_argument("--seed", type=int, default=recipe.seed, help="of scene and path")
    return parser


if __name__ == "__main__":
    sys.exit(main())
