"""The bond with Nav2's lifecycle manager, with a bondpy that does as the real one of ROS 2."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rclpy.lifecycle import TransitionCallbackReturn

from flashvggt_ros.worlds import make_world, walk

WORLD = make_world(walk(4))
SUCCESS = TransitionCallbackReturn.SUCCESS

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
    """A bondpy that is installed, and the bonds that it holds."""
    (tmp_path / "bondpy").mkdir()
    (tmp_path / "bondpy" / "__init__.py").touch()
    (tmp_path / "bondpy" / "bondpy.py").write_text(BONDPY)
    monkeypatch.syspath_prepend(str(tmp_path))
    import bondpy.bondpy

    yield lambda: list(bondpy.bondpy.tied)
    del sys.modules["bondpy.bondpy"], sys.modules["bondpy"]


def test_an_active_node_is_tied_to_the_manager_where_bondpy_is_installed(
    tied: Callable[[], list[Any]], bench: Any
) -> None:
    it = bench()
    assert tied() == [("bond", "mapping", 0.1)]
    assert it.node.trigger_deactivate() == SUCCESS and tied() == []
    assert it.node.trigger_activate() == SUCCESS and len(tied()) == 1
    assert it.node.trigger_shutdown() == SUCCESS and tied() == []
