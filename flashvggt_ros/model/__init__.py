"""FlashVGGT in torch: the model, its descriptor cache, its weights, and the predictor around them.

Structure and facts after FlashVGGT (arXiv 2512.01540) and VGGT (arXiv 2503.11651).
"""

from flashvggt_ros.model.descriptor_cache import DescriptorCache
from flashvggt_ros.model.flashvggt import FlashVGGT, Prediction
from flashvggt_ros.model.memory import GradientCache
from flashvggt_ros.model.model_config import PRESETS, ModelConfig

__all__ = [
    "PRESETS", "DescriptorCache", "FlashVGGT", "GradientCache", "ModelConfig", "Prediction"
]
