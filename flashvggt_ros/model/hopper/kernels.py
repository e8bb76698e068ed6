"""All kernels for Hopper GPUs: those of this folder, and Triton's for what is between."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from flashvggt_ros.model.attention import Product
from flashvggt_ros.model.hopper import attention, products
from flashvggt_ros.model.kernels import Kernels, OwnAttention
from flashvggt_ros.model.kernels_triton import triton_kernels

MOST_ERROR = 0.02  # relative, of a trial; rounding alone is a tenth of that


def hopper_kernels(device: torch.device) -> Kernels:
    """Kernels for tensors on a GPU of compute capability 9.0.

    Raises RuntimeError where CUDA C++ cannot be compiled, or computes something else than PyTorch:
    compilers differ.
    """
    with torch.inference_mode():
        _try_product(device)
        _try_attention(device)
    return replace(
        triton_kernels(),
        product=products.product,
        gelu_product=products.gelu_product,
        add_product=products.add_product,
        add_product_and_normalize=products.add_product_and_normalize,
        attention=OwnAttention(
            head_dim=attention.HEAD_DIM,
            norms=products.norms,
            turned_product=products.turned_product,
            attend_bounded=attention.attend_bounded,
            attend=attention.attend,
        ),
    )


def _try_product(device: torch.device) -> None:
    layer = Product(256, 256, device="meta")
    layer.weight = nn.Parameter(_numbers(256, 256, device=device), requires_grad=False)
    layer.bias = nn.Parameter(_numbers(256, device=device), requires_grad=False)
    x = _numbers(300, 256, device=device)
    _compare("products", products.product(layer, x), functional.linear(x, layer.weight, layer.bias))


def _try_attention(device: torch.device) -> None:
    q, k, v = _numbers(3, 1, 273, 2, attention.HEAD_DIM, device=device).unbind()
    k, v = k.transpose(1, 2), v.transpose(1, 2)
    expected = functional.scaled_dot_product_attention(q.transpose(1, 2), k, v)
    _compare("attention", attention.attend(q, k, v), expected.transpose(1, 2).flatten(2))


def _numbers(*shape: int, device: torch.device) -> Tensor:
    """Numbers of some spread, in bfloat16, that no generator of random ones is asked for."""
    count = torch.arange(torch.Size(shape).numel(), device=device, dtype=torch.float64)
    return (count * count * 0.37).sin().view(shape).bfloat16()


def _compare(name: str, ours: Tensor, expected: Tensor) -> None:
    error = float((ours.double() - expected.double()).norm() / expected.double().norm())
    if not error < MOST_ERROR:
        raise RuntimeError(f"{name} of a trial err by {error:.2g} of their size")
