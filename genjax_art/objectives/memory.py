"""What a judge carries from round to round, in the state's extras: a checkpoint has it, and a run resumes exactly.

A memory is written by its judge's updates, has only what the rules ask for, and is the same on all devices.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from genjax_art.losses.penalty import moving_average
from genjax_art.models.augment import adapt_probability
from genjax_art.objectives.rounds import MEMORY, D, Memory, Outputs
from genjax_art.shards import global_mean, shares

LECAM_DECAY = 0.99  # arXiv:2104.03310
ADAPT_EVERY = 4  # updates of the discriminator: arXiv:2006.06676


def memory_entry(judge: str) -> str:
    """The entry of a state's extras with the memory of that judge.

    Plain "memory" for a judge called `discriminator`, as in the checkpoints of runs from before there were several.
    """
    return MEMORY if judge == D else f"{judge} {MEMORY}"


def first_memory(*, counting: bool, averaging: bool, adaptive: bool) -> dict[str, Array]:
    """The number of updates so far; moving averages of D(x) and D(G(z)); the adaptive augmentation's probability."""
    counts = ["updates"] * counting + ["rounds"] * adaptive
    means = ["average_real", "average_fake"] * averaging + ["probability", "signs"] * adaptive
    return {name: jnp.zeros((), jnp.int32) for name in counts} | {name: jnp.zeros(()) for name in means}


def remember(memory: Memory, of_real: Outputs, of_fake: Outputs, images: int) -> dict[str, Array]:
    """The memory after an update of the discriminator on `images` reals and fakes (of this device and micro-batch)."""
    after = dict(memory)
    if "updates" in memory:
        after["updates"] = memory["updates"] + 1
    for name, out in (("average_real", of_real), ("average_fake", of_fake)):
        if name in memory:
            after[name] = moving_average(memory[name], out["logits"], LECAM_DECAY)
    if "probability" in memory:
        after |= adapted(memory, of_real["logits"], images * shares())
    return after


def adapted(memory: Memory, logits: Float[Array, "b"], images: int) -> dict[str, Array]:
    """The augmentation's probability follows r_t, the mean of sign D(x) over four updates, to its target of 0.6.

    ADA: Karras et al. 2020 (arXiv:2006.06676).
    """
    signs, rounds = memory["signs"] + global_mean(jnp.sign(logits)), memory["rounds"] + 1
    due = rounds == ADAPT_EVERY
    probability = adapt_probability(memory["probability"], signs / ADAPT_EVERY, ADAPT_EVERY * images)
    return {
        "probability": jnp.where(due, probability, memory["probability"]),
        "signs": jnp.where(due, 0.0, signs),
        "rounds": jnp.where(due, 0, rounds),
    }


def step_of(memory: Memory, repeats: int, *, moves: bool) -> Int[Array, ""] | None:
    """How many steps of training are done, in each of which the judge is updated `repeats` times; None: not counted.

    `moves`: in an update of the judge; else in the generator's, before which the judge has moved in the same step.
    """
    if "updates" not in memory:
        return None
    before = memory["updates"] - (0 if moves else 1)
    return before // repeats
