"""Linear layers of our own, and what comes after them, give what float64 does."""

import importlib.util

import pytest
import torch
from torch.nn import functional

from flashvggt_ros.model.attention import Product
from flashvggt_ros.model.kernels import PLAIN
from flashvggt_ros.model.rope import Rotation, patch_positions, rotation

IS_HOPPER = torch.cuda.is_available() and torch.cuda.get_device_capability() == (9, 0)
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or not IS_HOPPER,
    reason="needs Triton and a GPU of compute capability 9.0",
)
ROWS = [1, 8, 127, 256, 300, 20_000]  # the last more than the GPU has processors for


@pytest.fixture(scope="module")
def products():
    from flashvggt_ros.model.hopper import products

    return products


def layer(channels: int, outputs: int) -> Product:
    torch.manual_seed(channels + outputs)
    made = Product(channels, outputs).cuda().bfloat16().requires_grad_(False)
    made.bias.normal_()
    return made


def random(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.randn(shape, device="cuda", dtype=dtype)


def exact(product: Product, x: torch.Tensor) -> torch.Tensor:
    return functional.linear(x.double(), product.weight.double(), product.bias.double())


def assert_near(ours: torch.Tensor, expected: torch.Tensor, dtype=torch.bfloat16) -> None:
    assert ours.shape == expected.shape
    assert ours.dtype == dtype
    error = (ours - expected).norm() / expected.norm()
    assert error < {torch.bfloat16: 2.2e-3, torch.float16: 5e-4}[dtype]


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("channels", "outputs"), [(64, 256), (1024, 512), (320, 1280)])
def test_outputs_with_bias_and_gelu(products, rows, channels, outputs):
    made, x = layer(channels, outputs), random(1, rows, channels)

    assert_near(products.product(made, x), exact(made, x))
    assert_near(products.gelu_product(made, x), functional.gelu(exact(made, x)))


@pytest.mark.parametrize("rows", ROWS)
def test_products_are_added_to_the_stream(products, rows):
    made, branch = layer(256, 512), random(2, rows, 256)
    x, gamma = random(2, rows, 512, dtype=torch.float16), torch.rand(512, device="cuda")
    weight, bias = torch.rand(2, 512, device="cuda")
    expected = x.double() + gamma.double() * exact(made, branch)

    assert_near(products.add_product(x, made, branch, gamma), expected, torch.float16)
    total, normed = products.add_product_and_normalize(
        x, made, branch, gamma, weight, bias, 1e-5, torch.bfloat16
    )
    assert_near(total, expected, torch.float16)
    assert_near(
        normed, functional.layer_norm(expected, (512,), weight.double(), bias.double(), 1e-5)
    )


def test_branches_that_are_scaled_down_may_be_larger_than_float16(products):
    made, branch = layer(256, 256), 4e4 * random(1, 300, 256)
    x, gamma = random(1, 300, 256, dtype=torch.float16), torch.full((256,), 1e-3, device="cuda")
    product = exact(made, branch)
    assert product.abs().max() > 65504
    expected = x.double() + 1e-3 * product
    assert_near(products.add_product(x, made, branch, gamma), expected, torch.float16)


def test_rows_that_stand_apart_in_memory(products):
    made, branch = layer(512, 256), random(3, 50, 640)[..., :512]
    x = random(3, 50, 256, dtype=torch.float16)
    expected = x.double() + exact(made, branch)
    ours = products.add_product(x, made, branch, torch.ones(256, device="cuda"))
    assert_near(ours, expected, torch.float16)


@pytest.mark.parametrize("width", [256, 512, 320])  # the last is left to others
@pytest.mark.parametrize("frames", [1, 7])
@pytest.mark.parametrize("parts", [range(3), range(1), range(1, 3)])
def test_queries_and_keys_are_normed_and_rotated(products, width, frames, parts):
    turn = rotation(patch_positions(6, 9, 5, torch.device("cuda")), 64, 100.0)
    tokens = len(turn.cos)
    made, x = layer(width, 3 * width), random(2, frames * tokens, width)
    q_norm, k_norm = (torch.nn.LayerNorm(64).cuda().requires_grad_(False) for _ in range(2))
    for norm in (q_norm, k_norm):
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.normal_()

    ours = products.turned_product(
        made, x, parts, products.norms(q_norm, k_norm), q_norm.eps, turn
    )

    expected = exact(made, x).unflatten(1, (frames, tokens)).unflatten(-1, (3, -1, 64))
    exact_turn = Rotation(turn.cos.double(), turn.sin.double())
    for part, tensor in zip(parts, ours, strict=True):
        values = expected[:, :, :, part]
        if part < 2:
            norm = (q_norm, k_norm)[part]
            values = PLAIN.turn(
                values, norm.weight.double(), norm.bias.double(), norm.eps, exact_turn.cos,
                exact_turn.sin,
            )
        scale = products.SCALE if part == 0 else 1.0
        error = 4e-3 if width == 320 else 2.2e-3  # rounded twice
        wanted = scale * values.flatten(1, 2)
        assert (tensor - wanted).norm() < error * wanted.norm()


def test_layers_that_do_not_fit_are_left_to_others(products):
    made, x = layer(320, 320), random(1, 40, 320)
    stream, gamma = random(1, 40, 320, dtype=torch.float32), torch.ones(320, device="cuda")

    assert torch.equal(products.product(made, x), made(x))
    ours = products.add_product(stream, made, x, gamma)
    torch.testing.assert_close(ours, stream + made(x).float())
    assert torch.equal(products.product(made.float(), x.float()), made.float()(x.float()))


@pytest.mark.parametrize("name", ["product", "attend"])
def test_kernels_that_compute_something_else_are_not_used(products, monkeypatch, name):
    from flashvggt_ros.model.hopper import attention
    from flashvggt_ros.model.hopper.kernels import hopper_kernels

    device = torch.device("cuda")
    assert hopper_kernels(device).product is products.product
    module = products if name == "product" else attention
    right = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *arguments: 1.1 * right(*arguments))
    with pytest.raises(RuntimeError, match=r"of a trial err by 0\.1"):
        hopper_kernels(device)
