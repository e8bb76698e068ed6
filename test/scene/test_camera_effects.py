import torch

from flashvggt_ros.scene.camera_effects import (
    TARGET_BRIGHTNESS,
    automatic_gain,
    develop,
    photograph,
)


def radiance(frames=8, size=(24, 36)):
    generator = torch.Generator().manual_seed(0)
    smooth = torch.rand(frames, 3, 4, 6, generator=generator)
    return torch.nn.functional.interpolate(smooth, size, mode="bilinear") + 0.05


def test_automatic_gain_brings_dark_and_bright_pictures_to_one_brightness():
    light = radiance()
    for factor in (0.01, 1.0, 50.0):
        exposed = light * factor * automatic_gain(light * factor).view(-1, 1, 1, 1)
        level = exposed.mean((1, 2, 3))
        assert (level > 0.5 * TARGET_BRIGHTNESS).all()
        assert (level < 2 * TARGET_BRIGHTNESS).all()


def test_developed_pictures_keep_the_order_of_brightness():
    light = torch.linspace(0.01, 0.9, 50).view(1, 1, 1, 50).expand(1, 3, 1, 50)
    assert (develop(light, torch.ones(1)).diff(dim=-1) > 0).all()


def test_photographs_are_in_range_and_still_show_the_scene():
    light = radiance()
    pictures = photograph(light, 4, torch.Generator().manual_seed(1))
    assert pictures.shape == light.shape
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    for picture, source in zip(pictures, light, strict=True):
        pair = torch.stack([picture.mean(0).flatten(), source.mean(0).flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.7


def test_cameras_differ_between_sequences():
    light = radiance(1).expand(12, -1, -1, -1).contiguous()
    pictures = photograph(light, 3, torch.Generator().manual_seed(2))
    level = pictures.mean((1, 2, 3)).view(4, 3)
    assert level.mean(1).std() > 3 * level.std(1).min()
