"""Imports point one way, files are named by nouns of the field, metadata agrees."""

import ast
import configparser
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import flashvggt_ros

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "flashvggt_ros"
MODULES = sorted(PACKAGE.rglob("*.py"))

BASE = {"config", "frame", "geometry", "home_paths", "robot"}
MAY_IMPORT = {
    "parameter": set(),
    "config": {"parameter"},
    "cpu_threads": set(),
    "counts": set(),
    "closed_pipes": set(),
    "commands": set(),  # imports any by name
    "heap_memory": set(),
    "home_paths": set(),
    "out_of_memory": set(),
    "shared_work": set(),
    "geometry": set(),
    "robot": set(),
    "frame": {"geometry"},
    "sensors": BASE,
    "model": BASE | {"shared_work"},
    "mapping": BASE,
    "scene": BASE,
    "chunk_predictor": {"frame", "shared_work"},
    "slam": BASE | {"mapping", "chunk_predictor"},
    "worlds": BASE,
    "viewer": BASE | {"mapping", "counts"},
    "tools": BASE | {"parameter", "counts", "closed_pipes", "cpu_threads", "heap_memory",
                     "out_of_memory", "sensors", "model", "mapping", "scene", "slam",
                     "chunk_predictor", "worlds", "viewer"},
    "ros": BASE | {"parameter", "commands", "counts", "closed_pipes", "cpu_threads",
                   "out_of_memory", "sensors", "model", "mapping", "slam", "chunk_predictor",
                   "msg", "srv", "viewer"},
    # A command line with both sources; nothing imports it.
    "view": {"closed_pipes", "commands", "home_paths", "ros", "tools", "viewer"},
}
ROS_PACKAGES = re.compile(
    r"rclpy|launch|launch_ros|ament_index_python|cv_bridge|tf2_\w+|tf_transformations"
    r"|(\w+_)?(msgs|srvs|interfaces|msgs_py)"
)
VAGUE = {"utils", "util", "common", "helpers", "helper", "manager", "handler", "misc"}


def imports(module: Path) -> Iterator[str]:
    """Dotted names of everything that a module imports, wherever in the file."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part(module: Path) -> str:
    """The folder, or single module, of the package that a file belongs to."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def identifier(module: Path) -> str:
    return str(module.relative_to(PACKAGE))


@pytest.mark.parametrize("module", MODULES, ids=identifier)
def test_imports_point_one_way(module: Path) -> None:
    if module == PACKAGE / "__init__.py":
        return
    for name in imports(module):
        first, _, rest = name.partition(".")
        imported = rest.partition(".")[0]
        if first == "flashvggt_ros" and imported not in (part(module), "__version__"):
            assert imported in MAY_IMPORT[part(module)], f"{module} imports {name}"


@pytest.mark.parametrize("module", MODULES, ids=identifier)
def test_only_the_node_imports_ros_and_only_model_and_scene_need_torch(module: Path) -> None:
    for name in imports(module):
        first = name.partition(".")[0]
        assert part(module) == "ros" or not ROS_PACKAGES.fullmatch(first), f"imports {name}"
        assert part(module) not in ("mapping", "sensors", "geometry") or first != "torch"
        assert first != "evo", "evo is GPL-3: run it as a tool"


def test_nothing_of_the_training_is_imported() -> None:
    importing = {module.name for module in MODULES for name in imports(module)
                 if name.partition(".")[0] == "training"}
    assert not importing


def test_every_part_of_the_package_has_a_place_in_the_import_order() -> None:
    parts = {part(module) for module in MODULES} - {"__init__"}
    assert parts <= set(MAY_IMPORT)


def test_no_file_has_a_vague_name() -> None:
    for module in MODULES:
        for name in module.relative_to(PACKAGE).parts:
            assert not VAGUE & set(name.removesuffix(".py").split("_")), module


def test_commands_are_functions_of_existing_modules() -> None:
    commands = setup_cfg()["options.entry_points"]["console_scripts"].strip().splitlines()
    assert commands
    for command in commands:
        entry = re.fullmatch(r"([a-z_]+) = ([a-z_.]+):([a-z_]+)", command)
        assert entry, f"cmake/commands.cmake does not understand '{command}'"
        module = ROOT / Path(*entry[2].split(".")).with_suffix(".py")
        assert module.is_file(), f"{command}: no {module}"
        assert callable(getattr(import_module(entry[2]), entry[3])), command


def test_version_license_and_maintainer_agree_in_package_xml_and_setup_cfg() -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    metadata = setup_cfg()["metadata"]
    assert metadata["version"] == "attr: flashvggt_ros.__version__"
    assert package.findtext("version") == flashvggt_ros.__version__
    for key in ("name", "description", "license", "maintainer"):
        ours = package.findtext(key)
        assert ours is not None
        assert ours.rstrip(".") == metadata[key]
    maintainer = package.find("maintainer")
    assert maintainer is not None
    assert maintainer.get("email") == metadata["maintainer_email"]


def test_every_requirement_of_the_package_has_a_pinned_version() -> None:
    options = setup_cfg()
    needed = requirements(options["options"]["install_requires"])
    for extra in options["options.extras_require"].values():
        needed += requirements(extra)
    lines = [
        line.partition(";")[0].strip()
        for file in (ROOT / "requirements").glob("*.txt")
        for line in file.read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    versions = dict(line.split("==") for line in lines)
    for requirement in needed:
        assert requirement.name in versions
        assert versions[requirement.name] in requirement.specifier


def test_every_library_that_is_imported_is_a_requirement() -> None:
    names = {"cv2": "opencv-python-headless", "yaml": "PyYAML", "PIL": "matplotlib"}
    known = {"flashvggt_ros", "triton", *sys.stdlib_module_names}  # torch brings triton along
    imported = {name.partition(".")[0] for module in MODULES for name in imports(module)} - known
    libraries = {names.get(name, name) for name in imported if not ROS_PACKAGES.fullmatch(name)}
    options = setup_cfg()
    needed = requirements(options["options"]["install_requires"])
    needed += requirements(options["options.extras_require"]["view"])
    assert libraries == {requirement.name for requirement in needed}


def test_only_the_server_of_the_page_needs_viser_which_is_optional() -> None:
    importing = {module.relative_to(PACKAGE).as_posix() for module in MODULES
                 for name in imports(module) if name.partition(".")[0] in ("viser", "websockets")}
    assert importing == {"viewer/server.py"}


def test_package_xml_names_every_ros_package_that_is_imported() -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    declared = {element.text for element in package if "depend" in element.tag}
    sources = [module for module in MODULES if part(module) == "ros"]
    sources += (ROOT / "launch").glob("*.py")
    imported = {name.partition(".")[0] for module in sources for name in imports(module)}
    ours = {"flashvggt_ros", *sys.stdlib_module_names}
    assert {name for name in imported - ours if ROS_PACKAGES.fullmatch(name)} <= declared


def requirements(text: str) -> list[Requirement]:
    """Those of an entry of setup.cfg, one a line."""
    return [Requirement(line) for line in text.strip().splitlines()]


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser
