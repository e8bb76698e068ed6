"""Whether the arrays of a saved map fit together."""

from __future__ import annotations

import numpy as np

from flashvggt_ros.mapping.graph_arrays import FARTHEST, Arrays, check_rotations

LARGEST_SIDE = 4096  # of a keyframe's picture [px]: predictor.width goes to half of it


def check_arrays(
    placed: Arrays, seen: Arrays, shown: Arrays, cameras: int, pictures: int
) -> None:
    """Check what one array says of the size of another, and that the numbers are sane.

    ``placed``, ``seen`` and ``shown``: SUBMAPS, KEYFRAMES and CLOUDS; how many cameras and pictures
    there are. Raises ValueError.
    """
    counted = {
        "poses": (placed["poses"], len(seen["stamp_ns"])),
        "keyframes": (placed["keyframes"], len(seen["camera"])),
        "pictures": (placed["keyframes"], pictures),
        "points": (placed["points"], len(shown["weights"])),
    }
    for name, (counts, total) in counted.items():
        if ((counts < 0) | (counts > total)).any() or counts.sum() != total:
            raise ValueError(f"its submaps do not have {total} {name}")
    shared, own = placed["shared"], placed["poses"] - placed["shared"]
    if ((shared < 0) | (own < 1)).any():
        raise ValueError("a submap has more shared keyframes than keyframes")
    if ((placed["keyframes"] != 0) & (placed["keyframes"] != own)).any():
        raise ValueError("a submap has only some of its keyframes")
    if ((seen["frame_id"] < 0) | (seen["frame_id"] >= cameras)).any():
        raise ValueError("a keyframe is of an unknown camera")
    _check_carriers(placed)
    _check_images(seen, shown)
    _check_places(placed, seen, shown)


def _check_carriers(placed: Arrays) -> None:
    carrier = placed["carrier"]
    is_merged = carrier != -1
    carriers = carrier[is_merged]
    if ((carriers < 0) | (carriers >= len(carrier))).any() or is_merged[carriers].any():
        raise ValueError("a submap was merged into one that there is not")
    if any(placed[name][is_merged].any() for name in ("shared", "keyframes", "points")):
        raise ValueError("a submap that was merged has more than poses")


def _check_images(seen: Arrays, shown: Arrays) -> None:
    sizes, side = seen["sketch_size"], np.iinfo(np.int16).max
    if (sizes < 1).any() or (sizes > side).any() or (seen["camera_size"] > LARGEST_SIDE).any():
        raise ValueError("the size of an image is impossible")
    if sizes.prod(axis=1).sum() != len(seen["sketch_depth"]):
        raise ValueError("its depth sketches have another size than their cameras")
    if (shown["weights"] <= 0).any() or (seen["sketch_depth"] < 0).any():
        raise ValueError("a weight or a depth is negative")


def _check_places(placed: Arrays, seen: Arrays, shown: Arrays) -> None:
    poses = seen["T_submap_camera"]
    check_rotations(poses[:, :3, :3])
    places = [placed["translation"], placed["edge_translation"], poses[:, :3, 3],
              shown["points_submap"], placed["foot_submap"], seen["base_camera"],
              placed["first_translation"], placed["last_translation"]]
    if any((np.abs(part) > FARTHEST).any() for part in places):
        raise ValueError(f"a coordinate is beyond {FARTHEST:g}")
    if (poses[:, 3] != [0, 0, 0, 1]).any():
        raise ValueError("a pose is not a rigid transform")
