"""What surfaces are made of: styles, real colors, and for each surface its textures and finish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.scene.textures import Textures

WILD, PLAIN, TEXTURED = 0, 1, 2  # styles of a scene, kept at lights[primitives.STYLE]
STYLE_SHARES = (0.2, 0.45, 0.35)

COLORS = {  # linear tints; a texture at contrast 0 reflects 0.56 of them
    "white": (1.45, 1.45, 1.42), "light": (1.05, 1.05, 1.05), "gray": (0.5, 0.5, 0.51),
    "dark": (0.14, 0.14, 0.15), "black": (0.035, 0.035, 0.04), "beige": (1.2, 1.0, 0.72),
    "brown": (0.4, 0.22, 0.11), "red": (0.4, 0.13, 0.09), "own": (1.2, 1.2, 1.2),
    "vivid": (0.9, 0.9, 0.9),  # a saturated color of any hue
}
PALETTES: dict[str, dict[str, float]] = {
    "wall": {"white": 6, "light": 2.5, "gray": 1, "beige": 2.5, "vivid": 0.4},
    "cloth": {"gray": 1, "dark": 2, "black": 1, "beige": 1.5, "brown": 1, "light": 1, "vivid": 4},
    "furniture": {"white": 4, "light": 2, "gray": 1, "dark": 1, "black": 1.5, "brown": 2,
                  "beige": 1.5, "vivid": 0.6},
    "metal": {"white": 1.5, "light": 2, "gray": 2.5, "dark": 1.5, "black": 1.5, "vivid": 0.5},
    "dark": {"black": 4, "dark": 1.5, "gray": 0.3},
    "vivid": {"vivid": 5, "white": 1.5, "black": 1, "own": 2},
    "facade": {"white": 3, "light": 2, "beige": 3, "gray": 0.7, "brown": 0.4, "red": 0.4,
               "vivid": 0.4, "own": 2},
    "roof": {"brown": 2, "red": 2, "dark": 2, "gray": 1},
    "street": {"gray": 3, "light": 2, "dark": 0.7},
    "paper": {"white": 4, "light": 1, "beige": 0.5},
    "own": {"own": 1},
}
KIND_PALETTES = {  # what other colors a surface may take without ceasing to be what it is
    "wall": "wall", "brick": "own", "tile": "own", "concrete": "street", "stone": "own",
    "wood": "own", "plank": "own", "fabric": "cloth", "carpet": "cloth", "metal": "metal",
    "ribs": "metal", "door": "furniture", "leaf": "own", "grass": "own", "ground": "own",
    "asphalt": "street", "facade": "facade", "poster": "own", "paper": "paper", "book": "vivid",
    "keyboard": "own", "screen": "dark", "view": "own", "odd": "own", "sky": "own",
}


@dataclass(frozen=True, slots=True)
class Finish:
    """One way a surface may be: texture kind, ranges of contrast, of repetitions per meter, gloss.

    ``palette`` is of PALETTES; "" is the one of the texture kind.
    """

    kind: str
    contrast: tuple[float, float] = (0.0, 0.12)
    scale: tuple[float, float] = (0.4, 1.2)
    gloss: tuple[float, float] = (0.0, 0.05)
    palette: str = ""


_WOOD = Finish("wood", (0.4, 1.0), (0.5, 1.5), (0.0, 0.15))
_PAINTED = Finish("door", (0.0, 0.1), (0.3, 1.0), (0.0, 0.15))
SURFACES: dict[str, tuple[Finish, ...]] = {
    "wall": (Finish("wall", (0.0, 0.12)),) * 4 + (Finish("concrete", (0.02, 0.2)),),
    "ceiling": (Finish("wall", (0.0, 0.05), palette="paper"),),
    "floor": (Finish("plank", (0.6, 1.0), (0.8, 1.8), (0.0, 0.15)),
              Finish("plank", (0.6, 1.0), (0.8, 1.8), (0.0, 0.15)),
              Finish("carpet", (0.1, 0.5), (0.8, 2.0)), Finish("carpet", (0.1, 0.5), (0.8, 2.0)),
              Finish("tile", (0.2, 0.8), (0.4, 0.9), (0.0, 0.2)),
              Finish("concrete", (0.1, 0.5), (0.3, 0.8))),
    "wood": (_WOOD, _WOOD, _PAINTED), "desk": (_PAINTED, _PAINTED, _WOOD),
    "painted": (_PAINTED,),
    "fabric": (Finish("fabric", (0.0, 0.25), (0.8, 3.0)), Finish("carpet", (0.05, 0.3), (1, 3))),
    "metal": (Finish("metal", (0.0, 0.2), (0.4, 1.5), (0.1, 0.6)),),
    "plastic": (Finish("book", (0.0, 0.04), (1.0, 3.0), (0.05, 0.4)),),
    "dark": (Finish("screen", (0.0, 0.0), (1.0, 1.0), (0.05, 0.5)),),
    "screen": (Finish("screen", (0.8, 1.0), (1.0, 1.0), palette="own"),),
    "paper": (Finish("paper", (0.3, 1.0), (1.0, 3.0)),),
    "poster": (Finish("poster", (0.6, 1.0), (0.5, 1.5), (0.0, 0.2), "own"),),
    "book": (Finish("book", (0.2, 1.0), (2.0, 5.0), (0.0, 0.2)),),
    "keyboard": (Finish("keyboard", (0.9, 1.0), palette="own"),),
    "ribs": (Finish("ribs", (0.5, 1.0), (0.8, 2.0), palette="furniture"),),
    "door": (Finish("door", (0.0, 0.6), (0.4, 1.0), (0.0, 0.15)), _WOOD),
    "leaf": (Finish("leaf", (0.5, 1.0), (0.8, 3.0)),),
    "stone": (Finish("stone", (0.2, 0.8), (0.4, 1.5)), Finish("concrete", (0.1, 0.5))),
    "concrete": (Finish("concrete", (0.1, 0.5), (0.2, 0.6)),),
    "asphalt": (Finish("asphalt", (0.3, 0.8), (0.1, 0.4)),),
    "pavement": (Finish("tile", (0.2, 0.6), (0.3, 0.8)), Finish("concrete", (0.2, 0.6)),
                 Finish("asphalt", (0.2, 0.6), (0.2, 0.5))),
    "grass": (Finish("grass", (0.6, 1.0), (0.15, 0.5)),),
    "ground": (Finish("ground", (0.4, 1.0), (0.15, 0.5)), Finish("grass", (0.6, 1.0), (0.2, 0.5))),
    "facade": (Finish("facade", (0.9, 1.0), (0.095, 0.13)),),
    "house": (Finish("wall", (0.0, 0.3), (0.2, 0.5), palette="facade"),
              Finish("brick", (0.5, 1.0), (0.4, 0.9))),
    "roof": (Finish("ribs", (0.4, 1.0), (0.5, 1.2), palette="roof"),
             Finish("tile", (0.4, 1.0), (0.5, 1.2), palette="roof")),
    "car": (Finish("metal", (0.0, 0.05), (0.3, 0.6), (0.2, 0.8)),),
    "glass": (Finish("screen", (0.0, 0.0), (1.0, 1.0), (0.3, 0.9), "dark"),),
    "skin": (Finish("stone", (0.0, 0.0), palette="skin"),),
    "mark": (Finish("asphalt", (0.1, 0.5), (0.3, 0.6), palette="paper"),),
    "lamp": (Finish("wall", (0.0, 0.0), palette="paper"),),
    "view": (Finish("view", (0.8, 1.0)),),
    "sky": (Finish("sky", (0.7, 1.0)),),
}
TEXTURED_SURFACES: dict[str, tuple[Finish, ...]] = {  # more choices where a scene is textured
    "wall": (Finish("brick", (0.3, 1.0), (0.5, 1.2)), Finish("tile", (0.3, 1.0), (0.5, 1.2)),
             Finish("fabric", (0.15, 0.6), (0.4, 1.0), palette="wall"),  # wallpaper
             Finish("stone", (0.2, 0.8), (0.4, 1.0))),
}
PALETTES["skin"] = {"beige": 2, "brown": 1}
_FITTED = ("poster", "paper", "book", "keyboard", "screen", "view", "sky", "lamp", "leaf")


def color(palette: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a linear tint (3,) from a palette."""
    weights = PALETTES[palette]
    share = np.fromiter(weights.values(), float)
    name = list(weights)[int(np.searchsorted(np.cumsum(share), rng.random() * share.sum()))]
    tint = np.array(COLORS[name]) * rng.uniform(0.75, 1.15)
    if name == "vivid":
        hue = rng.random(3)
        hue = (hue - hue.min()) / (np.ptp(hue) + 1e-6)
        floor = rng.uniform(0.05, 0.7)
        return np.asarray(tint * (floor + (1 - floor) * hue**1.5) * rng.uniform(0.4, 1.3))
    return np.asarray(tint * (1 + rng.uniform(-0.05, 0.05, 3)))


