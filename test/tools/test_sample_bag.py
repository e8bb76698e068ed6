from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from flashvggt_ros.config import ImageConfig
from flashvggt_ros.mapping.map_io import read_tum
from flashvggt_ros.sensors.bag_reader import Bag
from flashvggt_ros.tools.bag_frames import BagFrames
from flashvggt_ros.tools.ground_truth import read_ground_truth
from flashvggt_ros.tools.sample_bag import Recipe, main, make_sample_bag
from flashvggt_ros.tools.sample_walk import SPEED

SMALL = Recipe(seconds=1.0, rate=5.0, width=96, height=64, seed=1)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    path = tmp_path_factory.mktemp("samples") / "sample"
    assert make_sample_bag(path, SMALL)
    return path


def frames_of(path):
    with Bag(path) as bag:
        frames = BagFrames(bag, bag.choose_image_topics(), ImageConfig())
        images = list(frames)
        assert not frames.rejected
        assert not frames.rejected_camera_info
    return images


def test_the_bag_has_textured_images_with_a_calibration(sample):
    frames = frames_of(sample)
    assert len(frames) == 5
    assert all(frame.image.shape == (64, 96, 3) for frame in frames)
    assert all(frame.image.std() > 4 for frame in frames)
    assert frames[0].calibration.pinhole.fx == pytest.approx(48 / np.tan(np.radians(34.5)))
    assert np.diff([frame.stamp_ns for frame in frames]).tolist() == [200_000_000] * 4


def test_humble_reads_the_bag(sample):
    """Its rosbag2 takes the offers of publishers as text only; and MCAP by a package of its own."""
    metadata = yaml.safe_load((sample / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert metadata["version"] <= 8 and metadata["storage_identifier"] == "mcap"
    for topic in metadata["topics_with_message_count"]:
        assert isinstance(topic["topic_metadata"]["offered_qos_profiles"], str)
    package = Path(__file__).resolve().parents[2] / "package.xml"
    assert "<exec_depend>rosbag2_storage_mcap</exec_depend>" in package.read_text()


def test_the_truth_in_the_bag_and_beside_it_are_one(sample):
    inside = read_ground_truth(f"{sample}:/ground_truth/pose")
    stamps, poses = read_tum(sample / "groundtruth.tum")
    assert stamps == inside.stamps_ns == [frame.stamp_ns for frame in frames_of(sample)]
    assert poses == pytest.approx(inside.T_world_camera, abs=1e-9)
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    assert steps == pytest.approx(SPEED / SMALL.rate, rel=0.1)


def test_the_camera_is_upright_and_turns_slowly(sample):
    poses = read_tum(sample / "groundtruth.tum")[1]
    assert (poses[:, 2, 1] < -0.9).all()  # image rows run down
    turns = np.diff(np.unwrap(np.arctan2(poses[:, 1, 2], poses[:, 0, 2])))
    assert (np.abs(turns) < 0.25).all()


def test_equal_arguments_keep_the_bag_and_others_replace_it(tmp_path, sample, capsys):
    path = tmp_path / "again"
    path.mkdir()
    (path / "sample.json").write_text('{"seed": 2}')
    (path / "old.mcap").write_bytes(b"of other arguments")
    arguments = ["--output", str(path), "--seconds", "1", "--rate", "5", "--size", "96x64",
                 "--seed"]
    assert main([*arguments, "1"]) == 0
    assert "rendered" in capsys.readouterr().out
    assert main([*arguments, "1"]) == 0
    assert "there already" in capsys.readouterr().out
    for mine, other in zip(frames_of(path), frames_of(sample), strict=True):
        assert (mine.image == other.image).all()
    assert not (path / "old.mcap").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["again"]


@pytest.mark.parametrize("name", ["", ".", "..", "sub/.."])
def test_a_folder_without_a_name_of_its_own_is_refused(tmp_path, capsys, monkeypatch, name):
    (tmp_path / "here/sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here/sub")
    assert main(["--output", name]) == 2
    assert "is no name of a new folder" in capsys.readouterr().err


def test_a_folder_of_something_else_is_spared(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert main(["--output", str(tmp_path)]) == 2
    assert "is no sample bag" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--size", "huge"], "not of the form 640x480"), (["--rate", "0"], "rate is 0.0"),
     (["--size", "8x8"], "width is 8: it must be within 64 to 1920"),
     (["--fov", "180"], "fov_deg is 180.0: it must be within 20 to 120")],
)
def test_what_cannot_be_rendered_is_refused_with_the_limit(tmp_path, capsys, arguments, words):
    assert main(["--output", str(tmp_path / "bag"), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_rendering_that_is_stopped_says_so_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    def stop(_image):
        raise KeyboardInterrupt

    monkeypatch.setattr("flashvggt_ros.tools.sample_bag._jpeg", stop)
    words = ["--output", str(tmp_path / "bag"), "--seconds", "1", "--size", "96x64"]
    assert main(words) == 130
    assert "stopped, nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_bag_whose_recipe_is_damaged_is_made_anew(tmp_path):
    recipe = replace(SMALL, seconds=0.4)
    assert make_sample_bag(tmp_path / "bag", recipe)
    (tmp_path / "bag/sample.json").write_text("{")
    assert make_sample_bag(tmp_path / "bag", recipe)
    assert not make_sample_bag(tmp_path / "bag", recipe)


def test_what_lies_in_another_sample_bag_is_not_removed_with_it(tmp_path):
    recipe = replace(SMALL, seconds=0.4)
    make_sample_bag(tmp_path / "bag", recipe)
    (tmp_path / "bag/run").mkdir()
    assert not make_sample_bag(tmp_path / "bag", recipe)
    with pytest.raises(ValueError, match=r"holds other files, too \(run\): name a new folder"):
        make_sample_bag(tmp_path / "bag", replace(recipe, seed=2))
    assert (tmp_path / "bag/run").is_dir()
