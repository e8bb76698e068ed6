import numpy as np
import pytest
import torch

from flashvggt_ros.geometry.sim3 import align_points
from flashvggt_ros.scene.textures import Textures
from training import losses
from training.evaluate import angles, ate_after_sim3, path_scores, sequence_scores
from training.sequences import Motion, ScenePool


@pytest.fixture(scope="module")
def batch():
    textures = Textures.procedural(np.random.default_rng(0), each=1)
    pool = ScenePool(32, textures, 1, workers=0)
    generator = torch.Generator().manual_seed(5)
    return pool.draw(1, 6, (42, 56), Motion(), generator, samples=1, shadows=False)


def test_a_moved_turned_and_scaled_path_aligns_exactly():
    rng = np.random.default_rng(0)
    path = rng.normal(size=(20, 3))
    R = losses.rotation_matrix(torch.tensor([0.1, -0.4, 0.3, 0.8])).numpy()
    assert ate_after_sim3(0.5 * path @ R.T + [1, 2, 3], path) == pytest.approx(0, abs=1e-6)


def test_the_error_after_alignment_is_that_of_the_aligned_points():
    rng = np.random.default_rng(1)
    points, reference = rng.normal(size=(2, 30, 3))
    aligned = align_points(points, reference, np.ones(30)).transform_points(points)
    expected = np.sqrt(((aligned - reference) ** 2).sum(1).mean())
    assert ate_after_sim3(points, reference) == pytest.approx(expected, rel=1e-9)


def test_a_straight_path_has_a_score():
    line = np.linspace(0, 1, 10)[:, None] * np.array([[0.0, 0.0, 1.0]])
    assert ate_after_sim3(line, 3 * line[:, [2, 0, 1]]) == pytest.approx(0, abs=1e-6)


def test_motion_between_neighbors_is_judged_as_the_moving_camera_sees_it():
    T = np.tile(np.eye(4), (3, 1, 1))
    R = np.stack([np.eye(3), [[0.0, 0, -1], [0, 1, 0], [1, 0, 0]], np.eye(3)])
    centers = np.array([[0.0, 0, 0], [0, 0, 1], [1, 0, 1]])
    t = -np.einsum("nij,nj->ni", R, centers)
    score = path_scores(T[:, :3, :3], -centers, R, t)  # never turns, yet moves alike in the world
    assert score["direction"] == pytest.approx(0, abs=1e-6)
    assert score["direction_step"] == pytest.approx(45)  # median of 0 and 90 degrees
    assert score["step_truth"] == pytest.approx(90)


def test_the_truth_scores_perfectly(batch):
    target = losses.truth(batch)
    (score,) = sequence_scores(target.pose_enc, target.depth, batch)
    scored = ("rotation", "rotation_step", "direction", "ate", "absrel", "absrel_unscaled", "fov")
    for name in scored:
        assert score[name] == pytest.approx(0, abs=0.1), name
    assert score["rotation_truth"] > 1


def test_a_known_rotation_error_is_measured(batch):
    target = losses.truth(batch)
    pose = target.pose_enc.clone()
    half = np.radians(10) / 2
    turn = losses.rotation_matrix(torch.tensor([np.sin(half), 0, 0, np.cos(half)]).float())
    pose[0, 1:, 3:7] = losses.quaternion(turn @ target.R[0, 1:])
    (score,) = sequence_scores(pose, 1.2 * target.depth, batch)
    assert score["rotation"] == pytest.approx(10, abs=0.05)
    assert score["absrel_unscaled"] == pytest.approx(0.2, abs=1e-3)
    assert score["absrel"] == pytest.approx(0, abs=1e-3)


def test_angles_are_in_degrees():
    quarter = np.array([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]])
    assert angles(quarter, np.eye(3)[None]) == pytest.approx(90)
