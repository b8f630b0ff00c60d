"""A data set by name, as a `Source`: shipped, from the user's own module, or any image set of TFDS."""

from typing import Any

from genjax_art import parts
from genjax_art.data import registered, sets
from genjax_art.data.contract import Source


def find_set(name: str) -> parts.Part:
    """The builder of the set `name`; its keyword-only arguments are the options of that set.

    `name` is that of a file in `sets/` (`mnist_5k`, `procedural_art`, `image_folder`, `ring8`, ...), of a function in
    the user's own module (`my_module:build`), or else of an image set of TensorFlow Datasets (`mnist`, `cifar10`, ...).
    Whether there is a set of such a name shows when it is opened.

    Raises:
      UsageError: the user's own module or function is not there.
    """
    if parts.is_outside(name) or name in parts.names(sets):
        return parts.find(sets, name, kind="data set")
    return registered.builder(name)


def open_source(name: str, **options: Any) -> Source:
    """Opens the data set `name` with its own options, prepared and decoded where that was not done before.

    Raises:
      UsageError: an option that the set does not have, or a value that is not among its choices.
      DataError: the set cannot be had.
    """
    build = find_set(name)
    return build(**parts.arguments(build, parts.complete(build, "data set", name, options)))
