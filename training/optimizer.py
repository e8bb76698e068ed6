"""Muon for matrices, AdamW for everything else, in one optimizer.

Muon (Keller Jordan, 2024): momentum whose matrices are made orthogonal by a Newton-Schulz
iteration; here matrices of one shape are stacked and iterated together, and the update is scaled
to the size of an AdamW step (0.2 sqrt(max(rows, columns))).
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """Nearly orthogonal matrices (M, r, c) with the singular vectors of the given ones."""
    a, b, c = NEWTON_SCHULZ
    x = matrices.to(torch.bfloat16) if matrices.is_cuda else matrices
    is_tall = x.shape[-2] > x.shape[-1]
    x = x.mT if is_tall else x
    x = x / (x.float().norm(dim=(-2, -1), keepdim=True).to(x.dtype) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if is_tall else x).to(matrices.dtype)


class Optimizer:
    """Steps all parameters of a module.

    Matrices of the blocks go to Muon (a fused qkv as three); embeddings, heads' last layers,
    convolutions, norms, biases, tokens and layer scales to AdamW. What is not below ``model`` (the
    auxiliary heads) can have a rate of its own.
    """

    def __init__(self, module: nn.Module, weight_decay: float = 0.02) -> None:
        self.muon: dict[str, nn.Parameter] = {}
        plain: list[nn.Parameter] = []
        decayed: list[nn.Parameter] = []
        auxiliary: list[nn.Parameter] = []
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            if parameter.ndim == 2 and _is_hidden(name):
                self.muon[name] = parameter
            elif not name.startswith("model."):
                auxiliary.append(parameter)
            elif parameter.ndim >= 2 and "token" not in name and "pos_embed" not in name:
                decayed.append(parameter)
            else:
                plain.append(parameter)
        self.momentum = {name: torch.zeros_like(p) for name, p in self.muon.items()}
        self.weight_decay = weight_decay
        groups = [{"params": decayed, "weight_decay": weight_decay},
                  {"params": plain, "weight_decay": 0.0},
                  {"params": auxiliary, "weight_decay": 0.0}]
        fused = next(module.parameters()).is_cuda
        self.adam = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-9, fused=fused)

    @torch.no_grad()
    def step(self, muon_rate: float, adam_rate: float, auxiliary_rate: float,
             momentum: float = 0.95) -> None:
        """Take a step at the given rates from the gradients in place.

        ``auxiliary_rate``: AdamW's for what is not below ``model``.
        """
        rates = (adam_rate, adam_rate, auxiliary_rate)
        for group, rate in zip(self.adam.param_groups, rates, strict=True):
            group["lr"] = rate
        self.adam.step()
        names = list(self.muon)
        buffers = [self.momentum[name] for name in names]
        gradients = [gradient_of(self.muon[name]) for name in names]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        looks = torch._foreach_lerp(gradients, buffers, momentum)  # Nesterov
        shapes: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for name, look in zip(names, looks, strict=True):
            parts = 3 if name.endswith("qkv.weight") else 1
            for target, update in zip(self.muon[name].chunk(parts), look.chunk(parts), strict=True):
                shapes[tuple(update.shape)].append((target, update))
        for shape, members in shapes.items():
            updates = orthogonalize(torch.stack([update for _, update in members]))
            targets = [target for target, _ in members]
            torch._foreach_mul_(targets, 1 - muon_rate * self.weight_decay)
            torch._foreach_add_(
                targets, list(updates.unbind(0)), alpha=-muon_rate * 0.2 * max(shape) ** 0.5
            )

    def state_dict(self) -> dict[str, object]:
        """Everything needed to go on."""
        return {"adam": self.adam.state_dict(), "momentum": self.momentum}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a saved state."""
        self.adam.load_state_dict(state["adam"])
        for name, value in state["momentum"].items():
            self.momentum[name].copy_(value)


def gradient_of(parameter: nn.Parameter) -> Tensor:
    """The gradient of a parameter, which every parameter must have."""
    if parameter.grad is None:
        raise RuntimeError("a parameter took no part in the loss")
    return parameter.grad


def _is_hidden(name: str) -> bool:
    is_block = any(part in name for part in ("blocks.", "trunk."))
    return is_block or name.endswith(("poseLN_modulation.1.weight", "pose_branch.fc1.weight"))
