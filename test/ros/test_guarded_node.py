"""What comes on ROS's own topics and services ends no mapping node."""

from typing import Any

import pytest
from builtin_interfaces.msg import Time
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rosgraph_msgs.msg import Clock

from flashvggt_ros.worlds import make_world, walk

WORLD = make_world(walk(8))


def test_a_time_before_zero_on_clock_is_dropped_and_the_next_is_taken(
    bench: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    it = bench(use_sim_time=True)
    clock = it.publisher("/clock", Clock)
    for seconds in (5, -5, -6, 7):
        clock.publish(Clock(clock=Time(sec=seconds)))
        it.spin(0.1)
    it.spin_until(lambda: it.node.get_clock().now().nanoseconds == 7_000_000_000)
    assert capfd.readouterr().err.count("/clock: dropped: the time -5 s is before 0") == 1


def test_a_parameter_of_no_known_type_is_refused_and_the_next_request_is_answered(
    bench: Any,
) -> None:
    it = bench()
    unknown = Parameter(name="tf.rate", value=ParameterValue(type=77))
    sound = Parameter(name="tf.rate", value=ParameterValue(type=3, double_value=30.0))
    answer = it.call(SetParameters, "/mapping/set_parameters",
                     SetParameters.Request(parameters=[sound, unknown]))
    assert [(one.successful, "no type [77]" in one.reason) for one in answer.results] == [
        (False, True), (False, True)
    ]  # fmt: skip
    result = it.call(SetParametersAtomically, "/mapping/set_parameters_atomically",
                     SetParametersAtomically.Request(parameters=[unknown])).result
    assert (result.successful, "no type [77]" in result.reason) == (False, True)
    assert it.node.config.tf.rate == 20.0
    (result,) = it.call(SetParameters, "/mapping/set_parameters",
                        SetParameters.Request(parameters=[sound])).results
    assert result.successful and it.node.config.tf.rate == 30.0
