"""The recurrent VAE and the GAN of piano rolls: what depends on what, shapes, and what their outputs mean."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import thorough

from genjax_art.errors import UsageError
from genjax_art.models import muse_gan, music_vae
from genjax_art.models.recurrent import GRU
from genjax_art.music import notes, tokens
from genjax_art.spec import ArraySpec

TINY = {
    "latents": 5,
    "embedding": 6,
    "encoder_width": 7,
    "conductor_width": 8,
    "decoder_width": 9,
    "head_width": 10,
}
VOICES = 2
tokens_from_roll, roll_from_tokens = jax.jit(tokens.tokens_from_roll), jax.jit(tokens.roll_from_tokens)


def rolls(seed, bars, n=3, voices=VOICES):
    """Rolls of random tokens, mostly holds."""
    rng = np.random.default_rng(seed)
    drawn = np.where(
        rng.random((n, bars * 16, voices)) < 0.6, notes.HOLD, rng.integers(0, notes.TOKENS, (n, bars * 16, voices))
    )
    return np.stack([notes.roll_from_tokens(piece) for piece in drawn]).astype(np.float32)


def decoder_of(bars, layers=1):
    networks = music_vae.build(notes.roll_spec(bars, VOICES), decoder_layers=layers, **TINY)
    decoder = networks["decoder"]
    params = jax.jit(decoder.init)(jax.random.key(0), jnp.zeros((1, 5)), jnp.zeros((1, bars * 16, 60, 2 * VOICES)))
    return decoder, params


def test_tokens_in_jax_are_those_in_numpy():
    x = rolls(0, bars=2, n=20, voices=4)
    expected = np.stack([notes.tokens_from_roll(roll.astype(np.uint8)) for roll in x])
    got = tokens_from_roll(jnp.asarray(x))
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(roll_from_tokens(got), x)


def test_intervals_are_told_alike_in_all_keys():
    """Without what it knows of pitches themselves, a voice's logits move with the transposition; rests stay rests."""
    rng, n = np.random.default_rng(2), 3
    head = music_vae.VoiceHead(8, above=1)
    state = jnp.asarray(rng.normal(size=(5, 4)), jnp.float32)
    own, others = jnp.asarray([30, 20, 25, 35, 28]), jnp.asarray(rng.integers(15, 40, (5, n)))
    others = others.at[0, 1].set(notes.REST).at[1, 2].set(notes.REST)
    params = jax.jit(head.init)(jax.random.key(0), state, own, others)["params"]
    params["token"] = jax.tree.map(jnp.zeros_like, params["token"])
    intervals = 4 + n * (2 * music_vae.REACH + 2)
    params["Dense_0"]["kernel"] = params["Dense_0"]["kernel"].at[intervals:].set(0.0)
    apply = jax.jit(lambda own, others: head.apply({"params": params}, state, own, others))
    there = apply(own, others)
    up = apply(own + 7, jnp.where(others == notes.REST, others, others + 7))
    np.testing.assert_allclose(up[:, 14:60], there[:, 7:53], atol=1e-6)
    assert np.ptp(there[:, 14:53]) > 0.1 and not there[:, notes.PITCHES :].any()


def test_what_is_told_of_intervals_arrives_at_their_rows():
    told = jnp.asarray(np.random.default_rng(3).normal(size=(2, 2, 2 * music_vae.REACH + 1)), jnp.float32)
    origins = np.asarray([[40, 10], [notes.REST, 59]])
    expected = np.zeros((2, notes.PITCHES))
    for b, row, n in np.ndindex(2, notes.PITCHES, 2):
        interval = row - origins[b, n]
        if origins[b, n] != notes.REST and abs(interval) <= music_vae.REACH:
            expected[b, row] += told[b, n, interval + music_vae.REACH]
    np.testing.assert_allclose(music_vae.arrivals(told, jnp.asarray(origins)), expected, atol=1e-6)
    assert (expected[1] == 0).sum() == 59 - music_vae.REACH  # too far from 59, and nothing is far from silence


