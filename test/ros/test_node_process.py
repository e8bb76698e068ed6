"""The mapping node as its own process: how it starts, and how it stops."""

import dataclasses
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from flashvggt_ros.msg import MapStatus
from flashvggt_ros.srv import SaveMap
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from ros.node_bench import LATCHED, RELIABLE, image_message
from sensor_msgs.msg import Image

from flashvggt_ros.ros.node_process import main
from flashvggt_ros.worlds import make_world, walk

WORLD = make_world(walk(16))
SHARED_MEMORY = Path("/dev/shm")


pytestmark = pytest.mark.usefixtures("ros")


def start(*parameters: str) -> subprocess.Popen[str]:
    """Start the node with ``name:=value`` parameters."""
    arguments = itertools.chain.from_iterable(("-p", parameter) for parameter in parameters)
    return subprocess.Popen(
        [sys.executable, "-m", "flashvggt_ros.ros.node_process", "--ros-args", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def running(*parameters: str) -> Iterator[subprocess.Popen[str]]:
    """Start the node as start() does, and end it by force where a test leaves it."""
    process = start(*parameters)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def outcome_of(program: str) -> tuple[int, str, str]:
    """Run a program of its own: its exit code, and what it wrote to both outputs."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def segments(pid: int | str) -> set[str]:
    """The shared memory files that a process has mapped."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return {line.split()[-1] for line in maps.splitlines() if str(SHARED_MEMORY) in line}


class Feeder:
    """Publishes a walk round and round, so that the model always has work."""

    def __init__(self) -> None:
        self.node = Node("feeder", use_global_arguments=False)
        self.images = self.node.create_publisher(Image, "/image", RELIABLE)
        self.status: list[MapStatus] = []
        self.node.create_subscription(MapStatus, "/mapping/status", self.status.append, LATCHED)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)

    def feed_until_busy(self, process: subprocess.Popen[str], seconds: float = 60.0) -> None:
        """Publish until a chunk was mapped and more than the next one waits."""
        end = time.monotonic() + seconds
        for number, frame in enumerate(itertools.cycle(WORLD.frames)):
            if self.status and self.status[-1].frames_used and self.status[-1].queue_length > 8:
                return
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < end, self.status[-1:]
            if self.images.get_subscription_count():
                stamp_ns = WORLD.frames[0].stamp_ns + number * 50_000_000
                self.images.publish(image_message(dataclasses.replace(frame, stamp_ns=stamp_ns)))
            for _ in range(3):
                self.executor.spin_once(timeout_sec=0.01)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()


def test_help_is_given_without_a_node(capsys):
    for word in ("-h", "--help"):
        assert main(["mapping_node", word]) == 0
        assert "-p image_topics:=" in capsys.readouterr().out


@pytest.mark.parametrize("signals", [(signal.SIGTERM,), (signal.SIGINT, signal.SIGINT)])
def test_the_node_stops_cleanly_within_three_seconds_while_the_model_runs(
    signals: tuple[signal.Signals, ...],
) -> None:
    others = {str(path) for path in SHARED_MEMORY.iterdir()}  # even of processes that crashed
    with (
        closing(Feeder()) as feeder,
        running("checkpoint:=untrained", "device:=cpu", "chunk.size:=4") as process,
    ):
        feeder.feed_until_busy(process)
        mapped = segments(process.pid)
        begin = time.monotonic()
        for number in signals:
            process.send_signal(number)
            time.sleep(0.05)
        output = process.communicate(timeout=20)[0]
        seconds = time.monotonic() - begin
    assert process.returncode == 0, output
    assert seconds < 3.0
    assert "Traceback" not in output
    assert mapped
    litter = {path for path in mapped - others - segments("self") if Path(path).exists()}
    assert not litter
    assert feeder.status[-1].is_trained is False
    assert "the geometry means nothing" in output


def test_a_save_that_waits_behind_the_model_is_refused_as_the_node_stops(tmp_path: Path) -> None:
    with (
        closing(Feeder()) as feeder,
        running("checkpoint:=untrained", "device:=cpu", f"map_directory:={tmp_path}") as process,
    ):
        feeder.feed_until_busy(process)
        client = feeder.node.create_client(SaveMap, "/mapping/save_map")
        assert client.wait_for_service(5.0)
        saved = client.call_async(SaveMap.Request(name="room"))
        feeder.executor.spin_once_until_future_complete(saved, timeout_sec=0.3)
        process.send_signal(signal.SIGTERM)
        feeder.executor.spin_until_future_complete(saved, timeout_sec=5.0)
        output = process.communicate(timeout=20)[0]
    assert process.returncode == 0, output
    assert not saved.result().success and "shut down meanwhile" in saved.result().message
    assert "save_map is refused: " in output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ("chunk.size:=999", "chunk.size is 999: it must be within 2 to 64"),
        ("checkpoint:=/nowhere/weights.safetensors", "/nowhere/weights.safetensors"),
        ("use_sim_time:=perhaps", "'use_sim_time' to 'perhaps'"),
    ],
)
def test_a_bad_start_is_said_without_a_traceback_and_exits_with_1(
    parameter: str, said: str
) -> None:
    process = start(parameter, "device:=cpu")
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert said in output
    assert "Traceback" not in output


