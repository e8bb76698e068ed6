import pytest
import torch

from flashvggt_ros.model.kernels import (
    PLAIN,
    Kernels,
    attention_backend,
    named_kernels,
    use_kernels,
)


def test_a_model_computes_with_the_kernels_it_is_given(make_model, images):
    model = make_model()
    expected = model(images).depth
    calls = {}

    def counted(name):
        function = getattr(PLAIN, name)

        def call(*arguments):
            calls[name] = calls.get(name, 0) + 1
            return function(*arguments)

        return call

    names = ("normalize", "turn", "add", "add_and_normalize")
    use_kernels(model, Kernels(**{name: counted(name) for name in names}))

    assert torch.equal(model(images).depth, expected)
    config = model.config
    in_camera_head = config.camera_depth * config.camera_iterations
    blocks = config.encoder_depth + 2 * config.depth + in_camera_head
    assert calls["normalize"] == calls["add"] == calls["add_and_normalize"] == blocks
    assert calls["turn"] == 2 * 2 * config.depth


def test_sums_are_normalized_before_they_are_rounded():
    generator = torch.Generator().manual_seed(0)
    x, branch = (torch.randn(5, 16, generator=generator).bfloat16() for _ in range(2))
    gamma, weight, bias = torch.rand(3, 16, generator=generator)

    total, normed = PLAIN.add_and_normalize(x, branch, gamma, weight, bias, 1e-5, torch.float32)

    exact = x.double() + branch.double() * gamma.double()
    expected = torch.nn.functional.layer_norm(exact, (16,), weight.double(), bias.double(), 1e-5)
    torch.testing.assert_close(normed.double(), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(total, exact.bfloat16())
    assert torch.equal(PLAIN.add(x, branch, gamma), total)


@pytest.mark.parametrize("name", ["auto", "math", "flash"])
def test_the_result_does_not_depend_on_the_attention_backend(make_model, images, name):
    model = make_model()
    expected = model(images).depth

    with torch.inference_mode(), attention_backend(name):
        torch.testing.assert_close(model(images).depth, expected)


def test_kernels_that_cannot_be_had_are_refused():
    cpu = torch.device("cpu")
    assert named_kernels("plain", cpu) is PLAIN
    with pytest.raises(ValueError, match="plain, compiled, triton"):
        named_kernels("fast", cpu)
    with pytest.raises(ValueError, match="need a CUDA device"):
        named_kernels("triton", cpu)


def test_an_unknown_attention_backend_is_refused():
    with pytest.raises(ValueError, match="auto, flash"):
        attention_backend("fast")
