"""What labels mean: spellings that nobody can tell apart are one, those that look alike are refused, and maps."""

import re
import shlex
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from pellucid.errors import UserError, counted, listed, named, nearest
from pellucid.images.samples import Sample

# Characters without width, and those that turn the direction of writing.
UNSEEN = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
# These two join letters or part them in some scripts, and mean nothing beside Latin letters or at an end.
JOINERS = re.compile("(?:^|(?<=[ -\u024f]))[\u200c\u200d]+|[\u200c\u200d]+(?=[ -\u024f]|$)")
WHOLE = re.compile(r"(-?)(0|[1-9]\d*)\.0+")
# Letters of other scripts that look like Latin ones.
LOOKALIKES = str.maketrans(
    "АВЕКМНОРСТХУІЈЅавекмнорстхуіјѕԁԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧανορυıɡ",
    "ABEKMHOPCTXYIJSabekmhopctxyijsdqwABEZHIKMNOPTYXavopuig",
)
LONGEST = 200  # characters of a label; more is a text that fell into it
MOST_MAPPED = 6  # classes that a hint writes out


def clean(text: str) -> str:
    """`text` as it was meant: without what cannot be seen, spaces around it or twice in it, composed; `1.0` is 1."""
    before = None
    while text != before and not (text.isascii() and text.isprintable()):  # without one sign others may compose
        before = text
        text = "".join(letter for letter in text if letter.isspace() or unicodedata.category(letter) != "Cc")
        text = unicodedata.normalize("NFC", JOINERS.sub("", UNSEEN.sub("", " ".join(text.split()))))
    text = " ".join(text.split())
    if text.endswith("0") and (whole := WHOLE.fullmatch(text)):
        return whole[2] if whole[2] == "0" else whole[1] + whole[2]
    return text


def settle(
    samples: Sequence[Sample], meaning: Mapping[str, str], where: str, *, known: Collection[str] = ()
) -> tuple[list[Sample], list[str]]:
    """The samples under the labels that were meant, and what to say of it.

    Raises UserError for labels that look alike (unless they are `known` to be classes of their own, or `meaning` says
    that each means itself), that are none, that `meaning` (--map) does not know, or that it knows and nobody has.
    """
    cleaned = {sample.label: clean(sample.label) for sample in samples}
    for label, meant in cleaned.items():
        _check(label, meant, where)
    counts = Counter(cleaned[sample.label] for sample in samples)
    means = _meaning(counts, meaning, where) if meaning else {label: label for label in counts}
    said = {clean(label) for label, meant in meaning.items() if clean(label) == clean(meant)}
    _check_alike(Counter(means[cleaned[one.label]] for one in samples), where, {*known, *said})
    settled = {label: means[meant] for label, meant in cleaned.items()}
    return [
        one if settled[one.label] == one.label else replace(one, label=settled[one.label]) for one in samples
    ], _folded(cleaned)


def _check(label: str, meant: str, where: str) -> None:
    try:
        label.encode()
    except UnicodeEncodeError as cause:
        raise UserError(
            f"{where} has a class whose name is not UTF-8: {label.encode('utf-8', 'surrogateescape')!r}",
            hint="rename it; `convmv` does so for whole folders",
        ) from cause
    if not meant:
        raise UserError(f"{where} has a class whose name cannot be seen: {label!r}", hint="give it a name")
    if any(letter == "\ufffd" or unicodedata.category(letter) in ("Cn", "Co") for letter in meant):
        raise UserError(
            f"{where} has a class with a letter that does not exist: {meant!a}",
            hint="the text is damaged, or in another encoding: save it as UTF-8, or give the class a name",
        )
    if len(meant) > LONGEST:
        raise UserError(
            f"{where} has a label of {len(meant):,} characters: {meant[:40]!r}...", hint="a label is a word or a few"
        )


def _folded(cleaned: Mapping[str, str]) -> list[str]:
    written = defaultdict(list)
    for label, meant in cleaned.items():
        written[meant].append(label)
    several = {meant: sorted(labels) for meant, labels in written.items() if len(labels) > 1}
    shown = [f"{meant} ({', '.join(map(ascii, labels))})" for meant, labels in sorted(several.items())]
    return [f"written in several ways, and taken for one class: {named(shown, 4)}"] if several else []


