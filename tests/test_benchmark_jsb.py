"""The JSB benchmark: a likelihood of sets of keys, causal in time, averaged over the steps that are there."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from genjax_art.benchmark import jsb


def steps_of(*chords):
    keys = np.zeros((1, len(chords), jsb.KEYS), np.float32)
    for step, chord in enumerate(chords):
        keys[0, step, list(chord)] = 1.0
    return jnp.asarray(keys)


def test_keys_are_told_from_high_to_low_and_then_an_end():
    told, last, target = jsb.orders(steps_of((3, 40, 7), ()), slots=4)
    assert target[0].tolist() == [[40, 7, 3, jsb.END], [jsb.END, -1, -1, -1]]
    assert last[0, 0].tolist() == [88, 40, 7, 3] and last[0, 1].tolist() == [88] * 4
    assert [np.flatnonzero(row).tolist() for row in told[0, 0]] == [[], [40], [7, 40], [3, 7, 40]]


def model_of(keys, slots):
    """The nats of a model for its parameters and keys, and first parameters."""
    model = jsb.Chords(8, 0.0)
    nats = jax.jit(lambda params, keys: model.apply(params, keys, slots, False))
    return nats, jax.jit(lambda keys: model.init(jax.random.key(0), keys, slots, False))(keys)


def test_the_likelihood_sums_to_one_over_all_sets_of_keys(monkeypatch):
    monkeypatch.setattr(jsb, "KEYS", 4)
    monkeypatch.setattr(jsb, "END", 4)
    sets = np.asarray([[(number >> key) & 1 for key in range(4)] for number in range(16)], np.float32)
    first = np.broadcast_to(sets[5], (16, 1, 4))
    keys = jnp.asarray(np.concatenate([first, sets[:, None]], 1))
    nats_of, params = model_of(keys, 5)
    nats = np.asarray(nats_of(jax.tree.map(lambda p: 3.0 * p, params), keys))
    assert np.ptp(nats[:, 0]) < 1e-5  # the same step with the same past
    assert np.ptp(nats[:, 1]) > 1.0
    np.testing.assert_allclose(np.exp(-nats[:, 1]).sum(), 1.0, rtol=1e-5)


def test_a_step_sees_those_before_it_only():
    keys = steps_of((3, 40), (5,), (6, 50), (7,))
    nats, params = model_of(keys, 4)
    before = nats(params, keys)
    after = nats(params, keys.at[0, 2].set(steps_of((9,))[0, 0]))
    np.testing.assert_array_equal(after[0, :2], before[0, :2])
    assert after[0, 2] != before[0, 2] and after[0, 3] != before[0, 3]


def test_pieces_are_padded_and_the_padding_is_known():
    pieces = [np.eye(88, dtype=bool)[:3], np.eye(88, dtype=bool)[:5]]
    keys, mask = jsb.padded(pieces)
    assert keys.shape == (2, 5, 88) and mask.sum(1).tolist() == [3, 5]
    np.testing.assert_array_equal(keys[0, 3:], 0.0)


@pytest.mark.thorough
def test_it_learns_from_the_files(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("genjax_art.benchmark.jsb.prepare_process", lambda: None)
    chords = [[40, 47], [42, 49, 52], [43], []]
    pieces = {split: [chords * 3] * 4 for split in ("train", "valid", "test")}
    (tmp_path / "jsb-chorales-quarter.json").write_text(json.dumps(pieces))
    numbers = []
    for steps in ("1", "150"):
        out = tmp_path / f"{steps}.json"
        jsb.main(["--folder", str(tmp_path), "--steps", steps, "--width", "16", "--dropout", "0", "--json", str(out)])
        numbers.append(json.loads(out.read_text()))
    assert numbers[1]["test_nats_per_step"] < 0.6 * numbers[0]["test_nats_per_step"]
    said = capsys.readouterr().out
    assert "RNN-NADE" in said and "5.560" in said and f"{numbers[1]['test_nats_per_step']:.3f}" in said
