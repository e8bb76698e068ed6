"""Products and attention of our own for Hopper GPUs (compute capability 9.0), in CUDA C++.

They need NVRTC, which PyTorch's packages bring, and nothing else.
"""
