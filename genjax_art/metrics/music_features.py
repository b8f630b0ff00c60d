"""The fixed feature vector of a clip, for distances between sets of music (`frechet.py`)."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64

# The measures of `music.py` that are features, and the unit of each: what it varies by (one standard deviation,
# rounded) among two-bar windows of Bach's chorales, whatever is compared, so that the distances of all runs are
# comparable. Chorales have no empty bars: that unit is a choice. The share of notes of one step is left out, as it is
# what the qualified notes leave.
UNITS: Mapping[str, float] = {
    "pitch_class_entropy": 0.16,  # bits
    "pitch_range": 3.5,  # semitones
    "scale_consistency": 0.04,
    "polyphony": 0.1,
    "polyphony_rate_at_least_3": 0.04,
    "empty_bar_rate": 0.05,
    "onset_density": 0.8,  # notes a quarter note
    "groove_consistency": 0.1,
    "qualified_note_rate": 0.05,
    "length_share_2": 0.15,
    "length_share_4": 0.16,
    "length_share_8": 0.09,
    "voice_crossing": 0.025,
    "parallel_fifths": 0.08,  # a bar
    "parallel_octaves": 0.05,
    "tonal_distance": 0.09,
}


def music_features(measures: Mapping[str, Float64[np.ndarray, " b"]]) -> Float64[np.ndarray, "b d"]:
    """The feature vectors of a batch from its `music_metrics`: each measure in its unit, in the order of `UNITS`.

    0 stands where a measure has no meaning: a silent clip is far from all music.
    """
    return np.stack([np.nan_to_num(measures[name], nan=0.0) / unit for name, unit in UNITS.items()], 1)
