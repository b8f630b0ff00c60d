"""Our presets' networks as a PyTorch user would write them, and the translation of our parameters to theirs.

They compute the same functions from the same weights (`tests/test_torch_parity.py`): SAME padding as XLA has it
(low side first cut), kernels HWIO there and OIHW here, features flattened channels last.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Space = tuple[int, ...]


def halvings(space: Space, above: int) -> list[Space]:
    """Extents from the finest to the coarsest level, halved (rounded up) while above `above`; square pictures only."""
    levels = [space]
    while max(levels[-1]) > above:
        levels.append(tuple(-(-n // 2) for n in levels[-1]))
    return levels


class SameConv(nn.Conv2d):
    """A convolution padded as XLA's SAME: what is odd goes to the high side."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, bias: bool = True):
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for n, k, s in zip(x.shape[2:], self.kernel_size, self.stride, strict=True):
            total = max((-(-n // s) - 1) * s + k - n, 0)
            pads.append((total // 2, total - total // 2))
        (top, bottom), (left, right) = pads
        if top == bottom and left == right:
            return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), groups=self.groups)
        padded = F.pad(x, (left, right, top, bottom))
        return F.conv2d(padded, self.weight, self.bias, self.stride, groups=self.groups)


class SameConvTranspose(nn.ConvTranspose2d):
    """Twice the extents, cut to `space`; aligned as XLA's SAME."""

    def __init__(self, inputs: int, outputs: int, kernel: int, space: Space, bias: bool = True):
        super().__init__(inputs, outputs, kernel, 2, padding=kernel - 1 - -(-kernel // 2), bias=bias)
        self.space = space

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y[:, :, : self.space[0], : self.space[1]]


class FromLatents(nn.Module):
    """A dense layer to a grid of features, channels last in memory."""

    def __init__(self, inputs: int, base: Space, width: int, bias: bool = True):
        super().__init__()
        self.dense, self.base, self.width = nn.Linear(inputs, base[0] * base[1] * width, bias=bias), base, width

    def forward(self, z: Tensor) -> Tensor:
        return self.dense(z).view(-1, *self.base, self.width).permute(0, 3, 1, 2)


def flatten(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1)


def dcgan_generator(shape: Space, latents: int, width: int, kernel: int, norm: bool) -> nn.Module:
    levels = halvings(shape[:-1], above=7)

    def activation() -> list[nn.Module]:
        return [*([nn.BatchNorm2d(width)] if norm else []), nn.LeakyReLU(0.2)]

    layers: list[nn.Module] = [FromLatents(latents, levels[-1], width, not norm), *activation()]
    for space in reversed(levels[:-1]):
        layers += [SameConvTranspose(width, width, kernel, space, not norm), *activation()]
    return nn.Sequential(*layers, SameConv(width, shape[-1], kernel), nn.Tanh())


class Flatten(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return flatten(x)


def dcgan_discriminator(shape: Space, width: int, kernel: int, norm: bool) -> nn.Module:
    levels, layers, channels = halvings(shape[:-1], above=4), [], shape[-1]
    for level in range(len(levels) - 1):
        normed = norm and level > 0
        layers += [SameConv(channels, width, kernel, 2, bias=not normed)]
        layers += [nn.BatchNorm2d(width)] if normed else []
        layers += [nn.LeakyReLU(0.2)]
        channels = width
    return nn.Sequential(*layers, Flatten(), nn.Linear(levels[-1][0] * levels[-1][1] * width, 1), nn.Flatten(0))


def mlp(inputs: int, widths: Sequence[int], outputs: int, last: list[nn.Module]) -> nn.Module:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(inputs, width), nn.LeakyReLU(0.2)]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs), *last)


class Unflatten(nn.Module):
    """[b, h * w * c] to [b, c, h, w], channels last in memory."""

    def __init__(self, shape: Space):
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return x.view(-1, *self.shape).permute(0, 3, 1, 2)


def mlp_generator(shape: Space, latents: int, width: int) -> nn.Module:
    return mlp(latents, [width, width], int(np.prod(shape)), [nn.Tanh(), Unflatten(shape)])


def mlp_discriminator(shape: Space, width: int) -> nn.Module:
    return nn.Sequential(Flatten(), mlp(int(np.prod(shape)), [width, width], 1, [nn.Flatten(0)]))


class Encoder(nn.Module):
    """Any trunk, then mu and logvar."""

    def __init__(self, trunk: nn.Module, features: int, latents: int):
        super().__init__()
        self.trunk, self.mu, self.logvar = trunk, nn.Linear(features, latents), nn.Linear(features, latents)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(x)
        return self.mu(h), self.logvar(h)


def mlp_vae(shape: Space, latents: int, width: int) -> dict[str, nn.Module]:
    size = int(np.prod(shape))
    trunk = nn.Sequential(Flatten(), nn.Linear(size, width), nn.ReLU())
    decoder = nn.Sequential(nn.Linear(latents, width), nn.ReLU(), nn.Linear(width, size), Unflatten(shape))
    return {"encoder": Encoder(trunk, width, latents), "decoder": decoder}


def conv_vae(shape: Space, latents: int, width: int, kernel: int, hidden: int) -> dict[str, nn.Module]:
    levels, down, channels = halvings(shape[:-1], above=7), [], shape[-1]
    for level in range(len(levels) - 1):
        down += [SameConv(channels, width * 2**level, kernel, 2), nn.ReLU()]
        channels = width * 2**level
    base, widest = levels[-1], width * 2 ** max(0, len(levels) - 2)
    trunk = nn.Sequential(*down, Flatten(), nn.Linear(base[0] * base[1] * channels, hidden), nn.ReLU())
    up: list[nn.Module] = [nn.Linear(latents, hidden), nn.ReLU(), FromLatents(hidden, base, widest), nn.ReLU()]
    channels = widest
    for level in reversed(range(len(levels) - 1)):
        features = width * 2 ** max(0, level - 1)
        up += [SameConvTranspose(channels, features, kernel, levels[level]), nn.ReLU()]
        channels = features
    decoder = nn.Sequential(*up, SameConv(channels, shape[-1], 3))
    return {"encoder": Encoder(trunk, hidden, latents), "decoder": decoder}


def tensors(params: Any, module: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs (their parameter, our value in their layout), layer by layer in the order of the forward pass.

    Ours are found by their module path sorted by kind and number (Conv_0, ConvTranspose_0, Dense_1, ...), theirs by
    order of registration.

    Raises:
      ValueError: the two do not have the same layers.
    """
    queues: dict[str, list[Mapping[str, Any]]] = {}
    _collect(params, queues)
    for layer in module.modules():
        kind = _KINDS.get(type(layer))
        if kind is None:
            continue
        if not queues.get(kind):
            raise ValueError(f"no parameters left for {layer}: the peer is not the same model")
        ours = queues[kind].pop(0)
        names = {"kernel": "weight", "scale": "weight", "bias": "bias"}
        for name, value in ours.items():
            yield getattr(layer, names[name]), torch.from_numpy(_layout(kind, name, np.asarray(value)).copy())
    if left := [kind for kind, queue in queues.items() if queue]:
        raise ValueError(f"parameters of {', '.join(left)} are left over: the peer is not the same model")


_KINDS: dict[type, str] = {
    nn.Linear: "Dense",
    SameConv: "Conv",
    SameConvTranspose: "ConvTranspose",
    nn.BatchNorm2d: "BatchNorm",
}


def _collect(params: Mapping[str, Any], queues: dict[str, list[Mapping[str, Any]]]) -> None:
    def order(name: str) -> tuple[str, int]:
        kind, _, number = name.rpartition("_")
        return kind, int(number)

    for name in sorted(params, key=order):
        entry = params[name]
        if any(isinstance(value, Mapping) for value in entry.values()):
            _collect(entry, queues)
        else:
            queues.setdefault(order(name)[0], []).append(entry)


def _layout(kind: str, name: str, value: np.ndarray) -> np.ndarray:
    if name != "kernel":
        return value
    if kind == "Dense":
        return value.T
    if kind == "Conv":
        return value.transpose(3, 2, 0, 1)
    return value[::-1, ::-1].transpose(2, 3, 0, 1)  # a transposed convolution in PyTorch turns its kernel


def load(module: nn.Module, params: Any) -> nn.Module:
    """`module` with our parameters."""
    with torch.no_grad():
        for theirs, ours in tensors(params, module):
            theirs.copy_(ours)
    return module
