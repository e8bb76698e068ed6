import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.spatial.transform import Rotation

from flashvggt_ros.chunk_predictor import PredictorAhead
from flashvggt_ros.config import Config, build_config
from flashvggt_ros.frame import Frame
from flashvggt_ros.geometry.camera import Calibration, Pinhole
from flashvggt_ros.model.predictor import (
    FlashVGGTPredictor,
    NonFinitePredictionError,
    camera_poses,
    load_predictor,
)
from flashvggt_ros.model.preprocess import ImageSizeError
from flashvggt_ros.shared_work import SharedWork

CAMERA = Pinhole(50.0, 50.0, 32.0, 24.0, 64, 48)


@pytest.fixture
def make_config(make_model, tmp_path):
    def make(**values: object) -> Config:
        model = make_model()
        path = tmp_path / "tiny.safetensors"
        weights = {name: value.contiguous() for name, value in model.state_dict().items()}
        save_file(weights, path, {"config": model.config.to_json()})
        exact = {"checkpoint": str(path), "device": "cpu", "predictor.dtype": "float32"}
        return build_config(exact | values)

    return make


@pytest.fixture
def predictor(make_config) -> FlashVGGTPredictor:
    return load_predictor(make_config())


def frames_of(count: int, *, size: tuple[int, int] = (64, 48), first: int = 0,
              calibration: Calibration | None = None) -> list[Frame]:
    width, height = size
    return [
        Frame(
            index, "camera",
            np.random.default_rng(index).integers(0, 255, (height, width, 3), dtype=np.uint8),
            calibration,
        )
        for index in range(first, first + count)
    ]


def test_a_chunk_gives_poses_depth_colors_and_cameras(predictor):
    cache = predictor.new_cache()

    first = predictor.predict(frames_of(3), cache)
    second = predictor.predict(frames_of(2, first=3), cache)

    assert first.T_submap_camera.shape == (3, 4, 4)
    assert second.T_submap_camera.shape == (5, 4, 4)
    assert second.T_submap_camera.dtype == np.float64
    assert second.depth.shape == second.confidence.shape == (2, 24, 32)
    assert second.depth.dtype == second.confidence.dtype == np.float32
    assert second.colors.shape == (2, 24, 32, 3)
    assert second.colors.dtype == np.uint8
    assert [(camera.width, camera.height) for camera in second.cameras] == [(32, 24)] * 2
    assert (second.depth > 0).all()
    assert (second.confidence >= 1).all()
    assert cache.frames == 5
    assert cache.nbytes > 0
    assert predictor.card.is_trained
    assert str(predictor.device) == "cpu"
    assert predictor.precision.weights == torch.float32


