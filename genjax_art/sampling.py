"""Drawing from a trained method: which parameters, which latents, in pieces that fit the memory."""

import hashlib
import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Float, Int

from genjax_art.data.contract import Source, labels_of
from genjax_art.errors import RunError, UsageError, unknown
from genjax_art.keys import fold, key_of
from genjax_art.latents import TYPICAL, Latents, Spread, count, example_keys
from genjax_art.metrics.stream import evenly
from genjax_art.objectives.method import Method, Weights, draw_labels
from genjax_art.spec import Key, Keys
from genjax_art.train.state import TrainState

CHUNK = 250  # examples generated in one call
Which = Literal["raw", "ema", "default"]


def weights_of(state: TrainState, which: Which = "default") -> tuple[Weights, str]:
    """The parameters of all players with their extras, and whether moving averages are among them: "ema" or "raw".

    By default a player's moving average stands for its parameters where there is one.

    Raises:
      UsageError: another word. RunError: "ema" of a run without.
    """
    if which not in ("default", "raw", "ema"):
        raise unknown("kind of parameters", which, ("default", "raw", "ema"))
    if which == "ema" and not state.ema:
        raise RunError("this run keeps no moving average; leave --ema out, or train with --ema-half-life")
    averages = {} if which == "raw" else state.ema
    return Weights({**state.params, **averages}, dict(state.extras)), "ema" if averages else "raw"


def labels_for(
    method: Method, n: int, seed: int, label: str | int | Int[np.ndarray, " n"] | None = None
) -> Int[np.ndarray, " n"] | None:
    """The n labels of `sample`: all of one class (by its name, see `find_label`, or its number), or those given, or all
    classes in turn; None without classes.

    Raises:
      RunError: a label for an unconditional method.
      UsageError: an unknown label.
    """
    if not method.classes:
        if label is not None:
            raise RunError(f"label {label!r} asked of a run that is not conditional; train with --model.conditional")
        return None
    if isinstance(label, int):
        label = np.full(n, label)
    if isinstance(label, np.ndarray):
        if len(label) != n or label.min() < 0 or label.max() >= len(method.classes):
            raise UsageError(f"{len(label)} labels for {n} examples, or not from 0 to {len(method.classes) - 1}")
        return label.astype(np.int32)
    if label is None:
        return np.asarray(draw_labels(fold(key_of(seed), "labels"), n, len(method.classes)))
    return np.full(n, method.classes.index(find_label(label, method.classes)), np.int32)


def labels_like(source: Source, n: int, seed: int) -> Int[np.ndarray, " n"]:
    """Labels of n examples, evenly chosen, in random order: each class as often as among them, so that samples of these
    may be compared with the data. Equal numbers of all classes would differ from most data by their numbers alone.
    """
    whole, left = divmod(n, len(source))
    rows = np.concatenate([*[np.arange(len(source))] * whole, *([evenly(len(source), left)] if left else [])])
    labels = labels_of(source, rows)
    assert labels is not None, "data with classes have labels"
    return np.random.default_rng(seed).permutation(labels)


def find_label(label: str, classes: Sequence[str]) -> str:
    """The class that is called `label`, or looks so: other Unicode of the same letters, other case, blanks around it.

    Raises:
      UsageError: none, or several that look so and none that is it.
    """
    if label in classes:
        return label
    alike = [name for name in classes if _looks(name) == _looks(label)]
    closer = [name for name in alike if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", label)]
    for found in (closer, alike):
        if len(found) == 1:
            return found[0]
    raise unknown("label", label, alike or classes)


def _looks(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()


def draw(method: Method, weights: Weights, key: Key, n: int, labels: Any = None, spread: Spread = TYPICAL) -> Latents:
    """n latents from the prior, as NumPy arrays.

    Raises:
      UsageError: n < 1.
    """
    if n < 1:
        raise UsageError(f"--n must be at least 1, got {n}")
    step = jax.jit(method.draw, static_argnums=(2, 4))  # jit remembers the function, so a method is compiled once
    return jax.device_get(step(weights, key, n, labels, spread))


def decode(
    method: Method, weights: Weights, z: Latents, labels: Any = None, keys: Keys | None = None
) -> Float[np.ndarray, "n ..."]:
    """Examples [n, *shape] in the spec's range for latents z, `CHUNK` at a time."""
    step = jax.jit(method.decode)
    return in_chunks(lambda z, labels, keys: step(weights, z, labels, keys), z, labels, keys)


def encode(method: Method, weights: Weights, x: Float[np.ndarray, "n ..."], labels: Any = None) -> Latents:
    """The mean latents of examples in the spec's range, `CHUNK` at a time.

    Raises:
      RunError: a method without an encoder.
    """
    if method.encode is None:
        raise RunError("this run has no encoder; choose a run of a VAE (music-vae, conv-vae, ...)")
    step = jax.jit(method.encode)
    return in_chunks(lambda x, labels: step(weights, x, labels, None), x, labels)


def ability(method: Method, name: str, remedy: str) -> Callable[..., Any]:
    """What the method can do under that name.

    Raises:
      RunError: it cannot; with the remedy.
    """
    if name not in method.abilities:
        raise RunError(f"this run cannot {name}: {remedy}")
    return method.abilities[name]


def in_chunks(step: Callable[..., Any], *arrays: Any) -> Any:
    """What `step` makes of the rows of all trees of arrays (None stays None), `CHUNK` at a time, as NumPy arrays.

    The last piece is filled up, so that all have one shape and are compiled once.
    """
    n = count(arrays[0])
    size = min(CHUNK, n)
    pieces = []
    for start in range(0, n, size):
        some = partial(_rows, index=np.arange(start, start + size) % n)
        pieces.append(jax.device_get(step(*(jax.tree.map(some, tree) for tree in arrays))))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:n], *pieces)


def _rows(array: Any, index: Int[np.ndarray, " k"]) -> Any:
    """Of keys by way of their numbers: JAX would compile six programs to index them."""
    if not jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
        return array[index]
    numbers = np.asarray(jax.random.key_data(array))[index]
    return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(array))


def sample(
    method: Method,
    weights: Weights,
    *,
    n: int,
    seed: int,
    label: str | int | Int[np.ndarray, " n"] | None = None,
    spread: Spread = TYPICAL,
) -> Float[np.ndarray, "n ..."]:
    """n examples [n, *shape], labels as of `labels_for`: a pure function of the weights and the arguments.

    Raises:
      UsageError: n < 1 or an unknown label.
      RunError: a label for an unconditional method.
    """
    key = key_of(seed)
    labels = labels_for(method, n, seed, label)
    z = draw(method, weights, fold(key, "latents"), n, labels, spread)
    return decode(method, weights, z, labels, example_keys(fold(key, "decoder"), n))


def parameter_hash(params: Any) -> str:
    """12 hexadecimal digits of a SHA-256 over all names, shapes and bytes of a tree of parameters."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)}{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]