def test_tokens_of_chords_and_of_holds_that_hold_nothing_are_those_in_numpy():
    rng = np.random.default_rng(1)
    chords = (rng.random((4, 32, 60, 4)) < 0.1).astype(np.uint8)
    expected = np.stack([notes.tokens_from_roll(roll) for roll in chords])
    np.testing.assert_array_equal(tokens_from_roll(jnp.asarray(chords, jnp.float32)), expected)
    drawn = rng.choice([3, notes.HOLD, notes.REST], (4, 16, 2)).astype(np.int32)
    expected = np.stack([notes.roll_from_tokens(piece) for piece in drawn])
    np.testing.assert_array_equal(roll_from_tokens(jnp.asarray(drawn)), expected)


@pytest.mark.parametrize("reverse", [True, *thorough(False)])
def test_the_recurrence_is_that_of_flax(reverse):
    ours, theirs = GRU(4), nn.RNN(nn.GRUCell(4), reverse=reverse, keep_order=True)
    x, start = jax.random.normal(jax.random.key(0), (2, 7, 3)), jax.random.normal(jax.random.key(1), (2, 4))
    variables = jax.jit(ours.init)(jax.random.key(2), x, start)
    p = jax.tree.map(lambda a: a + 0.1, variables["params"])  # biases that are not 0
    parts = dict(zip("rzn", zip(*(jnp.split(p[k], 3, -1) for k in ("recurrent",)), strict=True), strict=True))
    kernels, biases = jnp.split(p["input"]["kernel"], 3, -1), jnp.split(p["input"]["bias"], 3)
    cell = {f"i{g}": {"kernel": kernels[i], "bias": biases[i]} for i, g in enumerate("rzn")}
    cell |= {f"h{g}": {"kernel": parts[g][0]} for g in "rzn"}
    cell["hn"]["bias"] = p["bias"]
    expected = theirs.apply({"params": {"cell": cell}}, x, initial_carry=start)
    np.testing.assert_allclose(ours.apply({"params": p}, x, start, reverse), expected, atol=1e-6)
    if not reverse:
        once = ours.apply({"params": p}, start, x[:, 0], method="step")
        np.testing.assert_allclose(once, expected[:, 0], atol=1e-6)


@pytest.mark.parametrize("bars", [2, *thorough(4)])
def test_shapes(bars):
    networks = music_vae.build(notes.roll_spec(bars, VOICES), **TINY)
    x = jnp.asarray(rolls(0, bars))
    encoder = networks["encoder"]
    (mu, logvar), _ = jax.jit(encoder.init_with_output)(jax.random.key(0), x)
    assert mu.shape == logvar.shape == (3, 5)
    decoder, params = decoder_of(bars)
    assert jax.eval_shape(decoder.apply, params, mu, x).shape == (3, 16 * bars, VOICES, notes.TOKENS)


def test_a_logit_sees_the_steps_before_and_the_voices_above_and_nothing_else():
    decoder, params = decoder_of(2, layers=2)
    z, x = jax.random.normal(jax.random.key(1), (1, 5)), jnp.asarray(rolls(0, 2, n=1))
    apply = jax.jit(decoder.apply)  # the same program for both, so that what is equal is so to the last bit
    logits = apply(params, z, x)
    for step, voice in ((5, 0), (16, 1)):  # the latter is the first step of a bar
        other = tokens_from_roll(x)
        row = (int(other[0, step, voice]) + 7) % 60
        other = other.at[0, step, voice].set(row)
        changed = np.abs(apply(params, z, roll_from_tokens(other)) - logits)[0].max(-1)
        assert (changed[:step] == 0).all()
        assert (changed[step, : voice + 1] == 0).all() and (changed[step, voice + 1 :] > 0).all()
        assert (changed[step + 1] > 0).all()


def test_bars_know_of_each_other_through_z_and_the_step_before_only():
    decoder, params = decoder_of(2)
    z, x = jax.random.normal(jax.random.key(1), (1, 5)), jnp.asarray(rolls(0, 2, n=1))
    apply = jax.jit(decoder.apply)
    logits = apply(params, z, x)
    other = x.at[:, :15].set(jnp.asarray(rolls(5, 2, n=1))[:, :15])
    changed = np.abs(apply(params, z, other) - logits)[0].max((-1, -2))
    assert (changed[16:] == 0).all() and (changed[1:15] > 0).all()
    assert (np.abs(apply(params, z + 1.0, x) - logits)[0].max((-1, -2)) > 0).all()


