"""Training steps in plain PyTorch: eager (channels last), compiled or as a CUDA graph, and a worker that times them.

The worker is a process of its own, so that neither framework's threads and memory disturb the other's; it reads
one JSON request a line and answers with one: {"rounds": n} -> {"ms": [...]}.
"""

import copy
import json
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genjax_art.benchmark.peers import torch_mocogan, torch_models, torch_r3gan
from genjax_art.benchmark.peers.turns import turn

Step = Callable[[Tensor], Mapping[str, Tensor]]


def networks(model: str, shape: tuple[int, ...], options: Mapping[str, Any]) -> dict[str, nn.Module]:
    """The peer of `genjax_art.models.<model>` with the same options."""
    o = dict(options)
    if model == "dcgan":
        norms = [o["generator_norm"] == "batch", o["discriminator_norm"] == "batch"]
        return {
            "generator": torch_models.dcgan_generator(shape, o["latents"], o["width"], o["kernel"], norms[0]),
            "discriminator": torch_models.dcgan_discriminator(shape, o["width"], o["kernel"], norms[1]),
        }
    if model == "mlp":
        return {
            "generator": torch_models.mlp_generator(shape, o["latents"], o["width"]),
            "discriminator": torch_models.mlp_discriminator(shape, o["width"]),
        }
    if model == "r3gan":
        size = (o["widths"], o["blocks"], o["expansion"])
        return {
            "generator": torch_r3gan.Generator(shape, o["latents"], *size),
            "discriminator": torch_r3gan.Discriminator(shape, *size),
        }
    if model == "mocogan":
        return torch_mocogan.networks(shape, o)
    if model == "mlp_vae":
        return torch_models.mlp_vae(shape, o["latents"], o["width"])
    if model == "conv_vae":
        return torch_models.conv_vae(shape, o["latents"], o["width"], o["kernel"], o["hidden"])
    raise ValueError(f"no PyTorch peer of model {model!r}; there are: conv_vae, dcgan, mlp, mlp_vae, mocogan, r3gan")


def adam(module: nn.Module, optimizer: Mapping[str, Any]) -> torch.optim.Optimizer:
    betas = (optimizer["b1"], optimizer["b2"])
    on_gpu = next(module.parameters()).is_cuda  # a graph cannot ask the host for the count of steps
    return torch.optim.Adam(module.parameters(), optimizer["learning_rate"], betas, fused=True, capturable=on_gpu)


def average_into(average: nn.Module, module: nn.Module, decay: float = 0.999) -> None:
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(module.parameters()), 1 - decay)


