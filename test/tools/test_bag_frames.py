"""Which images of a bag are frames."""

from recorded_bag import raw_image, write_bag

from flashvggt_ros.config import ImageConfig
from flashvggt_ros.frame import Frame
from flashvggt_ros.sensors.bag_reader import Bag
from flashvggt_ros.tools.bag_frames import BagFrames
from flashvggt_ros.worlds import make_world, walk

IMAGES = "/camera/image_raw"
SECOND = 1_000_000_000
BEGIN = 1_700_000_000 * SECOND
PAUSES = (0, 1, 2, 62, 63, 64, 664, 665)  # when images were recorded [s]
FRAME = make_world(walk(1)).frames[0]


def recorded(stamp_ns, log_ns):
    frame = Frame(stamp_ns, FRAME.camera, FRAME.image, FRAME.calibration)
    return (IMAGES, log_ns, raw_image(frame))


def read(path, messages):
    """The stamps of a bag's frames, and what was refused."""
    with Bag(write_bag(path / "bag", messages)) as bag:
        frames = BagFrames(bag, bag.image_topics, ImageConfig())
        return [frame.stamp_ns for frame in frames if frame], frames.rejected


def test_a_recording_that_was_paused_loses_no_image_and_a_wild_stamp_only_its_own(tmp_path):
    logs = [BEGIN + seconds * SECOND for seconds in PAUSES]
    stamps = [log - 3600 * SECOND for log in logs]  # the camera's clock is late by an hour
    messages = [recorded(*times) for times in zip(stamps, logs, strict=True)]
    messages.append(recorded(stamps[-1] + 60 * SECOND, logs[-1] - 1))
    assert read(tmp_path, sorted(messages, key=lambda each: each[1])) == (
        stamps, {"stamp_ahead": 1}
    )


def test_images_all_recorded_at_one_time_still_need_five_in_a_row_to_jump(tmp_path):
    stamps = [BEGIN, *(BEGIN + 3600 * SECOND + n for n in range(6))]
    messages = [recorded(stamp, BEGIN + n) for n, stamp in enumerate(stamps)]
    assert read(tmp_path, messages) == ([BEGIN, *stamps[-2:]], {"stamp_ahead": 4})
