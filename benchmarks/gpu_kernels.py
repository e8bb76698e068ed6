"""What kernels of our own gain on a GPU, at the sizes of FlashVGGT's released models.

Run as ``python -m benchmarks.gpu_kernels`` in a clone. Each function runs for a second before it is
timed, so that the card's clocks are those of long work. Errors are relative to float64.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from flashvggt_ros.model.attention import Product
from flashvggt_ros.model.kernel_choice import named_kernels
from flashvggt_ros.model.kernels import PLAIN, Kernels, attention_backend
from flashvggt_ros.model.rope import Rotation, patch_positions, rotate, rotation
from flashvggt_ros.tools.benchmarking.machine import machine

HEADS, CHANNELS = 16, 64
ROWS, COLUMNS, SPECIALS = 28, 37, 5  # of a frame of 392x518
SCALE = math.log2(math.e) / math.sqrt(CHANNELS)  # of queries, see hopper/attention.py
SIDE = 8192
TOKENS = 100 * (SPECIALS + ROWS * COLUMNS)  # of 100 frames
CASES = (
    # sequences, frames, keys: None for those of the frame itself
    ("R1, chunk of 100 frames, 1000 in the cache", 1, 100, 69_036),
    ("R2, chunk of 100 frames, 300 in the cache", 1, 100, 34_936),
    ("R2, chunk of 10 frames, 200 in the cache", 1, 10, 23_636),
    ("100 frames, each within itself", 100, 1, None),
    ("10 frames, each within itself", 10, 1, None),
)


def main() -> None:
    """Print a line for each case and kernel."""
    if not torch.cuda.is_available():
        raise SystemExit("this needs a CUDA device")
    device = torch.device("cuda")
    print(*(f"{name} {value}" for name, value in machine(device).items()), sep=", ")
    kernels = named_kernels("auto", device)
    with torch.inference_mode(), attention_backend("torch"):
        print("attention, of queries that are normed and rotated")
        for name, *sizes in CASES:
            compare_attention(name, *sizes, kernels=kernels)
        print("attention within each of 100 frames, of queries as they are")
        compare_attention_within(kernels)
        compare_long_and_short()
        sets = {"torch": PLAIN, "cuBLAS and Triton": fused_by_triton(kernels), "ours": kernels}
        print(f"linear layers, {TOKENS} tokens")
        for channels, out in ((1024, 3072), (1024, 1024), (1024, 4096), (4096, 1024)):
            compare_product(channels, out, kernels)
        print(f"linear layer and GELU, {TOKENS} tokens, 1024 to 4096 channels")
        compare_gelu(sets)
        print(f"linear layer and sum with the stream, {TOKENS} tokens")
        for channels in (1024, 4096):
            compare_sum(channels, sets)
        print(f"linear layer to queries, keys and values, normed and rotated, {TOKENS} tokens")
        compare_turn(kernels)


def compare_attention(
    name: str, sequences: int, frames: int, keys: int | None, *, kernels: Kernels
) -> None:
    """Time torch's attention and the one whose scores are small."""
    tokens = SPECIALS + ROWS * COLUMNS
    count = keys or tokens
    q = random(sequences, frames * tokens, HEADS, CHANNELS)
    k, v = random(2, sequences, HEADS, count, CHANNELS)
    exact = attention_of(q[:, -64:], k, v)
    operations = 4 * sequences * frames * tokens * count * HEADS * CHANNELS
    report(f"{name}, torch", lambda: torchs(q, k, v), exact, operations)
    if kernels.attention is not None:
        bounded = kernels.attention.attend_bounded
        scaled = q * SCALE
        report(f"{name}, ours", lambda: bounded(scaled, k, v), exact, operations)


def compare_attention_within(kernels: Kernels) -> None:
    """Time torch's attention and ours within frames, as in the image encoder."""
    tokens = SPECIALS + ROWS * COLUMNS
    q, k, v = random(100, tokens, 3, HEADS, CHANNELS).unbind(2)
    k, v = k.transpose(1, 2), v.transpose(1, 2)
    exact = attention_of(q[:, -64:], k, v)
    operations = 4 * 100 * tokens**2 * HEADS * CHANNELS
    report("torch", lambda: torchs(q, k, v), exact, operations)
    if kernels.attention is not None:
        attend = kernels.attention.attend
        report("ours", lambda: attend(q, k, v), exact, operations)


