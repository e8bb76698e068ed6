"""Which keyframes of the map may show the place that a new submap shows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHRINKAGE = 1.0  # of the spectrum of the signatures, in units of its mean
POWER = -0.25  # of the spectrum; -0.5 would whiten wholly, and raise noise to the level of places
APART = 4  # keyframes of one submap that lie closer than this show one place [frames]
FEW = 8  # signatures below which nothing is typical


@dataclass(frozen=True, slots=True)
class Candidate:
    """A keyframe of the map that looks like one of the query's, by number within each submap.

    ``similarity``: 0 for images that have nothing in common, 1 for neighboring keyframes.
    """

    submap: int
    keyframe: int
    query_keyframe: int
    similarity: float


class PlaceIndex:
    """Signatures of the map's keyframes, compared after what they all have in common is removed.

    Signatures are centered and half whitened by the spectrum of those in the index (Jegou and Chum,
    ECCV 2012, with shrinkage), and their cosine is divided by that of neighboring keyframes: the
    threshold adapts to what a model and a scene make of similarity.
    """

    def __init__(self) -> None:
        self._signatures: list[NDArray[np.float32]] = []
        self._places: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._places)

    def add(self, submap: int, keyframe: int, signature: NDArray[np.floating]) -> None:
        """Add a keyframe's signature (D,); keyframes of a submap come in order.

        Raises ValueError where the length is not that of the others.
        """
        if self._signatures and signature.shape != self._signatures[0].shape:
            raise ValueError(
                f"the signature of keyframe {keyframe} of submap {submap} has the shape "
                f"{signature.shape}, those before {self._signatures[0].shape}"
            )
        self._signatures.append(np.asarray(signature, np.float32))
        self._places.append((submap, keyframe))

    def remove(self, submap: int) -> None:
        """Forget a submap's keyframes."""
        kept = [i for i, (owner, _) in enumerate(self._places) if owner != submap]
        self._signatures = [self._signatures[i] for i in kept]
        self._places = [self._places[i] for i in kept]

    def candidates(
        self, signatures: NDArray[np.floating], exclude: Collection[int], most: int,
        min_similarity: float,
    ) -> tuple[Candidate, ...]:
        """Return the ``most`` best places that look like ``signatures`` (N, D), best first.

        Keyframes of the submaps in ``exclude`` do not count. Of places closer than a few keyframes
        to each other the best is returned. With less than a handful of signatures there are none.
        """
        closed = set(exclude)
        is_open = np.array([submap not in closed for submap, _ in self._places], np.bool_)
        if len(self) < FEW or not is_open.any() or not len(signatures):
            return ()
        known = np.stack(self._signatures)
        center, contrast = _contrast(known)
        known = _normalized((known - center) @ contrast)
        queries = _normalized((np.asarray(signatures, np.float32) - center) @ contrast)
        similarity = queries @ known.T / self._typical(known)
        similarity[:, ~is_open] = -np.inf
        found: list[Candidate] = []
        while len(found) < most:
            query, match = divmod(int(similarity.argmax()), len(known))
            best = float(similarity[query, match])
            if best < min_similarity:
                break
            submap, keyframe = self._places[match]
            found.append(Candidate(submap, keyframe, query, best))
            is_near = [s == submap and abs(k - keyframe) < APART for s, k in self._places]
            similarity[:, is_near] = -np.inf
        return tuple(found)

    def _typical(self, known: NDArray[np.float32]) -> float:
        """Median cosine of keyframes that follow each other in one submap; at least a little."""
        submaps = np.array([submap for submap, _ in self._places])
        is_next = submaps[1:] == submaps[:-1]
        cosines = (known[1:] * known[:-1]).sum(axis=1)[is_next]
        return max(float(np.median(cosines)) if len(cosines) else 1.0, 0.05)


def _contrast(signatures: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Center (D,) and matrix (D, D) that remove from signatures (M, D) what is common to them."""
    center = signatures.mean(axis=0)
    centered = signatures - center
    spectrum, axes = np.linalg.eigh(centered.T @ centered / len(signatures))
    spectrum = np.maximum(spectrum, 0)
    floor = max(SHRINKAGE * float(spectrum.mean()), 1e-12)
    return center, (axes * (spectrum + floor) ** POWER).astype(np.float32)


def _normalized(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(lengths, 1e-9)).astype(np.float32)
