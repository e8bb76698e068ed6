import re

import numpy as np
import pytest
from recorded_bag import (
    camera_info,
    compressed_image,
    forget_definitions,
    pose_stamped,
    raw_image,
    record,
    write_bag,
)

from flashvggt_ros.config import ImageConfig
from flashvggt_ros.sensors.bag_reader import Bag, BagError
from flashvggt_ros.sensors.intake import CameraIntake
from flashvggt_ros.worlds import make_world, walk

WORLD = make_world(walk(4))
RAW, COMPRESSED = "/camera/image_raw", "/camera/image_raw/compressed"


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_images_come_out_as_they_were_recorded(tmp_path, storage, is_compressed):
    path = record(tmp_path / "bag", WORLD.frames, storage=storage, is_compressed=is_compressed)
    with Bag(path) as bag:
        (topic,) = bag.choose_image_topics()
        intake = CameraIntake(topic.name, ImageConfig())
        frames = [intake.frame(bag.decode(m)) for m in bag.messages([topic.name])]
    assert topic.camera_info == "/camera/camera_info"
    assert [f.stamp_ns for f in frames] == [f.stamp_ns for f in WORLD.frames]
    worst = 3 if is_compressed else 0
    for frame, truth in zip(frames, WORLD.frames, strict=True):
        assert np.abs(frame.image.astype(int) - truth.image).mean() <= worst


def test_a_bag_without_message_definitions_reads_alike(tmp_path):
    path = forget_definitions(record(tmp_path / "bag", WORLD.frames, storage="sqlite3"))
    with Bag(path) as bag:
        messages = [bag.decode(m) for m in bag.messages([RAW])]
    assert [m.width for m in messages] == [160] * 4


@pytest.mark.parametrize(("storage", "suffix"), [("mcap", ".mcap"), ("sqlite3", ".db3")])
def test_a_single_file_is_a_bag_too(tmp_path, storage, suffix):
    path = record(tmp_path / "bag", WORLD.frames, storage=storage)
    with Bag(path / f"bag{suffix}") as bag:
        assert len(list(bag.messages([RAW]))) == 4


def test_a_folder_without_metadata_reads_its_only_file(tmp_path):
    path = record(tmp_path / "bag", WORLD.frames)
    (path / "metadata.yaml").unlink()
    with Bag(path) as bag:
        assert len(list(bag.messages([RAW]))) == 4


def test_messages_come_in_the_order_of_recording(tmp_path):
    pairs = [(RAW, 50, raw_image(WORLD.frames[0])), ("/pose", 20, pose_stamped(np.eye(4), 7)),
             (RAW, 10, raw_image(WORLD.frames[1])), ("/pose", 60, pose_stamped(np.eye(4), 9))]
    with Bag(write_bag(tmp_path / "bag", pairs)) as bag:
        assert [m.log_ns for m in bag.messages()] == [10, 20, 50, 60]


def test_compressed_depth_is_no_image_to_choose_from(tmp_path):
    frame = WORLD.frames[0]
    messages = [(topic, frame.stamp_ns, compressed_image(frame))
                for topic in ("/depth/image_raw/compressedDepth", COMPRESSED)]
    with Bag(write_bag(tmp_path / "bag", messages)) as bag:
        assert [topic.name for topic in bag.choose_image_topics()] == [COMPRESSED]
        assert [topic.is_image for topic in bag.topics] == [topic.name == COMPRESSED
                                                            for topic in bag.topics]


def test_several_image_topics_are_listed_in_the_error(tmp_path):
    frame = WORLD.frames[0]
    pairs = [("/left/image_raw", 1, raw_image(frame)), ("/right/image", 2, compressed_image(frame))]
    with Bag(write_bag(tmp_path / "bag", pairs)) as bag:
        with pytest.raises(BagError) as error:
            bag.choose_image_topics()
        assert "/left/image_raw (Image, 1 messages)" in str(error.value)
        assert "/right/image (CompressedImage, 1 messages)" in str(error.value)
        assert "--image-topic" in str(error.value)
        chosen = bag.choose_image_topics(["right/image", "/left/image_raw"])
        assert [topic.name for topic in chosen] == ["/right/image", "/left/image_raw"]
        with pytest.raises(BagError, match=r"no images on '/middle'[\s\S]*/left/image_raw"):
            bag.choose_image_topics(["/middle"])
        with pytest.raises(BagError, match="named twice"):
            bag.choose_image_topics(["/right/image", "right/image"])


