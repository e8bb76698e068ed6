"""The last keyframes, the corners seen in them, and where both lie in space so far."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from flashvggt_ros.geometry import se3
from flashvggt_ros.geometry.camera import Pinhole
from flashvggt_ros.mapping.feature_tracks import Pixels, follow
from flashvggt_ros.mapping.tracked_frame import TrackedFrame

Array = NDArray[np.float64]
Index = NDArray[np.int64]
LEAST_TO_TURN = 8  # corners
LEAST_DEPTH = 1e-6  # of a track in front of a camera [window units]
OCCLUSION = 0.25  # difference of log depth beyond which a corner is hidden by something else
RELINK_DISTANCE = 6.0  # from where geometry expects a corner to where it is found again [px]
LEAST_TO_RELINK = 4  # corners lost since the same frame: looking for fewer takes as long as for ten
MOST_SEEN = 1.5  # sightings of a frame, relinked ones among them, per corner that it shall have
TURNED = 1e-5  # change of a rotation that is found [rad]


class TrackingWindow:
    """K frames in order of arrival with poses, and M tracks: points on the rays of corners.

    ``T_window_camera`` (K, 4, 4); ``T_before_camera`` (K, 4, 4), the model's motion from the frame
    before; ``log_scale`` (K,) of the true depth over the model's; ``log_scale_prior`` (K,), what it
    is expected to be; ``disagreement`` (K,), by how much corners were found away from where depth
    and poses let expect them, in the middle [rad], NaN where none was followed.

    A track lies at ``log_depth`` (M,) in its frame ``anchor`` (M,), where its corner is at
    ``anchor_pixel`` (M, 2).
    """

    def __init__(self, corners: int) -> None:
        """``corners``: how many of them each frame shall have."""
        self._corners = corners
        self.frames: list[TrackedFrame] = []
        self.T_window_camera = np.zeros((0, 4, 4))
        self.T_before_camera = np.zeros((0, 4, 4))
        self.log_scale = np.zeros(0)
        self.log_scale_prior = np.zeros(0)
        self.disagreement = np.zeros(0)
        self.anchor = np.zeros(0, np.int64)
        self.anchor_pixel = np.zeros((0, 2))
        self.log_depth = np.zeros(0)

    @property
    def intrinsics(self) -> Array:
        """fx, fy, cx, cy (K, 4) [px]."""
        rows = [(f.pinhole.fx, f.pinhole.fy, f.pinhole.cx, f.pinhole.cy) for f in self.frames]
        return np.array(rows, np.float64).reshape(-1, 4)

    @property
    def shape(self) -> tuple[int, ...]:
        """Height and width of the newest image [px]."""
        return self.frames[-1].log_depth.shape

    def log_depths(self, first: int) -> NDArray[np.float32]:
        """Log depth images of the frames from ``first`` on, corrected by their scales."""
        scales = self.log_scale[first:].astype(np.float32)
        images = np.stack([frame.log_depth for frame in self.frames[first:]])
        corrected: NDArray[np.float32] = images + scales[:, None, None]
        return corrected

    def add(self, frame: TrackedFrame, T_before_camera: Array, log_scale: float) -> None:
        """Add a frame, follow the corners of its camera's frame before into it and find new ones.

        The first pose is ``T_before_camera``; later ones follow from it and the pose before. Then
        the frame is turned until most corners lie where they are expected.
        """
        newest = len(self.frames)
        T = self.T_window_camera[-1] @ T_before_camera if newest else T_before_camera
        self.frames.append(frame)
        self.T_window_camera = np.concatenate([self.T_window_camera, T[None]])
        self.T_before_camera = np.concatenate([self.T_before_camera, T_before_camera[None]])
        self.log_scale = np.append(self.log_scale, log_scale)
        self.log_scale_prior = np.append(self.log_scale_prior, log_scale)
        self.disagreement = np.append(self.disagreement, np.nan)
        for number in range(newest - 1, -1, -1):
            if self._can_follow(number, newest):
                self._follow(number, newest)
                break
        self._add_corners(newest)

    def move(self, T_new_window: Array) -> None:
        """Express everything in another frame.

        Rotations are made orthonormal: to move by the inverse of one of them, as each submap does,
        would double what they are off, until after fifty submaps nothing was left of them.
        """
        self.T_window_camera = se3.orthonormal(T_new_window @ self.T_window_camera)

    def scale_focal(self, factor: float) -> None:
        """Multiply the focal lengths of all frames."""
        self.frames = [
            replace(f, pinhole=replace(
                f.pinhole, fx=f.pinhole.fx * factor, fy=f.pinhole.fy * factor
            ))
            for f in self.frames
        ]  # fmt: skip

    def relink(self, first: int) -> None:
        """Look in the frames from ``first`` on for tracks that were lost before, by geometry.

        Of more tracks than a frame may see, those are looked for that were seen most often. Where a
        camera comes back again and again, its corners become tracks anew each time, and all of them
        would be kept alive.
        """
        sees = np.zeros((len(self.frames), len(self.anchor)), bool)
        for number, frame in enumerate(self.frames):
            sees[number, frame.seen.track] = True
        is_placed = sees.sum(axis=0) >= 2
        for target in range(max(first, 1), len(self.frames)):
            before = sees[:target]
            tracks = np.flatnonzero(is_placed & ~sees[target] & before.any(axis=0))
            latest = target - 1 - np.argmax(before[::-1, tracks], axis=0)
            tracks, latest, guesses = self._visible(tracks, latest, target)
            room = max(0, int(MOST_SEEN * self._corners) - int(sees[target].sum()))
            if len(tracks) > room:
                often = np.argsort(-before[:, tracks].sum(axis=0), kind="stable")[:room]
                tracks, latest, guesses = tracks[often], latest[often], guesses[often]
            for source in np.flatnonzero(np.bincount(latest) >= LEAST_TO_RELINK).tolist():
                mine = latest == source
                found = self._relinked(source, target, tracks[mine], guesses[mine])
                sees[target, found] = True

    def project(self, tracks: Index, number: int) -> tuple[Pixels, Array]:
        """Where tracks (M,) lie in a frame: pixels (M, 2) and depth (M,), NaN behind it."""
        anchors, intrinsics = self.anchor[tracks], self.intrinsics
        at = intrinsics[anchors]
        bearing = np.ones((len(tracks), 3))
        bearing[:, :2] = (self.anchor_pixel[tracks] - at[:, 2:]) / at[:, :2]
        points = bearing * np.exp(self.log_depth[tracks])[:, None]
        T_frame_anchor = se3.inverse(self.T_window_camera[number]) @ self.T_window_camera[anchors]
        points = se3.transform_points(T_frame_anchor, points[:, None])[:, 0]
        depth = np.where(points[:, 2] > LEAST_DEPTH, points[:, 2], np.nan)
        f, c = intrinsics[number, :2], intrinsics[number, 2:]
        return points[:, :2] / depth[:, None] * f + c, depth

    def forget(self, count: int) -> None:
        """Drop the oldest ``count`` frames; tracks from there begin at their next sighting."""
        for number in range(count, len(self.frames)):
            seen = self.frames[number].seen
            seen = seen.chosen(self.anchor[seen.track] < count)
            depth = self.project(seen.track, number)[1]
            is_placed = np.isfinite(depth)
            tracks = seen.track[is_placed]
            self.anchor[tracks] = number
            self.anchor_pixel[tracks] = seen.pixel[is_placed]
            self.log_depth[tracks] = np.log(depth[is_placed])
        self._keep(slice(count, None), self.anchor >= count)
        self.anchor -= count

    def cut(self, count: int) -> None:
        """Drop the frames after the first ``count``."""
        self._keep(slice(0, count), self.anchor < count)

    def _keep(self, frames: slice, tracks: NDArray[np.bool_]) -> None:
        renumbered = np.cumsum(tracks) - 1
        kept = self.frames[frames]
        self.frames = []
        for frame in kept:
            seen = frame.seen.chosen(tracks[frame.seen.track])
            seen = replace(seen, track=renumbered[seen.track])
            self.frames.append(replace(frame, seen=seen))
        self.T_window_camera = self.T_window_camera[frames].copy()
        self.T_before_camera = self.T_before_camera[frames].copy()
        self.log_scale = self.log_scale[frames].copy()
        self.log_scale_prior = self.log_scale_prior[frames].copy()
        self.disagreement = self.disagreement[frames].copy()
        self.anchor, self.anchor_pixel = self.anchor[tracks], self.anchor_pixel[tracks]
        self.log_depth = self.log_depth[tracks]

    def restart_tracks(self, first: int) -> None:
        """Forget what was seen of older tracks in the frames from ``first`` on."""
        for number in range(first, len(self.frames)):
            frame = self.frames[number]
            seen = frame.seen.chosen(self.anchor[frame.seen.track] == number)
            self.frames[number] = replace(frame, seen=seen)

    def _can_follow(self, source: int, target: int) -> bool:
        a, b = self.frames[source], self.frames[target]
        return a.stamp.camera == b.stamp.camera and a.image.fine.shape == b.image.fine.shape

    def _follow(self, source: int, target: int) -> None:
        start, end = self.frames[source], self.frames[target]
        tracks, places = start.seen.track, start.seen.pixel.copy()
        is_found = np.zeros(len(tracks), bool)
        for _ in range(2):  # again from better guesses, for those that were not found
            guesses, _ = self.project(tracks, target)
            missing = np.flatnonzero(~is_found)
            places[missing], is_found[missing] = follow(
                start.image, end.image, start.seen.pixel[missing], guesses[missing]
            )
            if is_found.sum() < LEAST_TO_TURN:
                break
            if np.isnan(self.disagreement[target]):
                offsets = np.linalg.norm(places[is_found] - guesses[is_found], axis=1)
                self.disagreement[target] = float(np.median(offsets)) / end.pinhole.fx
            turn = _turn(end.pinhole, guesses[is_found], places[is_found])
            self.T_window_camera[target, :3, :3] @= turn.T
        self.frames[target] = replace(end, seen=end.sample(tracks[is_found], places[is_found]))

    def _add_corners(self, number: int) -> None:
        frame = self.frames[number]
        known = frame.seen.pixel
        corners = frame.image.new_corners(known, self._corners - len(known))
        first = len(self.anchor)
        found = frame.sample(np.arange(first, first + len(corners)), corners)
        found = found.chosen(np.isfinite(found.log_depth))
        found = replace(found, track=first + np.arange(len(found.track)))
        self.anchor = np.append(self.anchor, np.full(len(found.track), number))
        self.anchor_pixel = np.concatenate([self.anchor_pixel, found.pixel])
        self.log_depth = np.append(self.log_depth, found.log_depth + self.log_scale[number])
        self.frames[number] = replace(frame, seen=frame.seen.joined(found))

    def _visible(
        self, tracks: Index, latest: Index, target: int
    ) -> tuple[Index, Index, Pixels]:
        """Those of the tracks that should be seen in a frame, and where."""
        frame = self.frames[target]
        guesses, depth = self.project(tracks, target)
        is_visible = frame.image.contains(guesses)
        tracks, latest, guesses = tracks[is_visible], latest[is_visible], guesses[is_visible]
        expected = frame.sample(tracks, guesses).log_depth + self.log_scale[target]
        is_visible = np.abs(np.log(depth[is_visible]) - expected) < OCCLUSION
        return tracks[is_visible], latest[is_visible], guesses[is_visible]

    def _relinked(self, source: int, target: int, tracks: Index, guesses: Pixels) -> Index:
        """Add the sightings of tracks that are found again; return those tracks."""
        if not self._can_follow(source, target):
            return tracks[:0]
        start, end = self.frames[source], self.frames[target]
        order = np.argsort(start.seen.track)
        rows = order[np.searchsorted(start.seen.track[order], tracks)]
        places, is_found = follow(start.image, end.image, start.seen.pixel[rows], guesses)
        is_found &= np.linalg.norm(places - guesses, axis=1) < RELINK_DISTANCE
        found = end.sample(tracks[is_found], places[is_found])
        self.frames[target] = replace(end, seen=end.seen.joined(found))
        return found.track


def _turn(pinhole: Pinhole, guesses: Pixels, places: Pixels) -> Array:
    """Return the rotation (3, 3) of rays that takes most guesses (M, 2) to their places (M, 2).

    By iteratively reweighted least squares of the image motion of small rotations (Longuet-Higgins
    and Prazdny, Proc. R. Soc. 1980), with Cauchy's weights at the median residual.
    """
    f, c = np.array([pinhole.fx, pinhole.fy]), np.array([pinhole.cx, pinhole.cy])
    start, end = (guesses - c) / f, (places - c) / f
    x, y = start.T
    J = np.stack([-x * y, 1 + x**2, -y, -1 - y**2, x * y, x], axis=1).reshape(-1, 2, 3)
    turn = np.zeros(3)
    for _ in range(8):
        residuals = end - start - J @ turn
        distances = np.linalg.norm(residuals, axis=1)
        weights = 1 / (1 + (distances / max(float(np.median(distances)), 1e-4)) ** 2)
        rows = (J * weights[:, None, None]).reshape(-1, 3)
        change = np.linalg.lstsq(rows.T @ J.reshape(-1, 3), rows.T @ residuals.ravel())[0]
        turn += change
        if np.abs(change).max() < TURNED:
            break
    rotation: Array = Rotation.from_rotvec(turn).as_matrix()
    return rotation
