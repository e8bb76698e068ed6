"""A node of the pose graph goes, and what was known by it stays known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.graph_measurements import Between, ScaleFactor, UpFactor
from flashvggt_ros.mapping.graph_merging import (
    LEAST_SIGMA,
    averaged,
    averaged_scale,
    averaged_up,
    chained,
    inverted,
)
from flashvggt_ros.mapping.loop_measurement import relative_change
from flashvggt_ros.mapping.pose_graph import PoseGraph, RelativePose

SIGMAS = np.array([0.01, 0.02, 0.01, 0.03, 0.02, 0.04, 0.02])


def some_similarity(rng: np.random.Generator) -> Sim3:
    rotation = se3.matrix_from_quaternion(rng.normal(size=4))
    return Sim3(float(np.exp(rng.normal(0, 0.3))), rotation, rng.normal(size=3))


def some_covariance(size: float, rng: np.random.Generator) -> np.ndarray:
    root = rng.normal(size=(7, 7))
    return size**2 * (root @ root.T / 7 + np.eye(7))


def shaken(S: Sim3, change: np.ndarray) -> Sim3:
    turn = Rotation.from_rotvec(change[:3]).as_matrix()
    return Sim3(S.scale * np.exp(change[6]), turn @ S.rotation, S.translation + change[3:6])


def sampled(covariance: np.ndarray, rng: np.random.Generator, count: int = 4000) -> np.ndarray:
    return rng.normal(size=(count, 7)) @ np.linalg.cholesky(covariance).T


def assert_alike(found: np.ndarray, changes: np.ndarray) -> None:
    """Whether a covariance is that of samples, in every direction."""
    ratio = np.linalg.eigvals(np.linalg.solve(np.cov(changes.T), found)).real
    np.testing.assert_allclose(ratio, 1, atol=0.12)


def test_an_inverted_measurement_is_as_sure_as_before() -> None:
    rng = np.random.default_rng(0)
    edge = Between(3, 5, some_similarity(rng), some_covariance(0.01, rng), is_robust=True)
    back = inverted(edge)
    assert (back.first, back.second, back.is_robust) == (5, 3, True)
    moved = [shaken(edge.S_first_second, d).inverse() for d in sampled(edge.covariance, rng)]
    assert_alike(
        back.covariance, np.array([relative_change(back.S_first_second, S) for S in moved])
    )
    again = inverted(back)
    np.testing.assert_allclose(again.S_first_second.matrix, edge.S_first_second.matrix)
    np.testing.assert_allclose(again.covariance, edge.covariance)


def test_a_chain_of_measurements_has_the_errors_of_both() -> None:
    rng = np.random.default_rng(1)
    first = Between(0, 1, some_similarity(rng), some_covariance(0.01, rng), is_robust=False)
    second = Between(1, 2, some_similarity(rng), some_covariance(0.01, rng), is_robust=True)
    both = chained(first, second)
    draws = zip(sampled(first.covariance, rng), sampled(second.covariance, rng), strict=True)
    moved = [shaken(first.S_first_second, a) @ shaken(second.S_first_second, b) for a, b in draws]
    assert (both.first, both.second) == (0, 2)
    assert_alike(
        both.covariance, np.array([relative_change(both.S_first_second, S) for S in moved])
    )


def test_the_average_lies_between_by_what_each_is_sure_of() -> None:
    S = some_similarity(np.random.default_rng(2))
    change = np.array([0.01, -0.02, 0.0, 0.03, 0.0, -0.01, 0.02])
    edge = Between(0, 1, S, np.diag(SIGMAS**2), is_robust=False)
    other = Between(0, 1, shaken(S, change), 3 * np.diag(SIGMAS**2), is_robust=True)
    for mean in (averaged(edge, other), averaged(edge, inverted(other))):
        found = relative_change(S, mean.S_first_second)
        np.testing.assert_allclose(found, change / 4, atol=2e-4)
        np.testing.assert_allclose(mean.covariance, 0.75 * np.diag(SIGMAS**2), rtol=0.05, atol=1e-5)
        assert not mean.is_robust


def test_measurements_that_contradict_each_other_are_no_surer_than_their_difference() -> None:
    S = Sim3.identity()
    edge = Between(0, 1, S, np.diag(SIGMAS**2), is_robust=False)
    far = Between(0, 1, shaken(S, 20 * SIGMAS), np.diag(SIGMAS**2), is_robust=False)
    mean = averaged(edge, far)
    assert np.sqrt(np.diag(mean.covariance)).min() > 5 * SIGMAS.min()


def test_scales_and_ups_are_averaged_and_never_sure_beyond_what_is_common() -> None:
    scale = averaged_scale(ScaleFactor(0, 1.0, 0.02), ScaleFactor(0, 1.01, 0.02))
    assert scale.meters_per_unit == pytest.approx(np.sqrt(1.01))
    assert scale.sigma == pytest.approx(0.02 / np.sqrt(2))
    for _ in range(100):
        scale = averaged_scale(scale, ScaleFactor(0, 1.0, 0.02))
    assert scale.sigma == LEAST_SIGMA
    assert averaged_scale(ScaleFactor(0, 1.0, 0.01), ScaleFactor(0, 2.0, 0.01)).sigma > 0.3
    tilted = np.array([0.0, 0.02, 1.0]) / np.hypot(0.02, 1)
    up = averaged_up(UpFactor(0, np.array([0.0, 0, 1]), 0.02), UpFactor(0, tilted, 0.02))
    np.testing.assert_allclose(up.up_node, [0, 0.01, 1], atol=1e-3)
    assert up.sigma == pytest.approx(0.02 / np.sqrt(2))


def ring(count: int, rng: np.random.Generator) -> PoseGraph:
    """A chain with noise that a loop closes, metric and level by some of its nodes."""
    graph, truth = PoseGraph(), [some_similarity(rng) for _ in range(count)]
    for S in truth:
        graph.add(S)
    for first in range(count):
        second = (first + 1) % count
        S = shaken(truth[first].inverse() @ truth[second], rng.normal(size=7) * SIGMAS)
        graph.add_between(first, second, S, np.diag(SIGMAS**2), is_robust=second == 0)
    graph.set_scale(2, truth[2].scale, 0.01)
    graph.set_up(3, truth[3].rotation.T[:, 2], 0.01)
    graph.optimize()
    return graph


def between(graph: PoseGraph, first: int, second: int) -> RelativePose:
    known = graph.relative(first, second)
    assert known is not None
    return known


def test_of_a_node_between_two_others_nothing_is_lost() -> None:
    graph = ring(8, np.random.default_rng(3))
    pairs = [(0, 3), (3, 5), (5, 7), (0, 7)]
    before = [between(graph, *pair) for pair in pairs]
    for node in (6, 4, 1):
        assert graph.merge(node) in (node - 1, node + 1)
    graph.optimize()
    assert graph.nodes == (0, 2, 3, 5, 7)
    assert sum(isinstance(factor, Between) for factor in graph.factors.values()) == 5
    for pair, old in zip(pairs, before, strict=True):
        new = between(graph, *pair)
        assert np.abs(relative_change(old.S_first_second, new.S_first_second)).max() < 2e-3
        deviations = np.sqrt(np.diag(new.covariance)) / np.sqrt(np.diag(old.covariance))
        np.testing.assert_allclose(deviations, 1, atol=0.03)


def test_scale_and_up_of_a_node_are_known_of_the_one_that_replaces_it() -> None:
    graph = ring(8, np.random.default_rng(4))
    before = graph.pose(5)
    for node in (2, 3):
        heir = graph.merge(node)
        of_heir = [f for f in graph.factors.values() if getattr(f, "node", None) == heir]
        assert of_heir
    graph.optimize()
    assert graph.pose(5).scale == pytest.approx(before.scale, rel=0.01)
    np.testing.assert_allclose(graph.pose(5).rotation, before.rotation, atol=0.01)


def test_a_neighbor_that_is_preferred_replaces_a_node() -> None:
    graph = ring(6, np.random.default_rng(5))
    graph.add_between(1, 4, graph.pose(1).inverse() @ graph.pose(4), np.eye(7), is_robust=False)
    assert graph.merge(1, preferred={4}) == 4


def test_a_fixed_node_is_replaced_by_a_fixed_one_and_nothing_moves() -> None:
    graph = ring(6, np.random.default_rng(6))
    for node in (0, 1, 2):
        graph.fix(node, graph.pose(node))
    graph.optimize()
    before = between(graph, 0, 3)
    assert graph.merge(2) in (0, 1)
    assert graph.fixed == {0, 1}
    graph.optimize()
    after = between(graph, 0, 3)
    assert np.abs(relative_change(before.S_first_second, after.S_first_second)).max() < 1e-3
    np.testing.assert_allclose(after.covariance, before.covariance, rtol=0.1, atol=1e-5)


def test_what_nothing_can_replace_stays() -> None:
    graph = PoseGraph()
    graph.add(Sim3.identity())
    graph.fix(graph.add(Sim3.identity()), Sim3.identity())
    assert graph.merge(0) is None
    assert graph.merge(1) is None
    assert graph.nodes == (0, 1)


def test_a_loop_that_nobody_believes_is_not_inherited() -> None:
    graph = ring(8, np.random.default_rng(7))
    S = shaken(graph.pose(2).inverse() @ graph.pose(6), np.full(7, 0.5))
    graph.add_between(2, 6, S, np.diag(SIGMAS**2) / 9, is_robust=True)
    graph.optimize()
    expected = between(graph, 1, 6).S_first_second
    graph.merge(2)
    graph.optimize()
    found = between(graph, 1, 6).S_first_second
    assert np.abs(relative_change(expected, found)).max() < 5e-3


def test_numbers_of_nodes_are_never_used_again() -> None:
    graph = ring(5, np.random.default_rng(8))
    graph.merge(3)
    assert graph.add(Sim3.identity()) == 5
    with pytest.raises(ValueError, match="after node 5"):
        graph.add(Sim3.identity(), 3)
    with pytest.raises(ValueError, match="node 3"):
        graph.pose(3)


def test_a_graph_in_which_a_robot_goes_round_and_round_stays_as_small_as_its_round() -> None:
    """Each node is joined to the one before, and by loops to the last round, which then goes."""
    rng = np.random.default_rng(9)
    count, steps = 6, 72
    truth = [some_similarity(rng) for _ in range(count)]
    graph = PoseGraph()
    for step in range(steps):
        graph.add(truth[step % count])
        for other in (step - 1, step - count, step - count - 1):
            if other in graph.nodes:
                S = truth[other % count].inverse() @ truth[step % count]
                S = shaken(S, rng.normal(size=7) * SIGMAS)
                is_loop = other != step - 1
                graph.add_between(other, step, S, np.diag(SIGMAS**2), is_robust=is_loop)
        graph.optimize()
        if step >= count:
            assert graph.merge(step - count) is not None
    assert graph.nodes == tuple(range(steps - count, steps))
    assert len(graph.factors) <= 4 * count
    normalized = []
    for first in graph.nodes:
        for second in range(first + 1, steps):
            known = between(graph, first, second)
            S_true = truth[first % count].inverse() @ truth[second % count]
            error = relative_change(S_true, known.S_first_second)
            normalized.append(error @ np.linalg.solve(known.covariance, error) / 7)
    assert np.mean(normalized) < 2.0
