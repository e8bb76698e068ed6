"""Sensor messages, live or from a bag, become frames; ROS itself is not needed."""
