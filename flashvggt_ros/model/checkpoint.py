"""Weights: where a checkpoint's name leads, what may be in its file, and what it is.

A checkpoint never runs code: .pt files are read with torch's restricted unpickler. Nothing is ever
replaced by random weights unless ``untrained`` is asked for.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from flashvggt_ros.home_paths import expanded
from flashvggt_ros.model.flashvggt import FlashVGGT
from flashvggt_ros.model.model_config import PRESETS, ModelConfig
from flashvggt_ros.model.released_weights import released_weights

logger = logging.getLogger(__name__)

EMBEDDED = "flashvggt-mini"
UNTRAINED = "untrained"
RELEASED = ("flashvggt-r1", "flashvggt-r2")
CONFIGURED = "checkpoint_sha256"  # the parameter
WEIGHTS_FOLDER = Path(__file__).resolve().parent.parent / "weights"
IGNORED_HEADS = ("point_head.", "track_head.")  # of VGGT-1B
IGNORED_BUFFERS = (".x_kv_cache", ".pos_k_cache")  # left by upstream's first stream code


@dataclass(frozen=True, slots=True)
class CheckpointCard:
    """What weights a model has.

    ``sha256``: of the checkpoint file, or of the weights themselves where there is no file.
    ``is_trained`` is False for random weights: their geometry means nothing.
    """

    name: str
    sha256: str
    is_trained: bool
    parameters: int
    revision: str


def resolve_checkpoint(
    name: str, seed: int = 0, sha256: str = ""
) -> tuple[FlashVGGT, CheckpointCard]:
    """Make the model that ``name`` stands for, in float32 on the CPU, without gradients.

    ``name``: flashvggt-mini (embedded), flashvggt-r1 or flashvggt-r2 (downloaded once), untrained
    (random weights from ``seed``), or a .pt or .safetensors file. ``sha256``: what the file must
    have, where that is known. Raises ValueError with a remedy.
    """
    if name == UNTRAINED:
        if sha256:
            raise ValueError(f"{CONFIGURED} is set, but checkpoint '{UNTRAINED}' has no file")
        return _untrained(seed)
    if name == EMBEDDED:
        return _embedded(sha256)
    if name in RELEASED:
        path, declared = released_weights(EMBEDDED, has_own_hash=bool(sha256))
        expected = {"the hub": declared, CONFIGURED: sha256}
        return load_checkpoint(path, name=name, config=PRESETS[name], expected=expected)
    path = expanded(name)
    if not path.is_file():
        known = ", ".join((EMBEDDED, *RELEASED, UNTRAINED))
        raise ValueError(f"checkpoint '{name}' is neither a file nor one of {known}")
    return load_checkpoint(path, name=path.name, expected={CONFIGURED: sha256})


def load_checkpoint(
    path: Path,
    *,
    name: str,
    config: ModelConfig | None = None,
    expected: Mapping[str, str] = MappingProxyType({}),
) -> tuple[FlashVGGT, CheckpointCard]:
    """Load a .pt or .safetensors file strictly.

    ``config``: None takes it from the file, or for weights of the released size flashvggt-r2's.
    ``expected``: SHA-256 by who says so; empty ones are unknown. A file beside it named like it
    plus ``.sha256`` must agree, too. Raises ValueError for anything that is missing, unexpected, of
    another shape, or unreadable.
    """
    digest = file_sha256(path)
    _check_digest(path, digest, expected)
    weights, metadata = read_weights(path)
    model = _build(config or _config_of(path, weights, metadata), weights, path)
    return model, _card(model, name, digest, is_trained=True)


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and metadata of a .safetensors or .pt file; metadata is empty for .pt."""
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
                return tensors, file.metadata() or {}
        except (SafetensorError, OSError, ValueError, MemoryError) as error:
            raise ValueError(f"{path} is not a sound safetensors file: {error}") from error
    if path.suffix not in (".pt", ".pth"):
        raise ValueError(f"{path} is neither a .pt nor a .safetensors file")
    try:
        content = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} was refused: it holds more than tensors, which could run code, or is damaged"
        ) from error
    except Exception as error:  # of a damaged file: whatever the unpickler trips over
        raise ValueError(f"{path} is not a sound .pt file: {error!r}") from error
    return _tensors(path, content), {}


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _tensors(path: Path, content: object) -> dict[str, Tensor]:
    """Return the state dict in a .pt file, which may lie under the key model or state_dict."""
    for key in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{path} holds no state dict")
    wrong = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if wrong:
        raise ValueError(f"{path} holds entries that are not tensors: {_some(wrong)}")
    return dict(content)


