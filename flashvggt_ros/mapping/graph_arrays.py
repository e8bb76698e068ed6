"""The measurements of a pose graph as arrays, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.array_file import ArraySpec
from flashvggt_ros.mapping.graph_measurements import Between, Factor, ScaleFactor, UpFactor
from flashvggt_ros.mapping.pose_graph import PoseGraph

FARTHEST = 1e7  # of any coordinate, in any unit
ROTATION_ERROR = 1e-6  # of a matrix that is called a rotation

GRAPH = {
    "edge_nodes": ArraySpec("<i8", ("E", 2)),
    "edge_scale": ArraySpec("<f8", ("E",)),
    "edge_rotation": ArraySpec("<f8", ("E", 3, 3)),
    "edge_translation": ArraySpec("<f8", ("E", 3)),
    "edge_covariance": ArraySpec("<f8", ("E", 7, 7)),
    "edge_is_robust": ArraySpec("|b1", ("E",)),
    "scale_node": ArraySpec("<i8", ("F",)),
    "scale_measured": ArraySpec("<f8", ("F", 2)),  # meters per unit, sigma
    "up_node": ArraySpec("<i8", ("U",)),
    "up_measured": ArraySpec("<f8", ("U", 4)),  # direction, sigma
}

Arrays = Mapping[str, NDArray[Any]]


def factor_columns(graph: PoseGraph) -> dict[str, Any]:
    """Return what GRAPH specifies, of all factors, by kind and in order."""
    factors = graph.factors.values()
    edges = [factor for factor in factors if isinstance(factor, Between)]
    scales = [factor for factor in factors if isinstance(factor, ScaleFactor)]
    ups = [factor for factor in factors if isinstance(factor, UpFactor)]
    return {
        "edge_nodes": [(edge.first, edge.second) for edge in edges],
        **similarity_columns("edge_", [edge.S_first_second for edge in edges]),
        "edge_covariance": [edge.covariance for edge in edges],
        "edge_is_robust": [edge.is_robust for edge in edges],
        "scale_node": [scale.node for scale in scales],
        "scale_measured": [(scale.meters_per_unit, scale.sigma) for scale in scales],
        "up_node": [up.node for up in ups],
        "up_measured": [(*up.up_node, up.sigma) for up in ups],
    }


def read_factors(columns: Arrays) -> Iterator[Factor]:
    """Yield measurements between nodes first, then of their scales, then of their ups.

    Raises ValueError for impossible ones; PoseGraph.extend checks nodes and covariances.
    """
    if (columns["scale_measured"] <= 0).any() or (columns["up_measured"][:, 3] <= 0).any():
        raise ValueError("a measured scale or a sigma is not positive")
    lengths = np.linalg.norm(columns["up_measured"][:, :3], axis=1)
    if (np.abs(lengths - 1) > ROTATION_ERROR).any():
        raise ValueError("an up direction is not of length 1")
    edges = zip(
        columns["edge_nodes"].tolist(), read_similarities("edge_", columns),
        columns["edge_covariance"], columns["edge_is_robust"], strict=True,
    )
    for (first, second), S_first_second, covariance, is_robust in edges:
        yield Between(first, second, S_first_second, covariance.copy(), bool(is_robust))
    scales = zip(columns["scale_node"].tolist(), columns["scale_measured"].tolist(), strict=True)
    for node, (meters_per_unit, sigma) in scales:
        yield ScaleFactor(node, meters_per_unit, sigma)
    for node, row in zip(columns["up_node"].tolist(), columns["up_measured"], strict=True):
        yield UpFactor(node, row[:3].copy(), float(row[3]))


def similarity_columns(prefix: str, similarities: Sequence[Sim3]) -> dict[str, Any]:
    """Return scale, rotation and translation of each, in columns of these names."""
    return {
        f"{prefix}scale": [S.scale for S in similarities],
        f"{prefix}rotation": [S.rotation for S in similarities],
        f"{prefix}translation": [S.translation for S in similarities],
    }


def read_similarities(prefix: str, columns: Arrays) -> list[Sim3]:
    """Return what similarity_columns was given; ValueError where these are no similarities."""
    names = ("scale", "rotation", "translation")
    scales, rotations, translations = (columns[prefix + name] for name in names)
    check_rotations(rotations)
    if not ((scales > 1 / FARTHEST) & (scales < FARTHEST)).all():
        raise ValueError("a scale is not positive")
    rows = zip(scales, rotations, translations, strict=True)
    return [Sim3(float(s), R.copy(), t.copy()) for s, R, t in rows]


def check_rotations(rotations: NDArray[Any]) -> None:
    """Raise ValueError where matrices (N, 3, 3) are no rotations."""
    if (np.abs(rotations) > 2).any():  # before squares of them overflow
        raise ValueError("a rotation matrix does not rotate")
    errors = np.abs(rotations @ np.swapaxes(rotations, -1, -2) - np.eye(3))
    if errors.max(initial=0) > ROTATION_ERROR or (np.linalg.det(rotations) < 0).any():
        raise ValueError("a rotation matrix does not rotate")
