"""What stands between the matrix products of a transformer block: norms, rotations, residual sums.

All of it is bound by memory, so that a device gains by fusing each function into one kernel. They
come as plain torch (PLAIN), compiled by it, and for GPUs written in Triton (kernels_triton.py);
``use_kernels`` sets a model's. The statistics, rotations and sums are in float32 whatever the types
of weights and residual stream.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from flashvggt_ros.model.rope import Rotation, rotate

ATTENTION_BACKENDS = {
    "auto": [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION,
             SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH],
    "flash": [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION],
    "cudnn": [SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION],
    "efficient": [SDPBackend.EFFICIENT_ATTENTION],
    "math": [SDPBackend.MATH],
}


def attention_backend(name: str) -> AbstractContextManager[None]:
    """Context in which attention runs on a backend of torch; auto: torch's own choice.

    Flash and cuDNN do not take float32 on a GPU, which the camera head keeps: that part then runs
    on the efficient one. Inside, torch raises RuntimeError where the backend cannot take the device
    or type. Raises ValueError for another name.
    """
    if name not in ATTENTION_BACKENDS:
        raise ValueError(f"attention backend is {name!r}: it must be one of "
                         f"{', '.join(ATTENTION_BACKENDS)}")
    return sdpa_kernel(ATTENTION_BACKENDS[name], set_priority=name != "auto")


def normalize(x: Tensor, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """Layer norm over the last axis of ``x``, in the weight's type, given in ``dtype``."""
    normed = functional.layer_norm(x.to(weight.dtype), x.shape[-1:], weight, bias, eps)
    return normed.to(dtype)


def turn(
    tokens: Tensor, weight: Tensor, bias: Tensor, eps: float, cos: Tensor, sin: Tensor
) -> Tensor:
    """Norm and rotate queries or keys (..., L, heads, head_dim); their type stays.

    ``cos`` and ``sin`` (L, 1, head_dim) as in rope.Rotation.
    """
    normed = functional.layer_norm(
        tokens.to(weight.dtype), tokens.shape[-1:], weight, bias, eps
    )
    return rotate(normed, Rotation(cos, sin)).to(tokens.dtype)


def add(x: Tensor, branch: Tensor, gamma: Tensor) -> Tensor:
    """Residual stream ``x`` (..., C) plus a branch scaled per channel, in the stream's type."""
    return (x + branch * gamma).to(x.dtype)


def add_and_normalize(
    x: Tensor,
    branch: Tensor,
    gamma: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    """Return ``add`` and, in ``dtype``, ``normalize`` of the sum before it is rounded."""
    total = x + branch * gamma
    return total.to(x.dtype), normalize(total, weight, bias, eps, dtype)


@dataclass(frozen=True, slots=True)
class Kernels:
    """The functions of this file, or faster ones that compute the same."""

    normalize: Callable[..., Tensor] = normalize
    turn: Callable[..., Tensor] = turn
    add: Callable[..., Tensor] = add
    add_and_normalize: Callable[..., tuple[Tensor, Tensor]] = add_and_normalize


PLAIN = Kernels()
KERNELS = ("plain", "compiled", "triton")


def compiled() -> Kernels:
    """Make one kernel of each function with torch.compile; the first calls take seconds."""
    return Kernels(
        normalize=torch.compile(normalize, dynamic=True),
        turn=torch.compile(turn, dynamic=True),
        add=torch.compile(add, dynamic=True),
        add_and_normalize=torch.compile(add_and_normalize, dynamic=True),
    )


def named_kernels(name: str, device: torch.device) -> Kernels:
    """Make kernels by one of KERNELS; ValueError for another name, or where they cannot be had."""
    if name not in KERNELS:
        raise ValueError(f"kernels are {name!r}: they must be one of {', '.join(KERNELS)}")
    if name != "triton":
        return compiled() if name == "compiled" else PLAIN
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        raise ValueError("kernels of Triton need a CUDA device and the package triton")
    from flashvggt_ros.model.kernels_triton import triton_kernels

    return triton_kernels()


class KernelUser(nn.Module):
    """A module that computes with ``kernels``, PLAIN to begin with."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = PLAIN


def use_kernels(model: nn.Module, kernels: Kernels) -> None:
    """Let all blocks of a model compute with ``kernels``."""
    for module in model.modules():
        if isinstance(module, KernelUser):
            module.kernels = kernels
