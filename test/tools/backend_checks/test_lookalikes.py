"""Wrong loops are told from true ones, and returns from mere likeness."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.graph_measurements import Between
from flashvggt_ros.slam import Slam
from flashvggt_ros.tools.backend_checks.lookalikes import (
    Witness,
    is_true,
    returning_submaps,
    visiting_order,
)
from flashvggt_ros.tools.backend_checks.mapped_world import SMALL, settings
from flashvggt_ros.worlds import TruthPredictor, World, lookalike_world

Run = tuple[Witness, World]


@pytest.fixture(scope="module")
def run() -> Run:
    """Rooms 0, 1 and 0 again, mapped without any error."""
    world, _ = lookalike_world(0, (0, 1, 0), pinhole=SMALL)
    return Witness(Slam(settings({}), TruthPredictor(world)), world.frames), world


def true_loop(witness: Witness, first: int, second: int) -> Between:
    """How two submaps lie to each other in a map without errors."""
    S_first, S_second = (witness.submaps[number].S_map_submap for number in (first, second))
    return Between(first, second, S_first.inverse() @ S_second, np.eye(7), is_robust=True)


def test_loops_of_a_walk_without_errors_are_true_and_come_from_returns(run: Run) -> None:
    witness, world = run
    loops = witness.loops
    assert loops
    assert all(is_true(loop, witness.submaps, world) for loop in loops)
    assert {loop.second for loop in loops} & returning_submaps(witness.submaps.values(), world)


def test_a_loop_to_the_room_next_door_is_wrong(run: Run) -> None:
    witness, world = run
    loop = true_loop(witness, 0, 3)
    assert is_true(loop, witness.submaps, world)
    unit = witness.submaps[0].S_map_submap.scale
    for offset, expected in ((5.0, False), (0.7, False), (0.2, True)):
        shift = Sim3(1.0, np.eye(3), np.array([0.0, 0.0, offset / unit]))
        moved = replace(loop, S_first_second=shift @ loop.S_first_second)
        assert is_true(moved, witness.submaps, world) is expected


def test_only_submaps_that_come_back_are_counted_as_returning(run: Run) -> None:
    witness, world = run
    returning = returning_submaps(witness.submaps.values(), world)
    assert returning
    assert min(returning) > 2 * len(witness.submaps) / 4
    once, _ = lookalike_world(0, (0, 1, 2), pinhole=SMALL)
    there = Witness(Slam(settings({"loop.enabled": False}), TruthPredictor(once)), once.frames)
    assert there.loops == []
    assert returning_submaps(there.submaps.values(), once) == set()


def test_every_order_of_visits_returns_and_changes_room_each_time() -> None:
    orders = {visiting_order(seed, 8) for seed in range(20)}
    assert len(orders) > 15
    for order in orders:
        assert order[:4] == (0, 1, 2, 0)
        assert all(first != second for first, second in pairwise(order))
