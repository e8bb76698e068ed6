import dataclasses

import cv2
import numpy as np
import pytest

from flashvggt_ros.frame import Frame
from flashvggt_ros.geometry.camera import Calibration, Pinhole
from flashvggt_ros.model.model_config import ModelConfig
from flashvggt_ros.model.preprocess import (
    MOST_MAPS,
    Canvas,
    Crop,
    ImageSizeError,
    Preprocessor,
)
from flashvggt_ros.sensors.image_decoding import reduced

CONFIG = ModelConfig(patch_size=14, kv_downfactor=3, image_width=224)


def preprocessor(width: int = 0, *, use_calibration: bool = True) -> Preprocessor:
    return Preprocessor(CONFIG, width=width, use_calibration=use_calibration)


def frame_of(width: int, height: int, calibration: Calibration | None = None) -> Frame:
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Frame(0, "camera", image, calibration)


@pytest.mark.parametrize(
    ("size", "canvas"),
    [
        ((640, 480), (224, 168)),
        ((1920, 1080), (224, 126)),
        ((760, 428), (224, 126)),
        ((641, 479), (224, 168)),
        ((480, 640), (224, 224)),
        ((500, 500), (224, 224)),
        ((100, 80), (224, 182)),
    ],
)
def test_the_canvas_has_the_whole_patches_nearest_to_the_shape_of_the_image(size, canvas):
    assert preprocessor().canvas(frame_of(*size).image) == Canvas(*canvas)


@pytest.mark.parametrize(
    ("size", "width", "canvas"),
    [
        ((640, 480), 0, (224, 168)),
        ((1920, 1080), 0, (224, 126)),
        ((1242, 375), 0, (364, 112)),
        ((1280, 550), 0, (266, 112)),
        ((480, 640), 0, (168, 224)),
        ((375, 1242), 0, (112, 364)),
        ((3000, 300), 0, (448, 112)),
        ((1242, 375), 448, (742, 224)),
        ((1242, 375), 42, (84, 28)),
    ],
)
def test_a_model_with_a_shortest_side_sees_wide_and_upright_images_whole(size, width, canvas):
    model = dataclasses.replace(CONFIG, kv_downfactor=2, shorter_side_min=112)
    wide = Preprocessor(model, width=width, use_calibration=False)
    assert wide.canvas(frame_of(*size).image) == Canvas(*canvas)


def test_little_of_an_image_is_cut_away():
    for size in ((641, 479), (639, 481), (760, 428), (1000, 700)):
        crop = Crop.centered(*size, preprocessor().canvas(frame_of(*size).image))
        assert crop.width * crop.height > 0.95 * size[0] * size[1]


@pytest.mark.parametrize("size", [(41, 200), (200, 41), (1000, 100), (1, 1)])
def test_images_that_are_too_small_or_too_flat_are_refused(size):
    with pytest.raises(ImageSizeError, match=f"image is {size[0]}x{size[1]}"):
        preprocessor().canvas(frame_of(*size).image)


@pytest.mark.parametrize("width", [225, 28])
def test_a_width_that_the_model_cannot_have_is_refused_with_one_it_can(width):
    with pytest.raises(ValueError, match=f"predictor.width is {width}.*for example (224|42)"):
        preprocessor(width)


@pytest.mark.parametrize("source", [(640, 480), (480, 640), (1919, 1079), (101, 77)])
def test_intrinsics_survive_the_way_there_and_back(source):
    width, height = source
    camera = Pinhole(0.9 * width, 0.93 * width, 0.47 * width, 0.55 * height, width, height)
    for canvas in (Canvas(224, 168), Canvas(518, 518), Canvas(224, 42)):
        crop = Crop.centered(width, height, canvas)

        back = crop.to_source(crop.to_model(camera))

        for name in ("fx", "fy", "cx", "cy"):
            assert abs(getattr(back, name) - getattr(camera, name)) < 1e-9
        assert (back.width, back.height) == source


