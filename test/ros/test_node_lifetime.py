"""What a process does around the node's life."""

import gc
import logging

import pytest
import torch

from flashvggt_ros.config import build_config
from flashvggt_ros.model.predictor import NonFinitePredictionError
from flashvggt_ros.ros.gpu import free_unused_memory
from flashvggt_ros.ros.node_lifetime import load_model, warm_up


def test_the_garbage_collector_passes_over_a_model_until_it_is_freed() -> None:
    gc.unfreeze()
    try:
        model = load_model(build_config({"device": "cpu"}))
        assert gc.isenabled()
        assert gc.get_freeze_count() > 50_000  # torch alone is more
        assert not any(one is model.predictor for one in gc.get_objects())
        free_unused_memory()
        assert gc.get_freeze_count() < 5_000  # Python 3.12 itself freezes what lives forever
        assert any(one is model.predictor for one in gc.get_objects())
    finally:
        gc.unfreeze()


class Trouble:
    """A predictor that can not warm up."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def warm_up(self, chunk_frames: int) -> None:
        raise self.error


@pytest.mark.parametrize("error", [
    torch.cuda.OutOfMemoryError("CUDA out of memory"), MemoryError("too little"),
    NonFinitePredictionError("the model gave poses that are not finite"),
    ValueError("max_cache_mb is 1: a chunk of 8 frames of this size needs at least 2.0 MB"),
])
def test_what_the_first_chunk_can_deal_with_is_left_to_it(error, caplog) -> None:
    caplog.set_level(logging.INFO)
    warm_up(Trouble(error), 8)
    assert f"will take longer: {error}" in caplog.text
    assert "ready" not in caplog.text


def test_a_gpu_that_is_lost_while_kernels_are_compiled_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="illegal"):
        warm_up(Trouble(RuntimeError("CUDA error: an illegal memory access")), 8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_warm_when_a_model_is_loaded(caplog) -> None:
    caplog.set_level(logging.INFO)
    load_model(build_config({"device": "cuda"}))
    assert "kernels were ready" in caplog.text
