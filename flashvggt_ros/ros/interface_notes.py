"""What the reference says of each topic, service and transform besides what the code shows."""

from __future__ import annotations

from dataclasses import dataclass

from flashvggt_ros.ros.bond import TOPIC


@dataclass(frozen=True, slots=True)
class Note:
    """One topic: which frame its messages are in, and when they come and what they are."""

    frame: str
    what: str


MAP = "`tf.map_frame`"
CAMERA = "the camera's optical frame"

# Names as a node in a namespace has them: ~/ is the node's own, a leading / leaves the namespace.
PUBLISHED = {
    "~/odometry": Note(
        f"{MAP}; child: base, or camera", "one pose for each image placed, at its stamp; no twist"
    ),
    "~/path": Note(
        MAP,
        "with `~/map_cloud`: all poses so far, as they stand now, thinned beyond "
        "`publish.max_path`; empty while the place in a loaded map is unknown",
    ),
    "~/graph": Note(
        MAP,
        "with `~/path`: which submap each of its poses belongs to, and which submaps loops join, "
        "for the [live view](live_view.md)",
    ),
    "~/cloud": Note(MAP, "after each chunk: its colored points, as they were then"),
    "~/map_cloud": Note(
        MAP,
        "the whole map, voxelized, where it changed and at most every "
        "`publish.map_cloud_period`; empty after a reset",
    ),
    "map": Note(
        MAP,
        "occupancy grid, where it changed and at most every `publish.grid_period`, once the map "
        "is metric and the ground known: see [Nav2](nav2.md)",
    ),
    "~/obstacles": Note(
        MAP,
        "after each chunk, while somebody listens: what the newest 16 keyframes see between "
        "`grid.min_height` and `grid.max_height`",
    ),
    "~/status": Note(MAP, "every `publish.status_period`, in every state: see [below](#mapstatus)"),
    "/diagnostics": Note("-", "with `~/status`, for people: see [diagnostics](diagnostics.md)"),
    "/tf": Note(
        "see [below](#transforms)",
        "with each pose, and the newest again at `tf.rate`; not if `tf.publish` is false",
    ),
    "/parameter_events": Note("-", "each change of a parameter"),
}

SUBSCRIBED = {
    "camera/image_raw": Note(
        CAMERA,
        "`image_topics` (default `image`), while active: 8 bit rgb, bgr, with alpha, mono, "
        "mono16, YUV, Bayer",
    ),
    "camera/image_raw/compressed": Note(
        CAMERA, "`image_topics`, too: JPEG or PNG; which of both by the topic's type"
    ),
    "camera/camera_info": Note(
        CAMERA, "beside each image topic, or `image.camera_info_topics`; optional"
    ),
    "odom_topic": Note("on TF with `tf.base_frame`", "`robot.odometry_topic`: meters; optional"),
    "imu_topic": Note("on TF with the cameras", "`robot.imu_topic`: which way is up; optional"),
    "depth/image_raw": Note(
        CAMERA, "`robot.depth_topics`: 16UC1 in millimeters, 32FC1 in meters; optional"
    ),
    "depth/image_raw/compressedDepth": Note(
        CAMERA, "`robot.depth_topics`, too; a topic of this ending"
    ),
    "initialpose": Note(MAP, "where the robot is in a loaded map (RViz: 2D Pose Estimate)"),
    "/tf": Note("any", "odom→base and base→camera, where these frames are named"),
    "/tf_static": Note("any", "base→camera"),
    "/clock": Note("-", "the time, with `use_sim_time`"),
}

SERVICES = {
    "~/reset": "Forget the map and start anew; a loaded map stays.",
    "~/pause": "true: ignore images; false: go on.",
    "~/save_map": "Write the map to a folder below `map_directory`.",
    "~/load_map": "Go on in a saved map, or only localize in it: see [saved maps](maps.md).",
    "~/change_state": "Configure, activate, deactivate, clean up, shut down: see "
    "[operation](operation.md).",
    "~/get_state": "The state of the managed node.",
    "~/get_available_states": "All states.",
    "~/get_available_transitions": "Transitions from the present state.",
    "~/get_transition_graph": "All transitions.",
    "~/describe_parameters": "Descriptions and ranges of parameters.",
    "~/get_parameter_types": "Their types.",
    "~/get_parameters": "Their values.",
    "~/list_parameters": "Their names.",
    "~/set_parameters": "Change some: see [operation](operation.md) for when.",
    "~/set_parameters_atomically": "Change all or none of some.",
}
# Not every distribution's rclpy has the one, nor every machine bondpy for the other.
NOT_EVERYWHERE = {"~/get_type_description", TOPIC}

TRANSFORMS = """\
| parent | child | by whom | when |
| --- | --- | --- | --- |
| `tf.map_frame` | `tf.odom_frame` | this node | `tf.base_frame` and `tf.odom_frame` \
are set (REP-105) |
| `tf.map_frame` | `tf.base_frame` | this node | only `tf.base_frame` is set |
| `tf.map_frame` | the topmost frame that carries the first camera on TF, else the frame of its \
images | this node | neither is set |
| `tf.odom_frame` | `tf.base_frame` | the robot's odometry | where `tf.odom_frame` is set |
| `tf.base_frame` | frame of each camera's images, of IMU and odometry | URDF, or a static \
publisher | where `tf.base_frame` is set |

Exactly one of the first three is published, so that every frame has one parent; none before the
first pose, and none while the place is lost: see
[what TF promises](diagnostics.md#what-tf-promises).
"""

COMMANDS = """\
Besides the node, these speak ROS: `flashvggt_play` publishes the topics of a bag as they are in it,
and with `--clock` the time on `/clock`; `flashvggt_record` listens to `~/odometry`, `~/path`,
`~/cloud`, `~/map_cloud` and `~/status` of a node, and to `/tf`. Where
bondpy is installed, the node ties a bond to its lifecycle manager on `bond`.
"""