def test_a_point_is_seen_at_the_same_place_by_image_and_intrinsics():
    """A bright blob, drawn where the camera sees a point, is where the model's camera sees it."""
    camera = Pinhole(500.0, 520.0, 322.0, 251.0, 640, 480)
    point = np.array([0.21, -0.13, 1.0])
    u, v, _ = camera.matrix @ point
    row, column = np.indices((480, 640))
    blob = 255 * np.exp(-((column - u) ** 2 + (row - v) ** 2) / (2 * 9.0**2))
    image = np.repeat(blob[..., None], 3, axis=2).astype(np.uint8)
    lens = Calibration(camera, "none", ())

    for width in (224, 154):
        prepared = preprocessor(width)
        canvas = prepared.canvas(image)
        seen = prepared.prepare(Frame(0, "camera", image, lens), canvas)
        weight = seen.image[..., 0].astype(float)
        rows, columns = np.indices(weight.shape)
        center = ((weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum())
        np.testing.assert_allclose(center, (seen.pinholes[0].matrix @ point)[:2], atol=0.05)


def test_a_calibrated_camera_is_undistorted_at_the_size_of_the_canvas():
    pinhole = Pinhole(450.0, 452.0, 318.0, 243.0, 640, 480)
    lens = Calibration(pinhole, "plumb_bob", (-0.25, 0.06, 1e-3, -1e-3, 0.0))
    coarse = np.random.default_rng(2).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    image = np.asarray(cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC))
    prepared = preprocessor()

    ours = prepared.prepare(Frame(0, "camera", image, lens), Canvas(224, 168))

    straight = cv2.undistort(image, pinhole.matrix, np.array(lens.coefficients))
    expected = cv2.resize(straight, (224, 168), interpolation=cv2.INTER_AREA)
    assert np.abs(ours.image.astype(int) - expected)[2:-2, 2:-2].mean() < 1.0
    assert ours.pinholes == (Crop.centered(640, 480, Canvas(224, 168)).to_model(pinhole),)
    again = prepared.prepare(Frame(1, "camera", image, lens), Canvas(224, 168))
    assert np.array_equal(again.image, ours.image)


def test_without_camera_info_the_image_is_not_bent_and_the_model_has_to_tell_its_view():
    pinhole = Pinhole(450.0, 452.0, 318.0, 243.0, 640, 480)
    lens = Calibration(pinhole, "plumb_bob", (-0.25, 0.06, 1e-3, -1e-3, 0.0))
    frame = frame_of(640, 480, lens)
    canvas = Canvas(224, 168)

    ignored = preprocessor(use_calibration=False).prepare(frame, canvas)

    plain = preprocessor().prepare(dataclasses.replace(frame, calibration=None), canvas)
    assert ignored.pinholes == plain.pinholes == ()
    assert np.array_equal(ignored.image, plain.image)
    assert plain.is_seen.all()


@pytest.mark.parametrize("size", [(640, 400), (480, 640), (64, 48)])
def test_another_shape_is_cut_to_the_canvas_not_padded(size):
    white = Frame(0, "camera", np.full((size[1], size[0], 3), 255, np.uint8), None)

    seen = preprocessor().prepare(white, Canvas(224, 168))

    assert seen.image.shape == (168, 224, 3)
    assert (seen.image == 255).all()


def test_pixels_stay_square_to_half_a_percent():
    for size in ((641, 479), (760, 428), (480, 640), (1919, 1079)):
        canvas = preprocessor().canvas(frame_of(*size).image)
        across, down = Crop.centered(*size, canvas).scale
        assert abs(across / down - 1) < 0.005


def test_a_calibration_for_another_size_is_refused():
    lens = Calibration(Pinhole(500.0, 500.0, 320.0, 240.0, 640, 480), "none", ())

    with pytest.raises(ValueError, match="calibration is for 640x480"):
        preprocessor().prepare(frame_of(320, 240, lens), Canvas(224, 168))


@pytest.mark.parametrize(("size", "most", "detail"), [
    ((640, 480), 2, 2), ((640, 480), 8, 3), ((540, 360), 4, 2), ((320, 240), 2, 1),
    ((200, 150), 2, 1), ((1242, 375), 2, 2),
])  # fmt: skip
def test_fine_images_are_as_fine_as_asked_for_and_as_the_camera(size, most, detail):
    ours = Preprocessor(CONFIG, width=0, use_calibration=True, most_detail=most)
    frame = frame_of(*size)

    canvas = ours.canvas(frame.image)

    assert canvas.detail == detail
    view = ours.prepare(frame, canvas)
    assert view.image.shape == (canvas.height, canvas.width, 3)
    assert view.fine.shape == (detail * canvas.height, detail * canvas.width)


