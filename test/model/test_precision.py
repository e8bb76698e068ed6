import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from flashvggt_ros.model.checkpoint import EMBEDDED, resolve_checkpoint
from flashvggt_ros.model.flashvggt import FlashVGGT, Prediction
from flashvggt_ros.model.kernels import PLAIN, Kernels, OwnAttention, use_kernels
from flashvggt_ros.model.precision import (
    FLOAT16,
    PRECISIONS,
    Precision,
    precision_for,
    set_precision,
)

BF16 = torch.bfloat16


def run(model: FlashVGGT, images: torch.Tensor, precision: Precision) -> Prediction:
    model = copy.deepcopy(model)
    set_precision(model, precision)
    cache = model.new_cache(dtype=precision.cache)
    with torch.inference_mode(), precision.autocast(images.device):
        return [model.forward_chunk(chunk, cache) for chunk in images.split(3)][-1]


def error(ours: torch.Tensor, exact: torch.Tensor) -> float:
    return float((ours.double() - exact).square().mean().sqrt() / exact.square().mean().sqrt())


def test_only_products_of_encoder_and_blocks_are_cast(make_model):
    model = make_model()
    patches = model.aggregator.patch_embed.patch_embed.proj.weight.clone()

    set_precision(model, PRECISIONS["bf16"])

    assert torch.equal(model.aggregator.patch_embed.patch_embed.proj.weight, patches)
    first = "aggregator.patch_embed.patch_embed.proj"  # its error would be in all tokens
    for name, module in model.named_modules():
        is_product = isinstance(module, (nn.Linear, nn.Conv2d)) and name.startswith("aggregator.")
        is_cast = is_product and name != first
        for parameter in module.parameters(recurse=False):
            assert parameter.dtype == (BF16 if is_cast else torch.float32), name


@pytest.mark.parametrize("revision", ["r1", "r2"])
def test_bf16_weights_are_as_exact_as_autocast(make_model, images, revision):
    """On average over sequences: of a single one either may be nearer by chance."""
    model = make_model(revision=revision, width=64, heads=4)
    names = ("pose_enc", "depth", "depth_conf")
    mistakes: dict[str, list[list[float]]] = {"bf16": [], "autocast": []}
    for seed in range(12):
        other = torch.rand(images.shape, generator=torch.Generator().manual_seed(seed))
        exact = run(model, other, PRECISIONS["fp32"])
        for precision, found in mistakes.items():
            ours = run(model, other, PRECISIONS[precision])
            found.append([error(getattr(ours, name), getattr(exact, name)) for name in names])

    ours, autocast = (torch.tensor(found).square().mean(0).sqrt() for found in mistakes.values())
    assert (ours > 0).all() and (ours < 0.02).all()
    assert (ours < 1.2 * autocast).all(), (ours / autocast, names)


@pytest.mark.parametrize("part", ["residual", "depth_head", "cache"])
def test_each_part_alone_changes_the_result_a_little(make_model, images, part):
    model = make_model()

    ours = run(model, images, Precision(**{part: BF16}))

    exact = run(model, images, Precision())
    assert 0 < error(ours.depth, exact.depth) < 0.02
    assert ours.depth.dtype == ours.pose_enc.dtype == torch.float32
    if part == "depth_head":
        assert torch.equal(ours.pose_enc, exact.pose_enc)


def test_the_residual_stream_and_what_the_heads_read_have_the_type_asked_for(make_model, images):
    model = make_model()
    set_precision(model, Precision(residual=BF16))

    features = model.encode_chunk(images, model.new_cache())

    assert {tap.dtype for tap in features.taps} == {features.last.dtype} == {BF16}
    assert features.encoder.dtype == BF16


@pytest.mark.parametrize(("has_instructions", "expected"), [(True, BF16), (False, torch.float32)])
def test_on_a_cpu_the_depth_head_of_bfloat16_is_as_the_cpu_convolves_fastest(
    monkeypatch, has_instructions, expected
):
    monkeypatch.setattr(
        torch.cpu, "_is_avx512_bf16_supported", lambda: has_instructions, raising=False
    )

    assert precision_for("bfloat16", torch.device("cpu")).depth_head == expected


def test_on_a_gpu_what_lies_between_products_is_in_float16_as_tf32_would_be():
    on_a_gpu = precision_for("bfloat16", torch.device("cuda"))
    assert (on_a_gpu.weights, on_a_gpu.cache) == (BF16, BF16)
    between = {on_a_gpu.patches, on_a_gpu.residual, on_a_gpu.depth_head}
    assert between == {torch.float16}


