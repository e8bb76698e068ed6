"""Which way is up, when only the floor can say so."""

from __future__ import annotations

import math
from collections.abc import Iterator

from flashvggt_ros.tools.backend_checks.finding import Finding
from flashvggt_ros.tools.backend_checks.mapped_world import (
    SMALL,
    drift_of,
    run_slam,
    settings,
    tilt,
)
from flashvggt_ros.worlds import PINHOLE, TruthPredictor, house_world, mount

PITCHES = (0, 15, 30)  # [deg]


def check_floor(is_quick: bool) -> Iterator[Finding]:
    """Drive through a house with cameras that look down at several angles, and without a robot."""
    config = settings({"gravity.source": "ground"})
    for pitch in PITCHES:
        world = house_world(0, {"camera": mount(1.2, math.radians(pitch))}, step=0.5,
                            pinhole=SMALL if is_quick else PINHOLE)
        predictor = TruthPredictor(
            world, drift=drift_of(config), depth_noise=0.02, smooth_noise=0.01, noise_spread=0.5,
            outliers=0.05,
        )
        frames = world.frames[:24] if is_quick else world.frames
        trajectory = run_slam(config, predictor, frames).map.trajectory()
        angle = math.degrees(tilt(trajectory, world))
        yield Finding(f"floor normal from z, camera pitched {pitch} deg", angle, 2.0, "deg")
