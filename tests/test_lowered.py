"""What GPU and TPU are given, looked at on a machine without them: the step is lowered for them, and nothing compiled.

Further transposes, which a compiler may add, are not seen here.
"""

import functools
import re

import numpy as np
import pytest
from helpers import thorough
from small import noise, noise_batch, shrink, spec_of

from genjax_art.build import build_plan, load_preset
from genjax_art.config import with_run
from genjax_art.run.feed import data_of, stream_of
from genjax_art.run.training import compile_plan
from genjax_art.train.compile import lower
from genjax_art.train.resident import HOST

BATCH = 13  # divides no other extent
CALL = 3  # steps
PICTURES = ["dcgan", "conv-vae", *thorough("sngan-cifar10", "r3gan-small", "can-art", "dcgan-art")]
MUSIC = ["music-vae-small", *thorough("muse-gan-small")]
CHANNELS_LAST = r"\[b, 0, 1, f\]x\[0, 1, (i, o|o, i)\]->\[b, 0, 1, f\]"
KERNEL_GRADIENT = r"\[f, 0, 1, b\]x\[i, 0, 1, o\]->\[0, 1, b, f\]"  # both read with channels last


@functools.cache
def lowered(name, platform, several=False):
    """The text of a preset's step, or of a call of several on data that lie on the device."""
    experiment = load_preset(name)
    spec = spec_of(experiment.data)
    options = {"batch_size": BATCH, "steps_per_call": CALL if several else 1}
    plan = build_plan(with_run(shrink(experiment), **options), spec)
    if not several:
        call, batch = compile_plan(plan, "jit").step, noise_batch(spec, plan.images_per_step)
    else:
        source = noise(spec)
        data = data_of(plan, source)
        assert data is not HOST
        call, row = compile_plan(plan, "jit", data).several, next(stream_of(plan, source, 0, data))
        batch = {name: np.stack([x] * CALL) for name, x in row.items()}
    return lower(call, plan.state_shapes(), batch, (platform,)).as_text()


def convolutions(text):
    """Their dimension numbers."""
    return re.findall(r"stablehlo\.convolution.*?dim_numbers = (\[.*?\]->\[.*?\])", text)


def transposed_activations(text):
    """Transposes of arrays with an axis of the batch and four axes at least, that move more than axes of length 1."""
    found = []
    for order, shape in re.findall(r"stablehlo\.transpose .*?dims = \[([\d, ]+)\] : \(tensor<([\dx]+)x\w+>\)", text):
        extents = [int(n) for n in shape.split("x")]
        moved = [i for i in map(int, order.split(",")) if extents[i] > 1]
        if len(extents) >= 4 and moved != sorted(moved) and any(n % BATCH == 0 for n in extents):
            found.append(f"{shape}: {order}")
    return found


def main_lines(text):
    """The operations of the main function that are in no loop or branch."""
    body = text[text.index("func.func public @main") :].partition("\n")[2]
    return re.findall(r"^    (?=%|stablehlo|func|call)(.*)$", body[: body.index("\n  }")], re.MULTILINE)


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_convolved_with_channels_last_and_never_transposed(name):
    text = lowered(name, "cuda")
    found = convolutions(text)
    assert found and any(re.fullmatch(KERNEL_GRADIENT, numbers) for numbers in found)
    assert not [n for n in found if not re.fullmatch(f"{CHANNELS_LAST}|{KERNEL_GRADIENT}", n)]
    assert not transposed_activations(text)
    assert "callback" not in text


def test_the_transposes_are_seen():
    line = "%1 = stablehlo.transpose %0, dims = [{}] : (tensor<{}xf32>) -> tensor<1xf32>"
    for dims, shape, count in [
        ("0, 3, 1, 2", "13x8x8x4", 1),
        ("0, 3, 1, 2", "26x8x8x1", 0),  # one channel
        ("0, 1, 3, 2", "5x5x8x4", 0),  # a kernel
        ("1, 0", "13x4", 0),
    ]:
        assert len(transposed_activations(line.format(dims, shape))) == count, (dims, shape)


@pytest.mark.parametrize("name", MUSIC)
def test_music_asks_nothing_of_the_host(name):
    assert "callback" not in lowered(name, "cuda")


@pytest.mark.parametrize("name, platform", [("dcgan", "cuda"), ("dcgan", "tpu"), *thorough(("r3gan-small", "tpu"))])
def test_several_steps_are_one_loop_and_nothing_of_a_step_is_outside(name, platform):
    text = lowered(name, platform, several=True)
    lines = main_lines(text)
    assert len([line for line in lines if "stablehlo.while" in line]) == 1
    assert not [line for line in lines if re.search(r"convolution|dot_general|call @|custom_call", line)]
    assert convolutions(text) and not transposed_activations(text)
    assert text.count("stablehlo.dynamic_update_slice") == 1  # of all metrics
    assert f"stablehlo.constant dense<{CALL}> : tensor<i32>" in text  # its length
    assert not re.search(r"callback|infeed|outfeed|stablehlo\.(send|recv)", text)


def test_a_step_gives_its_arrays_back_in_place():
    """All of the state is donated: a device never holds two."""
    text = lowered("dcgan", "cuda")
    line = text[text.index("func.func public @main") :].partition("\n")[0]
    arguments, results = line.split(") -> (")
    state = arguments.count("tf.aliasing_output")
    assert state == results.count('jax.result_info = "result[0]') > 20
