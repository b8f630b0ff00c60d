"""What other packages find on the same features: the other side of parity, and of cost.

Each is imported when it is asked for. Not copied are: `score_X` of vendi-score, which ignores its order; an
authenticity that looks up the wrong set; the call of SciPy's sqrtm with an argument that SciPy 1.18 no longer has,
which is mended here for pytorch-fid and clean-fid.
"""

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from types import SimpleNamespace
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from genjax_art.metrics.classes import inception_score, softmax
from genjax_art.metrics.frechet import frechet
from genjax_art.metrics.kernels import kid
from genjax_art.metrics.manifold import overlaps
from genjax_art.metrics.vendi import vendi

MODULES = {
    "prdc": "prdc",
    "pytorch-fid": "pytorch_fid",
    "clean-fid": "cleanfid",
    "torch-fidelity": "torch_fidelity",
    "vendi-score": "vendi_score",
}


@dataclass(frozen=True)
class Row:
    """`figures` gives ours and theirs; `within` is relative, or absolute where `absolute` says so."""

    peer: str
    name: str
    figures: Callable[[], tuple[float, float]]
    within: float
    absolute: bool = False

    @property
    def present(self) -> bool:
        return importlib.util.find_spec(MODULES[self.peer]) is not None


@dataclass(frozen=True)
class Parity:
    ours: float
    theirs: float
    ok: bool


def check(row: Row) -> Parity:
    with redirect_stdout(StringIO()):  # some peers print
        ours, theirs = (float(figure) for figure in row.figures())
    scale = 1.0 if row.absolute else abs(theirs)
    return Parity(ours, theirs, bool(abs(ours - theirs) <= row.within * scale))