def test_free_running_writes_what_teacher_forcing_finds_likeliest():
    decoder, params = decoder_of(2, layers=2)
    params = jax.tree.map(lambda p: 3.0 * p, params)  # so that tokens vary
    z = 3.0 * jax.random.normal(jax.random.key(1), (4, 5))
    nothing, free = jnp.zeros((4, 32, VOICES), jnp.int32), jnp.zeros((32,), bool)
    decode = jax.jit(functools.partial(decoder.apply, temperature=0.0, method="decode"))
    made = decode(params, z, jnp.zeros((4, 32, VOICES)), nothing, free)
    apply = jax.jit(decoder.apply)
    logits = apply(params, z, roll_from_tokens(made))
    np.testing.assert_array_equal(jnp.argmax(logits, -1), made)
    assert len(np.unique(made)) > 3
    given = jnp.full((4, 32, VOICES), 7, jnp.int32)
    first = jnp.arange(32) < 10
    mixed = decode(params, z, jnp.zeros((4, 32, VOICES)), given, first)
    assert (mixed[:, :10] == 7).all()
    logits = apply(params, z, roll_from_tokens(mixed))
    np.testing.assert_array_equal(jnp.argmax(logits, -1)[:, 10:], mixed[:, 10:])


def test_a_token_is_a_quantile_of_its_distribution():
    logits = jnp.log(jnp.asarray([[0.2, 0.5, 0.3]]))
    levels = (np.arange(1000, dtype=np.float32) + 0.5) / 1000
    drawn = [music_vae.choose(jnp.repeat(logits, 1000, 0), jnp.asarray(levels), t) for t in (1.0, 0.5)]
    np.testing.assert_allclose(np.bincount(drawn[0]) / 1000, [0.2, 0.5, 0.3], atol=2e-3)
    sharper = np.asarray([0.04, 0.25, 0.09]) / 0.38
    np.testing.assert_allclose(np.bincount(drawn[1]) / 1000, sharper, atol=2e-3)
    assert music_vae.choose(logits, jnp.asarray([0.99]), 0.0)[0] == 1
    assert music_vae.choose(logits, jnp.asarray([1.0]), 1.0)[0] <= 2


@pytest.mark.parametrize("build", [music_vae.build, muse_gan.build])
@pytest.mark.parametrize(
    "spec", [ArraySpec((28, 28, 1)), ArraySpec((30, 60, 8), kind="roll"), ArraySpec((32, 88, 8), kind="roll")]
)
def test_other_data_are_refused_in_one_line(build, spec):
    with pytest.raises(UsageError, match="whole bars") as error:
        build(spec)
    assert "\n" not in str(error.value) and "chorales" in str(error.value)


def muse(bars, **options):
    networks = muse_gan.build(notes.roll_spec(bars, 3), latents=4, width=4, critic_width=2, **options)
    generator, critic = networks["generator"], networks["discriminator"]
    z = jax.random.normal(jax.random.key(0), (6, 4))
    return generator, jax.jit(generator.init)(jax.random.key(1), z), critic, z


@pytest.mark.parametrize("bars", [2, *thorough(4)])
@pytest.mark.parametrize("binarise", [False, True])
def test_the_generator_writes_rolls_in_range_and_the_critic_reads_them(bars, binarise):
    generator, variables, critic, z = muse(bars, binarise=binarise)
    x, _ = jax.jit(functools.partial(generator.apply, mutable=["batch_stats"]))(variables, z)
    assert x.shape == (6, 16 * bars, 60, 6) and x.min() >= -1 and x.max() <= 1
    assert bool(jnp.isin(x, jnp.asarray([-1.0, 1.0])).all()) is binarise
    judged, _ = jax.eval_shape(critic.init_with_output, jax.random.key(2), x)
    assert judged["logits"].shape == (6,)
    drawn = jax.jit(functools.partial(generator.apply, train=False))(variables, z)
    assert bool(jnp.isin(drawn, jnp.asarray([-1.0, 1.0])).all())


def test_a_binarised_roll_is_one_that_tokens_can_say():
    generator, variables, _, z = muse(2, binarise=True)
    apply = jax.jit(functools.partial(generator.apply, mutable=["batch_stats"]))
    x, _ = apply(jax.tree.map(lambda p: 3.0 * p, variables), z)
    roll = (x + 1.0) / 2.0
    assert roll.sum() > 0
    np.testing.assert_array_equal(roll_from_tokens(tokens_from_roll(roll)), roll)


