"""Score a checkpoint on unseen synthetic sequences, seen in chunks as on a robot.

    python -m training.evaluate [--checkpoint FILE] [--sequences 200] [--frames 32] [--chunk 8]

Prints a table (of all sequences, and medians by place) and, as the last line, JSON. Seeds and
(where ``--textures``/unseen exists) the photographs were never trained on. Per sequence: rotation
error and angle of the translation of each frame against the first, and from one frame to the next
(medians over frames), ATE after Sim(3) alignment in percent of the path, AbsRel of depth, after one
scale for the whole sequence and in the model's own unit, and the field of view's error.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import flashvggt_ros
from flashvggt_ros.model.checkpoint import load_checkpoint
from flashvggt_ros.model.flashvggt import FlashVGGT
from flashvggt_ros.scene.textures import Textures
from training import losses
from training.sequences import PLACE_SHARES, Batch, Motion, ScenePool, load_photographs

Array = NDArray[np.float64]
SEED = 1_000_003
EMBEDDED = Path(flashvggt_ros.__file__).parent / "weights" / "flashvggt-mini.safetensors"
ROWS = (
    ("rotation", "rotation error [deg]"), ("rotation_truth", "true rotation from frame 0 [deg]"),
    ("rotation_step", "rotation error between neighbors [deg]"),
    ("step_truth", "true rotation between neighbors [deg]"),
    ("direction", "translation direction error [deg]"),
    ("direction_step", "direction error between neighbors [deg]"),
    ("ate", "ATE after Sim(3) [% of path]"),
    ("absrel", "depth AbsRel, one scale a sequence"),
    ("absrel_unscaled", "depth AbsRel in the model's unit"),
    ("fov", "field of view error [deg]"),
)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", type=Path, default=EMBEDDED, help="default: the embedded")
    parser.add_argument("--sequences", type=int, default=200)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--chunk", type=int, default=8)
    parser.add_argument("--height", type=int, default=168)
    parser.add_argument("--width", type=int, default=224)
    parser.add_argument("--textures", type=Path, default=Path(".textures"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    model, _ = load_checkpoint(options.checkpoint, name=options.checkpoint.name)
    model = model.to(options.device)
    started = time.monotonic()
    scores = evaluate(
        model, options.sequences, options.frames, options.chunk, (options.height, options.width),
        options.textures / "unseen", torch.device(options.device),
    )
    print(f"{options.sequences} sequences of {options.frames} frames, chunks of {options.chunk}, "
          f"{time.monotonic() - started:.0f} s")
    _print(scores)


def _print(scores: dict[str, list[dict[str, float]]]) -> None:
    """Print medians and means of all sequences, medians of each place, and all of it as JSON."""
    everything = [score for group in scores.values() for score in group]
    groups = {"all": everything} | scores
    result = {place: {name: {"median": float(np.median([s[name] for s in group])),
                             "mean": float(np.mean([s[name] for s in group]))} for name, _ in ROWS}
              for place, group in groups.items()}
    print(f"{'':40}{'median':>10}{'mean':>10}" + "".join(f"{place:>10}" for place in scores))
    for name, label in ROWS:
        cells = [result["all"][name]["median"], result["all"][name]["mean"]]
        cells += [result[place][name]["median"] for place in scores]
        print(f"{label:40}" + "".join(f"{cell:10.3f}" for cell in cells))
    print(json.dumps(result))


def evaluate(
    model: FlashVGGT, sequences: int, frames: int, chunk: int, size: tuple[int, int],
    photographs: Path | None, device: torch.device,
) -> dict[str, list[dict[str, float]]]:
    """Scores of ROWS of each sequence, by place; places have the shares they have in training."""
    rng = np.random.default_rng(SEED)
    textures = Textures.with_photographs(rng, load_photographs(photographs), 4)
    generator = torch.Generator(device).manual_seed(SEED)
    at_once = 8 if device.type == "cuda" else 1
    threads = torch.get_num_threads()
    scores: dict[str, list[dict[str, float]]] = {}
    for place, share in PLACE_SHARES.items():
        count = max(1, round(share * sequences))
        pool = ScenePool(max(32, count), textures, SEED, 0, {place: 1.0})
        pool.to(device)
        scores[place] = []
        while len(scores[place]) < count:
            with torch.inference_mode():
                torch.set_num_threads(1)  # rendering on a CPU: small tensors
                batch = pool.draw(at_once, frames, size, Motion(), generator, samples=4)
                torch.set_num_threads(threads)
                pose, depth = predict(model, batch.images, chunk)
            scores[place] += sequence_scores(pose, depth, batch)
        scores[place] = scores[place][:count]
        pool.close()
    return scores


def predict(model: FlashVGGT, images: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """Poses (B, N, 9) and depth (B, N, H, W) of sequences (B, N, 3, H, W) in chunks."""
    cache = model.new_cache()
    depths = []
    for part in images.split(chunk, dim=1):
        prediction = model.forward_chunk(part, cache)
        depths.append(prediction.depth[..., 0])
    return prediction.pose_enc, torch.cat(depths, 1)


def sequence_scores(pose: Tensor, depth: Tensor, batch: Batch) -> list[dict[str, float]]:
    """Scores of each sequence of a batch."""
    target = losses.truth(batch)
    R = losses.rotation_matrix(pose[..., 3:7]).double().cpu().numpy()
    t = pose[..., :3].double().cpu().numpy()
    R_true, t_true = target.R.double().cpu().numpy(), target.t.double().cpu().numpy()
    fov = torch.rad2deg((pose - target.pose_enc)[..., 7:].abs()).mean((1, 2)).cpu().numpy()
    result = []
    for i in range(len(R)):
        valid = target.is_valid[i]
        found, true = depth[i][valid], target.depth[i][valid]
        scaled = found * (true / found.clamp(min=1e-6)).median()
        result.append(path_scores(R[i], t[i], R_true[i], t_true[i]) | {
            "absrel": float(((scaled - true).abs() / true).mean()),
            "absrel_unscaled": float(((found - true).abs() / true).mean()),
            "fov": float(fov[i]),
        })
    return result


def path_scores(R: Array, t: Array, R_true: Array, t_true: Array) -> dict[str, float]:
    """Scores of one sequence's camera-from-first rotations (N, 3, 3) and translations (N, 3)."""
    centers, true_centers = -np.einsum("nji,nj->ni", R, t), -np.einsum("nji,nj->ni", R_true, t_true)
    path = float(np.linalg.norm(np.diff(true_centers, axis=0), axis=1).sum())
    moved = np.linalg.norm(true_centers, axis=1) > 0.05 * path
    steps = np.einsum("nij,nkj->nik", R[1:], R[:-1])
    steps_true = np.einsum("nij,nkj->nik", R_true[1:], R_true[:-1])
    # Where the next camera stands, as each camera sees it.
    moves = np.einsum("nij,nj->ni", R[:-1], np.diff(centers, axis=0))
    moves_true = np.einsum("nij,nj->ni", R_true[:-1], np.diff(true_centers, axis=0))
    return {
        "rotation": float(np.median(angles(R[1:], R_true[1:]))),
        "rotation_truth": float(np.median(angles(R_true[1:], np.eye(3)[None]))),
        "rotation_step": float(np.median(angles(steps, steps_true))),
        "step_truth": float(np.median(angles(steps_true, np.eye(3)[None]))),
        "direction": float(np.median(_between(centers[moved], true_centers[moved]))),
        "direction_step": float(np.median(_between(moves, moves_true))),
        "ate": 100 * ate_after_sim3(centers, true_centers) / max(path, 1e-6),
    }


def angles(R: Array, R_true: Array) -> Array:
    """Angles (N,) between rotations [degrees]."""
    cosine = (np.einsum("nij,nij->n", R, np.broadcast_to(R_true, R.shape)) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def _between(a: Array, b: Array) -> Array:
    if not len(a):
        return np.zeros(1)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = (a * b).sum(1) / np.maximum(norms, 1e-9)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def ate_after_sim3(points: Array, reference: Array) -> float:
    """Root mean square distance of points (N, 3) to ``reference`` after the best similarity.

    Umeyama, PAMI 1991, eq. 33: it needs no rotation, so paths on one line have a score as well.
    """
    a, b = points - points.mean(0), reference - reference.mean(0)
    u, spread, vt = np.linalg.svd(b.T @ a / len(a))
    trace = spread @ np.array([1, 1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    variance, variance_reference = (a**2).sum() / len(a), (b**2).sum() / len(a)
    return float(np.sqrt(max(variance_reference - trace**2 / max(variance, 1e-12), 0.0)))


if __name__ == "__main__":
    main()
