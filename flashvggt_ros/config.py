"""Every parameter of the system, declared once: name, default, unit, range and meaning.

ROS parameter descriptors, ``config/default.yaml``, command-line overrides and validation all come
from these frozen dataclasses. A nested section ``chunk`` with a field ``size`` is the parameter
``chunk.size``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flashvggt_ros.parameter import Parameter, ParameterValue, build, declared, param, read


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What the node accepts as an image, and how much of it may wait."""

    transports: tuple[str, ...] = param(
        ("auto",),
        "How each of image_topics is carried: auto (from the topic's type), raw or compressed; "
        "one entry for all, or one for each.",
        choices=("auto", "raw", "compressed"),
    )
    qos: str = param(
        "sensor_data",
        "Reliability asked of image publishers: sensor_data (best effort, matches every publisher) "
        "or reliable.",
        choices=("sensor_data", "reliable"),
    )
    camera_info_topics: tuple[str, ...] = param(
        (),
        "camera_info topic of each of image_topics; empty: the sibling 'camera_info' of each image "
        "topic.",
    )
    queue_size: int = param(
        32, "Images that may wait, of 128 MB in all; beyond it every second is dropped [frames].",
        low=2, high=1024,
    )
    max_megapixels: float = param(
        34.0, "Largest image accepted; larger headers are refused unread [megapixels].",
        low=0.01, high=200.0,
    )


@dataclass(frozen=True, slots=True)
class KeyframeConfig:
    """When an image shows enough that is new to be worth a place in the map."""

    min_motion: float = param(
        0.02, "Image motion, of the fastest quarter of the corners, since the last keyframe of the "
        "same camera that makes a new one [fraction of the image width].", low=0.0, high=0.5,
    )
    min_tracked: float = param(
        0.6, "A new keyframe is also made when fewer points than this can still be tracked "
        "[fraction].", low=0.0, high=1.0,
    )
    min_confidence: float = param(
        0.3, "Share of each keyframe's depth pixels, the least confident, by which nothing is "
        "aligned and no grid is drawn [fraction].", low=0.0, high=0.99,
    )


@dataclass(frozen=True, slots=True)
class ChunkConfig:
    """How keyframes are grouped for one call of the model."""

    size: int = param(8, "Keyframes per model call [frames].", low=2, high=64)
    overlap: int = param(
        2, "Keyframes that a new submap shares with the one before it [frames].", low=1, high=32
    )
    max_wait: float = param(
        2.0, "Longest time the first keyframe of a chunk waits for the chunk to fill [s].",
        low=0.05, high=60.0,
    )

    def __post_init__(self) -> None:
        if self.overlap >= self.size:
            raise ValueError(
                f"chunk.overlap ({self.overlap}) must be less than chunk.size ({self.size})"
            )


@dataclass(frozen=True, slots=True)
class PredictorConfig:
    """How the model runs."""

    dtype: str = param(
        "auto", "Arithmetic of the model: auto is bfloat16 on a GPU and on a CPU with AMX, int8 on "
        "another CPU that gains by it, else float32. bfloat16 is float16 on a GPU for "
        "flashvggt-mini, whose numbers fit. int8 is for CPUs: the model takes a quarter to two "
        "fifths less time, its depth changes by about 1 %.",
        choices=("auto", "float32", "bfloat16", "int8"),
    )
    width: int = param(
        0, "Width of landscape images as the model sees them; 0: the checkpoint's own [px].",
        low=0, high=2048,
    )
    use_camera_info: bool = param(
        True, "Take the field of view and distortion from camera_info where it is published; "
        "otherwise the model's own field of view is used."
    )
    max_cache_mb: float = param(
        2048.0, "Bound on the descriptor cache; a chunk that would exceed it begins a new submap "
        "[MB].", low=1.0, high=1.0e6,
    )
    evict: bool = param(
        False, "Let whole frames leave a cache that is full, instead of beginning a new submap."
    )
    memory_stride: int = param(
        1, "Keep the descriptors of every n-th frame for later chunks [frames].", low=1, high=64
    )
    seed: int = param(
        0, "Seed of the random weights that checkpoint 'untrained' makes.", low=0, high=2**31 - 1
    )


