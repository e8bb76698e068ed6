"""Cameras of a rig correct each other's poses, as far as images do not contradict TF."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import RigConfig
from flashvggt_ros.frame import ChunkPrediction, FrameStamp
from flashvggt_ros.mapping.metric_scale import ScaleEstimate, scale_from_rig
from flashvggt_ros.mapping.rig_agreement import (
    Verdict,
    disagreement,
    judge,
    units_per_meter,
)
from flashvggt_ros.mapping.rig_poses import poses_on_rig
from flashvggt_ros.mapping.rig_ties import RigTies, find_ties
from flashvggt_ros.robot import RobotState

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]
Pair = tuple[str, str]
UNKNOWN_POSE = np.full((4, 4), np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class RigFit:
    """A prediction whose poses obey the rig, and the scale that its baselines told before.

    The scale is that of the poses as they were: those that obey the rig agree on it whatever it is.
    """

    prediction: ChunkPrediction
    scale: ScaleEstimate | None


class RigAdjustment:
    """Keeps keyframes that cameras took at one moment to each other as TF says that they sit.

    The poses of each submap are fitted anew with each chunk (see poses_on_rig). Two cameras that
    images steadily see elsewhere than TF has them are refused: they keep the model's poses, their
    baseline says nothing of the scale, and ``problem`` says so. What was found in one submap holds
    for the beginning of the next.
    """

    def __init__(self, config: RigConfig) -> None:
        self._config = config
        self._refused: dict[Pair, Verdict] = {}
        self.problem = ""

    def fit(
        self,
        stamps: Sequence[FrameStamp],
        states: Sequence[RobotState],
        prediction: ChunkPrediction,
    ) -> RigFit:
        """Return the prediction with all poses of its submap fitted to the rig.

        ``stamps`` and ``states``: of all K keyframes of the submap. With one camera, or without TF,
        the prediction comes back as it is; also one that is not about these keyframes.
        """
        T = prediction.T_submap_camera
        cameras = sorted({stamp.camera for stamp in stamps})
        if len(cameras) < 2 or len(T) != len(stamps):
            return RigFit(prediction, None)
        stamps_ns = np.array([stamp.stamp_ns for stamp in stamps], np.int64)
        poses = [state.T_base_camera for state in states]
        T_base_camera = np.stack([UNKNOWN_POSE if pose is None else pose for pose in poses])
        ties = find_ties(T_base_camera, stamps_ns)
        if not self._config.enabled or not len(ties):
            return RigFit(prediction, scale_from_rig(T, ties))
        name = np.array([stamp.camera for stamp in stamps])
        depth = _median_depth(prediction)
        ties = self._believed(T, ties, name, depth)
        scale = scale_from_rig(T, ties)
        if not len(ties):
            return RigFit(prediction, scale)
        order = np.argsort(stamps_ns, kind="stable")
        tracks = [order[name[order] == camera] for camera in cameras]
        units = units_per_meter(T, ties)
        fitted = poses_on_rig(T, tracks, ties, units, depth, self._config)
        return RigFit(replace(prediction, T_submap_camera=fitted), scale)

    def _believed(self, T: Array, ties: RigTies, name: NDArray[np.str_], depth: float) -> RigTies:
        """Leave out the ties of cameras that do not sit where TF has them."""
        pairs = list(zip(name[ties.before].tolist(), name[ties.other].tolist(), strict=True))
        parts = {
            pair: np.array([pair == each for each in pairs]) for pair in sorted(set(pairs))
        }
        scales = [units_per_meter(T, ties)]
        scales += [units_per_meter(T, ties.chosen(part)) for part in parts.values()]
        judged = [self._judged(T, ties, parts, units, depth) for units in scales]
        verdicts = min(judged, key=_refusals)  # a wrong baseline is not to decide on the scale
        for pair, verdict in verdicts.items():
            self._remember(pair, verdict)
        is_believed = np.array([pair not in self._refused for pair in pairs])
        return ties.chosen(is_believed)

    def _judged(
        self, T: Array, ties: RigTies, parts: dict[Pair, NDArray[np.bool_]], units: float,
        depth: float,
    ) -> dict[Pair, Verdict]:
        verdicts = {}
        for pair, part in parts.items():
            mine = ties.chosen(part)
            baseline = float(np.median(np.linalg.norm(mine.T_first_other[:, :3, 3], axis=1)))
            found = disagreement(T, mine, units)
            verdict = judge(found, baseline, units, depth, self._config.max_turn)
            if verdict is not None:
                verdicts[pair] = verdict
        return verdicts

    def _remember(self, pair: Pair, verdict: Verdict) -> None:
        was_refused = pair in self._refused
        if verdict.is_refused:
            self._refused[pair] = verdict
        else:
            self._refused.pop(pair, None)
        if was_refused != verdict.is_refused:
            self.problem = "; ".join(map(_said, self._refused, self._refused.values()))
            if verdict.is_refused:
                logger.warning("%s", _said(pair, verdict))
            else:
                logger.info("images see %s and %s again where TF has them", *pair)


def _refusals(verdicts: dict[Pair, Verdict]) -> int:
    return sum(verdict.is_refused for verdict in verdicts.values())


def _said(pair: Pair, verdict: Verdict) -> str:
    """Say what is wrong with TF, and what to do."""
    shift = "" if math.isnan(verdict.shift) else f" and {verdict.shift:.2g} m"
    return (
        f"images see cameras {pair[0]} and {pair[1]} {math.degrees(verdict.turn):.0f} degrees"
        f"{shift} from where TF has them: these two do not correct each other; check their "
        "transforms (optical frames: x right, y down, z forward), or raise rig.max_turn"
    )


def _median_depth(prediction: ChunkPrediction) -> float:
    """Of what the newest keyframes see [units], or 1 if they see nothing."""
    seen = prediction.depth[:, ::4, ::4]
    seen = seen[seen > 0]
    return float(np.median(seen)) if len(seen) else 1.0
