import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from flashvggt_ros.config import build_config
from flashvggt_ros.sensors.bag_reader import Bag
from flashvggt_ros.tools.convert import FORMATS, main
from flashvggt_ros.tools.ground_truth import read_ground_truth
from flashvggt_ros.tools.run_config import read_parameter_file

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "config/recipes"


@pytest.fixture
def sequence(tmp_path):
    folder = tmp_path / "seq-01"
    folder.mkdir()
    for number in range(3):
        image = np.full((48, 64, 3), 40 * number, np.uint8)
        assert cv2.imwrite(str(folder / f"frame-{number:06d}.color.png"), image)
        T = np.eye(4)
        T[0, 3] = number
        np.savetxt(folder / f"frame-{number:06d}.pose.txt", T)
    return folder


def test_a_bag_is_written_whole_or_not_at_all(sequence, tmp_path, capsys):
    words = ["seven_scenes", str(sequence), "--output", str(tmp_path / "bags/seq")]
    broken = sequence / "frame-000002.color.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-20])
    assert main(words) == 2
    assert "frame-000002.color.png: the PNG ends after" in capsys.readouterr().err
    assert list((tmp_path / "bags").iterdir()) == []
    broken.write_bytes(whole)
    assert main(words) == 0
    assert [entry.name for entry in (tmp_path / "bags").iterdir()] == ["seq"]
    assert main(words) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_conversion_that_is_killed_half_way_leaves_no_bag_of_that_name(sequence, tmp_path):
    image = sequence / "frame-000002.color.png"
    content = image.read_bytes()
    image.unlink()
    os.mkfifo(image)  # the converter waits here, two images written
    words = ["seven_scenes", str(sequence), "--output", str(tmp_path / "bags/seq")]
    command = [sys.executable, "-m", "flashvggt_ros.tools.convert", *words]
    with subprocess.Popen(command, cwd=ROOT) as converter:
        writer = open_for_reader(image, converter)
        begun = [path for path in (tmp_path / "bags").rglob("*") if path.is_file()]
        converter.kill()
    os.close(writer)
    assert begun
    assert not (tmp_path / "bags/seq").exists()
    image.unlink()
    image.write_bytes(content)
    assert main(words) == 0
    with Bag(tmp_path / "bags/seq") as bag:
        assert len(list(bag.messages(["/camera/image_raw/compressed"]))) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_conversion_that_is_asked_to_end_leaves_nothing_behind(sequence, tmp_path, number):
    image = sequence / "frame-000002.color.png"
    image.unlink()
    os.mkfifo(image)
    words = ["seven_scenes", str(sequence), "--output", str(tmp_path / "bags/seq")]
    command = [sys.executable, "-m", "flashvggt_ros.tools.convert", *words]
    with subprocess.Popen(command, cwd=ROOT) as converter:
        writer = open_for_reader(image, converter)
        converter.send_signal(number)
    os.close(writer)
    assert converter.returncode == 130
    assert not any((tmp_path / "bags").iterdir())


def open_for_reader(pipe, process):
    """Open a pipe for writing as soon as the process reads it."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:  # which says that nobody reads yet
                raise
            time.sleep(0.02)
    raise AssertionError(f"the converter did not come to {pipe}")


def test_the_bag_and_the_file_in_it_have_the_same_truth(sequence, tmp_path):
    bag = tmp_path / "bag"
    assert main(["seven_scenes", str(sequence), "--output", str(bag)]) == 0
    of_file = read_ground_truth(str(bag / "groundtruth.tum"))
    of_topic = read_ground_truth(f"{bag}:/ground_truth/pose")
    assert of_file.stamps_ns == of_topic.stamps_ns
    assert of_file.T_world_camera == pytest.approx(of_topic.T_world_camera, abs=1e-9)


def test_jpeg_images_stay_jpeg_and_others_are_refused(sequence, tmp_path, capsys):
    image = sequence / "frame-000000.color.png"
    picture = cv2.imread(str(image))
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    image.write_bytes(jpeg)
    assert main(["seven_scenes", str(sequence), "--output", str(tmp_path / "bag")]) == 0
    with Bag(tmp_path / "bag") as bag:
        first = bag.decode(next(bag.messages(["/camera/image_raw/compressed"])))
    assert first.format == "jpeg"
    assert first.data.tobytes() == jpeg
    image.write_bytes(b"BM" + bytes(100))
    assert main(["seven_scenes", str(sequence), "--output", str(tmp_path / "other")]) == 2
    assert "is neither JPEG nor PNG" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_named(tmp_path, capsys):
    assert main(["euroc", str(tmp_path / "V9"), "--output", str(tmp_path / "bag")]) == 2
    assert f"there is no folder {tmp_path / 'V9'}" in capsys.readouterr().err
    (tmp_path / "V9.zip").touch()
    assert main(["euroc", str(tmp_path / "V9.zip"), "--output", str(tmp_path / "bag")]) == 2
    assert "V9.zip: it is a file; unpack it, and name the folder" in capsys.readouterr().err


@pytest.mark.parametrize("form", FORMATS)
def test_each_format_has_a_recipe_that_the_node_takes_and_that_names_its_topics(form):
    values = read_parameter_file(RECIPES / f"{form}.yaml")
    config = build_config(values)
    assert config.image_topics == ("/camera/image_raw/compressed",)
    assert config.image.camera_info_topics == ("/camera/camera_info",)
    text = (RECIPES / f"{form}.yaml").read_text()
    assert f"flashvggt_convert {form} " in text
    assert f"--params-file config/recipes/{form}.yaml" in text


@pytest.mark.parametrize("form", FORMATS)
def test_the_pages_on_bags_and_tuning_have_the_commands_of_each_format(form):
    recipe = f"--params-file config/recipes/{form}.yaml"
    bags = (ROOT / "docs/bags.md").read_text()
    assert re.search(rf"^flashvggt_convert {form} .+ --output bags/", bags, re.MULTILINE)
    assert re.search(rf"^flashvggt_replay bags/.+ {re.escape(recipe)}$", bags, re.MULTILINE)
    tuning = (ROOT / "docs/tuning.md").read_text()
    assert re.search(rf"`flashvggt_evaluate bags/.+ {re.escape(recipe)}`", tuning)


def test_there_is_no_recipe_of_another_name():
    assert {path.stem for path in RECIPES.glob("*.yaml")} == set(FORMATS)
