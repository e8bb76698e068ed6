"""The queue in front of the worker."""

import numpy as np
import pytest

from flashvggt_ros.ros.frame_ledger import FrameLedger
from flashvggt_ros.ros.work_queue import Arrival, Job, WorkQueue
from flashvggt_ros.sensors.intake import CheckedImage
from flashvggt_ros.sensors.rejected_input import Rejections


def image(stamp_ns: int, camera: str = "camera", nbytes: int = 12) -> CheckedImage:
    def decode() -> np.ndarray:
        pytest.fail("what waits is not decoded")

    return CheckedImage(stamp_ns, camera, nbytes, None, decode, Rejections("/image"))


def drain(queue: WorkQueue) -> list:
    entries = []
    while (entry := queue.get(0.0)) is not None:
        entries.append(entry.image.stamp_ns if isinstance(entry, Arrival) else "job")
    return entries


def test_a_full_queue_is_thinned_evenly_and_the_newest_image_is_kept() -> None:
    queue = WorkQueue(8)
    dropped = [queue.put_image(image(stamp)) for stamp in range(1, 10)]
    assert dropped == [0] * 8 + [4]
    assert drain(queue) == [1, 3, 5, 7, 9]


def test_thinning_takes_every_second_image_of_each_camera() -> None:
    queue = WorkQueue(8)
    for stamp in range(1, 10):
        queue.put_image(image(stamp, "left" if stamp % 2 else "right"))
    assert drain(queue) == [1, 2, 5, 6, 9]


def test_the_oldest_image_goes_where_each_camera_has_only_one_waiting() -> None:
    queue = WorkQueue(2)
    queue.put_image(image(1, "left"))
    queue.put_image(image(2, "right"))
    assert queue.put_image(image(3, "left")) == 1
    assert drain(queue) == [2, 3]


def test_large_images_are_thinned_as_their_bytes_reach_the_bound() -> None:
    queue = WorkQueue(8, max_bytes=50)
    assert [queue.put_image(image(stamp, nbytes=10)) for stamp in range(1, 7)] == [0] * 5 + [2]
    assert queue.put_image(image(7, nbytes=45)) == 4  # thinned until it has room
    assert drain(queue) == [7]
    assert queue.put_image(image(8, nbytes=99)) == 0  # one always may wait
    assert queue.put_image(image(9, nbytes=99)) == 1
    assert drain(queue) == [9]


def test_jobs_keep_their_place_and_are_never_dropped() -> None:
    queue = WorkQueue(4)
    for stamp in (1, 2):
        queue.put_image(image(stamp))
    queue.put_job(lambda slam: None)
    for stamp in (3, 4, 5):
        queue.put_image(image(stamp))
    assert drain(queue) == [1, "job", 3, 5]


def test_discarding_images_leaves_the_jobs() -> None:
    queue = WorkQueue(4)
    queue.put_image(image(1))
    queue.put_job(lambda slam: None)
    queue.put_image(image(2))
    assert queue.discard_images() == 2
    assert isinstance(queue.get(0.0), Job)
    assert queue.get(0.0) is None


def test_closing_cancels_the_jobs_that_wait_and_those_that_come() -> None:
    queue = WorkQueue(4)
    before = queue.put_job(lambda slam: None)
    queue.close()
    after = queue.put_job(lambda slam: None)
    assert before.cancelled() and after.cancelled()
    assert queue.get(None) is None


def test_the_ledger_keeps_its_balance() -> None:
    ledger = FrameLedger()
    ledger.add(received=5)
    ledger.add(used=1, gated=1)
    ledger.drop("paused")
    ledger.add(rejected=1)
    counts = ledger.counts
    assert counts.waiting == 1
    assert counts.received == (
        counts.used + counts.gated + counts.dropped + counts.rejected + counts.waiting
    )


def test_the_ledger_knows_why_each_image_was_dropped() -> None:
    ledger = FrameLedger()
    ledger.add(received=6)
    before = ledger.counts
    ledger.drop("queue_full", 3)
    ledger.drop("paused")
    ledger.drop("failed", 0)
    ledger.drop("queue_full")
    assert dict(ledger.counts.drops) == {"queue_full": 4, "paused": 1}
    assert (ledger.counts.dropped, before.dropped) == (5, 0)
    with pytest.raises(KeyError):
        ledger.drop("no reason")


def test_the_ledger_refuses_to_settle_more_than_was_received() -> None:
    ledger = FrameLedger()
    ledger.add(received=1)
    with pytest.raises(ValueError, match="more images settled"):
        ledger.add(used=2)
    assert ledger.counts.waiting == 1
