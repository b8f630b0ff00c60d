"""Train a preset into a run folder.

python train.py                          # the default, dcgan-small: real digits in minutes
python train.py conv-vae --steps 2000    # another preset, with an option; --help shows all
python train.py --resume --run-dir runs/dcgan-small --steps 8000
"""

from collections.abc import Sequence
from pathlib import Path

from genjax_art import cli


def free_folder(name: str) -> Path:
    """runs/NAME, or with the next free number where that is a finished run."""
    from genjax_art.run.layout import is_finished

    folder, number = Path("runs") / name, 1
    while is_finished(folder):
        number += 1
        folder = Path("runs") / f"{name}-{number}"
    return folder


def train(arguments: Sequence[str]) -> int:
    command = cli.parse_train(arguments)
    from genjax_art.build import build_plan, build_source, placed
    from genjax_art.run.layout import check_folder
    from genjax_art.run.training import run
    from genjax_art.run.world import check_world
    from genjax_art.train.process import prepare_process

    prepare_process()
    folder = command.run_dir or free_folder(command.experiment.name)
    check_folder(folder, command.experiment.run.steps, resume=command.resume)
    experiment = placed(command.experiment)
    source = build_source(experiment)
    if command.resume:
        source = check_world(folder, source, command.changed)
    plan = build_plan(experiment, source.spec)
    return run(plan, source, folder, how=command.parallel, resume=command.resume, changed=command.changed)


if __name__ == "__main__":
    cli.main(train)
