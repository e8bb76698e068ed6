"""Rigid and similarity transforms and cameras: NumPy, pure functions."""
