"""Score a checkpoint on windows of real bags with known poses: for deciding, never for training.

    python -m training.real_windows BAG TRUTH.tum [BAG TRUTH.tum ...] --frames 32

Each window of neighboring frames begins with a fresh cache and is seen in chunks, without
calibration. Medians over windows are printed, and what a straight line would score as a path.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from flashvggt_ros.config import ImageConfig
from flashvggt_ros.model.checkpoint import load_checkpoint
from flashvggt_ros.model.flashvggt import FlashVGGT
from flashvggt_ros.model.preprocess import Canvas, Preprocessor
from flashvggt_ros.sensors.bag_reader import Bag
from flashvggt_ros.tools.bag_frames import BagFrames
from flashvggt_ros.tools.ground_truth import read_ground_truth
from training import losses
from training.evaluate import Array, ate_after_sim3, path_scores

FARTHEST_POSE_NS = 50_000_000  # between an image and its pose
ROWS = (
    ("rotation", "rotation error against frame 0 [deg]"), ("rotation_truth", "  truth"),
    ("rotation_step", "rotation error between neighbors [deg]"), ("step_truth", "  truth"),
    ("direction", "translation direction error [deg]"),
    ("direction_step", "  between neighbors [deg]"),
    ("ate", "ATE after Sim(3) [% of path]"), ("line", "  of a straight line"),
    ("fov_down", "field of view down [deg]"), ("fov_across", "field of view across [deg]"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """N images (N, H, W, 3) uint8 as the model sees them, and T_world_camera (N, 4, 4)."""

    images: NDArray[np.uint8]
    T_world_camera: Array
    fov: tuple[float, float]  # true, down and across [degrees]; 0 where not calibrated


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recordings", nargs="+", help="a bag, its true poses (TUM), and so on")
    parser.add_argument("--checkpoint", type=Path,
                        default=Path("flashvggt_ros/weights/flashvggt-mini.safetensors"))
    parser.add_argument("--frames", type=int, nargs="+", default=[32], help="of a window")
    parser.add_argument("--chunk", type=int, default=8)
    options = parser.parse_args()
    if len(options.recordings) % 2:
        parser.error("give pairs of a bag and its true poses")
    model, _ = load_checkpoint(options.checkpoint, name=options.checkpoint.name)
    for bag, poses in zip(options.recordings[::2], options.recordings[1::2], strict=True):
        recording = read_recording(Path(bag), poses, model)
        for frames in options.frames:
            scores = window_scores(model, recording, frames, options.chunk)
            result = {name: round(float(np.median([s[name] for s in scores])), 3)
                      for name, _ in ROWS}
            _print(Path(bag).name, frames, len(scores), recording.fov, result)


def _print(bag: str, frames: int, windows: int, fov: tuple[float, float],
           result: dict[str, float]) -> None:
    print(f"{bag}: {windows} windows of {frames} frames; medians; true field of view "
          f"{fov[0]:.1f} x {fov[1]:.1f} deg")
    for name, label in ROWS:
        print(f"  {label:40}{result[name]:8.2f}")
    print(json.dumps({"bag": bag, "frames": frames, "windows": windows} | result), flush=True)


def read_recording(bag: Path, poses: str, model: FlashVGGT) -> Recording:
    """Read the images of a bag that have a pose, of its first image topic."""
    truth = read_ground_truth(poses)
    stamps = np.array(truth.stamps_ns, np.int64)
    preprocessor = Preprocessor(model.config, width=0, use_calibration=False)
    canvas: Canvas | None = None
    images, rows, fov = [], [], (0.0, 0.0)
    with Bag(bag) as reader:
        for frame in BagFrames(reader, reader.choose_image_topics(), ImageConfig()):
            if frame is None:
                continue
            row = int(np.abs(stamps - frame.stamp_ns).argmin())
            if abs(stamps[row] - frame.stamp_ns) > FARTHEST_POSE_NS:
                continue
            canvas = canvas or preprocessor.canvas(frame.image)
            images.append(preprocessor.prepare(frame, canvas).image)
            rows.append(row)
            if frame.calibration is not None:
                pinhole = frame.calibration.pinhole
                down = 2 * np.degrees(np.arctan(pinhole.height / 2 / pinhole.fy))
                fov = (down, 2 * np.degrees(np.arctan(pinhole.width / 2 / pinhole.fx)))
    return Recording(np.stack(images), truth.T_world_camera[rows], fov)


def window_scores(model: FlashVGGT, recording: Recording, frames: int, chunk: int
                  ) -> list[dict[str, float]]:
    """Scores of each window of ``frames``, one behind the other."""
    scores = []
    for first in range(0, len(recording.images) - frames + 1, frames):
        window = slice(first, first + frames)
        pose = _predict(model, recording.images[window], chunk)
        R = losses.rotation_matrix(pose[:, 3:7]).double().numpy()
        t = pose[:, :3].double().numpy()
        T = recording.T_world_camera[window]
        R_true = T[:, :3, :3].transpose(0, 2, 1) @ T[0, :3, :3]
        centers = (T[:, :3, 3] - T[0, :3, 3]) @ T[0, :3, :3]
        t_true = -np.einsum("nij,nj->ni", R_true, centers)
        path = float(np.linalg.norm(np.diff(centers, axis=0), axis=1).sum())
        line = np.linspace(0, 1, frames)[:, None] * np.array([[0.0, 0.0, 1.0]])
        fov = np.degrees(pose[:, 7:].double().mean(0).numpy())
        scores.append(path_scores(R, t, R_true, t_true) | {
            "line": 100 * ate_after_sim3(line, centers) / max(path, 1e-9),
            "fov_down": float(fov[0]), "fov_across": float(fov[1]),
        })
    return scores


@torch.inference_mode()
def _predict(model: FlashVGGT, images: NDArray[np.uint8], chunk: int) -> torch.Tensor:
    """Pose encodings (N, 9) on the CPU."""
    cache = model.new_cache()
    device = next(model.parameters()).device
    pixels = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float()[None] / 255
    for part in pixels.split(chunk, dim=1):
        features = model.encode_chunk(part, cache)
    return model.decode_poses(features.camera_tokens)[-1][0].cpu()


if __name__ == "__main__":
    main()
