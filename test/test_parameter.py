import re
from dataclasses import dataclass, field

import pytest

from flashvggt_ros.parameter import build, declared, param, read


@dataclass(frozen=True, slots=True)
class Lens:
    focal: float = param(35.0, "Focal length [mm].", low=1.0, high=1000.0)
    coatings: tuple[str, ...] = param((), "Coatings, outermost first.", choices=("blue", "red"))


@dataclass(frozen=True, slots=True)
class Camera:
    lens: Lens = field(default_factory=Lens)
    is_color: bool = param(True, "Whether it sees color.")


@dataclass(frozen=True, slots=True)
class Rig:
    cameras: int = param(2, "How many there are.", low=1, high=9)
    camera: Camera = field(default_factory=Camera)


NAMES = ["cameras", "camera.lens.focal", "camera.lens.coatings", "camera.is_color"]


def test_sections_of_sections_have_dotted_names_in_declaration_order() -> None:
    assert [parameter.name for parameter in declared(Rig)] == NAMES
    assert [parameter.type for parameter in declared(Rig)] == [int, float, tuple, bool]


def test_what_is_built_is_read_back_and_the_rest_has_its_default() -> None:
    rig = build(Rig, {"camera.lens.focal": 50, "camera.lens.coatings": ["red", "blue"]})
    assert rig == Rig(2, Camera(Lens(50.0, ("red", "blue")), True))
    assert [read(rig, name) for name in NAMES] == [2, 50.0, ("red", "blue"), True]
    assert build(Rig, {}) == Rig()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("camera.lens.focal", 0.5, "camera.lens.focal is 0.5: it must be within 1.0 to 1000.0"),
        ("camera.lens.coatings", ["red", "green"], "'green': it must be one of blue, red"),
        ("camera.lens", Lens(), "unknown parameter camera.lens; known: camera.is_color,"),
    ],
)
def test_a_value_deep_inside_is_refused_with_its_full_name(
    name: str, value: object, said: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        build(Rig, {name: value})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("camera.lens.focal", 10**400, "camera.lens.focal is inf: it must be a finite number"),
        ("cameras", 10**5000, "a number of thousands of digits: it must be within 1 to 9"),
        ("cameras", "x" * 10**6, "...: it must be of type int"),
        ("camera.lens.coatings", ["x" * 10**6], "...: it must be one of"),
    ],
    ids=["float", "integer", "text", "choice"],
)
def test_a_value_of_absurd_size_is_refused_in_a_few_words(
    name: str, value: object, said: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        build(Rig, {name: value})
    assert len(str(caught.value)) < 300
