"""The benchmark of kills and damage, small: a chain ends in the bits of the run left alone; damage is seen."""

import json

import numpy as np
import pytest
from small import noise, vae_experiment

from genjax_art.benchmark import chaos
from genjax_art.build import build_plan
from genjax_art.config import with_run
from genjax_art.errors import RunError, UsageError
from genjax_art.run.training import run
from genjax_art.spec import ArraySpec


@pytest.mark.thorough
def test_killed_before_its_first_checkpoint_and_at_a_random_moment(own_data, quick_runs, monkeypatch, tmp_path):
    words = ("mlp-vae", "--model.width", "8", "--batch-size", "8", "--steps", "60", "--parallel", "jit")
    monkeypatch.setattr(chaos, "ROWS", {"vae": chaos.Row(words)})
    monkeypatch.setattr(chaos, "AIMED", [chaos.before_the_first_checkpoint])
    monkeypatch.setattr(chaos, "prepare_process", lambda: None)
    chaos.main(["--kills", "1", "--json", str(tmp_path / "rows.json")])
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row["fine"] and row["kills"] == 1 and row["leaves_differ"] == row["rows_differ"] == 0


@pytest.mark.thorough
def test_every_damaged_file_is_seen_and_an_older_checkpoint_taken(quick_runs, tmp_path):
    spec = ArraySpec((4, 4, 1))
    experiment = with_run(vae_experiment(), steps=2, save_every=1, keep_latest=2, sample_every=0)
    assert run(build_plan(experiment, spec), noise(spec, 20), tmp_path / "run", how="jit") == 0
    row = chaos.damage(tmp_path / "run", np.random.default_rng(0))
    assert row["fine"] and row["cases"] >= 4 * 5 and row["fell_back"] == row["cases"]


def test_a_difference_is_a_failure(tmp_path, monkeypatch, capsys):
    fails = {"kills": 1, "refused": "", "leaves_differ": 1, "rows_differ": 0, "fine": False}
    monkeypatch.setattr(chaos, "measure", lambda name, kills, seed, work: {"name": name, **fails})
    monkeypatch.setattr(chaos, "prepare_process", lambda: None)
    with pytest.raises(RunError, match="1 of 1 rows do not hold"):
        chaos.main(["--only", "gan"])
    assert "FAILS" in capsys.readouterr().out
    with pytest.raises(UsageError, match="unknown row 'dog'"):
        chaos.main(["--only", "dog"])
