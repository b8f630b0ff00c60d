"""The three forms of music convert into each other without loss on the grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genjax_art.music.notes import (
    HOLD,
    LOWEST,
    PITCHES,
    REST,
    MusicError,
    Notes,
    decode_roll,
    notes_from_roll,
    notes_from_rows,
    roll_from_notes,
    roll_from_tokens,
    roll_spec,
    tokens_from_roll,
    window,
)

STEPS, VOICES = 32, 4


@st.composite
def one_note_at_a_time(draw, steps=STEPS, voices=VOICES) -> Notes:
    """Rows of notes in which a voice never overlaps itself; repeated notes and rests included."""
    rows = []
    for voice in range(voices):
        step = 0
        for gap, length, pitch in draw(
            st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(LOWEST, LOWEST + PITCHES - 1)))
        ):
            if step + gap + length > steps:
                break
            rows.append((step + gap, length, pitch, voice))
            step += gap + length
    return notes_from_rows(rows)


@settings(max_examples=60, deadline=None)
@given(one_note_at_a_time())
def test_notes_roll_tokens_and_back(notes):
    roll = roll_from_notes(notes, STEPS, VOICES)
    tokens = tokens_from_roll(roll)
    np.testing.assert_array_equal(notes_from_roll(roll).rows, notes.rows)
    np.testing.assert_array_equal(roll_from_tokens(tokens), roll)
    np.testing.assert_array_equal(decode_roll(2.0 * roll - 1.0), roll)


def test_chords_in_one_voice_survive_the_roll():
    notes = notes_from_rows([(0, 4, 60, 0), (2, 6, 64, 0), (4, 4, 60, 0), (0, 8, 67, 0)])
    roll = roll_from_notes(notes, 16, 1)
    np.testing.assert_array_equal(notes_from_roll(roll).rows, notes.rows)
    np.testing.assert_array_equal(tokens_from_roll(roll)[:9, 0], [37, *[HOLD] * 7, REST])  # the highest: 67


def test_sixteen_repeated_notes_stay_sixteen():
    roll = roll_from_notes(notes_from_rows([(i, 1, 60, 0) for i in range(16)]), 16, 1)
    assert roll.shape == (16, PITCHES, 2)
    assert len(notes_from_roll(roll)) == 16
    np.testing.assert_array_equal(tokens_from_roll(roll)[:, 0], np.full(16, 60 - LOWEST))


def test_layout_is_onsets_then_sustains():
    roll = roll_from_notes(notes_from_rows([(1, 3, 30, 0), (2, 1, 89, 1)]), 16, 2)
    expected = {(1, 0, 0), (1, 0, 2), (2, 0, 2), (3, 0, 2), (2, 59, 1), (2, 59, 3)}
    assert set(zip(*(i.tolist() for i in np.nonzero(roll)), strict=True)) == expected
    assert roll_spec(2, 4).shape == (32, 60, 8)
    assert roll_spec(2, 4).kind == "roll"


def test_a_later_note_ends_the_older_one_of_its_pitch():
    roll = roll_from_notes(notes_from_rows([(0, 8, 60, 0), (5, 6, 60, 0)]), 16, 1)
    np.testing.assert_array_equal(notes_from_roll(roll).rows, [(0, 5, 60, 0), (5, 6, 60, 0)])


def test_window_cuts_at_both_ends():
    notes = notes_from_rows([(0, 16, 60, 0), (16, 4, 61, 0), (30, 9, 62, 0), (8, 40, 50, 1)])
    cut = window(notes, 15, 16)
    np.testing.assert_array_equal(cut.rows, [(0, 1, 60, 0), (1, 4, 61, 0), (15, 1, 62, 0), (0, 16, 50, 1)])


def test_tokens_may_hold_nothing():
    tokens = np.asarray([[HOLD], [5], [HOLD], [REST], [HOLD], [7]])
    np.testing.assert_array_equal(notes_from_roll(roll_from_tokens(tokens)).rows, [(1, 2, 35, 0), (5, 1, 37, 0)])


def test_decoding_takes_the_strongest_pitch_of_each_voice():
    x = np.full((1, 4, PITCHES, 2), -3.0, np.float32)
    x[0, :, 10, 1] = [0.5, 0.5, 2.0, np.nan]
    x[0, :, 20, 1] = [0.7, 0.4, 1.0, -0.1]
    x[0, 2, 10, 0] = 9.0
    rows = notes_from_roll(decode_roll(x)[0]).rows
    np.testing.assert_array_equal(rows, [(0, 1, 50, 0), (1, 1, 40, 0), (2, 1, 40, 0)])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((0, 1, 29, 0), "30..89"),
        ((0, 1, 90, 0), "30..89"),
        ((15, 2, 60, 0), "16 steps"),
        ((0, 1, 60, 4), "voice 4"),
    ],
)
def test_notes_that_do_not_fit_are_named(row, message):
    with pytest.raises(MusicError, match=message):
        roll_from_notes(notes_from_rows([row]), 16, 4)
    with pytest.raises(MusicError, match="62"):
        roll_from_tokens(np.asarray([[62]]))
