"""What /initialpose says becomes a pose with honest sigmas, or is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
from sensor_messages import header, quaternion, vector

from flashvggt_ros.config import TfConfig
from flashvggt_ros.geometry import se3
from flashvggt_ros.sensors.initial_pose import initial_pose
from flashvggt_ros.sensors.rejected_input import RejectedInput

ON_BASE = TfConfig(base_frame="base_link")
T = se3.pose(se3.matrix_from_quaternion(np.array([0, 0, 1.0, 1.0])), np.array([1.0, 2.0, 0.0]))


def said(
    frame: str = "map", variances: tuple[float, ...] = (0.25, 0.25, 0, 0, 0, 0.07),
    xyzw: tuple[float, ...] = (0, 0, 1, 1), x: float = 1,
) -> SimpleNamespace:
    """As RViz says it."""
    pose = SimpleNamespace(position=vector((x, 2, 0)), orientation=quaternion(xyzw))
    covariance = np.diag(variances).ravel()
    return SimpleNamespace(
        header=header(frame_id=frame), pose=SimpleNamespace(pose=pose, covariance=covariance)
    )


def test_the_base_is_where_rviz_says_and_what_it_does_not_tell_is_unsure() -> None:
    T_map_base, sigmas = initial_pose(said(), ON_BASE)
    np.testing.assert_allclose(T_map_base, T, atol=1e-12)
    np.testing.assert_allclose(sigmas, [0.1, 0.1, np.sqrt(0.07), 0.5, 0.5, 0.3])


def test_too_small_a_covariance_is_not_believed() -> None:
    _, sigmas = initial_pose(said(variances=(1e-12,) * 6), ON_BASE)
    assert (sigmas >= 0.05).all()


def test_without_a_base_frame_it_is_a_level_camera_somewhere_above() -> None:
    T_map_camera, sigmas = initial_pose(said(), TfConfig())
    np.testing.assert_allclose(T_map_camera[:3, 2], T[:3, 0], atol=1e-12)  # looks along x
    np.testing.assert_allclose(T_map_camera[:3, 1], [0, 0, -1], atol=1e-12)
    np.testing.assert_allclose(T_map_camera[:2, 3], [1, 2], atol=1e-12)
    assert abs(T_map_camera[2, 3]) <= sigmas[5] + 1e-9 and T_map_camera[2, 3] + sigmas[5] >= 1.5


@pytest.mark.parametrize("frame", ["odom", "base_link"])
def test_another_frame_is_refused(frame: str) -> None:
    with pytest.raises(ValueError, match=f"'{frame}', not in 'map'"):
        initial_pose(said(frame), ON_BASE)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (said(x=float("nan")), "not finite"),
        (said(x=1e300), "the limit is 1e\\+07 m"),
        (said(xyzw=(0, 0, 0, 0)), "quaternion"),
        (said(variances=(float("inf"),) * 6), "covariance is not finite"),
    ],
)
def test_what_is_no_pose_is_refused(message: SimpleNamespace, complaint: str) -> None:
    with pytest.raises(RejectedInput, match=complaint):
        initial_pose(message, ON_BASE)
