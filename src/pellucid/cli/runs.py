"""The verbs that make runs, and look at them: demo, train, recipes, resume, runs, report."""

import sys
from inspect import Parameter as Argument
from inspect import signature
from pathlib import Path
from typing import Any, Literal

from pellucid.cli.flags import gathered, shown_as
from pellucid.cli.shared import Code
from pellucid.errors import DONE, USER_FAULT, UserError
from pellucid.images.augmentation import Augmentation
from pellucid.images.samples import READING
from pellucid.networks.own import remember
from pellucid.records import Described
from pellucid.runs.run_folder import RunFolder
from pellucid.training.config import AMOUNTS, Config, Elsewhere, FeatureSettings, Input, Learning, Machine
from pellucid.training.configure import IN_A_SHELL, SETS, configure, setting
from pellucid.training.recipes import Recipe, recipe
from pellucid.training.recipes import recipes as recipe_names

CUTTING = (
    "cutting small squares, called tiles, from photographs; another network has enlarged half of the tiles, and the "
    "model has to learn which"
)


def demo(*, out: Path = Path("demo"), seed: int = 0) -> int:
    """Try everything on a small data set that comes with Pellucid: train, measure, report, in a minute or a few.

    The question of this data: can parts of photographs be told from parts that a small network has enlarged?

    Parameters
    ----------
    out
        The folder in which the images and the run folder are made.
    seed
        The number that all randomness comes from: which parts are cut out, the split and the training.
    """
    from rich.text import Text

    from pellucid.cli.show import aside
    from pellucid.images.demo import build_demo

    aside().print(Text(CUTTING))
    data = build_demo(out / f"tiles-{seed}", seed=seed)
    return _train(
        configure(
            data,
            recipe="demo",
            source="table",
            train="0.6",
            validation="0.15",
            test="rest",
            seed=seed,
            runs=out / "runs",
        )
    )


def train(*arguments: Any, samplings: int | None = None, **settings: Any) -> int:
    config = asked(*arguments, **settings)
    return _train(config) if samplings is None else _train_several(config, samplings)


RECORDS: dict[str, type[Described]] = {
    "validation_from": Elsewhere,
    "input": Input,
    "augmentation": Augmentation,
    "learning": Learning,
    "features": FeatureSettings,
    "machine": Machine,
}
ASKED: dict[str, Any] = {  # how a shell gives what `configure` takes
    "records": RECORDS,
    "types": {"model": str | None},
    "options": "options",
    "data": {name: setting(name) for name in (*AMOUNTS, *READING, "skip_unreadable")},
    "short": {place: name for name, place in SETS.items() if name != place},
    "doc": IN_A_SHELL,
    "about": {"recipe": f"The names are {', '.join(recipe_names())}; `pellucid recipes` says what they do."},
}
SAMPLINGS = """\
samplings
    Train so many times, each with the next seed on the same split, and join the models into an ensemble, which gives
    the mean of their probabilities. Default: train once.
"""
shown_as(train, configure, **ASKED)
train.__doc__ = f"{train.__doc__}{SAMPLINGS}"
train.__annotations__["samplings"] = int | None
train.__signature__ = signature(train).replace(  # type: ignore[attr-defined]
    parameters=[
        *signature(train).parameters.values(),
        Argument("samplings", Argument.KEYWORD_ONLY, default=None, annotation=int | None),
    ]
)


def asked(*arguments: Any, **settings: Any) -> Config:
    """The configuration that flags come to."""
    return configure(*arguments, **gathered(settings, records=RECORDS, options="options"))


def recipes(name: str | None = None, /, *, format: Literal["text", "json"] = "text") -> None:
    """List the recipes, which are settings of a training that go together, and what each is for.

    `pellucid train DATA --recipe NAME` trains by one. With NAME, this command shows all of its settings as a file: save
    it as MINE.toml, change what you like, and train with --recipe MINE.toml.

    Parameters
    ----------
    name
        The recipe to show whole. Default: none; all are listed.
    format
        text: a table, or the file of one recipe (TOML). json: one object per line, with name, about, instead (what we
        would do today) and settings.
    """
    from pellucid.training.recipe_file import as_file, every_setting

    if format == "json":
        for found in [recipe(name)] if name else map(recipe, recipe_names()):
            print(found.model_copy(update={"settings": every_setting(found)}).model_dump_json())
    elif name:
        print(as_file(recipe(name)), end="")
    else:
        _list_recipes([recipe(each) for each in recipe_names()])


