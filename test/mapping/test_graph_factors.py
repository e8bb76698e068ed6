"""The derivatives of the pose graph's residuals are those of finite differences."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.graph_factors import (
    FREEDOMS,
    BetweenFactors,
    EvenFactors,
    NodePoses,
    ScaleFactors,
    UpFactors,
    relative_derivatives,
    skew,
)

STEP = 1e-6
NODES = 5


def random_poses(rng: np.random.Generator, count: int) -> NodePoses:
    rotations = Rotation.random(count, random_state=int(rng.integers(1000))).as_matrix()
    return NodePoses(rotations, rng.normal(0, 3, (count, 3)), rng.normal(0, 0.5, count))


def factors(rng: np.random.Generator, kind: str) -> BetweenFactors | ScaleFactors | UpFactors:
    single = np.array([[0], [3], [3]])
    if kind == "scale":
        return ScaleFactors(single, rng.normal(size=3), rng.uniform(0.1, 2, 3))
    if kind == "up":
        up = rng.normal(size=(3, 3))
        return UpFactors(single, up / np.linalg.norm(up, axis=1)[:, None], rng.uniform(0.1, 2, 3))
    nodes = np.array([[0, 1], [3, 2], [1, 4]])
    whitening = rng.normal(size=(3, FREEDOMS, FREEDOMS))
    return BetweenFactors(nodes, random_poses(rng, 3), whitening, np.zeros(3, np.bool_))


def test_derivatives_of_an_even_bend_are_those_of_finite_differences() -> None:
    rng = np.random.default_rng(6)
    bend = rng.normal(0, 1e-4, (3, FREEDOMS))  # of nodes that lie about on one another
    poses = NodePoses.of([random_poses(rng, 1).similarity(0)] * 3).moved(bend)
    even = EvenFactors(np.array([[2, 0, 1]]), rng.normal(size=(1, 2, 3)), np.full((1, 7), 0.5))
    line = even.linearize(poses)
    for slot, node in enumerate((2, 0, 1)):
        for coordinate in range(FREEDOMS):
            delta = np.zeros((3, FREEDOMS))
            delta[node, coordinate] = STEP
            ends = even.residuals(poses.moved(delta)), even.residuals(poses.moved(-delta))
            ours = line.derivatives[0, :, slot * FREEDOMS + coordinate]
            np.testing.assert_allclose(ours, (ends[0] - ends[1])[0] / (2 * STEP), atol=2e-3)


def test_a_chain_that_turns_and_grows_evenly_about_its_arms_has_no_residual() -> None:
    step = Sim3(1.01, Rotation.from_rotvec([0, 0, 0.01]).as_matrix(), np.zeros(3))
    at = [Sim3(1.0, np.eye(3), np.array([x, 0.0, 0.0])) for x in (1.0, 3.0)]
    steps = [S @ step @ S.inverse() for S in at]  # each turns about its own place
    poses = NodePoses.of([Sim3.identity(), steps[0], steps[0] @ steps[1]])
    arms = np.array([[S.translation for S in at]])
    even = EvenFactors(np.array([[0, 1, 2]]), arms, np.full((1, 7), 0.01))
    assert np.abs(even.residuals(poses)).max() < 0.05
    uneven = NodePoses.of([Sim3.identity(), steps[0], steps[0] @ steps[1].inverse()])
    assert np.abs(even.residuals(uneven)).max() > 1.5


@pytest.mark.parametrize("kind", ["between", "scale", "up"])
@pytest.mark.parametrize("seed", range(3))
def test_derivatives_are_those_of_finite_differences(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    poses, made = random_poses(rng, NODES), factors(rng, kind)
    line = made.linearize(poses)
    np.testing.assert_allclose(line.residuals, made.residuals(poses), atol=1e-12)
    numeric = np.zeros((*line.residuals.shape, NODES * FREEDOMS))
    for coordinate in range(NODES * FREEDOMS):
        delta = np.zeros(NODES * FREEDOMS)
        delta[coordinate] = STEP
        delta = delta.reshape(NODES, FREEDOMS)
        ends = made.residuals(poses.moved(delta)), made.residuals(poses.moved(-delta))
        numeric[..., coordinate] = (ends[0] - ends[1]) / (2 * STEP)
    for factor, nodes in enumerate(made.nodes):
        for slot, node in enumerate(nodes):
            ours = line.derivatives[factor, :, slot * FREEDOMS : (slot + 1) * FREEDOMS]
            theirs = numeric[factor, :, node * FREEDOMS : (node + 1) * FREEDOMS]
            np.testing.assert_allclose(ours, theirs, atol=2e-6 * max(1, np.abs(theirs).max()))


def test_a_factor_that_holds_has_no_residual() -> None:
    rng = np.random.default_rng(4)
    poses = random_poses(rng, 2)
    first, second = poses.similarity(0), poses.similarity(1)
    exact = BetweenFactors(
        np.array([[0, 1]]), NodePoses.of([first.inverse() @ second]),
        np.eye(FREEDOMS)[None], np.zeros(1, np.bool_),
    )  # fmt: skip
    np.testing.assert_allclose(exact.residuals(poses), 0, atol=1e-9)
    up = poses.rotations[0].T @ [0, 0, 1]
    level = UpFactors(np.array([[0]]), up[None], np.ones(1))
    np.testing.assert_allclose(level.residuals(poses), 0, atol=1e-12)


def test_a_relative_pose_moves_as_its_derivatives_say() -> None:
    rng = np.random.default_rng(5)
    poses = random_poses(rng, 2)
    delta = rng.normal(0, 1e-6, (2, FREEDOMS))
    change = relative_derivatives(poses, np.array([[0, 1]]))[0] @ delta.ravel()
    before, after = (
        placed.similarity(0).inverse() @ placed.similarity(1)
        for placed in (poses, poses.moved(delta))
    )
    moved = Sim3(
        before.scale * np.exp(change[6]),
        Rotation.from_rotvec(change[:3]).as_matrix() @ before.rotation,
        before.translation + change[3:6],
    )
    np.testing.assert_allclose(moved.matrix, after.matrix, atol=1e-10)


def test_skew_takes_cross_products() -> None:
    a, b = np.random.default_rng(6).normal(size=(2, 4, 3))
    np.testing.assert_allclose(np.einsum("nij,nj->ni", skew(a), b), np.cross(a, b), atol=1e-12)