@dataclass(frozen=True, slots=True)
class BundleAdjustmentConfig:
    """How tracked corners correct the poses and scales of the model."""

    enabled: bool = param(
        True, "Track corners through the keyframes and adjust poses, scales and an unknown focal "
        "length to them."
    )
    corners: int = param(
        250, "Corners tracked in each keyframe; more cost time [corners].", low=30, high=2000
    )
    detail: int = param(
        2, "Corners are followed in images that are so many times as fine as the model's, as far "
        "as the camera's are [times].", low=1, high=8,
    )
    pixel_sigma: float = param(
        0.5, "Standard deviation of a tracked corner in the image that it is followed in [px].",
        low=0.05, high=10.0,
    )
    depth_sigma: float = param(
        0.15, "Standard deviation of the model's depth, after one scale for each image [fraction].",
        low=0.005, high=2.0,
    )


@dataclass(frozen=True, slots=True)
class RigConfig:
    """How several cameras, whose places on the robot are on TF, correct each other's poses."""

    enabled: bool = param(
        True, "Keep the cameras of one moment to each other as TF says that they sit."
    )
    rotation_sigma: float = param(
        0.003, "Standard deviation of how cameras are turned to each other on TF [rad].",
        low=1.0e-4, high=0.5,
    )
    translation_sigma: float = param(
        0.003, "Standard deviation of where cameras sit to each other on TF [m].",
        low=1.0e-4, high=1.0,
    )
    max_turn: float = param(
        0.15, "Angle by which images may steadily contradict TF on how two cameras are turned "
        "to each other; beyond it these two are no longer kept to TF [rad].", low=0.01, high=3.2,
    )


@dataclass(frozen=True, slots=True)
class SubmapConfig:
    """When a descriptor cache is closed and a fresh one continues.

    It is when any of these bounds is met: submap.max_frames, submap.min_shared_view, unless
    predictor.evict is set predictor.max_cache_mb, and in the node submap.max_rest.
    """

    max_frames: int = param(
        24, "Keyframes after which a new submap begins [frames].", low=4, high=100_000
    )
    min_shared_view: float = param(
        0.0, "A new submap also begins where the last chunk.overlap keyframes show less than this "
        "of what the first ones show; 0: whatever they show [fraction].", low=0.0, high=1.0,
    )
    max_rest: float = param(
        5.0, "Time without a keyframe after which the node closes a submap that has a chunk of its "
        "own, and looks for its loops; 0: never [s].", low=0.0, high=3600.0,
    )
    min_inliers: float = param(
        0.2, "Least share of shared pixels that must agree for two submaps to be joined "
        "[fraction].", low=0.0, high=1.0,
    )


@dataclass(frozen=True, slots=True)
class ScaleConfig:
    """Where meters come from."""

    source: str = param(
        "auto", "What the scale is measured with: odometry, camera_height, rig (baselines between "
        "cameras), depth (images of robot.depth_topics), auto (all that is there; camera_height "
        "only if it is set), or fixed (nothing).",
        choices=("auto", "odometry", "camera_height", "rig", "depth", "fixed"),
    )
    camera_height: float = param(
        0.0, "Height of the camera above the ground; 0: that of base->camera on TF [m].",
        low=0.0, high=100.0,
    )
    fixed: float = param(
        1.0, "Meters per unit of the model's first submap; not measured, so the map is not metric "
        "[m].", low=1.0e-4, high=1.0e4,
    )