def test_a_start_that_ros_itself_refuses_is_said_without_a_traceback_and_exits_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "enclaves").mkdir()  # an enclave of no keys; the wheels lack security at all
    monkeypatch.setenv("ROS_SECURITY_ENABLE", "true")
    monkeypatch.setenv("ROS_SECURITY_STRATEGY", "Enforce")
    monkeypatch.setenv("ROS_SECURITY_KEYSTORE", str(tmp_path))
    process = start()
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "ROS does not start: " in output
    assert "Traceback" not in output


def test_a_node_without_autostart_waits_unconfigured_for_its_manager() -> None:
    watcher = Node("watcher", use_global_arguments=False)
    status: list[MapStatus] = []
    watcher.create_subscription(MapStatus, "/mapping/status", status.append, LATCHED)
    executor = SingleThreadedExecutor()
    executor.add_node(watcher)
    nowhere = "checkpoint:=/nowhere/weights.safetensors"
    with running("autostart:=false", nowhere) as process, ExitStack() as after:
        after.callback(watcher.destroy_node)
        after.callback(executor.shutdown)
        end = time.monotonic() + 60
        while len(status) < 3:
            assert process.poll() is None and time.monotonic() < end
            executor.spin_once(timeout_sec=0.1)
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=20)[0]
    assert process.returncode == 0, output
    assert {one.state for one in status} == {MapStatus.UNCONFIGURED}


def test_a_signal_while_the_checkpoint_loads_stops_the_node_cleanly() -> None:
    domain = Node("watcher", use_global_arguments=False)
    with running("checkpoint:=untrained", "device:=cpu") as process, ExitStack() as after:
        after.callback(domain.destroy_node)
        end = time.monotonic() + 60
        while "mapping" not in domain.get_node_names():  # its parameters are declared by then
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=20)[0]
    assert process.returncode == 0, output
    assert "Traceback" not in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_ros_is_imported_stops_the_node_cleanly(number: signal.Signals) -> None:
    program = f"""
import os, sys
from flashvggt_ros.ros.node_process import main

class Signaling:
    def find_spec(self, name, path=None, target=None):
        if name == "rclpy":
            os.kill(os.getpid(), {number.value})
            print("signaled")

sys.meta_path.insert(0, Signaling())
sys.exit(main(["--ros-args", "-p", "chunk.size:=999"]))
"""
    assert outcome_of(program) == (0, "signaled\n", "")


def test_a_signal_before_the_node_spins_stops_it_cleanly() -> None:
    program = f"""
import os, sys
from flashvggt_ros.ros import node_lifetime
from flashvggt_ros.ros.node_process import main

class Signaled(node_lifetime.MappingNode):
    def __init__(self, load):
        super().__init__(load)
        os.kill(os.getpid(), {signal.SIGTERM.value})

node_lifetime.MappingNode = Signaled
sys.exit(main([]))
"""
    assert outcome_of(program) == (0, "", "")


def test_a_node_that_is_started_by_nohup_outlives_its_terminal() -> None:
    program = """
import os, signal
from flashvggt_ros.ros.stop_request import StopRequest

signal.signal(signal.SIGHUP, signal.SIG_IGN)
stop = StopRequest()
os.kill(os.getpid(), signal.SIGHUP)
print(stop.is_set)
"""
    assert outcome_of(program) == (0, "False\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_while_python_ends_changes_nothing(number: signal.Signals) -> None:
    program = f"""
import os, sys, types
from flashvggt_ros.ros.node_process import main

class Late:
    def __del__(self, kill=os.kill, pid=os.getpid(), write=os.write):
        kill(pid, {number.value})
        write(1, b"alive")

sys.modules["flashvggt_ros.ros.node_lifetime"] = types.SimpleNamespace(run=lambda args, stop: 0)
sys.late = Late()  # goes when Python has put back the handlers that it knows
sys.exit(main([]))
"""
    assert outcome_of(program) == (0, "alive", "")
