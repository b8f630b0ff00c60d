"""MoCoGAN in plain PyTorch (unconditional, square frames), the translation of our parameters, and its training step."""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genjax_art.benchmark.peers.torch_models import FromLatents, SameConv, SameConvTranspose, Space, halvings

Step = Callable[[Tensor], Mapping[str, Tensor]]


class Generator(nn.Module):
    """From content [b, c] and motion noise [b, t, m] to clips [b, c, t, h, w]."""

    def __init__(self, shape: Space, o: Mapping[str, Any]):
        super().__init__()
        self.content, self.motion, self.frames = o["content"], o["motion"], shape[0]
        self.start, self.kick = nn.Linear(o["motion"], o["state"]), nn.Parameter(torch.full((o["motion"],), 0.1))
        self.gru = nn.GRU(o["motion"], o["state"], batch_first=True)
        levels, norm = halvings(shape[1:-1], above=4), o["generator_norm"] != "none"  # without labels all are one
        widths = [o["width"] * o["growth"] ** max(level - 1, 0) for level in range(len(levels))]

        def activation(width: int) -> list[nn.Module]:
            return [*([nn.BatchNorm2d(width)] if norm else []), nn.LeakyReLU(0.2)]

        inputs = o["content"] + o["state"]
        layers: list[nn.Module] = [FromLatents(inputs, levels[-1], widths[-1], not norm), *activation(widths[-1])]
        full = o["finish"] == "convolution"
        for level in range(len(levels) - 2, -1 if full else 0, -1):
            width = widths[level]
            layers += [SameConvTranspose(widths[level + 1], width, o["kernel"], levels[level], not norm)]
            layers += activation(width)
        channels = shape[-1]
        layers += [
            SameConv(widths[0], channels, 3) if full else SameConvTranspose(widths[1], channels, o["kernel"], levels[0])
        ]
        self.pictures = nn.Sequential(*layers, nn.Tanh())

    def forward(self, content: Tensor, motion: Tensor) -> Tensor:
        rows, frames = motion.shape[:2]
        codes, _ = self.gru(motion * self.kick, self.start(motion[:, 0]).tanh()[None])
        each = torch.cat([content[:, None].expand(-1, frames, -1), codes], -1).reshape(rows * frames, -1)
        x = self.pictures(each)
        return x.view(rows, frames, *x.shape[1:]).transpose(1, 2)

    def draw(self, rows: int) -> tuple[Tensor, Tensor]:
        return torch.randn(rows, self.content), torch.randn(rows, self.frames, self.motion)


