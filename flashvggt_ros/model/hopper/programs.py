"""Kernels in CUDA C++, compiled where they run by NVRTC, which comes with PyTorch.

Both libraries, NVRTC and the driver, are called by ctypes: PyTorch has no public way to them. The
numbers of types and attributes are those of cuda.h and nvrtc.h, which keep them.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SIXTEEN_BITS, SWIZZLE_128, PROMOTE_256 = 9, 3, 3  # CU_TENSOR_MAP_..., the first for bfloat16
MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
LARGEST_SHARED = 232_448  # bytes of shared memory of a block
FOLDER = "flashvggt_ros.model.hopper"
SOURCES = {
    "attention": ("hopper.cuh", "wgmma.cuh", "attention.cu"),
    "product": ("hopper.cuh", "wgmma.cuh", "finish.cuh", "product.cu"),
}


class TensorMap(ctypes.Structure):
    """Where a tensor's tiles are, as copies know it (CUtensorMap)."""

    _fields_ = (("words", ctypes.c_uint64 * 16),)


class Program:
    """One kernel, on one device."""

    def __init__(
        self, device: torch.device, name: str, macros: dict[str, int], shared_bytes: int
    ) -> None:
        """Compile the kernel ``name``, one of SOURCES, with ``macros``.

        ``shared_bytes``: of dynamic shared memory. Raises RuntimeError where that cannot be done.
        """
        self._device, self._shared_bytes = device, shared_bytes
        module, self._function = ctypes.c_void_p(), ctypes.c_void_p()
        code = _compile(name, *(f"-D{macro}={value}" for macro, value in macros.items()))
        with torch.cuda.device(device):
            _use_context(device)
            _driver("cuModuleLoadData", ctypes.byref(module), code)
            _driver("cuModuleGetFunction", ctypes.byref(self._function), module, name.encode())
            _driver("cuFuncSetAttribute", self._function, MAX_DYNAMIC_SHARED, shared_bytes)

    def launch(self, blocks: int, threads: int, *arguments: Any) -> None:
        """Run on the device's current stream; ``arguments`` are ctypes' values."""
        places = (ctypes.c_void_p * len(arguments))(
            *(ctypes.addressof(argument) for argument in arguments)
        )
        stream = ctypes.c_void_p(torch.cuda.current_stream(self._device).cuda_stream)
        with torch.cuda.device(self._device):
            _use_context(self._device)
            _driver("cuLaunchKernel", self._function, blocks, 1, 1, threads, 1, 1,
                    self._shared_bytes, stream, places, None)


def tiles(
    tensor: Tensor, sizes: Sequence[int], strides: Sequence[int], box: Sequence[int]
) -> TensorMap:
    """Describe a tensor of 16-bit numbers to the copies, innermost axis first.

    ``sizes`` of all axes, ``strides`` of all but the innermost [numbers], ``box``: sizes of a tile,
    the innermost of 64.
    """
    rank = len(sizes)
    map_ = TensorMap()
    steps = (ctypes.c_uint64 * (rank - 1))(*(
        2 * stride if size > 1 else 16 for size, stride in zip(sizes[1:], strides, strict=True)
    ))
    _driver(
        "cuTensorMapEncodeTiled", ctypes.byref(map_), SIXTEEN_BITS, rank,
        ctypes.c_void_p(tensor.data_ptr()), (ctypes.c_uint64 * rank)(*sizes), steps,
        (ctypes.c_uint32 * rank)(*box), (ctypes.c_uint32 * rank)(*[1] * rank), 0, SWIZZLE_128,
        PROMOTE_256, 0,
    )
    return map_


@cache
def processors(device: torch.device) -> int:
    """Blocks that run at once, one a multiprocessor, in clusters of two."""
    return torch.cuda.get_device_properties(device).multi_processor_count // 2 * 2


def pointer(tensor: Tensor) -> ctypes.c_void_p:
    """Return where a tensor is, as an argument of a kernel."""
    return ctypes.c_void_p(tensor.data_ptr())


@cache
def _compile(name: str, *macros: str) -> bytes:
    """Return machine code; RuntimeError with the compiler's words if there are errors."""
    nvrtc = _nvrtc()
    folder = files(FOLDER)
    source = "\n".join((folder / file).read_text() for file in SOURCES[name])
    options = ["--gpu-architecture=sm_90a", "--std=c++17", *macros]
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    made = nvrtc.nvrtcCreateProgram(
        ctypes.byref(program), source.encode(), f"{name}.cu".encode(), 0, None, None
    )
    if made:
        raise RuntimeError(f"NVRTC cannot begin (error {made})")
    words = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    failed = nvrtc.nvrtcCompileProgram(program, len(options), words)
    what = "ProgramLog" if failed else "CUBIN"
    getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    result = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{what}")(program, result)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    if failed:
        raise RuntimeError(f"{name}.cu does not compile: {result.value.decode()}")
    return result.raw


def _use_context(device: torch.device) -> None:
    """Make the context that PyTorch uses this thread's, if it has none."""
    context = ctypes.c_void_p()
    _driver("cuCtxGetCurrent", ctypes.byref(context))
    if not context:
        _driver("cuDevicePrimaryCtxRetain", ctypes.byref(context), device.index or 0)
        _driver("cuCtxSetCurrent", context)


def _driver(name: str, *arguments: Any) -> None:
    """Call the driver; RuntimeError with its words, as torch's are, if that fails."""
    library = _driver_library()
    if failed := getattr(library, name)(*arguments):
        words = ctypes.c_char_p()
        library.cuGetErrorString(failed, ctypes.byref(words))
        said = (words.value or b"unknown error").decode()
        raise RuntimeError(f"CUDA error: {said} ({name})")


@cache
def _driver_library() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise RuntimeError(f"the CUDA driver is not installed: {error}") from None


@cache
def _nvrtc() -> ctypes.CDLL:
    """Load NVRTC of PyTorch's CUDA version: the system's, or that of PyTorch's packages."""
    major = str(torch.version.cuda).split(".", maxsplit=1)[0]
    name = f"libnvrtc.so.{major}"
    for folder in _package_folders():
        if (folder / name).exists():
            for part in folder.glob(f"libnvrtc-builtins.so.{major}*"):
                ctypes.CDLL(str(part))  # which NVRTC itself does not look for beside it
            return ctypes.CDLL(str(folder / name))
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise RuntimeError(f"NVRTC of CUDA {major} is not installed: {error}") from None


def _package_folders() -> list[Path]:
    """Return folders with libraries of the packages that PyTorch depends on."""
    spec = importlib.util.find_spec("nvidia")
    roots = [] if spec is None else list(spec.submodule_search_locations or [])
    return [folder for root in roots for folder in sorted(Path(root).glob("*/lib"))
            if re.match(r"cu\d+|cuda_nvrtc", folder.parent.name)]
