"""What several tests share."""

import re

DILATION = re.compile(r"lhs_dilate ?= ?(\[[\d, ]+\]|[\dx]+)|batch_group_count ?= ?(\d+)")


def slow_convolutions(text: str) -> list[str]:
    """The lines of a CPU module that hold a convolution with dilated input or batch groups.

    XLA runs those in a slow loop on CPU. `text` is what `jax.jit(f).lower(...).as_text()` (StableHLO) or
    `.compile().as_text()` (HLO) of it gives.
    """
    return [
        line.strip()
        for line in text.splitlines()
        if any(set(re.findall(r"\d+", match[0])) != {"1"} for match in DILATION.finditer(line))
    ]
