"""What is used of tf2_ros, for every implementation that is present."""

import logging
import threading

import numpy as np
import pytest
import yaml
from builtin_interfaces.msg import Time as TimeMessage
from geometry_msgs.msg import TransformStamped
from implementations import implementations
from rclpy.duration import Duration
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from ros_graph import ros_graph
from rosgraph_msgs.msg import Clock
from scipy.spatial.transform import Rotation
from tf2_msgs.msg import TFMessage

every_implementation = pytest.mark.parametrize("tf2_ros", implementations("tf2_ros"))

SECOND = 1_000_000_000
EXACT = {"atol": 1e-9, "rtol": 0}


def edge(parent, child, stamp_ns, translation=(0, 0, 0), rotvec=(0, 0, 0)):
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    message.header.stamp = TimeMessage(sec=stamp_ns // SECOND, nanosec=stamp_ns % SECOND)
    for axis, value in zip("xyz", translation, strict=True):
        setattr(message.transform.translation, axis, float(value))
    for axis, value in zip("xyzw", Rotation.from_rotvec(rotvec).as_quat(), strict=True):
        setattr(message.transform.rotation, axis, float(value))
    return message


def matrix(message):
    translation, rotation = message.transform.translation, message.transform.rotation
    T = np.eye(4)
    T[:3, :3] = Rotation.from_quat([getattr(rotation, axis) for axis in "xyzw"]).as_matrix()
    T[:3, 3] = [getattr(translation, axis) for axis in "xyz"]
    return T


def buffer_of(tf2_ros, *edges, static=(), **arguments):
    buffer = tf2_ros.Buffer(**arguments)
    for entry in edges:
        buffer.set_transform(entry, "test")
    for entry in static:
        buffer.set_transform_static(entry, "test")
    return buffer


def look(buffer, target, source, stamp_ns):
    return buffer.lookup_transform(target, source, Time(nanoseconds=stamp_ns))


@every_implementation
def test_an_edge_is_found_in_both_directions(tf2_ros):
    given = edge("map", "base", SECOND, (1, 2, 3), (0, 0, np.pi / 2))
    buffer = buffer_of(tf2_ros, given)
    found = look(buffer, "map", "base", SECOND)
    assert (found.header.frame_id, found.child_frame_id) == ("map", "base")
    assert found.header.stamp == given.header.stamp
    np.testing.assert_allclose(matrix(found), matrix(given), **EXACT)
    back = matrix(look(buffer, "base", "map", SECOND))
    np.testing.assert_allclose(back @ [1, 3, 3, 1], [1, 0, 0, 1], **EXACT)


@every_implementation
def test_frames_meet_in_their_common_ancestor(tf2_ros):
    buffer = buffer_of(
        tf2_ros,
        edge("map", "odom", SECOND, (100, 0, 0), (0.3, 0.2, 0.1)),
        edge("odom", "base", SECOND, (0, 10, 0), (0, 0, np.pi / 2)),
        static=[
            edge("base", "left", 0, (1, 0, 0), (0, np.pi / 2, 0)),
            edge("base", "right", 0, (0, 1, 0)),
        ],
    )
    # right -> base -> left: p_left = inv(T_base_left) p_base
    found = matrix(look(buffer, "left", "right", SECOND))
    np.testing.assert_allclose(found @ [0, 0, 5, 1], [-5, 1, -1, 1], **EXACT)
    T_map_odom = matrix(edge("", "", 0, (100, 0, 0), (0.3, 0.2, 0.1)))
    T_odom_right = matrix(look(buffer, "odom", "right", SECOND))
    np.testing.assert_allclose(T_odom_right @ [0, 0, 0, 1], [-1, 10, 0, 1], **EXACT)
    np.testing.assert_allclose(
        matrix(look(buffer, "map", "right", SECOND)), T_map_odom @ T_odom_right, **EXACT
    )


@every_implementation
def test_between_two_stamps_translation_is_linear_and_rotation_steady(tf2_ros):
    buffer = buffer_of(
        tf2_ros,
        edge("map", "base", SECOND, (0, 0, 0), (0, 0, 3.0)),
        edge("map", "base", 2 * SECOND, (4, 8, 0), (0, 0, -3.0)),
    )
    found = look(buffer, "map", "base", SECOND + SECOND // 4)
    # The shorter way from 3 rad to -3 rad leads over pi.
    angle = 3.0 + 0.25 * (2 * np.pi - 6.0)
    expected = matrix(edge("", "", 0, (1, 2, 0), (0, 0, angle)))
    np.testing.assert_allclose(matrix(found), expected, **EXACT)
    assert (found.header.stamp.sec, found.header.stamp.nanosec) == (1, SECOND // 4)


@every_implementation
def test_stamps_are_told_apart_to_the_nanosecond(tf2_ros):
    late = 1_700_000_000 * SECOND
    buffer = buffer_of(
        tf2_ros,
        *[edge("map", "base", late + step, (step, 0, 0)) for step in (0, 100, 101, 103)],
    )
    for step in (0, 50, 100, 101, 102, 103):
        found = matrix(look(buffer, "map", "base", late + step))
        assert found[0, 3] == pytest.approx(step, abs=1e-9)
    with pytest.raises(tf2_ros.ExtrapolationException):
        look(buffer, "map", "base", late + 104)


@every_implementation
def test_transforms_may_arrive_out_of_order(tf2_ros):
    buffer = buffer_of(
        tf2_ros, *[edge("map", "base", step * SECOND, (step, 0, 0)) for step in (5, 2, 4, 3)]
    )
    assert matrix(look(buffer, "map", "base", 7 * SECOND // 2))[0, 3] == pytest.approx(3.5)


@every_implementation
def test_time_zero_is_the_newest_time_that_all_moving_edges_share(tf2_ros):
    buffer = buffer_of(
        tf2_ros,
        edge("map", "odom", 1 * SECOND, (1, 0, 0)),
        edge("map", "odom", 3 * SECOND, (3, 0, 0)),
        edge("odom", "base", 2 * SECOND, (0, 2, 0)),
        edge("odom", "base", 9 * SECOND, (0, 9, 0)),
        static=[edge("base", "camera", 0, (0, 0, 1))],
    )
    found = look(buffer, "map", "camera", 0)
    np.testing.assert_allclose(matrix(found)[:3, 3], [3, 3, 1], **EXACT)
    assert found.header.stamp.sec == 3


@every_implementation
def test_a_static_transform_holds_at_every_time(tf2_ros):
    buffer = buffer_of(tf2_ros, static=[edge("base", "camera", 7 * SECOND, (0, 0, 1))])
    for stamp_ns in (0, 1, SECOND, 10**18):
        assert matrix(look(buffer, "base", "camera", stamp_ns))[2, 3] == 1.0


@every_implementation
def test_nothing_is_extrapolated(tf2_ros):
    one = buffer_of(tf2_ros, edge("map", "base", 5 * SECOND))
    two = buffer_of(tf2_ros, edge("map", "base", 5 * SECOND), edge("map", "base", 6 * SECOND))
    for buffer, seconds, words in (
        (one, 4, "only time"),
        (one, 6, "only time"),
        (two, 4, "into the past"),
        (two, 7, "into the future"),
    ):
        with pytest.raises(tf2_ros.ExtrapolationException, match=words):
            look(buffer, "map", "base", seconds * SECOND)


@every_implementation
def test_an_edge_above_the_common_ancestor_does_not_matter(tf2_ros):
    buffer = buffer_of(
        tf2_ros,
        edge("map", "odom", 1 * SECOND),
        edge("odom", "left", 5 * SECOND, (1, 0, 0)),
        edge("odom", "right", 5 * SECOND, (2, 0, 0)),
    )
    assert matrix(look(buffer, "left", "right", 5 * SECOND))[0, 3] == pytest.approx(1.0)
    with pytest.raises(tf2_ros.ExtrapolationException):
        look(buffer, "map", "right", 5 * SECOND)


@every_implementation
def test_frames_of_two_trees_are_not_connected(tf2_ros):
    buffer = buffer_of(tf2_ros, edge("map", "base", SECOND), edge("world", "drone", SECOND))
    for stamp_ns in (0, SECOND):
        with pytest.raises(tf2_ros.ConnectivityException):
            look(buffer, "map", "drone", stamp_ns)


@every_implementation
def test_a_frame_that_nobody_named_is_not_found(tf2_ros):
    buffer = buffer_of(tf2_ros, edge("map", "base", SECOND))
    for target, source in (("map", "nowhere"), ("nowhere", "map")):
        with pytest.raises(tf2_ros.LookupException, match="nowhere"):
            look(buffer, target, source, SECOND)


@every_implementation
@pytest.mark.parametrize("name", ["", "/map"])
def test_a_name_that_is_empty_or_begins_with_a_slash_is_an_invalid_argument(tf2_ros, name):
    buffer = buffer_of(tf2_ros, edge("map", "base", SECOND))
    with pytest.raises(tf2_ros.InvalidArgumentException):
        look(buffer, name, "base", SECOND)


@every_implementation
def test_a_slash_in_what_is_received_is_dropped(tf2_ros):
    buffer = buffer_of(tf2_ros, edge("/map", "/base", SECOND, (1, 0, 0)))
    assert matrix(look(buffer, "map", "base", SECOND))[0, 3] == 1.0


@every_implementation
def test_every_exception_is_a_transform_exception(tf2_ros):
    for name in ("Lookup", "Connectivity", "Extrapolation", "InvalidArgument"):
        assert issubclass(getattr(tf2_ros, f"{name}Exception"), tf2_ros.TransformException)


@every_implementation
@pytest.mark.parametrize(
    "bad",
    [
        edge("map", "map", SECOND),
        edge("", "base", SECOND),
        edge("map", "", SECOND),
        edge("map", "base", SECOND, (float("nan"), 0, 0)),
        TransformStamped(child_frame_id="base"),
    ],
    ids=["own parent", "no parent", "no child", "nan", "nothing set"],
)
def test_a_bad_transform_is_ignored(tf2_ros, bad):
    buffer = buffer_of(tf2_ros, bad)
    with pytest.raises(tf2_ros.TransformException):
        look(buffer, "map", "base", SECOND)


@every_implementation
def test_the_norm_of_a_quaternion_does_not_matter_unless_it_is_zero(tf2_ros):
    given = edge("map", "base", SECOND, (1, 2, 3), (0.1, 0.2, 0.3))
    expected = matrix(given)
    for axis in "xyzw":
        setattr(given.transform.rotation, axis, 1.1 * getattr(given.transform.rotation, axis))
    found = look(buffer_of(tf2_ros, given), "map", "base", SECOND)
    np.testing.assert_allclose(matrix(found), expected, **EXACT)


@every_implementation
def test_ten_seconds_are_kept_by_default(tf2_ros):
    buffer = buffer_of(
        tf2_ros, *[edge("map", "base", step * SECOND, (step, 0, 0)) for step in range(1, 22)]
    )
    assert matrix(look(buffer, "map", "base", 12 * SECOND))[0, 3] == pytest.approx(12.0)
    with pytest.raises(tf2_ros.ExtrapolationException):
        look(buffer, "map", "base", 5 * SECOND)
    buffer.set_transform(edge("map", "base", 2 * SECOND), "test")
    with pytest.raises(tf2_ros.ExtrapolationException):
        look(buffer, "map", "base", 2 * SECOND)


@every_implementation
def test_the_cache_can_be_longer(tf2_ros):
    entries = [edge("map", "base", step * SECOND, (step, 0, 0)) for step in range(1, 22)]
    buffer = buffer_of(tf2_ros, *entries, cache_time=Duration(seconds=60))
    assert matrix(look(buffer, "map", "base", 2 * SECOND))[0, 3] == pytest.approx(2.0)


@every_implementation
def test_the_parent_of_a_frame_can_change(tf2_ros):
    buffer = buffer_of(
        tf2_ros,
        edge("map", "base", 1 * SECOND, (1, 0, 0)),
        edge("lift", "base", 5 * SECOND, (5, 0, 0)),
        static=[edge("map", "lift", 0, (10, 0, 0))],
    )
    assert matrix(look(buffer, "map", "base", 1 * SECOND))[0, 3] == pytest.approx(1.0)
    assert matrix(look(buffer, "map", "base", 5 * SECOND))[0, 3] == pytest.approx(15.0)


@every_implementation
def test_the_parent_of_each_frame_is_told(tf2_ros):
    assert not yaml.safe_load(buffer_of(tf2_ros).all_frames_as_yaml())
    buffer = buffer_of(
        tf2_ros, edge("map", "base", SECOND), static=[edge("base", "camera", 0, (0, 0, 1))]
    )
    known = yaml.safe_load(buffer.all_frames_as_yaml())
    assert {name: frame["parent"] for name, frame in known.items()} == {
        "base": "map", "camera": "base",
    }


@every_implementation
def test_a_loop_is_found(tf2_ros):
    buffer = buffer_of(
        tf2_ros, edge("a", "b", SECOND), edge("b", "a", SECOND), edge("c", "d", SECOND)
    )
    with pytest.raises(tf2_ros.TransformException):
        look(buffer, "c", "b", SECOND)


@every_implementation
def test_clearing_keeps_static_transforms(tf2_ros):
    buffer = buffer_of(
        tf2_ros, edge("map", "base", SECOND), static=[edge("base", "camera", 0, (0, 0, 1))]
    )
    buffer.clear()
    assert not buffer.can_transform("map", "base", Time(nanoseconds=SECOND))
    assert buffer.can_transform("base", "camera", Time(nanoseconds=SECOND))


@every_implementation
def test_a_lookup_with_a_timeout_waits_for_the_transform(tf2_ros):
    buffer = buffer_of(tf2_ros, edge("map", "base", SECOND))
    timer = threading.Timer(
        0.1, buffer.set_transform, (edge("map", "base", 2 * SECOND, (2, 0, 0)), "test")
    )
    timer.start()
    time, timeout = Time(nanoseconds=2 * SECOND), Duration(seconds=10)
    assert not buffer.can_transform("map", "base", time)
    found = buffer.lookup_transform("map", "base", time, timeout)
    timer.join()
    assert matrix(found)[0, 3] == 2.0


@every_implementation
def test_writing_and_reading_at_once_is_safe(tf2_ros):
    buffer = buffer_of(
        tf2_ros, *[edge("map", "base", step * SECOND // 100, (step, 0, 0)) for step in (1, 100)]
    )
    problems = []

    def read():
        try:
            for step in range(2, 100):
                found = matrix(look(buffer, "map", "base", step * SECOND // 100))
                assert found[0, 3] == pytest.approx(step)
        except Exception as error:
            problems.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for step in range(2, 100):
        buffer.set_transform(edge("map", "base", step * SECOND // 100, (step, 0, 0)), "test")
    for reader in readers:
        reader.join()
    assert not problems


@every_implementation
def test_a_listener_hears_the_broadcasters_the_static_one_also_when_late(tf2_ros):
    with ros_graph() as graph:
        speaker = graph.node("speaker")
        static = tf2_ros.StaticTransformBroadcaster(speaker)
        static.sendTransform(edge("base", "left", 0, (0, 1, 0)))
        static.sendTransform([edge("base", "right", 0, (0, -1, 0))])
        moving = tf2_ros.TransformBroadcaster(speaker)
        node = graph.node("listener")
        buffer = tf2_ros.Buffer(node=node)
        listener = tf2_ros.TransformListener(buffer, node)
        graph.spin_until(lambda: moving.pub_tf.get_subscription_count() == 1)
        moving.sendTransform([edge("map", "odom", SECOND), edge("odom", "base", SECOND, (7, 0, 0))])
        for side, y in (("left", 1.0), ("right", -1.0)):
            time = Time(nanoseconds=SECOND)
            graph.spin_until(lambda side=side, time=time: buffer.can_transform("map", side, time))
            np.testing.assert_allclose(
                matrix(look(buffer, "map", side, SECOND))[:3, 3], [7, y, 0], **EXACT
            )
        listener.unregister()


@every_implementation
def test_a_clock_that_jumps_back_clears_the_buffer(tf2_ros, caplog):
    with ros_graph() as graph, caplog.at_level(logging.WARNING):
        node = graph.node("listener")
        node.set_parameters([Parameter("use_sim_time", value=True)])
        buffer = tf2_ros.Buffer(node=node)
        clock = graph.node("simulator").create_publisher(Clock, "/clock", 10)
        graph.spin_until(lambda: clock.get_subscription_count() == 1)

        def set_clock(seconds):
            clock.publish(Clock(clock=TimeMessage(sec=seconds)))
            graph.spin_until(lambda: node.get_clock().now().nanoseconds == seconds * SECOND)

        set_clock(100)
        buffer.set_transform(edge("map", "base", 100 * SECOND), "test")
        set_clock(101)
        assert buffer.can_transform("map", "base", Time(nanoseconds=100 * SECOND))
        set_clock(3)
        assert not buffer.can_transform("map", "base", Time(nanoseconds=100 * SECOND))


@every_implementation
def test_all_transforms_of_a_call_travel_in_one_message(tf2_ros):
    heard = []
    with ros_graph() as graph:
        broadcaster = tf2_ros.TransformBroadcaster(graph.node("speaker"))
        qos = QoSProfile(depth=10, durability=DurabilityPolicy.VOLATILE)
        graph.node("listener").create_subscription(TFMessage, "/tf", heard.append, qos)
        graph.spin_until(lambda: broadcaster.pub_tf.get_subscription_count() == 1)
        broadcaster.sendTransform([edge("map", "odom", SECOND), edge("odom", "base", SECOND)])
        broadcaster.sendTransform(edge("map", "odom", 2 * SECOND))
        graph.spin_until(lambda: len(heard) == 2)
    assert [len(message.transforms) for message in heard] == [2, 1]
