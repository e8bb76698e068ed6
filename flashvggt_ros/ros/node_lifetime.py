"""The life of the mapping node's process: ROS, spinning, and an orderly end."""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import TYPE_CHECKING

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.signals import SignalHandlerOptions

from flashvggt_ros.config import Config
from flashvggt_ros.cpu_threads import let_idle_threads_sleep
from flashvggt_ros.ros.gpu import is_gpu_lost, spared_by_collector
from flashvggt_ros.ros.loading import LoadedModel
from flashvggt_ros.ros.node import NODE_NAME, MappingNode
from flashvggt_ros.ros.node_state import ModelIdentity
from flashvggt_ros.ros.stop_request import StopRequest

if TYPE_CHECKING:
    from flashvggt_ros.model.predictor import FlashVGGTPredictor

logger = logging.getLogger(__name__)

SPIN_TIMEOUT_S = 0.1  # longest time until a signal is acted upon
TAKE_S = 0.05  # then, for requests that came meanwhile
ANSWER_TIMEOUT_S = 0.2  # for services to answer that are still asked


def run(args: list[str] | None, stop: StopRequest) -> int:
    """Run the node until ``stop`` is set; return 0, or another code after an error that was said.

    75 (EX_TEMPFAIL): the GPU was lost, and a new process may get it back. 1: any other error.
    """
    if stop.is_set:
        return 0
    node: MappingNode | None = None
    executor: SingleThreadedExecutor | None = None
    code = 0
    try:
        node = _start(args)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        _spin(node, executor, stop)
        code = node.exit_code
    except (ValueError, OSError, ImportError) as error:
        get_logger(NODE_NAME).fatal(str(error))
        code = 1
    _shut_down(node, executor, code)
    return code


def load_model(config: Config) -> LoadedModel:
    """Load what a configuration asks for; raises what load_predictor raises."""
    let_idle_threads_sleep()
    with spared_by_collector():
        from flashvggt_ros.model.predictor import load_predictor  # torch: seconds

        predictor = load_predictor(config)
        if predictor.device.type == "cuda":
            warm_up(predictor, config.chunk.size)
    card = predictor.card
    device = f"{predictor.device} ({predictor.precision.name})"
    identity = ModelIdentity(card.name, card.sha256, card.revision, card.is_trained, device)
    return LoadedModel(predictor, identity, predictor.preprocessor.reduction, predictor.check)


def warm_up(predictor: FlashVGGTPredictor, chunk_frames: int) -> None:
    """Let a GPU compile its kernels before images arrive, which takes seconds once on a machine.

    Raises RuntimeError if the GPU cannot be used. What else goes wrong is for the first chunk to
    repeat, and for those to deal with who deal with chunks.
    """
    began = time.monotonic()
    try:
        predictor.warm_up(chunk_frames)
    except (RuntimeError, MemoryError, ValueError) as error:
        if is_gpu_lost(error):
            raise
        logger.warning("the first chunk will take longer: %s", error)
    else:
        logger.info("the GPU's kernels were ready after %.1f s", time.monotonic() - began)


def _start(args: list[str] | None) -> MappingNode:
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        return MappingNode(load_model)
    except (RuntimeError, ParameterException) as error:
        # arguments, ROS's own parameters, security or middleware that are not as they must be
        raise ValueError(f"ROS does not start: {error}") from error


def _spin(node: MappingNode, executor: Executor, stop: StopRequest) -> None:
    if stop.is_set:
        return  # Python complains of a start-up that never begins
    if node.config.autostart:
        executor.create_task(node.start_up)
    while not (stop.is_set or node.fatal):
        executor.spin_once(timeout_sec=SPIN_TIMEOUT_S)


def _shut_down(node: MappingNode | None, executor: Executor | None, code: int) -> None:
    """Leave in order; a load, or a chunk longer than STOP_TIMEOUT_S, is abandoned."""
    is_busy = False
    if node is not None and executor is not None:
        has_stopped = node.stop()
        is_busy = node.is_loading or not has_stopped
        answer_rest(node, executor)
        executor.shutdown()
        node.destroy_node()
    rclpy.try_shutdown()
    # A thread that outlives the interpreter aborts the process, and so may a GPU that is lost.
    if is_busy or code not in (0, 1):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def answer_rest(node: MappingNode, executor: Executor) -> None:
    """Let services of a node that was stopped say what became of what they are still asked."""
    begin, patience = time.monotonic(), TAKE_S
    while node.session is not None and time.monotonic() < begin + patience:  # else it may load
        executor.spin_once(timeout_sec=0.01)
        patience = ANSWER_TIMEOUT_S if node.is_asked else TAKE_S
