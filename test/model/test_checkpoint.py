import hashlib
import json
import logging
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from flashvggt_ros.model import checkpoint
from flashvggt_ros.model.checkpoint import load_checkpoint, read_weights, resolve_checkpoint
from flashvggt_ros.model.flashvggt import FlashVGGT


@pytest.fixture
def model(make_model) -> FlashVGGT:
    return make_model()


def save(model: FlashVGGT, path: Path, **extra: torch.Tensor) -> Path:
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(weights | extra, path, {"config": model.config.to_json()})
    else:
        torch.save(weights | extra, path)
    return path


def same_weights(one: FlashVGGT, other: FlashVGGT) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


def test_a_safetensors_file_gives_back_model_and_hash(model, images, tmp_path):
    path = save(model, tmp_path / "tiny.safetensors")

    loaded, card = resolve_checkpoint(str(path))

    assert loaded.config == model.config
    assert same_weights(loaded, model)
    assert torch.equal(loaded(images).depth, model(images).depth)
    assert card.name == "tiny.safetensors"
    assert card.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert card.is_trained
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_a_pt_file_is_loaded_with_a_given_config(model, tmp_path, is_zip):
    path = tmp_path / "tiny.pt"
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=is_zip)

    loaded, _ = load_checkpoint(path, name="tiny", config=model.config)

    assert same_weights(loaded, model)


def test_a_state_dict_inside_a_training_checkpoint_is_found(model, tmp_path):
    path = tmp_path / "tiny.pt"
    torch.save({"model": model.state_dict(), "step": 5}, path)

    assert same_weights(load_checkpoint(path, name="tiny", config=model.config)[0], model)


def test_half_precision_weights_become_float32(model, tmp_path):
    path = tmp_path / "tiny.pt"
    torch.save({name: value.half() for name, value in model.state_dict().items()}, path)

    loaded, _ = load_checkpoint(path, name="tiny", config=model.config)

    assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32}


def test_heads_of_vggt_and_buffers_of_old_code_are_ignored_by_name(model, tmp_path, caplog):
    blocks = "aggregator.global_blocks.0.attn."
    path = save(
        model, tmp_path / "vggt.safetensors",
        **{"point_head.norm.weight": torch.ones(2), "track_head.a.b": torch.ones(2),
           "track_head.c": torch.ones(1), blocks + "x_kv_cache": torch.ones(3),
           blocks + "pos_k_cache": torch.ones(3)},
    )

    with caplog.at_level(logging.INFO):
        loaded, _ = resolve_checkpoint(str(path))

    assert same_weights(loaded, model)
    said = caplog.text
    for name in ("1 tensors point_head.*", "2 tensors track_head.*", "x_kv_cache", "pos_k_cache"):
        assert name in said


def test_unexpected_tensors_are_refused_by_name(model, tmp_path):
    path = save(model, tmp_path / "odd.safetensors", **{"other_head.weight": torch.ones(2)})

    with pytest.raises(ValueError, match=r"1 unexpected: other_head\.weight"):
        resolve_checkpoint(str(path))


def test_missing_and_misshapen_tensors_are_refused_by_name(model, tmp_path):
    weights = model.state_dict()
    del weights["camera_head.embed_pose.bias"]
    weights["depth_head.norm.weight"] = torch.ones(3)
    path = tmp_path / "bad.pt"
    torch.save(weights, path)

    with pytest.raises(ValueError, match=r"missing: camera_head\.embed_pose\.bias.*\(3,\)"):
        load_checkpoint(path, name="bad", config=model.config)


def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path):
    trace = tmp_path / "it_ran"

    class Malicious:
        def __reduce__(self):
            return (Path.touch, (trace,))

    for name, write in (("zip.pt", torch.save), ("plain.pt", _write_pickle)):
        path = tmp_path / name
        write({"weight": Malicious()}, path)
        with pytest.raises(ValueError, match="was refused"):
            resolve_checkpoint(str(path))
    assert not trace.exists()


def _write_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("name", ["cut.pt", "cut.safetensors"])
def test_a_truncated_file_is_refused(model, tmp_path, name):
    path = save(model, tmp_path / name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(ValueError, match="cut"):
        resolve_checkpoint(str(path))


@pytest.mark.parametrize("content", [{}, {"a": 3}, [1, 2]])
def test_a_file_without_weights_is_refused(tmp_path, content):
    path = tmp_path / "none.pt"
    torch.save(content, path)

    with pytest.raises(ValueError, match=r"no state dict|not tensors"):
        read_weights(path)


def test_weights_of_unknown_size_without_config_are_refused(model, tmp_path):
    path = save(model, tmp_path / "tiny.pt")

    with pytest.raises(ValueError, match="does not say its model's sizes"):
        resolve_checkpoint(str(path))


def test_a_wrong_hash_beside_the_file_is_noticed(model, tmp_path):
    path = save(model, tmp_path / "tiny.safetensors")
    sidecar = tmp_path / "tiny.safetensors.sha256"
    sidecar.write_text(f"{checkpoint.file_sha256(path)}  tiny.safetensors\n")
    resolve_checkpoint(str(path))

    sidecar.write_text(f"{'0' * 64}  tiny.safetensors\n")

    with pytest.raises(ValueError, match="damaged or was replaced"):
        resolve_checkpoint(str(path))


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match="neither a file nor one of flashvggt-mini"):
        resolve_checkpoint("no_such_checkpoint")
    with pytest.raises(ValueError, match=r"neither a \.pt nor"):
        resolve_checkpoint(__file__)


