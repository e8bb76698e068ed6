"""Recordings with something wrong, read to the end: one trial after another."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from flashvggt_ros.config import ImageConfig
from flashvggt_ros.sensors.bag_reader import Bag
from flashvggt_ros.tools.bag_frames import BagFrames
from flashvggt_ros.tools.soak_checks.mangling import mangled, mangled_text
from flashvggt_ros.tools.soak_checks.sound_messages import SECOND, SOUND
from flashvggt_ros.tools.soak_checks.trial import Trial, require

TOPICS = {"/camera/image_raw": ("sensor_msgs/msg/Image", "Image"),
          "/camera/camera_info": ("sensor_msgs/msg/CameraInfo", "CameraInfo")}
STORAGES = {"mcap": StoragePlugin.MCAP, "db3": StoragePlugin.SQLITE3}
MESSAGES = 12  # of each topic


def bag_trial(folder: Path) -> Trial:
    """Read every image of a broken MCAP or sqlite3 recording, or one with broken metadata."""
    work = Path(tempfile.mkdtemp(prefix="bag_trial_", dir=folder))
    sound = {name: _record(work / f"sound_{name}", name) for name in STORAGES}

    def trial(random: Random) -> bool:
        bag = work / "bag"
        shutil.rmtree(bag, ignore_errors=True)
        shutil.copytree(sound[random.choice(list(sound))], bag)
        for _ in range(random.choice((1, 1, 2))):
            _break(random.choice(sorted(bag.iterdir())), random)
        if random.random() < 0.2:
            (bag / "metadata.yaml").unlink(missing_ok=True)
        try:
            frames = _read(bag)
        except ValueError as error:
            require(str(bag) in str(error), f"the reason does not name the bag: {error}")
            return False
        return frames > 0

    return trial


def _read(path: Path) -> int:
    with Bag(path) as bag:
        frames = BagFrames(bag, bag.choose_image_topics(), ImageConfig(max_megapixels=1.0))
        count = sum(frame is not None for frame in frames)
        require(count + sum(frames.rejected.values()) == frames.read, "an image is not counted")
        return count


def _break(path: Path, random: Random) -> None:
    content = path.read_bytes()
    if path.suffix == ".yaml" and random.random() < 0.7:
        text = mangled_text(content.decode("utf-8", "replace"), random)
        path.write_bytes(text.encode("utf-8", "replace"))
    else:
        path.write_bytes(mangled(content, random))


def _record(path: Path, storage: str) -> Path:
    store = get_typestore(Stores.LATEST)
    random = Random(1)
    with Writer(path, version=9, storage_plugin=STORAGES[storage]) as writer:
        for topic, (kind, name) in TOPICS.items():
            connection = writer.add_connection(topic, kind, typestore=store)
            for number in range(1, MESSAGES + 1):
                message = typed(SOUND[name](random, number * SECOND), kind, store)
                writer.write(connection, number * SECOND, store.serialize_cdr(message, kind))
    return path


def typed(message: Any, kind: str, store: Any) -> Any:
    """Make a message of a type of rosbags; raises what it raises where fields do not fit."""
    fields: dict[str, Any] = {}
    for name, (_, detail) in store.fielddefs[kind][1]:
        value = getattr(message, name)
        if isinstance(value, SimpleNamespace):
            value = typed(value, detail, store)
        elif isinstance(value, bytes):
            value = np.frombuffer(value, np.uint8)
        fields[name] = value
    return store.types[kind](**fields)
