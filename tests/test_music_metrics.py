"""Music metrics against closed forms, a note-by-note implementation, and MusPy's own numbers."""

import math
from itertools import combinations

import numpy as np
import pytest

from genjax_art.metrics.music import (
    music_metrics,
    note_length_histogram,
    qualified_note_rate,
    scale_consistency,
)
from genjax_art.metrics.music_compat import muspy_metrics
from genjax_art.metrics.music_copies import copy_rate
from genjax_art.metrics.music_notes import clips_of
from genjax_art.metrics.music_score import score
from genjax_art.metrics.music_voices import tonal_centroid
from genjax_art.music.notes import MusicError, notes_from_rows, roll_from_notes

CHORALE = [
    *[(0, 4, 69, 0), (4, 2, 71, 0), (6, 2, 72, 0), (8, 8, 74, 0), (16, 16, 72, 0)],
    *[(0, 8, 64, 1), (8, 4, 65, 1), (12, 4, 67, 1), (16, 16, 64, 1)],
    *[(0, 4, 60, 2), (4, 4, 62, 2), (8, 8, 59, 2), (16, 16, 60, 2)],
    *[(0, 4, 57, 3), (4, 4, 53, 3), (8, 8, 55, 3), (16, 16, 48, 3)],
]
NOISE = [
    *[(0, 1, 31, 0), (3, 1, 88, 0), (4, 20, 61, 0), (40, 3, 66, 0)],
    *[(2, 9, 44, 1), (11, 1, 44, 1), (50, 13, 70, 1)],
    *[(5, 1, 77, 2), (7, 2, 77, 2), (33, 1, 30, 3), (61, 2, 89, 3)],
]
EQUAL_BARS = [(16 * bar + 4 * i, 4, 60 + i, 0) for bar in range(4) for i in range(4)]
EMPTY_BAR = [row for row in EQUAL_BARS if row[0] // 16 != 1]
CLIPS = {"chorale": CHORALE, "noise": NOISE, "empty bar": EMPTY_BAR, "equal bars": EQUAL_BARS, "silence": []}

# Printed by MusPy 0.5.0 for `muspy.Music(resolution=4)` with a track per voice and a note per row of the clips
# above, measure_resolution=16.
MUSPY_NAMES = [
    *("n_pitches_used", "n_pitch_classes_used", "pitch_range", "empty_beat_rate", "empty_measure_rate"),
    *("polyphony", "polyphony_rate", "scale_consistency", "pitch_entropy", "pitch_class_entropy"),
    "groove_consistency",
]
NAN = math.nan
MUSPY = {
    "chorale": [14, 7, 26, 0, 0, 4, 1, 1, 3.73452166478, 2.698660460401, 0.84375],
    "noise": [9, 7, 59, 0.1875, 0, 1.35, 1 / 21, 9 / 11, 3.095795255001, 2.663532754804, 0.729166666667],
    "empty bar": [4, 4, 3, 0.176470588235, 0, 1, 0, 0.75, 2, 2, 0.8125],
    "equal bars": [4, 4, 3, 0, 0, 1, 0, 0.75, 2, 2, 0.9375],
    "silence": [0, 0, 0, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN],
}


def rolls_of(*clips, steps=64, voices=4):
    return np.stack([roll_from_notes(notes_from_rows(rows), steps, voices) for rows in clips])


def random_clips(count, seed=0):
    rng = np.random.default_rng(seed)
    clips = []
    for _ in range(count):
        rows = []
        for voice in range(4):
            step = 0
            while step < 64:
                length = int(min(rng.integers(1, 8), 64 - step))
                if rng.random() < 0.8:
                    rows.append((step, length, int(rng.integers(45, 58)) + 4 * (3 - voice), voice))
                step += length
        clips.append(rows)
    return clips


def test_muspy_mode_equals_muspy():
    ours = muspy_metrics(clips_of(rolls_of(*CLIPS.values())))
    assert list(ours) == MUSPY_NAMES
    theirs = np.asarray(list(MUSPY.values()))
    np.testing.assert_allclose(np.stack(list(ours.values()), 1), theirs, atol=1e-11)


def test_muspy_mode_equals_muspy_on_random_clips():
    muspy = pytest.importorskip("muspy")
    clips = random_clips(50)
    ours = muspy_metrics(clips_of(rolls_of(*clips)))
    for i, rows in enumerate(clips):
        tracks = [
            muspy.Track(notes=[muspy.Note(time=s, duration=n, pitch=p) for s, n, p, v in rows if v == voice])
            for voice in range(4)
        ]
        music = muspy.Music(resolution=4, tracks=tracks)
        for name in MUSPY_NAMES:
            bars = {"measure_resolution": 16} if name in ("empty_measure_rate", "groove_consistency") else {}
            assert ours[name][i] == pytest.approx(getattr(muspy, name)(music, **bars), nan_ok=True), name


def test_bar_lines_are_exact():
    ours = music_metrics(rolls_of(EMPTY_BAR, EQUAL_BARS, []))
    np.testing.assert_array_equal(ours["empty_bar_rate"], [0.25, 0.0, 1.0])
    np.testing.assert_allclose(ours["groove_consistency"], [1 - 2 * 4 / 48, 1.0, 1.0])


def test_simple_measures_of_known_clips():
    ours = music_metrics(rolls_of(CHORALE, [], steps=32))
    assert ours["pitch_range"][0] == 26
    assert ours["polyphony"][0] == 4
    assert ours["polyphony_rate_at_least_3"][0] == 1
    assert ours["onset_density"][0] == len(CHORALE) / 8
    lengths = [row[1] for row in CHORALE]
    for steps in (1, 2, 4, 8):
        assert ours[f"length_share_{steps}"][0] == pytest.approx(lengths.count(steps) / len(lengths))
    undefined = {name for name, value in ours.items() if np.isnan(value[1])}
    assert undefined == {
        *("pitch_class_entropy", "pitch_range", "scale_consistency", "polyphony", "qualified_note_rate"),
        *("length_share_1", "length_share_2", "length_share_4", "length_share_8"),
        *("voice_crossing", "tonal_distance"),
    }
    assert np.isnan(music_metrics(rolls_of([(0, 4, 60, 0)], steps=16))["groove_consistency"][0])


def test_polyphony_counts_at_least_n_different_pitches():
    two, three = (
        [(0, 16, 60, 0), (0, 16, 64, 1), (0, 16, 64, 2)],
        [(0, 4, 60, 0), (0, 4, 64, 1), (0, 4, 67, 2)],
    )
    ours = music_metrics(rolls_of(two, three, steps=16))
    np.testing.assert_array_equal(ours["polyphony"], [2, 3])
    np.testing.assert_array_equal(ours["polyphony_rate_at_least_3"], [0, 0.25])


def test_scales():
    major, harmonic = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 11)
    rows = [[(i, 1, 62 + degree, 0) for i, degree in enumerate(scale)] for scale in (major, harmonic, range(12))]
    clips = clips_of(rolls_of(*rows, steps=16))
    np.testing.assert_allclose(scale_consistency(clips), [1, 1, 7 / 12])
    np.testing.assert_allclose(scale_consistency(clips, ("major", "natural minor")), [1, 6 / 7, 7 / 12])


