"""Which nodes of a pose graph hang together, and what of them may move."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from flashvggt_ros.mapping.graph_factors import FREEDOMS
from flashvggt_ros.mapping.graph_measurements import Between, Factor, ScaleFactor, UpFactor


def connected_parts(
    rows: Mapping[int, int], factors: Collection[Factor], fixed: Collection[int]
) -> NDArray[np.int64]:
    """Return which part (n,) each node belongs to, by row; all ``fixed`` nodes are in one.

    ``rows``: the row of each node by its number.
    """
    joined = [(f.first, f.second) for f in factors if isinstance(f, Between)]
    joined += itertools.pairwise(sorted(fixed))
    links = np.array([(rows[a], rows[b]) for a, b in joined], np.int64).reshape(-1, 2)
    first, second = links.T
    matrix = coo_matrix((np.ones(len(joined)), (first, second)), (len(rows), len(rows)))
    parts: NDArray[np.int64] = connected_components(matrix, directed=False)[1]
    return parts


def free_coordinates(
    rows: Mapping[int, int], factors: Collection[Factor], fixed: Collection[int]
) -> NDArray[np.bool_]:
    """Return which coordinates (n, 7) of which node may change; see the gauge of PoseGraph."""
    parts = connected_parts(rows, factors, fixed)
    held_rows = [rows[node] for node in fixed]
    is_free = np.ones((len(rows), FREEDOMS), np.bool_)
    is_free[held_rows] = False
    level = {parts[rows[factor.node]] for factor in factors if isinstance(factor, UpFactor)}
    scaled = {parts[rows[factor.node]] for factor in factors if isinstance(factor, ScaleFactor)}
    held = set(parts[held_rows].tolist())
    for row, part in enumerate(parts.tolist()):
        if part not in held:
            held.add(part)
            is_free[row] = [part in level] * 2 + [False] * 4 + [part in scaled]
    return is_free
