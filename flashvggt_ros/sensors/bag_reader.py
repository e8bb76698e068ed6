"""Reads ROS 2 bags (MCAP, sqlite3) through the rosbags library; no ROS installation is needed.

It stands here, not in tools, because the player in ``ros`` and the replay in ``tools`` both read
bags and may not import each other. A damaged file makes rosbags raise whatever its parsing trips
over (OverflowError, apsw.Error, AssertionError ...): ``except Exception`` around its calls, and
around nothing else, turns that into an error that names the bag.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import Connection, ConnectionExtRosbag2
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from flashvggt_ros.home_paths import expanded
from flashvggt_ros.sensors.checked_reader import CheckedReader

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
DEPTH_TRANSPORT = "/compressedDepth"  # which has CompressedImage, too
CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"
STORAGE_SUFFIXES = (".mcap", ".db3")
ROS_1_SUFFIX = ".bag"

logger = logging.getLogger(__name__)


class BagError(ValueError):
    """A bag that is missing, unreadable or without the topics asked for; the text says which."""


@dataclass(frozen=True, slots=True)
class BagTopic:
    """One topic of a bag; ``is_latched`` when it was recorded as transient local."""

    name: str
    type: str
    messages: int
    is_latched: bool

    @property
    def is_image(self) -> bool:
        """Whether its messages are images to map, as far as type and name tell."""
        return self.type in IMAGE_TYPES and not self.name.endswith(DEPTH_TRANSPORT)


@dataclass(frozen=True, slots=True)
class ImageTopic:
    """One image topic; ``camera_info`` is its sibling topic, empty where the bag has none."""

    name: str
    type: str
    messages: int
    camera_info: str

    def __str__(self) -> str:
        return f"{self.name} ({self.type.rpartition('/')[2]}, {self.messages} messages)"


@dataclass(frozen=True, slots=True)
class BagMessage:
    """One recorded message: ``raw`` is its CDR, ``log_ns`` when it was recorded [ns]."""

    topic: str
    type: str
    log_ns: int
    raw: bytes


class Bag:
    """An open bag: a folder with metadata.yaml, or a single .mcap or .db3 file.

    Raises BagError when it cannot be read. Messages are decoded with the standard message
    definitions, so bags that embed none (sqlite3 before ROS 2 Iron) read alike. ``lost`` counts
    what was recorded and could not be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = expanded(path)
        self._reader = _open(self.path)
        self._typestore = get_typestore(Stores.LATEST)
        self._missing: dict[str, int] = {}  # of topics that were read to the end
        try:
            self.topics, self.start_ns, self.end_ns = _contents(self._reader)
        except Exception as error:
            self._reader.close()
            raise BagError(f"{self.path} is damaged: {_reason(error)}") from error

    @property
    def image_topics(self) -> tuple[ImageTopic, ...]:
        """All image topics with messages, by name."""
        return tuple(
            ImageTopic(topic.name, topic.type, topic.messages, self._camera_info(topic.name))
            for topic in self.topics
            if topic.is_image and topic.messages
        )

    def choose_image_topics(self, names: Sequence[str] = ()) -> tuple[ImageTopic, ...]:
        """Return the named image topics, in that order, or the only one there is.

        A name may lack its leading slash, and a camera's base name stands for its compressed
        topic where there is no raw one. Raises BagError that lists the bag's image topics.
        """
        known = {topic.name: topic for topic in self.image_topics}
        listing = "".join(f"\n  {topic}" for topic in known.values()) or " none"
        if not names:
            if len(known) == 1:
                return tuple(known.values())
            reason = "several image topics: choose with --image-topic" if known else "no images"
            raise BagError(f"{self.path} has {reason}; its image topics:{listing}")
        chosen = []
        for name in names:
            full = "/" + name.strip("/")
            topic = known.get(full) or known.get(f"{full}/compressed")
            if topic is None:
                raise BagError(f"{self.path} has no images on '{name}'; its image topics:{listing}")
            chosen.append(topic)
        if len(set(chosen)) != len(chosen):
            raise BagError(f"an image topic is named twice: {', '.join(names)}")
        return tuple(chosen)

    @property
    def lost(self) -> Counter[str]:
        """How many messages of each topic could not be read by now, though they were recorded."""
        return Counter({**self._reader.lost, **self._missing})

    def messages(self, topics: Collection[str] = ()) -> Iterator[BagMessage]:
        """Yield the messages of ``topics`` (all when empty) in the order of recording.

        Messages of damaged chunks are left out. Raises BagError where the file is damaged so that
        reading cannot go on.
        """
        wanted = [
            connection
            for connection in self._reader.connections
            if not topics or connection.topic in topics
        ]
        if not wanted:
            return
        read = Counter({connection.topic: 0 for connection in wanted})
        try:
            for connection, log_ns, raw in self._reader.messages(wanted):
                read[connection.topic] += 1
                yield BagMessage(connection.topic, connection.msgtype, log_ns, bytes(raw))
        except Exception as error:
            self._compare(read)
            reason = f"{_reason(error)}{_remedy(self.path)}"
            raise BagError(f"{self.path} is damaged: {reason}") from error
        self._compare(read)
        for topic in sorted(read):
            if self._missing[topic]:
                logger.warning("%s: %d messages of %s could not be read", self.path,
                               self._missing[topic], topic)

    def decode(self, message: BagMessage) -> Any:
        """Return the message as an object with ROS field names; arrays are NumPy.

        Raises ValueError when the bytes are not such a message.
        """
        try:
            return self._typestore.deserialize_cdr(message.raw, message.type)
        except Exception as error:
            raise ValueError(f"not a {message.type}: {_reason(error)}") from error

    def close(self) -> None:
        """Close the files; ``lost`` stays."""
        self._missing = dict(self.lost)
        self._reader.close()

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _compare(self, read: Counter[str]) -> None:
        """Keep how many fewer messages of its topics were read than the bag says it has."""
        for topic in self.topics:
            if topic.name in read:
                self._missing[topic.name] = max(0, topic.messages - read[topic.name])

    def _camera_info(self, image_topic: str) -> str:
        """Find the camera_info beside an image topic, or a level above it for a transport.

        image_transport puts ``camera_info`` next to the base topic: /camera/image_raw/compressed
        belongs to /camera/camera_info.
        """
        infos = {topic.name for topic in self.topics if topic.type == CAMERA_INFO_TYPE}
        parent = image_topic.rpartition("/")[0]
        for namespace in (parent, parent.rpartition("/")[0]):
            if f"{namespace}/camera_info" in infos:
                return f"{namespace}/camera_info"
        return ""


