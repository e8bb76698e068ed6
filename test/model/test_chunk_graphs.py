"""Graphs give what the model gives without them."""

from concurrent.futures import ThreadPoolExecutor
from threading import current_thread
from typing import ClassVar

import pytest
import torch

from flashvggt_ros.model import chunk_graphs
from flashvggt_ros.model.chunk_graphs import ChunkGraphs, Stop, Stretches


def doubled_twice(x: torch.Tensor) -> Stretches:
    """Double, let attention change it, and double again."""
    y = 2 * x
    mixed = yield Stop(lambda q, k, v: q + k + v, 3, y, y, y)
    assert mixed is not None
    return (2 * mixed, y)


def test_a_computation_pauses_where_attention_is_due():
    seen = []

    def attend(stop: Stop) -> torch.Tensor:
        seen.append(stop.layer)
        return stop.attend(stop.q, stop.k, stop.v)

    x = torch.arange(4.0)[:, None]
    result, y = ChunkGraphs(0).run("name", doubled_twice, x, attend)

    assert torch.equal(result, 12 * x)
    assert torch.equal(y, 2 * x)
    assert seen == [3]


def test_a_stop_that_nobody_attends_to_is_an_error():
    with pytest.raises(AssertionError, match="layer 3"):
        ChunkGraphs(0).run("name", doubled_twice, torch.ones(1, 1))


class Recording:
    """Runs as it is, and says in which thread it was made."""

    made_in: ClassVar[list] = []

    def __init__(self, make, x: torch.Tensor) -> None:
        self.made_in.append(current_thread())
        self.make = make

    def run(self, x: torch.Tensor, attend) -> tuple[torch.Tensor, ...]:
        return chunk_graphs.run_stretches(self.make(x), attend)


def attended(stop: Stop) -> torch.Tensor:
    return stop.attend(stop.q, stop.k, stop.v)


def test_a_thread_runs_a_computation_as_it_is_before_it_records_it(monkeypatch):
    monkeypatch.setattr(chunk_graphs, "_Recording", Recording)
    monkeypatch.setattr(Recording, "made_in", [])
    graphs, x = ChunkGraphs(8), torch.ones(1, 1)

    graphs.run("name", doubled_twice, x, attended)
    with ThreadPoolExecutor(1) as other:
        made = []
        for _ in range(3):
            other.submit(graphs.run, "name", doubled_twice, x, attended).result()
            made.append(len(Recording.made_in))
        thread = other.submit(current_thread).result()
        assert made == [0, 1, 1]
        assert Recording.made_in == [thread]
    graphs.run("name", doubled_twice, x, attended)  # what is recorded any thread may run
    assert len(Recording.made_in) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_second_thread_goes_on_with_the_same_model(make_model, images):
    """The replay's model runs in a thread of its own from the second chunk on."""
    model = make_model().cuda()
    expected = run(model, images.cuda().split(2) * 3)
    model.aggregator.graphs = ChunkGraphs(100_000)
    cache = model.new_cache()

    def encoded(chunk):
        with torch.inference_mode():
            features = model.encode_chunk(chunk, cache)
        return [*features.taps, features.encoder]

    first, *rest = images.cuda().split(2) * 3
    ours = encoded(first)
    with ThreadPoolExecutor(1) as other:
        for chunk in rest:
            ours += other.submit(encoded, chunk).result()
    for one, same in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, same, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("revision", ["r1", "r2"])
def test_a_model_with_graphs_says_the_same_and_keeps_what_it_said(make_model, images, revision):
    model = make_model(revision=revision).cuda()
    chunks = images.cuda().split(2) * 3
    expected = run(model, chunks)

    model.aggregator.graphs = ChunkGraphs(100_000)

    for _ in range(2):  # another submap is launched by the graphs of the one before
        ours = run(model, chunks)
        for one, other in zip(ours, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_only_small_inputs_are_recorded(monkeypatch):
    recorded = []
    replay = torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(
        torch.cuda.CUDAGraph, "replay", lambda graph: (recorded.append(graph), replay(graph))
    )
    graphs = ChunkGraphs(8)

    for rows, count in ((9, 0), (8, 2)):
        for value in (1.0, 2.0, 3.0):
            x = torch.full((rows, 4), value, device="cuda")
            result, _ = graphs.run("name", doubled_twice, x, attended)
            assert torch.equal(result, 12 * x)
        assert len(set(recorded)) == count


def run(model, chunks) -> list[torch.Tensor]:
    cache = model.new_cache()
    with torch.inference_mode():
        features = [model.encode_chunk(chunk, cache) for chunk in chunks]
        return [tensor for chunk in features for tensor in (*chunk.taps, chunk.encoder)]
