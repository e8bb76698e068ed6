"""Chooses the frames that the single-forward variant keeps at full resolution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.spatial.distance import cdist


def choose_keyframes(features: NDArray[np.floating], every: int) -> tuple[int, ...]:
    """Frame 0 and the frames nearest to the centers of k-means clusters of ``features`` (N, C).

    One cluster per ``every`` frames; below two clusters frame 0 alone. Each frame once, in order,
    and the same for the same input.
    """
    points = np.asarray(features, np.float64)
    clusters = min(len(points) // every, len(np.unique(points, axis=0)))
    if clusters <= 1:
        return (0,)
    rng = np.random.default_rng(42)
    centers, _ = kmeans2(points, clusters, minit="++", rng=rng, missing="warn")
    nearest = cdist(centers, points).argmin(axis=1)
    return tuple(sorted({0, *(int(index) for index in nearest)}))
