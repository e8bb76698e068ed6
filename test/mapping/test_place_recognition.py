"""Places are recognized by signatures, however much all signatures have in common."""

import numpy as np
import pytest

from flashvggt_ros.mapping.place_recognition import PlaceIndex
from flashvggt_ros.worlds import signature
from flashvggt_ros.worlds.room import Room
from flashvggt_ros.worlds.world import walk

LEAST = 0.5


def walk_signatures(rng: np.random.Generator, places: int, common: float = 5.0) -> np.ndarray:
    """Signatures (places, 128) of a walk: each is much like the next, and like all the others."""
    steps = rng.normal(size=(places + 4, 128))
    smooth = sum(steps[i : i + places] for i in range(4)) + common
    return smooth / np.linalg.norm(smooth, axis=1, keepdims=True)


def index_of(signatures: np.ndarray, size: int = 10) -> PlaceIndex:
    index = PlaceIndex()
    for i, row in enumerate(signatures):
        index.add(i // size, i % size, row)
    return index


def test_a_place_that_is_seen_again_is_found_and_one_never_seen_is_not() -> None:
    rng = np.random.default_rng(0)
    known = walk_signatures(rng, 60)
    index = index_of(known)
    again = known[23:27] + rng.normal(0, 0.02, (4, 128))
    found = index.candidates(again, (), 3, LEAST)
    assert found[0].submap == 2
    assert abs(found[0].keyframe - found[0].query_keyframe - 3) <= 1
    assert found[0].similarity > 0.7
    new = walk_signatures(rng, 4)
    assert index.candidates(new, (), 3, LEAST) == ()


def test_similarity_is_one_for_what_neighbors_are_like() -> None:
    known = walk_signatures(np.random.default_rng(1), 200)
    index = index_of(known)
    ahead = [index.candidates(known[i : i + 1], (), 1, 0.0)[0].similarity for i in (15, 55, 95)]
    beside = [
        index.candidates(known[i : i + 1], {i // 10}, 1, 0.0)[0].similarity for i in (10, 50, 90)
    ]
    assert min(ahead) > 1.1
    assert 0.7 < np.median(beside) < 1.3


def test_what_all_images_have_in_common_does_not_count() -> None:
    rng = np.random.default_rng(2)
    for common in (0.0, 5.0, 50.0):
        known = walk_signatures(np.random.default_rng(3), 60, common)
        new = walk_signatures(rng, 4, common)
        assert (known @ new.T).max() > 0.9 or common < 5
        assert index_of(known).candidates(new, (), 3, LEAST) == ()


def test_excluded_submaps_are_no_candidates() -> None:
    known = walk_signatures(np.random.default_rng(4), 60)
    found = index_of(known).candidates(known[20:30], {2}, 5, 0.0)
    assert found
    assert all(candidate.submap != 2 for candidate in found)


def test_candidates_are_distinct_places_in_order_of_similarity() -> None:
    known = walk_signatures(np.random.default_rng(5), 60)
    twice = np.concatenate([known, known[10:20]])
    found = index_of(twice).candidates(known[14:16], (), 4, 0.2)
    assert {(c.submap, c.keyframe // 4) for c in found[:2]} == {(1, 1), (6, 1)}
    places = [10 * c.submap + c.keyframe for c in found]
    assert min(abs(a - b) for i, a in enumerate(places) for b in places[:i]) >= 4
    assert [c.similarity for c in found] == sorted((c.similarity for c in found), reverse=True)


def test_a_removed_submap_is_forgotten() -> None:
    known = walk_signatures(np.random.default_rng(6), 60)
    index = index_of(known)
    index.remove(2)
    assert len(index) == 50
    assert all(c.submap != 2 for c in index.candidates(known[20:30], (), 5, 0.0))


def test_an_almost_empty_index_has_no_candidates() -> None:
    known = walk_signatures(np.random.default_rng(7), 5)
    assert PlaceIndex().candidates(known, (), 3, 0.0) == ()
    assert index_of(known).candidates(known, (), 3, 0.0) == ()


def test_signatures_of_another_length_are_refused() -> None:
    index = PlaceIndex()
    index.add(0, 0, np.ones(4))
    with pytest.raises(ValueError, match="keyframe 1 of submap 0"):
        index.add(0, 1, np.ones(5))


def test_a_second_round_of_a_room_finds_the_first() -> None:
    room = Room(seed=3)
    first = np.stack([signature(room.render(T)[0]) for T in walk(60)])
    index = index_of(first)
    second = walk(60)[5::10]
    second[:, :3, 3] += 0.05
    for number, T in zip(range(5, 60, 10), second, strict=True):
        found = index.candidates(signature(room.render(T)[0])[None], (), 1, LEAST)[0]
        assert abs(10 * found.submap + found.keyframe - number) <= 1
