import pytest
import torch
from safetensors.torch import save_file

from flashvggt_ros.model.flashvggt import FlashVGGT
from flashvggt_ros.model.model_config import ModelConfig


@pytest.fixture(scope="module")
def tiny_checkpoint(tmp_path_factory):
    """Untrained weights of a model that takes milliseconds, on one core."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    config = ModelConfig(
        patch_size=8, image_width=64, position_grid=8, width=32, encoder_depth=1, encoder_heads=2,
        revision="r1", depth=4, heads=2, taps=(0, 1, 2, 3), camera_depth=1, camera_heads=2,
        depth_features=16, depth_channels=(8, 8, 16, 16),
    )
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    weights = {name: value.contiguous() for name, value in FlashVGGT(config).state_dict().items()}
    save_file(weights, path, metadata={"config": config.to_json()})
    yield path
    torch.set_num_threads(threads)
