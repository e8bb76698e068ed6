"""How the camera moves while its shutter is open and while its rows are read out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Shutter:
    """Motion of the camera during each of F frames. The unit of time is that between two frames.

    ``swing`` (F, 3, 4): change of T_world_camera's upper rows per unit of time. ``exposure`` (F,):
    how long each pixel sees light, which smears pictures of at least 2 samples. ``readout`` (F,):
    how much later the picture's lower edge is exposed than its upper one; the row in the middle
    has the pose of the frame.
    """

    swing: Tensor
    exposure: Tensor
    readout: Tensor

    @classmethod
    def still(cls, frames: int, device: torch.device) -> Shutter:
        """Of a camera that does not move."""
        none = torch.zeros(frames, device=device)
        return cls(torch.zeros(frames, 3, 4, device=device), none, none)

    @classmethod
    def moving(cls, T_world_camera: Tensor, exposure: Tensor, readout: Tensor) -> Shutter:
        """Of cameras on paths (B, N, 4, 4), with ``exposure`` and ``readout`` (B, N)."""
        return cls(swing(T_world_camera).flatten(0, 1), exposure.flatten(), readout.flatten())


def swing(T_world_camera: Tensor) -> Tensor:
    """Change of pose per frame (B, N, 3, 4) along paths (B, N, 4, 4), from the frames around.

    The rotation's part is R_world_camera times the antisymmetric matrix of a rotation by the sine
    of the angle: a step along it leaves R a rotation up to the square of the step.
    """
    T = T_world_camera
    if T.shape[1] < 2:
        return torch.zeros_like(T[..., :3, :])
    after = torch.cat([T[:, 1:], T[:, -1:]], 1)
    before = torch.cat([T[:, :1], T[:, :-1]], 1)
    apart = torch.full((T.shape[1], 1, 1), 0.5, device=T.device)
    apart[0] = apart[-1] = 1.0
    R = T[..., :3, :3]
    turn = R.mT @ (after[..., :3, :3] - before[..., :3, :3]) * apart
    turn = (turn - turn.mT) / 2
    shift = (after[..., :3, 3:] - before[..., :3, 3:]) * apart
    return torch.cat([R @ turn, shift], -1)
