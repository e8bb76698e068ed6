import numpy as np
import pytest

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.tools.map_accuracy import fit_map, format_map_accuracy, measure_map

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
    said = format_map_accuracy(accuracy, "placed by its path")
    assert "placed by its path: 20.0% of 861 points lie within 0.20 m" in said
    assert "(5% of the scene's 4.00 m)" in said


def test_surfaces_without_a_point_nearby_are_not_covered():
    points = plane(0.02)
    points = points[points[:, 0] < 3.0]  # of 4 m: what lies within 0.08 m of them is covered
    accuracy = measure_map(in_map_frame(points), plane(), S_TRUTH_MAP.matrix)
    assert accuracy["near_share"] == 1
    assert accuracy["covered_m"] == pytest.approx(0.08)
    assert accuracy["covered_share"] == pytest.approx(3.07 / 4, abs=0.01)
    assert "of the surfaces have a point within 0.08 m" in format_map_accuracy(accuracy, "placed")


def test_the_map_is_not_fitted_to_the_surfaces():
    shifted = plane(0.1) + np.array([0, 0, 0.3])
    accuracy = measure_map(in_map_frame(shifted), plane(), S_TRUTH_MAP.matrix)
    assert accuracy["near_share"] == 0
    assert accuracy["median_m"] == pytest.approx(0.3, abs=1e-4)


def room(spacing=0.02):
    """The six sides of a box of 4 x 2 x 1.2 m, and a post in it."""
    size = np.array([4.0, 2.0, 1.2])
    axes = [np.arange(0, edge + 1e-9, spacing) for edge in size]
    sides = []
    for axis in range(3):
        across = [axes[other] if other != axis else np.array([0, size[axis]]) for other in range(3)]
        sides.append(np.stack(np.meshgrid(*across), axis=-1).reshape(-1, 3))
    post = sides[0][(np.abs(sides[0][:, 1] - 0.7) < 0.2)] * [0, 1, 1] + [1.1, 0, 0]
    return np.concatenate([*sides, post]).astype(np.float32)


def test_a_map_that_its_path_puts_elsewhere_is_fitted_to_the_surfaces():
    off = Sim3(0.9, se3.matrix_from_quaternion(np.array([0.02, 0.01, 0.1, 1])),
               np.array([0.2, -0.1, 0.1]))
    points = in_map_frame(room(0.05))
    S_path = off @ S_TRUTH_MAP
    assert measure_map(points, room(), S_path.matrix)["near_share"] < 0.95
    S_fitted = fit_map(points, room(), S_path.matrix)
    assert S_fitted == pytest.approx(S_TRUTH_MAP.matrix, abs=0.02)
    assert measure_map(points, room(), S_fitted)["p90_m"] < 0.02


def test_a_fit_does_not_shrink_the_map_into_one_wall():
    seen = room()[room()[:, 0] > 2.5]  # one end of the room: no opposite walls along x
    points = in_map_frame(seen[::7])
    too_large = Sim3(1.3, np.eye(3), np.array([-0.8, -0.2, -0.1])) @ S_TRUTH_MAP
    S_fitted = fit_map(points, seen, too_large.matrix)
    assert np.cbrt(np.linalg.det(S_fitted[:3, :3])) == pytest.approx(2.5, rel=0.03)
    assert measure_map(points, seen, S_fitted)["p90_m"] < 0.1


def test_a_fit_does_not_hide_a_bent_map():
    bent = room(0.05)
    bent[:, 1] += 0.5 * np.sin(1.5 * bent[:, 0])
    points = in_map_frame(bent)
    S_fitted = fit_map(points, room(), S_TRUTH_MAP.matrix)
    assert measure_map(points, room(), S_fitted)["p90_m"] > 0.08


@pytest.mark.parametrize(("count", "others"), [(0, 5), (5, 0)])
def test_nothing_to_compare_is_an_error(count, others):
    with pytest.raises(ValueError, match="both are needed"):
        measure_map(plane()[:count], plane()[:others], np.eye(4))
