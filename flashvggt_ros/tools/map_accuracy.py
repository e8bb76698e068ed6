"""How far a map's points are from the true surfaces, and how much of these it covers.

Asked twice, because a camera's path and its map can disagree: where the map lies when its path
lies on the true one, and how true its shape is when the map itself is laid onto the surfaces.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from flashvggt_ros.geometry.sim3 import Sim3, align_points

NEAR_SHARE = 0.05  # of the scene's size: a point this close to a surface counts as near
COVERED_SHARE = 0.02  # of the scene's size: a surface with a point this close counts as covered
MOST_SURFACE_POINTS = 50_000  # evenly taken, by which coverage is measured
FITTED_POINTS = 3000  # of either side, evenly taken
FITTED_SHARE = 0.8  # of these, the nearest, which decide the fit
MOST_FITS = 300
FIT_PRECISION = 5e-4  # largest motion of a point in the last step [m]


def measure_map(
    points_map: NDArray[np.float32],
    surfaces: NDArray[np.float32],
    S_truth_map: NDArray[np.float64],
) -> dict[str, Any]:
    """Compare a map's points with points on the true surfaces.

    ``points_map`` (M, 3), ``surfaces`` (Q, 3) [m], dense: a distance is that to the nearest of
    them. ``S_truth_map`` (4, 4) is the Sim(3) that lays the map onto the truth. The scene's size is
    the longest edge of the box around the surfaces; ``covered_share`` counts all of them, also what
    no camera saw. Raises ValueError when either is empty.
    """
    _require_points(points_map, surfaces)
    size = float((surfaces.max(axis=0) - surfaces.min(axis=0)).max())
    aligned = points_map.astype(np.float64) @ S_truth_map[:3, :3].T + S_truth_map[:3, 3]
    distance, _ = cKDTree(surfaces).query(aligned)
    near, covered = NEAR_SHARE * size, COVERED_SHARE * size
    back, _ = cKDTree(aligned).query(_evenly(surfaces, MOST_SURFACE_POINTS))
    return {
        "points": len(points_map),
        "scene_size_m": size,
        "near_m": near,
        "near_share": float((distance <= near).mean()),
        "median_m": float(np.median(distance)),
        "p90_m": float(np.quantile(distance, 0.9)),
        "p90_percent": 100 * float(np.quantile(distance, 0.9)) / size,
        "covered_m": covered,
        "covered_share": float((back <= covered).mean()),
    }


def fit_map(
    points_map: NDArray[np.float32],
    surfaces: NDArray[np.float32],
    S_truth_map: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the Sim(3) (4, 4) that lays a map's points onto the surfaces best.

    Trimmed iterative closest points (Chetverikov et al., ICPR 2002) with scale, from
    ``S_truth_map`` on: it finds the optimum near that start. Pairs are sought in both directions,
    for otherwise the map would shrink into one wall. Raises ValueError when either is empty.
    """
    _require_points(points_map, surfaces)
    of_map, of_surfaces = _evenly(points_map, FITTED_POINTS), _evenly(surfaces, FITTED_POINTS)
    map_tree, surface_tree = cKDTree(points_map), cKDTree(surfaces)
    scale = float(np.cbrt(np.linalg.det(S_truth_map[:3, :3])))
    S = Sim3(scale, S_truth_map[:3, :3] / scale, S_truth_map[:3, 3])
    for _ in range(MOST_FITS):
        before = S.transform_points(of_map)
        there, nearest_surface = _nearest(surface_tree, before)
        back, nearest_map = _nearest(map_tree, S.inverse().transform_points(of_surfaces))
        source = np.concatenate([of_map[there], points_map[nearest_map]])
        target = np.concatenate([surfaces[nearest_surface], of_surfaces[back]])
        S = align_points(source.astype(np.float64), target.astype(np.float64),
                         np.ones(len(source)))
        if np.abs(S.transform_points(of_map) - before).max() < FIT_PRECISION:
            break
    return S.matrix


def _evenly(points: NDArray[np.float32], most: int) -> NDArray[np.float64]:
    return points[:: max(1, len(points) // most)].astype(np.float64)


def _nearest(
    tree: cKDTree, points: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Which points (M,) are among the nearest FITTED_SHARE, and the row in the tree of each."""
    distance, row = tree.query(points)
    kept = distance <= np.quantile(distance, FITTED_SHARE)
    return kept, row[kept]


def format_map_accuracy(accuracy: dict[str, Any], label: str) -> str:
    """Return the measurement as lines for a terminal."""
    size = f"{NEAR_SHARE:.0%} of the scene's {accuracy['scene_size_m']:.2f} m"
    return (
        f"map     {label}: {accuracy['near_share']:.1%} of {accuracy['points']} points lie within "
        f"{accuracy['near_m']:.2f} m\n        ({size}) of the true surfaces; median "
        f"{accuracy['median_m']:.3f} m, 90 % within {accuracy['p90_m']:.3f} m "
        f"({accuracy['p90_percent']:.2f} %);\n        {accuracy['covered_share']:.1%} of the "
        f"surfaces have a point within {accuracy['covered_m']:.2f} m"
    )


def _require_points(points_map: NDArray[np.float32], surfaces: NDArray[np.float32]) -> None:
    if not len(points_map) or not len(surfaces):
        raise ValueError(f"{len(points_map)} map points and {len(surfaces)} true points: "
                         "both are needed to compare them")
