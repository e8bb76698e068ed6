"""FlashVGGT in torch: the model, its descriptor cache, its weights, and the predictor around them.

Structure and facts after FlashVGGT (arXiv 2512.01540) and VGGT (arXiv 2503.11651).
"""
