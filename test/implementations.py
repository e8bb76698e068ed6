"""Every implementation of a package that is present: our stand-in, and the package itself."""

import importlib
import importlib.util

import pytest


def implementations(name, module_name=None):
    """Parameters for a test: the stand-in always, the package where it is installed."""
    stand_in = importlib.import_module(f"flashvggt_ros.ros.stand_ins.{name}")
    found = [pytest.param(stand_in, id="stand-in")]
    if importlib.util.find_spec(name) is not None:
        found.append(pytest.param(importlib.import_module(module_name or name), id="package"))
    return found
