"""A picture by which a person recognizes the scene: an image, the map from there, the map whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.camera import Pinhole

NEIGHBORS = 24  # of a point, to which a plane is fitted
PATH_COLOR, BACKGROUND = (213, 94, 0), 255
LARGEST_SPLAT = 9  # half edge of the square that a point is drawn as [px]
ELEVATION, AZIMUTH = np.radians(50), np.radians(145)  # of the eye outside
OVERVIEW = (1400, 1200)  # before the empty margins are cut off [px]
LEAST_FACING = 0.15  # cosine between a surface's normal and the way to the eye
SHADE = 0.35  # how much darker a surface is that is seen edge on
GLANCE = (80, 60)  # size at which images are compared: texture is gone, furniture is not [px]


def draw_scene(
    path: Path,
    points: NDArray[np.float32],
    colors: NDArray[np.uint8],
    T_map_camera: NDArray[np.float64],
    image: NDArray[np.uint8],
    row: int,
    camera: Pinhole,
    title: str,
) -> None:
    """Write the picture: ``image`` (H, W, 3), the map from its pose, and the map from outside.

    ``points`` (M, 3) [m] and ``colors`` (M, 3) RGB; ``T_map_camera`` (K, 4, 4): the path, of which
    pose ``row`` took the image with ``camera``. From outside only what faces the eye is drawn, so
    that ceiling and near walls do not hide the room.
    """
    figure = Figure(figsize=(14, 7.2), layout="constrained")
    halves: Any = figure.subfigures(1, 2, width_ratios=[0.75, 1])
    left, right = halves
    above, below = left.subplots(2, 1)
    above.imshow(image)
    above.set_title("one of the images")
    size = point_spacing(points)
    below.imshow(splat(points, colors, T_map_camera[row], camera, size))
    below.set_title("the map, seen from there")
    whole = right.subplots()
    whole.imshow(_overview(points, colors, T_map_camera[:, :3, 3], size))
    whole.set_title("the map from outside, with the camera's path")
    for axes in (above, below, whole):
        axes.set_axis_off()
    figure.suptitle(title)
    FigureCanvasAgg(figure).print_png(str(path))


def contrast(image: NDArray[np.uint8]) -> float:
    """Return how much there is to see in an RGB image (H, W, 3): its mean gradient at a glance."""
    gray = cv2.cvtColor(cv2.resize(image, GLANCE, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    rise = np.gradient(gray.astype(np.float64))
    return float(np.hypot(rise[0], rise[1]).mean())


def point_spacing(points: NDArray[np.float32]) -> float:
    """Return the median distance of a point to its nearest neighbor, of at most 5000 points [m]."""
    if len(points) < 2:
        return 0.0
    some = points[:: max(1, len(points) // 5000)]
    distance, _ = cKDTree(points).query(some, k=2)
    return float(np.median(distance[:, 1]))


def splat(
    points: NDArray[np.float32],
    colors: NDArray[np.uint8],
    T_map_camera: NDArray[np.float64],
    camera: Pinhole,
    size: float,
) -> NDArray[np.uint8]:
    """Return the view (H, W, 3) of points, each a square a bit wider than ``size`` [m]."""
    points_camera = se3.transform_points(se3.inverse(T_map_camera), points.astype(np.float64))
    depth = points_camera[:, 2]
    is_ahead = depth > max(size, 1e-6)
    points_camera, depth, colors = points_camera[is_ahead], depth[is_ahead], colors[is_ahead]
    u = np.rint(camera.fx * points_camera[:, 0] / depth + camera.cx)
    v = np.rint(camera.fy * points_camera[:, 1] / depth + camera.cy)
    half = np.ceil(0.75 * camera.fx * size / depth).clip(1, LARGEST_SPLAT).astype(np.int64)
    picture = np.full((camera.height, camera.width, 3), BACKGROUND, np.uint8)
    nearest = np.full((camera.height, camera.width), np.inf)
    order = np.argsort(-depth, kind="stable")  # the last write to a pixel is the nearest
    order = order[(np.abs(u - camera.cx)[order] < camera.width)
                  & (np.abs(v - camera.cy)[order] < camera.height)]
    for reach in np.unique(half[order]):
        rows = order[half[order] == reach]
        _paint(picture, nearest, u[rows].astype(int), v[rows].astype(int), depth[rows],
               colors[rows], int(reach))
    return picture


def _paint(
    picture: NDArray[np.uint8],
    nearest: NDArray[np.float64],
    u: NDArray[np.int64],
    v: NDArray[np.int64],
    depth: NDArray[np.float64],
    colors: NDArray[np.uint8],
    reach: int,
) -> None:
    """Paint squares of one size, farthest first, where nothing nearer is painted already."""
    height, width = nearest.shape
    for dv in range(-reach, reach + 1):
        for du in range(-reach, reach + 1):
            x, y = u + du, v + dv
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            x, y, z, color = x[inside], y[inside], depth[inside], colors[inside]
            seen = z < nearest[y, x]
            x, y, z, color = x[seen], y[seen], z[seen], color[seen]
            picture[y, x] = color
            nearest[y, x] = z


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """A view of a map from above and aside; what is outside the box ``low`` to ``high`` is not."""

    T_map_eye: NDArray[np.float64]
    camera: Pinhole
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def onto(cls, points: NDArray[np.float32], width: int, height: int) -> Outlook:
        """Return a view (height, width) that shows all but stray points (M, 3)."""
        low, high = np.percentile(points.astype(np.float64), [1, 99], axis=0)
        middle, radius = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
        towards = np.array([np.cos(ELEVATION) * np.cos(AZIMUTH),
                            np.cos(ELEVATION) * np.sin(AZIMUTH), np.sin(ELEVATION)])
        camera = Pinhole(1.55 * width, 1.55 * width, width / 2, height / 2, width, height)
        margin = 0.7 * (high - low)
        eye = middle + 3.2 * radius * towards
        return cls(_looking(eye, middle), camera, low - margin, high + margin)

    def draw(
        self, points: NDArray[np.float32], colors: NDArray[np.uint8],
        positions: NDArray[np.float64], size: float,
    ) -> NDArray[np.uint8]:
        """Return the view (H, W, 3) of points as wide as ``size`` [m], and of the path (K, 3)."""
        eye = self.T_map_eye[:3, 3]
        normals = surface_normals(points, positions)
        facing = ((eye - points) * normals).sum(axis=1) / np.linalg.norm(eye - points, axis=1)
        is_inside = ((points >= self.low) & (points <= self.high)).all(axis=1)
        kept = (facing > LEAST_FACING) & is_inside
        shaded = colors[kept] * (1 - SHADE * (1 - facing[kept, None]))
        picture = splat(points[kept], shaded.astype(np.uint8), self.T_map_eye, self.camera, size)
        return self.draw_line(picture, positions, PATH_COLOR, self.camera.width // 280)

    def draw_line(
        self, picture: NDArray[np.uint8], positions: NDArray[np.float64],
        color: tuple[int, int, int], pixels: int,
    ) -> NDArray[np.uint8]:
        """Return the picture with a line through places (K, 3) in the map."""
        path = se3.transform_points(se3.inverse(self.T_map_eye), positions)
        middle = np.array([self.camera.cx, self.camera.cy])
        places = self.camera.fx * path[:, :2] / path[:, 2:] + middle
        line = np.rint(16 * places).astype(np.int32).reshape(-1, 1, 2)
        drawn = cv2.polylines(picture, [line], False, color, max(1, pixels), cv2.LINE_AA, 4)
        return np.asarray(drawn, np.uint8)


def _overview(
    points: NDArray[np.float32], colors: NDArray[np.uint8], positions: NDArray[np.float64],
    size: float,
) -> NDArray[np.uint8]:
    """Return the view (H, W, 3) from above and aside, with the path."""
    width, height = OVERVIEW
    if len(points) <= NEIGHBORS:
        return np.full((height, width, 3), BACKGROUND, np.uint8)
    outlook = Outlook.onto(points, width, height)
    return _trimmed(outlook.draw(points, colors, positions, size))


def _trimmed(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the picture without its empty margins."""
    is_drawn = (picture != BACKGROUND).any(axis=2)
    rows, columns = np.flatnonzero(is_drawn.any(axis=1)), np.flatnonzero(is_drawn.any(axis=0))
    if not len(rows):
        return picture
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def surface_normals(
    points: NDArray[np.float32], positions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return unit normals (M, 3) of the planes through each point's neighbors.

    They point to the nearest of the places ``positions`` (N, 3) that the points were seen from.
    """
    _, neighbors = cKDTree(points).query(points, k=NEIGHBORS)
    patch = points[neighbors].astype(np.float64)
    patch -= patch.mean(axis=1, keepdims=True)
    _, axes = np.linalg.eigh(np.swapaxes(patch, 1, 2) @ patch)
    normals = axes[:, :, 0]  # the direction in which the neighbors spread least
    _, nearest = cKDTree(positions).query(points)
    is_away = ((positions[nearest] - points) * normals).sum(axis=1) < 0
    return np.where(is_away[:, None], -normals, normals)


def _looking(eye: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """T_map_camera (4, 4) of a camera at ``eye`` that looks at ``target``; z is up."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return se3.pose(np.stack([right, np.cross(forward, right), forward], axis=1), eye)