class SameConv3d(nn.Conv3d):
    """A convolution of stride 2 or 1 padded as XLA's SAME: what is odd goes to the high side."""

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for n, k, s in zip(x.shape[2:], self.kernel_size, self.stride, strict=True):
            total = max((-(-n // s) - 1) * s + k - n, 0)
            pads.append((total // 2, total - total // 2))
        if all(low == high for low, high in pads):
            return F.conv3d(x, self.weight, self.bias, self.stride, tuple(low for low, _ in pads))
        padded = F.pad(x, [n for pair in reversed(pads) for n in pair])
        return F.conv3d(padded, self.weight, self.bias, self.stride)


class Judge(nn.Module):
    """Convolutions of stride 2 down to 4 positions an axis, of frames or of clips."""

    def __init__(self, shape: Space, width: int, o: Mapping[str, Any]):
        super().__init__()
        space, channels, level = shape[:-1], shape[-1], 0
        layers: list[nn.Module] = []
        while max(space) > 4:
            stride = tuple(2 if n > 4 else 1 for n in space)
            inputs, channels = channels, width * o["growth"] ** level
            if len(space) == 2:
                layers += [SameConv(inputs, channels, o["kernel"], 2)]
            else:
                layers += [SameConv3d(inputs, channels, o["kernel"], stride)]  # type: ignore[arg-type]
            layers += [nn.LeakyReLU(0.2)]
            space = tuple(-(-n // s) for n, s in zip(space, stride, strict=True))
            level += 1
        self.body, self.last = nn.Sequential(*layers), nn.Linear(prod(space) * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x).movedim(1, -1).flatten(1))[:, 0]


def networks(shape: Space, o: Mapping[str, Any]) -> dict[str, nn.Module]:
    """The peers of `genjax_art.models.mocogan` with the same options."""
    frames = Judge(shape[1:], o["frames_width"], o)
    return {"generator": Generator(shape, o), "frames": frames, "clips": Judge(shape, o["clips_width"], o)}


def some_frames(x: Tensor, count: int) -> Tensor:
    """So many random frames of each clip, none twice, clip after clip."""
    order = torch.rand(len(x), x.shape[2]).argsort(1)[:, :count]
    chosen = x[torch.arange(len(x))[:, None], :, order].flatten(0, 1)
    return chosen.contiguous(memory_format=torch.channels_last)


def whole(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last_3d)


def video_step(
    nets: Mapping[str, nn.Module], tx: Mapping[str, torch.optim.Optimizer], objective: Mapping[str, Any]
) -> Step:
    """The judge of frames, that of clips, then the generator against both, on the fakes of one forward pass.

    The loss is the relativistic one; of `frame_penalties` and `penalties` R1 and R2 are taken.
    """
    g: Any = nets["generator"]
    average = copy.deepcopy(g)
    weights = {"frames": objective["frame_penalties"], "clips": objective["penalties"]}

    judged_frames = int(objective["frames_judged"])
    views: dict[str, Callable[[Tensor], Tensor]] = {"frames": partial(some_frames, count=judged_frames), "clips": whole}
    each = {"frames": judged_frames, "clips": 1}  # examples of one logit, which is their mean

    def seen(name: str, x: Tensor, fake: Tensor) -> Tensor:
        return torch.cat([views[name](x), views[name](fake)])

    def mean_logits(name: str, x: Tensor) -> Tensor:
        return nets[name](x).view(-1, each[name]).mean(1)

    def judged(name: str, x: Tensor, fake: Tensor) -> Tensor:
        both = seen(name, x, fake).detach().requires_grad_()
        logits = mean_logits(name, both)
        (slope,) = torch.autograd.grad(logits.sum(), both, create_graph=True)
        of_real, of_fake = slope.square().reshape(len(logits), -1).sum(1).chunk(2)
        real, fake = logits.chunk(2)
        return (F.softplus(fake - real) + weights[name]["r1"] * of_real + weights[name]["r2"] * of_fake).mean()

    def fooled(name: str, x: Tensor, fake: Tensor) -> Tensor:
        real, of_fake = mean_logits(name, seen(name, x, fake)).chunk(2)
        return F.softplus(real - of_fake).mean()

    def step(x: Tensor) -> Mapping[str, Tensor]:
        fake, losses = g(*g.draw(len(x))), {}
        for name in weights:
            tx[name].zero_grad(set_to_none=True)
            loss = judged(name, x, fake.detach())
            loss.backward()
            tx[name].step()
            losses[f"{name}/loss"] = loss.detach()
        tx["generator"].zero_grad(set_to_none=True)
        held = [p for name in weights for p in nets[name].parameters()]
        for p in held:
            p.requires_grad_(False)
        loss = torch.stack([fooled(name, x, fake) for name in weights]).sum()
        loss.backward()
        tx["generator"].step()
        for p in held:
            p.requires_grad_(True)
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(g.parameters()), 1e-3)
        return {**losses, "generator/loss": loss.detach()}

    return step


def load(module: nn.Module, params: Any) -> nn.Module:
    """`module` with our parameters."""

    def put(theirs: Tensor, value: Any) -> None:
        with torch.no_grad():
            theirs.copy_(torch.from_numpy(np.array(value)))

    def put_layer(theirs: Any, ours: Mapping[str, Any], turned: bool = False) -> None:
        kernel = np.asarray(ours["kernel"])
        rank = kernel.ndim - 2
        kernel = np.flip(kernel, range(rank)) if turned else kernel
        order = (rank, rank + 1) if turned else (rank + 1, rank)
        put(theirs.weight, kernel.transpose(*order, *range(rank)))
        if theirs.bias is not None:
            put(theirs.bias, ours["bias"])

    if isinstance(module, Judge):
        convolutions = [layer for layer in module.body if isinstance(layer, SameConv | SameConv3d)]
        for i, layer in enumerate(convolutions):
            put_layer(layer, params[f"Conv_{i}"])
        put_layer(module.last, params["Dense_0"])
        return module
    assert isinstance(module, Generator)
    gru, size = params["GRU_0"], module.gru.hidden_size
    put(module.gru.weight_ih_l0, np.asarray(gru["input"]["kernel"]).T)
    put(module.gru.bias_ih_l0, gru["input"]["bias"])
    put(module.gru.weight_hh_l0, np.asarray(gru["recurrent"]).T)
    put(module.gru.bias_hh_l0, np.concatenate([np.zeros(2 * size, np.float32), np.asarray(gru["bias"])]))
    first, *others = [
        layer for layer in module.pictures if isinstance(layer, FromLatents | SameConvTranspose | SameConv)
    ]
    levels = sorted((name for name in params if name.startswith("Level_")), reverse=True)
    put(module.kick, params["kick"])
    put_layer(module.start, params["Dense_0"])
    put_layer(first.dense, params["Dense_1"])
    last = next(params[name] for name in ("ConvTranspose_0", "Conv_0") if name in params)
    for layer, ours in zip(others, [*(params[name]["ConvTranspose_0"] for name in levels), last], strict=True):
        put_layer(layer, ours, turned=isinstance(layer, SameConvTranspose))
    norms = [layer for layer in module.pictures if isinstance(layer, nn.BatchNorm2d)]
    activated = [params.get("Activated_0"), *(params[name]["Activated_0"] for name in levels)]
    for layer, ours in zip(norms, activated, strict=False):
        norm = ours.get("ConditionalBatchNorm_0", ours)["BatchNorm_0"]  # which without labels is the plain one
        put(layer.weight, norm["scale"])
        put(layer.bias, norm["bias"])
    return module
