"""The README's example for people who use the steps in their own research runs as it is printed there."""

import ast
import re
from pathlib import Path

import jax
import numpy as np
from test_imports import imported_by as imported

from genjax_art.train.state import TrainState

README = Path(__file__).resolve().parents[1] / "README.md"


def example():
    """The first Python block that builds a step."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    found = [block for block in blocks if "make_step(" in block]
    assert found, "the README shows no example with make_step"
    return found[0]


def test_the_example_is_short_and_needs_none_of_the_rest():
    lines = [line for line in example().splitlines() if line.strip()]
    assert len(lines) < 20
    assert {name.split(".")[0] for name in imported(ast.parse(example()))} == {"losses", "shards", "train"}
    assert '"pmap"' in example()


def test_the_example_trains():
    """On eight simulated devices: the state has moved from where it began, and is finite."""
    names: dict[str, object] = {"__name__": "example"}
    exec(compile(example(), str(README), "exec"), names)
    (state,) = [value for value in names.values() if isinstance(value, TrainState)]
    metrics = names["metrics"]
    assert int(state.step) > 1
    leaves = jax.tree.leaves(jax.device_get(state.params))
    assert leaves and all(np.isfinite(leaf).all() for leaf in leaves)
    assert len(jax.tree.leaves(state.params)[0].sharding.device_set) == jax.device_count() == 8
    assert any(name.endswith("/loss") for name in metrics)
    assert all(np.isfinite(value) for value in jax.tree.leaves(jax.device_get(metrics)))


def test_drawing_from_a_run_in_python_goes_as_it_is_printed(quick_runs, own_data, tmp_path, monkeypatch):
    """On a run of the default preset with one step."""
    from genjax_art.build import build_plan, build_source, load_preset
    from genjax_art.config import with_run
    from genjax_art.run.training import run

    (block,) = [
        b for b in re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL) if "load_run" in b
    ]
    experiment = with_run(load_preset("dcgan-small"), steps=1, batch_size=8, sample_every=0)
    source = build_source(experiment)
    monkeypatch.chdir(tmp_path)
    assert run(build_plan(experiment, source.spec), source, Path("runs/dcgan-small"), how="jit") == 0
    names: dict[str, object] = {"__name__": "example", "jax": jax}
    exec(compile(block, str(README), "exec"), names)
    drawn, x, z = names["run"], names["x"], names["z"]
    assert x.shape == (16, *drawn.spec.shape) == (16, 28, 28, 1)
    assert drawn.decode(z, drawn.labels(16)).shape == x.shape and len(drawn.sample(2, label="7")) == 2
