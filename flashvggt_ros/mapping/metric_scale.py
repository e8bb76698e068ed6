"""How many meters a unit of a submap is: from odometry, a rig's baselines, depth or height.

Every source gives many observations of one number, about half of which may be wrong (consensus.py).
What is not finite is skipped; what leaves is finite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from flashvggt_ros.mapping.consensus import MIN_COUNT, Consensus, agree, densest
from flashvggt_ros.mapping.rig_baselines import baselines
from flashvggt_ros.mapping.rig_ties import RigTies

MAX_SIGMA = 0.15  # a scale known less well is called unknown
NOISE_SPREAD = 0.5  # of the logarithm of ratios of lengths that are nothing but noise
MIN_EVIDENCE = 5.0  # logarithm of how much likelier agreement is than noise
MIN_BLOCKS = 3  # stretches without a common step, to judge odometry by stretches of that length
FLOOR = 0.003  # a submap's own geometry is no truer than this
ODOMETRY_GAPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)  # [keyframes]
MIN_MOTION = 0.03  # odometry over shorter ways is noise [m]
CHOICE = 1.2  # observations share poses, and the surest of several lengths seems surer than it is
DEPTH_GRID = (96, 128)  # most rows and columns of a depth image that are compared
DEPTH_CELLS = (6, 8)  # blocks of them; the errors within one are not independent
MIN_CELL_PIXELS = 8
LEAST_CONFIDENT = 0.25  # share of predicted depth that is not compared
HEIGHT_SIGMA = 0.01  # of a camera's height above the ground: tires, springs, a carpet [m]


@dataclass(frozen=True, slots=True)
class ScaleEstimate:
    """Meters per unit of a submap, and how sure that is.

    ``sigma`` is the standard deviation of the scale's natural logarithm. ``source`` is odometry,
    camera_height, rig or depth, or several of them joined by "+"; ``count`` how many observations
    agree.
    """

    meters_per_unit: float
    sigma: float
    source: str
    count: int


def scale_from_odometry(
    T_submap_camera: NDArray[np.float64], T_odom_camera: NDArray[np.float64]
) -> ScaleEstimate | None:
    """Compare the ways (K, 4, 4) that the cameras took in the submap and by odometry [m].

    Compared are distances between camera centers over stretches of several lengths [keyframes]:
    they do not feel how the odometry frame lies or drifts. Of the lengths the most certain one
    decides: short stretches suffer least from slip and jumps, long ones from noise of the single
    pose and from clocks that differ. Rows that are not finite (no odometry then) are skipped.
    None: the scale is not observable, because the camera stood, or turned on the spot, or because
    the stretches disagree.
    """
    is_known = _finite(T_submap_camera) & _finite(T_odom_camera)
    submap, odom = T_submap_camera[is_known, :3, 3], T_odom_camera[is_known, :3, 3]
    ratios = {
        gap: logs
        for gap in ODOMETRY_GAPS
        if gap * MIN_BLOCKS < len(odom)
        and len(logs := _stretch_ratios(submap, odom, gap)) >= MIN_COUNT
    }
    if not ratios:
        return None
    start = densest(np.concatenate(list(ratios.values())))
    judged = [found for gap, logs in ratios.items() if (found := _judge(logs, gap, start))]
    if not judged:
        return None
    _, surest = max(judged, key=lambda evidence_estimate: evidence_estimate[0])
    return min(
        (estimate for _, estimate in judged if _doagree(estimate, surest)),
        key=lambda estimate: estimate.sigma,
    )


def _judge(
    logs: NDArray[np.float64], gap: int, start: float
) -> tuple[float, ScaleEstimate] | None:
    """Evidence that stretches of one length agree better than noise would, and on what.

    Stretches that overlap are not independent: only each ``gap``-th counts.
    """
    starts = (start, densest(logs))
    agreed = max((agree(logs, each) for each in starts), key=lambda each: each.likelihood)
    noise = agree(logs, agreed.center, spread=NOISE_SPREAD)
    evidence = (agreed.likelihood - noise.likelihood) / gap
    blocks = agreed.count / gap
    if not agreed.is_clear() or blocks < MIN_BLOCKS or evidence < MIN_EVIDENCE:
        return None
    estimate = _estimate(agreed.center, CHOICE * agreed.sigma(blocks), "odometry", agreed)
    return (evidence, estimate) if estimate else None


def _doagree(first: ScaleEstimate, second: ScaleEstimate) -> bool:
    difference = abs(math.log(first.meters_per_unit / second.meters_per_unit))
    return difference <= 2 * math.hypot(first.sigma, second.sigma)


def _stretch_ratios(
    submap: NDArray[np.float64], odom: NDArray[np.float64], gap: int
) -> NDArray[np.float64]:
    """Logarithms of meters per unit over all stretches of ``gap`` keyframes that moved."""
    units = np.linalg.norm(submap[gap:] - submap[:-gap], axis=1)
    meters = np.linalg.norm(odom[gap:] - odom[:-gap], axis=1)
    has_moved = (meters >= MIN_MOTION) & (units > 1e-9)
    logs: NDArray[np.float64] = np.log(meters[has_moved] / units[has_moved])
    return logs


def scale_from_rig(T_submap_camera: NDArray[np.float64], ties: RigTies) -> ScaleEstimate | None:
    """Compare where cameras (K, 4, 4) are seen from each other with where the rig has them [m].

    Only the part of each offset along the known baseline counts: noise of the poses then does not
    make baselines longer. None: there is one camera only, or they disagree.
    """
    is_finite = _finite(T_submap_camera)
    ties = ties.chosen(is_finite[ties.before] & is_finite[ties.after] & is_finite[ties.other])
    units, meters, is_clear = baselines(T_submap_camera, ties)
    units, meters, moments = units[is_clear], meters[is_clear], ties.moment_ns[is_clear]
    if len(units) < MIN_COUNT:
        return None
    start = float(np.median(units / meters))
    if not start > 0:
        return None
    noise = meters.max() / meters  # of a pair's units per meter, relative to the widest pair's
    agreed = agree(units / meters / start, 1.0, noise)
    blocks = agreed.count * len(set(moments)) / len(moments)
    if not agreed.is_clear() or agreed.center <= 0:
        return None
    sigma = CHOICE * agreed.sigma(blocks) / agreed.center
    return _estimate(-math.log(agreed.center * start), sigma, "rig", agreed)


def scale_from_depth(
    depth_submap: NDArray[np.float32],
    confidence: NDArray[np.float32],
    depth_m: Sequence[NDArray[np.float32] | None],
) -> ScaleEstimate | None:
    """Compare predicted depth (N, H, W) [units] with measured depth of the same views [m].

    ``depth_m``: N images of any size, or None; 0, NaN and Inf are holes. The logarithm of the
    ratio is the median in each of 6 x 8 blocks of an image, of pixels that are the same share of
    width and height, the least confident quarter left out. None: fewer than 5 blocks agree.
    """
    cells, frames = [], []
    for number, measured in enumerate(depth_m):
        if measured is not None and measured.ndim == 2 and measured.size:
            logs = _cell_ratios(depth_submap[number], confidence[number], measured)
            cells.append(logs)
            frames.append(np.full(len(logs), number))
    logs = np.concatenate([[], *cells])
    if len(logs) < MIN_COUNT:
        return None
    agreed = agree(logs, densest(logs))
    if not agreed.is_clear():
        return None
    sigma = max(agreed.sigma(agreed.count / 2), _sigma_of_frames(agreed, logs, frames))
    return _estimate(agreed.center, sigma, "depth", agreed)


def _cell_ratios(
    depth: NDArray[np.float32], confidence: NDArray[np.float32], measured: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Medians of the logarithm of meters per unit in the blocks of an image that have depth."""
    shape = np.minimum(np.minimum(depth.shape, measured.shape), DEPTH_GRID)
    units, sure = _resampled(depth, shape), _resampled(confidence, shape)
    meters = _resampled(measured, shape)
    is_valid = np.isfinite(units) & np.isfinite(meters) & np.isfinite(sure)
    is_valid &= (units > 0) & (meters > 0)
    if not is_valid.any():
        return np.empty(0)
    is_valid &= sure >= np.quantile(sure[is_valid], LEAST_CONFIDENT)
    row, column = np.nonzero(is_valid)
    logs = np.log(meters[row, column] / units[row, column])
    cell = row * DEPTH_CELLS[0] // shape[0] * DEPTH_CELLS[1] + column * DEPTH_CELLS[1] // shape[1]
    parts = [logs[cell == number] for number in np.unique(cell)]
    return np.array([np.median(part) for part in parts if len(part) >= MIN_CELL_PIXELS])


