import dataclasses
from collections.abc import Callable, Iterator

import pytest
import torch

from flashvggt_ros.model.flashvggt import FlashVGGT, ModelConfig

TINY = ModelConfig(
    revision="r1", patch_size=4, image_width=32, position_grid=5, width=16, encoder_depth=1,
    encoder_heads=2, depth=4, heads=2, taps=(0, 1, 2, 3), descriptor_range=(1, 2),
    kv_downfactor=2, keyframe_every=4, layer_scale=0.5, camera_depth=1, camera_heads=2,
    depth_features=8, depth_channels=(4, 8, 8, 8),
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Keep tiny tensors on one thread: handing them round costs more than they do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_model() -> Callable[..., FlashVGGT]:
    """A tiny model with random weights; keyword arguments change its sizes."""

    def make(**sizes: object) -> FlashVGGT:
        torch.manual_seed(3)
        model = FlashVGGT(dataclasses.replace(TINY, **sizes)).eval().requires_grad_(False)
        for parameter in model.parameters():  # tokens begin near zero; tests want them to matter
            parameter.add_(0.1 * torch.randn_like(parameter))
        return model

    return make


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(7, 3, 16, 24, generator=torch.Generator().manual_seed(5))
