"""Frames in, poses and depth out: the model as slam sees it. Torch in here, numpy outside."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from flashvggt_ros.config import Config
from flashvggt_ros.frame import ChunkPrediction, Frame
from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.model.aggregator import Features, chunk_layout
from flashvggt_ros.model.checkpoint import CheckpointCard, resolve_checkpoint
from flashvggt_ros.model.chunk_graphs import ChunkGraphs
from flashvggt_ros.model.flashvggt import DescriptorCache, FlashVGGT, Prediction
from flashvggt_ros.model.frame_parts import FrameParts
from flashvggt_ros.model.kernel_choice import named_kernels
from flashvggt_ros.model.kernels import attention_backend, use_kernels
from flashvggt_ros.model.precision import Precision, precision_for, set_precision
from flashvggt_ros.model.preprocess import Canvas, ModelImage, Preprocessor
from flashvggt_ros.shared_work import SharedWork

logger = logging.getLogger(__name__)

LEAST_NORM = 1e-9  # of a quaternion
FOV_LIMITS = (0.05, 3.0)  # [rad]; what the model says is kept within, as a pinhole needs


class NonFinitePredictionError(RuntimeError):
    """The model gave NaN or infinity; its submap's cache is spoiled and must not be used again."""


@dataclass(slots=True, eq=False)
class SubmapCache:
    """The memory of one submap: its descriptors, and the image size that its first frame set."""

    descriptors: DescriptorCache
    canvas: Canvas | None

    @property
    def frames(self) -> int:
        """Number of frames whose descriptors are held."""
        return self.descriptors.frames

    @property
    def nbytes(self) -> int:
        """Size of the descriptors held [bytes]."""
        return self.descriptors.nbytes

    def fits(self, frames: int) -> bool:
        """Whether a chunk of so many frames fits its bound without any frame leaving it."""
        return self.descriptors.fits(frames)


