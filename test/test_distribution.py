"""Container files, workflows and metadata, as far as they can be checked without running them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import flashvggt_ros

ROOT = Path(__file__).parents[1]
DOCKERFILES = sorted(ROOT.glob("docker/Dockerfile.*"))


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def jobs() -> dict:
    return yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"]


def instructions(dockerfile: Path) -> list[str]:
    """The instructions of a Dockerfile, each on one line, without comments."""
    lines = [line for line in dockerfile.read_text(encoding="utf-8").splitlines()
             if not line.startswith("#")]
    return re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_images_are_pinned_copied_from_here_and_left_without_package_lists(dockerfile):
    lines = instructions(dockerfile)
    images = [line.split()[1] for line in lines if line.startswith("FROM")]
    assert images
    assert all(re.fullmatch(r"[\w./-]+:[\w.-]+", image) for image in images)
    assert not any(":latest" in image for image in images)
    assert not any(line.startswith("ADD") for line in lines)
    for line in lines:
        assert "apt-get install" not in line or line.endswith("rm -rf /var/lib/apt/lists/*")
    for line in lines:
        for source in line.split()[1:-1] if line.startswith("COPY") else ():
            assert (ROOT / source).exists(), line


def test_compose_builds_a_file_that_is_there_and_runs_a_command_of_ours():
    (demo,) = yaml.safe_load(read("docker/compose.yaml"))["services"].values()
    context = ROOT / "docker" / demo["build"]["context"]
    assert (context / demo["build"]["dockerfile"]) in [context / path.relative_to(ROOT)
                                                       for path in DOCKERFILES]
    assert f"\n    {demo['command']} = " in read("setup.cfg")


def test_actions_are_pinned_by_their_commit_and_every_supported_version_is_tried():
    used = re.findall(r"uses: (.+)", read(".github/workflows/ci.yml"))
    assert used
    for action in used:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action), action
    assert jobs()["pip-only"]["strategy"]["matrix"]["python"] == ["3.10", "3.11", "3.12", "3.13"]
    tried = jobs()["colcon"]["strategy"]["matrix"]["include"]
    assert {entry["distribution"] for entry in tried} == {"humble", "jazzy", "kilted"}


def test_what_the_workflow_runs_is_there():
    commands = "\n".join(step.get("run", "") for job in jobs().values() for step in job["steps"])
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    made = set(re.findall(r"make (\w+)", commands))
    assert {"lint", "test", "docs"} <= made <= targets
    for path in re.findall(r"(?:requirements|test|docker)/[\w./]+\w", commands):
        assert list(ROOT.glob(f"{path}*")), path


def test_what_the_launch_files_start_is_a_dependency_or_named_where_one_installs():
    launched = set()
    for file in ROOT.glob("launch/*.py"):
        launched |= set(re.findall(r'package="(\w+)"', file.read_text(encoding="utf-8")))
    assert "rviz2" in launched
    for package in launched:
        assert (f"<exec_depend>{package}</exec_depend>" in read("package.xml")
                or f"ros-$ROS_DISTRO-{package}" in read("docs/install.md")), package


def test_the_hooks_check_with_the_ruff_that_make_lint_uses():
    hooks = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    (ruff,) = [entry["rev"] for entry in hooks if "ruff" in entry["repo"]]
    assert f"ruff=={ruff.removeprefix('v')}\n" in read("requirements/dev.txt")


@pytest.fixture
def tracked():
    """The files of the repository, by their paths in it."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no clone, or no git")
    said = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True,
                          check=False).stdout
    names = [name for name in said.split("\0") if name and (ROOT / name).is_file()]
    return names or pytest.skip("git does not say: is the clone somebody else's?")


def test_the_hooks_find_nothing_to_mend(tracked):
    """That each file ends with one line end and no line with a blank, as they have it."""
    for name in tracked:
        content = (ROOT / name).read_bytes()
        if b"\0" in content or name.startswith("test/data/"):
            continue
        assert not content or re.search(rb"[^\n]\n\Z", content), name
        assert not re.search(rb"[ \t]$", content, re.MULTILINE), name


def test_a_source_distribution_is_whole(tracked, tmp_path, monkeypatch):
    setuptools = pytest.importorskip("setuptools")
    monkeypatch.chdir(ROOT)
    distribution = setuptools.Distribution({"script_name": "setup.py"})
    distribution.parse_config_files(["setup.cfg"])
    command = distribution.get_command_obj("egg_info")
    command.egg_base = str(tmp_path)
    command.ensure_finalized()
    command.run()
    carried = set(command.filelist.files)
    assert [name for name in tracked if name not in carried and not name.startswith(".")] == []


def test_the_citation_has_the_version_and_license_of_the_package():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["version"] == flashvggt_ros.__version__
    assert f"license = {citation['license']}\n" in read("setup.cfg")
    assert "2512.01540" in str(citation["references"])


def test_the_declaration_of_quality_names_the_version():
    assert f"stable: {flashvggt_ros.__version__}" in read("QUALITY_DECLARATION.md")