class Palette:
    """Draws materials for the surfaces of one scene, in the scene's style."""

    def __init__(self, textures: Textures, style: int, rng: np.random.Generator) -> None:
        self.textures, self.style, self.rng = textures, style, rng

    def material(self, surface: str) -> dict[str, Any]:
        """Return texture, tint, contrast, scale and more, as ``primitives.primitive`` takes them.

        ``surface`` is of SURFACES; what follows a colon tells apart two of the same thing.
        """
        surface = surface.split(":")[0]
        if self.style == WILD:
            return self._wild(surface)
        rng = self.rng
        more = TEXTURED_SURFACES.get(surface, ()) if self.style == TEXTURED else ()
        choices = SURFACES[surface] + more
        finish = choices[int(rng.integers(len(choices)))]
        low, high = finish.contrast
        if self.style == PLAIN:
            contrast = low + (high - low) * rng.random() ** 1.5
        else:
            contrast = low + (max(high, 0.7 if 0 < high < 0.5 else high) - low) * rng.random()
        near, far = finish.scale
        return {
            "textures": (self.textures.pick(finish.kind, rng),),
            "tint": tuple(color(finish.palette or KIND_PALETTES[finish.kind], rng)),
            "contrast": float(contrast),
            "scale": float(near * (far / near) ** rng.random()),
            "gloss": float(rng.uniform(*finish.gloss)),
            "macro": float(rng.uniform(0.0, 0.15 if self.style == PLAIN else 0.4)),
            "offset": tuple(rng.random(2)),
        }

    def _wild(self, surface: str) -> dict[str, Any]:
        """Anything goes: most surfaces wear the texture of something else."""
        rng = self.rng
        is_own = surface == "sky" or (surface in _FITTED and rng.random() < 0.7)
        kind = SURFACES[surface][0].kind
        if is_own or rng.random() < 0.2:
            texture = self.textures.pick(kind, rng)
        else:
            texture = self.textures.pick_any(rng)
        tint = rng.uniform(0.45, 1.0) * (1 + rng.uniform(-0.25, 0.25, 3))
        return {
            "textures": (texture,),
            "tint": tuple(np.clip(tint, 0.05, 1.0)),
            "contrast": float(rng.uniform(0.3, 1.0)),
            "scale": float(np.exp(rng.uniform(np.log(0.3), np.log(1.5)))),
            "gloss": float(rng.uniform(0, 0.2)),
            "macro": float(rng.uniform(0.1, 0.7)),
            "offset": tuple(rng.random(2)),
        }
