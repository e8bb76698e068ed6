"""Measuring the speed, the memory and the rounding errors of the model."""
