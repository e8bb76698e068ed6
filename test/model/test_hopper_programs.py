"""Kernels in CUDA C++ are part of the package, and say what is missing where they cannot run."""

from importlib.resources import files

import pytest
import torch

from flashvggt_ros.model.hopper import programs


@pytest.mark.parametrize("name", programs.SOURCES)
def test_all_sources_of_a_kernel_are_there_and_include_nothing(name):
    folder = files(programs.FOLDER)
    source = "".join((folder / file).read_text() for file in programs.SOURCES[name])
    assert f"\n{name}(const __grid_constant__" in source
    assert "#include" not in source


@pytest.mark.parametrize(("name", "macros"), [
    ("attention", ["-DLAST=32", "-DIS_BOUNDED=0"]),
    ("attention", ["-DLAST=128", "-DIS_BOUNDED=1"]),
    *(("product", [f"-DFINISH={finish}"]) for finish in range(4)),
])
def test_kernels_compile_wherever_there_is_nvrtc(name, macros):
    try:
        programs._nvrtc()
    except RuntimeError as error:
        pytest.skip(f"needs NVRTC: {error}")
    assert programs._compile(name, *macros).startswith(b"\x7fELF")
    with pytest.raises(RuntimeError, match=f"{name}.cu does not compile.*error"):
        programs._compile(name, *macros, "-DROWS=3")


class FailingDriver:
    """A driver that has lost its GPU."""

    def cuLaunchKernel(self, *arguments: object) -> int:
        return 719

    def cuGetErrorString(self, error: int, words: object) -> None:
        words._obj.value = b"unspecified launch failure"


def test_a_failure_of_the_driver_is_told_as_torch_tells_it(monkeypatch):
    """By these words the node knows that the GPU is lost."""
    monkeypatch.setattr(programs, "_driver_library", FailingDriver)
    with pytest.raises(RuntimeError, match="CUDA error: unspecified launch failure"):
        programs._driver("cuLaunchKernel")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a CUDA device")
def test_without_nvrtc_or_a_driver_the_error_says_so():
    with pytest.raises(RuntimeError, match=r"NVRTC|driver"):
        programs.Program(torch.device("cuda", 0), "attention", {"LAST": 32, "IS_BOUNDED": 0}, 1024)
