"""A cloud, a grid or a pose that stays behind when the map moves is noticed."""

from dataclasses import replace

import numpy as np
import pytest

from flashvggt_ros.frame import MapUpdate
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.slam import Slam
from flashvggt_ros.tools.backend_checks.corridor import (
    cloud_offset,
    grid_offset,
    path_points,
    pose_offset,
)
from flashvggt_ros.tools.backend_checks.mapped_world import settings
from flashvggt_ros.worlds import TruthCache, TruthPredictor, make_world, walk

WORLD = make_world(walk(30))


@pytest.fixture
def run() -> tuple[Slam[TruthCache], MapUpdate]:
    """WORLD mapped without any error, and the last update."""
    slam: Slam[TruthCache] = Slam(settings({"publish_unscaled": True}), TruthPredictor(WORLD))
    updates = [slam.add_frame(frame) for frame in WORLD.frames]
    updates.append(slam.flush())
    return slam, [update for update in updates if update][-1]


def test_cloud_and_poses_of_a_map_agree(run: tuple[Slam[TruthCache], MapUpdate]) -> None:
    slam, last = run
    assert len(path_points(slam.map.submaps[0])) > 1000
    assert cloud_offset(slam) < 0.001
    assert grid_offset(slam) < 0.005
    assert pose_offset(slam, last) < 1e-9


@pytest.mark.parametrize("shift", [[0.0, 0.0, 0.02], [0.2, 0.2, 0.0], [9.0, 0.0, 0.0]])
def test_a_submap_that_moves_without_its_cloud_is_noticed(
    run: tuple[Slam[TruthCache], MapUpdate], shift: list[float]
) -> None:
    slam, _ = run
    slam.map.cloud()  # drawn now, and not again, because the map's version stays
    slam.map.grid()
    submap = slam.map.submaps[1]
    submap.S_map_submap = Sim3(1.0, np.eye(3), np.array(shift)) @ submap.S_map_submap
    assert cloud_offset(slam) > 0.01
    assert grid_offset(slam) > 0.01 or np.linalg.norm(shift) < 0.2


def test_tf_that_stays_behind_is_off_by_as_much(run: tuple[Slam[TruthCache], MapUpdate]) -> None:
    slam, last = run
    moved = last.T_map_camera.copy()
    moved[-1, :3, 3] += [0.0, 0.03, 0.04]
    assert pose_offset(slam, replace(last, T_map_camera=moved)) == pytest.approx(0.05)
