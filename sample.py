"""Draw from a run folder alone: sample.py RUN [VERB] [--options].

python sample.py runs/dcgan-small                             # a grid of 64
python sample.py runs/dcgan-small --n 1000 --out digits.npz   # the arrays; a folder gets single pictures
python sample.py runs/dcgan-small walk --n 8 --out walk.mp4   # a film that loops
python sample.py runs/conv-vae vary --file mine.png           # variations of your picture
python sample.py runs/music-vae-small continue --midi mine.mid   # your music and eight more bars
python sample.py runs/music-vae-small walk --midi mine.mid yours.mid     # from the one to the other
python sample.py runs/muse-gan-small grid --soundfont mine.sf2   # the WAV by FluidSynth
"""

from collections.abc import Sequence

from genjax_art import interrupts


def sample(arguments: Sequence[str]) -> int:
    from genjax_art import cli

    command = cli.parse_sample(arguments)
    from genjax_art.files import keeping
    from genjax_art.run.load import load_run
    from genjax_art.train.process import prepare_process
    from genjax_art.verbs.output import Output

    prepare_process()
    given = command.drawing
    run = load_run(command.folder, given.checkpoint, given.member, which=given.which, trust=given.trust)
    out = Output(given.out or command.folder / command.verb, given.out is not None, command.writing, command.verb)
    with keeping(command.reads):
        paths = command.draw(run, out, **command.options)
    print("\n".join(str(path) for path in paths[:4]) + (f"\n... {len(paths)} files" if len(paths) > 4 else ""))
    return 0


if __name__ == "__main__":
    interrupts.main(sample)