def test_note_lengths_and_qualified_notes():
    rows = [(0, 1, 60, 0), (1, 1, 60, 0), (2, 2, 60, 0), (4, 16, 60, 0), (20, 17, 60, 0), (40, 24, 60, 0)]
    clips = clips_of(rolls_of(rows))
    expected = np.zeros((1, 17))
    expected[0, [0, 1, 15, 16]] = [2 / 6, 1 / 6, 1 / 6, 2 / 6]
    np.testing.assert_allclose(note_length_histogram(clips), expected)
    assert qualified_note_rate(clips)[0] == pytest.approx(4 / 6)
    assert qualified_note_rate(clips, at_least=17)[0] == pytest.approx(2 / 6)


@pytest.mark.parametrize(
    ("upper", "lower", "fifths", "octaves"),
    [
        ((67, 69), (60, 62), 1, 0),  # C-G to D-A
        ((79, 69), (60, 50), 1, 0),  # compound fifths count
        ((67, 69), (60, 60), 0, 0),  # only one voice moves
        ((67, 67), (60, 60), 0, 0),  # repeated: nothing moves
        ((67, 81), (60, 50), 0, 0),  # opposite directions
        ((67, 69), (62, 60), 0, 0),
        ((72, 74), (60, 62), 0, 1),
        ((60, 62), (60, 62), 0, 1),  # unisons
        ((60, 62), (67, 69), 1, 0),  # crossed voices
    ],
)
def test_parallels(upper, lower, fifths, octaves):
    rows = [(4 * i, 4, p, v) for v, voice in enumerate((upper, lower)) for i, p in enumerate(voice)]
    ours = music_metrics(rolls_of(rows, steps=16, voices=2))
    assert (ours["parallel_fifths"][0], ours["parallel_octaves"][0]) == (fifths, octaves)
    assert ours["voice_crossing"][0] == (upper[0] < lower[0])


def test_voices_against_a_step_by_step_count():
    clips = random_clips(8)
    ours = music_metrics(rolls_of(*clips))
    for i, rows in enumerate(clips):
        pitch = {(step, v): p for start, n, p, v in rows for step in range(start, start + n)}
        pairs = [
            (pitch[t, v], pitch[t, v + 1]) for t in range(64) for v in range(3) if {(t, v), (t, v + 1)} <= pitch.keys()
        ]
        assert ours["voice_crossing"][i] == pytest.approx(sum(a < b for a, b in pairs) / len(pairs))
        for name, interval in (("parallel_fifths", 7), ("parallel_octaves", 0)):
            found = 0
            for t in range(63):
                for a, b in combinations(range(4), 2):
                    four = [pitch.get(key) for key in ((t, a), (t, b), (t + 1, a), (t + 1, b))]
                    if None not in four:
                        motion = (four[2] - four[0]) * (four[3] - four[1]) > 0
                        found += motion and abs(four[0] - four[1]) % 12 == abs(four[2] - four[3]) % 12 == interval
            assert ours[name][i] == found / 4


