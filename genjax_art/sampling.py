"""Drawing from a trained method: which parameters, which latents, in pieces that fit the memory."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import numpy as np

from genjax_art.errors import RunError, UsageError, unknown
from genjax_art.keys import fold
from genjax_art.objectives.method import Method, draw_labels, draw_latents
from genjax_art.spec import Params
from genjax_art.train.state import TrainState

CHUNK = 250  # examples generated in one call


def parameters(
    method: Method, state: TrainState, which: Literal["raw", "ema", "default"] = "default"
) -> tuple[Params, Mapping[str, Any], str]:
    """The parameters that sample, their extras, and whether they are "ema" or "raw".

    By default the moving average where there is one.

    Raises:
      RunError: "ema" of a run without.
    """
    name = method.sampled
    if which == "ema" and name not in state.ema:
        raise RunError(f"this run keeps no moving average of {name}; leave --ema out, or train with --ema-half-life")
    average = name in state.ema and which != "raw"
    return (state.ema if average else state.params)[name], state.extras[name], "ema" if average else "raw"


def labels_for(method: Method, n: int, seed: int, label: str | None = None) -> np.ndarray | None:
    """The n labels of `sample`: all of the class named `label`, or all classes in turn; None without classes.

    Raises:
      RunError: a label for an unconditional method.
      UsageError: an unknown label.
    """
    if not method.classes:
        if label is not None:
            raise RunError(f"label {label!r} asked of a run that is not conditional; train with --model.conditional")
        return None
    if label is None:
        return np.asarray(draw_labels(fold(jax.random.key(seed), "labels"), n, len(method.classes)))
    if label not in method.classes:
        raise unknown("label", label, method.classes)
    return np.full(n, method.classes.index(label), np.int32)


def generate(method: Method, params: Params, extras: Mapping[str, Any], z: Any, labels: Any) -> np.ndarray:
    """Examples [n, *shape] in the spec's range for latents z [n, latents], `CHUNK` at a time."""
    step = jax.jit(method.generate)  # jit remembers the function, so a method is compiled once
    return in_chunks(lambda z, labels: step(params, extras, z, labels), z, labels)


def encode(method: Method, params: Params, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and log-variance of q(z|x), [n, latents] each, for examples in the spec's range, `CHUNK` at a time.

    Raises:
      RunError: a method without an encoder.
    """
    if method.encode is None:
        raise RunError("this run has no encoder; choose a run of a VAE (music-vae, conv-vae, ...)")
    encoder = method.encode
    step = jax.jit(lambda params, x: encoder(params, x, None))
    return in_chunks(lambda x: step(params, x), x)


def likeliest_tokens(method: Method, params: Params, z: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The likeliest token [n, steps, voices] at each place of music x, given z and all that x has before it."""
    assert method.token_logits is not None
    logits = method.token_logits
    step = jax.jit(lambda params, z, x: logits(params, z, x).argmax(-1))
    return in_chunks(lambda z, x: step(params, z, x), z, x)


def in_chunks(step: Callable[..., Any], *arrays: Any) -> Any:
    """What `step` makes of the rows of all arrays (None stays None), `CHUNK` at a time, as NumPy arrays.

    The last piece is filled up, so that all have one shape and are compiled once.
    """
    n = len(arrays[0])
    size = min(CHUNK, n)
    pieces = []
    for start in range(0, n, size):
        rows = np.arange(start, start + size) % n
        pieces.append(jax.device_get(step(*(None if a is None else a[rows] for a in arrays))))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:n], *pieces)


def sample(
    method: Method,
    state: TrainState,
    *,
    n: int,
    seed: int,
    label: str | None = None,
    truncation: float | None = None,
    which: Literal["raw", "ema", "default"] = "default",
) -> np.ndarray:
    """n examples [n, *shape]: a pure function of the state and the arguments.

    Raises:
      UsageError: n < 1, truncation <= 0 or an unknown label.
      RunError: a label for an unconditional method.
    """
    if n < 1:
        raise UsageError(f"--n must be at least 1, got {n}")
    z = draw_latents(fold(jax.random.key(seed), "latents"), n, method.latents, truncation)
    params, extras, _ = parameters(method, state, which)
    return generate(method, params, extras, z, labels_for(method, n, seed, label))


def parameter_hash(params: Params) -> str:
    """12 hexadecimal digits of a SHA-256 over all names, shapes and bytes of `params`."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)}{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]
