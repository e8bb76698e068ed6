import numpy as np
import pytest
import torch

from flashvggt_ros.scene import primitives, ray_casting
from flashvggt_ros.scene.primitives import BOX, primitive
from flashvggt_ros.scene.shutter import Shutter, swing
from flashvggt_ros.scene.textures import pack
from flashvggt_ros.scene.visibility import Visible

SIZE, FOCAL = (48, 64), 60.0
YAW = 0.2  # between frames, to the right [rad]


def turned(yaw):
    c, s = np.cos(yaw), np.sin(yaw)
    T = torch.eye(4)
    T[:3, :3] = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return T


def picture(shutter, samples=1):
    """A white wall to the right of x = 0, far away, black to the left of it."""
    white = {"textures": (0,), "macro": 0.0, "emission": 1.0}
    rows = torch.from_numpy(np.stack([
        primitive(BOX, np.zeros(3), np.full(3, 2000.0), np.eye(3), tint=(0, 0, 0), **white),
        primitive(BOX, np.array([500.0, 0, 1000]), np.array([500.0, 900, 1]), np.eye(3), **white),
    ]))[None]
    atlas = pack(torch.full((1, 256, 256, 3), 255, dtype=torch.uint8))
    K = torch.tensor([[FOCAL, FOCAL, 32.0, 23.5]])
    scene, poses = torch.zeros(1, dtype=torch.int32), torch.eye(4)[None]
    visible = Visible.of(rows, torch.tensor([2]), scene, poses, shutter, K, SIZE)
    return ray_casting.render(
        rows, torch.tensor([2]), torch.zeros(1, primitives.LIGHTS), atlas, scene, poses, shutter,
        visible, K, SIZE, samples, False)


def shutter_of(exposure=0.0, readout=0.0):
    path = torch.stack([turned(-YAW), turned(0.0), turned(YAW)])[None]
    middle = swing(path)[0, 1:2]
    return Shutter(middle, torch.tensor([exposure]), torch.tensor([readout]))


def test_swing_leads_to_the_neighboring_poses():
    path = torch.stack([turned(0.02 * k) for k in range(5)])[None]
    path[0, :, 0, 3] = torch.arange(5) * 0.1
    ahead = path[0, :, :3] + swing(path)[0]
    torch.testing.assert_close(ahead[:-1], path[0, 1:, :3], atol=3e-4, rtol=0)
    assert torch.equal(swing(path[:, :1]), torch.zeros(1, 1, 3, 4))


def test_a_rolling_shutter_shears_an_upright_edge_by_what_the_camera_turns_meanwhile():
    light, _ = picture(shutter_of(readout=0.5))
    edge = 64 - light[0, 0].gt(0.5).sum(1).float()  # first bright column of each row
    still = 64 - picture(shutter_of())[0][0, 0].gt(0.5).sum(1).float()
    assert still.unique().tolist() == [32.0]
    expected = FOCAL * np.tan(0.5 * YAW)  # the camera turns right, things go left
    assert edge[0] - edge[-1] == pytest.approx(expected, abs=1.1)
    assert abs(edge[23] - 32) <= 1  # the middle row has the pose of the frame
    assert (edge.diff() <= 0).all()


def test_depth_is_that_of_each_row_of_a_rolling_shutter():
    _, depth = picture(shutter_of(readout=0.5))
    _, still = picture(shutter_of())
    ray = torch.tensor([(50 - 32.0) / FOCAL, (2 - 23.5) / FOCAL, 1.0])
    angle = 0.5 * YAW * (2 - 23.5) / 48
    direction = turned(angle)[:3, :3] @ ray
    assert depth[0, 2, 50] == pytest.approx(float(999 / direction[2]), rel=1e-3)
    assert abs(depth[0, 2, 50] / still[0, 2, 50] - 1) > 0.01


def test_a_long_exposure_is_a_ramp_without_double_images():
    sharp = picture(shutter_of(), samples=4)[0][0, 0]
    smeared, depth = picture(shutter_of(exposure=0.5), samples=4)
    length = FOCAL * np.tan(0.5 * YAW)
    ramp = torch.nn.functional.avg_pool2d(smeared[:, 0], 2)[0, 12]
    partly = ((ramp > 0.02) & (ramp < 0.98)).sum() * 2
    assert partly == pytest.approx(length, abs=3)
    assert (ramp.diff() >= -1e-6).all()
    assert len(ramp[(ramp > 0.02) & (ramp < 0.98)].unique()) >= 3
    assert len(sharp.mul(100).round().unique()) <= 3
    torch.testing.assert_close(depth, picture(shutter_of())[1])
