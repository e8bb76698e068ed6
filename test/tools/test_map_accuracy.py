import numpy as np
import pytest

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.tools.map_accuracy import format_map_accuracy, measure_map

S_TRUTH_MAP = Sim3(2.5, se3.matrix_from_quaternion(np.array([0.1, 0.7, -0.3, 0.6])),
                   np.array([4.0, -3.0, 1.0]))


def plane(spacing=0.02):
    """A floor of 4 x 2 m."""
    x, y = np.meshgrid(np.arange(0, 4 + 1e-9, spacing), np.arange(0, 2 + 1e-9, spacing))
    return np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3).astype(np.float32)


def in_map_frame(points):
    return S_TRUTH_MAP.inverse().transform_points(np.asarray(points, np.float32))


def test_a_true_map_in_its_own_frame_and_scale_lies_on_the_surfaces():
    accuracy = measure_map(in_map_frame(plane(0.1)), plane(), S_TRUTH_MAP.matrix)
    assert accuracy["scene_size_m"] == pytest.approx(4)
    assert accuracy["near_m"] == pytest.approx(0.2)
    assert accuracy["near_share"] == 1
    assert accuracy["p90_m"] < 1e-5


def test_points_off_the_surface_are_measured_and_counted():
    points = plane(0.1)
    height = np.linspace(0, 1, len(points))  # evenly from 0 to 1 m above the floor
    points[:, 2] = height
    accuracy = measure_map(in_map_frame(points), plane(), S_TRUTH_MAP.matrix)
    assert accuracy["near_share"] == pytest.approx(0.2, abs=0.01)
    assert accuracy["median_m"] == pytest.approx(0.5, abs=0.01)
    assert accuracy["p90_m"] == pytest.approx(0.9, abs=0.01)
    assert accuracy["p90_percent"] == pytest.approx(22.5, abs=0.3)
    assert "20.0% of 861 points lie within 0.20 m (5% of" in format_map_accuracy(accuracy)


def test_the_map_is_not_fitted_to_the_surfaces():
    shifted = plane(0.1) + np.array([0, 0, 0.3])
    accuracy = measure_map(in_map_frame(shifted), plane(), S_TRUTH_MAP.matrix)
    assert accuracy["near_share"] == 0
    assert accuracy["median_m"] == pytest.approx(0.3, abs=1e-4)


@pytest.mark.parametrize(("count", "others"), [(0, 5), (5, 0)])
def test_nothing_to_compare_is_an_error(count, others):
    with pytest.raises(ValueError, match="both are needed"):
        measure_map(plane()[:count], plane()[:others], np.eye(4))
