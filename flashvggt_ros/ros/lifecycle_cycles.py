"""Takes the mapping node up and down again and again, and measures what stays behind.

python -m flashvggt_ros.ros.lifecycle_cycles --cycles 20 --json cycles.json
"""

from __future__ import annotations

import argparse
import array
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from flashvggt_ros.ros.memory_use import memory_use
from flashvggt_ros.ros.messages import time_message
from flashvggt_ros.ros.node import MappingNode
from flashvggt_ros.ros.node_lifetime import load_model

PROGRAM = "lifecycle_cycles"
WIDTH, HEIGHT, STEP = 224, 160, 12  # of an image, and how far the view moves between two [px]
FRAMES = 8
PERIOD_NS = 100_000_000
PATIENCE_S = 120.0
SETTINGS = {
    "device": "auto", "chunk.size": 4, "chunk.overlap": 1, "chunk.max_wait": 0.5,
    "publish.map_cloud_period": 0.1, "publish.status_period": 0.1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LifecycleCycles:
    """What was found after each cycle, once the node was unconfigured again.

    Host memory [MB] is that of the process, GPU memory [MB] what torch holds of it; ``threads`` and
    ``shared_memory`` count the process's threads and the segments in /dev/shm that it has mapped.
    The first cycle loads libraries: growth is counted from its end.
    """

    host_mb: tuple[float, ...]
    gpu_mb: tuple[float, ...]
    threads: tuple[int, ...]
    shared_memory: tuple[int, ...]
    frames_mapped: tuple[int, ...]
    seconds: tuple[float, ...]

    @property
    def growth_mb(self) -> float:
        """By how much the process grew between the end of the first cycle and that of the last."""
        return self.host_mb[-1] - self.host_mb[0]

    @property
    def new_threads(self) -> int:
        """How many threads more there are than after the first cycle."""
        return self.threads[-1] - self.threads[0]

    @property
    def new_shared_memory(self) -> int:
        """How many segments more are mapped than after the first cycle."""
        return self.shared_memory[-1] - self.shared_memory[0]


def run_cycles(cycles: int) -> LifecycleCycles:
    """Configure, activate, map two chunks, deactivate and clean up, ``cycles`` times.

    With the embedded checkpoint and images over DDS, in a context of its own. Raises RuntimeError
    for a transition that fails and images that are not mapped in time.
    """
    if cycles < 1:
        raise ValueError(f"{cycles} cycles: there must be at least one")
    rows: list[tuple[float, float, int, int, int, float]] = []
    with _bench() as (node, images, spin_until):
        for number in range(cycles):
            begin = time.monotonic()
            mapped = _cycle(node, images, spin_until, first_ns=(1 + number) * 10**12)
            seconds = time.monotonic() - begin
            held = memory_use()
            held_mb = held.host_bytes / 1e6, held.gpu_bytes / 1e6
            rows.append((*held_mb, _threads(), _segments(), mapped, seconds))
    return LifecycleCycles(*zip(*rows, strict=True))


@contextmanager
def _bench() -> Iterator[tuple[MappingNode, Node, Callable]]:
    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    overrides = [Parameter(name, value=value) for name, value in SETTINGS.items()]
    node = MappingNode(
        load_model, context=context, use_global_arguments=False, parameter_overrides=overrides
    )
    camera = Node("camera", context=context, use_global_arguments=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def spin_until(is_reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_reached():
            if time.monotonic() > deadline:
                raise RuntimeError(f"a cycle stands still for {PATIENCE_S:g} s")
            executor.spin_once(timeout_sec=0.01)

    try:
        yield node, camera, spin_until
    finally:
        node.stop()
        executor.shutdown()
        camera.destroy_node()
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def _cycle(node: MappingNode, camera: Node, spin_until: Callable, first_ns: int) -> int:
    """One cycle; return how many images were mapped."""
    _check(node, node.trigger_configure())
    _check(node, node.trigger_activate())
    assert node.session is not None
    ledger = node.session.ledger  # and nothing else of the session, which is to be freed
    publisher = camera.create_publisher(Image, "image", QoSProfile(depth=FRAMES))
    spin_until(lambda: publisher.get_subscription_count() > 0)
    for number, image in enumerate(_images()):
        publisher.publish(_message(image, first_ns + number * PERIOD_NS))
    spin_until(lambda: ledger.counts.received == FRAMES)
    spin_until(lambda: ledger.counts.waiting == 0 or bool(node.fatal))
    camera.destroy_publisher(publisher)
    _check(node, node.trigger_deactivate())
    _check(node, node.trigger_cleanup())
    return ledger.counts.used


def _check(node: MappingNode, answer: TransitionCallbackReturn) -> None:
    if answer != TransitionCallbackReturn.SUCCESS or node.fatal:
        raise RuntimeError(f"a transition failed: {node.fatal or node.failure}")


def _images() -> Iterator[NDArray[np.uint8]]:
    """Views that move along a picture full of corners."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (HEIGHT // 8, (WIDTH + FRAMES * STEP) // 8, 3), np.uint8)
    picture = cv2.resize(coarse, (WIDTH + FRAMES * STEP, HEIGHT), interpolation=cv2.INTER_CUBIC)
    for number in range(FRAMES):
        yield np.ascontiguousarray(picture[:, number * STEP : number * STEP + WIDTH])


def _message(image: NDArray[np.uint8], stamp_ns: int) -> Image:
    message = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=3 * WIDTH)
    message.header.frame_id = "camera"
    message.header.stamp = time_message(stamp_ns)
    message.data = array.array("B", image.tobytes())
    return message


def _threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def _segments() -> int:
    maps = Path("/proc/self/maps").read_text().splitlines()
    return len({line.split()[-1] for line in maps if "/dev/shm/" in line})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 1 where a cycle failed."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cycles", type=int, default=20, help="how many (20)")
    parser.add_argument("--json", type=Path, help="file for what was measured")
    arguments = parser.parse_args(argv)
    try:
        found = run_cycles(arguments.cycles)
    except (RuntimeError, ValueError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    sums = {
        "growth_mb": found.growth_mb,
        "new_threads": found.new_threads,
        "new_shared_memory": found.new_shared_memory,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps({**sums, **asdict(found)}, indent=2) + "\n", "utf-8")
    print(", ".join(f"{name}: {value:.6g}" for name, value in sums.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
