"""Builds the messages with CMake as part of ``pip install``; everything else is in setup.cfg."""

import sys
from pathlib import Path

from setuptools import setup

sys.path.insert(0, str(Path(__file__).parent / "cmake"))
from interface_wheel import BuildRosInterfaces, RosInterfaces

setup(
    ext_modules=[RosInterfaces("flashvggt_ros")],
    cmdclass={"build_ext": BuildRosInterfaces},
)
