"""What kernels of our own gain on a GPU, at the sizes of FlashVGGT's released models.

Run as ``python -m benchmarks.gpu_kernels`` in a clone. Each function runs for a second before it is
timed, so that the card's clocks are those of long work. Errors are relative to float64.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from flashvggt_ros.model.attention import Product
from flashvggt_ros.model.kernels import PLAIN, Kernels, attention_backend, named_kernels
from flashvggt_ros.model.rope import patch_positions, rotation
from flashvggt_ros.tools.benchmarking.machine import machine

HEADS, CHANNELS = 16, 64
ROWS, COLUMNS, SPECIALS = 28, 37, 5  # of a frame of 392x518
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
    with torch.inference_mode(), attention_backend("auto"):
        print("queries normed and rotated, and attention")
        for name, *sizes in CASES:
            compare_attention(name, *sizes, kernels)
        print("attention within each of 100 frames, of queries as they are")
        compare_attention_within(kernels)
        compare_long_and_short()
        print(f"linear layers, {TOKENS} tokens")
        for channels, out in ((1024, 3072), (1024, 1024), (1024, 4096), (4096, 1024)):
            time_product(channels, out)
        print(f"linear layer and GELU, {TOKENS} tokens, 1024 to 4096 channels")
        compare_gelu(kernels.gelu_product)


def compare_attention(
    name: str, sequences: int, frames: int, keys: int | None, kernels: Kernels
) -> None:
    """Time torch's attention and the one whose scores are small."""
    tokens = SPECIALS + ROWS * COLUMNS
    count = keys or tokens
    q = random(sequences, frames * tokens, HEADS, CHANNELS)
    k, v = random(2, sequences, HEADS, count, CHANNELS)
    weight, bias = torch.ones(CHANNELS, device="cuda"), torch.zeros(CHANNELS, device="cuda")
    turn = rotation(patch_positions(ROWS, COLUMNS, SPECIALS, q.device), CHANNELS, 100.0)
    norm = (weight, bias, 1e-5, turn.cos, turn.sin)

    def turned(turn: Callable[..., Tensor]) -> Tensor:
        return turn(q.unflatten(1, (-1, tokens)), *norm).flatten(1, 2)

    exact = attention_of(exactly_turned(q[:, -tokens:], norm)[:, -64:], k, v)
    operations = 4 * sequences * frames * tokens * count * HEADS * CHANNELS
    report(f"{name}, torch", lambda: torchs(turned(kernels.turn), k, v), exact, operations)
    bounded = kernels.attend_bounded
    if bounded is not None:
        report(f"{name}, ours", lambda: bounded(q, *norm, k, v), exact, operations)


def compare_attention_within(kernels: Kernels) -> None:
    """Time torch's attention and ours within frames, as in the image encoder."""
    tokens = SPECIALS + ROWS * COLUMNS
    q, k, v = random(100, tokens, 3, HEADS, CHANNELS).unbind(2)
    k, v = k.transpose(1, 2), v.transpose(1, 2)
    exact = attention_of(q[:, -64:], k, v)
    operations = 4 * 100 * tokens**2 * HEADS * CHANNELS
    report("torch", lambda: torchs(q, k, v), exact, operations)
    unbounded = kernels.attend_unbounded
    if unbounded is not None:
        report("ours", lambda: unbounded(q, k, v), exact, operations)


def torchs(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention (B, L, C) by torch, of queries (B, L, heads, channels)."""
    mixed = functional.scaled_dot_product_attention(q.transpose(1, 2), k, v)
    return mixed.transpose(1, 2).flatten(2)


def exactly_turned(q: Tensor, norm: tuple[Tensor, Tensor, float, Tensor, Tensor]) -> Tensor:
    """Queries of one frame, normed and rotated in float64."""
    weight, bias, eps, cos, sin = norm
    return PLAIN.turn(
        q.double(), weight.double(), bias.double(), eps, cos.double(), sin.double()
    )


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


def time_product(channels: int, out: int) -> None:
    """Time a linear layer of a block."""
    product = Product(channels, out).cuda().bfloat16()
    x = random(1, TOKENS, channels)
    milliseconds = timed(lambda: product(x))
    rate = 2 * TOKENS * channels * out / milliseconds / 1e9
    print(f"  {channels} to {out} channels: {milliseconds:.3f} ms {rate:.0f} TFLOP/s", flush=True)


def compare_gelu(fused: Callable[..., Tensor]) -> None:
    """Time a layer and GELU after it, and in one."""
    product = Product(1024, 4096).cuda().bfloat16()
    x = random(1, TOKENS, 1024)
    weight, bias = product.weight.double(), product.bias.double()
    exact = functional.gelu(functional.linear(x[:, -64:].double(), weight, bias))
    operations = 2 * TOKENS * 1024 * 4096
    report("by parts", lambda: PLAIN.gelu_product(product, x), exact, operations)
    report("in one", lambda: fused(product, x), exact, operations)


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
