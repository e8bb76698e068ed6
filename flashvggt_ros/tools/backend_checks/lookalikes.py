"""Rooms that look alike: which loops are found, and whether any of them is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.frame import Frame
from flashvggt_ros.mapping.graph_measurements import Between
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.slam import Slam
from flashvggt_ros.tools.backend_checks.finding import Finding
from flashvggt_ros.tools.backend_checks.mapped_world import (
    SMALL,
    anchored,
    drift_of,
    settings,
)
from flashvggt_ros.worlds import TruthPredictor, World, covisibility, lookalike_world

SEEDS = 20
TOLERANCE = 0.5  # by which a true loop may misplace a submap; look-alikes are 5 m apart [m]
SAME = 0.5  # share of an image that another must show to be of the same place
NEAR = 1.5  # between two cameras in the same place, at most [m]
LATER = 40  # frames after which a place is one that was left and seen again
LEAST = 4  # frames of a submap that must see the old place, for its loop to count as a true one


@dataclass(frozen=True, slots=True)
class _Count:
    """Loops and ties accepted, and how many are wrong; submaps that return, and by loops closed."""

    accepted: int
    wrong: int
    returns: int
    found: int


def check_lookalikes(is_quick: bool) -> Iterator[Finding]:
    """Walk through rooms that look alike, and return to some, with a model that confuses them."""
    counts = [_walk(seed, 4 if is_quick else 8) for seed in range(1 if is_quick else SEEDS)]
    wrong = sum(count.wrong for count in counts)
    returns, found = sum(c.returns for c in counts), sum(c.found for c in counts)
    worlds = f"{len(counts)} worlds of look-alike rooms"
    accepted = sum(count.accepted for count in counts)
    yield Finding(f"{worlds}: wrong among {accepted} loops and ties accepted", wrong, 0, "")
    yield Finding(f"{worlds}: of {returns} true loops found", 100 * found / max(returns, 1), 80.0,
                  "%", is_at_most=False)


def _walk(seed: int, visits: int) -> _Count:
    world, lookalikes = lookalike_world(seed, visiting_order(seed, visits), pinhole=SMALL)
    config = settings({})
    predictor = TruthPredictor(
        world, drift=drift_of(config), lookalikes=lookalikes, depth_noise=0.01, smooth_noise=0.005,
        noise_spread=0.5, outliers=0.02, seed=seed,
    )
    witness = Witness(Slam(config, predictor), world.frames)
    loops, submaps = witness.loops, witness.submaps
    good = {loop.second for loop in loops if is_true(loop, submaps, world)}
    returning = returning_submaps(submaps.values(), world)
    accepted = loops + witness.ties
    wrong = sum(not is_true(loop, submaps, world) for loop in accepted)
    return _Count(len(accepted), wrong, len(returning), len(returning & good))


def visiting_order(seed: int, visits: int) -> tuple[int, ...]:
    """Return the rooms to visit one after the other: 0, 1, 2, 0, then any of five."""
    rng = np.random.default_rng([seed, 3])
    rooms = [0, 1, 2, 0]
    while len(rooms) < visits:
        room = int(rng.integers(5))
        if room != rooms[-1]:
            rooms.append(room)
    return tuple(rooms)


class Witness:
    """Maps all frames and remembers each submap and loop; the map merges those it needs no more."""

    def __init__(self, slam: Slam[Any], frames: Iterable[Frame]) -> None:
        self.submaps: dict[int, Submap] = {}
        self._loops: dict[int, Between] = {}
        self._ties: dict[int, Between] = {}
        for frame in frames:
            if slam.add_frame(frame):
                self._look(slam)
        slam.flush()
        self._look(slam)
        slam.finish()
        self._look(slam)

    @property
    def loops(self) -> list[Between]:
        """The factors of the pose graph that loop closure made."""
        return list(self._loops.values())

    @property
    def ties(self) -> list[Between]:
        """The other factors that said of two submaps that they show one place: their surfaces."""
        return list(self._ties.values())

    def _look(self, slam: Slam[Any]) -> None:
        self.submaps |= {submap.index: submap for submap in slam.map.submaps}
        layout = slam.map.layout
        for number, factor in layout.graph.factors.items():
            if isinstance(factor, Between) and factor.is_robust:
                found = self._loops if number in layout.loop_factors else self._ties
                found[number] = factor


def is_true(loop: Between, submaps: Mapping[int, Submap], world: World) -> bool:
    """Whether a loop puts the later submap where it is, as seen from the earlier one."""
    match, query = submaps[loop.first], submaps[loop.second]
    truth, placed = _true_poses(query, world), _placed(match, query, loop, world)
    offset = np.linalg.norm((placed - truth)[:, :3, 3].mean(axis=0))
    return bool(offset < TOLERANCE)


def returning_submaps(submaps: Iterable[Submap], world: World) -> set[int]:
    """Numbers of the submaps that see a place again which was left long before."""
    places = world.T_world_camera[:, :3, 3]
    is_near = np.linalg.norm(places[:, None] - places, axis=-1) < NEAR
    is_same = is_near & (covisibility(world) > SAME)
    number = {stamp: number for number, stamp in enumerate(world.stamps)}
    returning = set()
    for submap in submaps:
        frames = [number[stamp] for stamp in submap.stamps[submap.shared :]]
        if not frames:
            continue
        older = is_same[frames, : max(0, min(frames) - LATER)]
        if np.count_nonzero(older.any(axis=1)) >= LEAST:
            returning.add(submap.index)
    return returning


def _placed(match: Submap, query: Submap, loop: Between, world: World) -> NDArray[np.float64]:
    """T_world_camera (K, 4, 4) of the later submap's frames, if the loop is believed."""
    S_world_match = anchored(match.T_submap_camera, _true_poses(match, world))
    S_world_query = S_world_match @ loop.S_first_second
    return S_world_query.transform_pose(query.T_submap_camera)


def _true_poses(submap: Submap, world: World) -> NDArray[np.float64]:
    number = {stamp: number for number, stamp in enumerate(world.stamps)}
    return world.T_world_camera[[number[stamp] for stamp in submap.stamps]]
