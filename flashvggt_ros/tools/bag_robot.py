"""The robot of a recording: what the node would have heard when each image came."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import Config
from flashvggt_ros.sensors.bag_reader import Bag, BagError, BagMessage
from flashvggt_ros.sensors.rejected_input import RejectedInput
from flashvggt_ros.sensors.sensed_robot import SensedRobot
from flashvggt_ros.sensors.stamped_track import KEPT_NS
from flashvggt_ros.sensors.transform_buffer import TransformBuffer
from flashvggt_ros.sensors.transform_order import TransformOrder

logger = logging.getLogger(__name__)

TF, TF_STATIC = "/tf", "/tf_static"


class BagRobot(SensedRobot):
    """Reads the topics that ``config.robot`` names, /tf and /tf_static, in step with the images.

    ``read_until`` is called with the time at which an image was recorded; reading goes on until
    ``tf.lookup_timeout`` after it, for the node waits as long. /tf_static is read whole before.
    Topics that the bag lacks are said and not used; ``read`` counts the messages of the others.
    ``read_until`` raises BagError where the bag is damaged.
    """

    def __init__(self, bag: Bag, config: Config) -> None:
        self.read: Counter[str] = Counter()
        self._transforms = TransformBuffer(KEPT_NS)
        self._order = TransformOrder(self._transforms.clear)
        super().__init__(config, self._look_up)
        self._ahead_ns = round(config.tf.lookup_timeout * 1e9)
        self._bag = Bag(bag.path)  # of its own: two readers of one file would move each other
        recorded = {topic.name for topic in bag.topics if topic.messages}
        self._names = {"/" + topic.strip("/"): topic for topic in self.topics}
        for name in sorted(set(self._names) - recorded):
            logger.warning("%s has no %s: it is not used", bag.path, name)
        wanted = {*self._names} & recorded
        if self.needs_transforms:
            wanted |= {TF} & recorded
            self._take_static(TF_STATIC in recorded)
        self._messages: Iterator[BagMessage] = self._bag.messages(wanted) if wanted else iter(())
        self._next: BagMessage | None = None

    @property
    def lost(self) -> Counter[str]:
        """How many messages of each topic could not be read by now, because the bag is damaged."""
        return +self._bag.lost

    def read_until(self, log_ns: int) -> None:
        """Take what was recorded until then, and while the node would still wait."""
        self._next = self._next or next(self._messages, None)
        while self._next is not None and self._next.log_ns <= log_ns + self._ahead_ns:
            self._take(self._next)
            self._next = next(self._messages, None)

    def close(self) -> None:
        """Close the files."""
        self._bag.close()

    def _take_static(self, is_recorded: bool) -> None:
        try:
            for message in self._bag.messages({TF_STATIC}) if is_recorded else ():
                self._take(message)
        except BagError as error:  # what can be read of the images is mapped all the same
            logger.warning("%s; of %s only what comes before is known", error, TF_STATIC)

    def _take(self, message: BagMessage) -> None:
        self.read[message.topic] += 1
        topic = self._names.get(message.topic, message.topic)
        try:
            decoded = self._bag.decode(message)
        except ValueError as error:
            if topic in self.topics:
                self.refuse(topic, RejectedInput("malformed", str(error)))
            else:
                logger.warning("%s: dropped: %s", topic, error)
            return
        if topic in self.topics:
            self.hear_recording(topic, message.log_ns)
            self.take(topic, decoded)
            return
        is_static = topic == TF_STATIC
        self._order.recording.hear(message.log_ns)
        for transform in decoded.transforms:
            if is_static or self._order.accepts(transform):
                self._transforms.add(transform, is_static=is_static)

    def _look_up(self, target: str, source: str, stamp_ns: int) -> NDArray[np.float64]:
        return self._transforms.lookup(target, source, stamp_ns)[0]
