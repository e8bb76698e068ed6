"""The bond with Nav2's lifecycle manager."""

from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import TransitionCallbackReturn

from flashvggt_ros.worlds import make_world, walk

WORLD = make_world(walk(4))
SUCCESS = TransitionCallbackReturn.SUCCESS


def test_an_active_node_is_tied_to_the_manager_where_bondpy_is_installed(
    tied: Callable[[], list[Any]], bench: Any
) -> None:
    it = bench()
    assert tied() == [("bond", "mapping", 0.1)]
    assert it.node.trigger_deactivate() == SUCCESS and tied() == []
    assert it.node.trigger_activate() == SUCCESS and len(tied()) == 1
    assert it.node.trigger_shutdown() == SUCCESS and tied() == []
