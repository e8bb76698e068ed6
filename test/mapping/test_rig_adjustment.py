"""Cameras of a rig correct each other's poses, but not where TF is wrong about them."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flashvggt_ros.config import RigConfig
from flashvggt_ros.frame import ChunkPrediction, FrameStamp
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3, align_points
from flashvggt_ros.mapping.rig_adjustment import RigAdjustment, RigFit
from flashvggt_ros.robot import RobotState
from flashvggt_ros.worlds import mount, roaming
from flashvggt_ros.worlds.paths import Mounts

Array = NDArray[np.float64]
UNITS = 1.7  # per meter
PERIOD_NS = 100_000_000
FINE = 20  # steps of the path in a period
MOUNTS = {"left": mount(side=0.15), "right": mount(side=-0.15, yaw=-0.3)}
THREE = MOUNTS | {"rear": mount(height=1.0, yaw=np.pi, side=0.05)}
NOWHERE = se3.pose(Rotation.from_rotvec([0.3, -1.0, 0.5]).as_matrix(), np.array([3.0, 1.0, -2.0]))


class Drive:
    """A rig that drives at 0.8 m/s round bends, and a model that shakes each pose by ``noise``.

    ``noise``: standard deviation of places [m] and, halved, of rotations [rad]. ``late``: how far
    of a period each camera is behind the one before it.
    """

    def __init__(
        self, noise: float, mounts: Mounts = MOUNTS, moments: int = 12, late: float = 0.0,
        seed: int = 0,
    ) -> None:
        path = roaming(FINE * (moments + len(mounts)), 0.08 / FINE)
        number = [(FINE * i + round(FINE * late * n), n) for i in range(moments)
                  for n in range(len(mounts))]
        cameras = list(mounts)
        self.T_world_camera = np.stack([path[at] @ mounts[cameras[n]] for at, n in number])
        self.stamps = [FrameStamp(at * PERIOD_NS // FINE, cameras[n]) for at, n in number]
        rng = np.random.default_rng(seed)
        turns = Rotation.from_rotvec(rng.normal(0, noise / 2, (len(number), 3))).as_matrix()
        shaken = se3.pose(turns, rng.normal(0, noise, (len(number), 3)))
        S_submap_world = Sim3(UNITS, NOWHERE[:3, :3], NOWHERE[:3, 3])
        self.T_model = S_submap_world.transform_pose(self.T_world_camera @ shaken)

    def states(self, mounts: Mounts) -> list[RobotState]:
        return [RobotState(mounts[stamp.camera], None, None, None) for stamp in self.stamps]

    def fit(self, rig: RigAdjustment, mounts: Mounts = MOUNTS) -> RigFit:
        return rig.fit(self.stamps, self.states(mounts), prediction(self.T_model))

    def between_cameras(self, T_submap_camera: Array) -> tuple[float, float]:
        """Root mean square error of the second camera seen from the first [m], [rad]."""
        n = len({stamp.camera for stamp in self.stamps})
        true = se3.inverse(self.T_world_camera[::n]) @ self.T_world_camera[1::n]
        found = se3.inverse(T_submap_camera[::n]) @ T_submap_camera[1::n]
        turns = se3.rotation_angle(np.swapaxes(true[:, :3, :3], 1, 2) @ found[:, :3, :3])
        shifts = np.linalg.norm(found[:, :3, 3] / UNITS - true[:, :3, 3], axis=1)
        return rms(shifts), rms(turns)

    def ate(self, T_submap_camera: Array) -> float:
        places, truth = T_submap_camera[:, :3, 3], self.T_world_camera[:, :3, 3]
        S = align_points(places, truth, np.ones(len(places)))
        return rms(np.linalg.norm(S.transform_points(places) - truth, axis=1))


def rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))


def prediction(T_submap_camera: Array) -> ChunkPrediction:
    depth = np.full((2, 8, 8), 4 * UNITS, np.float32)
    colors = np.zeros((2, 8, 8, 3), np.uint8)
    return ChunkPrediction(
        T_submap_camera, depth, depth, colors, colors[..., 0], (), np.zeros((2, 1), np.float32)
    )


def turned(mounts: Mounts, camera: str, turn: Array, shift: Array | None = None) -> Mounts:
    """Places on the rig with one of them wrong."""
    shift = np.zeros(3) if shift is None else shift
    wrong = se3.pose(Rotation.from_rotvec(turn).as_matrix(), shift)
    return {**mounts, camera: mounts[camera] @ wrong}


@pytest.mark.parametrize("mounts", [MOUNTS, THREE], ids=["two cameras", "three cameras"])
def test_noise_between_cameras_shrinks_to_a_fifth_and_that_of_places_by_a_quarter(mounts) -> None:
    before, after, ates = [], [], []
    for seed in range(10):
        drive = Drive(0.02, mounts, seed=seed)
        fitted = drive.fit(RigAdjustment(RigConfig()), mounts).prediction.T_submap_camera
        before.append(drive.between_cameras(drive.T_model))
        after.append(drive.between_cameras(fitted))
        ates.append((drive.ate(drive.T_model), drive.ate(fitted)))
    shift, turn = np.mean(after, axis=0) / np.mean(before, axis=0)
    assert shift < 0.2
    assert turn < 0.2
    ate_before, ate_after = np.mean(ates, axis=0)
    assert ate_after < 0.75 * ate_before


def test_cameras_that_take_turns_correct_each_other_too() -> None:
    ates = []
    for seed in range(10):
        drive = Drive(0.02, late=0.5, seed=seed)
        fitted = drive.fit(RigAdjustment(RigConfig())).prediction.T_submap_camera
        ates.append((drive.ate(drive.T_model), drive.ate(fitted)))
    before, after = np.mean(ates, axis=0)
    assert after < 0.8 * before


@pytest.mark.parametrize("late", [0.0, 0.3, 0.5])
def test_perfect_poses_are_left_as_they_are(late: float) -> None:
    drive = Drive(0.0, late=late)
    fitted = drive.fit(RigAdjustment(RigConfig())).prediction.T_submap_camera
    np.testing.assert_allclose(fitted[:, :3, 3], drive.T_model[:, :3, 3], atol=1e-3 * UNITS)
    np.testing.assert_allclose(fitted[:, :3, :3], drive.T_model[:, :3, :3], atol=1e-3)
    np.testing.assert_allclose(fitted @ se3.inverse(fitted), np.eye(4) * np.ones((24, 1, 1)),
                               atol=1e-9)


def test_the_scale_is_known_no_better_than_the_baselines_tell() -> None:
    errors, sigmas = [], []
    for seed in range(40):
        scale = Drive(0.01, moments=20, seed=seed).fit(RigAdjustment(RigConfig())).scale
        assert scale is not None and scale.source == "rig"
        errors.append(abs(np.log(scale.meters_per_unit * UNITS)))
        sigmas.append(scale.sigma)
    assert np.mean(np.array(errors) < 2 * np.array(sigmas)) >= 0.9
    assert np.median(errors) < 0.02


@pytest.mark.parametrize(
    ("turn", "shift"),
    [([0.0, 0.3, 0.0], None), ([np.pi / 2, 0.0, 0.0], None), ([0.0, 0.0, 0.0], [0.0, 0.5, 0.0])],
    ids=["17 degrees", "90 degrees", "half a meter"],
)
@pytest.mark.parametrize("noise", [0.005, 0.05])
def test_wrong_places_on_tf_are_refused_and_bend_nothing(noise, turn, shift) -> None:
    wrong = turned(MOUNTS, "right", np.array(turn), shift)
    for seed in range(5):
        drive, rig = Drive(noise, seed=seed), RigAdjustment(RigConfig())
        fit = drive.fit(rig, wrong)
        np.testing.assert_array_equal(fit.prediction.T_submap_camera, drive.T_model)
        assert fit.scale is None
        assert "left" in rig.problem and "right" in rig.problem
        assert "check their transforms" in rig.problem


def test_exchanged_cameras_are_refused() -> None:
    rig = RigAdjustment(RigConfig())
    exchanged = {"left": MOUNTS["right"], "right": MOUNTS["left"]}
    drive = Drive(0.01)
    fit = drive.fit(rig, exchanged)
    np.testing.assert_array_equal(fit.prediction.T_submap_camera, drive.T_model)
    assert rig.problem


def test_of_three_cameras_the_two_that_are_right_still_correct_each_other() -> None:
    drive, rig = Drive(0.02, THREE), RigAdjustment(RigConfig())
    fit = drive.fit(rig, turned(THREE, "rear", np.array([0.0, 0.4, 0.0])))
    before = drive.between_cameras(drive.T_model)
    after = drive.between_cameras(fit.prediction.T_submap_camera)
    assert after[0] < 0.3 * before[0]
    assert after[1] < 0.3 * before[1]
    np.testing.assert_allclose(
        fit.prediction.T_submap_camera[2::3], drive.T_model[2::3], atol=1e-12
    )
    assert rig.problem.count("from where TF has them") == 2
    assert fit.scale is not None


def test_a_model_that_does_not_know_how_cameras_lie_to_each_other_is_not_taken_for_wrong_tf():
    drive = Drive(0.3)
    rig = RigAdjustment(RigConfig())
    fitted = drive.fit(rig).prediction.T_submap_camera
    assert not rig.problem
    assert drive.between_cameras(fitted)[1] < 0.1 * drive.between_cameras(drive.T_model)[1]


def test_a_refusal_is_said_once_holds_for_the_next_submap_and_ends_when_tf_is_right(caplog) -> None:
    rig = RigAdjustment(RigConfig())
    wrong = turned(MOUNTS, "right", np.array([0.0, 0.3, 0.0]))
    with caplog.at_level(logging.INFO):
        for seed in range(3):
            Drive(0.01, seed=seed).fit(rig, wrong)
        first = Drive(0.01, moments=2)  # too few to be judged anew
        np.testing.assert_array_equal(
            first.fit(rig, wrong).prediction.T_submap_camera, first.T_model
        )
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    Drive(0.01).fit(rig)
    assert not rig.problem


def test_one_frame_that_is_far_off_does_not_drag_the_other_camera_along() -> None:
    drive = Drive(0.01)
    drive.T_model[7, :3, 3] += 3.0
    fitted = drive.fit(RigAdjustment(RigConfig())).prediction.T_submap_camera
    assert np.linalg.norm(fitted[6, :3, 3] - drive.T_model[6, :3, 3]) < 0.1


@pytest.mark.parametrize("cause", ["one camera", "no TF", "disabled", "another submap"])
def test_without_a_rig_the_prediction_comes_back_as_it_is(cause: str) -> None:
    mounts = {"left": MOUNTS["left"]} if cause == "one camera" else MOUNTS
    drive = Drive(0.02, mounts)
    states = drive.states(mounts)
    if cause == "no TF":
        states = [RobotState(None, None, None, None)] * len(states)
    poses = drive.T_model[:-1] if cause == "another submap" else drive.T_model
    given = prediction(poses)
    rig = RigAdjustment(replace(RigConfig(), enabled=cause != "disabled"))
    fit = rig.fit(drive.stamps, states, given)
    assert fit.prediction is given
    assert (fit.scale is not None) == (cause == "disabled")


def test_equal_input_gives_equal_poses() -> None:
    first, second = (Drive(0.02).fit(RigAdjustment(RigConfig())) for _ in "ab")
    np.testing.assert_array_equal(
        first.prediction.T_submap_camera, second.prediction.T_submap_camera
    )
