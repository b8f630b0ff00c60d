"""Steps compiled for a TPU that is not here: by its compiler where that is installed, else what is made of its text."""

import importlib.util
import json
import re

import pytest
from helpers import thorough
from small import shrink, video_gan_experiment

from genjax_art.benchmark import absent
from genjax_art.build import build_plan, load_preset
from genjax_art.errors import RunError, UsageError
from genjax_art.spec import ArraySpec

needs_compiler = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs the compiler for TPUs")
GREY, COLOUR = ArraySpec((28, 28, 1)), ArraySpec((16, 16, 3))
TEXT = """HloModule jit_one

%fused (p: f32[8]) -> f32[8] {
  %c.1 = f32[8]{0} convolution(%p, %p), backend_config={"estimated_cycles":"99"}
}

ENTRY %main.1 (x.1: f32[8]) -> f32[8] {
  %x.1 = f32[8]{0} parameter(0)
  %copy.1 = f32[8]{0:T(128)} copy(%x.1), backend_config={"estimated_cycles":"25"}
  %fusion.1 = (f32[8]{0}, f32[8]{0}) fusion(%copy.1), calls=%fused, backend_config={"estimated_cycles":"75"}
  %all-reduce-start.1 = f32[8]{0} all-reduce-start(%fusion.1), channel_id=3
  %all-reduce-start.2 = f32[8]{0} all-reduce-start(%copy.1), channel_id=3
  %while.1 = f32[8]{0} while(%fusion.1), body=%fused
  ROOT %all-reduce-done.1 = f32[8]{0} all-reduce-done(%all-reduce-start.1)
}
"""


def test_figures_are_those_of_the_main_part():
    found = absent.figures(TEXT)
    assert found == {
        "convolutions": 1,
        "crossing": {"all-reduce": 1},
        "loops": 1,
        "estimated_cycles": 100,
        "share_moved": 0.25,
    }


def test_without_the_compiler_it_says_how_to_get_it(monkeypatch):
    def none(*_):
        raise RuntimeError("JAX TPU support not installed; cannot generate TPU topology.")

    monkeypatch.setattr(absent.topologies, "get_topology_desc", none)
    with pytest.raises(RunError, match=r"pip install -e \"\.\[tpu\]\"$"):
        absent.main(["--only", "mlp-vae"])


def test_an_unknown_row_is_named():
    with pytest.raises(UsageError, match=r"unknown row 'dcgam'; .*dcgan"):
        absent.main(["--only", "dcgam"])


@needs_compiler
@pytest.mark.parametrize(("chips", "words"), [(5, "v5e:2x2 has 4 chips: --chips is from 1 to 4"), (0, "from 1 to 4")])
def test_more_chips_than_there_are_is_refused(chips, words):
    with pytest.raises(UsageError, match=words):
        absent.main(["--only", "mlp-vae", "--chips", str(chips)])


@needs_compiler
def test_a_batch_that_the_chips_cannot_share_is_refused_before_anything_is_compiled(monkeypatch):
    monkeypatch.setattr(absent, "compiled_for", None)
    with pytest.raises(UsageError, match=r"a batch of 128 \(mlp-vae\) is not a multiple of --chips 3"):
        absent.main(["--only", "mlp-vae", "--chips", "3"])


@needs_compiler
def test_an_unknown_arrangement_is_refused():
    with pytest.raises(UsageError, match=r"--topology v5e:9x7: .*one that is known is v5e:2x2"):
        absent.chips_of("v5e:9x7")


@needs_compiler
def test_what_does_not_fit_is_named(tmp_path, capsys):
    with pytest.raises(RunError, match="not compiled for v5e:2x2: mlp-vae; try a smaller --batch-size"):
        absent.main(["--only", "mlp-vae", "--batch-size", "2000000", "--json", str(tmp_path / "new" / "rows.json")])
    (row,) = json.loads((tmp_path / "new" / "rows.json").read_text())
    assert "RESOURCE_EXHAUSTED" in row["refused"] and "mlp-vae" in capsys.readouterr().out


def small_plan(name, spec):
    return build_plan(shrink(load_preset(name), precision=("bfloat16",)), spec)


@needs_compiler
@pytest.mark.parametrize(("name", "spec"), [("dcgan", GREY), *thorough(("r3gan-small", COLOUR), ("conv-vae", GREY))])
def test_steps_compile_and_no_sum_of_bfloat16_is_made_by_itself(name, spec):
    """Such a sum reads all that it sums once more, and rounds in between: see `layers.in_float32`."""
    found, text = absent.compiled_for(small_plan(name, spec), absent.chips_of("v5e:2x2")[:1])
    assert found["convolutions"] and found["estimated_cycles"] and not found["crossing"]
    assert found["memory_mib"].keys() >= {"arguments", "temporaries"}
    main = text[text.index("\nENTRY ") :]
    assert not [line for line in main.splitlines() if " reduce(" in line and " = bf16" in line]


@needs_compiler
@pytest.mark.parametrize("name", ["dcgan", *thorough("clips")])
def test_on_four_chips_no_row_of_the_batch_crosses(name):
    if name == "clips":
        plan = build_plan(video_gan_experiment(), ArraySpec((4, 8, 8, 1), kind="clip"))
    else:
        plan = small_plan(name, GREY)
    found, text = absent.compiled_for(plan, absent.chips_of("v5e:2x2"))
    assert found["crossing"].keys() <= {"all-reduce", "all-gather"} and found["crossing"]["all-reduce"]
    gathered = set(re.findall(r" all-gather(?:-start)?\(.*?channel_id=(\d+)", text))
    assert len(gathered) <= 1  # features of the fakes
