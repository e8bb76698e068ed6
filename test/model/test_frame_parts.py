"""A chunk computed in parts is the chunk computed whole."""

from concurrent.futures import ThreadPoolExecutor
from threading import current_thread

import pytest
import torch

from flashvggt_ros.model.frame_parts import FrameParts, undivided
from flashvggt_ros.shared_work import SharedWork


@pytest.mark.parametrize(("frames", "sizes"), [
    (1, [1]), (2, [1, 1]), (5, [3, 2]), (8, [4, 4]), (10, [3, 3, 2, 2]), (17, [3, 3, 3, 3, 3, 2]),
])
def test_parts_are_even_in_number_and_of_few_frames(frames, sizes):
    seen = []

    def twice(tensor, other):
        assert tensor.tolist() == other.tolist()
        seen.append(len(tensor))
        return 2 * tensor

    numbers = torch.arange(frames)
    doubled = FrameParts(SharedWork()).share(twice, numbers, numbers)
    assert seen == sizes
    assert doubled.tolist() == (2 * numbers).tolist()


@pytest.mark.parametrize("revision", ["r1", "r2"])
def test_a_model_says_the_same_of_a_chunk_in_parts(make_model, images, revision):
    whole, model = make_model(revision=revision), make_model(revision=revision)
    shared = FrameParts(SharedWork())
    calls = []

    def counting(function, *tensors):
        calls.append(len(tensors[0]))
        return shared.share(function, *tensors)

    model.share_frames(counting)
    expected_cache, cache = whole.new_cache(), model.new_cache()
    for chunk in images.split(4):
        with torch.inference_mode():
            expected = whole.forward_chunk(chunk, expected_cache)
            found = model.forward_chunk(chunk, cache)
        torch.testing.assert_close(found.pose_enc, expected.pose_enc)
        torch.testing.assert_close(found.depth, expected.depth)
        torch.testing.assert_close(found.depth_conf, expected.depth_conf)
    depth, descriptors = model.config.depth, len(model.config.descriptor_blocks)
    # encoder, frame blocks, attention to descriptors, all global blocks' rest, depth head
    assert len(calls) == 2 * (1 + depth + descriptors + depth + 1)
    assert set(calls) == {4, 3}


def test_a_batch_of_sequences_is_not_divided_where_its_keys_differ(make_model, images):
    model = make_model()
    batch = torch.stack([images[:4], images[3:]])
    with torch.inference_mode():
        expected = model.forward_chunk(batch, model.new_cache())
        model.share_frames(FrameParts(SharedWork()).share)
        found = model.forward_chunk(batch, model.new_cache())
    torch.testing.assert_close(found.pose_enc, expected.pose_enc)
    torch.testing.assert_close(found.depth, expected.depth)


def test_who_computes_a_part_makes_no_difference(make_model, images):
    work, model, threads = SharedWork(), make_model(), set()
    parts = FrameParts(work)

    def noting(function, *tensors):
        def noted(*part):
            threads.add(current_thread().name)
            return function(*part)

        return parts.share(noted, *tensors)

    def run():
        with torch.inference_mode(), parts.threads():
            return model.forward_chunk(images, model.new_cache())

    model.share_frames(noting)
    alone = run()
    assert threads == {current_thread().name}
    with ThreadPoolExecutor(1, "model") as pool:
        while len(threads) < 2:
            done = pool.submit(run)
            work.help_until(done)
            assert torch.equal(done.result().depth, alone.depth)
            assert torch.equal(done.result().pose_enc, alone.pose_enc)


def test_half_of_the_threads_compute_a_part_and_all_come_back():
    torch.set_num_threads(4)
    try:
        parts, inside = FrameParts(SharedWork()), []
        parts.share(lambda part: inside.append(torch.get_num_threads()) or part, torch.ones(2))
        assert inside == [2, 2]
        with pytest.raises(ValueError, match="failed"), parts.threads():
            raise ValueError("failed")
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(1)


def test_models_begin_undivided(make_model):
    model = make_model()
    assert model.aggregator.share is model.depth_head.share is undivided
