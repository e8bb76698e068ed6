"""The package's Python log records, sent through the ROS logger: console, file and /rosout."""

from __future__ import annotations

import logging

from rclpy.impl.rcutils_logger import RcutilsLogger


class RosLogHandler(logging.Handler):
    """Hands the records of logging.getLogger("flashvggt_ros...") to a ROS logger."""

    def __init__(self, ros_logger: RcutilsLogger) -> None:
        super().__init__()
        self._ros_logger = ros_logger

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; the ROS logger adds time and name."""
        # Names of files may hold bytes that are no UTF-8, which ROS refuses.
        text = self.format(record).encode(errors="backslashreplace").decode()
        # rclpy wants one place in the source for each severity.
        if record.levelno >= logging.CRITICAL:
            self._ros_logger.fatal(text)
        elif record.levelno >= logging.ERROR:
            self._ros_logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._ros_logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._ros_logger.info(text)
        else:
            self._ros_logger.debug(text)


def forward_logs(ros_logger: RcutilsLogger) -> RosLogHandler:
    """Send the package's records to ``ros_logger`` until stop_forwarding()."""
    handler = RosLogHandler(ros_logger)
    package_logger = logging.getLogger("flashvggt_ros")
    package_logger.addHandler(handler)
    package_logger.setLevel(logging.DEBUG)  # the ROS logger's own level decides
    package_logger.propagate = False
    return handler


def stop_forwarding(handler: RosLogHandler) -> None:
    """Take the handler out again; the records go where they went before."""
    package_logger = logging.getLogger("flashvggt_ros")
    package_logger.removeHandler(handler)
    package_logger.propagate = True
