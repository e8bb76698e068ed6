"""The frames of a bag, in the order of recording, with every image accounted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress

from flashvggt_ros.config import ImageConfig
from flashvggt_ros.frame import Frame
from flashvggt_ros.sensors.bag_reader import Bag, BagMessage, ImageTopic
from flashvggt_ros.sensors.intake import CameraIntake, Reduction, RejectedInput, unreduced

UNREADABLE = "malformed"  # the intake's cause for messages whose fields make no sense


class BagFrames:
    """Iterates over a bag's images once: a Frame each, or None for an image that was refused.

    ``read`` counts the images so far and ``rejected`` those refused, by cause; ``log_ns`` is when
    the newest was recorded [ns]. Each camera starts with its first camera_info, which live arrives
    before the first images too.
    """

    def __init__(
        self,
        bag: Bag,
        topics: Sequence[ImageTopic],
        limits: ImageConfig,
        info_topics: Sequence[str] = (),
        reduction: Reduction = unreduced,
    ) -> None:
        """``info_topics``: the camera_info topic of each of ``topics``; empty: their siblings.

        ``reduction`` raises ValueError for images that cannot be used.
        """
        self.read = 0
        self.log_ns = 0
        self.rejected: Counter[str] = Counter()
        self._bag = bag
        self._intakes = {
            topic.name: CameraIntake(topic.name, limits, reduction=reduction) for topic in topics
        }
        named = info_topics or [topic.camera_info for topic in topics]
        self._infos: dict[str, list[CameraIntake]] = {}
        for intake, name in zip(self._intakes.values(), named, strict=True):
            if name:
                self._infos.setdefault("/" + name.strip("/"), []).append(intake)

    @property
    def lost(self) -> int:
        """How many images the bag holds that could not be read by now, because it is damaged."""
        return sum(self._bag.lost[topic] for topic in self._intakes)

    @property
    def rejected_camera_info(self) -> Counter[str]:
        """How often a camera_info could not be used, by cause."""
        causes = sum((intake.rejected for intake in self._intakes.values()), Counter[str]())
        return causes - self.rejected

    def __iter__(self) -> Iterator[Frame | None]:
        used = self._take_first_camera_info()
        for message in self._bag.messages({*self._intakes, *self._infos}):
            if message.topic in self._intakes:
                self.read += 1
                self.log_ns = message.log_ns
                yield self._frame(message)
            elif message.topic in used:
                used.discard(message.topic)
            else:
                self._set_camera_info(message)

    def _take_first_camera_info(self) -> set[str]:
        """Read the first message of each camera_info topic; return those topics."""
        waiting = set(self._infos)
        for message in self._bag.messages(waiting) if waiting else ():
            if message.topic in waiting:
                waiting.discard(message.topic)
                self._set_camera_info(message)
            if not waiting:
                break
        return set(self._infos) - waiting

    def _frame(self, message: BagMessage) -> Frame | None:
        intake = self._intakes[message.topic]
        intake.order.recording.hear(message.log_ns)
        try:
            return intake.frame(self._bag.decode(message))
        except RejectedInput as error:
            self.rejected[error.cause] += 1
        except ValueError:
            self.rejected[UNREADABLE] += 1
        return None

    def _set_camera_info(self, message: BagMessage) -> None:
        intakes = self._infos[message.topic]
        try:
            info = self._bag.decode(message)
        except ValueError as error:
            for intake in intakes:
                intake.refuse(RejectedInput(UNREADABLE, str(error)))
            return
        for intake in intakes:
            with suppress(RejectedInput):  # the intake counts and says it
                intake.set_camera_info(info)
