"""R3GAN (arXiv:2501.05441) in plain PyTorch, the same function as `models/r3gan.py`."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod, sqrt
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genjax_art.benchmark.peers.torch_models import Space, halvings

GROUP = 16


def halve(x: Tensor) -> Tensor:
    """[1, 3, 3, 1] / 8 on either axis at stride 2, edges repeated."""
    taps = torch.tensor([0.125, 0.375, 0.375, 0.125])
    kernel = (taps[:, None] * taps)[None, None].expand(x.shape[1], 1, 4, 4)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, stride=2, groups=x.shape[1])


def double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class Block(nn.Module):
    def __init__(self, width: int, expansion: int):
        super().__init__()
        hidden = width * expansion
        self.a = nn.Conv2d(width, hidden, 1, bias=False)
        self.b = nn.Conv2d(hidden, hidden, 3, padding=1, groups=max(1, hidden // GROUP), bias=False)
        self.c = nn.Conv2d(hidden, width, 1, bias=False)
        self.bias_a, self.bias_b = nn.Parameter(torch.zeros(hidden)), nn.Parameter(torch.zeros(hidden))

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.a(x) + self.bias_a[:, None, None], 0.2)
        y = F.leaky_relu(self.b(y) + self.bias_b[:, None, None], 0.2)
        return x + self.c(y)


def widths_of(levels: int, widths: Sequence[int]) -> list[int]:
    """Channels of each level, coarsest first; the last given one goes on."""
    return [*widths, *[widths[-1]] * levels][:levels]


def stages(widths: Sequence[int], blocks: int, expansion: int) -> nn.ModuleList:
    return nn.ModuleList(nn.Sequential(*(Block(width, expansion) for _ in range(blocks))) for width in widths)


def change(before: int, after: int) -> nn.Module:
    return nn.Identity() if before == after else nn.Conv2d(before, after, 1, bias=False)


class Generator(nn.Module):
    def __init__(self, shape: Space, latents: int, widths: Sequence[int], blocks: int, expansion: int):
        super().__init__()
        extents = halvings(shape[:-1], above=4)
        each = widths_of(len(extents), widths)
        self.basis = nn.Parameter(torch.zeros(each[0], *extents[-1]))
        self.dense = nn.Linear(latents, each[0], bias=False)
        self.stages = stages(each, blocks, expansion)
        self.changes = nn.ModuleList(change(before, after) for before, after in pairwise(each))
        self.last = nn.Conv2d(each[-1], shape[-1], 1, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        h = self.dense(z)[:, :, None, None] * self.basis
        h = h.contiguous(memory_format=torch.channels_last)
        for level, stage in enumerate(self.stages):
            h = stage(h if level == 0 else double(self.changes[level - 1](h)))
        return self.last(h)


class Discriminator(nn.Module):
    def __init__(self, shape: Space, widths: Sequence[int], blocks: int, expansion: int):
        super().__init__()
        extents = halvings(shape[:-1], above=4)
        each = widths_of(len(extents), widths)[::-1]
        self.first = nn.Conv2d(shape[-1], each[0], 1, bias=False)
        self.stages = stages(each, blocks, expansion)
        self.changes = nn.ModuleList(change(before, after) for before, after in pairwise(each))
        self.basis = nn.Parameter(torch.zeros(each[-1], *extents[-1]))
        self.dense = nn.Linear(each[-1], 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for level, stage in enumerate(self.stages):
            h = stage(h if level == 0 else self.changes[level - 1](halve(h)))
        return self.dense((h * self.basis).sum((2, 3)))[:, 0]


def load(module: Generator | Discriminator, params: Any) -> nn.Module:
    """`module` with our parameters."""

    def put(theirs: Tensor, value: Any, order: tuple[int, ...]) -> None:
        with torch.no_grad():
            theirs.copy_(torch.from_numpy(np.asarray(value).transpose(order).copy()))

    to_oihw = (3, 2, 0, 1)
    blocks = [block for stage in module.stages for block in stage]  # type: ignore[union-attr]
    for i, block in enumerate(blocks):
        ours = params[f"Block_{i}"]
        for j, name in enumerate("abc"):
            put(getattr(block, name).weight, ours[f"Conv_{j}"]["kernel"], to_oihw)
        for j, name in enumerate(("bias_a", "bias_b")):
            put(getattr(block, name), ours[f"Activated_{j}"]["bias"], (0,))
    put(module.basis, params["basis"][0], (2, 0, 1))
    put(module.dense.weight, params["Dense_0"]["kernel"], (1, 0))
    changes = [layer for layer in module.changes if isinstance(layer, nn.Conv2d)]  # type: ignore[union-attr]
    inside = [*changes, module.last] if isinstance(module, Generator) else [module.first, *changes]
    for i, convolution in enumerate(inside):
        put(convolution.weight, params[f"Conv_{i}"]["kernel"], to_oihw)
    return module


def randomise(module: nn.Module) -> nn.Module:
    """The paper's first weights, up to seed; the timing does not depend on them but must not meet zeros only."""
    for p in module.parameters():
        if p.ndim > 1:
            nn.init.normal_(p, std=sqrt(1.0 / prod(p.shape[1:])))
    return module
