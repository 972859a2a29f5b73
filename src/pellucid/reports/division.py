"""How images were divided, in sentences: a manifest says it in short (Split.rule), and older ones in older words."""

import re
from fractions import Fraction

from pellucid.errors import counted
from pellucid.images.amounts import REST
from pellucid.images.manifest import BY_RANK, Split
from pellucid.images.split import CAME_DIVIDED
from pellucid.reports.words import listed_words

DOING = {"train": "to train", "validation": "to validate", "test": "to test"}
AMOUNT = rf"(?:{'|'.join(DOING)}) [^\s,;]+"
EARLIER = re.compile(r"([\d,]+ images?) as in (.*), ([\d,]+) new: (.*)", re.DOTALL)
RULE = re.compile(
    rf"(?P<came>{CAME_DIVIDED})?"
    rf"(?:; validation (?:taken|carved) from train \((?P<taken>[\d.]+)\), "
    rf"|(?:, its train part into |; of train )?(?P<amounts>{AMOUNT}(?:, {AMOUNT})*)(?P<each> of each class)?[;,] )?"
    r"(?:every class alike, (?:files of the same content in one part|twins together)"
    r"(?P<grouped>, each group in one part|, groups together)?)?"
)


def division(split: Split) -> str:
    """What decided which image is in which part; a rule that is in no known words stands as it is."""
    earlier = EARLIER.fullmatch(split.rule)
    known, name, new, rule = earlier.groups() if earlier else ("", "", "", split.rule)
    found = RULE.fullmatch(rule)
    if not found:
        return f"{split.rule}; seed {split.seed}."
    sentences = []
    if earlier:
        verb = "is in the part that it has" if known == "1 image" else "are in the parts that they have"
        sentences.append(f"{known} {verb} in {name}; {new} {'is' if new == '1' else 'are'} new.")
    if found["came"]:
        sentences.append("The data came divided into parts.")
    amounts = _amounts(found["amounts"] or "", each=bool(found["each"]))
    alike = "" if found["each"] else ", and the same shares of every class"
    if found["taken"]:
        share = _amount(found["taken"])
        sentences.append(f"It had no validation part: {share} of its train part became one{alike}.")
    elif found["came"] and amounts:
        sentences.append(f"Its train part was divided further: {amounts}{alike}.")
    elif amounts:
        sentences.append(f"{amounts[:1].upper()}{amounts[1:]}{alike}.")
    if split.method == BY_RANK:
        what = "Files with the same content"
        what += ", and images of one group," if found["grouped"] else ""
        by = listed_words(
            [f"seed {split.seed}", "the files' contents", *(["the groups' names"] * bool(found["grouped"]))]
        )
        sentences.append(
            f"{what} stay in one part. Otherwise the part of an image is drawn at random, with the same outcome on "
            f"every machine: it depends on {by}."
        )
    return " ".join(sentences)


def _amounts(text: str, *, each: bool) -> str:
    """`train 0.6, test rest` as `60 % to train, the rest to test`."""
    said = [pair.split(" ") for pair in text.split(", ")] if text else []
    return ", ".join(f"{_amount(amount, each=each)} {DOING[part]}" for part, amount in said)


def _amount(text: str, *, each: bool = False) -> str:
    of = " of each class" if each else ""
    if text == REST:
        return "the rest"
    if not text.endswith("%") and "." not in text:
        return counted(int(text), "image") + of
    share = Fraction(text.removesuffix("%")) * (1 if text.endswith("%") else 100)
    return f"{float(share):.3g} %{of}"