def test_the_embedded_checkpoint_is_loaded_or_its_absence_said(tmp_path, monkeypatch, model):
    monkeypatch.setattr(checkpoint, "WEIGHTS_FOLDER", tmp_path)
    with pytest.raises(ValueError, match="not complete"):
        resolve_checkpoint("flashvggt-mini")

    path = save(model, tmp_path / "flashvggt-mini.safetensors")
    with pytest.raises(ValueError, match=r"flashvggt-mini\.safetensors\.sha256"):
        resolve_checkpoint("flashvggt-mini")

    path.with_name(f"{path.name}.sha256").write_text(checkpoint.file_sha256(path))
    loaded, card = resolve_checkpoint("flashvggt-mini")
    assert same_weights(loaded, model)
    assert card.name == "flashvggt-mini"


def test_untrained_weights_depend_on_the_seed_alone_and_say_what_they_are(monkeypatch, model):
    monkeypatch.setitem(checkpoint.PRESETS, "flashvggt-mini", model.config)
    state = torch.random.get_rng_state()

    one, card = resolve_checkpoint("untrained", seed=4)
    torch.rand(3)
    same, same_card = resolve_checkpoint("untrained", seed=4)
    other, other_card = resolve_checkpoint("untrained", seed=5)

    assert same_weights(one, same)
    assert not same_weights(one, other)
    assert card == same_card
    assert card.sha256 != other_card.sha256
    assert not card.is_trained
    torch.random.set_rng_state(state)


def test_a_hash_that_the_user_gives_must_be_that_of_the_file(model, tmp_path):
    path = save(model, tmp_path / "tiny.safetensors")
    digest = checkpoint.file_sha256(path)

    resolve_checkpoint(str(path), sha256=digest.upper())

    with pytest.raises(ValueError, match=r"checkpoint_sha256 says 000.*delete .*tiny"):
        resolve_checkpoint(str(path), sha256="0" * 64)
    with pytest.raises(ValueError, match="checkpoint_sha256 says"):
        resolve_checkpoint("flashvggt-mini", sha256="0" * 64)
    with pytest.raises(ValueError, match="has no file"):
        resolve_checkpoint("untrained", sha256="0" * 64)


def test_loading_does_not_import_torchs_compiler():
    script = (
        "import sys; from flashvggt_ros.model.checkpoint import resolve_checkpoint; "
        "before = 'torch._dynamo' in sys.modules; resolve_checkpoint('flashvggt-mini'); "
        "print('torch._dynamo' in sys.modules and not before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(model, tmp_path, value):
    model.state_dict()["depth_head.norm.weight"].view(-1)[1] = value
    path = save(model, tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match=r"not finite numbers: depth_head\.norm\.weight"):
        resolve_checkpoint(str(path))


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_weights_that_are_no_floating_point_numbers_are_refused(model, tmp_path, dtype):
    weights = model.state_dict()
    weights["depth_head.norm.weight"] = weights["depth_head.norm.weight"].to(dtype)
    torch.save(weights, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match=r"depth_head\.norm\.weight"):
        load_checkpoint(tmp_path / "bad.pt", name="bad", config=model.config)


@pytest.mark.parametrize(
    ("size", "value", "complaint"),
    [
        ("depth", 10**9, "must be within 0 to 128"),
        ("width", 10**30, "must be within 0 to 65536"),
        ("width", "32", "another type than 1024"),
        ("width", True, "another type than 1024"),
        ("mlp_ratio", float("nan"), "must be within"),
        ("mlp_ratio", 1e300, "must be within"),
        ("heads", 0, "at least 1"),
        ("taps", [0, 1], "another type"),
        ("luck", 1, "'luck' is no size of a model"),
    ],
)
def test_sizes_that_no_model_has_are_refused_at_once(model, tmp_path, size, value, complaint):
    sizes = {**json.loads(model.config.to_json()), size: value}
    weights = {name: part.contiguous() for name, part in model.state_dict().items()}
    path = tmp_path / "odd.safetensors"
    save_file(weights, path, {"config": json.dumps(sizes)})
    with pytest.raises(ValueError, match=rf"odd\.safetensors.*{complaint}"):
        resolve_checkpoint(str(path))


def test_a_pt_file_that_is_damaged_anywhere_is_refused_or_still_whole(model, tmp_path):
    path = save(model, tmp_path / "whole.pt")
    whole, refused = path.read_bytes(), 0
    for at in range(0, 4000, 97):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            load_checkpoint(path, name="x", config=model.config)
        except ValueError as error:
            refused += str(path) in str(error)
    assert refused > 30
