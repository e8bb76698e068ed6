"""How the embedded checkpoint is made. Never imported by flashvggt_ros."""
