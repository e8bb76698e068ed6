"""What can happen to the GPU, and how to give memory back."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType

from flashvggt_ros.out_of_memory import is_out_of_memory


def is_gpu_lost(error: BaseException) -> bool:
    """Whether ``error`` says that this process can no longer use the GPU.

    After an error of the driver or of a kernel every further call fails: the CUDA context is gone,
    and only a new process gets another. torch names such errors by this text in all its releases.
    """
    return (
        isinstance(error, RuntimeError)
        and "CUDA error" in str(error)
        and not is_out_of_memory(error)
    )


@contextmanager
def spared_by_collector() -> Iterator[None]:
    """Let Python's garbage collector pass over what is loaded here: modules and a model.

    It rests meanwhile, and from then on leaves alone all that there is by the end: a search of that
    takes 0.2 s, in which no thread of the process runs, and no service is answered.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def free_unused_memory() -> None:
    """Give back what nothing refers to any more, also what torch and glibc keep for later."""
    gc.unfreeze()
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    cuda = cuda_in_use()
    if cuda is not None:
        with suppress(RuntimeError):  # a GPU that is lost has nothing to give back
            cuda.empty_cache()


def cuda_in_use() -> ModuleType | None:
    """``torch.cuda`` if this process uses a GPU; never imports torch, nor makes it begin to."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is None or not hasattr(cuda, "is_initialized"):  # a thread may be importing it
        return None
    return cuda if cuda.is_initialized() else None