def _resampled(image: NDArray[np.float32], shape: NDArray[np.int64]) -> NDArray[np.float64]:
    """Pick the pixels of a coarser grid; never a mean, so that no depth arises in between."""
    rows, columns = (
        ((np.arange(count) + 0.5) * size / count).astype(int)
        for count, size in zip(shape, image.shape, strict=True)
    )
    picked: NDArray[np.float64] = image[np.ix_(rows, columns)].astype(np.float64)
    return picked


def _sigma_of_frames(
    agreed: Consensus, logs: NDArray[np.float64], frames: Sequence[NDArray[np.int64]]
) -> float:
    """What the center's spread is when errors are common to an image (cluster-robust)."""
    numbers = np.concatenate(frames)
    scores = np.bincount(numbers, agreed.weights * (logs - agreed.center))
    blocks = len(np.unique(numbers))
    if blocks < 2:
        return agreed.spread / 2
    spread = math.sqrt(blocks / (blocks - 1) * float((scores**2).sum())) / agreed.count
    return spread * float(stdtrit(blocks - 1, 0.975)) / 1.96


def scale_from_height(
    height_units: float, sigma_units: float, height_m: float
) -> ScaleEstimate | None:
    """Compare the camera's height above the ground plane with the true one [m].

    None where a height is not positive and finite or too uncertain.
    """
    numbers = (height_units, sigma_units, height_m)
    if not all(map(math.isfinite, numbers)) or height_units <= 0 or height_m <= 0:
        return None
    sigma = math.hypot(sigma_units / height_units, HEIGHT_SIGMA / height_m, FLOOR)
    if sigma > MAX_SIGMA:
        return None
    return ScaleEstimate(height_m / height_units, sigma, "camera_height", 1)


