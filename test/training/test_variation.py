import numpy as np
import pytest
import torch

from flashvggt_ros.scene import Scene, Textures, materials, primitives
from flashvggt_ros.scene.layout import compose
from flashvggt_ros.scene.textures import KINDS, TEXELS
from training.variation import varied


@pytest.fixture(scope="module")
def textures():
    kinds = {kind: tuple(range(1 + 5 * n, 6 + 5 * n)) for n, kind in enumerate(KINDS)}
    return Textures(torch.zeros((1 + 5 * len(KINDS)) * TEXELS, dtype=torch.int32), kinds)


def scenes(textures, style, place="room"):
    made = [compose(place, textures, np.random.default_rng(seed), style) for seed in range(4)]
    return Scene.of(made, textures)


def kinds_of(scene):
    present = scene.rows[..., primitives.KIND] != primitives.ABSENT
    return ((scene.rows[..., primitives.TEXTURE][present] - 1) // 5).long()


@pytest.mark.parametrize("style", [materials.PLAIN, materials.TEXTURED])
@pytest.mark.parametrize("place", ["room", "street"])
def test_realistic_scenes_swap_textures_within_their_kind(textures, style, place):
    before = scenes(textures, style, place)
    after = varied(before, torch.Generator().manual_seed(1))
    assert (kinds_of(before) == kinds_of(after)).all()
    changed = before.rows[..., primitives.TEXTURE] != after.rows[..., primitives.TEXTURE]
    assert 0.2 < changed.float().mean() < 0.9


def test_wild_scenes_wear_anything_but_keep_their_sky(textures):
    before = scenes(textures, materials.WILD, "street")
    after = varied(before, torch.Generator().manual_seed(1))
    was, now = kinds_of(before), kinds_of(after)
    sky = KINDS.index("sky")
    assert (was != now).float().mean() > 0.4
    assert ((was == sky) == (now == sky)).all()


def test_plain_scenes_stay_plain(textures):
    after = varied(scenes(textures, materials.PLAIN), torch.Generator().manual_seed(2))
    assert (after.rows[..., primitives.CONTRAST] <= 0.15).float().mean() > 0.5


def test_parts_of_one_color_keep_one_color_and_many_colors_are_new(textures):
    before = scenes(textures, materials.PLAIN)
    after = varied(before, torch.Generator().manual_seed(3))
    for old, new, count in zip(before.rows, after.rows, before.counts, strict=True):
        tints = old[:count, primitives.TINT]
        fresh = new[:count, primitives.TINT]
        kind = old[:count, primitives.TEXTURE.start]
        for row in range(1, int(count)):
            same = (tints == tints[row]).all(1) & (kind == kind[row])
            same &= old[:count, primitives.EMISSION] == old[row, primitives.EMISSION]
            torch.testing.assert_close(fresh[same], fresh[row].expand(int(same.sum()), 3))
        hue = fresh / fresh.sum(1, keepdim=True) - tints / tints.sum(1, keepdim=True)
        assert 0.05 < (hue.abs().amax(1) > 0.01).float().mean() < 0.9


def test_geometry_and_walls_are_left_as_they_are(textures):
    before = scenes(textures, materials.PLAIN)
    after = varied(before, torch.Generator().manual_seed(4))
    for part in (primitives.MATRIX, primitives.HALF, primitives.KIND):
        torch.testing.assert_close(before.rows[..., part], after.rows[..., part])
    assert not torch.equal(before.lights, after.lights)
    style = before.lights[:, primitives.STYLE]
    torch.testing.assert_close(style, after.lights[:, primitives.STYLE])