def _open(path: Path) -> CheckedReader:
    if not path.exists():
        raise BagError(f"there is no bag at {path}")
    storage = _storage(path)
    if path.is_file() and path.suffix == ROS_1_SUFFIX:
        raise BagError(f"{path} is a bag of ROS 1: make a rosbag2 of it with "
                       f"'rosbags-convert --src {path} --dst FOLDER'")
    try:
        reader = CheckedReader(storage)
        reader.open()
    except Exception as error:
        reason = f"{_reason(error)}{_remedy(storage)}"
        raise BagError(f"{path} is not a readable rosbag2: {reason}") from error
    return reader


def _remedy(path: Path) -> str:
    """Return how to save what can be read of a damaged bag's folder or file."""
    files = [path] if path.is_file() else list(path.iterdir())
    if any(file.suffix == ".db3" for file in files):
        command = """'sqlite3 OLD.db3 .dump | sed "s/^ROLLBACK.*/COMMIT;/" | sqlite3 NEW.db3'"""
    else:
        command = "'mcap recover'"
    return (f"; {command} saves what can be read of a file that is damaged or was cut off, and "
            "'ros2 bag reindex' writes its metadata.yaml anew")


def _contents(reader: Reader) -> tuple[tuple[BagTopic, ...], int, int]:
    """Return the topics, and when the recording began and ended [ns]."""
    topics = tuple(
        BagTopic(name, info.msgtype or "", int(info.msgcount), _is_latched(info.connections))
        for name, info in sorted(reader.topics.items())
    )
    if not reader.connections:
        return topics, 0, 0
    return topics, int(reader.start_time), int(reader.end_time)


def _storage(path: Path) -> Path:
    """Return the bag's folder, or its only storage file where that lacks metadata.yaml."""
    if path.is_file():
        return path
    if (path / "metadata.yaml").exists():
        return path
    files = sorted(entry for entry in path.iterdir() if entry.suffix in STORAGE_SUFFIXES)
    if len(files) != 1:
        raise BagError(
            f"{path} is no rosbag2: it has no metadata.yaml and {len(files) or 'no'} "
            f"{' or '.join(STORAGE_SUFFIXES)} files"
        )
    return files[0]


def _is_latched(connections: Collection[Connection]) -> bool:
    profiles = [
        profile
        for connection in connections
        if isinstance(connection.ext, ConnectionExtRosbag2)
        for profile in connection.ext.offered_qos_profiles
    ]
    return any(profile.durability.name == "TRANSIENT_LOCAL" for profile in profiles)


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