def gan_step(nets: Mapping[str, nn.Module], optimizers: Mapping[str, Any], objective: Mapping[str, Any]) -> Step:
    """Discriminator, then generator against the new one, on the fakes of one forward pass."""
    g, d = nets["generator"], nets["discriminator"]
    tx = {name: adam(net, optimizers[name]) for name, net in nets.items()}
    average = copy.deepcopy(g)
    loss, penalties = objective["loss"], {k: v for k, v in objective["penalties"].items() if v}
    batch_norm = any(isinstance(m, nn.BatchNorm2d) for m in d.modules())

    def judge(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        if batch_norm:
            return d(real), d(fake)
        logits = d(torch.cat([real, fake]))
        return logits[: len(real)], logits[len(real) :]

    def d_loss(real: Tensor, fake: Tensor) -> Tensor:
        if not penalties:
            r, f = judge(real, fake)
            return (F.softplus(-r) + F.softplus(f)).mean()
        both = torch.cat([real, fake]).requires_grad_()
        logits = d(both)
        (slope,) = torch.autograd.grad(logits.sum(), both, create_graph=True)
        r, f = logits[: len(real)], logits[len(real) :]
        return F.softplus(f - r).mean() + penalties["r1"] * 2 * slope.square().sum((1, 2, 3)).mean()

    def g_loss(real: Tensor, fake: Tensor) -> Tensor:
        if loss == "relativistic":
            r, f = judge(real, fake)
            return F.softplus(r - f).mean()
        f = d(fake)
        return -F.softplus(f).mean() if loss == "minimax" else F.softplus(-f).mean()

    def step(x: Tensor) -> Mapping[str, Tensor]:
        fake = g(torch.randn(len(x), objective["latents"], device=x.device))
        tx["discriminator"].zero_grad(set_to_none=True)
        d_value = d_loss(x, fake.detach())
        d_value.backward()
        tx["discriminator"].step()
        tx["generator"].zero_grad(set_to_none=True)
        for p in d.parameters():
            p.requires_grad_(False)
        g_value = g_loss(x, fake)
        g_value.backward()
        tx["generator"].step()
        for p in d.parameters():
            p.requires_grad_(True)
        average_into(average, g)
        return {"discriminator/loss": d_value.detach(), "generator/loss": g_value.detach()}

    return step


def video_step(nets: Mapping[str, nn.Module], optimizers: Mapping[str, Any], objective: Mapping[str, Any]) -> Step:
    """That of `torch_mocogan`."""
    return torch_mocogan.video_step(nets, {name: adam(net, optimizers[name]) for name, net in nets.items()}, objective)


def vae_step(nets: Mapping[str, nn.Module], optimizers: Mapping[str, Any], objective: Mapping[str, Any]) -> Step:
    """The negative ELBO with a Bernoulli likelihood, or with `samples` the importance weighted bound."""
    both = nn.ModuleDict(dict(nets))
    tx, average = adam(both, optimizers["vae"]), copy.deepcopy(both)
    encoder, decoder, k = nets["encoder"], nets["decoder"], objective.get("samples", 1)

    def step(x: Tensor) -> Mapping[str, Tensor]:
        mu, logvar = encoder(x)
        noise = torch.randn(len(x), k, mu.shape[-1], device=x.device)
        z = mu[:, None] + (0.5 * logvar).exp()[:, None] * noise
        logits = decoder(z.view(len(x) * k, -1)).permute(0, 2, 3, 1).reshape(len(x), k, -1)
        x01 = ((x + 1) / 2).permute(0, 2, 3, 1).reshape(len(x), 1, -1)
        log_x = -F.binary_cross_entropy_with_logits(logits, x01.expand_as(logits), reduction="none").sum(-1)
        if k == 1:
            kl = 0.5 * (logvar.exp() - 1 - logvar + mu**2).sum(-1)
            loss = (kl - log_x[:, 0]).mean()
        else:
            log_z = 0.5 * (noise**2 - z**2 + logvar[:, None]).sum(-1)
            loss = -(torch.logsumexp(log_x + log_z, 1) - math.log(k)).mean()
        tx.zero_grad(set_to_none=True)
        loss.backward()
        tx.step()
        average_into(average, both)
        return {"vae/loss": loss.detach()}

    return step


class InBfloat16(nn.Module):
    """A network that computes in bfloat16 where autocast does, between float32 inputs and outputs."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, *inputs: Tensor) -> Any:
        with torch.autocast(inputs[0].device.type, torch.bfloat16):
            out = self.net(*inputs)
        return tuple(y.float() for y in out) if isinstance(out, tuple) else out.float()


def make_step(request: Mapping[str, Any], mode: str) -> tuple[Step, Tensor]:
    """The step of a benchmark row, and a batch for it, on the row's device and in its precision."""
    torch.manual_seed(0)
    device, precision = request.get("device", "cpu"), request.get("precision", "float32")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision != "float32"
    torch.backends.cudnn.benchmark = device == "cuda"
    shape = tuple(request["shape"])
    nets = networks(request["model"], shape, request["model_options"])
    for name, net in nets.items():
        if request["model"] == "r3gan":
            torch_r3gan.randomise(net)
        net = channels_last(net.to(device))
        net = InBfloat16(net) if precision == "bfloat16" else net
        nets[name] = torch.compile(net) if mode == "compiled" else net  # type: ignore[assignment]
    objective = {**request["objective_options"], "latents": request["model_options"].get("latents")}
    make = video_step if "clips" in nets else gan_step if "generator" in nets else vae_step
    x = (torch.rand(request["batch_size"], *shape, device=device) * 2 - 1).movedim(-1, 1)
    step = make(nets, request["optimizers"], objective)
    return (graphed(step, x) if mode == "graphs" else step), x


def channels_last(net: nn.Module) -> nn.Module:
    """Its kernels as CPU and GPU want them."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for p in net.parameters():
        if p.ndim in formats:
            p.data = p.data.contiguous(memory_format=formats[p.ndim])
    return net


def graphed(step: Step, x: Tensor) -> Step:
    """`step` on `x` as one CUDA graph: the host sends it whole, so that small kernels follow one another at once."""
    if not x.is_cuda:
        raise RuntimeError("CUDA graphs want a GPU")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step(x)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        losses = step(x)

    def replay(_: Tensor) -> Mapping[str, Tensor]:
        graph.replay()
        return losses

    return replay


def main() -> None:
    """Answers requests from standard input: first the row, then rounds."""
    request = json.loads(sys.stdin.readline())
    modes, notes = list(request["modes"]), dict[str, str]()
    if "compiled" in modes and any(request["objective_options"].get("penalties", {}).values()):
        modes.remove("compiled")
        notes["compiled"] = "torch.compile has no second derivatives"
    steps: dict[str, tuple[Step, Tensor]] = {}
    for mode in modes:
        try:
            steps[mode] = make_step(request, mode)
            for _ in range(3):
                steps[mode][0](steps[mode][1])
        except Exception as error:  # a mode that does not work here is reported, not hidden
            notes[mode] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            steps.pop(mode, None)
    print(json.dumps({"modes": list(steps), "notes": notes, "version": torch.__version__}), flush=True)
    for line in sys.stdin:
        ask = json.loads(line)
        step, x = steps[ask["mode"]]

        def start(step: Step = step, x: Tensor = x) -> Callable[[], Any]:
            losses = step(x)
            return lambda: [value.item() for value in losses.values()]

        print(json.dumps({"ms": turn(start, ask["steps"])}), flush=True)


if __name__ == "__main__":
    main()
