"""Draw from a run folder alone.

python sample.py runs/dcgan-small                             # a grid of 64
python sample.py runs/dcgan-small --n 1000 --out digits.npz   # the arrays; a folder gets single pictures
python sample.py runs/dcgan-small walk --n 8 --out walk.mp4   # a film that loops
python sample.py runs/music-vae-small continue --midi mine.mid   # your music and eight more bars
python sample.py runs/music-vae-small vary --midi mine.mid --amount 0.3
python sample.py runs/music-vae-small walk --midi mine.mid yours.mid     # from the one to the other
python sample.py runs/muse-gan-small --soundfont mine.sf2        # the WAV by FluidSynth
"""

from collections.abc import Sequence
from typing import Any

from genjax_art import cli


def sample(arguments: Sequence[str]) -> int:
    command = cli.parse_sample(arguments)
    from genjax_art import drawing, revision
    from genjax_art.build import build_plan
    from genjax_art.media.fluidsynth import soundfont_player
    from genjax_art.runs import read_config
    from genjax_art.train.compile import prepare_process

    prepare_process()
    sound = None if command.soundfont is None else soundfont_player(command.soundfont)
    config, spec = read_config(command.run)
    plan = build_plan(cli.read_experiment(config, command.run), spec)
    state = drawing.load_state(plan, command.run, command.checkpoint, command.member)
    outs = [command.out] if command.out else drawing.default_outs(plan, command.run, command.what)
    asked: dict[str, Any] = {"n": command.count, "seed": command.seed, "which": command.which, "sound": sound}
    if command.midi:
        draw: Any = {"continue": revision.proceed, "vary": revision.vary, "walk": revision.lead}[command.what]
        asked |= {"midi": command.midi if command.what == "walk" else command.midi[0]}
        asked |= {"amount": command.amount} if command.what == "vary" else {}
    else:
        draw = {"grid": drawing.grid, "walk": drawing.walk}[command.what]
        asked |= {"label": command.label, "truncation": command.truncation}
    paths = [path for out in outs for path in draw(plan, state, out, **asked)]
    print("\n".join(str(path) for path in paths[:4]) + (f"\n... {len(paths)} files" if len(paths) > 4 else ""))
    return 0


if __name__ == "__main__":
    cli.main(sample)
