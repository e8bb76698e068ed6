"""The live view in a browser: what its page shows, whoever feeds it. No ROS, no slam."""
