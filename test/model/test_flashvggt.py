import hashlib
import json
import math
from collections import Counter
from pathlib import Path

import pytest
import torch

from flashvggt_ros.model.flashvggt import PRESETS, FlashVGGT, GradientCache, ModelConfig
from flashvggt_ros.model.memory import OneCallMemory

RELEASED = json.loads((Path(__file__).parents[1] / "data/released_state_dict.json").read_text())


@pytest.mark.parametrize("name", ["flashvggt-r1", "flashvggt-r2"])
def test_full_models_have_the_tensors_of_the_released_checkpoints(name):
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in FlashVGGT(PRESETS[name]).state_dict().items()}

    lines = sorted(f"{key} {'x'.join(map(str, shape))}" for key, shape in shapes.items())
    assert len(shapes) == RELEASED["tensors"]
    assert sum(math.prod(shape) for shape in shapes.values()) == RELEASED["parameters"]
    assert Counter(".".join(k.split(".")[:2]) for k in shapes) == RELEASED["tensors_below"]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    assert digest == RELEASED["sha256_of_names_and_shapes"]


@pytest.mark.parametrize("revision", ["r1", "r2"])
@pytest.mark.parametrize("sizes", [(2, 2, 3), (1, 5, 1), (7,)])
def test_chunk_by_chunk_equals_the_whole_sequence(make_model, images, revision, sizes):
    model = make_model(revision=revision)
    cache, parts = model.new_cache(), []

    for chunk in images.split(sizes):
        parts.append(model.forward_chunk(chunk, cache))

    reference = GradientCache()
    whole = [model.forward_chunk(chunk, reference) for chunk in images.split(sizes)]
    torch.testing.assert_close(parts[-1].pose_enc, whole[-1].pose_enc)
    for part, other in zip(parts, whole, strict=True):
        torch.testing.assert_close(part.depth, other.depth)
    assert parts[-1].pose_enc.shape == (1, 7, 9)


@pytest.mark.parametrize("revision", ["r1", "r2"])
def test_one_call_with_a_chunk_size_equals_explicit_chunks(make_model, images, revision):
    model, cache = make_model(revision=revision), None
    cache = model.new_cache()
    parts = [model.forward_chunk(chunk, cache) for chunk in images.split(3)]

    whole = model(images, chunk_size=3)

    torch.testing.assert_close(whole.pose_enc, parts[-1].pose_enc)
    torch.testing.assert_close(whole.depth, torch.cat([part.depth for part in parts], dim=1))
    torch.testing.assert_close(
        whole.depth_conf, torch.cat([part.depth_conf for part in parts], dim=1)
    )
    assert whole.depth.shape == (1, 7, 16, 24, 1)
    assert whole.depth_conf.shape == (1, 7, 16, 24)
    assert len(whole.pose_iterations) == 4


def test_chunks_do_not_see_what_comes_later(make_model, images):
    model = make_model()
    whole = model(images, chunk_size=4)

    beginning = model(images[:4], chunk_size=4)

    torch.testing.assert_close(whole.depth[:, :4], beginning.depth)


def test_earlier_chunks_change_what_later_ones_say(make_model, images):
    model = make_model()
    with_other_past = images.clone()
    with_other_past[2] = 0

    ours = model(images, chunk_size=4).depth[:, 4:]

    assert (model(with_other_past, chunk_size=4).depth[:, 4:] - ours).abs().max() > 1e-4


def test_sequences_of_a_batch_do_not_touch(make_model, images):
    model = make_model()
    other = images.flip(0)

    both = model(torch.stack([images, other]), chunk_size=3)

    for row, sequence in enumerate((images, other)):
        alone = model(sequence, chunk_size=3)
        torch.testing.assert_close(both.pose_enc[row], alone.pose_enc[0])
        torch.testing.assert_close(both.depth[row], alone.depth[0])


def test_a_memory_for_one_call_equals_a_cache_and_refuses_a_second_call(make_model, images):
    model, memory = make_model(), OneCallMemory()

    ours = model.forward_chunk(images, memory)

    expected = model.forward_chunk(images, model.new_cache())
    assert torch.equal(ours.depth, expected.depth)
    assert torch.equal(ours.pose_enc, expected.pose_enc)
    with pytest.raises(ValueError, match="for one call"):
        model.forward_chunk(images, memory)


def test_a_short_single_forward_pass_equals_the_stream(make_model, images):
    stream, single = make_model(), make_model(variant="single")

    torch.testing.assert_close(single(images).pose_enc, stream(images).pose_enc)


