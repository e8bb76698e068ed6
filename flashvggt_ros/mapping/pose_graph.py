"""Where the submaps lie: a graph of similarities, joined by measurements and made consistent."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.graph_covariance import Information, left_out_distance
from flashvggt_ros.mapping.graph_factors import FREEDOMS, Factors, NodePoses
from flashvggt_ros.mapping.graph_measurements import (
    Between,
    Factor,
    ScaleFactor,
    UpFactor,
    gather,
    whitening,
)
from flashvggt_ros.mapping.graph_optimizer import Solution, inlier_limit, solve

logger = logging.getLogger(__name__)

LEAST_WEIGHT = 0.1  # of a robust factor that still counts as accepted


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
    """Nodes S_map_node, numbered from 0, and factors between and of them, numbered as added.

    Gauge: nodes given to ``fix`` do not move. Of each connected part without one the first node
    keeps place and yaw; its tilt moves only where an up direction is known in that part, and its
    scale only where a scale is.
    """

    def __init__(self) -> None:
        self._poses: list[Sim3] = []
        self._fixed: set[int] = set()
        self._factors: dict[int, Factor] = {}
        self._next_id = 0
        self._checked: set[int] = set()
        self._information: Information | None = None

    @property
    def poses(self) -> tuple[Sim3, ...]:
        """S_map_node of every node."""
        return tuple(self._poses)

    @property
    def fixed(self) -> frozenset[int]:
        """The nodes that do not move."""
        return frozenset(self._fixed)

    @property
    def factors(self) -> Mapping[int, Factor]:
        """Every factor by its id."""
        return dict(self._factors)

    def add(self, S_map_node: Sim3) -> int:
        """Add a node at a first guess; return its number."""
        self._poses.append(S_map_node)
        self._information = None
        return len(self._poses) - 1

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
        self.extend([Between(first, second, S_first_second, covariance, is_robust)])
        return self._next_id - 1

    def set_scale(self, node: int, meters_per_unit: float, sigma: float) -> int:
        """Add or replace what is measured of a node's scale; robust.

        ``sigma`` is the standard deviation of the logarithm. Return the factor's id.
        """
        if not (meters_per_unit > 0 and sigma > 0):
            raise ValueError(f"scale {meters_per_unit} and sigma {sigma} must be positive")
        return self._replace(ScaleFactor(self._known(node), meters_per_unit, sigma))

    def set_up(self, node: int, up_node: NDArray[np.float64], sigma: float) -> int:
        """Add or replace which way is up in a node's frame (3,), sigma [rad]; robust.

        Return the factor's id.
        """
        length = float(np.linalg.norm(up_node))
        if not (length > 0 and sigma > 0):
            raise ValueError(f"up {up_node} must not be zero, and sigma {sigma} positive")
        return self._replace(UpFactor(self._known(node), np.asarray(up_node) / length, sigma))

    def remove(self, factor: int) -> None:
        """Forget a factor; KeyError if there is none of that id."""
        del self._factors[factor]
        self._information = None

    def extend(self, factors: Iterable[Factor]) -> None:
        """Add factors as they are; ValueError for unknown nodes or an impossible covariance."""
        for factor in factors:
            if isinstance(factor, Between):
                if self._known(factor.first) == self._known(factor.second):
                    raise ValueError(f"a factor needs two nodes, not {factor.first} twice")
                whitening(factor.covariance)
            else:
                self._known(factor.node)
            self._append(factor)

    def part(self, nodes: int) -> PoseGraph:
        """Return the first ``nodes`` nodes with the factors among them; none of them is fixed."""
        part = PoseGraph()
        for S_map_node in self._poses[:nodes]:
            part.add(S_map_node)
        for factor in self._factors.values():
            last = max(factor.first, factor.second) if isinstance(factor, Between) else factor.node
            if last < nodes:
                part.extend([factor])
        return part

    def optimize(self) -> OptimizeResult:
        """Move the nodes to where the factors agree best; robust factors that disagree are named.

        After the kernels have had their say, each robust measurement that is new is compared with
        what all others say together (Baarda, 1968): a stiff wrong one that bends a soft chain has
        no residual to show. The worst beyond the limit is left out, and the rest optimized again.
        Later, when others hold the chain, its residual betrays it. Raises ValueError without nodes.
        """
        if not self._poses:
            raise ValueError("a graph without nodes cannot be optimized")
        start = NodePoses.of(self._poses)
        left_out: set[int] = set()
        iterations, cost_before = 0, None
        while True:
            solution, ids = self._solve(start, left_out)
            iterations += solution.iterations
            cost_before = solution.cost_before if cost_before is None else cost_before
            worst = self._most_contradicted(solution, left_out)
            if worst is None:
                break
            left_out.add(worst)
            start = solution.poses
        for node in np.flatnonzero(self._free(left_out).any(axis=1)).tolist():
            self._poses[node] = solution.poses.similarity(node)
        self._checked = set(self._factors) - left_out
        self._information = None
        weights = np.concatenate(solution.weights)
        weak = {i for i, weight in zip(ids, weights, strict=True) if weight < LEAST_WEIGHT}
        rejected = tuple(sorted(weak | left_out))
        logger.debug(
            "pose graph: cost %.4g to %.4g in %d iterations, %d factors rejected",
            cost_before, solution.cost_after, iterations, len(rejected),
        )
        return OptimizeResult(
            self.poses, cost_before, solution.cost_after, iterations, rejected
        )

    def relative(self, first: int, second: int) -> RelativePose | None:
        """Return S_first_second and its covariance as the graph has it now.

        None where no chain of factors joins the two. Robust factors count as their residuals let
        them, so call it after ``optimize``. Asking again before anything changes is cheap.
        """
        if self._information is None:
            factors, _ = self._gather(set())
            poses = NodePoses.of(self._poses)
            self._information = Information(factors, poses, self._free(), self._parts())
        S_map_first, S_map_second = (self._poses[self._known(node)] for node in (first, second))
        covariance = self._information.relative_covariance(first, second)
        if covariance is None:
            return None
        return RelativePose(S_map_first.inverse() @ S_map_second, covariance)

    def _known(self, node: int) -> int:
        if not 0 <= node < len(self._poses):
            raise ValueError(f"node {node} is not one of the {len(self._poses)} nodes")
        return node

    def _append(self, factor: Factor) -> int:
        self._factors[self._next_id] = factor
        self._next_id += 1
        self._information = None
        return self._next_id - 1

    def _replace(self, factor: ScaleFactor | UpFactor) -> int:
        """Put a factor of one node in the place of that of its kind, if there is one."""
        for known, other in self._factors.items():
            if type(other) is type(factor) and other.node == factor.node:  # type: ignore[union-attr]
                self._factors[known] = factor
                self._information = None
                return known
        return self._append(factor)

    def _parts(self, left_out: Collection[int] = ()) -> NDArray[np.int64]:
        """Return which connected part each node belongs to; all fixed nodes are in one."""
        joined = [
            (factor.first, factor.second)
            for number, factor in self._factors.items()
            if isinstance(factor, Between) and number not in left_out
        ]
        fixed = sorted(self._fixed)
        joined += itertools.pairwise(fixed)
        first, second = np.array(joined, np.int64).reshape(-1, 2).T
        size = len(self._poses)
        links = coo_matrix((np.ones(len(joined)), (first, second)), (size, size))
        parts: NDArray[np.int64] = connected_components(links, directed=False)[1]
        return parts

    def _free(self, left_out: Collection[int] = ()) -> NDArray[np.bool_]:
        """Which coordinates (n, 7) of which node may change; see the gauge in the class."""
        parts = self._parts(left_out)
        is_free = np.ones((len(self._poses), FREEDOMS), np.bool_)
        is_free[sorted(self._fixed)] = False
        factors = self._factors.values()
        level = {parts[factor.node] for factor in factors if isinstance(factor, UpFactor)}
        scaled = {parts[factor.node] for factor in factors if isinstance(factor, ScaleFactor)}
        held = {parts[node] for node in self._fixed}
        for node, part in enumerate(parts):
            if part not in held:
                held.add(part)
                is_free[node] = [part in level] * 2 + [False] * 4 + [part in scaled]
        return is_free

    def _gather(self, left_out: set[int]) -> tuple[Factors, list[int]]:
        """Return the factors in arrays, and their ids in that order."""
        return gather({i: f for i, f in self._factors.items() if i not in left_out})

    def _solve(self, start: NodePoses, left_out: set[int]) -> tuple[Solution, list[int]]:
        factors, ids = self._gather(left_out)
        return solve(factors, start, self._free(left_out)), ids

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

