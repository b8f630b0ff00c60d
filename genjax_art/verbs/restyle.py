"""Files of the user's in the styles that a run knows."""

import sys
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from genjax_art.errors import RunError, UsageError
from genjax_art.files import printable
from genjax_art.latents import rows
from genjax_art.media import medium
from genjax_art.run.load import Run
from genjax_art.verbs.output import Output


def draw(
    run: Run,
    out: Output,
    *,
    file: tuple[Path, ...],
    label: str | None = None,
    to: tuple[str, ...] = (),
) -> list[Path]:
    """Files of yours in other styles, a row each: itself, then what it is in every class of the run, by an encoder.

    A file is encoded to its mean mu with the label that it has, and mu is decoded with the others. Of a file longer
    than the run's examples its beginning is taken.

    Args:
      file: the pictures, music or clips to restyle.
      label: the class that the files are of (default: of each the one as which it is reconstructed best).
      to: the classes to show them in (default: all, in their order).

    Raises:
      RunError: a run that is not conditional, or has no encoder; a medium that reads no files.
      UsageError: no files, or no such class.
    """
    if not file:
        raise UsageError("restyle needs one file of yours or more")
    if not run.method.classes:
        raise RunError("this run knows no classes: restyle needs a conditional one with an encoder, such as icons-vae")
    x = np.stack([medium.windows(run.read(path).whole, run.spec)[0] for path in file])
    classes = run.method.classes
    own = best_labels(run, x) if label is None else run.labels(len(x), 0, label)
    assert own is not None
    if label is None:
        for path, one in zip(file, own, strict=True):
            print(f"{printable(path.name)} is taken for {classes[one]}: --label names another", file=sys.stderr)
    wanted = np.concatenate([run.labels(1, 0, name) for name in to or classes])
    row, style = np.repeat(np.arange(len(x)), len(wanted)), np.tile(wanted, len(x))
    made = run.decode(rows(run.encode(x, own), row), style).reshape(len(x), len(wanted), *run.spec.shape)
    table = np.concatenate([x[:, None], made], 1).reshape(-1, *run.spec.shape)
    labels = np.concatenate([own[:, None], style.reshape(len(x), -1)], 1).ravel()
    about = {**run.about(), "styles": ", ".join(classes[style] for style in wanted)}
    for i, (path, one) in enumerate(zip(file, own, strict=True)):
        about |= {f"of_{i}": path.name, f"label_{i}": classes[one]}
    return out.table(run, table, 1 + len(wanted), about, labels)


def best_labels(run: Run, x: Float[np.ndarray, "n *shape"]) -> Int[np.ndarray, " n"]:
    """Of each example the class as which its mean is decoded to it with the smallest squared error."""
    errors = []
    for label in range(len(run.method.classes)):
        labels = np.full(len(x), label, np.int32)
        again = run.decode(run.encode(x, labels), labels)
        errors.append(np.mean((again - x) ** 2, axis=tuple(range(1, x.ndim))))
    return np.argmin(errors, 0).astype(np.int32)