def test_straight_through_has_the_hard_value_and_the_soft_gradient():
    logits = jnp.asarray([0.3, -1.2, 2.0])

    def hard(x):
        return muse_gan.straight_through((x > 0).astype(x.dtype), jax.nn.sigmoid(x))

    np.testing.assert_allclose(hard(logits), [1.0, 0.0, 1.0], atol=1e-6)
    got = jax.grad(lambda x: jnp.sum(hard(x) * jnp.asarray([1.0, 2.0, 3.0])))(logits)
    s = jax.nn.sigmoid(logits)
    np.testing.assert_allclose(got, s * (1 - s) * jnp.asarray([1.0, 2.0, 3.0]), rtol=1e-5)


def test_a_voice_is_told_anew_where_its_gate_opens_and_held_where_not():
    rows = jnp.asarray([5, 7, 5, 9, 60, 3, 9, 9])  # 60 is silence
    logits = 50.0 * jax.nn.one_hot(rows, 61)[None, None]
    gate = jnp.asarray([-50.0, -50.0, 50.0, 50.0, 50.0, -50.0, 50.0, -50.0])[None, None]
    roll = jax.jit(muse_gan.voices_to_roll, static_argnums=3)(logits[..., :60], logits[..., 60:], gate, True)
    got = tokens_from_roll(roll)[0, :, 0].tolist()
    assert got == [5, notes.HOLD, 5, 9, notes.REST, notes.REST, 9, notes.HOLD]


def test_the_gradient_of_a_pitch_lives_on_whatever_its_logits():
    def told(logits):
        gate = jnp.zeros((1, 1, 4))
        return jnp.sum(muse_gan.voices_to_roll(logits[..., :60], logits[..., 60:], gate, True)[0, 0, 5])

    drawn = jnp.asarray(np.random.default_rng(0).normal(size=(1, 1, 4, 61)), jnp.float32)
    slope = jax.jit(jax.grad(told))
    slopes = [size * np.asarray(slope(size * drawn)) for size in (1.0, 1e4)]
    assert np.abs(slopes[0]).max() > 1e-4
    np.testing.assert_allclose(slopes[1], slopes[0], rtol=1e-2, atol=1e-6)


def test_intervals_are_the_correlations_of_voices_and_know_no_key():
    voices, steps, rng = 3, 5, np.random.default_rng(0)
    rows = rng.integers(10, 40, (steps, voices))
    x = np.zeros((1, steps, 60, voices), np.float32)
    x[0, np.arange(steps)[:, None], rows, np.arange(voices)[None]] = 1.0
    x[0, 4, :, 2] = 0.0  # silent
    got = np.asarray(muse_gan.intervals(jnp.asarray(x))).reshape(steps, 3 + voices, 2, -1)
    cycle = np.fft.irfft(got[:, :, 0] + 1j * got[:, :, 1], muse_gan.PERIOD)  # one peak, at minus the interval
    for i, (one, other) in enumerate(((0, 1), (0, 2), (1, 2))):
        peak = (rows[:, other] - rows[:, one]) % muse_gan.PERIOD
        sounding = steps if other < 2 else 4
        np.testing.assert_array_equal(cycle[:sounding, i].argmax(-1), peak[:sounding])
    np.testing.assert_array_equal(cycle[:-1, 3].argmax(-1), (rows[1:, 0] - rows[:-1, 0]) % muse_gan.PERIOD)
    assert not got[4, 1].any() and not got[-1, 3:].any()  # silence, and nothing follows the last step
    up = np.roll(x, 9, axis=2)
    np.testing.assert_allclose(muse_gan.intervals(jnp.asarray(up)).reshape(got.shape), got, atol=1e-4)


def test_chroma_folds_octaves():
    x = np.zeros((1, 16, 60, 2), np.float32)
    x[0, 4:8, [3, 15], 1] = 1.0  # a beat of one pitch class in two octaves
    chroma = np.asarray(muse_gan.chroma_of(jnp.asarray(x)))
    assert chroma.shape == (1, 4, 12, 1)
    assert chroma[0, 1, 3, 0] == pytest.approx(2.0) and chroma.sum() == pytest.approx(2.0)
