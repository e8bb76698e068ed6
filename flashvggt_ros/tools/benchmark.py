"""Measure the model: time of each stage, latency of chunks, cache, memory, rounding errors.

    flashvggt_benchmark --preset flashvggt-r1 --frames 1000 --chunk 100 --dtype bf16 --stages

Random weights unless a checkpoint is named, random images unless a bag is. Every chunk's images
come from the host, and the depth and confidence of its frames and the poses of all frames so far go
back to it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from flashvggt_ros.closed_pipes import silent_when_unread
from flashvggt_ros.counts import count, positive_count
from flashvggt_ros.cpu_threads import let_idle_threads_sleep
from flashvggt_ros.out_of_memory import is_out_of_memory

let_idle_threads_sleep()  # before torch is imported

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from flashvggt_ros.model.checkpoint import EMBEDDED  # noqa: E402
from flashvggt_ros.model.flashvggt import PRESETS  # noqa: E402
from flashvggt_ros.model.kernel_choice import KERNELS  # noqa: E402
from flashvggt_ros.model.kernels import ATTENTION_BACKENDS  # noqa: E402
from flashvggt_ros.model.precision import PRECISIONS  # noqa: E402
from flashvggt_ros.tools.benchmarking.accuracy import measure_errors  # noqa: E402
from flashvggt_ros.tools.benchmarking.case import (  # noqa: E402
    RANDOM,
    Case,
    bag_images,
    named_precision,
    noise,
)
from flashvggt_ros.tools.benchmarking.dense import measure_dense  # noqa: E402
from flashvggt_ros.tools.benchmarking.machine import machine  # noqa: E402
from flashvggt_ros.tools.benchmarking.measurement import measure  # noqa: E402
from flashvggt_ros.tools.benchmarking.report import Report  # noqa: E402

PROGRAM = "flashvggt_benchmark"
MOST_THREADS = 1024  # a process cannot start any number of them


@silent_when_unread
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 2 for misuse, or 130 (stopped)."""
    options = _parser().parse_args(argv)
    try:
        _check(options)
        case, images = _case(options)
        report = _report(options, case, images)
    except (OSError, ValueError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        print(f"{PROGRAM}: not enough memory: fewer --frames, a smaller --chunk, --height or "
              "--width, or a bound by --max-cache-mb need less", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{PROGRAM}: stopped, nothing was measured to its end", file=sys.stderr)
        return 130
    for line in report.lines():
        print(line)
    if options.json:
        try:
            options.json.write_text(json.dumps(report.to_json(), indent=2, allow_nan=False) + "\n")
        except OSError as error:
            print(f"{PROGRAM}: --json {options.json} was not written: {error.strerror}",
                  file=sys.stderr)
            return 2
    return 0


def _check(options: argparse.Namespace) -> None:
    """Raise ValueError or OSError for options that contradict each other, or cannot be followed."""
    if not 0 <= options.threads <= MOST_THREADS:
        raise ValueError(f"--threads is {options.threads}: it must be within 0 to {MOST_THREADS}")
    if options.compare_dense and options.checkpoint != RANDOM:
        raise ValueError("--compare-dense takes random weights: leave --checkpoint out")
    if options.errors_only and (options.compare_dense or options.stages):
        raise ValueError("--errors-only measures nothing else: leave --compare-dense and --stages "
                         "out, or take --errors")
    if options.dense_blocks and not options.compare_dense:
        raise ValueError("--dense-blocks is of --compare-dense: add that")
    if options.sequences > 1 and not (options.errors_only and options.bag):
        raise ValueError("--sequences are of --errors-only with --bag: add these")
    if options.json is None:
        return
    if options.json.is_dir() or not options.json.parent.is_dir():
        raise ValueError(f"--json {options.json} cannot be a file: there is a folder of that "
                         "name, or none to write it in")
    if options.json.is_file():
        options.json.open("a").close()  # OSError where it cannot be written
    elif not options.json.exists():
        options.json.touch()
        options.json.unlink()


def _report(options: argparse.Namespace, case: Case, images: Tensor) -> Report:
    """Measure what was asked for; models are dropped before the next is made."""
    measurements = []
    if not options.errors_only:
        measurements.append(measure(
            case, case.model(), images, repeats=options.repeats, has_stages=options.stages,
            is_synchronous=options.synchronous,
        ))
    dense = (measure_dense(case, images, options.dense_blocks),) if options.compare_dense else ()
    has_errors = options.errors or options.errors_only
    errors = measure_errors(case, images, options.sequences) if has_errors else []
    return Report(
        machine(case.device), case,
        _image_source(options.bag, len(images), case.frames, options.sequences),
        tuple(measurements), dense, tuple(errors),
    )


def _image_source(bag: Path | None, images: int, frames: int, sequences: int = 1) -> str:
    name = bag.name if bag else "noise"
    if sequences > 1:
        return f"{name}, {sequences} times as many"
    return name if images == frames else f"{name}, {images} images again and again"


def _case(options: argparse.Namespace) -> tuple[Case, Tensor]:
    """Check the options, and make the images."""
    if options.threads:
        torch.set_num_threads(options.threads)
    device = _device(options.device)
    precision = named_precision(
        options.dtype, device, checkpoint=options.checkpoint, residual=options.residual,
        depth_head=options.depth_head,
    )
    name = options.dtype
    name += " products float16" if precision.weights == torch.float16 else ""
    name += f" residual {options.residual}" if options.residual else ""
    name += f" depth head {options.depth_head}" if options.depth_head else ""
    case = Case(
        preset=options.preset, checkpoint=options.checkpoint, frames=options.frames,
        chunk=options.chunk, height=options.height, width=options.width, precision=precision,
        precision_name=name, device=device, attention=options.attention,
        kernels=options.kernels, has_graphs=options.has_graphs, max_cache_mb=options.max_cache_mb,
        camera_window=options.camera_window, depth_frames_at_once=options.depth_frames_at_once,
        seed=options.seed,
    )
    case.check()
    if options.bag is None:
        return case, noise(case)
    count = case.frames * options.sequences
    images = bag_images(options.bag, options.image_topic, case.config(), count)
    if options.sequences > 1 and len(images) < count:
        raise ValueError(f"--sequences {options.sequences} of {case.frames} frames need {count} "
                         f"images, of which there are {len(images)}: ask for fewer")
    height, width = images.shape[1:3]
    return dataclasses.replace(case, height=height, width=width), images


def _device(name: str) -> torch.device:
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise ValueError("--device is cuda, but torch finds no CUDA device")
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__.split("\n")[0])
    _add_sequence(parser)
    _add_computing(parser)
    _add_measuring(parser)
    return parser


def _add_sequence(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model and sequence")
    group.add_argument("--preset", choices=list(PRESETS), default="flashvggt-r2",
                       help="sizes of the model (%(default)s)")
    group.add_argument("--checkpoint", default=RANDOM,
                       help=f"weights: {RANDOM} ones of the preset (default), or a checkpoint by "
                       f"name ({EMBEDDED}) or file, whose sizes hold instead")
    group.add_argument("--frames", type=positive_count, default=100, help="[count] (%(default)s)")
    group.add_argument("--chunk", type=positive_count, default=10,
                       help="frames per call [count] (%(default)s)")
    group.add_argument("--height", type=positive_count, default=392, help="[px] (%(default)s)")
    group.add_argument("--width", type=positive_count, default=518, help="[px] (%(default)s)")
    group.add_argument("--bag", type=Path,
                       help="take the images of this bag, at the model's own size")
    group.add_argument("--image-topic", default="",
                       help="of these, where the bag has several image topics")
    group.add_argument("--seed", type=int, default=0, help="of weights and noise (%(default)s)")


def _add_computing(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("computing")
    group.add_argument("--device", choices=["auto", "cuda", "cpu"], default="auto",
                       help="(%(default)s: a GPU if there is one)")
    group.add_argument("--dtype", choices=list(PRECISIONS), default="bf16",
                       help="autocast: as upstream does (%(default)s)")
    types = ["fp32", "fp16", "bf16"]
    group.add_argument("--residual", choices=types, default="",
                       help="another type for the tokens between blocks")
    group.add_argument("--depth-head", choices=types, default="",
                       help="another type for the depth head")
    group.add_argument("--attention", choices=list(ATTENTION_BACKENDS), default="auto",
                       help="backend of torch (%(default)s: flash where it can be had, with "
                       "autocast as torch itself chooses)")
    group.add_argument("--kernels", choices=list(KERNELS), default="auto",
                       help="what computes all but matrix products and convolutions (%(default)s: "
                       "on a GPU triton where it works, else and with autocast plain)")
    group.add_argument("--no-graphs", dest="has_graphs", action="store_false",
                       help="launch all kernels one by one, also in small chunks on a GPU")
    group.add_argument("--max-cache-mb", type=float, default=0.0,
                       help="bound of the descriptor cache [MB], 0: none (%(default)s)")
    group.add_argument("--camera-window", type=int, default=0,
                       help="frames whose poses each chunk refreshes, 0: all (%(default)s)")
    group.add_argument("--depth-frames-at-once", type=int, default=0,
                       help="frames in one piece of the depth head, 0: what suits the device")
    group.add_argument("--threads", type=int, default=0,
                       help="CPU threads, 0: torch's choice (%(default)s)")


def _add_measuring(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to measure")
    group.add_argument("--stages", action="store_true",
                       help="time each stage, in a run of its own")
    group.add_argument("--repeats", type=positive_count, default=1, help="[runs] (%(default)s)")
    group.add_argument("--synchronous", action="store_true",
                       help="wait for each chunk's results before the next begins")
    group.add_argument("--compare-dense", action="store_true",
                       help="measure dense global attention (VGGT) too")
    group.add_argument("--dense-blocks", type=count, default=0,
                       help="run so many blocks of it and extrapolate, 0: all (%(default)s)")
    group.add_argument("--errors", action="store_true",
                       help="measure rounding errors against fp32, beside those of autocast")
    group.add_argument("--errors-only", action="store_true", help="nothing but the errors")
    group.add_argument("--sequences", type=positive_count, default=1,
                       help="errors over so many sequences of --frames images of the bag, behind "
                            "each other [count] (%(default)s)")
    group.add_argument("--json", type=Path, help="write everything to this file")


if __name__ == "__main__":
    sys.exit(main())
