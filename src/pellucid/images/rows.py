"""The rows of a table as samples: every image once, with what is said of it, and every fault told at once by kind."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pellucid.errors import UserError, counted, listed
from pellucid.images.labels import clean
from pellucid.images.part_words import recognised
from pellucid.images.samples import Sample, Source
from pellucid.images.tables import Column, Identity, identity, located, read_rows, why_missing

# What a spreadsheet writes where a formula found nothing: #N/A (#NV, #N/D), #REF! (#BEZUG!), #NAME?, Err:502.
FAILED = re.compile(r"#(N/A|N/D|NV|[¡¿]?[A-ZÄÖÜ0-9/]+[!?])|Err:\d{3}")
COLUMNS = {"path": "path_column", "label": "label_column", "split": "split_column", "group": "group_column"}


@dataclass
class _Problems:
    """What is wrong with the rows of a table, all of it told at once by kind."""

    missing: list[tuple[str, Path]] = field(default_factory=list)  # as it is written, and where that would be
    several: list[str] = field(default_factory=list)
    hollow: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    words: Counter[str] = field(default_factory=Counter)


def table_samples(
    table: Path, source: Source, place: Path, images: Sequence[Path] = ()
) -> tuple[list[Sample], list[str]]:
    """The images that `table` names, whose paths are below `place`; and what to say of them. Raises UserError.

    A cell without folders may also be the name of one of `images`, with its suffix or without.
    """
    named = _by_name(images)
    columns = _columns(source)
    problems, notes = _Problems(), list[str]()
    rows: list[tuple[int, Identity, Sample]] = []  # the part still as it is written
    comments = by_name = 0
    for row in read_rows(table, [column for column in columns.values() if column.name], notes):
        said, label = row[columns["path"].name], row[columns["label"].name]
        path, there = located(place, said)
        if there is None and (alike := named.get(clean(said), ())):
            if len(alike) > 1:
                problems.several.append(f"{clean(said)}: {' and '.join(map(str, alike[:3]))}")
                continue
            path, there = alike[0], identity(alike[0])
            by_name += 1
        if not clean(said):
            problems.hollow.append(f"line {row.line}")
        elif bad := [cell for column in columns.values() if FAILED.fullmatch(cell := clean(row[column.name]))]:
            problems.failed.append(f"line {row.line}: {bad[0]}")
        elif there is None and said.lstrip().startswith("#"):  # a remark, or a row that somebody took out
            comments += 1
        elif there is None:
            problems.missing.append((said, path))
        elif not clean(label):
            problems.unlabelled.append(f"line {row.line}")
        else:
            part = clean(row[columns["split"].name])
            problems.words[part] += 1
            sample = Sample(path, label, part, clean(row[columns["group"].name]) or None)
            rows.append((row.line, there, sample))
    _check_problems(table, problems, place)
    if by_name:
        notes.append(f"{counted(by_name, 'row')} of {table} name an image by its name alone, and there is one such")
    if comments:
        notes.append(f"{counted(comments, 'row')} of {table} that begin with # are comments")
    parts = _parts_of_words(table, problems.words, columns["split"])
    if not rows:
        raise UserError(f"{table} has no rows", hint="write a row for each image, with its path and label")
    samples, again = _once(table, rows, parts, source)
    if again:
        notes.append(f"{counted(again, 'row')} of {table} name an image again, and say the same of it")
    return samples, notes


def _by_name(images: Sequence[Path]) -> Mapping[str, Sequence[Path]]:
    """The images that a name may mean: a file's whole name, or that without its suffix."""
    found = defaultdict(list)
    for path in images:
        for name in {clean(path.name), clean(path.stem)}:
            found[name].append(path)
    return found


def _columns(source: Source) -> dict[str, Column]:
    """What was named has to be there; split and group need not be where nobody named them."""
    said = {usual: None if (name := getattr(source, of)) is None else clean(name) for usual, of in COLUMNS.items()}
    columns = {}
    for usual, of in COLUMNS.items():
        flag, name = f"--{of.replace('_', '-')}", said[usual]
        optional = usual in ("split", "group")
        if name == "" and not optional:
            raise UserError(f"{flag} names no column", hint=f"a table needs one; leave {flag} out for {usual!r}")
        if name is None:
            others = [other.casefold() for other in said.values() if other]
            name = "" if optional and usual in others else usual  # a column of that name was said to be another
            columns[usual] = Column(flag, name, optional=optional)
        else:
            columns[usual] = Column(flag, name)
    return columns


def _check_problems(table: Path, problems: _Problems, place: Path) -> None:
    if problems.missing:
        raise UserError(
            f"{table} names {counted(len(problems.missing), 'file')} not to be found",
            listed([str(path) if "//" in str(path) or ":" not in said else said for said, path in problems.missing]),
            hint=why_missing(problems.missing[0][0], place, table),
        )
    if problems.several:
        raise UserError(
            f"{table} has {counted(len(problems.several), 'row')} that may mean several files",
            listed(problems.several),
            hint="write the paths with their folders and suffixes",
        )
    if problems.hollow:
        raise UserError(f"{table} has {counted(len(problems.hollow), 'row')} without a path", listed(problems.hollow))
    if problems.failed:
        raise UserError(
            f"{table} has {counted(len(problems.failed), 'row')} in which a formula failed",
            listed(problems.failed),
            hint="mend them in the spreadsheet, or take those rows out",
        )
    if problems.unlabelled:
        raise UserError(
            f"{table} has {counted(len(problems.unlabelled), 'row')} without a label",
            listed(problems.unlabelled),
            hint="write a label into each, or take those rows out",
        )


def _parts_of_words(table: Path, words: Counter[str], column: Column) -> dict[str, str]:
    """The part that each word in the column of parts means."""
    said = [word for word in words if word]
    parts = recognised(said)
    if unknown := [word for word in said if word not in parts]:
        raise UserError(
            f"{table} has unknown parts in column {column.name!r}",
            listed([f"{name} ({counted(words[name], 'row')})" for name in sorted(unknown)]),
            hint="parts are called train, val (valid, validation, dev) and test (eval, holdout); "
            f"{column.flag} '' takes no column for parts",
        )
    return parts


def _once(
    table: Path, rows: Sequence[tuple[int, Identity, Sample]], parts: Mapping[str, str], source: Source
) -> tuple[list[Sample], int]:
    """Each image once, however its path is spelled, in its part; what is said of it twice has to be the same."""
    first: dict[Identity, tuple[int, Sample]] = {}
    meaning = {clean(label): clean(meant) for label, meant in source.map.items()}

    def said(sample: Sample) -> dict[str, str | None]:
        label = clean(sample.label)
        part = parts.get(sample.part or "")
        return {"labels": meaning.get(label, label), "parts": part, "groups": sample.group}

    for line, there, sample in rows:
        before, other = first.setdefault(there, (line, sample))
        if other is sample:
            continue
        ours, theirs = said(sample), said(other)
        if different := [what for what in ours if ours[what] != theirs[what]]:
            what = different[0]
            spelled = "" if sample.path == other.path else f", which line {line} calls {sample.path}"
            raise UserError(
                f"{table} gives {other.path} two {what}: {theirs[what] or 'none'} in line {before} "
                f"and {ours[what] or 'none'} in line {line}{spelled}",
                hint="say one of them for an image",
            )
    samples = [Sample(one.path, one.label, parts.get(one.part or ""), one.group) for _, one in first.values()]
    return samples, len(rows) - len(first)
