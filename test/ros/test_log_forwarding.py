"""What the package logs, on its way to a ROS logger."""

import logging
import os

import pytest
from rclpy.logging import get_logger

from flashvggt_ros.ros.log_forwarding import forward_logs, stop_forwarding

logger = logging.getLogger("flashvggt_ros.some_module")


def test_records_go_to_the_ros_logger_until_that_ends(capfd: pytest.CaptureFixture[str]) -> None:
    handler = forward_logs(get_logger("forwarding"))
    try:
        logger.warning("%d frames", 3)
    finally:
        stop_forwarding(handler)
    logger.warning("too late")
    said = capfd.readouterr().err
    assert "[WARN]" in said and "[forwarding]: 3 frames" in said and "too late" not in said


def test_a_file_whose_name_is_no_text_can_be_named(capfd: pytest.CaptureFixture[str]) -> None:
    handler = forward_logs(get_logger("forwarding"))
    try:
        logger.error("cannot read %s", os.fsdecode(b"map\xff"))
    finally:
        stop_forwarding(handler)
    assert r"cannot read map\udcff" in capfd.readouterr().err
