import time

import pytest
import torch

from flashvggt_ros.model.flashvggt import PRESETS
from flashvggt_ros.tools.benchmarking.case import random_model
from flashvggt_ros.tools.benchmarking.stage_clock import STAGES, StageClock, mark, synchronize

CPU = torch.device("cpu")


def test_spans_of_a_stage_add_up():
    clock = StageClock(CPU)
    for _ in range(3):
        with clock.span("transfers"):
            time.sleep(0.01)
    time.sleep(0.05)
    seconds = clock.seconds()
    assert 0.03 <= seconds["transfers"] < 0.05
    assert seconds["encoder"] == 0
    assert tuple(seconds) == STAGES


def test_every_call_of_the_model_belongs_to_a_stage_and_afterwards_none_is_timed():
    model = random_model(PRESETS["flashvggt-mini"], CPU, seed=0)
    images = torch.rand(2, 3, 56, 56)
    clock = StageClock(CPU)
    with torch.inference_mode():
        expected = model.forward_chunk(images, model.new_cache())
        begin = mark(CPU)
        with clock.watching(model):
            ours = model.forward_chunk(images, model.new_cache())
        total = begin.until(mark(CPU))
        seconds = clock.seconds()
        model.forward_chunk(images, model.new_cache())
    assert torch.equal(ours.depth, expected.depth)
    assert all(seconds[stage] > 0 for stage in STAGES if stage != "transfers")
    assert 0.8 * total < sum(seconds.values()) <= total
    assert clock.seconds() == seconds
    assert "forward" not in vars(model.depth_head)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_time_on_a_gpu_is_that_of_the_gpu():
    cuda = torch.device("cuda")
    matrix = torch.rand(4096, 4096, device=cuda)
    for _ in range(3):
        matrix @ matrix
    synchronize(cuda)
    clock = StageClock(cuda)
    begin = time.perf_counter()
    with clock.span("encoder"):
        for _ in range(20):
            matrix @ matrix
    asked = time.perf_counter() - begin
    seconds = clock.seconds()["encoder"]
    assert asked < seconds <= time.perf_counter() - begin
