"""Draw from a run folder alone.

python sample.py runs/dcgan-small                             # a grid of 64
python sample.py runs/dcgan-small --n 1000 --out digits.npz   # the arrays; a folder gets single pictures
python sample.py runs/dcgan-small walk --n 8 --out walk.mp4   # a film that loops
"""

from collections.abc import Sequence

from genjax_art import cli


def sample(arguments: Sequence[str]) -> int:
    command = cli.parse_sample(arguments)
    from genjax_art import drawing
    from genjax_art.build import build_plan
    from genjax_art.runs import read_config
    from genjax_art.train.compile import prepare_process

    prepare_process()
    config, spec = read_config(command.run)
    plan = build_plan(cli.read_experiment(config, command.run), spec)
    state = drawing.load_state(plan, command.run, command.checkpoint)
    draw = {"grid": drawing.grid, "walk": drawing.walk}[command.what]
    paths = draw(
        plan,
        state,
        command.out or command.run / {"grid": "grid.png", "walk": "walk"}[command.what],
        n=command.n,
        seed=command.seed,
        label=command.label,
        truncation=command.truncation,
        which=command.which,
    )
    print(
        "\n".join(str(path) for path in paths[:4]) + (f"\n... {len(paths)} files" if len(paths) > 4 else "")
    )
    return 0


if __name__ == "__main__":
    cli.main(sample)
