"""Checkpoints with something wrong, loaded: one trial after another."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from flashvggt_ros.tools.soak_checks.mangling import FLOATS, mangled, mangled_text
from flashvggt_ros.tools.soak_checks.trial import Trial, require

BOMB = 400_000_000  # that a compressed entry of a .pt file unpacks to [bytes]


def checkpoint_trial(folder: Path) -> Trial:
    """Load a broken .safetensors or .pt file; a pickle that runs code must not run it."""
    import torch

    from flashvggt_ros.model.checkpoint import load_checkpoint
    from flashvggt_ros.model.flashvggt import FlashVGGT
    from flashvggt_ros.model.model_config import ModelConfig

    torch.set_num_threads(1)
    config = ModelConfig(
        patch_size=8, image_width=64, position_grid=8, width=32, encoder_depth=1, encoder_heads=2,
        revision="r1", depth=4, heads=2, taps=(0, 1, 2, 3), camera_depth=1, camera_heads=2,
        depth_features=16, depth_channels=(8, 8, 16, 16),
    )
    weights = {name: value.contiguous() for name, value in FlashVGGT(config).state_dict().items()}
    changes = _changes(weights, config.to_json(), Path(tempfile.mkdtemp(dir=folder), "executed"))
    work = Path(tempfile.mkdtemp(prefix="checkpoint_trial_", dir=folder))

    def trial(random: Random) -> bool:
        suffix, content = random.choice(changes)(random)
        path = work / f"weights{suffix}"
        path.write_bytes(content)
        of_file = suffix == ".safetensors"
        try:
            model, _ = load_checkpoint(path, name="x", config=None if of_file else config)
        except (ValueError, OSError) as error:
            require(str(path) in str(error), f"the reason does not name the file: {error}")
            return False
        finally:
            path.unlink()
            require(not any(work.parent.glob("*/executed")), "a checkpoint ran code")
        for name, value in model.state_dict().items():
            require(value.dtype == torch.float32 and bool(torch.isfinite(value).all()),
                    f"{name} is not finite")
        return True

    return trial


Made = tuple[str, bytes]


def _changes(weights: dict, config: str, marker: Path) -> list[Callable[[Random], Made]]:
    """Return ways to make the content of a file, with its suffix."""
    import torch
    from safetensors.torch import save

    sound = save(weights, {"config": config})
    zipped, legacy = io.BytesIO(), io.BytesIO()
    torch.save(weights, zipped)
    torch.save(weights, legacy, _use_new_zipfile_serialization=False)
    bomb = _bomb(zipped.getvalue())

    def broken_bytes(random: Random) -> Made:
        return ".safetensors", mangled(sound, random)

    def lying_header(random: Random) -> Made:
        """The length of the header, 8 bytes, then JSON: either may lie."""
        length = struct.unpack_from("<Q", sound)[0]
        header = mangled_text(sound[8 : 8 + length].decode("utf-8"), random).encode("utf-8")
        said = random.choice((len(header), len(header), len(header), 2**63, 2**40, 0))
        return ".safetensors", struct.pack("<Q", said) + header + sound[8 + length :]

    def lying_config(random: Random) -> Made:
        lie = mangled_text(config, random)
        if random.random() < 0.5:
            sizes = json.loads(config)
            name = random.choice(list(sizes))
            sizes[name] = random.choice((0, -1, 1, 2, 3, 10**6, 10**9, 10**30, 1e300, 0.5, True,
                                         float("nan"), None, "8", [], [10**9] * 4, [2**40, 2]))
            lie = json.dumps(sizes)
        return ".safetensors", save(weights, {"config": lie})

    def other_tensors(random: Random) -> Made:
        changed = _other_tensors(weights, random)
        if random.random() < 0.5:
            return ".safetensors", save(changed, {"config": config})
        stream = io.BytesIO()
        torch.save(changed, stream)
        return ".pt", stream.getvalue()

    def broken_pickle(random: Random) -> Made:
        content = random.choice((zipped, legacy)).getvalue()
        return ".pt", mangled(content, random)

    def dangerous_pickle(random: Random) -> Made:
        return ".pt", _dangerous(weights, marker, random)

    def zip_bomb(random: Random) -> Made:
        return ".pt", bomb

    return [broken_bytes, lying_header, lying_header, lying_config, lying_config, other_tensors,
            other_tensors, broken_pickle, broken_pickle, dangerous_pickle, zip_bomb]


def _other_tensors(weights: dict, random: Random) -> dict:
    import torch

    changed = dict(weights)
    name = random.choice(list(changed))
    value = changed[name].clone()
    kind = random.randrange(6)
    if kind == 0:
        one = torch.tensor(random.choice(FLOATS), dtype=torch.float64).float()
        value.view(-1)[random.randrange(value.numel())] = one
    elif kind == 1:
        value = value.to(random.choice((torch.int64, torch.bool, torch.uint8, torch.float64,
                                        torch.float16, torch.bfloat16, torch.complex64)))
    elif kind == 2:
        value = torch.zeros(random.choice(((0,), (3,), (1, 2, 3), ())))
    elif kind == 3:
        changed[f"{name}.extra"] = value.clone()
    elif kind == 4:
        value = torch.full(value.shape, random.choice((1e39, 1e300)), dtype=torch.float64)
    changed[name] = value
    if kind == 5:
        del changed[name]
    return changed


class _Execution:
    """What writes a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._command = f"touch {marker}"

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self._command,)


def _dangerous(weights: dict, marker: Path, random: Random) -> bytes:
    import torch

    entries = {**weights, random.choice(list(weights)): _Execution(marker)}
    if random.random() < 0.3:
        return pickle.dumps(entries, protocol=random.choice((2, 4)))
    stream = io.BytesIO()
    torch.save(entries, stream, _use_new_zipfile_serialization=random.random() < 0.5)
    return stream.getvalue()


def _bomb(zipped: bytes) -> bytes:
    """Return a .pt file whose largest entry unpacks to BOMB bytes."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(zipped)) as sound,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in sound.infolist():
            is_first = entry.filename.endswith("/data/0")
            packed.writestr(entry.filename, bytes(BOMB) if is_first else sound.read(entry))
    return stream.getvalue()
