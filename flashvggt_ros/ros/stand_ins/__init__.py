"""What is used of ROS packages that PyPI lacks, for machines without them; see backends.py."""
