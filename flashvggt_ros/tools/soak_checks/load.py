"""A node under load: queue, counts, TF, services and memory keep their promises."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from flashvggt_ros.config import Config
from flashvggt_ros.tools.backend_checks.finding import Finding
from flashvggt_ros.tools.soak_checks.live_node import Load, growth, measure, sample_images

ANSWER_S = 0.2  # of a service, during inference
STATUS_S = 2 * Config().publish.status_period  # between two messages, 95th percentile
GROWTH_MB = 50.0  # of a node that sees the same place again and again, after the warm-up
GPU_RATE, CPU_RATE = 7.5, 3.0  # that a machine maps whole [Hz]
SECONDS, STEADY_SECONDS, STILL_SECONDS, LEAST_SECONDS = 120.0, 600.0, 3600.0, 6.0

LOADS: dict[str, Load] = {
    "60 Hz": Load(SECONDS, rate=60.0),
    "4 cameras": Load(SECONDS, rate=15.0, cameras=4),
    "4K JPEG": Load(SECONDS, rate=15.0, feed=("--size", "3840", "2160")),
    # 25 MB each: Fast DDS loses them all with best effort, as any message beyond its buffers.
    "4K raw": Load(SECONDS, rate=5.0, feed=("--size", "3840", "2160", "--raw", "--reliable"),
                   parameters={"image.qos": "reliable"}, arrival=0.5),
    "10 subscribers of map_cloud": Load(SECONDS, rate=15.0, clouds=10),
}


def check_steady(part: float) -> Iterator[Finding]:
    """Ten minutes at 30 Hz with the embedded checkpoint."""
    yield from _check({"30 Hz": Load(STEADY_SECONDS)}, part)


def check_latency(part: float) -> Iterator[Finding]:
    """Images that the machine can map: none is dropped, and poses come as soon as chunks allow."""
    load = Load(SECONDS, rate=GPU_RATE if torch.cuda.is_available() else CPU_RATE)
    for what, short, measured in _measured({f"{load.rate:g} Hz": load}, part):
        yield from findings(what, short, measured)
        yield from latency_findings(what, short, measured)


def check_load(part: float) -> Iterator[Finding]:
    """More than a small machine can map: images are dropped and said, all else goes on."""
    yield from _check(LOADS, part)


def check_still(part: float) -> Iterator[Finding]:
    """An hour in front of the same view: memory does not grow."""
    load = Load(STILL_SECONDS, rate=10.0, feed=("--still",))
    yield from _check({"standing still": load}, part)


def _check(loads: dict[str, Load], part: float) -> Iterator[Finding]:
    for what, load, measured in _measured(loads, part):
        yield from findings(what, load, measured)


def _measured(
    loads: dict[str, Load], part: float
) -> Iterator[tuple[str, Load, dict[str, Any]]]:
    with tempfile.TemporaryDirectory(prefix="soak_load_") as name:
        bag = sample_images(Path(name))
        for number, (what, load) in enumerate(loads.items()):
            short = replace(load, seconds=max(LEAST_SECONDS, part * load.seconds))
            yield what, short, measure(short, bag, Path(name, str(number)))


def latency_findings(what: str, load: Load, measured: dict[str, Any]) -> Iterator[Finding]:
    """Return how late poses are, where a node keeps up.

    The first image of a chunk waits for the last one, and that one for the model.
    """
    chunk = Config().chunk
    period = min(chunk.size * load.seconds / max(1, measured["used"]), chunk.max_wait)
    inference = measured["chunk_latency_p95"]
    yield Finding(f"{what}: images dropped", measured["dropped"], 0, "")
    yield Finding(f"{what}: image to pose on TF, p95; at most a chunk's period and its mapping, "
                  f"{period:.2f} + {inference:.2f} s", measured["tf_latency_p95"],
                  period + inference, "s")


def findings(what: str, load: Load, measured: dict[str, Any]) -> Iterator[Finding]:
    """Return what was measured under a load, with the limits."""
    config = Config()
    lost = measured["sent"] - measured["received"]
    label = (f"{what}: {measured['sent']} images, {measured['received']} came, "
             f"{measured['used']} used, {measured['dropped']} dropped; a pose on TF after "
             f"{measured['tf_latency_p50']:.2f} s, p95 {measured['tf_latency_p95']:.2f} s")
    yield Finding(f"{label}; without account", measured["unaccounted"] + measured["waiting"], 0, "")
    yield Finding(f"{what}: images lost on the way", 100 * lost / max(1, measured["sent"]), 5, "%")
    yield Finding(f"{what}: most images that waited", measured["queue_most"],
                  config.queue_limit, "")
    yield Finding(f"{what}: states of error", measured["errors"], 0, "")
    late = sum(over > load.arrival for over in measured["tf_late"])
    late += max(0, measured["tf_uncovered"] - lost)  # of an image that never came TF knows nothing
    delay = measured["tf_delay"]
    promised = measured["tf_tolerance"] + load.arrival
    yield Finding(f"{what}: TF at an image's stamp, {measured['images']} times, p95 "
                  f"{1e3 * delay['p95']:.0f} ms; later than {promised:.3g} s", late, 0, "")
    answer = measured["answer"]
    yield Finding(f"{what}: service answers, p95 {1e3 * answer['p95']:.0f} ms of "
                  f"{measured['answers']}; slowest", 1e3 * answer["most"], 1e3 * ANSWER_S, "ms")
    yield Finding(f"{what}: status period, p95", measured["status_period"]["p95"], STATUS_S, "s")
    yield Finding(f"{what}: diagnostics period, p95", measured["diagnostics_period"]["p95"],
                  STATUS_S, "s")
    yield Finding(f"{what}: memory growth after the warm-up", growth(measured["memory"]) / 1e6,
                  GROWTH_MB, "MB")
    if load.clouds:
        yield Finding(f"{what}: least clouds that one got", min(measured["clouds"]), 1, "",
                      is_at_most=False)
