"""Worlds with known answers: NumPy places, walks, and a predictor that tells the truth.

The world frame is z up. Everything is analytic and a function of its seed.
"""

from flashvggt_ros.worlds.cameras import PINHOLE, R_WORLD_FORWARD, look
from flashvggt_ros.worlds.corridor_ring import corridor_ring, corridor_world
from flashvggt_ros.worlds.covisibility import covisibility
from flashvggt_ros.worlds.furnished_room import busy_room, furnished_room, long_walk, roaming
from flashvggt_ros.worlds.held_bytes import held_bytes
from flashvggt_ros.worlds.house import TrueGrid, house, house_world, true_grid
from flashvggt_ros.worlds.lookalike_rooms import Lookalikes, lookalike_rooms, lookalike_world
from flashvggt_ros.worlds.paths import drive, mount
from flashvggt_ros.worlds.prediction_errors import Drift
from flashvggt_ros.worlds.room import Room
from flashvggt_ros.worlds.scenery import Box, Mover, MovingScenery, Place, Scenery
from flashvggt_ros.worlds.truth_predictor import TruthCache, TruthPredictor, signature
from flashvggt_ros.worlds.truth_robot import OdometryErrors, TruthRobot
from flashvggt_ros.worlds.world import StreamedWorld, World, make_world, photograph, walk

__all__ = [
    "PINHOLE",
    "R_WORLD_FORWARD",
    "Box",
    "Drift",
    "Lookalikes",
    "Mover",
    "MovingScenery",
    "OdometryErrors",
    "Place",
    "Room",
    "Scenery",
    "StreamedWorld",
    "TrueGrid",
    "TruthCache",
    "TruthPredictor",
    "TruthRobot",
    "World",
    "busy_room",
    "corridor_ring",
    "corridor_world",
    "covisibility",
    "drive",
    "furnished_room",
    "held_bytes",
    "house",
    "house_world",
    "long_walk",
    "look",
    "lookalike_rooms",
    "lookalike_world",
    "make_world",
    "mount",
    "photograph",
    "roaming",
    "signature",
    "true_grid",
    "walk",
]
