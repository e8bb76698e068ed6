"""How far a map's points are from the true surfaces."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

NEAR_SHARE = 0.05  # of the scene's size: a point this close to a surface counts as near


def measure_map(
    points_map: NDArray[np.float32],
    surfaces: NDArray[np.float32],
    S_truth_map: NDArray[np.float64],
) -> dict[str, Any]:
    """Compare a map's points with points on the true surfaces.

    ``points_map`` (M, 3), ``surfaces`` (Q, 3) [m], dense: a distance is that to the nearest of
    them. ``S_truth_map`` (4, 4) is the Sim(3) that aligns the trajectory with the truth: the map is
    not fitted to the surfaces. The scene's size is the longest edge of the box around them.
    Raises ValueError when either is empty.
    """
    if not len(points_map) or not len(surfaces):
        raise ValueError(f"{len(points_map)} map points and {len(surfaces)} true points: "
                         "both are needed to compare them")
    size = float((surfaces.max(axis=0) - surfaces.min(axis=0)).max())
    aligned = points_map.astype(np.float64) @ S_truth_map[:3, :3].T + S_truth_map[:3, 3]
    distance, _ = cKDTree(surfaces).query(aligned)
    near = NEAR_SHARE * size
    return {
        "points": len(points_map),
        "scene_size_m": size,
        "near_m": near,
        "near_share": float((distance <= near).mean()),
        "median_m": float(np.median(distance)),
        "p90_m": float(np.quantile(distance, 0.9)),
        "p90_percent": 100 * float(np.quantile(distance, 0.9)) / size,
    }


def format_map_accuracy(accuracy: dict[str, Any]) -> str:
    """Return the measurement as a line for a terminal."""
    size = f"{NEAR_SHARE:.0%} of the scene's {accuracy['scene_size_m']:.2f} m"
    return (
        f"map     {accuracy['near_share']:.1%} of {accuracy['points']} points lie within "
        f"{accuracy['near_m']:.2f} m ({size}) of the true surfaces; median "
        f"{accuracy['median_m']:.3f} m, 90 % within {accuracy['p90_m']:.3f} m "
        f"({accuracy['p90_percent']:.2f} %)"
    )
