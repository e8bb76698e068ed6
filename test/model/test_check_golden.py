import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from flashvggt_ros.tools.check_golden import LIMIT, main, read_golden, relative_rms, run_golden

DATA = Path(__file__).parents[1] / "data"
GOLDENS = [DATA / "stream_r1.safetensors", DATA / "stream_r2.safetensors"]


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return file.metadata()


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.stem)
def test_our_results_equal_the_published_code(path, tmp_path, capsys):
    output = tmp_path / "ours.safetensors"

    assert main([str(path), "--output", str(output)]) == 0

    printed = capsys.readouterr().out
    ours, golden = load_file(output), load_file(path)
    assert set(ours) == {"pose_enc", "depth", "depth_conf"}
    for name, value in ours.items():
        assert relative_rms(value, golden[f"expected.{name}"]) <= LIMIT
        assert name in printed
    assert "intermediate.agg_last_first_call" in printed


def test_a_slightly_different_truth_is_noticed(tmp_path):
    tensors = load_file(GOLDENS[0])
    tensors["expected.depth"] = tensors["expected.depth"] * (1 + 1e-5)
    path = tmp_path / "other.safetensors"
    save_file(tensors, path, metadata_of(GOLDENS[0]))

    assert main([str(path)]) == 1


def test_a_truth_that_is_not_a_number_is_noticed(tmp_path):
    tensors = load_file(GOLDENS[0])
    tensors["expected.pose_enc"] = torch.full_like(tensors["expected.pose_enc"], torch.nan)
    path = tmp_path / "other.safetensors"
    save_file(tensors, path, metadata_of(GOLDENS[0]))

    assert main([str(path)]) == 1


def single_forward_golden(path: Path, keyframes: list[int], said: list[int]) -> Path:
    """A single-forward file with our results for ``keyframes``, that names ``said``."""
    metadata, tensors = metadata_of(GOLDENS[0]), load_file(GOLDENS[0])
    config = json.loads(metadata["config"]) | {"variant": "single", "keyframe_every": 2}
    metadata |= {
        "config": json.dumps(config), "chunk_size": "null", "keyframe_indices": json.dumps(said)
    }
    save_file(tensors, path, metadata)
    golden = read_golden(path)
    with torch.inference_mode():
        ours = golden.model(golden.images, keyframes=keyframes)
    for name in ("pose_enc", "depth", "depth_conf"):
        tensors[f"expected.{name}"] = getattr(ours, name)
    tensors = {name: value for name, value in tensors.items() if "intermediate" not in name}
    save_file(tensors, path, metadata)
    return path


def test_a_single_forward_file_is_run_with_its_own_keyframes(tmp_path):
    path = single_forward_golden(tmp_path / "single.safetensors", [0, 1, 0, 2], [0, 1, 0, 2])

    assert main([str(path)]) == 0


def test_keyframes_that_are_named_twice_count_twice(tmp_path):
    path = single_forward_golden(tmp_path / "single.safetensors", [0, 1, 0, 2], [0, 1, 2])

    assert main([str(path)]) == 1


def test_intermediate_results_are_compared_too():
    golden = read_golden(GOLDENS[1])

    assert set(golden.expected) == set(run_golden(golden))
