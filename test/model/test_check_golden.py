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


def test_keyframes_may_come_as_one_row_per_sequence(tmp_path):
    path = single_forward_golden(tmp_path / "single.safetensors", [0, 2], [[0, 2]])

    assert main([str(path)]) == 0


def rewritten(path: Path, config: dict[str, object], **metadata: str | None) -> Path:
    """The first golden with other metadata; what is None is left out."""
    said = metadata_of(GOLDENS[0])
    sizes = json.loads(said["config"]) | config
    sizes = {name: value for name, value in sizes.items() if value is not None}
    said |= {"config": json.dumps(sizes)} | metadata
    save_file(load_file(GOLDENS[0]), path, {k: v for k, v in said.items() if v is not None})
    return path


def test_sizes_are_read_off_the_weights_where_the_metadata_leaves_them_out(tmp_path):
    derived = ("img_size", "patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio",
               "num_register_tokens", "dino_depth", "cam_trunk_depth", "dpt_features",
               "dpt_out_channels", "init_values", "rope_freq", "keyframe_every",
               "global_start_idx", "global_end_idx")
    path = tmp_path / "short.safetensors"

    rewritten(path, dict.fromkeys(derived) | {"rev": "R1"}, keyframe_indices=None)

    assert main([str(path)]) == 0


def test_a_chunk_size_that_is_left_out_means_one_chunk(tmp_path):
    for spelling in (None, "null"):
        path = rewritten(tmp_path / "whole.safetensors", {}, chunk_size=spelling)

        assert read_golden(path).chunk_size is None
        assert main([str(path)]) == 1  # the truth is that of chunks of two


@pytest.mark.parametrize(
    ("config", "metadata", "said"),
    [
        ({"kv_downfactor": None}, {}, "does not say 'kv_downfactor'"),
        ({"variant": None}, {}, "does not say 'variant'"),
        ({"dino_heads": "2"}, {}, "not supported between"),
        ({"rev": 3}, {}, "revision is 'r3'"),
        ({"variant": "both"}, {}, "variant is 'both'"),
        ({"intermediate_layer_idx": [0, 1, 2, 4]}, {}, "four blocks from 0 to 3"),
        ({}, {"chunk_size": "0"}, "chunk_size is 0"),
        ({}, {"chunk_size": "two"}, "Expecting value"),
        ({"variant": "single"}, {"keyframe_indices": "[[0], [1]]"}, "one list of frames"),
        ({"variant": "single"}, {"keyframe_indices": "[0, 6]"}, "within 0 to 5"),
    ],
)
def test_what_a_file_lacks_or_gets_wrong_is_said(tmp_path, capsys, config, metadata, said):
    path = rewritten(tmp_path / "odd.safetensors", config, **metadata)

    assert main([str(path)]) == 2

    assert said in capsys.readouterr().err


def test_a_file_that_cannot_be_read_does_not_keep_others_from_being_checked(tmp_path, capsys):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no tensors")

    assert main([str(broken), str(tmp_path / "absent"), str(GOLDENS[0])]) == 2

    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 2
    assert "broken.safetensors" in printed.err
    assert "pose_enc" in printed.out


def test_what_we_do_not_compute_is_not_compared_and_litter_is_not_loaded(tmp_path, capsys):
    tensors = load_file(GOLDENS[0])
    tensors["expected.world_points"] = torch.zeros(1, 6, 112, 140, 3)
    tensors["weights.aggregator.global_blocks.0.attn.x_kv_cache"] = torch.zeros(1, 80, 32)
    path = tmp_path / "more.safetensors"
    save_file(tensors, path, metadata_of(GOLDENS[0]))

    assert main([str(path)]) == 0

    assert "world_points                                             not compared" in (
        capsys.readouterr().out
    )


def test_a_file_without_the_truth_gives_our_results_and_nothing_else(tmp_path, capsys):
    tensors = load_file(GOLDENS[0])
    bare = {name: value for name, value in tensors.items() if not name.startswith("expected.")}
    path, output = tmp_path / "bare.safetensors", tmp_path / "ours.safetensors"
    save_file(bare, path, metadata_of(GOLDENS[0]))

    assert main([str(path)]) == 2
    assert "what to expect of pose_enc, depth, depth_conf" in capsys.readouterr().err

    assert main([str(path), "--output", str(output)]) == 0
    for name, value in load_file(output).items():
        assert relative_rms(value, tensors[f"expected.{name}"]) <= LIMIT


def test_several_sequences_at_once_are_checked_too(tmp_path):
    tensors = load_file(GOLDENS[0])
    tensors["images_u8"] = tensors["images_u8"].expand(2, -1, -1, -1, -1).contiguous()
    for name in ("pose_enc", "depth", "depth_conf"):
        tensors[f"expected.{name}"] = torch.cat([tensors[f"expected.{name}"]] * 2)
    tensors = {name: value for name, value in tensors.items() if "intermediate" not in name}
    path = tmp_path / "batch.safetensors"
    save_file(tensors, path, metadata_of(GOLDENS[0]))

    assert main([str(path)]) == 0


def test_intermediate_results_are_compared_too():
    golden = read_golden(GOLDENS[1])

    assert set(golden.expected) == set(run_golden(golden))
