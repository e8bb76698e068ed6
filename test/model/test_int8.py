import pytest
import torch

from flashvggt_ros.model.attention import Product
from flashvggt_ros.model.int8 import Int8Product, use_int8


def relative_rms(ours: torch.Tensor, exact: torch.Tensor) -> float:
    return float((ours - exact).square().mean().sqrt() / exact.square().mean().sqrt())


@pytest.fixture
def product() -> Product:
    torch.manual_seed(0)
    return Product(64, 96).requires_grad_(False)


def test_products_are_rounded_a_little(product):
    x = torch.randn(3, 50, 64)
    ours = Int8Product(product, [(0, 96), (32, 96)])

    assert 1e-4 < relative_rms(ours(x), product(x)) < 0.02
    assert 1e-4 < relative_rms(ours.outputs(x, 32, 96), product.outputs(x, 32, 96)) < 0.02
    assert ours(x).dtype == torch.float32


def test_weights_and_inputs_at_the_end_of_their_range_do_not_overflow(product):
    product.weight.fill_(1.0)
    product.bias.zero_()
    x = torch.full((2, 64), 3.0)
    torch.testing.assert_close(Int8Product(product, [(0, 96)])(x), product(x), rtol=0.02, atol=0)


def test_an_output_whose_weights_are_all_zero_is_its_bias(product):
    product.weight[5] = 0
    x = torch.randn(4, 64)
    ours = Int8Product(product, [(0, 96)])(x)
    torch.testing.assert_close(ours[:, 5], product.bias[5].expand(4), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("revision", ["r1", "r2"])
def test_a_model_of_int8_products_says_about_the_same(make_model, images, revision):
    model = make_model(revision=revision, width=64, heads=4)
    exact, cache = model.new_cache(), model.new_cache()
    expected = [model.forward_chunk(chunk, exact) for chunk in images.split(4)]

    use_int8(model)

    assert not any(isinstance(module, Product) for module in model.aggregator.modules())
    assert any(isinstance(module, Product) for module in model.camera_head.modules())
    for chunk, other in zip(images.split(4), expected, strict=True):
        with torch.inference_mode():
            ours = model.forward_chunk(chunk, cache)
        assert 0 < relative_rms(ours.depth, other.depth) < 0.1
        assert 0 < relative_rms(ours.pose_enc, other.pose_enc) < 0.1


def test_int8_is_refused_on_other_devices(make_model):
    with pytest.raises(ValueError, match="for CPUs, not for meta"):
        use_int8(make_model().to("meta"))
