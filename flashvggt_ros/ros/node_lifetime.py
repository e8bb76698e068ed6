"""The life of the mapping node: parameters, the model, spinning, and an orderly end."""

from __future__ import annotations

import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.signals import SignalHandlerOptions

from flashvggt_ros.config import Config
from flashvggt_ros.cpu_threads import let_idle_threads_sleep
from flashvggt_ros.ros.diagnostics import ModelIdentity
from flashvggt_ros.ros.node import NODE_NAME, MappingNode
from flashvggt_ros.ros.stop_request import StopRequest

if TYPE_CHECKING:
    from flashvggt_ros.model.predictor import FlashVGGTPredictor

SPIN_TIMEOUT_S = 0.1  # longest time until a signal is acted upon
LOAD_POLL_S = 0.05  # the same while the model loads


def run(args: list[str] | None, stop: StopRequest) -> int:
    """Run the node until ``stop`` is set; return 0, or 1 after an error that was said."""
    if stop.is_set:
        return 0
    node: MappingNode | None = None
    loading: Future[FlashVGGTPredictor] | None = None
    code = 0
    try:
        _init(args)
        node = MappingNode()
        loading = ThreadPoolExecutor(1).submit(_load, node.config)
        if _has_loaded(loading, stop):
            _start(node, loading.result())
            _spin(node, stop)
        code = 1 if node.fatal else 0
    except (ValueError, OSError, ImportError) as error:
        get_logger(NODE_NAME).fatal(str(error))
        code = 1
    _shut_down(node, code, is_loading=loading is not None and not loading.done())
    return code


def _init(args: list[str] | None) -> None:
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        raise ValueError(f"the ROS arguments cannot be read: {error}") from error


def _load(config: Config) -> FlashVGGTPredictor:
    let_idle_threads_sleep()
    from flashvggt_ros.model.predictor import load_predictor  # torch: seconds, after the parameters

    return load_predictor(config)


def _has_loaded(loading: Future[FlashVGGTPredictor], stop: StopRequest) -> bool:
    """Wait for the model, which loads in a thread; False when asked to stop before."""
    while not (stop.is_set or loading.done()):
        wait([loading], timeout=LOAD_POLL_S)
    return not stop.is_set


def _start(node: MappingNode, predictor: FlashVGGTPredictor) -> None:
    card = predictor.card
    device = f"{predictor.device} ({predictor.precision.name})"
    model = ModelIdentity(card.name, card.sha256, card.revision, card.is_trained, device)
    node.start(predictor, model, predictor.preprocessor.canvas)


def _spin(node: MappingNode, stop: StopRequest) -> None:
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not (stop.is_set or node.fatal):
        executor.spin_once(timeout_sec=SPIN_TIMEOUT_S)
    executor.shutdown()


def _shut_down(node: MappingNode | None, code: int, is_loading: bool) -> None:
    """Leave in order; a load, or a chunk longer than STOP_TIMEOUT_S, is abandoned."""
    has_stopped = node.stop() if node is not None else True
    if node is not None:
        node.destroy_node()
    rclpy.try_shutdown()
    if is_loading or not has_stopped:  # a thread that outlives the interpreter aborts the process
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
