"""What rounding costs: a precision against float32, on the same weights and images."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from flashvggt_ros.model.precision import PRECISIONS
from flashvggt_ros.tools.benchmarking.case import Case
from flashvggt_ros.tools.benchmarking.host_copies import Uploads

REFERENCE = "fp32"
YARDSTICK = "autocast"


@dataclass(frozen=True, slots=True)
class Errors:
    """Relative root mean squares of the differences to float32, of all frames.

    ``poses`` of whole pose encodings as the last chunk left them, ``translation`` and ``rotation``
    of their parts; ``log_depth`` absolute, of the logarithm of the depth.
    """

    label: str
    poses: float
    translation: float
    rotation: float
    depth: float
    log_depth: float
    confidence: float


def measure_errors(case: Case, images: Tensor) -> list[Errors]:
    """Errors of the case's precision, then of upstream's, the yardstick of all but int8."""
    plain = dataclasses.replace(case, kernels="plain", has_graphs=False, attention="auto")
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        exact = _results(_in(plain, REFERENCE), images)
    rows = []
    if case.precision != PRECISIONS[YARDSTICK]:
        rows.append(_errors(case.precision_name, _results(case, images), exact))
    if case.precision.is_int8:
        return rows
    return [*rows, _errors(YARDSTICK, _results(_in(plain, YARDSTICK), images), exact)]


def relative_rms(ours: Tensor, exact: Tensor) -> float:
    """Root mean square of the difference over that of ``exact``."""
    difference = (ours.double() - exact.double()).square().mean().sqrt()
    return float(difference / exact.double().square().mean().sqrt())


def _in(case: Case, name: str) -> Case:
    """The case in another precision; a bounded cache holds as many frames as before."""
    precision = PRECISIONS[name]
    size = precision.cache.itemsize / case.precision.cache.itemsize
    return dataclasses.replace(case, precision=precision, precision_name=name,
                               max_cache_mb=case.max_cache_mb * size)


@dataclass(frozen=True, slots=True, eq=False)
class _Results:
    pose_enc: Tensor  # (K, 9)
    depth: Tensor  # (N, H, W)
    confidence: Tensor  # (N, H, W)


def _results(case: Case, images: Tensor) -> _Results:
    """Run a case over all its frames; results on the host."""
    model = case.model()
    uploads, cache = Uploads(images, case.device), case.new_cache(model)
    depths, confidences, poses = [], [], torch.empty(0)
    firsts = range(0, case.frames, case.chunk)
    with case.computing():
        for first in tqdm(firsts, f"errors of {case.precision_name}", disable=None, leave=False):
            size = min(case.chunk, case.frames - first)
            prediction = model.forward_chunk(uploads.chunk(first, size), cache)
            poses = prediction.pose_enc[0].cpu()
            depths.append(prediction.depth[0, ..., 0].cpu())
            confidences.append(prediction.depth_conf[0].cpu())
    return _Results(poses, torch.cat(depths), torch.cat(confidences))


def _errors(name: str, ours: _Results, exact: _Results) -> Errors:
    return Errors(
        label=name,
        poses=relative_rms(ours.pose_enc, exact.pose_enc),
        translation=relative_rms(ours.pose_enc[:, :3], exact.pose_enc[:, :3]),
        rotation=relative_rms(ours.pose_enc[:, 3:7], exact.pose_enc[:, 3:7]),
        depth=relative_rms(ours.depth, exact.depth),
        log_depth=float((ours.depth.log() - exact.depth.log()).square().mean().sqrt()),
        confidence=relative_rms(ours.confidence, exact.confidence),
    )
