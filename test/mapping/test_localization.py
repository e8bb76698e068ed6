"""What is said of a place, and what stays known when submaps are forgotten."""

from dataclasses import replace

import numpy as np
import pytest

from flashvggt_ros.frame import FrameStamp, MapUpdate
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.bend import Bend
from flashvggt_ros.mapping.localization import InitialPose, corrected
from flashvggt_ros.mapping.loop_measurement import relative_change
from flashvggt_ros.mapping.pose_graph import PoseGraph
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.mapping.voxel_grid import WeightedCloud

SIGMAS = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
RNG = np.random.default_rng(0)


def some_similarity(rng: np.random.Generator = RNG) -> Sim3:
    rotation = se3.matrix_from_quaternion(rng.normal(size=4))
    return Sim3(float(np.exp(rng.normal(0, 0.3))), rotation, rng.normal(size=3))


def some_covariance(size: float, rng: np.random.Generator = RNG) -> np.ndarray:
    root = rng.normal(size=(7, 7))
    return size**2 * (root @ root.T / 7 + np.eye(7))


def test_the_camera_begins_where_it_sits_on_a_base_that_is_said_to_be_somewhere() -> None:
    T_map_base = se3.pose(some_similarity().rotation, np.array([1.0, 2.0, 3.0]))
    T_base_camera = se3.pose(some_similarity().rotation, np.array([0.1, 0.2, 0.3]))
    initial = InitialPose(T_map_base, SIGMAS)
    S = initial.S_map_submap(T_base_camera, 0.5)
    assert S.scale == 0.5
    np.testing.assert_allclose(S.transform_pose(np.eye(4)), T_map_base @ T_base_camera)
    np.testing.assert_allclose(initial.S_map_submap(None, 1.0).matrix, T_map_base)


def test_the_covariance_is_that_of_the_sigmas_along_the_axes_of_the_map() -> None:
    rng = np.random.default_rng(1)
    S_map_anchor = some_similarity(rng)
    initial = InitialPose(np.eye(4), 0.01 * SIGMAS)
    S_map_submap = initial.S_map_submap(None, 2.0)
    changes = []
    for draw in rng.normal(size=(4000, 6)) * initial.sigmas:
        turn = se3.matrix_from_quaternion(np.append(draw[:3] / 2, 1))
        moved = Sim3(2.0, turn @ S_map_submap.rotation, S_map_submap.translation + draw[3:])
        changes.append(
            relative_change(S_map_anchor.inverse() @ S_map_submap, S_map_anchor.inverse() @ moved)
        )
    expected = initial.covariance(S_map_anchor)[:6, :6]
    sampled = np.cov(np.array(changes)[:, :6].T)
    np.testing.assert_allclose(sampled, expected, atol=0.1 * expected.max())
    whitened = np.linalg.solve(expected, sampled)
    assert np.trace(whitened) == pytest.approx(6, abs=0.3)


def test_an_update_moves_as_the_map_did() -> None:
    poses = np.stack([se3.pose(some_similarity().rotation, RNG.normal(size=3)) for _ in range(3)])
    points = RNG.normal(size=(5, 3)).astype(np.float32)
    stamps = tuple(FrameStamp(number, "a") for number in (1, 2))
    update = MapUpdate(stamps, poses[1:], points, np.zeros((5, 3), np.uint8), 4, False)
    S = some_similarity()
    live = Submap.closed(
        4, S, bend=Bend(Sim3.identity(), some_similarity()), is_joined=True, shared=1,
        stamps=(FrameStamp(0, "a"), *stamps), T_submap_camera=poses, keyframes=(),
        cloud_submap=WeightedCloud.concatenate(()), seen_by=np.zeros(0, np.uint16),
    )
    moved = corrected(update, live, S)
    np.testing.assert_array_equal(moved.T_map_camera, live.T_map_camera[1:])
    np.testing.assert_allclose(moved.T_map_camera[0], S.transform_pose(poses[1]))
    np.testing.assert_allclose(moved.points_map, S.transform_points(points))
    assert (moved.new, moved.submap, moved.is_joined) == (stamps, 4, True)


def localized_chain(length: int) -> PoseGraph:
    """Two fixed nodes, and a chain that a measurement joins to the second."""
    graph = PoseGraph()
    for _ in range(2):
        graph.fix(graph.add(some_similarity()), some_similarity())
    before = 1
    for _ in range(length):
        S = some_similarity()
        node = graph.add(graph.poses[before] @ S)
        graph.add_between(before, node, S, some_covariance(0.02), is_robust=False)
        before = node
    graph.set_scale(2, graph.poses[2].scale, 0.01)
    graph.set_up(3, graph.poses[3].rotation.T[:, 2], 0.01)
    graph.optimize()
    return graph


def test_what_was_known_of_later_nodes_stays_known_when_one_is_forgotten() -> None:
    graph = localized_chain(5)
    before = graph.relative(0, 6)
    assert before is not None
    graph.merge(2)
    assert graph.nodes == (0, 1, 3, 4, 5, 6)
    graph.merge(3)
    graph.optimize()
    after = graph.relative(0, 6)
    assert after is not None
    change = relative_change(before.S_first_second, after.S_first_second)
    assert np.abs(change).max() < 1e-6
    np.testing.assert_allclose(
        after.covariance, before.covariance, atol=0.03 * np.abs(before.covariance).max()
    )
    assert graph.fixed == {0, 1}


def test_nothing_is_made_up_of_a_chain_that_nothing_joins_to_the_map() -> None:
    graph = localized_chain(4)
    joins = [n for n, f in graph.factors.items() if getattr(f, "first", None) == 1]
    for factor in joins:
        graph.remove(factor)
    graph.merge(2)
    assert graph.relative(0, 3) is None
    assert graph.relative(3, 5) is not None


@pytest.mark.parametrize(
    "change", [{"T_map_base": np.eye(3)}, {"T_map_base": np.full((4, 4), np.inf)},
               {"sigmas": np.ones(3)}, {"sigmas": np.zeros(6)}, {"sigmas": np.full(6, np.nan)}]
)
def test_what_is_no_pose_is_refused(change: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="initial pose"):
        replace(InitialPose(np.eye(4), SIGMAS), **change)
