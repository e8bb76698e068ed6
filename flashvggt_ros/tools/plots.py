"""Pictures of trajectories and maps, drawn without a display."""

from __future__ import annotations

import logging
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from numpy.typing import NDArray

# Okabe and Ito's palette: told apart under all common kinds of color blindness.
BLUE, ORANGE, GREEN, BLACK = "#0072B2", "#D55E00", "#009E73", "#000000"
PALETTE = (BLUE, ORANGE, GREEN, BLACK, "#CC79A7", "#E69F00", "#56B4E9")
LINES = ("-", "--", ":", "-.")  # each run has another one too
METERS, ARBITRARY = "m", "units of the map"
LEAST_MAP_PIXELS, MOST_MAP_PIXELS = 240, 1200
NANOSECONDS = 1e-9
# For names in scripts that the first one lacks; those that are installed are used.
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Noto Sans")
logger = logging.getLogger(__name__)


def draw_trajectory(
    path: Path, stamps_ns: NDArray[np.int64], positions: NDArray[np.float64], unit: str, title: str
) -> None:
    """Write trajectory.png: the path from above, and height over time.

    ``stamps_ns`` (N,), ``positions`` (N, 3) in the map frame, z up [unit].
    """
    figure = Figure(figsize=(11, 5), layout="constrained")
    top, height = figure.subplots(1, 2, width_ratios=[1.2, 1])
    top.plot(positions[:, 0], positions[:, 1], color=BLUE, linewidth=1.5)
    _mark_ends(top, positions[:, :2])
    top.set(title="from above", xlabel=f"x [{unit}]", ylabel=f"y [{unit}]")
    top.set_aspect("equal", adjustable="datalim")
    seconds = (stamps_ns - stamps_ns[:1]) * NANOSECONDS
    height.plot(seconds, positions[:, 2], color=BLUE, linewidth=1.5)
    height.set(title="height", xlabel="time [s]", ylabel=f"z [{unit}]")
    _finish(figure, path, title)


def draw_comparison(
    path: Path,
    truth: NDArray[np.float64],
    estimate: NDArray[np.float64],
    seconds: NDArray[np.float64],
    errors: dict[str, NDArray[np.float64]],
    up_axis: int,
    title: str,
) -> None:
    """Write the picture of an aligned estimate beside the truth, and of the error over time.

    ``truth`` (T, 3) and ``estimate`` (N, 3) [m] in the frame of the truth, whose axis ``up_axis``
    (0, 1 or 2) points up or down; ``errors`` by label, each (E,) [m] at ``seconds`` (E,).
    """
    across, along = (axis for axis in range(3) if axis != up_axis)
    figure = Figure(figsize=(11, 5), layout="constrained")
    top, error = figure.subplots(1, 2, width_ratios=[1.2, 1])
    top.plot(truth[:, across], truth[:, along], color=BLACK, linestyle="--", label="truth")
    top.plot(estimate[:, across], estimate[:, along], color=BLUE, label="estimate, aligned")
    _mark_ends(top, estimate[:, [across, along]])
    top.set(title="from above", xlabel=f"{'xyz'[across]} [m]", ylabel=f"{'xyz'[along]} [m]")
    top.set_aspect("equal", adjustable="datalim")
    looks = ((BLUE, "-"), (ORANGE, "--"))
    for (label, values), (color, line) in zip(errors.items(), looks, strict=True):
        error.plot(seconds, values, color=color, linestyle=line, label=label)
    error.legend(loc="best")
    error.set(title="position error", xlabel="time [s]", ylabel="error [m]")
    error.set_ylim(bottom=0)
    _finish(figure, path, title)


