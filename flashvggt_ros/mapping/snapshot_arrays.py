"""A map snapshot as arrays, pictures and names, and back: what stands in the files of a map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.array_file import ArraySpec
from flashvggt_ros.mapping.bend import Bend
from flashvggt_ros.mapping.depth_sketch import DepthSketch
from flashvggt_ros.mapping.graph_arrays import (
    GRAPH,
    Arrays,
    factor_columns,
    read_factors,
    read_similarities,
    similarity_columns,
)
from flashvggt_ros.mapping.ground_heights import GroundHeights
from flashvggt_ros.mapping.keyframe import Keyframe
from flashvggt_ros.mapping.map_snapshot import MapSnapshot
from flashvggt_ros.mapping.pose_graph import PoseGraph
from flashvggt_ros.mapping.snapshot_checks import check_arrays
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.mapping.trails import Trail
from flashvggt_ros.mapping.voxel_grid import WeightedCloud

NO_CLOUD = WeightedCloud.concatenate(()), np.zeros(0, np.uint16)

SUBMAPS = {
    "carrier": ArraySpec("<i8", ("S",)),  # what it was merged into; -1: it is a submap itself
    "poses": ArraySpec("<i8", ("S",)),  # of each; the shared ones come first
    "shared": ArraySpec("<i8", ("S",)),
    "keyframes": ArraySpec("<i8", ("S",)),
    "points": ArraySpec("<i8", ("S",)),
    "is_joined": ArraySpec("|b1", ("S",)),
    "scale": ArraySpec("<f8", ("S",)),  # S_map_submap, or S_carrier_submap
    "rotation": ArraySpec("<f8", ("S", 3, 3)),
    "translation": ArraySpec("<f8", ("S", 3)),
    **{  # its bend: S_middle_first, S_middle_last; none of those that were merged
        f"{end}_{name}": ArraySpec("<f8", ("S", *shape))
        for end in ("first", "last")
        for name, shape in (("scale", ()), ("rotation", (3, 3)), ("translation", (3,)))
    },
    "has_foot": ArraySpec("|b1", ("S",)),  # the ground below it
    "foot_submap": ArraySpec("<f8", ("S", 3)),
    **GRAPH,
}
KEYFRAMES = {
    "stamp_ns": ArraySpec("<i8", ("P",)),
    "frame_id": ArraySpec("<i8", ("P",)),  # number of the camera's name
    "T_submap_camera": ArraySpec("<f8", ("P", 4, 4)),
    "has_base": ArraySpec("|b1", ("P",)),  # where the robot's base stood
    "base_camera": ArraySpec("<f8", ("P", 3)),
    "camera": ArraySpec("<f8", ("K", 4)),  # fx fy cx cy
    "camera_size": ArraySpec("<i8", ("K", 2)),  # width, height
    "is_calibrated": ArraySpec("|b1", ("K",)),
    "signature": ArraySpec("<f2", ("K", "D")),
    "sketch_camera": ArraySpec("<f8", ("K", 4)),
    "sketch_size": ArraySpec("<i8", ("K", 2)),
    "sketch_depth": ArraySpec("<f2", ("Q",)),  # one after the other, row by row
}
CLOUDS = {
    "points_submap": ArraySpec("<f4", ("M", 3)),
    "colors": ArraySpec("|u1", ("M", 3)),
    "weights": ArraySpec("<f4", ("M",)),
    "seen_by": ArraySpec("<u2", ("M",)),  # number of a pose of its submap
}


@dataclass(frozen=True, slots=True, eq=False)
class SnapshotArrays:
    """Arrays as SUBMAPS, KEYFRAMES and CLOUDS specify them, and the names of the cameras."""

    submaps: Arrays
    keyframes: Arrays
    clouds: Arrays
    cameras: tuple[str, ...]


def to_arrays(snapshot: MapSnapshot) -> SnapshotArrays:
    """Take a map apart, without the pictures; submaps and trails stand in order of numbers."""
    parts = _in_order(snapshot)
    submaps, grounds = snapshot.submaps, snapshot.grounds
    stamps = [stamp for part in parts for stamp in part.stamps]
    cameras = tuple(sorted({stamp.camera for stamp in stamps}))
    frame_ids = {camera: number for number, camera in enumerate(cameras)}
    clouds = [p.cloud(1.0) if isinstance(p, Submap) else NO_CLOUD for p in parts]
    cloud = WeightedCloud.concatenate([points for points, _ in clouds])
    bends = [p.bend if isinstance(p, Submap) else Bend.none() for p in parts]
    placed = {
        "carrier": [p.carrier if isinstance(p, Trail) else -1 for p in parts],
        "poses": [len(part.stamps) for part in parts],
        "shared": [p.shared if isinstance(p, Submap) else 0 for p in parts],
        "keyframes": [len(p.keyframes) if isinstance(p, Submap) else 0 for p in parts],
        "points": [len(points) for points, _ in clouds],
        "is_joined": [isinstance(p, Submap) and p.is_joined for p in parts],
        **similarity_columns(
            "", [p.S_map_submap if isinstance(p, Submap) else p.S_carrier_submap for p in parts]
        ),
        **similarity_columns("first_", [bend.S_middle_first for bend in bends]),
        **similarity_columns("last_", [bend.S_middle_last for bend in bends]),
        **_feet(len(parts), grounds),
        **factor_columns(snapshot.graph),
    }
    seen = {
        "stamp_ns": [stamp.stamp_ns for stamp in stamps],
        "frame_id": [frame_ids[stamp.camera] for stamp in stamps],
        "T_submap_camera": np.concatenate(
            [np.zeros((0, 4, 4)), *(part.T_submap_camera for part in parts)]
        ),
        **_bases([len(part.stamps) for part in parts], grounds),
        **_keyframes([keyframe for submap in submaps for keyframe in submap.keyframes]),
    }
    shown = {
        "points_submap": cloud.points, "colors": cloud.colors, "weights": cloud.weights,
        "seen_by": np.concatenate([np.zeros(0, np.uint16), *(seen_by for _, seen_by in clouds)]),
    }
    return SnapshotArrays(
        _typed(placed, SUBMAPS), _typed(seen, KEYFRAMES), _typed(shown, CLOUDS), cameras
    )


def _in_order(snapshot: MapSnapshot) -> list[Submap | Trail]:
    """Return submaps and trails by their numbers, of which none may be missing."""
    numbered: dict[int, Submap | Trail] = {submap.index: submap for submap in snapshot.submaps}
    numbered |= {trail.number: trail for trail in snapshot.trails}
    if sorted(numbered) != [*range(snapshot.end)]:
        raise ValueError(f"the submaps of a map have the numbers {sorted(numbered)}")
    return [numbered[number] for number in range(snapshot.end)]


def from_arrays(
    arrays: SnapshotArrays, pictures: Sequence[bytes]
) -> tuple[tuple[Submap, ...], tuple[Trail, ...], PoseGraph, GroundHeights]:
    """Put the parts of a snapshot together again; ``pictures``: those of all keyframes, in order.

    Raises ValueError where the arrays contradict each other or are no geometry.
    """
    placed, seen = arrays.submaps, arrays.keyframes
    check_arrays(placed, seen, arrays.clouds, len(arrays.cameras), len(pictures))
    places = read_similarities("", placed)
    stamps = [
        FrameStamp(int(stamp_ns), arrays.cameras[frame_id])
        for stamp_ns, frame_id in zip(seen["stamp_ns"], seen["frame_id"], strict=True)
    ]
    pose_parts = _parts(placed["poses"])
    submaps = tuple(_submaps(arrays, pictures, stamps, places))
    trails = tuple(
        Trail(number, carrier, places[number], tuple(stamps[pose_parts[number]]),
              seen["T_submap_camera"][pose_parts[number]])
        for number, carrier in enumerate(placed["carrier"].tolist()) if carrier >= 0
    )
    graph = PoseGraph()
    for submap in submaps:
        graph.add(submap.S_map_submap, submap.index)
    graph.extend(read_factors(placed))
    grounds = GroundHeights()
    for submap in submaps:
        index, own = submap.index, pose_parts[submap.index]
        has_base = seen["has_base"][own]
        bases = np.where(has_base[:, None], seen["base_camera"][own], np.nan)
        foot = placed["foot_submap"][index].copy() if placed["has_foot"][index] else None
        grounds.restore(index, bases if has_base.any() else None, foot)
    return submaps, trails, graph, grounds


def _submaps(
    arrays: SnapshotArrays, pictures: Sequence[bytes], stamps: Sequence[FrameStamp],
    places: Sequence[Sim3],
) -> Iterator[Submap]:
    """Put the submaps together; ``stamps`` of all poses, ``places`` of all rows."""
    placed, seen, shown = arrays.submaps, arrays.keyframes, arrays.clouds
    cameras = _pinholes(seen["camera"], seen["camera_size"])
    sketches = list(_sketches(seen))
    firsts, lasts = (read_similarities(prefix, placed) for prefix in ("first_", "last_"))
    rows = zip(*(_parts(placed[name]) for name in ("poses", "keyframes", "points")), strict=True)
    for index, (own, kept, points) in enumerate(rows):
        if placed["carrier"][index] >= 0:
            continue
        shared = int(placed["shared"][index])
        kept_stamps = stamps[own][shared:][: kept.stop - kept.start]
        keyframes = tuple(
            Keyframe(stamp, pictures[i], cameras[i], bool(seen["is_calibrated"][i]), sketches[i],
                     seen["signature"][i])
            for stamp, i in zip(kept_stamps, range(kept.start, kept.stop), strict=True)
        )
        cloud = WeightedCloud(
            shown["points_submap"][points], shown["colors"][points], shown["weights"][points]
        )
        yield Submap.closed(
            index, places[index], bend=Bend(firsts[index], lasts[index]),
            is_joined=bool(placed["is_joined"][index]), shared=shared, stamps=tuple(stamps[own]),
            T_submap_camera=seen["T_submap_camera"][own], keyframes=keyframes,
            cloud_submap=cloud, seen_by=shown["seen_by"][points],
        )


def _typed(columns: Mapping[str, Any], specs: Mapping[str, ArraySpec]) -> Arrays:
    """Give columns the types and shapes of their specification, where they may have no rows."""
    typed = {}
    for name, spec in specs.items():
        column = np.asarray(columns[name], spec.dtype)
        fixed = [length for length in spec.shape[1:] if isinstance(length, int)]
        if not column.size and column.ndim != len(spec.shape):
            column = column.reshape(0, *fixed, *[0] * (len(spec.shape) - 1 - len(fixed)))
        typed[name] = np.ascontiguousarray(column)
    return typed


def _feet(count: int, grounds: GroundHeights) -> dict[str, Any]:
    feet = [grounds.kept(number)[1] for number in range(count)]
    return {
        "has_foot": [foot is not None for foot in feet],
        "foot_submap": [np.zeros(3) if foot is None else foot for foot in feet],
    }


def _bases(poses: Sequence[int], grounds: GroundHeights) -> dict[str, Any]:
    bases = np.full((sum(poses), 3), np.nan)
    for number, own in enumerate(_parts(np.array(poses))):
        known = grounds.kept(number)[0]
        if known is not None:
            bases[own][: len(known)] = known
    has_base = np.isfinite(bases).all(axis=1)
    return {"has_base": has_base, "base_camera": np.where(has_base[:, None], bases, 0.0)}


def _keyframes(keyframes: Sequence[Keyframe]) -> dict[str, Any]:
    return {
        "camera": [_intrinsics(keyframe.camera) for keyframe in keyframes],
        "camera_size": [(k.camera.width, k.camera.height) for k in keyframes],
        "is_calibrated": [keyframe.is_calibrated for keyframe in keyframes],
        "signature": [keyframe.signature for keyframe in keyframes],
        "sketch_camera": [_intrinsics(keyframe.sketch.camera) for keyframe in keyframes],
        "sketch_size": [(k.sketch.camera.width, k.sketch.camera.height) for k in keyframes],
        "sketch_depth": np.concatenate(
            [np.zeros(0, np.float16), *(keyframe.sketch.depth.ravel() for keyframe in keyframes)]
        ),
    }


def _sketches(columns: Arrays) -> Iterator[DepthSketch]:
    cameras = _pinholes(columns["sketch_camera"], columns["sketch_size"])
    for camera, part in zip(cameras, _parts(columns["sketch_size"].prod(axis=1)), strict=True):
        depth = columns["sketch_depth"][part].reshape(camera.height, camera.width)
        yield DepthSketch(depth, camera)


def _intrinsics(camera: Pinhole) -> tuple[float, float, float, float]:
    return camera.fx, camera.fy, camera.cx, camera.cy


def _pinholes(intrinsics: NDArray[Any], sizes: NDArray[Any]) -> list[Pinhole]:
    rows = zip(intrinsics.tolist(), sizes.tolist(), strict=True)
    return [Pinhole(fx, fy, cx, cy, width, height) for (fx, fy, cx, cy), (width, height) in rows]


def _parts(counts: NDArray[Any]) -> list[slice]:
    """Where each one's rows are, when those of all follow each other."""
    ends = np.cumsum(counts).tolist()
    return [slice(first, end) for first, end in zip([0, *ends], ends, strict=False)]
