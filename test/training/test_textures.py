import numpy as np
from PIL import Image

from flashvggt_ros.scene.textures import KINDS
from training.sequences import load_photographs
from training.textures import KIND_OF_WORD, kind_of


def test_kinds_are_read_off_the_path():
    assert kind_of("textures/tex_mattn/door012.jpg") == "door"
    assert kind_of("textures/tex_buildings/wallpaper006.jpg") == "wall"
    assert kind_of("textures/tex_buildings/floor_wood01.png") == "plank"
    assert kind_of("textures/TEX_CTP1/Bricks_g_1.jpg") == "brick"
    assert kind_of("textures/tex_ufo/ufo1_02.png") == "odd"


def test_every_word_stands_for_a_known_kind():
    assert set(KIND_OF_WORD.values()) <= set(KINDS)


def test_photographs_are_loaded_by_the_kind_in_their_names(tmp_path):
    for number, kind in enumerate(("wood", "brick", "wood")):
        color = (40 * number, 100, 100)
        Image.new("RGB", (64, 64), color).save(tmp_path / f"{number:05d}_{kind}.webp", quality=25)
    pictures = load_photographs(tmp_path)
    assert {kind: len(group) for kind, group in pictures.items()} == {"wood": 2, "brick": 1}
    assert pictures["wood"].shape == (2, 256, 256, 3)
    assert abs(int(np.median(pictures["wood"][1][..., 0])) - 80) < 12
    assert load_photographs(None) == {}