def test_poses_are_rigid(predictor):
    T = predictor.predict(frames_of(4), predictor.new_cache()).T_submap_camera

    R = T[:, :3, :3]
    np.testing.assert_allclose(R @ R.transpose(0, 2, 1), np.tile(np.eye(3), (4, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(R), 1, atol=1e-12)


def test_the_signature_of_an_image_depends_on_that_image_alone(predictor):
    cache = predictor.new_cache()
    predictor.predict(frames_of(3), cache)
    later = predictor.predict(frames_of(3, first=2), cache).signatures
    fresh = predictor.predict(frames_of(1, first=2), predictor.new_cache()).signatures

    np.testing.assert_allclose(np.linalg.norm(later, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(later[:1], fresh, atol=1e-5)
    assert np.abs(later[1] - later[0]).max() > 1e-4


def test_predictions_repeat_exactly(predictor):
    one, other = predictor.new_cache(), predictor.new_cache()
    for first in (0, 3):
        ours = predictor.predict(frames_of(3, first=first), one)
        theirs = predictor.predict(frames_of(3, first=first), other)

    assert np.array_equal(ours.depth, theirs.depth)
    assert np.array_equal(ours.T_submap_camera, theirs.T_submap_camera)


def test_pose_encodings_are_inverted_once():
    rng = np.random.default_rng(1)
    rotations = Rotation.random(5, rng)
    translations = rng.normal(size=(5, 3))
    quaternions = rotations.as_quat() * rng.uniform(0.1, 3, (5, 1))

    T_submap_camera = camera_poses(np.hstack([translations, quaternions, np.ones((5, 2))]))

    T_camera_submap = np.tile(np.eye(4), (5, 1, 1))
    T_camera_submap[:, :3, :3] = rotations.as_matrix()
    T_camera_submap[:, :3, 3] = translations
    np.testing.assert_allclose(
        T_camera_submap @ T_submap_camera, np.tile(np.eye(4), (5, 1, 1)), atol=1e-12
    )


def test_camera_info_fixes_the_view(predictor):
    lens = Calibration(CAMERA, "none", ())

    prediction = predictor.predict(frames_of(2, calibration=lens), predictor.new_cache())

    assert prediction.cameras[0].fov == pytest.approx(CAMERA.fov)
    assert prediction.cameras[0].cx == pytest.approx((32.0 + 0.5) / 2 - 0.5)


def test_camera_info_can_be_left_aside(make_config):
    predictor = load_predictor(make_config(**{"predictor.use_camera_info": False}))
    lens = Calibration(CAMERA, "none", ())

    ours = predictor.predict(frames_of(2, calibration=lens), predictor.new_cache())

    plain = predictor.predict(frames_of(2), predictor.new_cache())
    assert ours.cameras == plain.cameras
    assert ours.cameras[0].fov != pytest.approx(CAMERA.fov)


def test_there_is_no_depth_where_the_undistorted_image_shows_nothing(predictor):
    lens = Calibration(CAMERA, "plumb_bob", (0.6, 0.0, 0.0, 0.0, 0.0))

    prediction = predictor.predict(frames_of(1, calibration=lens), predictor.new_cache())

    assert prediction.depth[0, 0, 0] == 0
    assert prediction.depth[0, 12, 16] > 0
    assert (prediction.colors[0][prediction.depth[0] == 0] == 0).all()


def test_cameras_of_other_sizes_join_the_canvas_of_the_first_frame(predictor):
    cache = predictor.new_cache()
    mixed = [*frames_of(1), *frames_of(1, size=(80, 40)), *frames_of(1, size=(30, 50))]

    first = predictor.predict(mixed, cache)
    second = predictor.predict(frames_of(2, size=(80, 40)), cache)

    assert first.depth.shape == (3, 24, 32)
    assert second.depth.shape == (2, 24, 32)
    assert second.T_submap_camera.shape == (5, 4, 4)


def test_a_wider_model_image_is_used_where_it_is_asked_for(make_config):
    predictor = load_predictor(make_config(**{"predictor.width": 48}))

    prediction = predictor.predict(frames_of(1), predictor.new_cache())

    assert prediction.depth.shape == (1, 36, 48)


def test_a_tiny_image_is_refused_and_leaves_the_cache_as_it_was(predictor):
    cache = predictor.new_cache()
    predictor.predict(frames_of(2), cache)

    with pytest.raises(ImageSizeError, match="image is 5x5"):
        predictor.predict(frames_of(1, size=(5, 5)), cache)

    assert cache.frames == 2
    assert predictor.predict(frames_of(1), cache).T_submap_camera.shape == (3, 4, 4)


def test_an_empty_chunk_is_refused(predictor):
    with pytest.raises(ValueError, match="at least one frame"):
        predictor.predict([], predictor.new_cache())


@pytest.mark.parametrize(
    ("tensor", "said"),
    [("camera_head.pose_branch.fc2.bias", "poses"),
     ("depth_head.scratch.output_conv2.2.bias", "depth")],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stops_here(predictor, tensor, said, value):
    predictor.model.get_parameter(tensor).fill_(value)

    with pytest.raises(NonFinitePredictionError, match=said):
        predictor.predict(frames_of(2), predictor.new_cache())


def test_a_rotation_of_length_zero_is_not_made_an_identity():
    with pytest.raises(NonFinitePredictionError, match="length zero"):
        camera_poses(np.zeros((1, 9)))


def test_a_view_of_zero_is_kept_usable(predictor):
    """Random weights often say a field of view of zero."""
    predictor.model.camera_head.pose_branch.fc2.bias[7:] = -1e3

    prediction = predictor.predict(frames_of(1), predictor.new_cache())

    assert prediction.cameras[0].fov == pytest.approx((0.05, 0.05))


def test_bfloat16_is_close_to_float32(make_config, predictor):
    half = load_predictor(make_config(**{"predictor.dtype": "bfloat16"}))
    exact, ours = predictor.new_cache(), half.new_cache()
    for first in (0, 3):
        expected = predictor.predict(frames_of(3, first=first), exact)
        prediction = half.predict(frames_of(3, first=first), ours)

    assert half.precision.weights == torch.bfloat16
    assert 2 * ours.nbytes == exact.nbytes
    assert prediction.depth.dtype == np.float32
    np.testing.assert_allclose(prediction.depth, expected.depth, rtol=0.15)
    assert not np.array_equal(prediction.depth, expected.depth)


def test_cache_options_reach_the_cache(make_config):
    options = {"predictor.memory_stride": 2, "submap.max_frames": 16}
    predictor = load_predictor(make_config(**options))
    cache = predictor.new_cache()

    predictor.predict(frames_of(5), cache)

    assert cache.descriptors.held == (0, 2, 4)


def test_a_cache_bound_below_one_chunk_is_refused_at_start(make_config):
    values = {"predictor.max_cache_mb": 1.0, "chunk.size": 64, "chunk.overlap": 32,
              "submap.max_frames": 100, "predictor.width": 256}

    with pytest.raises(ValueError, match="max_cache_mb is 1: a chunk of 96 frames"):
        load_predictor(make_config(**values))


def test_a_width_that_is_no_multiple_of_the_patch_is_refused_at_start(make_config):
    with pytest.raises(ValueError, match=r"predictor\.width is 33"):
        load_predictor(make_config(**{"predictor.width": 33}))


def test_a_warm_up_runs_the_model_and_changes_no_prediction(predictor, make_config, monkeypatch):
    expected = predictor.predict(frames_of(3), predictor.new_cache())
    warm = load_predictor(make_config())
    predict, sizes = warm.predict, []

    def noting(frames, cache):
        predict(frames, cache)
        sizes.append((len(frames), cache.frames))

    with monkeypatch.context() as patch:
        patch.setattr(warm, "predict", noting)
        warm.warm_up(3)
    got = warm.predict(frames_of(3), warm.new_cache())

    assert sizes == [(3, 3), (3, 6)]
    np.testing.assert_array_equal(got.T_submap_camera, expected.T_submap_camera)
    np.testing.assert_array_equal(got.depth, expected.depth)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_a_missing_gpu_is_said(make_config):
    with pytest.raises(ValueError, match="device is cuda"):
        load_predictor(make_config(device="cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_agrees_with_the_cpu(make_config, predictor):
    gpu = load_predictor(make_config(**{"device": "cuda", "predictor.dtype": "float32"}))
    exact, ours = predictor.new_cache(), gpu.new_cache()
    for first in (0, 3):
        expected = predictor.predict(frames_of(3, first=first), exact)
        prediction = gpu.predict(frames_of(3, first=first), ours)

    np.testing.assert_allclose(prediction.depth, expected.depth, rtol=1e-2)
    np.testing.assert_allclose(prediction.T_submap_camera, expected.T_submap_camera, atol=1e-2)


def has_tiles(monkeypatch, answer: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: answer, raising=False)


@pytest.mark.parametrize(("capability", "tiles", "vnni", "dtype"), [
    ("AVX512", True, True, "bfloat16"), ("AVX512", False, True, "int8"),
    ("AVX512", False, False, "float32"), ("AVX2", False, False, "int8"),
    ("DEFAULT", False, False, "float32"),
])  # fmt: skip
def test_auto_is_the_fastest_that_the_cpu_can(
    make_config, monkeypatch, capability, tiles, vnni, dtype
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: vnni, raising=False)
    has_tiles(monkeypatch, tiles)

    assert load_predictor(make_config(**{"predictor.dtype": "auto"})).precision.name == dtype


def test_auto_is_exact_where_there_are_no_int8_products(make_config, monkeypatch):
    monkeypatch.setattr(type(torch.backends.quantized), "supported_engines", ["none"])
    has_tiles(monkeypatch, False)

    assert load_predictor(make_config(**{"predictor.dtype": "auto"})).precision.name == "float32"


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_shared_runs_repeat_exactly_whoever_helps(make_config, dtype):
    config = make_config(**{"predictor.dtype": dtype})
    ahead, alone = PredictorAhead(load_predictor(config)), load_predictor(config)
    alone.share(SharedWork())  # with nobody
    cache, other_cache = ahead.new_cache(), alone.new_cache()
    for first in (0, 6):
        frames = frames_of(6, first=first)
        ahead.begin(frames, cache)
        ours, other = ahead.predict(frames, cache), alone.predict(frames, other_cache)
        assert np.array_equal(ours.depth, other.depth)
        assert np.array_equal(ours.T_submap_camera, other.T_submap_camera)


def test_a_shared_run_is_the_run_of_a_whole_chunk(make_config, predictor):
    shared = PredictorAhead(load_predictor(make_config()))
    ours, cache = shared.new_cache(), predictor.new_cache()
    for first in (0, 6):
        frames = frames_of(6, first=first)
        shared.begin(frames, ours)
        expected = predictor.predict(frames, cache)
        found = shared.predict(frames, ours)
        np.testing.assert_allclose(found.depth, expected.depth, rtol=1e-4)
        np.testing.assert_allclose(
            found.T_submap_camera, expected.T_submap_camera, rtol=1e-4, atol=1e-5
        )


def test_int8_changes_the_result_a_little_and_says_so(make_config, caplog):
    caplog.set_level("INFO")
    rounded = load_predictor(make_config(**{"predictor.dtype": "int8"}))
    assert "on cpu in int8" in caplog.text
    assert rounded.precision.name == "int8"  # as the node says it

    ours = rounded.predict(frames_of(3), rounded.new_cache())

    exact = load_predictor(make_config())
    expected = exact.predict(frames_of(3), exact.new_cache())
    assert not np.array_equal(ours.depth, expected.depth)
    np.testing.assert_allclose(ours.depth, expected.depth, rtol=0.2)
