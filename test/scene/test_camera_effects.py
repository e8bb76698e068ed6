import pytest
import torch

from flashvggt_ros.scene.camera_effects import (
    TARGET_BRIGHTNESS,
    _jpeg,
    automatic_gain,
    develop,
    expose,
    photograph,
)

IDEAL = {"gain": 1.0, "vignetting": 0.0, "shoulder": 0.0, "power": 1 / 2.2, "black": 0.0,
         "contrast": 1.0, "saturation": 1.0, "focus": 0.0, "noise": 0.0, "blotches": 0.0,
         "chroma": 0.0}


def radiance(frames=8, size=(24, 36)):
    generator = torch.Generator().manual_seed(0)
    smooth = torch.rand(frames, 3, 4, 6, generator=generator)
    return torch.nn.functional.interpolate(smooth, size, mode="bilinear") + 0.05


def exposed(light, **settings):
    values = {name: torch.full((len(light), 1, 1, 1), float(value))
              for name, value in (IDEAL | settings).items()}
    return expose(light, **values)


@pytest.fixture(scope="module")
def many():
    """One view, taken by 200 cameras, each 3 times."""
    light = (radiance(1) ** 3).expand(600, -1, -1, -1).contiguous()
    return photograph(light, 3, torch.Generator().manual_seed(2)).view(200, 3, 3, 24, 36)


def test_automatic_gain_brings_dark_and_bright_pictures_to_one_brightness():
    light = radiance()
    for factor in (0.01, 1.0, 50.0):
        bright = light * factor * automatic_gain(light * factor).view(-1, 1, 1, 1)
        level = bright.mean((1, 2, 3))
        assert (level > 0.5 * TARGET_BRIGHTNESS).all()
        assert (level < 2 * TARGET_BRIGHTNESS).all()


def test_developed_pictures_keep_the_order_of_brightness():
    light = torch.linspace(0.01, 0.9, 50).view(1, 1, 1, 50).expand(1, 3, 1, 50)
    assert (develop(light, torch.ones(1)).diff(dim=-1) > 0).all()


def test_photographs_are_in_range_and_mostly_still_show_the_scene():
    light = radiance(96)
    pictures = photograph(light, 4, torch.Generator().manual_seed(1))
    assert pictures.shape == light.shape
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    likeness = torch.stack([
        torch.corrcoef(torch.stack([picture.mean(0).flatten(), source.mean(0).flatten()]))[0, 1]
        for picture, source in zip(pictures, light, strict=True)])
    assert (likeness > 0.5).all()
    assert likeness.median() > 0.85


def test_cameras_differ_between_sequences_more_than_within_them(many):
    level = many.mean((2, 3, 4))
    assert level.mean(1).std() > 3 * level.std(1).median()
    assert level.std(1).max() > 0.05  # exposure steps at times


def test_one_sequence_in_seven_is_gray_and_some_are_vivid(many):
    color = (many.amax(2) - many.amin(2)).mean((1, 2, 3))
    assert 0.08 < (color < 1e-3).float().mean() < 0.25
    assert color.max() > 2 * color.median()


def test_a_share_of_sequences_is_as_an_ideal_camera_takes_them(many):
    light = radiance(1) ** 3
    ideal = develop(light, automatic_gain(light[..., 1::4, 1::4]))
    is_clean = ((many[:, 0] - ideal).abs().amax((1, 2, 3)) < 2e-3).float().mean()
    assert 0.08 < is_clean < 0.22


def test_highlights_are_blown_out_and_shadows_crushed_in_a_share_of_sequences(many):
    white = (many > 0.98).float().mean((1, 2, 3, 4))
    black = (many < 0.02).float().mean((1, 2, 3, 4))
    assert 0.1 < (white > 0.1).float().mean() < 0.6
    assert (black > 0.01).float().mean() > 0.05


def test_the_ideal_settings_are_the_ideal_camera():
    light = radiance()
    torch.testing.assert_close(exposed(light), develop(light, torch.ones(8)), rtol=0, atol=2e-4)


def test_contrast_spreads_tones_about_the_middle_and_black_cuts_the_dark():
    light = torch.linspace(0.01, 1, 50).view(1, 1, 1, 50).expand(1, 3, 1, 50)
    plain, steep = exposed(light)[0, 0, 0], exposed(light, contrast=1.8)[0, 0, 0]
    assert (steep[plain < 0.45] < plain[plain < 0.45]).all()
    assert (steep[(plain > 0.55) & (plain < 0.99)] > plain[(plain > 0.55) & (plain < 0.99)]).all()
    assert exposed(light, black=0.2)[0, 0, 0, 0] < 1e-3


def test_noise_is_stronger_in_the_dark_and_colored_only_where_asked():
    light = torch.full((1, 3, 64, 64), 0.02)
    torch.manual_seed(0)
    dark = exposed(light, noise=0.05, chroma=1.0)
    bright = exposed(light * 40, noise=0.05, chroma=1.0)
    gray = exposed(light, noise=0.05)
    assert dark.std() > 1.5 * bright.std()
    assert (dark[:, 0] - dark[:, 1]).std() > 0.03
    assert (gray[:, 0] - gray[:, 1]).abs().max() < 1e-5


def test_sharpening_leaves_halos_at_an_edge_and_defocus_softens_it():
    light = torch.full((1, 3, 16, 16), 0.1)
    light[..., 8:] = 0.4
    plain, halo, soft = (exposed(light, focus=focus)[0, 0, 8] for focus in (0.0, -1.0, 1.0))
    assert halo.max() > plain.max() + 0.02
    assert halo.min() < plain.min() - 0.02
    assert soft.diff().max() < 0.6 * plain.diff().max()


def test_compression_keeps_what_it_is_coarse_about_from_sight():
    picture = radiance(2, (24, 36)) / 1.05
    fine, coarse = (_jpeg(picture, torch.full((2, 1, 1, 1), step)) for step in (1e-4, 0.1))
    low = torch.nn.functional.avg_pool2d(picture, 4)
    assert (fine - picture).abs().mean() < 0.01
    assert (coarse - picture).abs().mean() > 0.01
    assert (torch.nn.functional.avg_pool2d(coarse, 4) - low).abs().mean() < 0.03
