"""The mapping node: image topics in, TF poses and PointCloud2 maps out; a managed node."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn

from flashvggt_ros.config import Config
from flashvggt_ros.msg import MapStatus
from flashvggt_ros.ros.bond import ManagerBond
from flashvggt_ros.ros.completion import Ended
from flashvggt_ros.ros.diagnostics import diagnostic_array
from flashvggt_ros.ros.gpu import free_unused_memory, is_gpu_lost
from flashvggt_ros.ros.graph_conflicts import GraphConflicts
from flashvggt_ros.ros.guarded_node import GuardedNode
from flashvggt_ros.ros.lifecycle_report import LifecycleReport, bare_status, node_diagnostic
from flashvggt_ros.ros.loading import Loaded, LoadedModel, Loading
from flashvggt_ros.ros.log_forwarding import forward_logs, stop_forwarding
from flashvggt_ros.ros.map_services import MapServices
from flashvggt_ros.ros.map_status import map_status
from flashvggt_ros.ros.node_entities import NodeEntities, set_period
from flashvggt_ros.ros.parameters import declare_parameters, on_change
from flashvggt_ros.ros.publishers import LATCHED
from flashvggt_ros.ros.session import MappingSession
from flashvggt_ros.ros.transforms import TransformTree
from flashvggt_ros.ros.worker import EXIT_RESTART, GPU_LOST

logger = logging.getLogger(__name__)

NODE_NAME = "mapping"
TF_CACHE_S = 60.0  # poses come a queue and a chunk later than the transforms they need
STOP_TIMEOUT_S = 0.8  # longest wait for the chunk in progress when the process ends
JOB_TIMEOUT_S = 4.0  # and for a map that is being saved; ros2 launch waits 5 s between its signals
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


def _logged(transition: Callable) -> Callable:
    """Log what a transition raises: rclpy goes on to on_error without a word."""

    @functools.wraps(transition)
    def logged(self: MappingNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(self, state)
        except Exception as error:
            logger.exception("%s failed", transition.__name__)
            self.failure = f"{transition.__name__} failed ({error}); the log says why"
            raise

    return logged


class MappingNode(LifecycleNodeMixin, GuardedNode):
    """Converts and queues images in the executor's thread; a worker thread maps them.

    Between configure and cleanup it has a session: model, worker, map. What takes long is done
    before a transition that was asked for by ~/change_state or start_up(), in another thread: the
    executor goes on, and the state changes once it is done. Status, diagnostics, parameters and
    services are there in every state; stop() it before destroy_node().
    """

    def __init__(self, load: Callable[[Config], LoadedModel], **node_arguments: Any) -> None:
        """Declare the parameters; raises ValueError that says which one is out of its limits.

        ``load`` makes the model in configure, in a thread of its own. It may raise ValueError,
        OSError, ImportError and RuntimeError: the node then stays unconfigured and says why.
        """
        GuardedNode.__init__(self, NODE_NAME, **node_arguments)
        self._log_handler = forward_logs(self.get_logger())
        try:
            self.config: Config = declare_parameters(self)
        except ValueError:
            stop_forwarding(self._log_handler)
            GuardedNode.destroy_node(self)
            raise
        self.failure = ""
        self._fatal, self._exit_code = "", 0
        self._loading = Loading(load)
        self.session: MappingSession | None = None
        self._is_changing = False
        # A transition that awaits keeps its group busy: in the node's own, all else would wait.
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        self._change_at_once = self._service_change_state.callback
        self._service_change_state.callback = self._change_state
        self._bond = ManagerBond(self)
        self._tree = TransformTree(self, cache_s=TF_CACHE_S)
        self._conflicts = GraphConflicts(self, self._tree.sent)
        self._status = self.create_publisher(MapStatus, "~/status", LATCHED)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._map_services = MapServices(self, lambda: self.config, lambda: self.session)
        self._status_timer = self.create_timer(
            self.config.publish.status_period, self._publish_status,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        on_change(self, lambda: self.config, self._apply, lambda: self._is_configured)
        self._entities = NodeEntities(self)
        self._publish_status()

    @property
    def fatal(self) -> str:
        """Why the process is to end; empty while it goes on."""
        return self._fatal or (self.session.worker.fatal if self.session else "")

    @property
    def exit_code(self) -> int:
        """With what the process is to end: 0 while ``fatal`` is empty."""
        return self._exit_code or (self.session.worker.exit_code if self.session else 0)

    @property
    def is_loading(self) -> bool:
        """Whether a thread loads a model, or a map."""
        return self._loading.is_busy

    @property
    def is_asked(self) -> bool:
        """Whether a service has yet to answer, which takes an executor; after stop() it refuses."""
        return self._map_services.asked > 0

    async def start_up(self) -> None:
        """Configure and activate, as a lifecycle manager would; where that fails, ``fatal``."""
        self._is_changing = True
        try:
            await Ended(self._begin_loading())
            if self.trigger_configure() != SUCCESS or self.trigger_activate() != SUCCESS:
                self._end(self.failure, 1)
        finally:
            self._is_changing = False

    def stop(self) -> bool:
        """Stop publishing and mapping; return whether the worker's thread has ended."""
        if self.fatal:
            self._publish_status()
        self._status_timer.cancel()
        self._bond.loosen()
        if self.session is None:
            return True
        is_on_job = self.session.worker.is_on_job
        has_stopped = self.session.close(JOB_TIMEOUT_S if is_on_job else STOP_TIMEOUT_S)
        if is_on_job and not has_stopped:
            logger.warning("save_map, load_map or reset took longer than %g s more, and is given "
                           "up; an older map is whole", JOB_TIMEOUT_S)
        self._map_services.refuse()
        return has_stopped

    def destroy_node(self) -> None:
        """Release everything; stop() comes first."""
        stop_forwarding(self._log_handler)
        self._tree.close()
        super().destroy_node()
        self._state_machine.destroy_when_not_in_use()  # else the name stays in the graph

    @_logged
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Get a model, the worker's thread, and a map if one is to be loaded."""
        self.failure = ""
        try:
            self.session = MappingSession(
                self, lambda: self.config, *self._loading.take(self.config), self._tree
            )
        except (ValueError, OSError, ImportError, RuntimeError) as error:
            self.failure = str(error)
            if is_gpu_lost(error):
                self._end(f"{GPU_LOST} ({error})", EXIT_RESTART)
        if self.session is None:  # and nothing holds the model any more: not even the error
            logger.error("not configured: %s", self.failure)
            self._entities.destroy_newer()
            free_unused_memory()
            return FAILURE
        self._publish_status()
        return SUCCESS

    @_logged
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take images and publish."""
        assert self.session is not None
        self.session.activate()
        self._bond.tie()
        self._publish_status()
        return SUCCESS

    @_logged
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take no images, and publish no poses; the map and the model are kept."""
        assert self.session is not None
        self._bond.loosen()
        self.session.deactivate()
        logger.info("inactive")
        self._publish_status()
        return SUCCESS

    @_logged
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget the map and the model, and free their memory."""
        self._release()
        logger.info("unconfigured: model and map are freed")
        self._publish_status()
        return SUCCESS

    @_logged
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything; the process goes on until it gets a signal."""
        self._release()
        self._publish_status()
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin anew, unconfigured, after a transition that raised something unforeseen."""
        self.failure = self.failure or "a transition failed; the log says why"
        self._release()
        self._publish_status()
        return SUCCESS

    async def _change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        """Answer ~/change_state; what takes long comes before the transition itself."""
        if self._is_changing:
            logger.warning("a transition is refused: another one is under way")
            return response
        self._is_changing = True
        try:
            if (work := self._work_before(request.transition)) is not None:
                await Ended(work)
            return self._change_at_once(request, response)
        finally:
            self._is_changing = False

    def _work_before(self, transition: Transition) -> Future | None:
        """Begin with what a transition waits for: a model to load, the worker's last chunk."""
        for number, label, *_ in self._state_machine.available_transitions:
            if transition.label != label if transition.label else transition.id != number:
                continue
            if label == "configure":
                return self._begin_loading()
            if label in ("cleanup", "shutdown") and self.session is not None:
                return ThreadPoolExecutor(1).submit(self.session.worker.stop, None)
        return None  # at once, or refused

    def _begin_loading(self) -> Future[Loaded]:
        loaded = self._loading.begin(self.config)
        self._publish_status()
        return loaded

    def _release(self) -> None:
        """End the session, whatever its worker does, and take down what it has on the node."""
        self._bond.loosen()
        if self.session is not None:
            self.session.close(None)
            self.session.release()
        self.session = None
        self._entities.destroy_newer()
        free_unused_memory()

    def _end(self, reason: str, exit_code: int) -> None:
        """Let the process end, unless it does so already."""
        if not self._fatal:
            self._fatal, self._exit_code = reason, exit_code
            logger.critical("the node ends: %s", reason)

    @property
    def _state(self) -> str:
        """The label of the node's state; while it changes, of where it comes from or goes to."""
        return str(self._state_machine.current_state[1])

    @property
    def _is_configured(self) -> bool:
        """Whether parameters that configure reads are in use."""
        return self.session is not None or self._loading.is_begun

    def _apply(self, config: Config) -> None:
        if self.session is not None:
            self.session.check(config)
        self.config = config
        set_period(self._status_timer, config.publish.status_period)
        if self.session is not None:
            self.session.apply(config)

    def _publish_status(self) -> None:
        name = self.get_fully_qualified_name()
        conflicts = self._conflicts.problems()
        failure = self.fatal or self.failure
        report = LifecycleReport(self._state, self._loading.is_begun, failure, conflicts)
        if self.session is None:
            self._status.publish(bare_status(report, self.config))
            diagnostics = DiagnosticArray()
        else:
            state = self.session.state(conflicts)
            self._status.publish(map_status(state, self.config))
            diagnostics = diagnostic_array(state, self.config, name)
        diagnostics.status.append(node_diagnostic(report, name))
        diagnostics.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(diagnostics)