def test_the_order_of_keyframes_does_not_matter_but_their_number_does(make_model, images):
    model = make_model(variant="single")

    ours = model(images, keyframes=[0, 1, 0, 2]).depth

    torch.testing.assert_close(model(images, keyframes=[2, 0, 0, 1]).depth, ours)
    assert (model(images, keyframes=[0, 1, 2]).depth - ours).abs().max() > 1e-5


def test_a_long_single_forward_pass_chooses_keyframes_of_its_own(make_model, images):
    model = make_model(variant="single", keyframe_every=2)

    chosen = model(images).depth

    assert (chosen - model(images, keyframes=[0]).depth).abs().max() > 1e-5


@pytest.mark.parametrize("revision", ["r1", "r2"])
def test_without_coarsening_no_frame_counts_twice(make_model, images, revision):
    sizes = {"revision": revision, "kv_downfactor": 1, "descriptor_range": (0, 3)}
    single, stream = make_model(variant="single", **sizes), make_model(**sizes)
    cache = stream.new_cache()

    ours = stream.forward_chunk(images, cache)

    tokens, layers, key_and_value, bytes_each = 7 * (5 + 4 * 6), 4, 2 * 16, 4
    assert cache.nbytes == tokens * layers * key_and_value * bytes_each
    torch.testing.assert_close(single(images).depth, ours.depth)
    torch.testing.assert_close(single(images, keyframes=[0, 3, 0]).depth, ours.depth)


def test_the_camera_head_reads_the_last_block_and_the_depth_head_the_taps(make_model, images):
    model = make_model(taps=(0, 1, 1, 2))
    before = model(images)

    model.aggregator.global_blocks[3].mlp.fc2.bias.add_(1.0)

    after = model(images)
    assert torch.equal(after.depth, before.depth)
    assert (after.pose_enc - before.pose_enc).abs().max() > 1e-3
    model.aggregator.global_blocks[2].mlp.fc2.bias.add_(1.0)
    assert (model(images).depth - before.depth).abs().max() > 1e-5


def test_gradients_reach_every_weight_through_chunks(make_model, images):
    model = make_model().requires_grad_(True)
    cache, depth = GradientCache(), 0.0
    batch = torch.stack([images, images.flip(0)])

    for chunk in batch.split([4, 3], dim=1):
        features = model.encode_chunk(chunk, cache)
        frame_depth, confidence = model.decode_depth(features, [2])
        assert frame_depth.shape == (2, 1, 16, 24, 1)
        depth = depth + frame_depth.mean() + confidence.mean()
    poses = model.decode_poses(features.camera_tokens)
    (depth + sum(pose[..., :7].square().mean() for pose in poses)).backward()

    without = {name for name, value in model.named_parameters()
               if value.grad is None or not value.grad.any()}
    assert without == {"aggregator.patch_embed.mask_token"}


def test_depth_of_some_frames_equals_theirs_among_all(make_model, images):
    model = make_model()
    features = model.encode_chunk(images, model.new_cache())

    some = model.decode(features, depth_frames=[4, 1])

    everything = model.decode(features)
    torch.testing.assert_close(some.depth, everything.depth[:, [4, 1]])
    torch.testing.assert_close(some.pose_enc, everything.pose_enc)


@pytest.mark.parametrize("shape", [(2, 3, 16, 22), (2, 3, 4, 24), (2, 4, 16, 24), (0, 3, 16, 24)])
def test_images_of_a_wrong_shape_are_refused(make_model, shape):
    model = make_model()

    with pytest.raises(ValueError, match="images are"):
        model.forward_chunk(torch.zeros(shape), model.new_cache())


def test_keyframes_are_refused_where_they_mean_nothing(make_model, images):
    with pytest.raises(ValueError, match="reference is frame 0"):
        make_model()(images, keyframes=[0, 1])
    with pytest.raises(ValueError, match="within 0 to 6"):
        make_model(variant="single")(images, keyframes=[0, 7])


def test_a_config_survives_its_text():
    for config in PRESETS.values():
        assert ModelConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"revision": "r3"}, "revision"),
        ({"width": 100}, "multiple of 4"),
        ({"taps": (4, 11, 17, 24)}, "four blocks from 0 to 23"),
        ({"taps": (4, 11, 23)}, "four blocks"),
        ({"kv_downfactor": 0}, "at least 1"),
        ({"descriptor_range": (30, 40)}, "contains no block"),
    ],
)
def test_sizes_that_make_no_model_are_refused(sizes, said):
    with pytest.raises(ValueError, match=said):
        ModelConfig(**sizes)


def test_text_that_is_no_config_is_refused():
    for text in ("[", "{\"no_such_size\": 1}", "3"):
        with pytest.raises(ValueError, match="not a model config"):
            ModelConfig.from_json(text)