@dataclass(frozen=True, slots=True)
class GravityConfig:
    """Which way is up."""

    source: str = param(
        "auto", "What says so: tf (z of the base), imu, ground (the floor seen), auto (the first "
        "of these that knows), or none (the first camera is level).",
        choices=("auto", "tf", "imu", "ground", "none"),
    )


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """When a place is believed to be one that was seen before."""

    enabled: bool = param(
        True, "Look for places seen before, close loops, and lay submaps that show the same "
        "surfaces on each other."
    )
    candidates: int = param(
        3, "Places of the map that are checked for each new submap, each by one run of the model "
        "on four keyframes [places].", low=1, high=50,
    )
    min_similarity: float = param(
        0.25, "Least similarity of images that is worth a check; that of neighboring keyframes is "
        "1 [fraction].", low=0.0, high=1.0,
    )
    min_geometry: float = param(
        0.5, "Least share of pixels of either place whose depth in the check agrees with that in "
        "the map [fraction].", low=0.0, high=1.0,
    )
    min_overlap: float = param(
        0.4, "Least share of an image of the new place that an image of the old one shows too "
        "[fraction].", low=0.0, high=1.0,
    )
    min_likeness: float = param(
        0.5, "Least median correlation of the patches that both show.", low=0.0, high=1.0,
    )
    rotation_drift: float = param(
        0.02, "How far one submap may turn along its life, standard deviation; the larger, the "
        "more loops are believed [rad].", low=1.0e-4, high=1.0,
    )
    scale_drift: float = param(
        0.04, "How much the scale of one submap may change along its life, standard deviation "
        "[fraction].", low=1.0e-4, high=1.0,
    )


@dataclass(frozen=True, slots=True)
class MapConfig:
    """What of the depth images becomes map."""

    voxel_size: float = param(
        0.02, "Edge of a voxel of the map cloud [m].", low=1.0e-4, high=10.0
    )
    min_confidence: float = param(
        0.1, "Share of each depth image's pixels, the least confident, that is left out of the "
        "cloud [fraction].", low=0.0, high=0.99,
    )
    max_depth: float = param(
        20.0, "Depth beyond this many times the image's median depth is left out [medians].",
        low=1.0, high=1000.0,
    )
    max_points: int = param(
        2_000_000, "Most points in one map_cloud message; beyond it voxels are thinned evenly "
        "[points].", low=1000, high=50_000_000,
    )


@dataclass(frozen=True, slots=True)
class GridConfig:
    """The occupancy grid and the obstacles for costmaps."""

    resolution: float = param(0.05, "Edge of a cell [m].", low=0.005, high=10.0)
    min_height: float = param(
        0.1, "Lowest height above the ground at which something is an obstacle [m].",
        low=0.0, high=100.0,
    )
    max_height: float = param(
        1.8, "Height above the ground from which on nothing is an obstacle: that of the robot [m].",
        low=0.01, high=100.0,
    )
    max_range: float = param(
        8.0, "Farthest, measured on the ground, that a keyframe says something of the grid [m].",
        low=0.1, high=1000.0,
    )
    max_cells: int = param(
        4_000_000, "Most cells of the grid; of a larger map the part around the newest keyframe is "
        "drawn [cells].", low=100, high=100_000_000,
    )

    def __post_init__(self) -> None:
        if self.min_height >= self.max_height:
            raise ValueError(
                f"grid.min_height ({self.min_height}) must be less than grid.max_height "
                f"({self.max_height})"
            )


@dataclass(frozen=True, slots=True)
class RobotConfig:
    """What the robot says of itself besides TF: scale and gravity are measured with it."""

    odometry_topic: str = param(
        "", "nav_msgs/Odometry of the robot, of a frame on TF with tf.base_frame; empty: "
        "tf.odom_frame->tf.base_frame on TF, where tf.odom_frame is set."
    )
    imu_topic: str = param(
        "", "sensor_msgs/Imu, of a frame on TF with the cameras; empty: no IMU."
    )
    depth_topics: tuple[str, ...] = param(
        (), "Depth images (16UC1 in millimeters, 32FC1 in meters, or their compressedDepth), "
        "registered to image_topics: in the frame of their camera."
    )
    depth_tolerance: float = param(
        0.02, "Most time between an image and the depth image that is taken for it [s].",
        low=0.0, high=1.0,
    )

    def __post_init__(self) -> None:
        topics = [*filter(None, (self.odometry_topic, self.imu_topic)), *self.depth_topics]
        if len(set(topics)) != len(topics):
            raise ValueError(
                "robot.odometry_topic, robot.imu_topic and robot.depth_topics name a topic twice: "
                f"{topics}"
            )


