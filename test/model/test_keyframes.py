import numpy as np

from flashvggt_ros.model.keyframes import choose_keyframes


def test_short_sequences_have_the_first_frame_alone():
    assert choose_keyframes(np.random.default_rng(0).normal(size=(19, 4)), 10) == (0,)


def test_every_group_of_views_gives_a_keyframe():
    rng = np.random.default_rng(1)
    centers = 100 * rng.normal(size=(4, 8))
    features = np.concatenate([center + rng.normal(size=(10, 8)) for center in centers])

    chosen = choose_keyframes(features, 10)

    assert {index // 10 for index in chosen} == {0, 1, 2, 3}
    assert chosen[0] == 0
    assert len(set(chosen)) == len(chosen)


def test_the_choice_is_the_same_each_time():
    features = np.random.default_rng(2).normal(size=(60, 8))

    assert choose_keyframes(features, 10) == choose_keyframes(features, 10)


def test_frames_that_are_all_alike_give_a_valid_choice():
    assert choose_keyframes(np.ones((30, 4)), 10) == (0,)
