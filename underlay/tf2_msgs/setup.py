"""Builds tf2_msgs with CMake as part of ``pip install ./underlay/tf2_msgs``."""

import sys
from pathlib import Path

from setuptools import setup

sys.path.insert(0, str(Path(__file__).parents[2] / "cmake"))
from interface_wheel import BuildRosInterfaces, RosInterfaces

setup(
    name="flashvggt-tf2-msgs",
    version="0.1.0",
    description="The one message of tf2_msgs that transforms need, for a ROS 2 from PyPI",
    license="Apache-2.0",
    packages=[],
    ext_modules=[RosInterfaces("tf2_msgs")],
    cmdclass={"build_ext": BuildRosInterfaces},
)
