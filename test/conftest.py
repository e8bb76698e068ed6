"""Keeps ROS tests among themselves, and lets them run without a sourced set-up file."""

import importlib.util
import os
import signal
from collections.abc import Iterator

import pytest

from flashvggt_ros.cpu_threads import let_idle_threads_sleep
from flashvggt_ros.ros.environment import add_wheels_to_prefix_path

if os.environ.get("ROS_DISTRO") == "humble":
    os.environ.setdefault("ROS_LOCALHOST_ONLY", "1")
else:
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))  # above 101: ports in use

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a core for each worker
let_idle_threads_sleep()
HAS_ROS = importlib.util.find_spec("rclpy") is not None
collect_ignore = [] if HAS_ROS else ["ros"]
if HAS_ROS:
    add_wheels_to_prefix_path()


def pytest_report_header() -> str:
    if HAS_ROS:
        return f"ROS: domain {os.environ['ROS_DOMAIN_ID']}"
    return "ROS: rclpy is not installed, the tests in test/ros are left out"


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """Undo what a command does to signals as it ends: programs inherit what is ignored."""
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)
