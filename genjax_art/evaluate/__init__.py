"""Measure trained runs: python -m genjax_art.evaluate RUN [RUN ...] [--features NAME] [--metrics NAME ...].

A measure is a file in `metrics/` with `measure`, or a function of yours, `my_module:measure`. Pictures: distance,
quality, coverage, variety, copies and novelty by features of a net of their own, each beside what held-out data would
have; clips: the same by features that see motion, with content and motion apart, each beside clips that are wrong in
time. Music: every measure beside the band of held-out pieces, Frechet distance, copies, reconstruction, latent space.

python -m genjax_art.evaluate choose --data.name NAME --budget 20m trains candidates on your data and recommends one;
python -m genjax_art.evaluate frontier RUN [RUN ...] plots how far from the styles runs go without leaving the data.
"""

from collections.abc import Sequence


def evaluate(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["choose"]:
        from genjax_art.evaluate.choose import choose

        return choose(arguments[1:])
    if arguments[:1] == ["frontier"]:
        from genjax_art.evaluate.frontier import frontier

        return frontier(arguments[1:])
    from genjax_art.evaluate import judged, page, tables
    from genjax_art.evaluate.command import parse_evaluate
    from genjax_art.files import check_writable, refuse_link
    from genjax_art.train.process import prepare_process

    command = parse_evaluate(arguments)
    measures = judged.find_measures(command.metrics)
    out = command.out or command.runs[0] / "evaluation"
    refuse_link(out)
    check_writable(out)
    prepare_process()
    found = [judged.judge(folder, command, measures) for folder in command.runs]
    found = judged.told_apart(found)
    for one in found:
        tables.print_plain(one)
    tables.print_rows(found)
    page.write(found, out)
    print(f"written: {out / 'results.json'} and {out / page.PAGE}")
    if command.json is not None:
        page.write_json(found, command.json)
    return 0
