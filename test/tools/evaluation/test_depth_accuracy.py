import numpy as np
import pytest
from recorded_bag import camera_info, depth_image, raw_image, write_bag

from flashvggt_ros.config import build_config
from flashvggt_ros.geometry.camera import Calibration, Pinhole
from flashvggt_ros.model.checkpoint import CheckpointCard
from flashvggt_ros.sensors.bag_reader import Bag
from flashvggt_ros.tools.evaluation.depth_accuracy import KeyframeDepth, compare, measure_depth
from flashvggt_ros.tools.replay import Replay
from flashvggt_ros.tools.run_folder import RunFolder
from flashvggt_ros.worlds import TruthPredictor, make_world, walk

IMAGES, DEPTH = "/camera/image_raw", "/camera/depth/image_raw"
CARD = CheckpointCard("truth", "0" * 64, is_trained=True, parameters=0, revision="")
LATE_NS = 5_000_000  # of each depth image


@pytest.fixture(scope="module")
def world():
    return make_world(walk(12))


def record(path, world, factor):
    """A bag whose depth images say ``factor`` times the truth."""
    messages = []
    for number, frame in enumerate(world.frames):
        depth = factor * world.depth_images([number])[0]
        messages += [("/camera/camera_info", frame.stamp_ns, camera_info(frame)),
                     (IMAGES, frame.stamp_ns, raw_image(frame)),
                     (DEPTH, frame.stamp_ns + LATE_NS,
                      depth_image(depth, frame.stamp_ns + LATE_NS, frame.camera))]
    return write_bag(path, messages)


@pytest.fixture(scope="module")
def run(tmp_path_factory, world):
    """A perfect run in a scale of its own, and how many meters a unit of its map is."""
    folder = tmp_path_factory.mktemp("run")
    bag = record(folder / "bag", world, 1.0)
    config = build_config({"image_topics": [IMAGES], "bundle_adjustment.enabled": False})
    with Bag(bag) as content:
        replay = Replay(content, config, TruthPredictor(world), CARD)
        replay.run()
        output = RunFolder(folder / "out")
        output.create()
        report = replay.write(output)
    steps = np.linalg.norm(np.diff(world.T_world_camera[:, :3, 3], axis=0), axis=1)
    return output.path, bag, steps.sum() / report["path_length_m"]


def test_true_depth_in_the_scale_of_the_path_has_no_error(run):
    folder, bag, factor = run
    found = measure_depth(folder, bag, factor)
    assert found["images"] > 8
    assert found["abs_rel"] < 0.01  # pixels of thinned images, and millimeters
    assert found["within_25_percent"] > 0.99


def test_depth_that_is_a_tenth_too_large_is_said_to_be_and_its_shape_is_right(
    tmp_path, world, run
):
    folder, _, factor = run
    bag = record(tmp_path / "bag", world, 1 / 1.1)
    found = measure_depth(folder, bag, factor)
    assert found["abs_rel"] == pytest.approx(0.1, abs=0.01)
    assert found["abs_rel_median_scaled"] < 0.01


def test_without_depth_images_or_a_map_there_is_nothing_to_say(tmp_path, world, run):
    frame = world.frames[0]
    bare = write_bag(tmp_path / "bag", [(IMAGES, frame.stamp_ns, raw_image(frame))])
    assert measure_depth(run[0], bare, 1.0) == {}
    assert measure_depth(tmp_path, run[1], 1.0) == {}


def test_lens_distortion_moves_pixels_to_where_the_truth_has_them():
    pinhole = Pinhole(100.0, 100.0, 79.5, 59.5, 160, 120)
    u = np.arange(160)
    truth = np.tile((1 + u / 100).astype(np.float32), (120, 1))  # says its column
    keyframe = KeyframeDepth(0, "camera", np.ones((120, 160)), pinhole)
    straight = compare(keyframe, truth, Calibration(pinhole, "none", ()))[1].reshape(120, 160)
    assert straight[60, 20] == pytest.approx(1.2)
    bent = Calibration(pinhole, "plumb_bob", (-0.1, 0.0, 0.0, 0.0, 0.0))
    x = (20 - 79.5) / 100
    column = 79.5 + 100 * x * (1 - 0.1 * x**2)
    found = compare(keyframe, truth, bent)[1].reshape(120, 160)[60, 20]
    assert found == pytest.approx(1 + round(column) / 100, abs=0.011)
    assert found > 1.215
