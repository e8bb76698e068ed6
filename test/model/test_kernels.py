import dataclasses
import importlib.util
import logging
import sys
from types import SimpleNamespace

import pytest
import torch

from flashvggt_ros.model import kernel_choice, kernels
from flashvggt_ros.model.depth_head import FRAMES_AT_ONCE_ON_CPU
from flashvggt_ros.model.kernel_choice import named_kernels
from flashvggt_ros.model.kernels import (
    PLAIN,
    Kernels,
    attention_backend,
    use_kernels,
)


def as_it_is(x: torch.Tensor) -> torch.Tensor:
    """Stand for a linear layer."""
    return x


def test_a_model_computes_with_the_kernels_it_is_given(make_model, images):
    model = make_model()
    expected = model(images).depth
    calls = {}

    def counted(name):
        function = getattr(PLAIN, name)

        def call(*arguments, **options):
            calls[name] = calls.get(name, 0) + 1
            return function(*arguments, **options)

        return call

    names = [field.name for field in dataclasses.fields(Kernels) if field.name != "attention"]
    use_kernels(model, Kernels(**{name: counted(name) for name in names}))

    assert torch.equal(model(images).depth, expected)
    config = model.config
    in_camera_head = config.camera_depth * config.camera_iterations
    blocks = config.encoder_depth + 2 * config.depth + in_camera_head
    pieces = -(-len(images) // FRAMES_AT_ONCE_ON_CPU)
    assert calls["normalize"] == blocks + 1 + pieces * 4  # of the encoder, and of the depth head
    assert calls["add_product"] == calls["add_product_and_normalize"] == blocks
    assert calls["turn"] == 2 * 2 * config.depth
    assert calls["product"] == blocks - len(config.descriptor_blocks)  # which have two, in parts
    assert calls["blend"] == len(config.descriptor_blocks)
    assert calls["gelu_product"] == blocks + config.camera_iterations  # and the pose branch
    assert calls["convolve"] == pieces * (3 + 4 + 7 + 7)  # sizes, levels, two in residual units
    assert calls["convolve_resize"] == pieces * (4 + 4 + 1)  # projections, levels, the whole
    assert calls["read_maps"] == pieces


def test_sums_are_normalized_before_they_are_rounded():
    generator = torch.Generator().manual_seed(0)
    x, branch = (torch.randn(5, 16, generator=generator).bfloat16() for _ in range(2))
    gamma, weight, bias = torch.rand(3, 16, generator=generator)

    total, normed = PLAIN.add_product_and_normalize(
        x, as_it_is, branch, gamma, weight, bias, 1e-5, torch.float32
    )

    exact = x.double() + branch.double() * gamma.double()
    expected = torch.nn.functional.layer_norm(exact, (16,), weight.double(), bias.double(), 1e-5)
    torch.testing.assert_close(normed.double(), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(total, exact.bfloat16())
    assert torch.equal(PLAIN.add_product(x, as_it_is, branch, gamma), total)


@pytest.mark.parametrize("name", ["auto", "torch", "math", "flash"])
def test_the_result_does_not_depend_on_the_attention_backend(make_model, images, name):
    model = make_model()
    expected = model(images).depth

    with torch.inference_mode(), attention_backend(name):
        torch.testing.assert_close(model(images).depth, expected)


def test_attention_is_never_by_cudnn_which_plans_anew_for_each_number_of_keys():
    enabled = torch.backends.cuda

    with attention_backend("auto"):
        assert (enabled.flash_sdp_enabled(), enabled.cudnn_sdp_enabled()) == (True, False)
    with attention_backend("torch"):
        assert enabled.flash_sdp_enabled() and enabled.cudnn_sdp_enabled()
    with attention_backend("cudnn"):
        assert (enabled.flash_sdp_enabled(), enabled.cudnn_sdp_enabled()) == (False, True)


def test_the_node_needs_no_newer_torch_for_its_attention(monkeypatch):
    """Torch 2.5 knows no order of backends."""
    used = []
    monkeypatch.setattr(kernels, "sdpa_kernel", lambda backends: used.append(backends))

    attention_backend("auto")

    assert used == [kernels.ATTENTION_BACKENDS["auto"]]


def test_kernels_that_cannot_be_had_are_refused():
    cpu = torch.device("cpu")
    assert named_kernels("plain", cpu) is PLAIN
    assert named_kernels("auto", cpu) is PLAIN
    with pytest.raises(ValueError, match="auto, plain, compiled, triton"):
        named_kernels("fast", cpu)
    with pytest.raises(ValueError, match="need a CUDA device"):
        named_kernels("triton", cpu)


def test_a_gpu_on_which_triton_fails_is_served_by_torch_and_the_log_says_so(monkeypatch, caplog):
    def fail(device: torch.device) -> Kernels:
        raise RuntimeError("Failed to find C compiler")

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: name if name == "triton" else find(name)
    )
    monkeypatch.setattr(kernel_choice, "_triton_kernels", fail)
    cuda = torch.device("cuda")
    with caplog.at_level(logging.WARNING):
        assert named_kernels("auto", cuda) is PLAIN
    assert "Failed to find C compiler" in caplog.text
    with pytest.raises(RuntimeError, match="C compiler"):
        named_kernels("triton", cuda)


@pytest.mark.parametrize("error", [
    RuntimeError("NVRTC of CUDA 13 is not installed"),
    OSError("libnvrtc-builtins.so.13.0: file too short"),
    AttributeError("undefined symbol: cuTensorMapEncodeTiled"),
], ids=lambda error: type(error).__name__)
def test_a_hopper_gpu_without_a_compiler_is_served_by_triton_and_the_log_says_so(
    monkeypatch, caplog, error
):
    def fail(device: torch.device) -> Kernels:
        raise error

    of_triton = Kernels(normalize=torch.nn.functional.layer_norm)
    package = "flashvggt_ros.model"
    fakes = {
        f"{package}.kernels_triton": SimpleNamespace(triton_kernels=lambda: of_triton),
        f"{package}.hopper.kernels": SimpleNamespace(hopper_kernels=fail),
    }
    for name, fake in fakes.items():
        monkeypatch.setitem(sys.modules, name, fake)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    with caplog.at_level(logging.WARNING):
        assert named_kernels("triton", torch.device("cuda")) is of_triton
    assert str(error) in caplog.text


def test_an_unknown_attention_backend_is_refused():
    with pytest.raises(ValueError, match="auto, torch, flash"):
        attention_backend("fast")
