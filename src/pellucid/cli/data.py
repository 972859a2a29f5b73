"""The verb about images: split."""

from pathlib import Path
from typing import Any, Literal

from pellucid.cli.flags import READ_BY, reading, with_data
from pellucid.training.config import AMOUNTS, Data


def split(
    data: str,
    out: Path,
    /,
    *,
    how: Literal["manifest", "copy", "link"] = "manifest",
    seed: int = 0,
    **settings: Any,
) -> None:
    """Divide DATA into train, validation and test; twins and groups stay together.

    Parameters
    ----------
    data
        A folder with a folder for each class, a folder of ready splits, a table, or a flat folder of images.
    out
        The manifest (a .json file) that is written, or with --how copy or link the folder.
    how
        manifest: a list of files. copy or link: folders of images.
    seed
        Another seed, another split; the same seed, the same split on every machine.
    """
    from rich.text import Text

    from pellucid.cli.show import say
    from pellucid.images.manifest import write_manifest
    from pellucid.images.placing import check_place, place
    from pellucid.images.sources import check_classes, read_samples
    from pellucid.images.split import split as divide
    from pellucid.reports.text import split_text

    amounts = {name: value for name, value in settings.items() if name in AMOUNTS and value is not None}
    asked = Data.from_fields({"folder": data, "source": reading(settings), **amounts}, "what is asked of the data")
    samples = read_samples(data, asked.source)
    check_classes(samples.classes, data)
    check_place(out, how, samples)
    parts = divide(samples, seed=seed, **{name: getattr(asked, name) for name in AMOUNTS})
    if how == "manifest":
        write_manifest(parts, out)
    else:
        place(parts, out, how)
    say(split_text(parts))
    say(Text(f"written to {out}"))


with_data(split, {name: Data.model_fields[name] for name in AMOUNTS} | READ_BY)