def torchs(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention (B, L, C) by torch, of queries (B, L, heads, channels)."""
    mixed = functional.scaled_dot_product_attention(q.transpose(1, 2), k, v)
    return mixed.transpose(1, 2).flatten(2)


def attention_of(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention in float64, of few queries."""
    mixed = [
        functional.scaled_dot_product_attention(q[i].transpose(0, 1).double(), k[i].double(),
                                                v[i].double())
        for i in range(len(q))
    ]
    return torch.stack(mixed).transpose(1, 2).flatten(2)


def compare_long_and_short() -> None:
    """Time a large matrix product before the card's power limit lowers its clocks, and after."""
    x, y = random(2, SIDE, SIDE)
    for seconds in (0.03, 3.0):
        time.sleep(1.0)
        milliseconds = timed(lambda: x @ y, seconds)
        print(f"matrix product of {SIDE} cubed, after {seconds} s: {milliseconds:.3f} ms, "
              f"{2 * SIDE**3 / milliseconds / 1e9:.0f} TFLOP/s", flush=True)


def compare_product(channels: int, out: int, kernels: Kernels) -> None:
    """Time a linear layer of a block."""
    layer, x = Product(channels, out).cuda().bfloat16(), random(1, TOKENS, channels)
    exact = exact_outputs(layer, x)
    operations = 2 * TOKENS * channels * out
    for name, product in (("torch", PLAIN.product), ("ours", kernels.product)):
        report(f"{channels} to {out} channels, {name}", partial(product, layer, x), exact,
               operations)


def fused_by_triton(kernels: Kernels) -> Kernels:
    """Kernels of Triton alone, where kernels are not plain."""
    if kernels is PLAIN:
        return PLAIN
    from flashvggt_ros.model.kernels_triton import triton_kernels

    return triton_kernels()


def compare_gelu(sets: dict[str, Kernels]) -> None:
    """Time a layer and GELU."""
    layer, x = Product(1024, 4096).cuda().bfloat16(), random(1, TOKENS, 1024)
    exact = functional.gelu(exact_outputs(layer, x))
    operations = 2 * TOKENS * 1024 * 4096
    for name, kernels in sets.items():
        report(name, partial(kernels.gelu_product, layer, x), exact, operations)


def compare_sum(channels: int, sets: dict[str, Kernels]) -> None:
    """Time a layer and the sum with the residual stream."""
    layer, branch = Product(channels, 1024).cuda().bfloat16(), random(1, TOKENS, channels)
    x, gamma = random(1, TOKENS, 1024).half(), torch.rand(1024, device="cuda")
    exact = x[:, -64:].double() + gamma.double() * exact_outputs(layer, branch)
    operations = 2 * TOKENS * channels * 1024
    for name, kernels in sets.items():
        report(f"{channels} channels, {name}",
               partial(kernels.add_product, x, layer, branch, gamma), exact, operations)


def compare_turn(kernels: Kernels) -> None:
    """Time a layer and the norms and rotations after it, and in one."""
    layer, x = Product(1024, 3072).cuda().bfloat16(), random(100, TOKENS // 100, 1024)
    turn = rotation(patch_positions(ROWS, COLUMNS, SPECIALS, x.device), CHANNELS, 100.0)
    norm = torch.nn.LayerNorm(CHANNELS, device="cuda")

    def by_parts() -> Tensor:
        q, k, _ = layer(x).unflatten(-1, (3, HEADS, CHANNELS)).unbind(2)
        q, k = (kernels.turn(each, norm.weight, norm.bias, norm.eps, turn.cos, turn.sin)
                for each in (q, k))
        return q.flatten(2)

    q = exact_outputs(layer, x)[..., :1024].unflatten(-1, (HEADS, CHANNELS))
    end = Rotation(turn.cos[-64:].double(), turn.sin[-64:].double())
    exact = rotate(functional.layer_norm(q, (CHANNELS,), eps=norm.eps), end).flatten(2)
    operations = 2 * TOKENS * 1024 * 3072
    report("cuBLAS and Triton", by_parts, exact, operations)
    own = kernels.attention
    if own is not None:
        norms = own.norms(norm, norm)

        def in_one() -> Tensor:
            q, _, _ = own.turned_product(layer, x, range(3), norms, norm.eps, turn)
            return q.flatten(2)

        report("ours", in_one, exact * SCALE, operations)


def exact_outputs(layer: Product, x: Tensor) -> Tensor:
    """Outputs of the last tokens in float64."""
    return functional.linear(x[:, -64:].double(), layer.weight.double(), layer.bias.double())


def report(name: str, function: Callable[[], Tensor], exact: Tensor, operations: int) -> None:
    """Print time, rate and error of the last tokens of a function's result."""
    ours = function()[:, -exact.shape[1]:].double()
    error = float((ours - exact).norm() / exact.norm())
    milliseconds = timed(function)
    print(f"  {name:54} {milliseconds:8.3f} ms {operations / milliseconds / 1e9:6.0f} TFLOP/s, "
          f"error {error:.2e}", flush=True)


def timed(function: Callable[[], Tensor], seconds: float = 1.0) -> float:
    """Time of a call [ms], when calls have gone on for a while."""
    begin, calls = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        function()
        torch.cuda.synchronize()
        calls += 1
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    for _ in range(calls):
        function()
    last.record()
    last.synchronize()
    return first.elapsed_time(last) / calls


def random(*shape: int) -> Tensor:
    """Normally distributed numbers in bfloat16 on the GPU."""
    return torch.randn(shape, device="cuda", dtype=torch.bfloat16)


if __name__ == "__main__":
    main()
