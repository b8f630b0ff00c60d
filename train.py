"""Train a preset into a run folder.

python train.py                          # the default, dcgan-small: real digits in minutes
python train.py conv-vae --steps 2000    # another preset, with an option; --help shows all
python train.py --resume --run-dir runs/dcgan-small --steps 8000
"""

from collections.abc import Sequence
from pathlib import Path

from genjax_art import interrupts


def train(arguments: Sequence[str]) -> int:
    from genjax_art import cli

    command = cli.parse_train(arguments)
    from genjax_art.build import build_plan, build_source, placed
    from genjax_art.run.layout import claim
    from genjax_art.run.training import run
    from genjax_art.run.world import check_world
    from genjax_art.train.process import check_alone, prepare_process

    prepare_process()
    check_alone()
    experiment = placed(command.experiment)
    if command.profile:
        from genjax_art.run.profile import profile, show

        source, folder = build_source(experiment), command.run_dir or Path("runs") / experiment.name
        show(profile(build_plan(experiment, source.spec), source, folder, command.profile))
        return 0
    with claim(command.run_dir, experiment.name, experiment.run.steps, resume=command.resume) as folder:
        source, content = build_source(experiment), None
        if command.resume:
            source, content = check_world(folder, source, command.changed)
        plan = build_plan(experiment, source.spec)
        how, changed = command.parallel, command.changed
        return run(plan, source, folder, how=how, resume=command.resume, changed=changed, content=content)


if __name__ == "__main__":
    interrupts.main(train)
