"""All kernels for Hopper GPUs: those of this folder, and Triton's for what is between."""

from __future__ import annotations

from dataclasses import replace

import torch

from flashvggt_ros.model.hopper import attention, products
from flashvggt_ros.model.hopper.programs import check
from flashvggt_ros.model.kernels import Kernels, OwnAttention
from flashvggt_ros.model.kernels_triton import triton_kernels


def hopper_kernels(device: torch.device) -> Kernels:
    """Kernels for tensors on a GPU of compute capability 9.0.

    Raises RuntimeError where CUDA C++ cannot be compiled.
    """
    check(device)
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
