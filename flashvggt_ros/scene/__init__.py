"""Endless synthetic scenes: boxes, ellipsoids and cylinders with textures, ray-cast exactly."""

from flashvggt_ros.scene.layout import PLACES
from flashvggt_ros.scene.scene import Scene
from flashvggt_ros.scene.textures import Textures
from flashvggt_ros.scene.trajectory import MOTIONS

__all__ = ["MOTIONS", "PLACES", "Scene", "Textures"]
