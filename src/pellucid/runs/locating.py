"""MODEL as people give it to the file that holds the model: a run folder is looked into, a file is taken as it is."""

from os import PathLike
from pathlib import Path

from pellucid.errors import UserError
from pellucid.names import kind_of, path_of


def locate(model: str | PathLike[str]) -> Path:
    """MODEL as people give it (a run folder, or a model file) to the file that holds the model file."""
    path = path_of(model)
    match kind_of(path):
        case "nothing":
            raise UserError(
                f"{path} is not there",
                hint="`pellucid runs` lists what has been trained; `pellucid adopt` makes models of published weights",
            )
        case "other":
            raise UserError(f"{path} is no file but a pipe or a device", hint="a model is a run folder or a file")
        case "file":
            return path
    from pellucid.runs.run_folder import open_run

    run = open_run(path)
    if kind_of(run.model) != "file":
        raise run.without_model()
    return run.model