def combine_scales(estimates: Sequence[ScaleEstimate]) -> ScaleEstimate | None:
    """Join what was found of one submap, over time and by several sources.

    Estimates of one source look at the same things again, so that more of them make nothing surer:
    their weighted mean has their mean sigma. Sources are independent. Both means are of logarithms,
    with Cauchy weights where estimates contradict each other; the sigma then grows with the
    contradiction (Birge ratio). Estimates that are
    not finite and positive are skipped. None of none.
    """
    sources: dict[str, list[ScaleEstimate]] = {}
    for estimate in estimates:
        if not (0 < estimate.meters_per_unit < math.inf and 0 < estimate.sigma < math.inf):
            continue
        sources.setdefault(estimate.source, []).append(estimate)
    found = [_join(group, is_independent=False) for group in sources.values()]
    if not found:
        return None
    joined = _join(found, is_independent=True)
    return replace(joined, source="+".join(sources), count=sum(each.count for each in found))


def _join(estimates: Sequence[ScaleEstimate], *, is_independent: bool) -> ScaleEstimate:
    logs = np.log([estimate.meters_per_unit for estimate in estimates])
    sigmas = np.array([estimate.sigma for estimate in estimates])
    order = np.argsort(logs)
    mass = np.cumsum(1 / sigmas[order] ** 2)
    center = float(logs[order][np.searchsorted(mass, mass[-1] / 2)])  # weighted median
    doubt = 2.0 if len(logs) > 2 else math.inf  # of two, neither outvotes the other
    for _ in range(20):
        weights = 1 / sigmas**2 / (1 + ((logs - center) / (doubt * sigmas)) ** 2)
        center = float(weights @ logs / weights.sum())
    surprise = float(weights @ (logs - center) ** 2 / max(1, len(logs) - 1))
    sigma = weights.sum() ** -0.5 if is_independent else weights @ sigmas / weights.sum()
    sigma = float(sigma) * math.sqrt(max(1.0, surprise))
    count = max(estimate.count for estimate in estimates)
    return ScaleEstimate(math.exp(center), sigma, estimates[0].source, count)


def _estimate(
    center: float, sigma: float, source: str, agreed: Consensus
) -> ScaleEstimate | None:
    sigma = math.hypot(sigma, FLOOR)
    if not sigma <= MAX_SIGMA or not abs(center) < 50:
        return None
    return ScaleEstimate(math.exp(center), sigma, source, round(agreed.count))


def _finite(T: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the poses (K, 4, 4) are finite."""
    is_finite = np.isfinite(T).reshape(-1, 16)
    return np.asarray(is_finite.all(axis=1), bool)
