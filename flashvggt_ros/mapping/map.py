"""The map: submaps, where each of them lies, and what they show together."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flashvggt_ros.config import Config
from flashvggt_ros.frame import Chunk, ChunkPrediction, Frame, MapUpdate
from flashvggt_ros.geometry.sim3 import Sim3
from flashvggt_ros.mapping.chunk_cloud import chunk_update, voxels_camera
from flashvggt_ros.mapping.coverage import merge_covered
from flashvggt_ros.mapping.free_space import carve_clouds
from flashvggt_ros.mapping.gravity import UpDirection
from flashvggt_ros.mapping.keyframe import keyframes_of
from flashvggt_ros.mapping.localization import KEPT, InitialPose
from flashvggt_ros.mapping.loop_closure import VerifiedLoop
from flashvggt_ros.mapping.map_drawing import MapDrawing
from flashvggt_ros.mapping.map_grid import recent_obstacles
from flashvggt_ros.mapping.map_snapshot import MapSnapshot
from flashvggt_ros.mapping.metric_scale import ScaleEstimate
from flashvggt_ros.mapping.occupancy_grid import Grid
from flashvggt_ros.mapping.overlap_search import OverlapSearch
from flashvggt_ros.mapping.submap import Submap
from flashvggt_ros.mapping.submap_layout import SubmapLayout
from flashvggt_ros.mapping.submap_measurements import SubmapMeasurements
from flashvggt_ros.mapping.trails import Trails, Trajectory, paths
from flashvggt_ros.robot import RobotState

logger = logging.getLogger(__name__)


class Map:
    """A chain of submaps; the last one is live and grows, the others are closed.

    The map frame is that of REP-103: z up, with its origin where the first camera was, or the
    robot's base, if it is known where the camera sits on it. ``layout`` says where submaps lie.
    Closed submaps keep poses, a voxelized cloud and small keyframes; one that newer ones show as
    well is merged into one that it is joined to, and only its path is kept: memory and time grow
    with the space seen. Submaps keep their numbers, so there are gaps. ``version`` changes with the
    map.

    It may go on from a ``loaded`` map, which stays where it is. ``is_localized`` says whether it is
    known where new submaps lie in that; until then they are no part of the map. With mode
    ``localization`` they never are, and all but the last few are ``forgotten``, so many so far.
    """

    def __init__(self, config: Config, loaded: MapSnapshot | None = None) -> None:
        self._config = config
        self._loaded_map = loaded = loaded or MapSnapshot.empty()
        self._loaded = loaded.end
        self._trails = Trails(loaded.trails)
        self.layout = SubmapLayout(config, loaded)
        self.live = Submap(
            self._loaded, config.chunk.overlap, (),
            Sim3(config.scale.fixed, np.eye(3), np.zeros(3)),
        )
        self._submaps = [*(submap.as_closed(1.0) for submap in loaded.submaps), self.live]
        self.is_localized = self.live.is_joined = not loaded.submaps
        self.forgotten = 0
        self._root = self._known = self._loaded
        self._initial_pose: InitialPose | None = None
        self._measurements = SubmapMeasurements(config)
        self._drawing = MapDrawing(config)
        self._overlaps = OverlapSearch(config.loop)
        self._grounds = loaded.grounds.copy(self._loaded)
        self.version = 1 if self._loaded else 0

    @property
    def submaps(self) -> tuple[Submap, ...]:
        """All submaps that were not merged, in order of their numbers; the last one is live."""
        return tuple(self._submaps)

    @property
    def scale(self) -> float:
        """Meters per unit of the live submap."""
        return self.live.S_map_submap.scale

    @property
    def frames(self) -> int:
        """How many keyframes have a pose."""
        own = sum(submap.frames - submap.shared for submap in self._submaps)
        return own + self._trails.frames

    def integrate(
        self, chunk: Chunk, prediction: ChunkPrediction, states: Sequence[RobotState],
        rig_scale: ScaleEstimate | None = None,
    ) -> MapUpdate:
        """Add a chunk, and what model and robot say of it, to the live submap.

        ``rig_scale``: what the baselines of the robot's cameras say of the live submap's unit.
        Raises ValueError when the prediction is not about this chunk; the map is then unchanged.
        Whatever else is raised, nothing of the chunk is left in the live submap.
        """
        before = self.live.copy()
        try:
            return self._integrate(chunk, prediction, states, rig_scale)
        except Exception:
            self.live = self._submaps[-1] = before
            raise

    def _integrate(
        self, chunk: Chunk, prediction: ChunkPrediction, states: Sequence[RobotState],
        rig_scale: ScaleEstimate | None,
    ) -> MapUpdate:
        live = self.live
        is_first = live.frames == 0
        live.extend(chunk.frames, prediction, states)
        new = range(live.shared if is_first else 0, len(chunk.frames))
        keyframes = keyframes_of(chunk.frames, prediction, self._config.keyframe.min_confidence)
        live.add_keyframes(tuple(keyframes)[new.start :])
        self._measurements.add(prediction, states, rig_scale)
        if live.index == self._loaded:  # the only one whose tilt all else hangs on
            self._measurements.look_for_ground(live)
        self._grounds.measure(live, self._measurements.ground)
        self._place(self._measurements.up(live), is_first)
        self._settle(is_due=live.index == self._loaded)
        clouds = [
            voxels_camera(prediction, number, self._config.map, self.scale) for number in new
        ]
        live.add_points(clouds)
        self.version += 1
        return chunk_update(live, clouds, live.index)

    def open_submap(self) -> tuple[Frame, ...]:
        """Close the live submap and begin another; return the keyframes it is to begin with.

        They are the last ``chunk.overlap`` of the closed submap. A live submap that is still empty
        (its first prediction failed) is begun anew with the same keyframes.
        """
        live = self.live
        if live.frames > live.shared:
            before = live.last_views()
            self._measurements.look_for_ground(live)
            self._grounds.measure(live, self._measurements.ground)
            self._settle(is_due=True)
            live.keep_points(carve_clouds(live, self._config.map.voxel_size))
            live.close(self._config.map.voxel_size / self.scale)
            if not self.is_extended:
                self._forget()
            elif self.is_localized:
                self._merge_covered()
            self.version += 1
            index = live.index + 1
        else:
            before, index = live.before, live.index
            self._submaps.pop()
        self._measurements = SubmapMeasurements(self._config)
        self.live = Submap(index, self._config.chunk.overlap, before, live.S_map_submap)
        self._submaps.append(self.live)
        if index == live.index:
            self.live.is_joined = live.is_joined
        return tuple(view.frame for view in before)

    def close_loops(self, loops: Sequence[VerifiedLoop]) -> None:
        """Let places that were seen again move the submaps, or tell where these are in the map."""
        if not loops:
            return
        self.version += 1
        known = [loop for loop in loops if loop.match < self._known]
        if known and not self.is_localized:
            self.layout.snap(known[0], self._submaps, max(self._root, self._loaded))
        believed = self.layout.add_loops(loops, self._submaps)
        if not self.is_localized and any(loop in known for loop in believed):
            self.is_localized = self.live.is_joined = True
            logger.info("localized: submap %d of the map shows the same", known[0].match)

    def tie_overlaps(self) -> None:
        """Let closed submaps that show the same surfaces hold each other in place."""
        if not (self.is_extended and self.is_localized):
            return
        overlaps = self._overlaps.find(self._submaps[:-1], self.layout.graph)
        if overlaps:
            self.version += 1
            self.layout.add_overlaps(overlaps, self._submaps)

    def begin_at(self, initial: InitialPose) -> None:
        """Let the live submap, still empty, begin where someone says that the robot is.

        It is joined to none before. Raises ValueError where no map is loaded.
        """
        if not self._loaded or self.live.frames:
            raise ValueError("an initial pose needs a loaded map, and a submap that begins")
        if self.is_localized:
            self._known = self.live.index if self.is_extended else self._loaded
        self._root, self._initial_pose = self.live.index, initial
        self.live.before = ()
        self.is_localized = self.live.is_joined = False

    def snapshot(self) -> MapSnapshot:
        """Return the map as it is; what happens to the live submap later does not change it."""
        if self._shown is not self._submaps and self._known == self._loaded:
            return self._loaded_map
        *submaps, live = self._shown
        if live.frames > live.shared:
            submaps.append(live.as_closed(self._config.map.voxel_size / self.scale))
        layout, end = self.layout, max((submap.index + 1 for submap in submaps), default=0)
        return MapSnapshot(
            tuple(submaps), self._trails.before(end), layout.graph_of(submaps),
            self._grounds.copy(end), layout.scale_estimate, layout.up, layout.loops,
        )

    def trajectory(self) -> Trajectory:
        """Return the poses of all keyframes so far; they supersede those returned earlier.

        Those of a loaded map are not among them.
        """
        trails = self._trails.before(self.live.index)
        own = [*paths(self._submaps, trails, self._loaded)]
        stamps = [stamp for path in own for stamp in path.frames]
        return Trajectory(tuple(stamps), np.concatenate([path.T_map_camera for path in own]))

    def cloud(self) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return the whole map: points (M, 3) float32 [m] and colors (M, 3) uint8 RGB.

        One point per voxel of ``map.voxel_size``; at most ``map.max_points``, evenly thinned.
        """
        cloud = self._drawing.cloud(self._shown, self._shown_version)
        return cloud.points, cloud.colors

    def why_no_grid(self) -> str:
        """Say what is missing for ``grid`` and ``obstacles``; empty if nothing is."""
        if not self.frames:
            return "nothing is mapped yet"
        if self.layout.scale_estimate is None and not self._config.publish_unscaled:
            return "the scale is not measured; publish_unscaled asks for a grid all the same"
        if self._ground_z() is None:
            return "the ground is not known: no base->camera, and no floor was found"
        return ""

    def grid(self) -> Grid | None:
        """Return the occupancy grid of the whole map; None where ``why_no_grid`` says why."""
        ground_z = None if self.why_no_grid() else self._ground_z()
        if ground_z is None:
            return None
        return self._drawing.grid(self._shown, ground_z, self._shown_version)

    def obstacles(self) -> NDArray[np.float32] | None:
        """Return points (M, 3) in the map [m] that the newest keyframes see in a robot's way.

        None where ``why_no_grid`` says why.
        """
        ground_z = None if self.why_no_grid() else self._grounds.heights(self._submaps)
        if ground_z is None or not self.is_localized:
            return None
        return recent_obstacles(self._submaps, ground_z, self._config.grid)

    @property
    def is_placed(self) -> bool:
        """Whether poses mean something in the map: it was found out, or someone said, where."""
        return self.is_localized or self._initial_pose is not None

    @property
    def is_extended(self) -> bool:
        """Whether new submaps become part of the map."""
        return not self._loaded or self._config.mode == "mapping"

    @property
    def _shown(self) -> list[Submap]:
        """Return the submaps that the map is made of; the last is live, or empty in its stead."""
        if self.is_localized and self.is_extended:
            return self._submaps
        known = [submap for submap in self._submaps if submap.index < self._known]
        return [*known, Submap(self._known, 0, (), Sim3.identity())]

    @property
    def _shown_version(self) -> tuple[int, int]:
        """Return what changes with the submaps that are shown."""
        return len(self._shown), self.version if self._shown is self._submaps else 0

    def _ground_z(self) -> dict[int, float] | None:
        """Height of the ground by number of the submaps that are shown; None: it is not known."""
        shown = self._shown
        grounds = self._grounds if shown is self._submaps else self._grounds.copy(self._known)
        return grounds.heights(shown)

    def _forget(self) -> None:
        """Let go of submaps that are no part of the map, but the last few."""
        own = [submap for submap in self._submaps if submap.index >= self._loaded]
        for submap in own[:-KEPT]:
            self.layout.forget(submap.index)
            self._grounds.forget(submap.index)
            self._submaps.remove(submap)
            self.forgotten += 1

    def _place(self, up: UpDirection | None, is_first: bool) -> None:
        """Put the live submap where its shared keyframes say; again as its poses improve."""
        live = self.live
        if live.index != self._root:
            self.layout.join(live, self._submaps[-2], is_first=is_first)
        elif self._initial_pose is None:
            if not (self._loaded and self.is_localized):
                self.layout.place_first(live, up)
        elif is_first:
            self.layout.place_at(live, self._initial_pose)

    def _settle(self, is_due: bool) -> None:
        """Let what is measured of the live submap move the map."""
        live, measured = self.live, self._measurements
        is_news = self.layout.measure(live, measured.scale(live), measured.up(live))
        self.layout.settle(self._submaps, is_due or is_news)

    def _merge_covered(self) -> None:
        """Let go of what closed submaps hold that newer ones show, whose loops are closed, too."""
        for submap in merge_covered(self._submaps[:-1], self.layout, self._trails):
            self._submaps.remove(submap)
            self._grounds.forget(submap.index)
