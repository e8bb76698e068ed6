import pytest

from flashvggt_ros.config import build_config
from flashvggt_ros.tools.run_config import parse_assignments, read_parameter_file


def parameter_file(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["/**", "mapping", "/mapping", "/robot/mapping", "/**/mapping"])
def test_a_section_that_means_the_node_is_read(tmp_path, name):
    path = parameter_file(tmp_path, f"{name}:\n  ros__parameters:\n    device: cpu\n")
    assert read_parameter_file(path) == {"device": "cpu"}


def test_nested_and_dotted_names_are_the_same(tmp_path):
    text = ("mapping:\n  ros__parameters:\n    chunk:\n      size: 6\n    chunk.overlap: 3\n"
            "    image_topics: [/left, /right]\n    use_sim_time: true\n")
    values = read_parameter_file(parameter_file(tmp_path, text))
    assert values == {"chunk.size": 6, "chunk.overlap": 3, "image_topics": ["/left", "/right"]}
    assert build_config(values).chunk.size == 6


def test_a_namespace_may_be_a_mapping_and_later_sections_win(tmp_path):
    text = ("/**:\n  ros__parameters: {device: cuda, chunk.size: 4}\n"
            "robot:\n  mapping:\n    ros__parameters: {device: cpu}\n"
            "other_node:\n  ros__parameters: {device: auto}\n")
    values = read_parameter_file(parameter_file(tmp_path, text))
    assert values == {"device": "cpu", "chunk.size": 4}


@pytest.mark.parametrize(
    ("text", "words"),
    [("camera:\n  ros__parameters: {a: 1}\n", "sets nothing for node 'mapping'"),
     ("a: [1\n", "cannot read parameter file"), ("", "sets nothing")],
)
def test_a_file_that_says_nothing_to_the_node_is_refused(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        read_parameter_file(parameter_file(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot read parameter file"):
        read_parameter_file(tmp_path / "nothing.yaml")


def test_assignments_take_the_type_that_yaml_gives_them():
    values = parse_assignments(["chunk.size=6", "map.voxel_size=0.5", "tf.publish=false",
                                "image_topics=[/a, /b]", "tf.map_frame=7"])
    assert values == {"chunk.size": 6, "map.voxel_size": 0.5, "tf.publish": False,
                      "image_topics": ["/a", "/b"], "tf.map_frame": "7"}
    assert build_config(values).map.voxel_size == 0.5


@pytest.mark.parametrize("text", ["chunk.size", "=4", "chunk.size=[1"])
def test_an_assignment_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match=r"form name=value|not YAML"):
        parse_assignments([text])


DOUBLING = "".join(f"    a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}}}\n" for n in range(1, 40))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/**:\n  ros__parameters:\n    a0: &a0 {x: 1}\n" + DOUBLING, "aliases"),
        ("/**: &a {ros__parameters: {b: *a}}\n", "aliases"),
        ("[" * 20_000, "nested too deeply"),
        ("/**:\n  ros__parameters: [1]\n", "no names with values"),
        ("/**: {ros__parameters: {seed: " + "9" * 5000 + "}}\n", "digits"),
        ("# " + "x" * 300_000, "more than 200000 bytes"),
        ("/**: \x00", "cannot read parameter file"),
    ],
    ids=["doubling", "loop", "nesting", "list", "digits", "size", "nul"],
)
def test_a_file_made_to_do_harm_is_refused_at_once(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        read_parameter_file(parameter_file(tmp_path, text))


def test_an_assignment_made_to_do_harm_is_refused_at_once():
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_assignments(["image_topics=" + "[" * 20_000])
