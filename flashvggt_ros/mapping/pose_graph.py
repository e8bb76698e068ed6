"""Where the submaps lie: a graph of similarities, joined by measurements and made consistent."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.factor_list import FactorList
from flashvggt_ros.mapping.graph_covariance import Information, left_out_distance
from flashvggt_ros.mapping.graph_factors import FREEDOMS, Factors, NodePoses
from flashvggt_ros.mapping.graph_gauge import connected_parts, free_coordinates
from flashvggt_ros.mapping.graph_measurements import (
    Between,
    Factor,
    ScaleFactor,
    UpFactor,
    gather,
    nodes_of,
    whitening,
)
from flashvggt_ros.mapping.graph_merging import LEAST_WEIGHT, as_believed, inherit
from flashvggt_ros.mapping.graph_optimizer import Solution, inlier_limit, solve

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class OptimizeResult:
    """All S_map_node, half the sum of squares before and after, and the factors not believed."""

    poses: tuple[Sim3, ...]
    cost_before: float
    cost_after: float
    iterations: int
    rejected: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RelativePose:
    """S_first_second as the whole graph has it, and its covariance (7, 7) in Between's order."""

    S_first_second: Sim3
    covariance: NDArray[np.float64]


class PoseGraph:
    """Nodes S_map_node and factors between and of them, both numbered as they were added.

    Numbers begin with 0 and are never used again: where nodes were merged there are gaps.

    Gauge: nodes given to ``fix`` do not move. Of each connected part without one the first node
    keeps place and yaw; its tilt moves only where an up direction is known in that part, and its
    scale only where a scale is.
    """

    def __init__(self) -> None:
        self._poses: dict[int, Sim3] = {}  # in order of their numbers
        self._fixed: set[int] = set()
        self._factors = FactorList()
        self._checked: set[int] = set()
        self._information: Information | None = None

    @property
    def poses(self) -> tuple[Sim3, ...]:
        """S_map_node of every node, in order of their numbers."""
        return tuple(self._poses.values())

    @property
    def nodes(self) -> tuple[int, ...]:
        """The numbers of the nodes, in order."""
        return tuple(self._poses)

    @property
    def fixed(self) -> frozenset[int]:
        """The nodes that do not move."""
        return frozenset(self._fixed)

    @property
    def factors(self) -> Mapping[int, Factor]:
        """Every factor by its id."""
        return dict(self._factors.by_id)

    def pose(self, node: int) -> Sim3:
        """Return S_map_node of one node."""
        return self._poses[self._known(node)]

    def add(self, S_map_node: Sim3, number: int | None = None) -> int:
        """Add a node at a first guess; return its number: the next one, or a higher one asked for.

        Raises ValueError for a number that is not higher than all others.
        """
        last = max(self._poses, default=-1)
        number = last + 1 if number is None else number
        if number <= last:
            raise ValueError(f"node {number} cannot be added after node {last}")
        self._poses[number] = S_map_node
        self._information = None
        return number

    def move(self, node: int, S_map_node: Sim3) -> None:
        """Put a node somewhere else; optimize() starts there."""
        self._poses[self._known(node)] = S_map_node
        self._information = None

    def fix(self, node: int, S_map_node: Sim3) -> None:
        """Put a node somewhere and keep it there."""
        self.move(node, S_map_node)
        self._fixed.add(node)
        self._information = None

    def add_between(
        self, first: int, second: int, S_first_second: Sim3, covariance: NDArray[np.float64],
        *, is_robust: bool,
    ) -> int:
        """Add a measurement with its covariance (7, 7); return the factor's id.

        A robust one may turn out wrong: it is then left out by ``optimize``, and named there.
        Raises ValueError for a covariance that is not positive definite, or one node twice.
        """
        factor = Between(first, second, S_first_second, covariance, is_robust)
        self._check(factor)
        self._information = None
        return self._factors.append(factor)

    def set_scale(self, node: int, meters_per_unit: float, sigma: float) -> int:
        """Add or replace what is measured of a node's scale; robust.

        ``sigma`` is the standard deviation of the logarithm. Return the factor's id.
        """
        if not (meters_per_unit > 0 and sigma > 0):
            raise ValueError(f"scale {meters_per_unit} and sigma {sigma} must be positive")
        self._information = None
        return self._factors.replace(ScaleFactor(self._known(node), meters_per_unit, sigma))

    def set_up(self, node: int, up_node: NDArray[np.float64], sigma: float) -> int:
        """Add or replace which way is up in a node's frame (3,), sigma [rad]; robust.

        Return the factor's id.
        """
        length = float(np.linalg.norm(up_node))
        if not (length > 0 and sigma > 0):
            raise ValueError(f"up {up_node} must not be zero, and sigma {sigma} positive")
        self._information = None
        up = UpFactor(self._known(node), np.asarray(up_node) / length, sigma)
        return self._factors.replace(up)

    def remove(self, factor: int) -> None:
        """Forget a factor; KeyError if there is none of that id."""
        self._factors.remove(factor)
        self._information = None

    def extend(self, factors: Iterable[Factor]) -> None:
        """Add factors as they are; ValueError for unknown nodes or an impossible covariance."""
        for factor in factors:
            self._check(factor)
            self._factors.append(factor)
        self._information = None

    def part(self, nodes: Collection[int]) -> PoseGraph:
        """Return some nodes, with their numbers and the factors among them; none is fixed."""
        part, chosen = PoseGraph(), set(nodes)
        for node in sorted(chosen):
            part.add(self.pose(node), node)
        factors = self._factors.by_id.values()
        part.extend(factor for factor in factors if chosen.issuperset(nodes_of(factor)))
        return part

    def merge(self, node: int, preferred: Collection[int] = ()) -> int | None:
        """Remove a node; what is known by it is known of the neighbor that is returned, from now.

        See ``inherit`` for which that is. Robust factors count as their residuals let them, so call
        it after ``optimize``; those that are believed are so for good. None, and nothing changed,
        where no neighbor can replace the node: none is joined to it, or it is the only fixed one.
        """
        known = self._factors.by_id
        touching = [known[i] for i in self._factors.of_node(self._known(node))]
        believed = as_believed(touching, NodePoses.of(self.poses), self._rows())
        inherited = inherit(node, believed, self.pose, self._fixed, preferred)
        if inherited is None:
            return None
        self.drop(node)
        for made in inherited.factors:
            self._factors.average(made)
        return inherited.heir

    def drop(self, node: int) -> None:
        """Remove a node and all that is measured of it."""
        for factor in self._factors.of_node(self._known(node)):
            self._factors.remove(factor)
        del self._poses[node]
        self._fixed.discard(node)
        self._information = None

    def optimize(self) -> OptimizeResult:
        """Move the nodes to where the factors agree best; robust factors that disagree are named.

        After the kernels have had their say, each robust measurement that is new is compared with
        what all others say together (Baarda, 1968): a stiff wrong one that bends a soft chain has
        no residual to show. The worst beyond the limit is left out, and the rest optimized again.
        Later, when others hold the chain, its residual betrays it. Raises ValueError without nodes.
        """
        if not self._poses:
            raise ValueError("a graph without nodes cannot be optimized")
        start = NodePoses.of(self.poses)
        left_out: set[int] = set()
        iterations, cost_before = 0, None
        while True:
            factors, ids = self._gather(left_out)
            solution = solve(factors, start, self._free(left_out))
            iterations += solution.iterations
            cost_before = solution.cost_before if cost_before is None else cost_before
            worst = self._most_contradicted(solution, left_out)
            if worst is None:
                break
            left_out.add(worst)
            start = solution.poses
        nodes = self.nodes
        for row in np.flatnonzero(self._free(left_out).any(axis=1)).tolist():
            self._poses[nodes[row]] = solution.poses.similarity(row)
        self._checked = set(self._factors.by_id) - left_out
        self._information = None
        weights = np.concatenate(solution.weights)
        weak = {i for i, weight in zip(ids, weights, strict=True) if weight < LEAST_WEIGHT}
        rejected = tuple(sorted(weak | left_out))
        logger.debug(
            "pose graph: cost %.4g to %.4g in %d iterations, %d factors rejected",
            cost_before, solution.cost_after, iterations, len(rejected),
        )
        return OptimizeResult(self.poses, cost_before, solution.cost_after, iterations, rejected)

    def relative(self, first: int, second: int) -> RelativePose | None:
        """Return S_first_second and its covariance as the graph has it now.

        None where no chain of factors joins the two. Robust factors count as their residuals let
        them, so call it after ``optimize``. Asking again before anything changes is cheap.
        """
        if self._information is None:
            factors, _ = self._gather(set())
            poses = NodePoses.of(self.poses)
            self._information = Information(factors, poses, self._free(), self._parts())
        S_map_first, S_map_second = self.pose(first), self.pose(second)
        rows = self._rows()
        covariance = self._information.relative_covariance(rows[first], rows[second])
        if covariance is None:
            return None
        return RelativePose(S_map_first.inverse() @ S_map_second, covariance)

    def _known(self, node: int) -> int:
        if node not in self._poses:
            raise ValueError(f"node {node} is not one of the {len(self._poses)} nodes")
        return node

    def _rows(self) -> dict[int, int]:
        """Where each node is in arrays of all, by its number."""
        return {node: row for row, node in enumerate(self._poses)}

    def _check(self, factor: Factor) -> None:
        """Raise ValueError for unknown nodes, one node twice, or an impossible covariance."""
        for node in nodes_of(factor):
            self._known(node)
        if isinstance(factor, Between):
            if factor.first == factor.second:
                raise ValueError(f"a factor needs two nodes, not {factor.first} twice")
            whitening(factor.covariance)

    def _parts(self, left_out: Collection[int] = ()) -> NDArray[np.int64]:
        """Return which connected part each node belongs to; all fixed nodes are in one."""
        return connected_parts(self._rows(), self._factors.without(left_out).values(), self._fixed)

    def _free(self, left_out: Collection[int] = ()) -> NDArray[np.bool_]:
        """Which coordinates (n, 7) of which node may change; see the gauge in the class."""
        return free_coordinates(self._rows(), self._factors.without(left_out).values(), self._fixed)

    def _gather(self, left_out: set[int]) -> tuple[Factors, list[int]]:
        """Return the factors in arrays, and their ids in that order."""
        return gather(self._factors.without(left_out), self._rows())

    def _most_contradicted(self, solution: Solution, left_out: set[int]) -> int | None:
        """Return the new robust measurement that all others contradict most, or None."""
        factors, ids = self._gather(left_out)
        between = factors.between
        is_new = np.array([i not in self._checked for i in ids[: len(between.nodes)]], np.bool_)
        is_believed = solution.weights[0] >= LEAST_WEIGHT
        suspects = np.flatnonzero(between.is_robust & is_believed & is_new)
        if not len(suspects):
            return None
        known = Information(factors, solution.poses, self._free(left_out), self._parts(left_out))
        line = between.linearize(solution.poses)
        explained = [known.covariance(between.nodes[i], line.derivatives[i]) for i in suspects]
        distances = [
            left_out_distance(line.residuals[i], share, solution.weights[0][i])
            for i, share in zip(suspects, explained, strict=True)
        ]
        worst = int(np.argmax(distances))
        return ids[suspects[worst]] if distances[worst] > inlier_limit(FREEDOMS) else None
