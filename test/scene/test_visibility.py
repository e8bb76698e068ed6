import numpy as np
import pytest
import torch

from flashvggt_ros.scene import PLACES, Scene, Textures, primitives, ray_casting
from flashvggt_ros.scene.shutter import Shutter
from flashvggt_ros.scene.visibility import Visible

SIZE = (21, 30)


@pytest.fixture(scope="module")
def textures():
    return Textures.procedural(np.random.default_rng(0), each=1)


def everything(scene, frames):
    """All that exists, in every pixel."""
    number = (scene.rows[0, :, primitives.KIND] != primitives.ABSENT).nonzero()[:, 0].int()
    whole = torch.tensor([0, SIZE[0], 0, SIZE[1]], dtype=torch.int32)
    return Visible(number.expand(frames, -1), torch.full((frames,), len(number)),
                   whole.expand(frames, scene.rows.shape[1], 4))


@pytest.mark.parametrize("place", PLACES)
def test_pictures_are_the_same_as_if_all_were_cast_at(place, textures):
    rng = np.random.default_rng(4)
    scene = Scene.random(rng, place, textures)
    path = scene.trajectory(rng, 4, "hand", step=0.15, turn=0.25)
    scene, poses = scene.cleared(path), torch.tensor(path).float()
    shutter = Shutter.moving(poses[None], torch.tensor([[0.3, 0.0, 0.2, 0.3]]),
                             torch.tensor([[0.1, 0.1, 0.0, 0.1]]))
    K = torch.tensor([[16.0, 17.0, 14.3, 10.0]]).expand(4, 4)
    which = torch.zeros(4, dtype=torch.int32)
    visible = Visible.of(scene.rows, scene.counts, which, poses, shutter, K, SIZE)
    pictures = [
        ray_casting.render(scene.rows, scene.counts, scene.lights, textures.atlas, which, poses,
                           shutter, some, K, SIZE, 2, False)
        for some in (visible, everything(scene, 4))]
    for one, other in zip(*pictures, strict=True):
        assert torch.equal(one, other)
    assert visible.counts.float().mean() < 0.95 * scene.counts.float().mean()


def test_what_is_behind_or_beside_the_camera_is_left_out_but_never_the_shell():
    def ball(x, z):
        return primitives.primitive(primitives.ELLIPSOID, np.array([x, 0.0, z]), np.ones(3),
                                    np.eye(3), textures=(0,))
    rows = torch.from_numpy(np.stack([ball(0, -50), ball(0, 9), ball(0, -9), ball(40, 9),
                                      primitives.absent(), ball(2, 9)]))[None]
    visible = Visible.of(
        rows, torch.tensor([6]), torch.zeros(1, dtype=torch.int32), torch.eye(4)[None],
        Shutter.still(1, rows.device), torch.tensor([[30.0, 30.0, 15.0, 10.0]]), SIZE)
    assert visible.order[0, : visible.counts[0]].tolist() == [0, 1, 5]
    top, bottom, left, right = visible.bounds[0, 1].tolist()
    assert top <= 6
    assert bottom >= 14
    assert left <= 11
    assert 19 <= right < 30


def test_a_camera_that_turns_sees_what_stands_beside_its_view():
    ball = primitives.primitive(primitives.ELLIPSOID, np.array([6.0, 0, 9]), np.ones(3), np.eye(3),
                                textures=(0,))
    rows = torch.from_numpy(np.stack([ball, ball]))[None]
    turn = torch.zeros(1, 3, 4)
    turn[0, 0, 2], turn[0, 2, 0] = 1.0, -1.0
    for exposure, count in ((0.0, 1), (0.4, 2)):
        shutter = Shutter(turn, torch.tensor([exposure]), torch.zeros(1))
        visible = Visible.of(
            rows, torch.tensor([2]), torch.zeros(1, dtype=torch.int32), torch.eye(4)[None],
            shutter, torch.tensor([[60.0, 60.0, 15.0, 10.0]]), SIZE)
        assert visible.counts.tolist() == [count]
