import numpy as np
import pytest
import torch

from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.scene import MOTIONS, PLACES, Scene, Textures, materials
from flashvggt_ros.scene.layout import compose
from flashvggt_ros.scene.textures import KINDS, SIDE, TEXELS

CAMERA = Pinhole.from_fov(1.2, 0.9, 64, 48)


@pytest.fixture(scope="module")
def textures():
    return Textures.procedural(np.random.default_rng(0), each=1)


@pytest.fixture(scope="module", params=PLACES)
def walk(request, textures):
    rng = np.random.default_rng(11)
    scene = Scene.random(rng, request.param, textures)
    T = scene.trajectory(rng, 8, "hand", step=0.08, turn=0.05)
    scene = scene.cleared(T)
    return scene, T, *scene.render(T, CAMERA)


def test_pictures_and_depth_have_the_shapes_and_types_promised(walk):
    _, T, pictures, depth = walk
    assert T.shape == (8, 4, 4)
    assert pictures.shape == (8, 48, 64, 3)
    assert pictures.dtype == np.uint8
    assert depth.shape == (8, 48, 64)
    assert depth.dtype == np.float32


def test_every_ray_meets_something_in_front(walk):
    depth = walk[3]
    assert depth.min() > 0.05
    assert depth.max() < 500


def test_pictures_have_contrast_and_are_not_clipped(walk):
    pictures = walk[2]
    assert pictures.std() > 8
    assert 40 < pictures.mean() < 215


def test_points_of_one_view_lie_on_the_surfaces_of_the_next(walk):
    _, T, _, depth = walk
    points = CAMERA.backproject(depth[0]).reshape(-1, 3)
    T_next_first = np.linalg.inv(T[1]) @ T[0]
    x, y, z = T_next_first[:3, :3] @ points.T + T_next_first[:3, 3:]
    u, v = CAMERA.fx * x / z + CAMERA.cx, CAMERA.fy * y / z + CAMERA.cy
    seen = (z > 0.1) & (u > 1) & (v > 1) & (u < 62) & (v < 46)
    surface = depth[1][v[seen].round().astype(int), u[seen].round().astype(int)]
    assert seen.mean() > 0.4
    off = abs(surface / z[seen] - 1)
    assert np.median(off) < 0.02  # half a pixel on slanted surfaces
    assert (off > 0.1).mean() < 0.15  # hidden in the second view


def test_the_same_seed_gives_the_same_pictures(textures):
    def make():
        rng = np.random.default_rng(5)
        scene = Scene.random(rng, "room", textures)
        T = scene.trajectory(rng, 2)
        return scene.cleared(T).render(T, CAMERA)

    for one, other in zip(make(), make(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_seed_gives_other_pictures(textures):
    pictures = []
    for seed in (5, 6):
        rng = np.random.default_rng(seed)
        scene = Scene.random(rng, "room", textures)
        pictures.append(scene.render(scene.trajectory(rng, 1), CAMERA)[0])
    assert (pictures[0] != pictures[1]).mean() > 0.5


def test_nothing_stands_in_the_way_of_a_cleared_path(walk):
    depth = walk[3]
    assert depth[:, 20:28, 28:36].min() > 0.1


def test_an_unknown_place_is_refused(textures):
    with pytest.raises(ValueError, match="cellar"):
        Scene.random(np.random.default_rng(0), "cellar", textures)


@pytest.mark.parametrize("motion", MOTIONS)
def test_paths_are_rigid_stay_inside_and_move_as_asked(motion, textures):
    rng = np.random.default_rng(3)
    scene = Scene.random(rng, "room", textures)
    T = scene.trajectory(rng, 48, motion, step=0.05, turn=0.06)
    identity = np.broadcast_to(np.eye(3), (48, 3, 3))
    np.testing.assert_allclose(T[:, :3, :3] @ T[:, :3, :3].transpose(0, 2, 1), identity, atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(T[:, :3, :3]), 1, atol=1e-5)
    low, high = scene.walk[0].numpy()
    assert (T[:, :3, 3] > low - 1e-3).all()
    assert (T[:, :3, 3] < high + 1e-3).all()
    step = np.linalg.norm(np.diff(T[:, :3, 3], axis=0), axis=1).mean()
    assert step < 0.02 if motion == "turn" else 0.01 < step < 0.09
    assert (T[:, 2, 1] < -0.1).all()  # the camera's down points to the floor


def test_photographs_serve_as_the_kind_they_are_given_for():
    photographs = {"wood": np.full((2, SIDE, SIDE, 3), 7, np.uint8)}
    textures = Textures.with_photographs(np.random.default_rng(0), photographs, each=1)
    assert textures.count == 1 + len(KINDS) + 2
    assert all(len(textures.kinds[kind]) == (3 if kind == "wood" else 1) for kind in KINDS)
    number = textures.kinds["wood"][-1]
    assert int(textures.atlas[number * TEXELS]) == 7 + (7 << 8) + (7 << 16)
    with pytest.raises(ValueError, match="cheese"):
        Textures.with_photographs(np.random.default_rng(0), {"cheese": photographs["wood"]}, 1)


def test_a_long_exposure_smears_along_the_motion_and_keeps_depth(textures):
    rng = np.random.default_rng(8)
    scene = Scene.of([compose("room", textures, rng, materials.WILD)], textures)
    T = scene.trajectory(rng, 2, "turn", turn=0.2)
    sharp, depth = scene.render(T, CAMERA, samples=4)
    smeared, same = scene.render(T, CAMERA, samples=4, exposure=np.array([0.6, 0.0]))

    def gradient(picture):
        return np.abs(np.diff(picture.astype(float), axis=1)).mean()

    assert gradient(smeared[0]) < 0.9 * gradient(sharp[0])
    np.testing.assert_allclose(smeared[1].astype(float), sharp[1], atol=12)
    assert np.median(abs(same[0] / depth[0] - 1)) < 1e-3
    assert torch.is_tensor(scene.rows)