@pytest.mark.parametrize("name", ["auto", "bfloat16"])
def test_on_a_gpu_a_checkpoint_whose_numbers_fit_is_multiplied_in_float16(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    gpu, cpu = torch.device("cuda"), torch.device("cpu")

    small = precision_for(name, gpu, EMBEDDED)

    assert (small.weights, small.cache, small.name) == (torch.float16, torch.float16, "float16")
    assert precision_for(name, gpu, "flashvggt-r2").weights == BF16
    assert precision_for("bfloat16", cpu, EMBEDDED).weights == BF16


@pytest.mark.parametrize("checkpoint", FLOAT16)
def test_nothing_in_checkpoints_for_float16_comes_near_its_largest_number(checkpoint):
    model, _ = resolve_checkpoint(checkpoint)
    largest = []

    def keep(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        largest.append(max(float(tensor.abs().max()) for tensor in (inputs[0], output)))

    products = [module for module in model.aggregator.modules() if isinstance(module, nn.Linear)]
    for product in products:
        product.register_forward_hook(keep)
    noise = torch.rand(4, 3, 168, 224, generator=torch.Generator().manual_seed(0))
    cache = model.new_cache()
    with torch.inference_mode():
        for images in (noise, torch.zeros_like(noise), torch.ones_like(noise)):
            features = model.encode_chunk(images, cache)
            largest += [float(tokens.abs().max()) for tokens in (*features.taps, features.last)]

    assert len(largest) > len(products) > 20
    assert max(largest) < torch.finfo(torch.float16).max / 50


class CountedAttention:
    """Attention of kernels, by torch; ``calls`` are keys of each call, for small scores or any."""

    def __init__(self) -> None:
        self.bounded: list[int] = []
        self.any: list[int] = []

    def __deepcopy__(self, memo: dict) -> "CountedAttention":
        return self  # a copied model counts here, too

    def kernels(self, head_dim: int) -> Kernels:
        attention = OwnAttention(
            head_dim, lambda *norms: norms, self.turned_product, self.attend_bounded, self.attend
        )
        return replace(PLAIN, attention=attention)

    def turned_product(self, layer, x, parts, norms, eps, turn):
        width = layer.out_features // 3
        made = layer.outputs(x, width * parts.start, width * parts.stop)
        made = made.unflatten(-1, (len(parts), -1, turn.cos.shape[-1])).unbind(2)
        return tuple(
            PLAIN.turn(tokens.unflatten(1, (-1, len(turn.cos))), norms[part].weight,
                       norms[part].bias, eps, turn.cos, turn.sin).flatten(1, 2)
            if part < 2 else tokens
            for part, tokens in zip(parts, made, strict=True)
        )

    def attend_bounded(self, q, k, v):
        self.bounded.append(k.shape[2])
        return self._attend(q, k, v)

    def attend(self, q, k, v):
        self.any.append(k.shape[2])
        return self._attend(q, k, v)

    def _attend(self, q, k, v):
        return functional.scaled_dot_product_attention(q.transpose(1, 2), k, v).transpose(
            1, 2
        ).flatten(2)


def counted_attention(make_model, images, weight: float, head_dim: int) -> CountedAttention:
    """Run a model in bfloat16 whose norms have weights of this size; it predicts as by torch."""
    model = make_model()
    set_precision(model, PRECISIONS["bf16"])
    for block in model.aggregator.global_blocks:
        block.attn.q_norm.weight.data.fill_(weight)
    expected = run(model, images, PRECISIONS["bf16"])
    counted = CountedAttention()
    use_kernels(model, counted.kernels(head_dim))
    ours = run(model, images, PRECISIONS["bf16"])
    torch.testing.assert_close(ours.depth, expected.depth)
    torch.testing.assert_close(ours.pose_enc, expected.pose_enc)
    return counted


def test_the_encoder_attends_with_what_takes_any_scores(make_model, images):
    config = make_model().config
    head_dim = config.width // config.encoder_heads
    calls = counted_attention(make_model, images, 1.0, head_dim).any
    chunks, tokens = len(images.split(3)), calls[0]
    assert calls == [tokens] * chunks * config.encoder_depth


def test_attention_without_a_maximum_is_used_where_norms_keep_scores_small(make_model, images):
    config = make_model().config
    head_dim = config.width // config.heads
    small, large = (
        counted_attention(make_model, images, weight, head_dim).bounded for weight in (1.0, 100.0)
    )
    assert len(small) == 2 * len(large)  # frame blocks go on with it