class FlashVGGTPredictor:
    """FlashVGGT as a ``slam.ChunkPredictor``."""

    def __init__(
        self,
        model: FlashVGGT,
        card: CheckpointCard,
        preprocessor: Preprocessor,
        *,
        device: torch.device,
        precision: Precision,
        max_frames: int,
        max_cache_mb: float,
        memory_stride: int,
    ) -> None:
        """Take a model to ``device``, in ``precision``, with the fastest kernels there."""
        self.card = card
        self.device = device
        self.precision = precision
        self.preprocessor = preprocessor
        set_precision(model, precision)  # before the move: what is cast takes less memory there
        self.model = model.to(device).eval()
        use_kernels(model, named_kernels("auto", device))
        model.aggregator.graphs = ChunkGraphs.on(device)
        self._max_frames = max_frames
        self._max_cache_mb = max_cache_mb
        self._memory_stride = memory_stride
        self._parts: FrameParts | None = None

    def share(self, work: SharedWork) -> None:
        """Let threads that wait for a chunk help with it, on a CPU; a GPU runs chunks whole."""
        if self.device.type == "cpu":
            self._parts = FrameParts(work)
            self.model.share_frames(self._parts.share)

    def new_cache(self) -> SubmapCache:
        """Return the empty memory of a new submap."""
        descriptors = self.model.new_cache(
            dtype=self.precision.cache,
            max_frames=self._max_frames,
            max_cache_mb=self._max_cache_mb,
            memory_stride=self._memory_stride,
        )
        return SubmapCache(descriptors, None)

    def predict(self, frames: Sequence[Frame], cache: SubmapCache) -> ChunkPrediction:
        """Run the model on a chunk; the cache grows by it.

        The first frame of a submap sets the image size; frames of another shape are cut to it.
        Raises ImageSizeError for images the model cannot take (the cache is then unchanged), and
        NonFinitePredictionError.
        """
        if not frames:
            raise ValueError("a chunk needs at least one frame")
        canvas = cache.canvas or self.preprocessor.canvas(frames[0].image)
        images = [self.preprocessor.prepare(frame, canvas) for frame in frames]
        colors = np.stack([image.image for image in images])
        threads = self._parts.threads() if self._parts else nullcontext()
        backend = attention_backend("auto") if self.device.type == "cuda" else nullcontext()
        with torch.inference_mode(), threads, backend:
            features = self.model.encode_chunk(self._tensor(colors), cache.descriptors)
            cache.canvas = canvas
            return _assemble(
                self.model.decode(features), _signatures(features), images, colors
            )

    def warm_up(self, chunk_frames: int) -> None:
        """Run two chunks of black 4:3 images, so that the first real ones find kernels ready.

        On a GPU kernels are compiled at the first chunk and recorded as graphs at the second. No
        prediction changes by it. Raises what predict() raises, and what torch does.
        """
        width = self.preprocessor.width
        black = np.zeros((max(width * 3 // 4, self.preprocessor.least), width, 3), np.uint8)
        chunk = [Frame(0, "warm-up", black, None)] * chunk_frames
        cache = self.new_cache()
        for _ in range(2):
            self.predict(chunk, cache)

    def check(self, config: Config) -> None:
        """Raise ValueError if chunks of 16:9 images cannot fit max_cache_mb."""
        chunk_frames = config.chunk.size + config.chunk.overlap
        patch, width = self.model.config.patch_size, self.preprocessor.width
        grid = (max(width * 9 // 16 // patch, self.model.config.kv_downfactor), width // patch)
        layout = chunk_layout(self.model.config, grid, chunk_frames)
        self.new_cache().descriptors.begin(layout)

    def _tensor(self, colors: NDArray[np.uint8]) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] on the device; bytes travel there, not floats."""
        pixels = torch.from_numpy(colors).to(self.device)
        return pixels.permute(0, 3, 1, 2).float().div_(255)


def load_predictor(config: Config) -> FlashVGGTPredictor:
    """Make the predictor that a configuration asks for, and say what it became.

    Raises ValueError for a checkpoint, device, width or cache bound that cannot be had.
    """
    device = _device(config.device)
    precision = precision_for(config.predictor.dtype, device, config.checkpoint)
    model, card = resolve_checkpoint(
        config.checkpoint, config.predictor.seed, config.checkpoint_sha256
    )
    preprocessor = Preprocessor(
        model.config,
        width=config.predictor.width,
        use_calibration=config.predictor.use_camera_info,
        most_detail=config.bundle_adjustment.detail if config.bundle_adjustment.enabled else 1,
    )
    predictor = FlashVGGTPredictor(
        model,
        card,
        preprocessor,
        device=device,
        precision=precision,
        max_frames=config.submap.max_frames,
        max_cache_mb=config.predictor.max_cache_mb,
        memory_stride=config.predictor.memory_stride,
    )
    predictor.check(config)
    logger.info(
        "%s (SHA-256 %s, %.1fM parameters, %s, revision %s) on %s in %s, images %d px wide",
        card.name, card.sha256[:12], card.parameters / 1e6,
        "trained" if card.is_trained else "untrained", card.revision,
        _device_name(device), precision.name, preprocessor.width,
    )
    return predictor


def _signatures(features: Features) -> Tensor:
    """Deviations of the encoder's tokens within each image (N, C), of length 1.

    How much each channel varies over an image tells places apart better than its mean does. The
    encoder sees each image alone, so that a place has one signature in every submap.
    """
    return normalize(features.encoder[0].float().std(1), dim=-1)


def _assemble(
    prediction: Prediction, signatures: Tensor, images: list[ModelImage], colors: NDArray[np.uint8]
) -> ChunkPrediction:
    pose_enc = _finite("poses", prediction.pose_enc[0].double())
    depth = _finite("depth", prediction.depth[0, ..., 0].float())
    confidence = _finite("confidence", prediction.depth_conf[0].float())
    depth[~np.stack([image.is_seen for image in images])] = 0
    height, width = depth.shape[1:]
    fields = np.clip(pose_enc[-len(images):, 7:], *FOV_LIMITS)
    cameras = tuple(
        image.pinholes[0] if image.pinholes else Pinhole.from_fov(fov_x, fov_y, width, height)
        for image, (fov_y, fov_x) in zip(images, fields, strict=True)
    )
    return ChunkPrediction(
        T_submap_camera=camera_poses(pose_enc),
        depth=depth,
        confidence=confidence,
        colors=colors,
        fine_images=np.stack([image.fine for image in images]),
        cameras=cameras,
        signatures=_finite("signatures", signatures),
    )


def camera_poses(pose_enc: NDArray[np.float64]) -> NDArray[np.float64]:
    """T_submap_camera (K, 4, 4) of VGGT's pose encodings (K, 9), which are camera-from-world.

    Raises NonFinitePredictionError for a quaternion of length zero.
    """
    if not (np.linalg.norm(pose_enc[:, 3:7], axis=1) > LEAST_NORM).all():
        raise NonFinitePredictionError("the model gave a rotation of length zero")
    R_camera_submap = se3.matrix_from_quaternion(pose_enc[:, 3:7])
    return se3.inverse(se3.pose(R_camera_submap, pose_enc[:, :3]))


def _finite(name: str, values: Tensor) -> NDArray:
    array = values.cpu().numpy()
    if not np.isfinite(array).all():
        raise NonFinitePredictionError(f"the model gave {name} that are not finite")
    return array


def _device(name: str) -> torch.device:
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise ValueError("device is cuda, but torch finds no CUDA device: use auto or cpu")
    return torch.device("cuda" if has_cuda and name in ("auto", "cuda") else "cpu")


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
