"""A map snapshot as arrays, pictures and names, and back: what stands in the files of a map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.frame import FrameStamp
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.mapping.array_file import ArraySpec
from flashvggt_ros.mapping.depth_sketch import DepthSketch
from flashvggt_ros.mapping.graph_arrays import (
    FARTHEST,
    GRAPH,
    Arrays,
    check_rotations,
    factor_columns,
    read_factors,
    read_similarities,
    similarity_columns,
)
from flashvggt_ros.mapping.ground_heights import GroundHeights
from flashvggt_ros.mapping.keyframe import Keyframe
from flashvggt_ros.mapping.pose_graph import PoseGraph
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.mapping.voxel_grid import WeightedCloud

SUBMAPS = {
    "poses": ArraySpec("<i8", ("S",)),  # of each submap; the shared ones come first
    "shared": ArraySpec("<i8", ("S",)),
    "keyframes": ArraySpec("<i8", ("S",)),
    "points": ArraySpec("<i8", ("S",)),
    "is_joined": ArraySpec("|b1", ("S",)),
    "scale": ArraySpec("<f8", ("S",)),  # S_map_submap
    "rotation": ArraySpec("<f8", ("S", 3, 3)),
    "translation": ArraySpec("<f8", ("S", 3)),
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
}


@dataclass(frozen=True, slots=True, eq=False)
class SnapshotArrays:
    """Arrays as SUBMAPS, KEYFRAMES and CLOUDS specify them, and the names of the cameras."""

    submaps: Arrays
    keyframes: Arrays
    clouds: Arrays
    cameras: tuple[str, ...]


def to_arrays(
    submaps: Sequence[Submap], graph: PoseGraph, grounds: GroundHeights
) -> SnapshotArrays:
    """Take closed submaps, their graph and their ground apart, without the pictures."""
    stamps = [stamp for submap in submaps for stamp in submap.stamps]
    cameras = tuple(sorted({stamp.camera for stamp in stamps}))
    frame_ids = {camera: number for number, camera in enumerate(cameras)}
    clouds = [submap.cloud(1.0) for submap in submaps]
    cloud = WeightedCloud.concatenate(clouds)
    placed = {
        "poses": [submap.frames for submap in submaps],
        "shared": [submap.shared for submap in submaps],
        "keyframes": [len(submap.keyframes) for submap in submaps],
        "points": [len(part) for part in clouds],
        "is_joined": [submap.is_joined for submap in submaps],
        **similarity_columns("", [submap.S_map_submap for submap in submaps]),
        **_feet(submaps, grounds),
        **factor_columns(graph),
    }
    seen = {
        "stamp_ns": [stamp.stamp_ns for stamp in stamps],
        "frame_id": [frame_ids[stamp.camera] for stamp in stamps],
        "T_submap_camera": np.concatenate(
            [np.zeros((0, 4, 4)), *(submap.T_submap_camera for submap in submaps)]
        ),
        **_bases(submaps, grounds),
        **_keyframes([keyframe for submap in submaps for keyframe in submap.keyframes]),
    }
    shown = {"points_submap": cloud.points, "colors": cloud.colors, "weights": cloud.weights}
    return SnapshotArrays(
        _typed(placed, SUBMAPS), _typed(seen, KEYFRAMES), _typed(shown, CLOUDS), cameras
    )


def from_arrays(
    arrays: SnapshotArrays, pictures: Sequence[bytes]
) -> tuple[tuple[Submap, ...], PoseGraph, GroundHeights]:
    """Put submaps, graph and ground together again; ``pictures``: those of all keyframes, in order.

    Raises ValueError where the arrays contradict each other or are no geometry.
    """
    placed, seen, shown = arrays.submaps, arrays.keyframes, arrays.clouds
    _check(arrays, pictures)
    places = read_similarities("", placed)
    stamps = [
        FrameStamp(int(stamp_ns), arrays.cameras[frame_id])
        for stamp_ns, frame_id in zip(seen["stamp_ns"], seen["frame_id"], strict=True)
    ]
    pose_parts = _parts(placed["poses"])
    keyframe_parts, cloud_parts = _parts(placed["keyframes"]), _parts(placed["points"])
    cameras = _pinholes(seen["camera"], seen["camera_size"])
    sketches = list(_sketches(seen))
    submaps = []
    for index, S_map_submap in enumerate(places):
        own, kept, points = pose_parts[index], keyframe_parts[index], cloud_parts[index]
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
        submaps.append(
            Submap.closed(
                index, S_map_submap, is_joined=bool(placed["is_joined"][index]), shared=shared,
                stamps=tuple(stamps[own]), T_submap_camera=seen["T_submap_camera"][own],
                keyframes=keyframes, cloud_submap=cloud,
            )
        )
    graph = PoseGraph()
    for S_map_submap in places:
        graph.add(S_map_submap)
    graph.extend(read_factors(placed))
    grounds = GroundHeights()
    for index, own in enumerate(pose_parts):
        has_base, base_camera = seen["has_base"][own], seen["base_camera"][own]
        bases_camera = np.where(has_base[:, None], base_camera, np.nan) if has_base.any() else None
        foot_submap = placed["foot_submap"][index] if placed["has_foot"][index] else None
        grounds.restore(index, bases_camera, foot_submap)
    return tuple(submaps), graph, grounds


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


def _feet(submaps: Sequence[Submap], grounds: GroundHeights) -> dict[str, Any]:
    feet = [grounds.kept(submap.index)[1] for submap in submaps]
    return {
        "has_foot": [foot is not None for foot in feet],
        "foot_submap": [np.zeros(3) if foot is None else foot for foot in feet],
    }


def _bases(submaps: Sequence[Submap], grounds: GroundHeights) -> dict[str, Any]:
    bases = np.full((sum(submap.frames for submap in submaps), 3), np.nan)
    for submap, own in zip(submaps, _parts(np.array([s.frames for s in submaps])), strict=True):
        known = grounds.kept(submap.index)[0]
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


def _check(arrays: SnapshotArrays, pictures: Sequence[bytes]) -> None:
    """Check what one array says of the size of another, and that the numbers are sane."""
    placed, seen, shown = arrays.submaps, arrays.keyframes, arrays.clouds
    counted = {
        "poses": (placed["poses"], len(seen["stamp_ns"])),
        "keyframes": (placed["keyframes"], len(seen["camera"])),
        "pictures": (placed["keyframes"], len(pictures)),
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
    if ((seen["frame_id"] < 0) | (seen["frame_id"] >= len(arrays.cameras))).any():
        raise ValueError("a keyframe is of an unknown camera")
    _check_images(seen, shown)
    _check_places(placed, seen, shown)


def _check_images(seen: Arrays, shown: Arrays) -> None:
    sizes, side = seen["sketch_size"], np.iinfo(np.int16).max
    if (sizes < 1).any() or (sizes > side).any() or (seen["camera_size"] > side).any():
        raise ValueError("the size of an image is impossible")
    if sizes.prod(axis=1).sum() != len(seen["sketch_depth"]):
        raise ValueError("its depth sketches have another size than their cameras")
    if (shown["weights"] <= 0).any() or (seen["sketch_depth"] < 0).any():
        raise ValueError("a weight or a depth is negative")


def _check_places(placed: Arrays, seen: Arrays, shown: Arrays) -> None:
    poses = seen["T_submap_camera"]
    check_rotations(poses[:, :3, :3])
    places = [placed["translation"], placed["edge_translation"], poses[:, :3, 3],
              shown["points_submap"], placed["foot_submap"], seen["base_camera"]]
    if any((np.abs(part) > FARTHEST).any() for part in places):
        raise ValueError(f"a coordinate is beyond {FARTHEST:g}")
    if (poses[:, 3] != [0, 0, 0, 1]).any():
        raise ValueError("a pose is not a rigid transform")
