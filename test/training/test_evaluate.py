import numpy as np
import pytest
import torch

from flashvggt_ros.scene.textures import Textures
from training import losses
from training.evaluate import align_sim3, angles, sequence_scores
from training.sequences import Motion, ScenePool


@pytest.fixture(scope="module")
def batch():
    textures = Textures.procedural(np.random.default_rng(0), each=1)
    pool = ScenePool(32, textures, 1, workers=0)
    generator = torch.Generator().manual_seed(5)
    return pool.draw(1, 6, (42, 56), Motion(), generator, samples=1, shadows=False)


def test_a_moved_turned_and_scaled_path_aligns_exactly_and_tells_its_scale():
    rng = np.random.default_rng(0)
    path = rng.normal(size=(20, 3))
    R = losses.rotation_matrix(torch.tensor([0.1, -0.4, 0.3, 0.8])).numpy()
    error, scale = align_sim3(0.5 * path @ R.T + [1, 2, 3], path)
    assert error == pytest.approx(0, abs=1e-5)
    assert scale == pytest.approx(2.0, rel=1e-5)


def test_the_truth_scores_perfectly(batch):
    target = losses.truth(batch)
    (score,) = sequence_scores(target.pose_enc, target.depth, batch)
    for name in ("rotation", "rotation_step", "direction", "ate", "absrel", "fov"):
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
    assert score["absrel"] == pytest.approx(0.2, abs=1e-3)


def test_angles_are_in_degrees():
    quarter = np.array([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]])
    assert angles(quarter, np.eye(3)[None]) == pytest.approx(90)