def _config_of(path: Path, weights: dict[str, Tensor], metadata: dict[str, str]) -> ModelConfig:
    if "config" in metadata:
        try:
            return ModelConfig.from_json(metadata["config"])
        except ValueError as error:
            raise ValueError(f"{path} has metadata 'config' that is {error}") from None
    released = PRESETS["flashvggt-r2"]
    token = weights.get("aggregator.camera_token")
    if token is None or token.shape != (1, 2, 1, released.width):
        raise ValueError(
            f"{path} does not say its model's sizes (metadata 'config' of a .safetensors file) and "
            "its weights are not of the released size"
        )
    logger.info("%s does not say its revision: taken as flashvggt-r2", path)
    return released


def _build(config: ModelConfig, weights: dict[str, Tensor], path: Path) -> FlashVGGT:
    """Make a model around the tensors themselves, so that big files are not copied."""
    with torch.device("meta"):
        model = FlashVGGT(config)
    weights = without_ignored(weights, path)
    _check_names(model.state_dict(), weights, path)
    _check_numbers(weights, path)
    model.load_state_dict({name: value.float() for name, value in weights.items()}, assign=True)
    model.aggregator.set_normalization("cpu")
    return model.eval().requires_grad_(False)


def without_ignored(weights: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Drop what upstream's files may hold besides: VGGT's other heads, caches left in buffers."""
    kept = {}
    ignored: dict[str, int] = {}
    for name, value in weights.items():
        head = next((head for head in IGNORED_HEADS if name.startswith(head)), None)
        litter = next((buffer for buffer in IGNORED_BUFFERS if name.endswith(buffer)), None)
        if head or litter:
            label = f"{head}*" if head else f"*{litter}"
            ignored[label] = ignored.get(label, 0) + 1
        else:
            kept[name] = value
    for label, count in ignored.items():
        logger.info("%s: ignored %d tensors %s, which this model has no use for", path, count,
                    label)
    return kept


def _check_names(wanted: Mapping[str, Tensor], found: dict[str, Tensor], path: Path) -> None:
    missing = sorted(set(wanted) - set(found))
    unexpected = sorted(set(found) - set(wanted))
    misshapen = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in found and found[name].shape != value.shape
    ]
    faults = (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
    said = [f"{len(names)} {fault}: {_some(names)}" for fault, names in faults if names]
    if said:
        raise ValueError(f"{path} does not fit the model; tensors {'; '.join(said)}")


def _check_numbers(weights: dict[str, Tensor], path: Path) -> None:
    """Refuse tensors of another kind than floating point, and NaN and Inf, which a sum keeps."""
    wrong = [name for name, value in weights.items()
             if not value.is_floating_point() or not value.float().sum().isfinite()]
    if wrong:
        raise ValueError(f"{path} has weights that are not finite numbers: {_some(wrong)}")


def _check_digest(path: Path, digest: str, expected: Mapping[str, str]) -> None:
    """Compare with the hashes expected, and with the .sha256 file beside it, if there is one."""
    sidecar = path.with_name(f"{path.name}.sha256")
    if sidecar.is_file():
        words = sidecar.read_text(errors="replace").split() or ["no hash"]
        expected = {**expected, sidecar.name: words[0]}
    for source, wanted in expected.items():
        if wanted and wanted.lower() != digest:
            raise ValueError(
                f"{path} is damaged or was replaced: its SHA-256 is {digest}, {source} says "
                f"{wanted}; delete {path.resolve()} and get it anew, or correct {source}"
            )


def _embedded(sha256: str) -> tuple[FlashVGGT, CheckpointCard]:
    path = WEIGHTS_FOLDER / f"{EMBEDDED}.safetensors"
    sidecar = path.with_name(f"{path.name}.sha256")
    for file in (path, sidecar):
        if not file.is_file():
            raise ValueError(
                f"the embedded checkpoint {EMBEDDED} is not complete in this installation ({file} "
                f"is not there): name a file, {RELEASED[1]}, or '{UNTRAINED}' for random weights"
            )
    return load_checkpoint(path, name=EMBEDDED, expected={CONFIGURED: sha256})


def _untrained(seed: int) -> tuple[FlashVGGT, CheckpointCard]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = FlashVGGT(PRESETS[EMBEDDED]).eval().requires_grad_(False)
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.contiguous().numpy())
    logger.warning("the weights are random (checkpoint '%s'): the geometry means nothing",
                   UNTRAINED)
    return model, _card(model, UNTRAINED, digest.hexdigest(), is_trained=False)


def _card(model: FlashVGGT, name: str, digest: str, *, is_trained: bool) -> CheckpointCard:
    return CheckpointCard(
        name=name,
        sha256=digest,
        is_trained=is_trained,
        parameters=sum(value.numel() for value in model.parameters()),
        revision=model.config.revision,
    )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown}, ..."
