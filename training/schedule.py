"""What is trained when: lengths of sequences, chunks, image shapes and learning rates."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

from training.sequences import Motion

LAST_RATE = 0.03  # of the full rate, at the very end
# Patches (rows, columns) of the images that cameras send, as flashvggt_ros.model.preprocess cuts
# them: 4:3; 3:2; 16:10 and 752x480; 16:9; 2:1; 21:9; 2.75:1; driving (1242x375); square; upright
# 4:3 and 16:9.
GRIDS = (((12, 16), 0.40), ((11, 16), 0.10), ((10, 16), 0.11), ((9, 16), 0.13), ((8, 16), 0.02),
         ((8, 19), 0.03), ((8, 22), 0.03), ((8, 26), 0.05), ((8, 27), 0.03), ((16, 16), 0.04),
         ((16, 12), 0.03), ((16, 9), 0.02))
ANY_MOTION = Motion()
SMALL_MOTION = Motion((0.03, 0.15), (math.radians(2), math.radians(8)))
SHORT_MOTION = Motion((0.03, 0.2), (math.radians(2), math.radians(12)))


@dataclass(frozen=True, slots=True)
class Sequences:
    """Sequences of ``frames``, seen in chunks of one of ``chunks``.

    ``batch``: times as many frames in a step as usual; many small chunks leave a GPU idle.
    """

    frames: int
    chunks: tuple[tuple[int, ...], ...]
    motion: Motion = ANY_MOTION
    batch: int = 1


@dataclass(frozen=True, slots=True)
class Phase:
    """Until ``end`` of the schedule, each step takes one of ``kinds``, of these shares."""

    end: float
    kinds: tuple[tuple[Sequences, float], ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Phases and rates over a schedule from 0 to 1.

    Rates rise linearly over ``warm_up`` steps and fall linearly over the last ``decay`` of the
    schedule. The gradients of the auxiliary heads reach the model from ``settling`` steps on,
    in full after twice as many: heads that start afresh beside a trained model would harm it.
    They themselves then learn at the full rate at once.
    ``samples``: rays a pixel, and from which part of the schedule on.
    """

    phases: tuple[Phase, ...]
    grids: tuple[tuple[tuple[int, int], float], ...] = GRIDS
    warm_up: int = 80
    decay: float = 0.3
    settling: int = 0
    samples: tuple[tuple[float, int], ...] = ((0.0, 2), (0.6, 4))

    def choose(self, progress: float, dice: random.Random
               ) -> tuple[Sequences, list[int], tuple[int, int]]:
        """Kind of sequences, sizes of their chunks and patches of their images, for a step."""
        phase = next(phase for phase in self.phases if progress < phase.end)
        kinds, shares = zip(*phase.kinds, strict=True)
        kind = dice.choices(kinds, shares)[0]
        grids, shares = zip(*self.grids, strict=True)
        return kind, list(dice.choice(kind.chunks)), dice.choices(grids, shares)[0]

    def rate(self, progress: float, step: int) -> float:
        """Share of the full learning rate."""
        warm = min(1.0, (step + 1) / self.warm_up)
        left = min(1.0, max(0.0, 1 - progress) / self.decay)
        return warm * (LAST_RATE + (1 - LAST_RATE) * left)

    def auxiliary_rate(self, progress: float, step: int) -> float:
        """Share of the full rate for the auxiliary heads: fresh ones need no caution."""
        return self.rate(progress, max(step, self.warm_up) if self.settling else step)

    def auxiliary_share(self, step: int) -> float:
        """Share of the auxiliary heads' gradients that goes on into the model."""
        if not self.settling:
            return 1.0
        return min(1.0, max(0.0, (step - self.settling) / self.settling))

    def samples_a_pixel(self, progress: float) -> int:
        """Rays a pixel."""
        return next(count for begin, count in reversed(self.samples) if progress >= begin)


_FOUR = Sequences(4, ((4,),), SMALL_MOTION)
_EIGHT = Sequences(8, ((8,), (8,), (4, 4)), SHORT_MOTION)
_SIXTEEN = Sequences(16, ((8, 8), (16,), (4, 4, 8)))
_THIRTY_TWO = Sequences(32, ((8, 8, 8, 8), (8, 16, 8), (16, 16)))
_LATER_THIRTY_TWO = Sequences(32, (*_THIRTY_TWO.chunks, (8, 8, 8, 8), (4, 4, 8, 8, 4, 4)))
_SIXTY_FOUR = Sequences(64, ((8,) * 8, (16,) * 4, (8, 16, 8, 16, 8, 8), (4, 12) * 4), batch=2)
_NINETY_SIX = Sequences(96, ((16,) * 6, (8, 16, 8) * 3), batch=2)

SCHEDULES = {
    "scratch": Schedule((
        Phase(0.10, ((_FOUR, 1.0),)), Phase(0.65, ((_EIGHT, 1.0),)),
        Phase(0.85, ((_SIXTEEN, 1.0),)), Phase(1.01, ((_THIRTY_TWO, 1.0),)),
    )),
    "continue": Schedule(
        (
            Phase(0.70, ((_EIGHT, 0.25), (_SIXTEEN, 0.40), (_LATER_THIRTY_TWO, 0.35))),
            Phase(1.01, ((_EIGHT, 0.12), (_SIXTEEN, 0.28), (_LATER_THIRTY_TWO, 0.38),
                         (_SIXTY_FOUR, 0.18), (_NINETY_SIX, 0.04))),
        ),
        warm_up=150, decay=0.4, settling=100, samples=((0.0, 2), (0.3, 4)),
    ),
    "refine": Schedule(
        (
            Phase(0.35, ((_EIGHT, 0.20), (_SIXTEEN, 0.40), (_LATER_THIRTY_TWO, 0.40))),
            Phase(1.01, ((_EIGHT, 0.10), (_SIXTEEN, 0.28), (_LATER_THIRTY_TWO, 0.42),
                         (replace(_SIXTY_FOUR, batch=1), 0.16),
                         (replace(_NINETY_SIX, batch=1), 0.04))),
        ),
        warm_up=100, decay=1.0, settling=80, samples=((0.0, 4),),
    ),
    "tiny": Schedule(
        (Phase(1.01, ((Sequences(4, ((2, 2), (4,))), 1.0),)),),
        grids=(((4, 4), 1.0),), settling=2, samples=((0.0, 1),),
    ),
}
"""From nothing; going on from trained weights; with falling rates to the end, in steps of twice as
many frames; a smoke test on a CPU."""