def resume(run: Path, /, *, model_code: Code = None) -> int:
    """Go on with a training that was interrupted.

    It comes to the same weights as without the interruption, and computes with as many threads as before. It refuses
    where settings that decide the weights were edited; of other changes, such as another version of torch, it tells you
    and goes on.

    Parameters
    ----------
    run
        The run folder of that training, which `pellucid runs` lists.
    """
    from pellucid.cli.show import follow
    from pellucid.training.train import resume_events

    remember(model_code)
    return _finish(*follow(resume_events(run)))


def runs(folder: Path = Path("runs"), /) -> None:
    """List the trainings in a folder, one line each, with their accuracy.

    Parameters
    ----------
    folder
        The folder that holds the run folders.
    """
    from rich.text import Text

    from pellucid.cli.show import aside, say
    from pellucid.reports.lists import run_rows, runs_text
    from pellucid.runs.run_folder import find_runs

    found = find_runs(folder)
    if not found:
        raise UserError(f"there are no runs in {folder}", hint="`pellucid train DATA` makes one")
    rows, told = run_rows(found)
    say(runs_text(rows))
    for words in told:
        aside().print(Text(words))


def report(run: Path, /, *, every: int | None = None) -> None:
    """Write the report of a training, report.html in its run folder, anew.

    `pellucid train` writes a report too; this one has all that the run folder holds by now.

    Parameters
    ----------
    run
        The run folder, which `pellucid train` made.
    every
        In the curve of losses, each point is the mean of so many batches. Default: as many as give 100 to 200 points.
    """
    from pellucid.cli.show import say_lines
    from pellucid.reports.html import write_report
    from pellucid.runs.run_folder import open_run

    say_lines(str(write_report(open_run(run), every=every)))


def _list_recipes(found: list[Recipe]) -> None:
    from pellucid.cli.show import aside, say
    from pellucid.reports.lists import recipes_text

    say(recipes_text([(each.name, each.about, each.instead) for each in found]))
    if sys.stdout.isatty():
        aside().print(
            "`pellucid recipes NAME` shows all that one sets; `pellucid train DATA --recipe NAME` trains by it"
        )


def _train(config: Any) -> int:
    from pellucid.cli.show import follow
    from pellucid.training.pace import process_began
    from pellucid.training.train import train_events

    return _finish(*follow(train_events(config, began=process_began())))


def _train_several(config: Config, number: int) -> int:
    from rich.text import Text

    from pellucid.cli.models import ensemble
    from pellucid.cli.show import aside, follow
    from pellucid.training.samplings import check_samplings, sampling
    from pellucid.training.train import train_events

    check_samplings(config, number)
    made: list[RunFolder] = []
    for place in range(number):
        wanted = sampling(config, place, made[0] if made else None)
        aside().print(Text(f"sampling {place + 1} of {number}, seed {wanted.seed}"))
        run, end = follow(train_events(wanted))
        if code := _finish(run, end):
            if made:
                so_far = " ".join(str(one.path) for one in made)
                aside().print(Text(f"finished before it: {so_far}; `pellucid ensemble` joins runs that are done"))
            return code
        assert run is not None
        made.append(run)
    ensemble([str(run.path) for run in made], out=made[0].path.with_name(f"{made[0].path.name}-ensemble.safetensors"))
    return DONE


def _finish(run: RunFolder | None, end: Any) -> int:
    """Evaluate what was trained on images kept for it, write the report, say where all is."""
    from rich.text import Text

    from pellucid.cli.show import aside, kept_in_run, say, say_lines
    from pellucid.reports.html import write_report
    from pellucid.reports.text import evaluation_text
    from pellucid.uses.evaluate import evaluate

    if run is None:
        aside().print(Text("stopped before training began; no run was made"))
        return USER_FAULT
    goes_on = f"`{run.to_resume()}` goes on"
    if end is None:
        aside().print(Text(f"stopped at once; {goes_on} with what was saved before"))
        return USER_FAULT
    if end.why == "interrupted":
        if not run.model.is_file():
            aside().print(Text(f"interrupted before training began; {goes_on}"))
            return USER_FAULT
        aside().print(Text(f"interrupted; {goes_on}, {run.model} can be used as it is"))
        write_report(run)
        return USER_FAULT
    if run.split().part("test") or run.split().part("validation"):
        evaluation = evaluate(run.path)
        say(evaluation_text(evaluation))
        if not kept_in_run(evaluation):
            say_lines(f"run     {run.path}\nmodel   {run.model}")
            return USER_FAULT
    else:
        write_report(run)
    say_lines(f"run     {run.path}\nmodel   {run.model}\nreport  {run.report_path}")
    return DONE
