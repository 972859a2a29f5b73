"""The verbs about images: split."""

from pathlib import Path
from typing import Literal

from pellucid.training.configure import configure


def split(
    data: str,
    out: Path,
    /,
    *,
    train: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    per_class: bool = False,
    keep_split: Path | None = None,
    ignore_parts: bool = False,
    how: Literal["manifest", "copy", "link"] = "manifest",
    seed: int = 0,
    source: str = "auto",
    label_from: str | None = None,
    map: str | None = None,
    labels: Path | None = None,
    group_from: str | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    leave_out: list[str] | None = None,
) -> None:
    """Divide DATA into train, validation and test; twins and groups stay together.

    Parameters
    ----------
    data
        A folder with a folder for each class, a folder of ready splits, a table, or a flat folder of images.
    out
        The manifest (a .json file) that is written, or with --how copy or link the folder.
    train
        How many images the train part gets: 500, 0.8, 80%, or rest. Default: rest, where other parts are said.
    validation
        How many the validation part gets.
    test
        How many the test part gets.
    per_class
        The counts are for each class.
    keep_split
        A manifest or a run folder whose split is extended: its images stay in their parts, new ones are divided.
    ignore_parts
        Divide all of data that comes divided anew. Without it, amounts divide its train part alone.
    how
        manifest: a list of files. copy or link: folders of images.
    seed
        Another seed, another split; the same seed, the same split on every machine.
    source
        How DATA is to be read, where looking at it is not enough: class-folders, split-folders, table, file-names.
    label_from
        A pattern on the file name that captures the label: '^(?P<label>[HNP])'.
    map
        What labels mean, all of them: P=pm,H=nonpm,N=nonpm.
    labels
        A table of labels beside a flat folder.
    group_from
        A pattern on the path that captures the group; a group is never divided.
    path_column
        The table's column of paths. Default: path.
    label_column
        The table's column of labels. Default: label.
    split_column
        The table's column of ready-made parts. Default: split, where the table has it; '' for none.
    group_column
        The table's column of groups. Default: group, where the table has it; '' for none.
    leave_out
        A folder of DATA that is not read: its name, at whatever level, or its path. Say it again for another.
    """
    from rich.text import Text

    from pellucid.cli.show import say
    from pellucid.images.placing import check_place
    from pellucid.images.sources import check_classes, read_samples
    from pellucid.images.split import place, write_manifest
    from pellucid.images.split import split as divide
    from pellucid.reports.text import split_text

    asked = configure(
        data,
        source=source,
        label_from=label_from,
        map=map,
        labels=labels,
        group_from=group_from,
        path_column=path_column,
        label_column=label_column,
        split_column=split_column,
        group_column=group_column,
        leave_out=leave_out,
    )
    samples = read_samples(data, asked.data.source)
    check_classes(samples.classes, str(data))
    check_place(out, how, samples)
    parts = divide(
        samples,
        train=train,
        validation=validation,
        test=test,
        per_class=per_class,
        keep_split=keep_split,
        ignore_parts=ignore_parts,
        seed=seed,
    )
    if how == "manifest":
        write_manifest(parts, out)
    else:
        place(parts, out, how)
    say(split_text(parts))
    say(Text(f"written to {out}"))
