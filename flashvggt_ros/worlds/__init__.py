"""Worlds with known answers: NumPy places, walks, and a predictor that tells the truth.

The world frame is z up. Everything is analytic and a function of its seed.
"""

from flashvggt_ros.worlds.cameras import PINHOLE, R_WORLD_FORWARD, look
from flashvggt_ros.worlds.held_bytes import held_bytes
from flashvggt_ros.worlds.room import Room
from flashvggt_ros.worlds.truth_predictor import TruthCache, TruthPredictor, signature
from flashvggt_ros.worlds.world import World, make_world, walk

__all__ = [
    "PINHOLE",
    "R_WORLD_FORWARD",
    "Room",
    "TruthCache",
    "TruthPredictor",
    "World",
    "held_bytes",
    "look",
    "make_world",
    "signature",
    "walk",
]
