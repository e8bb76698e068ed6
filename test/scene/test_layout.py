import numpy as np
import pytest
import torch

from flashvggt_ros.scene import PLACES, Scene, Textures, materials, primitives
from flashvggt_ros.scene.composer import MOST_PRIMITIVES, Composer
from flashvggt_ros.scene.layout import compose
from flashvggt_ros.scene.textures import KINDS

MANY = 12


@pytest.fixture(scope="module")
def textures():
    kinds = {kind: (1 + 2 * number, 2 + 2 * number) for number, kind in enumerate(KINDS)}
    return Textures(torch.zeros(0, dtype=torch.int32), kinds)


def layouts(place, textures, style=None, count=MANY):
    return [compose(place, textures, np.random.default_rng(seed), style) for seed in range(count)]


@pytest.mark.parametrize("place", PLACES)
def test_every_place_is_finite_and_fits_the_table(place, textures):
    for layout in layouts(place, textures):
        assert layout.rows.shape[1] == primitives.ROW
        assert len(layout.rows) == len(layout.groups) <= MOST_PRIMITIVES
        assert np.isfinite(layout.rows).all()
        assert (layout.rows[:, primitives.HALF] > 0).all()
        assert (layout.walk[1] > layout.walk[0]).all()
        assert layout.rows[0, primitives.KIND] == primitives.BOX
        assert layout.groups[0] == 0


@pytest.mark.parametrize("place", PLACES)
def test_the_walk_space_is_inside_the_enclosing_box(place, textures):
    for layout in layouts(place, textures):
        matrix = layout.rows[0, primitives.MATRIX].reshape(3, 4)
        corners = layout.walk @ matrix[:, :3].T + matrix[:, 3]
        assert (abs(corners) < 1).all()


@pytest.mark.parametrize("place", PLACES)
def test_the_same_seed_gives_the_same_layout(place, textures):
    one, other = (compose(place, textures, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.lights, other.lights)


def test_primitives_are_turned_by_rotations(textures):
    for place in PLACES:
        for layout in layouts(place, textures, count=3):
            linear = layout.rows[:, primitives.MATRIX].reshape(-1, 3, 4)[..., :3]
            R = linear * layout.rows[:, primitives.HALF][..., None]
            np.testing.assert_allclose(R @ R.transpose(0, 2, 1), np.broadcast_to(
                np.eye(3), R.shape), atol=2e-3)


def test_plain_scenes_are_plain_and_wild_ones_are_not(textures):
    def low_contrast(style):
        rows = np.concatenate([layout.rows for layout in layouts("room", textures, style)])
        return (rows[:, primitives.CONTRAST] <= 0.15).mean()

    assert low_contrast(materials.PLAIN) > 0.5
    assert low_contrast(materials.TEXTURED) < low_contrast(materials.PLAIN) - 0.1
    assert low_contrast(materials.WILD) < 0.1


def test_all_styles_are_drawn_about_as_often_as_said(textures):
    rng = np.random.default_rng(0)
    styles = [Composer(textures, rng).style for _ in range(2000)]
    share = np.bincount(styles, minlength=3) / 2000
    np.testing.assert_allclose(share, materials.STYLE_SHARES, atol=0.05)


def test_walls_of_realistic_rooms_wear_wall_textures_and_those_of_wild_ones_any(textures):
    allowed = {number for finish in materials.SURFACES["wall"]
               for number in textures.kinds[finish.kind]}
    real = [layout.rows[0, primitives.TEXTURE][0]
            for layout in layouts("room", textures, materials.PLAIN)]
    wild = [layout.rows[0, primitives.TEXTURE][0]
            for layout in layouts("room", textures, materials.WILD)]
    assert set(real) <= allowed
    assert not set(wild) <= allowed


def test_desks_are_full_of_small_things_below_the_camera(textures):
    for layout in layouts("desk", textures):
        linear = layout.rows[:, primitives.MATRIX].reshape(-1, 3, 4)
        half = layout.rows[:, primitives.HALF]
        center = -np.einsum("pij,pi->pj", linear[..., :3] * half[..., None] ** 2, linear[..., 3])
        middle = layout.walk.mean(0)
        is_near = np.linalg.norm(center[:, :2] - middle[:2], axis=1) < 1.6
        is_on_desk = (center[:, 2] > 0.6) & (center[:, 2] < layout.walk[1, 2])
        is_small = half.max(1) < 0.4
        assert (is_near & is_on_desk & is_small & (layout.groups > 0)).sum() >= 12
        assert (np.ptp(layout.walk, axis=0)[:2] < 1.3).all()


def test_rooms_hold_many_things_and_thin_structures(textures):
    things = [layout.groups.max() for layout in layouts("room", textures)]
    thin = [(layout.rows[:, primitives.HALF].min(1) < 0.03).sum()
            for layout in layouts("room", textures)]
    assert np.mean(things) > 4
    assert np.mean(thin) > 20


def test_streets_are_long_enough_to_drive_through(textures):
    for layout in layouts("street", textures):
        assert np.ptp(layout.walk[:, 0]) >= 140
        assert 1.1 < layout.walk[0, 2] < layout.walk[1, 2] < 2.2
        outdoors = layout.groups > 0
        assert layout.groups.max() >= 3
        is_facade = np.isin(layout.rows[:, primitives.TEXTURE.start], textures.kinds["facade"])
        if layout.lights[primitives.STYLE] != materials.WILD:
            assert is_facade.sum() >= 4
        assert outdoors.sum() > 10


def test_a_cleared_street_still_has_its_houses_and_road(textures):
    for seed, layout in enumerate(layouts("street", textures, count=4)):
        scene = Scene.of([layout], textures)
        rng = np.random.default_rng(seed)
        T = np.tile(np.eye(4), (60, 1, 1))
        T[:, :3, 3] = np.linspace(layout.walk[0], layout.walk[1], 60) * [1, 0.2, 1]
        T[:, 1, 3] += rng.uniform(-0.2, 0.2)
        gone = scene.cleared(T).rows[0, :, primitives.KIND] == primitives.ABSENT
        assert not gone[torch.from_numpy(layout.groups == 0)].any()
