"""Parameters as ROS sees them: declared from config.py, described, refused with the limit."""

import re

import pytest
from rcl_interfaces.msg import ParameterType
from rclpy.node import Node
from rclpy.parameter import Parameter

from flashvggt_ros.config import Config, flatten, parameters
from flashvggt_ros.ros.parameters import declare_parameters, on_change

pytestmark = pytest.mark.usefixtures("ros")


class Declared:
    """A node with overrides, as a launch file or the command line gives them."""

    def __init__(self, **overrides: object) -> None:
        self.node = Node(
            "declared",
            use_global_arguments=False,
            start_parameter_services=False,
            parameter_overrides=[
                Parameter(name.replace("__", "."), value=value) for name, value in overrides.items()
            ],
        )
        self.config = Config()
        self.is_configured = True

    def __enter__(self) -> "Declared":
        return self

    def declare(self) -> Config:
        self.config = declare_parameters(self.node)
        on_change(self.node, lambda: self.config, self._accept, lambda: self.is_configured)
        return self.config

    def _accept(self, config: Config) -> None:
        self.config = config

    def set(self, name: str, value: object) -> tuple[bool, str]:
        (result,) = self.node.set_parameters([Parameter(name, value=value)])
        return result.successful, result.reason

    def __exit__(self, *error: object) -> None:
        self.node.destroy_node()


def test_without_overrides_the_configuration_is_the_default() -> None:
    with Declared() as declared:
        assert declared.declare() == Config()
        for name, value in flatten(Config()).items():
            expected = list(value) if isinstance(value, tuple) else value
            assert declared.node.get_parameter(name).value == expected


def test_overrides_reach_the_configuration() -> None:
    with Declared(image_topics=["a/image", "b/image"], chunk__size=6, tf__map_frame="world") as it:
        config = it.declare()
        assert config.image_topics == ("a/image", "b/image")
        assert (config.chunk.size, config.tf.map_frame) == (6, "world")


def test_an_integer_is_taken_for_a_floating_point_parameter() -> None:
    with Declared(scale__fixed=2) as declared:
        assert declared.declare().scale.fixed == 2.0
        assert declared.node.get_parameter("scale.fixed").value == 2.0
        assert isinstance(declared.node.get_parameter("scale.fixed").value, float)


def test_an_empty_list_stays_a_list_of_strings() -> None:
    with Declared(image__camera_info_topics=[]) as declared:
        assert declared.declare().image.camera_info_topics == ()
        described = declared.node.describe_parameter("image.camera_info_topics")
        assert described.type == ParameterType.PARAMETER_STRING_ARRAY


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("chunk.size", 999, "chunk.size is 999: it must be within 2 to 64"),
        ("chunk.size", "many", "chunk.size is 'many': it must be of type int"),
        ("chunk.overlap", 9, "chunk.overlap (9) must be less than chunk.size (8)"),
        ("scale.fixed", -1.0, "scale.fixed is -1.0: it must be within 0.0001 to 10000.0"),
        ("device", "tpu", "device is 'tpu': it must be one of auto, cuda, cpu"),
        ("tf.odom_frame", "odom", "tf.odom_frame is 'odom' but tf.base_frame is empty"),
        ("tf.base_frame", "map", "must differ"),
        ("robot.depth_topics", ["/d", "/d"], "robot.depth_topics name a topic twice"),
        ("tf.map_frame", "/map", "'/map' in tf.map_frame"),
        ("image_topics", [], "image_topics is empty: name at least one image topic"),
        ("map_directory", "", "map_directory is empty: name the folder below which maps are saved"),
        ("image.transports", ["theora"], "'theora': it must be one of auto, raw, compressed"),
    ],
)
def test_a_bad_value_at_the_start_is_named_with_its_limit(
    name: str, value: object, said: str
) -> None:
    overrides = {name.replace(".", "__"): value}
    with Declared(**overrides) as declared, pytest.raises(ValueError, match=re.escape(said)):
        declared.declare()


def test_a_value_out_of_range_is_refused_with_the_limit_at_run_time() -> None:
    with Declared() as declared:
        declared.declare()
        for name, value, limits in (
            ("chunk.size", 999, ("2", "64")),
            ("publish.map_cloud_period", 0.0, ("0.1", "600")),
            ("tf.rate", 1.0e6, ("1.0", "200.0")),
        ):
            successful, reason = declared.set(name, value)
            assert not successful
            assert name in reason and all(limit in reason for limit in limits)
        assert declared.config == Config()


def test_a_change_that_contradicts_another_parameter_is_refused() -> None:
    with Declared() as declared:
        declared.declare()
        assert declared.set("chunk.overlap", 8) == (
            False,
            "chunk.overlap (8) must be less than chunk.size (8)",
        )
        assert declared.node.get_parameter("chunk.overlap").value == 2


def test_an_accepted_change_reaches_the_configuration() -> None:
    with Declared() as declared:
        declared.declare()
        assert declared.set("publish.map_cloud_period", 5.0)[0]
        assert declared.set("chunk.size", 16)[0]
        assert declared.config.publish.map_cloud_period == 5.0
        assert declared.config.chunk.size == 16


def test_what_configure_reads_can_change_only_while_unconfigured() -> None:
    with Declared() as declared:
        declared.declare()
        for name, value in (("checkpoint", "other"), ("tf.base_frame", "base_link")):
            successful, reason = declared.set(name, value)
            assert not successful and f"{name} cannot change while the node is" in reason
        declared.is_configured = False
        assert declared.set("tf.base_frame", "base_link")[0]
        assert declared.config.tf.base_frame == "base_link"


def test_every_parameter_is_described_with_unit_range_and_choices() -> None:
    with Declared() as declared:
        declared.declare()
        for parameter in parameters():
            described = declared.node.describe_parameter(parameter.name)
            assert described.description == parameter.doc
            for choice in parameter.choices:
                assert choice in described.additional_constraints
            if parameter.low is not None:
                (limits,) = described.integer_range or described.floating_point_range
                assert (limits.from_value, limits.to_value) == (parameter.low, parameter.high)
            assert not described.dynamic_typing


def test_a_misspelt_parameter_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with Declared(chunk__sise=4) as declared:
        declared.declare()
        assert "chunk.sise" in caplog.text
