"""Songs as sound by the program FluidSynth with a soundfont of the user's, in place of the built-in synthesiser."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from genjax_art.media.synth import Sound, seconds_of
from genjax_art.music.midi import Song, midi_bytes
from genjax_art.music.notes import MusicError

RATE = 44100  # samples a second
PATIENCE = 600  # seconds before the program is given up; for half an hour of music it needs about ten
ERROR = "fluidsynth: error: "  # how its complaints begin; its exit status is 0 all the same


def soundfont_player(soundfont: Path) -> Sound:
    """Songs to WAV files (stereo, 16 bit, `RATE`) by `fluidsynth`, found on the PATH, with the instruments they name.

    Raises:
      MusicError: at once: the program is missing, or `soundfont` cannot be read or is none. In playing: over half an
      hour of sound, or the program fails.
    """
    program = shutil.which("fluidsynth")
    if program is None:
        raise MusicError("a soundfont needs the program fluidsynth: install it on the PATH, or leave --soundfont out")
    try:
        with soundfont.open("rb") as stream:
            head = stream.read(12)
    except OSError as error:
        raise MusicError(f"soundfont {soundfont} cannot be read: {error.strerror or error}") from None
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise MusicError(f"{soundfont} is no soundfont (.sf2, .sf3): pass one, or leave --soundfont out")

    def play(song: Song) -> bytes:
        seconds_of(song.notes, song.tempo)  # refuses what is too long
        with tempfile.TemporaryDirectory() as folder:
            midi, wav = Path(folder, "song.mid"), Path(folder, "song.wav")
            midi.write_bytes(midi_bytes(song))
            options = ["-n", "-i", "-q", "-r", str(RATE), "-T", "wav", "-O", "s16", "-F", str(wav)]
            return _run([program, *options, str(soundfont.absolute()), str(midi)], wav, soundfont)

    return play


def _run(words: list[str], wav: Path, soundfont: Path) -> bytes:
    """What the program writes to `wav`."""
    try:
        ended = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MusicError(f"{words[0]} cannot play {soundfont}: {error}") from None
    complaints = [line.removeprefix(ERROR) for line in ended.stderr.splitlines() if line.startswith(ERROR)]
    if ended.returncode or complaints or not wav.is_file():
        last = ended.stderr.strip().splitlines()[-1:] or ["it says nothing"]
        raise MusicError(f"{words[0]} cannot play {soundfont}: {(complaints or last)[0]}")
    return wav.read_bytes()