@dataclass(frozen=True, slots=True)
class TfConfig:
    """Frames after REP-105 and how their transforms are published."""

    map_frame: str = param("map", "World frame: z up, x along the first view (REP-103, REP-105).")
    odom_frame: str = param(
        "", "Odometry frame; when set and on TF the node publishes map->odom, else map->base."
    )
    base_frame: str = param(
        "",
        "Robot base frame; empty: the pose of the first camera is published instead, or of the "
        "topmost frame that carries it on TF.",
    )
    publish: bool = param(True, "Publish transforms on /tf.")
    rate: float = param(20.0, "Rate at which the newest transform is repeated [Hz].", low=1.0,
                        high=200.0)
    lookup_timeout: float = param(
        0.2, "Longest wait for base->camera, odom->base and the robot's messages at the stamps "
        "of a chunk [s].", low=0.0, high=5.0,
    )
    max_correction_rate: float = param(
        0.5, "How fast a pose on TF may move because the map was corrected (loop closure, scale, "
        "gravity), along and, in rad/s, about any axis; the map itself is corrected at once [m/s].",
        low=0.01, high=1000.0,
    )

    def __post_init__(self) -> None:
        frames = [self.map_frame, *filter(None, (self.odom_frame, self.base_frame))]
        for frame in frames:
            if not frame or frame.startswith("/") or frame.split() != [frame]:
                raise ValueError(
                    f"'{frame}' in tf.map_frame, tf.odom_frame or tf.base_frame is no frame name: "
                    "it must not be empty, begin with '/' or contain blanks"
                )
        if len(set(frames)) < len(frames):
            raise ValueError(
                f"tf.map_frame, tf.odom_frame and tf.base_frame must differ, not be {frames}"
            )
        if self.odom_frame and not self.base_frame:
            raise ValueError(
                f"tf.odom_frame is '{self.odom_frame}' but tf.base_frame is empty: name the frame "
                "that the odometry moves"
            )


@dataclass(frozen=True, slots=True)
class PublishConfig:
    """How often the large and the slow outputs are published, and how large they become."""

    map_cloud_period: float = param(
        2.0, "Least time between two messages on ~/map_cloud [s]; ten times as long as one takes "
        "to draw while images wait to be mapped.", low=0.1, high=600.0
    )
    max_path: int = param(
        5000, "Most poses in one message on ~/path; a longer path is thinned evenly [poses].",
        low=16, high=1_000_000,
    )
    grid_period: float = param(
        2.0, "Least time between two messages on map, the occupancy grid [s]; longer while images "
        "wait, as for ~/map_cloud.", low=0.1, high=600.0
    )
    status_period: float = param(
        0.5, "Time between two messages on ~/status and /diagnostics [s].", low=0.05, high=60.0
    )


