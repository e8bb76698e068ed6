"""Pose graphs as g2o text files.

``VERTEX_SIM3:QUAT node x y z qx qy qz qw s`` is S_map_node; ``EDGE_SIM3:QUAT first second x y z qx
qy qz qw s`` is S_first_second, followed by the upper triangle of its information in the order
place, rotation, logarithm of the scale; ``FIX node`` keeps a node. Of our own are ``ROBUST k`` (the
k-th edge may be wrong), ``SCALE node meters_per_unit sigma`` and ``UP node x y z sigma``: other
readers of g2o files skip tags that they do not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.graph_factors import FREEDOMS
from flashvggt_ros.mapping.graph_measurements import Between, ScaleFactor, UpFactor
from flashvggt_ros.mapping.pose_graph import PoseGraph

PLACE_FIRST = np.array([3, 4, 5, 0, 1, 2, 6])  # g2o's order of the coordinates in ours
UPPER = np.triu_indices(FREEDOMS)
EDGE_NUMBERS = 2 + 8 + len(UPPER[0])


class PoseGraphFileError(ValueError):
    """A file is not a pose graph that this package wrote."""


def write_pose_graph(graph: PoseGraph, path: Path) -> None:
    """Write a graph as text; read_pose_graph gives back the same to the last digit but one.

    Factors are renumbered from 0: measurements between nodes first, then scales, then ups.
    """
    placed = zip(graph.nodes, graph.poses, strict=True)
    lines = [f"VERTEX_SIM3:QUAT {node} {_similarity(S)}" for node, S in placed]
    lines += [f"FIX {node}" for node in sorted(graph.fixed)]
    edges = [f for f in graph.factors.values() if isinstance(f, Between)]
    for edge in edges:
        information = np.linalg.inv(edge.covariance)[np.ix_(PLACE_FIRST, PLACE_FIRST)]
        numbers = f"{_similarity(edge.S_first_second)} {_text(information[UPPER])}"
        lines.append(f"EDGE_SIM3:QUAT {edge.first} {edge.second} {numbers}")
    lines += [f"ROBUST {number}" for number, edge in enumerate(edges) if edge.is_robust]
    for factor in graph.factors.values():
        if isinstance(factor, ScaleFactor):
            lines.append(
                f"SCALE {factor.node} {_text([factor.meters_per_unit, factor.sigma])}"
            )
    for factor in graph.factors.values():
        if isinstance(factor, UpFactor):
            lines.append(f"UP {factor.node} {_text([*factor.up_node, factor.sigma])}")
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def read_pose_graph(path: Path) -> PoseGraph:
    """Read what write_pose_graph wrote.

    Raises PoseGraphFileError naming the line that is not understood, and OSError.
    """
    graph, edges, robust = PoseGraph(), [], set()
    unary: list[tuple[str, list[float]]] = []
    text = path.read_text(encoding="ascii", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        tag, *words = line.split() or [""]
        try:
            values = [float(word) for word in words]
            if not np.isfinite(values).all():
                raise ValueError("numbers must be finite")
            if tag == "VERTEX_SIM3:QUAT":
                graph.add(_read_similarity(values[1:]), int(values[0]))
            elif tag == "EDGE_SIM3:QUAT" and len(values) == EDGE_NUMBERS:
                edges.append(values)
            elif tag == "ROBUST" and len(values) == 1:
                robust.add(int(values[0]))
            elif tag in ("FIX", "SCALE", "UP"):
                unary.append((tag, values))
            elif tag:
                raise ValueError(f"unknown tag, missing node or missing numbers: '{line[:60]}'")
        except (ValueError, IndexError) as error:
            raise PoseGraphFileError(f"{path}, line {number}: {error}") from None
    try:
        _add_factors(graph, edges, robust, unary)
    except (ValueError, IndexError, np.linalg.LinAlgError) as error:
        raise PoseGraphFileError(f"{path}: {error}") from None
    return graph


def _add_factors(
    graph: PoseGraph, edges: list[list[float]], robust: set[int],
    unary: list[tuple[str, list[float]]],
) -> None:
    back = np.argsort(PLACE_FIRST)
    for number, values in enumerate(edges):
        information = np.zeros((FREEDOMS, FREEDOMS))
        information[UPPER] = values[10:]
        information = information + np.triu(information, 1).T
        covariance = np.linalg.inv(information)[np.ix_(back, back)]
        S_first_second = _read_similarity(values[2:10])
        graph.add_between(
            int(values[0]), int(values[1]), S_first_second, (covariance + covariance.T) / 2,
            is_robust=number in robust,
        )
    for tag, values in unary:
        node = int(values[0])
        if tag == "FIX":
            graph.fix(node, graph.pose(node))
        elif tag == "SCALE":
            graph.set_scale(node, values[1], values[2])
        else:
            graph.set_up(node, np.array(values[1:4]), values[4])


def _similarity(S: Sim3) -> str:
    return _text([*S.translation, *se3.quaternion_from_matrix(S.rotation), S.scale])


def _read_similarity(values: Sequence[float]) -> Sim3:
    """S of x y z qx qy qz qw s; ValueError where these are no similarity."""
    x, y, z, qx, qy, qz, qw, scale = values
    if not scale > 0:
        raise ValueError(f"scale {scale} is not positive")
    rotation = se3.matrix_from_quaternion(np.array([qx, qy, qz, qw]))
    return Sim3(scale, rotation, np.array([x, y, z]))


def _text(numbers: Sequence[float] | NDArray[np.float64]) -> str:
    return " ".join(repr(float(number)) for number in numbers)
