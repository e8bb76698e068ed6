from typing import Any

import pytest

from flashvggt_ros.config import Config, build_config, flatten, parameters
from flashvggt_ros.parameter import ParameterValue

NUMBERS = [member for member in parameters() if member.low is not None]
CHOICES = [member for member in parameters() if member.choices]


def test_no_values_give_the_default_configuration() -> None:
    assert build_config({}) == Config()


def test_flatten_is_the_inverse_of_build_config() -> None:
    values = {"chunk.size": 5, "image_topics": ["/a", "/b"], "tf.rate": 5, "device": "cpu"}
    config = build_config(values)
    assert build_config(flatten(config)) == config
    assert config.chunk.size == 5
    assert config.image_topics == ("/a", "/b")
    assert config.tf.rate == 5.0
    assert isinstance(config.tf.rate, float)


def test_names_are_unique_and_every_parameter_is_documented() -> None:
    names = [member.name for member in parameters()]
    assert len(set(names)) == len(names)
    assert all(member.doc.endswith(".") for member in parameters())


@pytest.mark.parametrize("member", NUMBERS, ids=lambda member: member.name)
def test_a_number_beyond_a_limit_is_refused_with_the_limit(member: Any) -> None:
    assert member.low <= member.default <= member.high
    step = 1 if member.type is int else 1e-3 * member.high
    for beyond in (member.low - step, member.high + step):
        with pytest.raises(ValueError, match="must be within") as error:
            build_config({member.name: member.type(beyond)})
        for said in (member.name, str(member.low), str(member.high)):
            assert said in str(error.value)


@pytest.mark.parametrize("member", CHOICES, ids=lambda member: member.name)
def test_a_value_that_is_no_choice_is_refused_with_the_choices(member: Any) -> None:
    value = ["teapot"] if member.type is tuple else "teapot"
    with pytest.raises(ValueError, match="'teapot'") as error:
        build_config({member.name: value})
    assert member.name in str(error.value)
    assert all(choice in str(error.value) for choice in member.choices)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chunk.size", 8.0),
        ("chunk.size", True),
        ("chunk.size", "8"),
        ("scale.fixed", "1.0"),
        ("scale.fixed", False),
        ("tf.publish", 1),
        ("device", 0),
        ("image_topics", "/camera"),
        ("image_topics", [1, 2]),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_type(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} .*must be of type"):
        build_config({name: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"scale\.fixed"):
        build_config({"scale.fixed": value})


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown parameter chunk\.length") as error:
        build_config({"chunk.length": 4})
    assert "chunk.size" in str(error.value)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"chunk.size": 4, "chunk.overlap": 4}, ("chunk.overlap", "chunk.size")),
        ({"chunk.size": 16, "submap.max_frames": 8}, ("submap.max_frames", "chunk.size")),
        ({"image_topics": []}, ("image_topics",)),
        ({"image_topics": ["/a", "/a"]}, ("image_topics",)),
        ({"image.transports": ["raw", "raw"]}, ("image.transports", "image_topics")),
        ({"image.camera_info_topics": ["/a", "/b"]}, ("image.camera_info_topics", "image_topics")),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    values: dict[str, ParameterValue], names: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match=r"\w") as error:
        build_config(values)
    assert all(name in str(error.value) for name in names)


@pytest.mark.parametrize("value", ["abc", "g" * 64, "0" * 63])
def test_what_is_no_sha256_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must be 64 hexadecimal digits, or empty"):
        build_config({"checkpoint_sha256": value})
    assert build_config({"checkpoint_sha256": "Ab" * 32}).checkpoint_sha256 == "Ab" * 32


@pytest.mark.parametrize("values", [{"load_map": "office"}, {"mode": "localization"}])
def test_a_loaded_map_without_loops_is_refused(values: dict[str, str]) -> None:
    build_config(values)
    with pytest.raises(ValueError, match=r"loop\.enabled is false"):
        build_config(values | {"loop.enabled": False})
