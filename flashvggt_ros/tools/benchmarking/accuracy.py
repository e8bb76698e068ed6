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


def measure_errors(case: Case, images: Tensor, sequences: int = 1) -> list[Errors]:
    """Errors of the case's precision, then of upstream's, the yardstick of all but int8.

    ``sequences``: how many of ``case.frames`` follow each other in ``images``, each a submap of its
    own; errors are those of all frames. One sequence may see its images again and again.
    """
    parts = list(images.split(case.frames))[:sequences] if sequences > 1 else [images]
    plain = dataclasses.replace(case, kernels="plain", has_graphs=False, attention="auto")
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        exact = _results(_in(plain, REFERENCE), parts)
    rows = []
    if case.precision != PRECISIONS[YARDSTICK]:
        rows.append(_errors(case.precision_name, _results(case, parts), exact))
    if case.precision.is_int8:
        return rows
    return [*rows, _errors(YARDSTICK, _results(_in(plain, YARDSTICK), parts), exact)]


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
    pose_enc: Tensor  # (N, 9)
    depth: Tensor  # (N, H, W)
    confidence: Tensor  # (N, H, W)


def _results(case: Case, sequences: list[Tensor]) -> _Results:
    """Run a case over all frames of each sequence; results on the host."""
    model = case.model()
    depths, confidences, poses = [], [], []
    firsts = range(0, case.frames, case.chunk)
    steps = [(images, first) for images in sequences for first in firsts]
    with case.computing():
        for images, first in tqdm(steps, f"errors of {case.precision_name}", disable=None,
                                  leave=False):
            if first == 0:
                uploads, cache = Uploads(images, case.device), case.new_cache(model)
            size = min(case.chunk, case.frames - first)
            prediction = model.forward_chunk(uploads.chunk(first, size), cache)
            if first == firsts[-1]:
                poses.append(prediction.pose_enc[0].cpu())
            depths.append(prediction.depth[0, ..., 0].cpu())
            confidences.append(prediction.depth_conf[0].cpu())
    return _Results(torch.cat(poses), torch.cat(depths), torch.cat(confidences))


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
