"""Data that lie on the device: a batch is then the numbers of its rows, and the step gathers them itself.

A step on a fast device takes less time than its batch takes to be made and sent. Where the whole set fits, it is sent
once, as bytes where it has bytes, and each batch costs four bytes an example.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np

from genjax_art.spec import Batch

ROWS, LEVELS = "rows", "levels"


@dataclass(frozen=True)
class Resident:
    """A data set for `compile_step`: an array of all examples for each entry of a batch.

    Where x is of bytes, `levels` has the number that each byte stands for. Without arrays batches come from the host.
    """

    arrays: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)

    def read(self, batch: Batch, arrays: Mapping[str, jax.Array]) -> Batch:
        """The batch whose rows are numbered; inside a step.

        Args:
          batch: `rows`, int [..., b]; where there are no arrays, any batch, which passes.
          arrays: those of this object, on the device.
        """
        if not self.arrays:
            return batch
        found = {
            name: jnp.take(array, batch[ROWS], axis=0, mode="clip") for name, array in arrays.items() if name != LEVELS
        }
        if LEVELS in arrays:  # a table, since a division may be rounded otherwise on a device
            found["x"] = jnp.take(arrays[LEVELS], found["x"].astype(jnp.int32), mode="clip")
        return found


HOST = Resident()