@dataclass(frozen=True, slots=True)
class Config:
    """All parameters; sections in the order in which an image meets them."""

    image_topics: tuple[str, ...] = param(
        ("image",), "Image topics, one per camera: sensor_msgs/Image or CompressedImage."
    )
    checkpoint: str = param(
        "flashvggt-mini", "Weights: flashvggt-mini (embedded), a .pt or .safetensors file, "
        "flashvggt-r1 or flashvggt-r2 (released, downloaded once), or untrained."
    )
    checkpoint_sha256: str = param(
        "", "SHA-256 that the checkpoint's file must have, in hexadecimal; empty: only the hash "
        "that comes with the file is checked."
    )
    device: str = param("auto", "Where the model runs: auto is cuda if present, else cpu.",
                        choices=("auto", "cuda", "cpu"))
    map_directory: str = param(
        "~/.ros/flashvggt_maps", "Folder below which maps are saved and loaded; nothing is written "
        "elsewhere."
    )
    mode: str = param(
        "mapping", "mapping: build a map, or extend the loaded one; localization: only find out "
        "where the robot is in the loaded one.", choices=("mapping", "localization"),
    )
    autostart: bool = param(
        True, "Configure and activate the node as it starts; false: leave that to "
        "nav2_lifecycle_manager or ros2 lifecycle set."
    )
    load_map: str = param(
        "", "Name of a saved map below map_directory to begin with; empty: none."
    )
    publish_unscaled: bool = param(
        False, "Publish the grid and the obstacles also while the scale of the map is not "
        "measured: what is called a meter is then scale.fixed units of the model."
    )
    image: ImageConfig = field(default_factory=ImageConfig)
    keyframe: KeyframeConfig = field(default_factory=KeyframeConfig)
    chunk: ChunkConfig = field(default_factory=ChunkConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    bundle_adjustment: BundleAdjustmentConfig = field(default_factory=BundleAdjustmentConfig)
    rig: RigConfig = field(default_factory=RigConfig)
    submap: SubmapConfig = field(default_factory=SubmapConfig)
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    gravity: GravityConfig = field(default_factory=GravityConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    map: MapConfig = field(default_factory=MapConfig)
    grid: GridConfig = field(default_factory=GridConfig)
    robot: RobotConfig = field(default_factory=RobotConfig)
    tf: TfConfig = field(default_factory=TfConfig)
    publish: PublishConfig = field(default_factory=PublishConfig)

    @property
    def queue_limit(self) -> int:
        """Most images that can wait: those in the queue, a chunk that is mapped, one after it."""
        return self.image.queue_size + 2 * self.chunk.size

    def __post_init__(self) -> None:
        if not self.image_topics:
            raise ValueError("image_topics is empty: name at least one image topic")
        if not self.map_directory.strip():
            raise ValueError("map_directory is empty: name the folder below which maps are saved")
        if not re.fullmatch(r"([0-9a-fA-F]{64})?", self.checkpoint_sha256):
            raise ValueError(
                f"checkpoint_sha256 is '{self.checkpoint_sha256}': it must be 64 hexadecimal "
                "digits, or empty"
            )
        if len(set(self.image_topics)) != len(self.image_topics):
            raise ValueError(f"image_topics names a topic twice: {list(self.image_topics)}")
        cameras = len(self.image_topics)
        if len(self.image.transports) not in (1, cameras):
            raise ValueError(
                f"image.transports has {len(self.image.transports)} entries for {cameras} "
                "image_topics: give one entry for all, or one for each"
            )
        if len(self.image.camera_info_topics) not in (0, cameras):
            raise ValueError(
                f"image.camera_info_topics has {len(self.image.camera_info_topics)} entries for "
                f"{cameras} image_topics: give none, or one for each"
            )
        if self.robot.odometry_topic and not self.tf.base_frame:
            raise ValueError(
                f"robot.odometry_topic is '{self.robot.odometry_topic}' but tf.base_frame is "
                "empty: name the frame that the cameras sit on"
            )
        if not self.loop.enabled and (self.load_map or self.mode == "localization"):
            raise ValueError(
                "loop.enabled is false, but where the robot is in a loaded map is found by loops: "
                "enable them, or leave load_map empty and mode mapping"
            )
        if self.submap.max_frames < self.chunk.size:
            raise ValueError(
                f"submap.max_frames ({self.submap.max_frames}) must be at least chunk.size "
                f"({self.chunk.size})"
            )


def parameters() -> tuple[Parameter, ...]:
    """Every parameter, in declaration order."""
    return tuple(declared(Config))


def build_config(values: Mapping[str, Any]) -> Config:
    """Make a Config from dotted names and values; defaults elsewhere.

    Raises ValueError for an unknown name, a wrong type or a value out of range, naming the limit.
    """
    return build(Config, values)


def flatten(config: Config) -> dict[str, ParameterValue]:
    """The inverse of build_config: dotted name to value, in declaration order."""
    return {parameter.name: read(config, parameter.name) for parameter in parameters()}
