import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from flashvggt_ros.model.depth_head import DepthHead, ResidualUnit
from flashvggt_ros.model.model_config import PRESETS

MMAP_THRESHOLD = 32 * 2**20  # from which on glibc asks the system for each array [bytes]


class LargestTensor(TorchDispatchMode):
    """Remembers the size of the largest tensor that an operation returned [bytes]."""

    def __init__(self):
        super().__init__()
        self.nbytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        returned = func(*args, **(kwargs or {}))
        for each in returned if isinstance(returned, tuple | list) else [returned]:
            if isinstance(each, Tensor):
                self.nbytes = max(self.nbytes, each.nbytes)
        return returned


def head_of(name):
    config = PRESETS[name]
    torch.manual_seed(0)
    sizes = config.patch_size, config.depth_features, config.depth_channels
    return DepthHead(2 * config.width, *sizes).eval().requires_grad_(False)


def taps(frames, rows, columns, width, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(frames, rows * columns, width, generator=generator) for _ in range(4)]


def test_frames_do_not_depend_on_those_that_are_decoded_with_them():
    head, images = head_of("flashvggt-mini"), taps(9, 4, 6, 640)
    depth, confidence = head(images, (4, 6))
    alone, confidence_alone = head([tap[7:8] for tap in images], (4, 6))
    torch.testing.assert_close(depth[7:8], alone, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(confidence[7:8], confidence_alone, rtol=1e-5, atol=1e-6)


def test_the_tokens_that_were_given_stay_as_they_are():
    images = taps(2, 4, 6, 640)
    before = [tap.clone() for tap in images]
    head_of("flashvggt-mini")(images, (4, 6))
    assert all(torch.equal(tap, copy) for tap, copy in zip(images, before, strict=True))


def test_no_array_is_so_large_that_its_memory_comes_from_the_system_each_time():
    head = head_of("flashvggt-mini")
    with LargestTensor() as largest:
        head(taps(10, 16, 16, 640), (16, 16))  # a first chunk of square images
    assert 0 < largest.nbytes < MMAP_THRESHOLD


def test_gradients_reach_every_weight_through_what_is_done_in_place():
    torch.manual_seed(0)
    unit = ResidualUnit(4).double()
    x = torch.randn(1, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: unit(x * 1.0), x)
    unit(x * 1.0).sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in unit.parameters())
