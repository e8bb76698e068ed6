"""Views of two cameras at one moment are found, whether they keep time together or not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from flashvggt_ros.geometry import se3
from flashvggt_ros.mapping.rig_ties import LARGEST_SLACK, RigTies, find_ties
from flashvggt_ros.worlds import mount

Array = NDArray[np.float64]
LEFT, RIGHT, REAR = mount(side=0.1), mount(side=-0.1), mount(yaw=np.pi)
MS = 1_000_000


def ties_of(*views: tuple[Array, int]) -> RigTies:
    """Ties of cameras' places and stamps [ms]."""
    poses, stamps = zip(*views, strict=True)
    return find_ties(np.stack(poses), 1_700_000_000_000_000_000 + MS * np.array(stamps))


def test_cameras_at_one_moment_are_tied_by_their_places_on_the_rig() -> None:
    ties = ties_of((LEFT, 0), (RIGHT, 3), (LEFT, 100), (RIGHT, 103))
    np.testing.assert_array_equal(ties.before, ties.after)
    assert {*zip(ties.before, ties.other, strict=True)} in ({(0, 1), (2, 3)}, {(1, 0), (3, 2)})
    for first, other, T in zip(ties.before, ties.other, ties.T_first_other, strict=True):
        places = (LEFT, RIGHT)
        np.testing.assert_allclose(T, se3.inverse(places[first % 2]) @ places[other % 2])
    np.testing.assert_array_equal(ties.slack, 0)


def test_which_camera_comes_first_does_not_depend_on_who_is_late() -> None:
    ties = ties_of((LEFT, 0), (RIGHT, 3), (RIGHT, 100), (LEFT, 103))
    is_left = np.isin(ties.before, (0, 3))
    assert is_left.all() or not is_left.any()


def test_three_cameras_make_three_ties_a_moment() -> None:
    assert len(ties_of((LEFT, 0), (RIGHT, 0), (REAR, 0))) == 3


def test_a_camera_in_between_two_keyframes_is_tied_to_where_the_other_was_then() -> None:
    ties = ties_of((LEFT, 0), (LEFT, 200), (RIGHT, 50), (RIGHT, 250))
    assert len(ties) == 1
    before, after, share, other = ties.before[0], ties.after[0], ties.share[0], ties.other[0]
    if other == 2:
        assert (before, after, share) == (0, 1, pytest.approx(0.25))
        assert ties.slack[0] == pytest.approx(0.5 * 0.05 * 0.15)
    else:
        assert (before, after, share) == (2, 3, pytest.approx(0.75))
        assert ties.slack[0] == pytest.approx(0.5 * 0.15 * 0.05)


def test_slack_bounds_how_far_apart_keyframes_may_be() -> None:
    for apart, count in ((390, 1), (410, 0), (5000, 0)):
        ties = ties_of((LEFT, 0), (LEFT, apart), (RIGHT, apart // 2))
        assert len(ties) == count
        assert (ties.slack <= LARGEST_SLACK).all()
    assert len(ties_of((LEFT, 0), (LEFT, 1000), (RIGHT, 40))) == 1


def test_nothing_is_tied_to_a_camera_that_is_past_its_last_keyframe() -> None:
    assert len(ties_of((LEFT, 0), (LEFT, 100), (RIGHT, 120))) == 0


def test_one_camera_or_unknown_places_make_no_ties() -> None:
    assert len(ties_of((LEFT, 0), (LEFT, 2), (LEFT, 100))) == 0
    unknown = np.full((4, 4), np.nan)
    assert len(ties_of((LEFT, 0), (unknown, 0), (LEFT, 100), (unknown, 100))) == 0
    assert len(find_ties(np.zeros((0, 4, 4)), np.zeros(0, np.int64))) == 0


def test_the_order_of_keyframes_makes_no_difference() -> None:
    views = [(LEFT, 0), (RIGHT, 1), (LEFT, 200), (RIGHT, 320), (LEFT, 400), (REAR, 401)]
    straight = ties_of(*views)
    order = [4, 2, 0, 5, 1, 3]
    shuffled = ties_of(*[views[number] for number in order])
    renumbered = np.argsort(order)  # where each keyframe went
    found = {(renumbered[b], renumbered[a], renumbered[o]) for b, a, o in
             zip(straight.before, straight.after, straight.other, strict=True)}
    assert found == {*zip(shuffled.before, shuffled.after, shuffled.other, strict=True)}
    assert len(found) == len(straight) > 2
