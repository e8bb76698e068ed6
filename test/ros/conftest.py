"""ROS for a module, the mapping node on a bench, and a bondpy for machines without."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from ros.node_bench import NodeBench

from flashvggt_ros.worlds import TruthPredictor

BONDPY = """
from std_msgs.msg import Empty

tied = []

class Bond:
    def __init__(self, node, topic, bond_id, on_broken=None, on_formed=None):
        self.key = (topic, bond_id)
        self.node = node
        self.pub = node.create_publisher(Empty, topic, 1)

    def start(self):
        self.sub = self.node.create_subscription(Empty, self.key[0], print, 1)
        tied.append((*self.key, self.heartbeat_period))

    def shutdown(self):
        self.sub.destroy()
        self.pub.destroy()
        tied.pop()
"""


@pytest.fixture
def tied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[Any]]]:
    """A bondpy that is installed, and does as the real one of ROS 2; the bonds that it holds."""
    (tmp_path / "bondpy").mkdir()
    (tmp_path / "bondpy" / "__init__.py").touch()
    (tmp_path / "bondpy" / "bondpy.py").write_text(BONDPY)
    monkeypatch.syspath_prepend(str(tmp_path))
    import bondpy.bondpy

    yield lambda: list(bondpy.bondpy.tied)
    del sys.modules["bondpy.bondpy"], sys.modules["bondpy"]


@pytest.fixture(scope="module")
def ros() -> Iterator[None]:
    """The default context of rclpy, for as long as a module's tests run."""
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def bench(ros: None, request: pytest.FixtureRequest) -> Iterator[Callable[..., NodeBench]]:
    """Makes benches; one without a predictor maps WORLD of the test's module."""
    benches: list[NodeBench] = []

    def make(predictor: Any = None, **parameters: Any) -> NodeBench:
        benches.append(NodeBench(predictor or TruthPredictor(request.module.WORLD), **parameters))
        return benches[-1]

    yield make
    for made in benches:
        made.close()
