"""Parameters that are changed while the node maps: what they change, and when."""

from typing import Any

from rclpy.parameter import Parameter
from ros.node_bench import NodeBench

from flashvggt_ros.ros.node_lifetime import load_model
from flashvggt_ros.worlds import make_world, walk

WORLD = make_world(walk(24))


def set_at_run_time(it: NodeBench, name: str, value: Any) -> None:
    (result,) = it.node.set_parameters([Parameter(name, value=value)])
    assert result.successful, result.reason


def test_a_shorter_period_does_not_wait_for_the_longer_one_to_end(bench: Any) -> None:
    it = bench(publish__status_period=60.0)
    it.spin(0.5)  # what configure and activate say
    set_at_run_time(it, "publish.status_period", 0.05)
    heard = it.listener.heard["/mapping/status"]
    heard.clear()
    it.spin_until(lambda: len(heard) > 2, seconds=5.0)


def test_a_shorter_period_of_the_map_cloud_needs_no_image_to_take_effect(bench: Any) -> None:
    it = bench(publish__map_cloud_period=60.0)
    images = it.publisher()
    clouds = it.listener.heard["/mapping/map_cloud"]
    it.play(images, WORLD.frames[:4], period=0.01)
    it.spin_until(lambda: clouds)
    clouds.clear()
    it.play(images, WORLD.frames[4:8], period=0.01)
    it.settle(8)
    it.spin(0.3)
    assert clouds == []
    set_at_run_time(it, "publish.map_cloud_period", 0.1)
    it.spin_until(lambda: clouds, seconds=5.0)


def test_chunks_that_the_cache_cannot_hold_are_refused_as_in_configure(bench: Any) -> None:
    it = bench(load=load_model, device="cpu", predictor__max_cache_mb=6.0)
    (result,) = it.node.set_parameters([Parameter("chunk.size", value=20)])
    assert not result.successful
    assert "max_cache_mb is 6: a chunk of 21 frames" in result.reason
    assert it.node.get_parameter("chunk.size").value == it.node.config.chunk.size == 4
    set_at_run_time(it, "chunk.size", 3)


def test_tf_that_is_no_longer_to_be_published_is_not_called_late(bench: Any) -> None:
    it = bench(scale__source="fixed")
    images = it.publisher()
    it.play(images, WORLD.frames[:4], period=0.01)
    it.settle(4)
    it.spin_until(lambda: it.listener.transforms)
    set_at_run_time(it, "tf.publish", False)
    it.play(images, WORLD.frames[4:], period=0.01)  # two seconds by their stamps
    it.settle(24)
    values = {value.key: value.value for value in it.diagnosed("transforms").values}
    assert values["TF behind the newest image [s]"] == "unknown: no pose is on TF"
    it.listener.heard["/tf"].clear()
    set_at_run_time(it, "tf.publish", True)
    it.spin_until(lambda: it.listener.transforms)


def test_a_path_becomes_as_short_as_it_is_asked_to_be(bench: Any) -> None:
    it = bench()
    images = it.publisher()
    it.play(images, WORLD.frames[:20], period=0.01)
    it.settle(20)
    paths = it.listener.heard["/mapping/path"]
    it.spin_until(lambda: paths and len(paths[-1].poses) == 20)
    set_at_run_time(it, "publish.max_path", 16)
    it.play(images, WORLD.frames[20:], period=0.01)
    it.settle(24)
    it.spin_until(lambda: len(paths[-1].poses) == 13)  # every second one, and the newest
