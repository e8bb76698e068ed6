"""From keyframes to a map: NumPy and OpenCV; no ROS and no network."""