def draw_errors(path: Path, errors: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
                label: str, title: str) -> None:
    """Write the errors of several runs over time: by name, seconds (E,) and errors (E,)."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    axes = figure.subplots()
    for number, (seconds, values) in enumerate(errors.values()):
        axes.plot(seconds, values, color=PALETTE[number % len(PALETTE)],
                  linestyle=LINES[number % len(LINES)], label=str(number))
    axes.set(xlabel="time [s]", ylabel=label)
    axes.set_ylim(bottom=0)
    legend = axes.legend(loc="best", ncols=1 + len(errors) // 12)
    for text, name in zip(legend.get_texts(), errors, strict=True):
        # As it is, with $ and a leading _, too.
        text.set(text=name, parse_math=False, family=_fonts())
    _finish(figure, path, title)


def draw_map(
    path: Path,
    points: NDArray[np.float32],
    colors: NDArray[np.uint8],
    positions: NDArray[np.float64],
    unit: str,
    title: str,
) -> None:
    """Write map_top.png: the colored cloud from above with the trajectory and a scale bar.

    ``points`` (M, 3) and ``positions`` (N, 3) in the map frame, z up [unit]; ``colors`` (M, 3) RGB.
    Points above the highest camera are left out, so that a ceiling does not hide the room, unless
    they are most of the map.
    """
    figure = Figure(figsize=(9, 9), layout="constrained")
    axes = figure.subplots()
    if len(points):
        below = points[:, 2] <= (positions[:, 2].max() if len(positions) else np.inf)
        if below.mean() > 0.2:
            points, colors = points[below], colors[below]
        low, size = _square(points, positions)
        picture = _raster(points, colors, low, size)
        extent = (low[0], low[0] + size, low[1], low[1] + size)
        axes.imshow(picture, origin="lower", extent=extent, interpolation="nearest")
        _draw_scale_bar(axes, low, size, unit)
    else:
        axes.text(0.5, 0.5, "no points", ha="center", va="center", transform=axes.transAxes)
    axes.plot(positions[:, 0], positions[:, 1], color=ORANGE, linewidth=1.5)
    _mark_ends(axes, positions[:, :2])
    axes.set(xlabel=f"x [{unit}]", ylabel=f"y [{unit}]", aspect="equal")
    _finish(figure, path, title)


def _square(
    points: NDArray[np.float32], positions: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Lower corner (2,) and edge of a square around the path and all but stray points [m]."""
    low, high = np.percentile(points[:, :2].astype(np.float64), [0.5, 99.5], axis=0)
    if len(positions):
        low = np.minimum(low, positions[:, :2].min(0))
        high = np.maximum(high, positions[:, :2].max(0))
    size = max(float((high - low).max()) * 1.05, 1e-6)
    return (low + high) / 2 - size / 2, size


def _raster(
    points: NDArray[np.float32], colors: NDArray[np.uint8], low: NDArray[np.float64], size: float
) -> NDArray[np.uint8]:
    """Image (P, P, 3) of the highest point in each pixel, white where there is none.

    A million points and more take well under a second, where a scatter plot takes a minute. Few
    points get large pixels, so that surfaces close.
    """
    pixels = int(np.clip(1.2 * math.sqrt(len(points)), LEAST_MAP_PIXELS, MOST_MAP_PIXELS))
    cells = np.floor((points[:, :2] - low) * (pixels / size)).astype(np.int64)
    inside = ((cells >= 0) & (cells < pixels)).all(axis=1)
    cells, heights, colors = cells[inside], points[inside, 2], colors[inside]
    order = np.argsort(heights, kind="stable")  # the last write to a pixel is the highest
    picture = np.full((pixels * pixels, 3), 255, np.uint8)
    picture[(cells[:, 1] * pixels + cells[:, 0])[order]] = colors[order]
    return picture.reshape(pixels, pixels, 3)


def _draw_scale_bar(axes: Any, low: NDArray[np.float64], size: float, unit: str) -> None:
    """Draw a bar of 1, 2 or 5 times a power of ten units, about a fifth of the picture."""
    power = 10.0 ** math.floor(math.log10(size / 5))
    length = max(step * power for step in (1, 2, 5) if step * power <= size / 5)
    left, bottom = low + 0.04 * size
    axes.plot([left, left + length], [bottom, bottom], color=BLACK, linewidth=4)
    axes.text(left + length / 2, bottom + 0.012 * size, f"{length:g} {unit}", ha="center")


def _mark_ends(axes: Any, positions: NDArray[np.float64]) -> None:
    if len(positions):
        axes.plot(*positions[0], "o", color=GREEN, label="start", zorder=5)
        axes.plot(*positions[-1], "s", color=ORANGE, label="end", zorder=5)
        axes.legend(loc="best")


def _fonts() -> list[str]:
    """Those of FONTS that are here."""
    here = {font.name for font in fontManager.ttflist}
    return [name for name in FONTS if name in here]


def _finish(figure: Figure, path: Path, title: str) -> None:
    figure.suptitle(title, parse_math=False, family=_fonts())
    for axes in figure.axes:
        axes.grid(visible=True, alpha=0.3)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        figure.savefig(path)  # in the format of its name
    if said:  # of each character that no font has
        logger.warning("%s: %s (and %d more; 'apt install fonts-noto-cjk' brings most characters)",
                       path, said[0].message, len(said) - 1)
