"""Textures: pictures of surfaces by kind, and the packed atlas that the ray caster reads.

The atlas is one int32 tensor: for each texture its mip levels from 256 pixels down to 1, texels as
R + 256 G + 65536 B. Texture 0 is always smooth noise; it varies large surfaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from flashvggt_ros.scene import made_pictures, pictures
from flashvggt_ros.scene.pictures import SIDE, noise_picture

LEVELS = 9
TEXELS = 4 * (SIDE * SIDE - 1) // 3 + 1  # of all levels of one texture
MACRO_SCALE = 0.17  # repetitions per meter of texture 0 on every surface

_MAKERS = {
    "wall": pictures.wall_picture, "brick": pictures.brick_picture, "tile": pictures.tile_picture,
    "concrete": pictures.concrete_picture, "stone": noise_picture,
    "wood": pictures.wood_picture, "plank": pictures.plank_picture,
    "fabric": pictures.fabric_picture, "carpet": pictures.carpet_picture,
    "metal": pictures.metal_picture, "ribs": made_pictures.ribs_picture,
    "door": made_pictures.door_picture, "leaf": pictures.leaf_picture,
    "grass": pictures.grass_picture, "ground": pictures.ground_picture,
    "asphalt": pictures.asphalt_picture, "facade": made_pictures.facade_picture,
    "poster": pictures.poster_picture, "paper": pictures.paper_picture,
    "book": made_pictures.book_picture, "keyboard": made_pictures.keyboard_picture,
    "screen": made_pictures.screen_picture, "view": made_pictures.view_picture,
    "odd": noise_picture, "sky": made_pictures.sky_picture,
}
KINDS = tuple(_MAKERS)  # "odd" is what fits nowhere else, for wild scenes


@dataclass(frozen=True, slots=True, eq=False)
class Textures:
    """A packed atlas and the texture numbers of every kind: a range that no other kind shares."""

    atlas: Tensor
    kinds: dict[str, tuple[int, ...]]

    def pick(self, kind: str, rng: np.random.Generator) -> int:
        """Return a random texture number of a kind (KINDS)."""
        choices = self.kinds[kind]
        return choices[int(rng.integers(len(choices)))]

    def pick_any(self, rng: np.random.Generator) -> int:
        """Return any texture number but those of skies, which come last."""
        return int(rng.integers(1, self.kinds["sky"][0]))

    @property
    def count(self) -> int:
        """Number of textures."""
        return len(self.atlas) // TEXELS

    @classmethod
    def procedural(cls, rng: np.random.Generator, each: int = 4) -> Textures:
        """Make ``each`` textures of every kind."""
        return cls.with_photographs(rng, {}, each)

    @classmethod
    def with_photographs(
        cls, rng: np.random.Generator, photographs: Mapping[str, NDArray[np.uint8]], each: int = 4
    ) -> Textures:
        """Make ``each`` textures of every kind, and add photographs.

        ``photographs``: kind to pictures (M, 256, 256, 3) uint8. Raise ValueError for a kind that
        is not one of KINDS.
        """
        unknown = set(photographs) - set(KINDS)
        if unknown:
            raise ValueError(f"no kinds of texture: {sorted(unknown)}; known are {KINDS}")
        images = [noise_picture(rng, plain=True)]
        kinds: dict[str, tuple[int, ...]] = {}
        for kind, make in _MAKERS.items():
            first = len(images)
            images += [make(rng) for _ in range(each)]
            images += list(photographs.get(kind, ()))
            kinds[kind] = tuple(range(first, len(images)))
        return cls(pack(torch.from_numpy(np.stack(images))), kinds)

    def to(self, device: torch.device | str) -> Textures:
        """Return the same textures on another device."""
        return Textures(self.atlas.to(device), self.kinds)


def pack(images: Tensor) -> Tensor:
    """Pack pictures (T, 256, 256, 3) uint8 with their mip levels into one int32 tensor."""
    level = images.permute(0, 3, 1, 2).float()
    parts = []
    for _ in range(LEVELS):
        texels = level.round().to(torch.int32)
        packed = texels[:, 0] + (texels[:, 1] << 8) + (texels[:, 2] << 16)
        parts.append(packed.flatten(1))
        if level.shape[-1] > 1:
            level = F.avg_pool2d(level, 2)
    return torch.cat(parts, 1).flatten().contiguous()
