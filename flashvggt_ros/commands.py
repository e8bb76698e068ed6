"""The commands that are installed, flashvggt_replay and so on: each imports its module and runs it.

Modules import numpy, scipy, matplotlib or torch, a second or more. Ctrl-C in that time ends the
process at once, as it ends programs that heed no signal: nothing has begun that could be left half
done, and an exception from within an import would only show where that was. The mapping node is not
among them: it heeds signals from the start by itself.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module


def run(module: str) -> int:
    """Import a module and return what its ``main`` does, an exit code."""
    with importing():
        main = import_module(module).main
    return int(main())


@contextmanager
def importing() -> Iterator[None]:
    """Let Ctrl-C end the process at once inside; where it is ignored, as by nohup, it stays so."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


benchmark = partial(run, "flashvggt_ros.tools.benchmark")
convert = partial(run, "flashvggt_ros.tools.convert")
demo = partial(run, "flashvggt_ros.tools.demo")
dump_params = partial(run, "flashvggt_ros.tools.dump_params")
evaluate = partial(run, "flashvggt_ros.tools.evaluate")
play = partial(run, "flashvggt_ros.ros.bag_player")
record = partial(run, "flashvggt_ros.ros.recorder")
replay = partial(run, "flashvggt_ros.tools.replay")
sample_bag = partial(run, "flashvggt_ros.tools.sample_bag")
view = partial(run, "flashvggt_ros.view")
