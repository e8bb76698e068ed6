"""What a wheel carries besides the messages, which the package's installation builds."""

import hashlib
from pathlib import Path

import pytest

setuptools = pytest.importorskip("setuptools")

ROOT = Path(__file__).parents[1]
WEIGHTS = ("flashvggt-mini.safetensors", "flashvggt-mini.safetensors.sha256", "README.md")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The package as setuptools puts it into a wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(ROOT)
        distribution = setuptools.Distribution({"script_name": "setup.py"})
        distribution.parse_config_files(["setup.cfg"])
        command = distribution.get_command_obj("build_py")
        command.build_lib = str(folder)
        command.ensure_finalized()
        command.run()
    return folder / "flashvggt_ros"


def test_a_wheel_carries_weights_card_and_hash(built):
    for name in WEIGHTS:
        assert (built / "weights" / name).read_bytes() == (
            ROOT / "flashvggt_ros/weights" / name
        ).read_bytes()


def test_the_hash_is_that_of_the_weights_and_the_file_is_small_enough(built):
    weights = built / "weights" / WEIGHTS[0]
    said = (built / "weights" / WEIGHTS[1]).read_text().split()[0]
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == said
    assert weights.stat().st_size < 64e6


def test_the_card_says_what_the_weights_are(built):
    card = (built / "weights" / WEIGHTS[2]).read_text(encoding="utf-8")
    for heading in ("How it was made", "Scores", "Limits"):
        assert f"## {heading}" in card
    assert "python -m training.evaluate" in card


def test_a_wheel_carries_every_module_and_no_training(built):
    for ending in ("py", "cu", "cuh"):
        modules = {path.relative_to(built) for path in built.rglob(f"*.{ending}")}
        ours = {path.relative_to(ROOT / "flashvggt_ros")
                for path in (ROOT / "flashvggt_ros").rglob(f"*.{ending}")}
        assert modules == ours
        assert modules
    assert [entry.name for entry in built.parent.iterdir()] == ["flashvggt_ros"]