def test_the_base_name_of_a_camera_stands_for_its_compressed_topic(tmp_path):
    with Bag(record(tmp_path / "bag", WORLD.frames, is_compressed=True)) as bag:
        assert bag.choose_image_topics([RAW])[0].name == COMPRESSED


def test_a_bag_without_images_says_so(tmp_path):
    pairs = [("/camera/camera_info", 1, camera_info(WORLD.frames[0]))]
    with Bag(write_bag(tmp_path / "bag", pairs)) as bag, pytest.raises(BagError, match="no images"):
        bag.choose_image_topics()


def test_a_missing_bag_is_named(tmp_path):
    with pytest.raises(BagError, match=r"there is no bag at .*nowhere"):
        Bag(tmp_path / "nowhere")


@pytest.mark.parametrize("suffix", [".mcap", ".db3", ".txt"])
@pytest.mark.parametrize("content", [b"", b"not a bag at all", b"\x89MCAP0\r\n" + bytes(100)])
def test_a_file_that_is_no_bag_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    with pytest.raises(BagError, match="not a readable rosbag2"):
        Bag(path)


def test_a_bag_of_ros_1_is_refused_with_the_command_that_converts_it(tmp_path):
    path = tmp_path / "walk.bag"
    path.write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(BagError, match=r"ROS 1: .*rosbags-convert --src \S*walk\.bag --dst"):
        Bag(path)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(BagError, match=r"no metadata\.yaml"):
        Bag(tmp_path)


def test_a_recording_that_was_cut_off_is_refused_with_the_remedy(tmp_path):
    (file,) = record(tmp_path / "bag", WORLD.frames).glob("*.mcap")
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(BagError, match="mcap recover"):
        Bag(file)


def test_damage_inside_a_database_is_a_bag_error_with_the_remedy(tmp_path):
    path = record(tmp_path / "bag", WORLD.frames, storage="sqlite3")
    (file,) = path.glob("*.db3")
    data = bytearray(file.read_bytes())
    data[len(data) // 3 : 2 * len(data) // 3] = b"\xff" * (2 * len(data) // 3 - len(data) // 3)
    file.write_bytes(data)
    with pytest.raises(BagError, match=r"sqlite3 OLD\.db3 \.dump \|"), Bag(path) as bag:
        list(bag.messages())


def test_what_follows_the_damage_in_a_database_is_counted_as_lost(tmp_path):
    path = record(tmp_path / "bag", WORLD.frames, storage="sqlite3")
    (file,) = path.glob("*.db3")
    data = file.read_bytes()
    middle = len(data) // 8192 * 4096
    file.write_bytes(data[:middle] + bytes(4096) + data[middle + 4096 :])
    with Bag(path) as bag:
        messages = []
        with pytest.raises(BagError, match="is damaged"):
            messages.extend(message.log_ns for message in bag.messages([RAW]))
        assert 0 < len(messages) < 4
        assert bag.lost[RAW] == 4 - len(messages)


def test_bytes_that_are_no_such_message_are_a_value_error(tmp_path):
    with Bag(record(tmp_path / "bag", WORLD.frames)) as bag:
        message = next(m for m in bag.messages([RAW]))
        broken = type(message)(message.topic, message.type, message.log_ns, message.raw[:40])
        with pytest.raises(ValueError, match="not a sensor_msgs/msg/Image"):
            bag.decode(broken)


@pytest.mark.parametrize("line", ["nanoseconds_since_epoch", "message_count"])
def test_numbers_missing_from_the_metadata_are_a_bag_error(tmp_path, line):
    path = record(tmp_path / "bag", WORLD.frames)
    metadata = path / "metadata.yaml"
    text = metadata.read_text()
    metadata.write_text(re.sub(rf"({line}:) \d+", r"\1", text))
    assert metadata.read_text() != text
    with pytest.raises(BagError, match="bag"), Bag(path) as bag:
        list(bag.messages())