@pytest.mark.parametrize("coefficients", [(), (-0.25, 0.06, 1e-3, -1e-3, 0.0)])
def test_fine_images_show_what_the_model_sees(coefficients):
    lens = Calibration(Pinhole(450.0, 452.0, 318.0, 243.0, 640, 480),
                       "plumb_bob" if coefficients else "none", coefficients)
    coarse = np.random.default_rng(2).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    image = np.asarray(cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC))

    seen = preprocessor().prepare(Frame(0, "camera", image, lens), Canvas(224, 168, detail=2))

    small = cv2.resize(seen.fine, (224, 168), interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(seen.image, cv2.COLOR_RGB2GRAY)
    assert np.abs(small.astype(int) - gray)[2:-2, 2:-2].max() <= 3


@pytest.mark.parametrize(("size", "most_detail", "reduction"), [
    ((3840, 2160), 2, 8), ((3840, 2160), 4, 4), ((1920, 1080), 2, 4), ((1280, 720), 1, 4),
    ((640, 480), 2, 1), ((640, 480), 1, 2), ((3840, 2162), 2, 2), ((3841, 2161), 2, 1),
    ((320, 240), 2, 1), ((200, 150), 2, 1),
])  # fmt: skip
def test_large_images_may_be_reduced_as_far_as_nothing_of_use_is_lost(size, most_detail, reduction):
    ours = Preprocessor(CONFIG, width=0, use_calibration=True, most_detail=most_detail)
    assert ours.reduction(*size) == reduction
    small = np.zeros((size[1] // reduction, size[0] // reduction, 3), np.uint8)
    whole = np.zeros((size[1], size[0], 3), np.uint8)
    assert ours.canvas(small) == ours.canvas(whole)


@pytest.mark.parametrize("coefficients", [(), (-0.25, 0.06, 1e-3, -1e-3, 0.0)])
def test_a_reduced_image_shows_the_model_the_same(coefficients):
    ours = Preprocessor(CONFIG, width=0, use_calibration=True, most_detail=2)
    lens = Calibration(Pinhole(1350.0, 1356.0, 955.0, 530.0, 1920, 1080),
                       "plumb_bob" if coefficients else "none", coefficients)
    coarse = np.random.default_rng(2).integers(0, 255, (18, 32, 3), dtype=np.uint8)
    image = np.asarray(cv2.resize(coarse, (1920, 1080), interpolation=cv2.INTER_CUBIC))
    factor = ours.reduction(1920, 1080)

    whole = ours.prepare(Frame(0, "camera", image, lens), ours.canvas(image))
    small = reduced(image, factor)
    seen = ours.prepare(Frame(0, "camera", small, lens.reduced(factor)), ours.canvas(small))

    assert factor == 4
    for ours_, theirs in zip(seen.pinholes, whole.pinholes, strict=True):
        np.testing.assert_allclose(ours_.matrix, theirs.matrix, atol=1e-9)
    np.testing.assert_array_equal(seen.is_seen, whole.is_seen)
    assert seen.fine.shape == whole.fine.shape
    assert np.abs(seen.image.astype(int) - whole.image)[whole.is_seen].max() <= 6
    assert np.abs(seen.fine.astype(int) - whole.fine)[2:-2, 2:-2].mean() < 1


def test_a_driver_that_changes_the_calibration_with_each_image_takes_no_more_memory():
    prepared = preprocessor()
    for number in range(2 * MOST_MAPS):
        pinhole = Pinhole(200.0, 200.0, 159.5, 119.5, 320, 240)
        lens = Calibration(pinhole, "plumb_bob", (0.1 + 1e-6 * number, 0.0, 0.0, 0.0, 0.0))
        frame = frame_of(320, 240, lens)
        prepared.prepare(frame, prepared.canvas(frame.image))
    assert len(prepared._maps) == MOST_MAPS
