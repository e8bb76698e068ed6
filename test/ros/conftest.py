"""ROS for a module, and the mapping node on a bench."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from ros.node_bench import NodeBench

from flashvggt_ros.worlds import TruthPredictor


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
