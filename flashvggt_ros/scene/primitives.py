"""The one record a scene is made of: a textured convex primitive as a row of floats.

A primitive is a box, an ellipsoid or a cylinder (axis along local z), placed by a rotation, a
center and three half sizes. In its unit frame it is the cube [-1, 1]^3, the unit sphere or the
unit cylinder. All three are convex, so that a ray meets it in one interval [near, far]; seen from
inside, the far end is what the eye sees, which makes every room a box.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BOX, ELLIPSOID, CYLINDER, ABSENT = 0.0, 1.0, 2.0, 3.0

ROW = 32
MATRIX = slice(0, 12)  # unit-from-world, 3x4 row-major
HALF = slice(12, 15)  # half sizes [m]
KIND = 15
TEXTURE = slice(16, 22)  # texture of the faces -x +x -y +y -z +z
SCALE = 22  # texture repetitions per meter; negative: that many over the whole face
TINT = slice(23, 26)  # linear color that multiplies the texture
CONTRAST = 26  # 0: plain color, 1: the texture in full
EMISSION = 27  # 0: lit by the lights, 1: shines by itself
MACRO = 28  # strength of the slow brightness changes over large faces
OFFSET = slice(29, 31)  # texture offset [repetitions]
GLOSS = 31  # strength of the highlight

LIGHTS = 20  # [x y z, r g b, k] twice, ambient r g b, shadow strength, style, 1 unused
STYLE = 18  # index in the lights: materials.WILD, PLAIN or TEXTURED


def rotation_z(angle: float) -> NDArray[np.float64]:
    """Rotation (3, 3) about z by ``angle`` [rad]."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def primitive(
    kind: float,
    center: NDArray[np.float64],
    half: NDArray[np.float64],
    R_world_local: NDArray[np.float64],
    *,
    textures: tuple[int, ...],
    scale: float = 0.5,
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0),
    contrast: float = 1.0,
    emission: float = 0.0,
    macro: float = 0.3,
    offset: tuple[float, float] = (0.0, 0.0),
    gloss: float = 0.0,
) -> NDArray[np.float32]:
    """Return the row (ROW,) of one primitive; ``textures`` has one entry, or one per face (6)."""
    row = np.zeros(ROW, np.float32)
    linear = (R_world_local / half).T  # diag(1 / half) R^T
    row[MATRIX] = np.concatenate([linear, -(linear @ center)[:, None]], axis=1).ravel()
    row[HALF] = half
    row[KIND] = kind
    row[TEXTURE] = textures * 6 if len(textures) == 1 else textures
    row[SCALE] = scale
    row[TINT] = tint
    row[CONTRAST] = contrast
    row[EMISSION] = emission
    row[MACRO] = macro
    row[OFFSET] = offset
    row[GLOSS] = gloss
    return row


def absent() -> NDArray[np.float32]:
    """Return a row that no ray meets."""
    row = np.zeros(ROW, np.float32)
    row[[0, 5, 10]] = 1.0
    row[HALF] = 1.0
    row[KIND] = ABSENT
    return row
