"""The user's own MIDI files in windows of four bars; else as `midi_folder`."""

from typing import ClassVar

from genjax_art.data.midi_folder import MidiFolder


class MidiFolder4bar(MidiFolder):
    """The user's own MIDI files in windows of four bars."""

    name = "midi_folder_4bar"
    bars: ClassVar[int] = 4
