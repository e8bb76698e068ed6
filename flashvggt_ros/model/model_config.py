"""Every size of a model, and the models that have a name."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

LARGEST_SIZE, LARGEST_DEPTH = 65_536, 128  # of a model, beyond all that a machine can run


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes of a FlashVGGT; the defaults are those of the released models.

    ``revision``: r1 is the paper (bilinear descriptors in all global blocks), r2 the later code
    (nearest descriptors in the global blocks ``descriptor_range``, first and last inclusive;
    the other global blocks attend within each frame). ``variant``: stream sees a sequence in
    chunks against a memory, single sees it whole, with keyframes. ``position_grid``: side of the
    encoder's learned position embedding [patches]. ``taps``: block pairs whose outputs the depth
    head reads, fine to coarse (the camera head reads the last pair's). ``kv_downfactor`` 1 is
    attention among all patches, as in VGGT, earlier chunks' too. ``image_width``: longer side of
    images the weights were trained for [px]. ``shorter_side_min``: longer images grow until their
    shorter side has as much [px]; 0: they do not, and portraits are cut square, as upstream.
    """

    revision: str = "r2"
    variant: str = "stream"
    patch_size: int = 14
    image_width: int = 518
    shorter_side_min: int = 0
    position_grid: int = 37
    width: int = 1024
    encoder_depth: int = 24
    encoder_heads: int = 16
    encoder_mlp_ratio: float = 4.0
    encoder_registers: int = 4
    depth: int = 24
    heads: int = 16
    mlp_ratio: float = 4.0
    registers: int = 4
    taps: tuple[int, int, int, int] = (4, 11, 17, 23)
    descriptor_range: tuple[int, int] = (9, 19)
    kv_downfactor: int = 3
    keyframe_every: int = 200
    rope_base: float = 100.0
    layer_scale: float = 0.01
    camera_depth: int = 4
    camera_heads: int = 16
    camera_mlp_ratio: float = 4.0
    camera_iterations: int = 4
    depth_features: int = 256
    depth_channels: tuple[int, int, int, int] = (256, 512, 1024, 1024)

    def __post_init__(self) -> None:
        for name, choices in (("revision", ("r1", "r2")), ("variant", ("stream", "single"))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}: it must be one of {choices}")
        self._check_sizes()
        self._check_blocks()

    def _check_sizes(self) -> None:
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            largest = LARGEST_DEPTH if entry.name.endswith("depth") else LARGEST_SIZE
            numbers = value if isinstance(value, tuple) else (value,)
            if not isinstance(value, str) and not all(0 <= size <= largest for size in numbers):
                raise ValueError(f"{entry.name} is {value}: it must be within 0 to {largest}")
        for name in ("patch_size", "image_width", "position_grid", "width", "depth", "heads",
                     "encoder_heads", "camera_heads", "kv_downfactor", "keyframe_every",
                     "camera_iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least 1")
        if not 0 <= self.shorter_side_min <= self.image_width:
            raise ValueError(f"shorter_side_min is {self.shorter_side_min}: it must be between 0 "
                             f"and image_width ({self.image_width})")
        if self.width % (4 * self.heads):
            raise ValueError(f"width ({self.width}) must be a multiple of 4 * heads ({self.heads})")
        if self.width % self.encoder_heads or 2 * self.width % self.camera_heads:
            raise ValueError(f"width ({self.width}) must be divisible among the heads")
        channels = (self.depth_features, *self.depth_channels)
        if len(channels) != 5 or any(count % 4 for count in channels) or self.depth_features % 8:
            raise ValueError("depth_channels must be multiples of 4, depth_features one of 8")

    def _check_blocks(self) -> None:
        if len(self.taps) != 4 or not all(0 <= tap < self.depth for tap in self.taps):
            raise ValueError(f"taps {self.taps} must be four blocks from 0 to {self.depth - 1}")
        if not self.descriptor_blocks:
            raise ValueError(f"descriptor_range {self.descriptor_range} contains no block")

    @property
    def specials(self) -> int:
        """Tokens of a frame before its patches: camera and registers."""
        return 1 + self.registers

    @property
    def descriptor_blocks(self) -> range:
        """Global blocks that attend to descriptors."""
        if self.revision == "r1":
            return range(self.depth)
        first, last = self.descriptor_range
        return range(max(first, 0), min(last + 1, self.depth))

    def check_image_size(self, width: int, height: int) -> None:
        """Raise ValueError for images [px] that cannot be cut into patches and descriptors."""
        patch, least = self.patch_size, self.patch_size * self.kv_downfactor
        if any(size % patch or size < least for size in (width, height)):
            raise ValueError(
                f"images are {width}x{height}: width and height must be multiples of {patch} and "
                f"at least {least}"
            )

    def to_json(self) -> str:
        """One line of JSON with every size."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Invert to_json; raises ValueError for unknown or ill-typed sizes."""
        defaults = {entry.name: entry.default for entry in dataclasses.fields(cls)}
        try:
            sizes: dict[str, Any] = json.loads(text)
            return cls(**{
                name: _typed(value, name, defaults[name]) for name, value in sizes.items()
            })
        except KeyError as error:
            raise ValueError(f"not a model config: {error} is no size of a model") from None
        except (AttributeError, RecursionError, ValueError, OverflowError) as error:
            raise ValueError(f"not a model config: {error}") from None


def _typed(value: Any, name: str, default: Any) -> Any:
    """Return a value from JSON in the type of a size's default; ValueError for another type."""
    if isinstance(default, tuple):
        if isinstance(value, list) and [type(size) for size in value] == [int] * len(default):
            return tuple(value)
    elif type(default) is float and type(value) in (int, float):
        return float(value)
    elif type(value) is type(default):
        return value
    raise ValueError(f"{name} is {str(value)[:60]!r}, which has another type than {default!r}")


PRESETS: dict[str, ModelConfig] = {
    "flashvggt-r1": ModelConfig(revision="r1", kv_downfactor=4),
    "flashvggt-r2": ModelConfig(revision="r2", kv_downfactor=3),
    "flashvggt-mini": ModelConfig(
        revision="r1", kv_downfactor=2, image_width=224, shorter_side_min=112, position_grid=16,
        width=320, encoder_depth=3, encoder_heads=5, depth=6, heads=5, taps=(1, 2, 4, 5),
        descriptor_range=(0, 5), layer_scale=0.2, camera_depth=1, camera_heads=10,
        camera_mlp_ratio=1.0, depth_features=64, depth_channels=(48, 96, 160, 160),
    ),
}
"""The released models in both published revisions, and the compact one embedded here."""