def _meaning(counts: Counter[str], meaning: Mapping[str, str], where: str) -> dict[str, str]:
    """What each label means; one that something else means may mean itself unsaid.

    A map that only corrects spellings, or confirms them, says nothing of other labels and may leave them out.
    """
    means = {clean(label): clean(meant) for label, meant in meaning.items()}
    if hollow := [label for label, meant in meaning.items() if not clean(meant)]:
        raise UserError(f"--map says that {hollow[0]!r} means nothing", hint="write --map P=pm,H=nonpm")
    spells = all(look(label) == look(meant) for label, meant in means.items())
    if not spells and (
        unknown := {
            label: count for label, count in counts.items() if label not in means and label not in means.values()
        }
    ):
        raise UserError(
            f"--map does not say what {counted(len(unknown), 'label', verb=('means', 'mean'))}",
            listed([f"{label} ({counted(count, 'image')})" for label, count in sorted(unknown.items())]),
            hint=f"it knows {named(sorted(means))}; {min(unknown)}={min(unknown)} leaves a label as it is",
        )
    if absent := sorted(means.keys() - counts.keys()):
        close = nearest(absent[0], counts)
        raise UserError(
            f"--map says what {named(absent)} {'means' if len(absent) == 1 else 'mean'}, and {where} has no such label",
            [f"it has {named(sorted(counts))}"],
            hint=f"did you mean {close}?" if close else "leave it out of --map",
        )
    return {label: means.get(label, label) for label in counts}


def look(label: str) -> str:
    """What two labels have in common that look alike: case, letters of other scripts, `_` or `-` or space, 1 or 01."""
    plain = _drawn(label).casefold()
    plain = re.sub(r"[\s_-]+", " ", plain)
    try:
        # Zeros before or behind a number; infinities and digits of other scripts are words.
        return repr(float(plain)) if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", plain) else plain
    except OverflowError:
        return plain


def _drawn(label: str) -> str:
    return unicodedata.normalize("NFKC", label).translate(LOOKALIKES)


def _check_alike(counts: Counter[str], where: str, known: set[str]) -> None:
    of_look = defaultdict(list)
    for label in sorted(counts):
        of_look[look(label)].append(label)
    alike = [
        labels
        for labels in of_look.values()
        if len(labels) > 1 and not _letters(labels) and not known.issuperset(labels)
    ]
    if not alike:
        return
    joined = ",".join(f"{label}={same[0]}" for same in alike[:MOST_MAPPED] for label in same[1:])
    apart = ",".join(f"{label}={label}" for same in alike[:MOST_MAPPED] for label in same)
    raise UserError(
        f"{where} has classes whose names look alike",
        listed([", ".join(f"{_told(label)} ({counted(counts[label], 'image')})" for label in same) for same in alike]),
        hint="write each class in one way"
        if re.search("[,=]", "".join(label for same in alike for label in same))  # which no map can say
        else f"write each class in one way; --map {shlex.quote(joined)} joins them, "
        f"--map {shlex.quote(apart)} keeps them apart",
    )


def _letters(labels: Sequence[str]) -> bool:
    """A and a: letters are classes of their own, but not those of two scripts that are drawn alike."""
    return max(map(len, labels)) == 1 and len({_drawn(label) for label in labels}) == len(labels)


def _told(label: str) -> str:
    return label if label.isascii() else f"{label} ({ascii(label)[1:-1]})"


def lacking(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What to say of parts, of images by part and class, that have images and of some class none."""
    return [
        f"the {part} part has no image of {named(sorted(empty))}"
        for part, of_class in counts.items()
        if any(of_class.values()) and (empty := [name for name, number in of_class.items() if not number])
    ]


def check_classes(classes: Iterable[str], where: str) -> None:
    """Two at least. Raises UserError."""
    found = list(classes)
    if len(found) < 2:
        raise UserError(
            f"{where} has one class alone: {found[0] if found else 'none'}",
            hint="a classifier tells two or more apart: name data that has a folder, or a label, for each",
        )


def parse_map(text: str | Mapping[str, str] | None, flag: str = "--map") -> dict[str, str]:
    """`P=pm,H=nonpm` to {"P": "pm", "H": "nonpm"}; a mapping stays as it is."""
    if text is None:
        return {}
    if not isinstance(text, str):
        return dict(text)
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if bad := [label for label, equals, name in pairs if not (equals and label.strip() and name.strip())]:
        raise UserError(f"{flag} does not say what {bad[0]!r} means", hint=f"write {flag} P=pm,H=nonpm,N=nonpm")
    return {label.strip(): name.strip() for label, _, name in pairs}
