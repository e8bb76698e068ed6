"""Places made of textured boxes, ray-cast exactly and fast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.worlds.cameras import PINHOLE

NEAR = 0.02  # closest surface that a camera sees [m]
SHADES = (1.0, 0.86, 0.72)  # brightness of faces along x, y and z
WAVES = 12
NO_RAY = 1e-9  # stands for a direction of exactly zero

Image = tuple[NDArray[np.uint8], NDArray[np.float32]]


class Place(Protocol):
    """Something that cameras see."""

    def render(
        self, T_world_camera: NDArray[np.float64], pinhole: Pinhole = PINHOLE,
        seconds: float = 0.0,
    ) -> Image:
        """Image (H, W, 3) uint8 RGB and depth along z (H, W) float32 [m], seen from a pose.

        ``seconds`` since the walk began: where something moves, it decides where that is.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """A solid, axis-aligned box [m], its color [gray levels] and its texture.

    The texture is one solid pattern in all of space, moved by ``shift`` [m] and multiplied by
    ``contrast``: boxes of the same size, color and shift relative to themselves look the same.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    color: NDArray[np.float64]
    contrast: float
    shift: NDArray[np.float64]

    def moved(self, offset: NDArray[np.float64]) -> Box:
        """Return the same box, texture and all, elsewhere."""
        shift = self.shift - offset
        return Box(self.low + offset, self.high + offset, self.color, self.contrast, shift)


class Scenery:
    """Boxes in a common texture; what no ray hits is black and has depth 0."""

    def __init__(self, boxes: Sequence[Box], seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        directions = rng.normal(size=(WAVES, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        wavelengths = np.geomspace(0.3, 2.0, WAVES)  # [m]
        self.boxes = tuple(boxes)
        self._waves = (2 * np.pi * directions / wavelengths[:, None]).astype(np.float32)
        self._phases = rng.uniform(0, 2 * np.pi, (WAVES, 1)).astype(np.float32)
        self._mixture = rng.normal(0, 24, (3, WAVES)).astype(np.float32)
        self._low = np.array([box.low for box in boxes], np.float32)
        self._high = np.array([box.high for box in boxes], np.float32)
        self._centers = (self._low + self._high).T / 2
        self._halves = np.maximum((self._high - self._low).T / 2, 1e-6)
        self._colors = np.array([box.color for box in boxes], np.float32).T
        self._contrasts = np.array([box.contrast for box in boxes], np.float32)
        self._shifts = np.array([box.shift for box in boxes], np.float32).T

    def with_boxes(self, boxes: Sequence[Box]) -> Scenery:
        """Return this scenery and more boxes, in the same texture."""
        other = Scenery((*self.boxes, *boxes))
        other._waves, other._phases, other._mixture = self._waves, self._phases, self._mixture
        return other

    def render(
        self, T_world_camera: NDArray[np.float64], pinhole: Pinhole = PINHOLE,
        seconds: float = 0.0,
    ) -> Image:
        """Image (H, W, 3) uint8 RGB and depth along z (H, W) float32 [m]; nothing moves here."""
        shape = (pinhole.height, pinhole.width)
        rays = _rays(pinhole, T_world_camera)
        depth = np.full(shape, np.inf, np.float32)
        hit = np.full(shape, -1, np.int32)
        inverse = np.reciprocal(rays)
        origin = T_world_camera[:3, 3].astype(np.float32)
        for box, window, nearest in self._visible(T_world_camera, pinhole):
            seen = depth[window]
            if seen.max() <= nearest:
                continue
            enters, leaves = _slabs(self._low[box] - origin, self._high[box] - origin,
                                    inverse[:, window[0], window[1]])
            is_seen = (enters < leaves) & (enters > NEAR) & (enters < seen)
            np.copyto(seen, enters, where=is_seen)
            np.copyto(hit[window], box, where=is_seen)
        depth[hit < 0] = 0
        points = rays.reshape(3, -1) * depth.ravel() + origin[:, None]
        return self._color(points, hit.ravel()).reshape(*shape, 3), depth

    def _visible(
        self, T_world_camera: NDArray[np.float64], pinhole: Pinhole
    ) -> Iterator[tuple[int, tuple[slice, slice], float]]:
        """Boxes in view, near ones first: number, window of the image, least depth."""
        corners = _corners(self._low, self._high)
        corners = se3.transform_points(se3.inverse(T_world_camera), corners)
        nearest, farthest = corners[..., 2].min(axis=1), corners[..., 2].max(axis=1)
        z = np.maximum(corners[..., 2], NEAR)
        columns = _span(pinhole.fx * corners[..., 0] / z + pinhole.cx, pinhole.width)
        rows = _span(pinhole.fy * corners[..., 1] / z + pinhole.cy, pinhole.height)
        crosses = nearest <= NEAR
        columns[crosses], rows[crosses] = (0, pinhole.width), (0, pinhole.height)
        is_in = (farthest > NEAR) & (np.diff(columns)[:, 0] > 0) & (np.diff(rows)[:, 0] > 0)
        for box in np.argsort(nearest):
            if is_in[box]:
                window = (slice(*rows[box].tolist()), slice(*columns[box].tolist()))
                yield int(box), window, float(nearest[box])

    def _color(self, points: NDArray[np.float32], box: NDArray[np.int32]) -> NDArray[np.uint8]:
        """RGB (M, 3) uint8 of points (3, M) on the surfaces of boxes (M,); black where -1."""
        offsets = np.abs(points - self._centers.take(box, axis=1))
        face = (offsets / self._halves.take(box, axis=1)).argmax(axis=0)
        points += self._shifts.take(box, axis=1)
        waves = self._waves @ points
        waves += self._phases
        colors = self._mixture @ np.sin(waves, out=waves)
        colors *= self._contrasts.take(box)
        colors += self._colors.take(box, axis=1)
        colors *= np.array(SHADES, np.float32).take(face) * (box >= 0)
        return np.clip(colors, 0, 255).astype(np.uint8).T


@dataclass(frozen=True, slots=True, eq=False)
class Mover:
    """A box that goes back and forth between where it stands and ``reach`` (3,) [m] from there.

    ``period``: how long the way there and back takes [s]; ``phase``: where on it the box begins,
    0 to 1.
    """

    box: Box
    reach: NDArray[np.float64]
    period: float
    phase: float = 0.0

    def at(self, seconds: float) -> Box:
        """Return the box where it stands at a time."""
        turns = (self.phase + seconds / self.period) % 1.0
        return self.box.moved(self.reach * (1 - abs(1 - 2 * turns)))


class MovingScenery:
    """Scenery and boxes that move through it."""

    def __init__(self, still: Scenery, movers: Sequence[Mover]) -> None:
        self.still, self.movers = still, tuple(movers)

    def render(
        self, T_world_camera: NDArray[np.float64], pinhole: Pinhole = PINHOLE,
        seconds: float = 0.0,
    ) -> Image:
        """Image (H, W, 3) uint8 RGB and depth along z (H, W) float32 [m] at a time."""
        now = self.still.with_boxes([mover.at(seconds) for mover in self.movers])
        return now.render(T_world_camera, pinhole)


def _rays(pinhole: Pinhole, T_world_camera: NDArray[np.float64]) -> NDArray[np.float32]:
    """Directions (3, H, W) of a camera's pixels in the world, of length 1 along its z."""
    ones = np.ones((pinhole.height, pinhole.width), np.float32)
    directions = pinhole.backproject(ones).reshape(-1, 3).T
    rays = (T_world_camera[:3, :3].astype(np.float32) @ directions).reshape(3, *ones.shape)
    rays[rays == 0] = NO_RAY
    return rays


def _slabs(
    low: NDArray[np.float32], high: NDArray[np.float32], inverse: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where rays of direction 1 / ``inverse`` (3, H, W) enter and leave a box around them."""
    first, second = low[:, None, None] * inverse, high[:, None, None] * inverse
    return np.minimum(first, second).max(axis=0), np.maximum(first, second).min(axis=0)


def _corners(low: NDArray[np.float32], high: NDArray[np.float32]) -> NDArray[np.float32]:
    """The eight corners (B, 8, 3) of boxes."""
    is_high = (np.arange(8)[:, None] >> np.arange(3)) & 1
    return np.where(is_high, high[:, None], low[:, None])


def _span(pixels: NDArray[np.floating], size: int) -> NDArray[np.int64]:
    """First and one past the last whole pixel (B, 2) that corners (B, 8) may cover."""
    span = np.stack([np.floor(pixels.min(axis=1)), np.ceil(pixels.max(axis=1)) + 1], axis=1)
    return np.clip(span, 0, size).astype(np.int64)
