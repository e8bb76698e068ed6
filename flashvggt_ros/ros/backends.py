"""Which implementation of the ROS packages that PyPI lacks is in use: the package or our stand-in.

Each package is tried once, at its first use, on a small task whose answer is known: some releases
import, but fail later under a newer NumPy. cv_bridge can even end the process then, so it is tried
in a process of its own.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)

_PROBE_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Backend:
    """``module`` has the contract of the package ``name``; ``description`` says which one it is."""

    name: str
    module: Any
    description: str


class _Unusable(Exception):  # noqa: N818 - it states a fact about a package
    """A package that is there but does not do what it should."""


@functools.cache
def cv_bridge() -> Backend:
    """Return cv_bridge or its stand-in: CvBridge."""
    return _choose("cv_bridge", "cv_bridge", _probe_in_child)


@functools.cache
def sensor_msgs_py() -> Backend:
    """Return sensor_msgs_py.point_cloud2 or its stand-in: read_points."""
    return _choose("sensor_msgs_py", "sensor_msgs_py.point_cloud2", _try_cloud)


@functools.cache
def tf_transformations() -> Backend:
    """Return tf_transformations or its stand-in: quaternion_matrix, quaternion_from_matrix."""
    return _choose("tf_transformations", "tf_transformations", _try_quaternions)


@functools.cache
def tf2_ros() -> Backend:
    """Return tf2_ros or its stand-in: Buffer, TransformListener, broadcasters, exceptions."""
    return _choose("tf2_ros", "tf2_ros", _try_buffer)


def in_use() -> dict[str, str]:
    """Return for every package which implementation is in use, in words."""
    backends = (cv_bridge(), sensor_msgs_py(), tf_transformations(), tf2_ros())
    return {backend.name: backend.description for backend in backends}


def _choose(name: str, module_name: str, check: Callable[[str], Any]) -> Backend:
    """Return the package if ``check`` can import and use it, else the stand-in."""
    if importlib.util.find_spec(name) is None:
        return _stand_in(name, "not installed")
    try:
        module = check(module_name)
    # Packages built for another NumPy fail in many ways, at import or at first use.
    except (ImportError, AttributeError, TypeError, ValueError, AssertionError, _Unusable) as error:
        logger.warning("%s does not work here, its stand-in takes over: %s", name, error)
        return _stand_in(name, str(error).strip().splitlines()[-1] if str(error) else repr(error))
    return Backend(name, module, f"{name} {_version(name)}")


def _version(name: str) -> str:
    """Return the version of the distribution that has the module: tf2_ros is in tf2_ros_py."""
    for distribution in metadata.packages_distributions().get(name, ()):
        return metadata.version(distribution)
    return "of unknown version"


def _stand_in(name: str, reason: str) -> Backend:
    module = importlib.import_module(f"flashvggt_ros.ros.stand_ins.{name}")
    return Backend(name, module, f"built-in stand-in ({reason})")


def _probe_in_child(module_name: str) -> Any:
    """Import a package only after another process has used it without harm."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "flashvggt_ros.ros.cv_bridge_probe"]
    try:
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise _Unusable(f"a conversion takes more than {_PROBE_TIMEOUT_S:g} s") from None
    if result.returncode < 0:
        raise _Unusable(f"a conversion ends the process with signal {-result.returncode}")
    if result.returncode > 0:
        lines = result.stderr.strip().splitlines() or ["no reason given"]
        raise _Unusable(lines[-1])
    return importlib.import_module(module_name)


def _try_cloud(module_name: str) -> Any:
    module = importlib.import_module(module_name)
    from sensor_msgs.msg import PointCloud2, PointField

    fields = [PointField(name="x", offset=0, datatype=PointField.FLOAT32, count=1)]
    cloud = PointCloud2(height=1, width=2, fields=fields, point_step=4, row_step=8)
    cloud.data.frombytes(np.array([1.5, 2.5], "<f4").tobytes())
    if module.read_points(cloud, ["x"])["x"].tolist() != [1.5, 2.5]:
        raise _Unusable("points come back changed")
    return module


def _try_quaternions(module_name: str) -> Any:
    module = importlib.import_module(module_name)
    quaternion = [0.5, -0.5, 0.5, 0.5]
    if not np.allclose(
        module.quaternion_from_matrix(module.quaternion_matrix(quaternion)), quaternion
    ):
        raise _Unusable("a quaternion comes back changed")
    return module


def _try_buffer(module_name: str) -> Any:
    module = importlib.import_module(module_name)
    module.Buffer().all_frames_as_string()
    return module
