"""What torch says where memory does not suffice."""

from __future__ import annotations


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that the memory of the GPU or of the machine did not suffice."""
    import torch

    return isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or (
        isinstance(error, RuntimeError)
        and ("can't allocate memory" in str(error) or "CUDA error: out of memory" in str(error))
    )
