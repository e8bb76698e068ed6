"""Packages that are broken in the ways of real releases, in place of the missing ones."""

import importlib
import sys

import numpy as np
import pytest

from flashvggt_ros.ros import backends

NAMES = ("cv_bridge", "sensor_msgs_py", "tf_transformations", "tf2_ros")


def forget():
    for name in NAMES:
        getattr(backends, name).cache_clear()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package of the given source for one test."""
    monkeypatch.syspath_prepend(tmp_path)
    shadowed = {}

    def install(name, source):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(source)
        for module in [key for key in sys.modules if key.split(".")[0] == name]:
            shadowed[module] = sys.modules.pop(module)
        importlib.invalidate_caches()

    forget()
    yield install
    forget()
    for name in NAMES:
        for module in [key for key in sys.modules if key.split(".")[0] == name]:
            del sys.modules[module]
    sys.modules.update(shadowed)


GOOD_BRIDGE = """
from flashvggt_ros.ros.stand_ins.cv_bridge import CvBridge as Ours
class CvBridge(Ours):
    pass
"""

WORKING_TRANSFORMATIONS = """
from flashvggt_ros.ros.stand_ins.tf_transformations import *
"""


def test_every_package_says_which_implementation_is_in_use():
    found = backends.in_use()
    assert list(found) == list(NAMES)
    for name, description in found.items():
        assert description.startswith((f"{name} ", "built-in stand-in ("))


def test_a_package_that_works_is_used(install):
    install("cv_bridge", GOOD_BRIDGE)
    backend = backends.cv_bridge()
    assert backend.module.__name__ == "cv_bridge"
    assert backend.description == "cv_bridge of unknown version"


def test_a_package_is_named_with_its_version(install, tmp_path):
    install("tf_transformations", WORKING_TRANSFORMATIONS)
    wheel = tmp_path / "ros_transformations-1.0.1.dist-info"
    wheel.mkdir()
    (wheel / "METADATA").write_text("Name: ros_transformations\nVersion: 1.0.1\n")
    (wheel / "top_level.txt").write_text("tf_transformations\n")
    assert backends.tf_transformations().description == "tf_transformations 1.0.1"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise ImportError('numpy.core.multiarray failed to import')", "multiarray"),
        ("raise AttributeError('_ARRAY_API not found')", "_ARRAY_API not found"),
        (
            GOOD_BRIDGE + "    def imgmsg_to_cv2(self, *_):\n        import os; os.abort()\n",
            "signal 6",
        ),
        (
            GOOD_BRIDGE + "    def imgmsg_to_cv2(self, m, e):\n"
            "        return super().imgmsg_to_cv2(m, 'bgr8')\n",
            "converts rgb8 in another way than a replay",
        ),
        ("import sys; sys.exit(3)", "no reason given"),
    ],
    ids=["import error", "numpy 2", "crash", "wrong pixels", "exit"],
)
def test_a_broken_cv_bridge_is_replaced_with_its_reason(install, caplog, source, reason):
    install("cv_bridge", source)
    backend = backends.cv_bridge()
    assert backend.module.__name__ == "flashvggt_ros.ros.stand_ins.cv_bridge"
    assert backend.description.startswith("built-in stand-in (")
    assert reason in backend.description
    assert "its stand-in takes over" in caplog.text
    image = np.zeros((2, 2, 3), np.uint8)
    assert backend.module.CvBridge().cv2_to_imgmsg(image, "rgb8").step == 6


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("tf_transformations", "import numpy; numpy.float"),
        (
            "tf_transformations",
            "import numpy\ndef quaternion_matrix(q): return numpy.maximum_sctype",
        ),
        ("tf2_ros", "import tf2_py_that_is_missing"),
        ("sensor_msgs_py", "raise ImportError('no point_cloud2')"),
    ],
)
def test_any_broken_package_is_replaced(install, name, source):
    install(name, source)
    backend = getattr(backends, name)()
    assert backend.module.__name__ == f"flashvggt_ros.ros.stand_ins.{name}"
    assert backend.description.startswith("built-in stand-in (")
