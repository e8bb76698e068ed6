"""Which kernels a device computes with: by name, or the fastest that work there."""

from __future__ import annotations

import importlib.util
import logging

import torch

from flashvggt_ros.model.kernels import (
    PLAIN,
    Kernels,
    add,
    add_and_normalize,
    after_product,
    normalize,
    turn,
)

logger = logging.getLogger(__name__)

KERNELS = ("auto", "plain", "compiled", "triton")


def compiled() -> Kernels:
    """Make one kernel of each function with torch.compile; the first calls take seconds."""
    return Kernels(
        normalize=torch.compile(normalize, dynamic=True),
        turn=torch.compile(turn, dynamic=True),
        add_product=after_product(torch.compile(add, dynamic=True)),
        add_product_and_normalize=after_product(torch.compile(add_and_normalize, dynamic=True)),
    )


def named_kernels(name: str, device: torch.device) -> Kernels:
    """Make kernels by one of KERNELS; auto: those of Triton where they work, or plain ones.

    Raises ValueError for another name, or where they cannot be had.
    """
    if name not in KERNELS:
        raise ValueError(f"kernels are {name!r}: they must be one of {', '.join(KERNELS)}")
    if name == "auto":
        return _best_kernels(device)
    if name != "triton":
        return compiled() if name == "compiled" else PLAIN
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        raise ValueError("kernels of Triton need a CUDA device and the package triton")
    return _triton_kernels(device)


def _best_kernels(device: torch.device) -> Kernels:
    if device.type != "cuda" or importlib.util.find_spec("triton") is None:
        return PLAIN
    try:
        kernels = _triton_kernels(device)
        ones = torch.ones(16, device=device)
        kernels.normalize(ones[None], ones, ones, 1e-5, torch.float32)
    except Exception as error:  # a driver or a C compiler that Triton cannot use
        logger.warning("Triton's kernels do not work here, the plain ones are slower: %s", error)
        return PLAIN
    return kernels


def _triton_kernels(device: torch.device) -> Kernels:
    from flashvggt_ros.model.kernels_triton import triton_kernels

    if torch.cuda.get_device_capability(device) == (9, 0):
        from flashvggt_ros.model.hopper.kernels import hopper_kernels

        try:
            return hopper_kernels(device)
        except (RuntimeError, OSError, AttributeError) as error:  # NVRTC or driver, missing or old
            logger.warning("our own products do not work here, torch's are slower: %s", error)
    return triton_kernels()