def rows(n: int = 500, width: int = 24, seed: int = 0) -> list[Row]:
    """Every figure that a peer has, too, on features that make none of them trivial."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(width, width)) / np.sqrt(width)
    x = rng.normal(size=(n, width)) @ mix + 1.0
    y = 1.1 * rng.normal(size=(n, width)) @ mix + 1.1
    few_x, few_y = x[: width // 2], y[: width // 2]
    logits = 3.0 * rng.normal(size=(n, 10))
    found = [
        Row("pytorch-fid", "FD", lambda: (frechet(x, y).value, _torch_fid(x, y)), 1e-8),
        Row("clean-fid", "FD", lambda: (frechet(x, y).value, _clean_fid(x, y)), 1e-8),
        Row("torch-fidelity", "FD", lambda: (frechet(x, y).value, _fidelity_fid(x, y)), 1e-8),
        Row("torch-fidelity", "FD, N <= d", lambda: (frechet(few_x, few_y).value, _fidelity_fid(few_x, few_y)), 1e-6),
        Row("clean-fid", "KID", lambda: (kid(x, y).value, _clean_kid(x, y)), 1e-6, True),
        Row("torch-fidelity", "KID, 5 subsets of 100", lambda: _subsets(x, y), 1e-6, True),
        Row("torch-fidelity", "IS, 10 parts", lambda: (inception_score(softmax(logits), 10), _isc(logits)), 1e-9),
    ]
    for name in ("precision", "recall", "density", "coverage"):
        found.append(Row("prdc", f"{name}, k=5", partial(_prdc, x, y, name), 1e-12))
    for name in ("precision", "recall"):
        found.append(Row("torch-fidelity", f"{name}, k=3", partial(_prc, x, y, name), 1e-6))  # float32 means
    for order in (1, 2, np.inf):
        found.append(Row("vendi-score", f"Vendi, q={order}", partial(_vendi, x, order), 1e-4))
    return found


def _moments(x: Float64[np.ndarray, "n d"]) -> tuple[np.ndarray, np.ndarray]:
    return x.mean(0), np.cov(x, rowvar=False)


def _with_new_sqrtm(module: Any) -> Any:
    linalg = importlib.import_module("scipy.linalg")

    def sqrtm(matrix: np.ndarray, disp: bool = True) -> Any:
        return linalg.sqrtm(matrix) if disp else (linalg.sqrtm(matrix), None)

    module.linalg = SimpleNamespace(sqrtm=sqrtm)
    return module


def _torch_fid(x: np.ndarray, y: np.ndarray) -> float:
    module = _with_new_sqrtm(importlib.import_module("pytorch_fid.fid_score"))
    return module.calculate_frechet_distance(*_moments(x), *_moments(y))


def _clean_fid(x: np.ndarray, y: np.ndarray) -> float:
    module = _with_new_sqrtm(importlib.import_module("cleanfid.fid"))
    return module.frechet_distance(*_moments(x), *_moments(y))


def _clean_kid(x: np.ndarray, y: np.ndarray) -> float:
    """One subset of all examples."""
    return importlib.import_module("cleanfid.fid").kernel_distance(x, y, num_subsets=1, max_subset_size=len(x))


def _fidelity_fid(x: np.ndarray, y: np.ndarray) -> float:
    module = importlib.import_module("torch_fidelity.metric_fid")
    stats = [dict(zip(("mu", "sigma"), _moments(rows), strict=True)) for rows in (x, y)]
    return module.fid_statistics_to_metric(*stats, False)["frechet_inception_distance"]


def _subsets(x: np.ndarray, y: np.ndarray, count: int = 5, size: int = 100, seed: int = 2020) -> tuple[float, float]:
    rng, ours = np.random.RandomState(seed), []
    for _ in range(count):  # the same draws as theirs, in the same order
        a, b = (rng.choice(len(rows), size, replace=False) for rows in (x, y))
        ours.append(kid(x[a], y[b]).value)
    module = importlib.import_module("torch_fidelity.metric_kid")
    options = {"kid_subsets": count, "kid_subset_size": size, "rng_seed": seed, "verbose": False}
    theirs = module.kid_features_to_metric(*_tensors(x, y), **options)
    return float(np.mean(ours)), theirs["kernel_inception_distance_mean"]


def _isc(logits: np.ndarray) -> float:
    module = importlib.import_module("torch_fidelity.metric_isc")
    return module.isc_features_to_metric(*_tensors(logits), splits=10, shuffle=False)["inception_score_mean"]


def _prdc(x: np.ndarray, y: np.ndarray, name: str) -> tuple[float, float]:
    return getattr(overlaps(x, y, (5,), closed=False)[0], name), compute_prdc(x, y)[name]


def compute_prdc(real: Float[np.ndarray, "n d"], fake: Float[np.ndarray, "m d"]) -> Mapping[str, float]:
    return importlib.import_module("prdc").compute_prdc(real, fake, nearest_k=5)


def _prc(x: np.ndarray, y: np.ndarray, name: str) -> tuple[float, float]:
    return getattr(overlaps(x, y, (3,))[0], name), fidelity_prc(x, y)[name]


def fidelity_prc(real: Float[np.ndarray, "n d"], fake: Float[np.ndarray, "m d"]) -> Mapping[str, float]:
    module = importlib.import_module("torch_fidelity.metric_prc")
    return module.prc_features_to_metric(*_tensors(fake, real), verbose=False)


def fidelity_kid(real: Float[np.ndarray, "n d"], fake: Float[np.ndarray, "m d"]) -> Mapping[str, float]:
    """As published: a hundred subsets of 1,000."""
    module = importlib.import_module("torch_fidelity.metric_kid")
    return module.kid_features_to_metric(*_tensors(real, fake), verbose=False)


def _vendi(x: np.ndarray, order: float | int) -> tuple[float, float]:
    module = importlib.import_module("vendi_score.vendi")
    return vendi(x, order), module.score_dual(x, q="inf" if order == np.inf else order)


def _tensors(*arrays: np.ndarray) -> list[Any]:
    torch = importlib.import_module("torch")
    return [torch.from_numpy(array) for array in arrays]