def test_tonal_centroids_follow_harte():
    single = tonal_centroid(np.eye(12))
    fifths = np.linalg.norm(single[0] - single[[7, 2, 6]], axis=1)
    np.testing.assert_allclose(np.linalg.norm(single, axis=1), 1.5)  # radii 1, 1, 0.5
    assert fifths[0] < fifths[1] < fifths[2]  # a fifth is nearer than a tone, a tone than a tritone
    # C and G, by hand: angles differ by 7 * 7pi/6, 7 * 3pi/2, 7 * 2pi/3
    chords = [
        2 * np.sin(7 * angle / 2) * radius
        for radius, angle in ((1, 7 * np.pi / 6), (1, 3 * np.pi / 2), (0.5, 2 * np.pi / 3))
    ]
    rows = [(0, 4, 60, 0), (0, 4, 67, 1), (4, 4, 60, 0)]  # the second quarter has one voice only
    ours = music_metrics(rolls_of(rows, steps=16, voices=2))["tonal_distance"][0]
    assert ours == pytest.approx(np.linalg.norm(chords)) == pytest.approx(fifths[0])
    same = music_metrics(rolls_of([(0, 4, 60, 0), (0, 4, 48, 1)], steps=16, voices=2))["tonal_distance"][0]
    assert same == 0


def test_many_clips_are_measured_at_once_and_each_as_if_alone():
    rolls = rolls_of(*random_clips(10))
    together = music_metrics(np.concatenate([rolls] * 100))
    for i in range(len(rolls)):
        for name, value in music_metrics(rolls[i : i + 1]).items():
            np.testing.assert_array_equal(together[name][i::10], np.repeat(value, 100), err_msg=name)


def test_copies_are_found_in_any_key_and_at_any_bar():
    training = rolls_of(CHORALE, EQUAL_BARS)
    second_bar = [(s - 16, n, p + 6, v) for s, n, p, v in CHORALE if s >= 16]  # six semitones up, a bar earlier
    held = [(0, 12, 60, 0), (12, 32, 64, 0)]
    cut_as_clip = [(0, 16, 52, 0), (28, 4, 77, 0)]  # bar 2 of `held` in another key, then a bar of its own
    generated = rolls_of(second_bar, NOISE, [(s, n, p + 1, v) for s, n, p, v in EQUAL_BARS], [])
    np.testing.assert_array_equal(copy_rate(generated, training), [1.0, 0.0, 1.0, np.nan])
    np.testing.assert_array_equal(copy_rate(generated, training, bars=2), [1.0, 0.0, 1.0, np.nan])
    np.testing.assert_array_equal(copy_rate(rolls_of(cut_as_clip, steps=32), rolls_of(held)), [0.5])
    changed = [(0, 4, 64, 0), *EQUAL_BARS[1:]]
    np.testing.assert_array_equal(copy_rate(rolls_of(changed), training), [0.75])


def test_score_counts_what_lies_in_the_bands():
    rng = np.random.default_rng(0)
    heldout = {"a": rng.normal(0, 1, 400), "b": rng.normal(5, 1, 400)}
    generated = {"a": rng.normal(0, 1, 4000), "b": rng.normal(4, 1, 4000)}
    result = score(generated, heldout)
    assert result.inside == 1
    for band in result.bands:  # the band of a mean of 400: +- 1.96 / 20
        assert band.high - band.low == pytest.approx(2 * 1.96 / 20, rel=0.1)
    assert score(generated, heldout) == result


def test_score_resamples_whole_pieces_and_leaves_out_nan():
    rng = np.random.default_rng(0)
    pieces = np.repeat(np.arange(40), 10)
    heldout = {"a": rng.normal(0, 1, 40)[pieces]}  # the clips of a piece are equal: 40 values, not 400
    band = score(heldout, heldout, pieces).bands[0]
    assert band.high - band.low == pytest.approx(2 * 1.96 / math.sqrt(40), rel=0.25)
    gaps = {"a": np.where(np.arange(400) % 7 == 0, np.nan, heldout["a"])}
    assert score(gaps, gaps, pieces).bands[0].value == pytest.approx(np.nanmean(gaps["a"]))
    nothing = {"a": np.full(3, np.nan)}
    assert score(nothing, heldout, pieces).inside == 0
    assert np.isnan(score(heldout, nothing).bands[0].low)
    with pytest.raises(ValueError, match="not in both: b"):
        score({"b": heldout["a"]} | heldout, heldout)


def test_rolls_of_half_bars_are_refused():
    with pytest.raises(MusicError, match="bars of 16 steps"):
        music_metrics(np.zeros((1, 24, 60, 8), np.uint8))
    with pytest.raises(MusicError, match="different planes"):
        copy_rate(rolls_of([], voices=2), rolls_of([]))
    with pytest.raises(MusicError, match="window of 8 bars"):
        copy_rate(rolls_of([]), rolls_of([]), bars=8)
