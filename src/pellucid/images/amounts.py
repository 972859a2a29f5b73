"""How many images of each class each part should have: amounts as people write them, and their shares of each class."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from pellucid.errors import UserError, counted, listed

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
REST = "rest"
Targets = dict[Part, dict[str, int]]  # images by part, then by class


@dataclass(frozen=True)
class Amount:
    """A number of images, a share of them, or (with neither) all that other parts leave; `text` is how it was said."""

    text: str
    count: int | None = None
    share: Fraction | None = None

    @property
    def takes_rest(self) -> bool:
        return self.count is None and self.share is None


def parse(part: str, text: str) -> Amount:
    """ "500" images, "0.8" or "80%" of them, or "rest"."""
    refused = UserError(f"--{part} {text!r} is not an amount", hint="write 500, 0.8, 80% or rest")
    text = str(text).strip()
    if text == REST:
        return Amount(text)
    try:
        if text.endswith("%"):
            share = Fraction(text[:-1]) / 100
        elif "." in text:
            share = Fraction(text)
        else:
            count = int(text)
            if count < 0:
                raise refused
            return Amount(text, count=count)
    except (ValueError, ZeroDivisionError) as cause:
        raise refused from cause
    if not 0 <= share <= 1:
        raise refused
    return Amount(text, share=share)


def targets(counts: Counter[str], amounts: Mapping[Part, Amount], *, per_class: bool, usual: bool) -> Targets:
    """How many of the `counts` images of each class each part should have.

    Numbers are met exactly. Shares are rounded class by class, so that one class does not move the images of another;
    every class has an image to train on. With `usual` amounts, which nobody asked for, every part has one of each class
    of three or more images, and where there is no image for a part, it stays empty. Raises UserError where more is
    asked for than there is.
    """
    _check(counts, amounts, per_class=per_class)
    found: Targets = {}
    left = Counter(counts)
    for part, amount in amounts.items():
        if amount.count is not None:
            found[part] = dict.fromkeys(counts, amount.count) if per_class else _proportional(amount.count, left)
            left.subtract(found[part])
    shared = {part: amount for part, amount in amounts.items() if amount.count is None}
    for name, images in counts.items():
        for part, number in _shared_out(name, images, left[name], shared, usual=usual).items():
            found.setdefault(part, {})[name] = number
    if usual:
        _even_out(found)
    for part, amount in shared.items():
        if not usual and not sum(found[part].values()) and (amount.share or amount.takes_rest):
            _spare_one(found, part, amounts)
    return {part: found[part] for part in amounts}


def _check(counts: Counter[str], amounts: Mapping[Part, Amount], *, per_class: bool) -> None:
    rests = [part for part, amount in amounts.items() if amount.takes_rest]
    if len(rests) > 1:
        raise UserError(f"only one part can take the rest, not {' and '.join(rests)}")
    shares = sum((amount.share or Fraction() for amount in amounts.values()), Fraction())
    if shares > 1:
        raise UserError("the parts together are more than all images", hint="shares add up to 1 at most")
    numbers = sum(amount.count or 0 for amount in amounts.values())

    def asked(images: int) -> int:
        return numbers + round(shares * images)

    if per_class:
        short = sorted(name for name, images in counts.items() if asked(images) > images)
        lines = [f"{name}: {counted(counts[name], 'image')}, {asked(counts[name])} asked for" for name in short]
        if short:
            raise UserError(
                f"{counted(len(short), 'class', 'classes', verb=('has', 'have'))} too few images",
                listed(lines),
                hint="ask for fewer",
            )
    elif numbers and asked(counts.total()) > counts.total():
        raise UserError(
            f"{counted(asked(counts.total()), 'image', verb=('was', 'were'))} asked for; there are {counts.total():,}",
            hint="ask for fewer",
        )


def _proportional(count: int, counts: Counter[str]) -> dict[str, int]:
    """`count` images over the classes in proportion, by largest remainders: they add up exactly."""
    total = max(1, counts.total())
    exact = {name: Fraction(count * size, total) for name, size in counts.items()}
    given = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (given[name] - exact[name], name))
    for name in by_remainder[: count - sum(given.values())]:
        given[name] += 1
    return given


def _shared_out(name: str, images: int, left: int, shared: Mapping[Part, Amount], *, usual: bool) -> dict[Part, int]:
    """The `left` images of a class over the parts that take shares of all its `images`, by largest remainders."""
    exact: dict[Part | None, Fraction] = {
        part: amount.share * images for part, amount in shared.items() if amount.share is not None
    }
    rest: Part | None = next((part for part, amount in shared.items() if amount.takes_rest), None)
    exact[rest] = max(Fraction(), left - sum(exact.values(), Fraction()))  # None: in no part
    given = {part: int(share) for part, share in exact.items()}
    # Which of the parts that are equally close comes first is the class's own: with one order for all, many small
    # classes would leave the same part empty.
    order = sorted(
        exact, key=lambda part: (part is None, hashlib.sha256(f"{name}/{part}".encode("utf-8", "replace")).digest())
    )
    closest = sorted(exact, key=lambda part: (given[part] - exact[part], order.index(part)))
    for part in closest[: max(0, left - sum(given.values()))]:
        given[part] += 1
    while sum(given.values()) > left:  # a number that was asked for took an image more of this class
        given[max(given, key=lambda part: (given[part], order.index(part)))] -= 1
    first_train = sorted(order, key=lambda part: part != "train")
    for part in first_train:
        if part is None or not exact[part] or not (usual or part == "train"):
            continue
        donor = max(given, key=lambda part: given[part])
        if given[part] == 0 and given[donor] > (part != "train"):
            given[donor] -= 1
            given[part] += 1
    return {part: given[part] for part in shared}


def _even_out(found: Targets) -> None:
    """Where small classes left one of validation and test empty, and the other has several images, it gives one."""
    for empty, other in (("validation", "test"), ("test", "validation")):
        of_class = found.get(other, {})  # type: ignore[call-overload]
        if sum(of_class.values()) > 1 and empty in found and not sum(found[empty].values()):  # type: ignore[index]
            name = max(of_class, key=lambda name: (of_class[name], name))
            of_class[name] -= 1
            found[empty][name] += 1  # type: ignore[index]


def _spare_one(found: Targets, part: Part, amounts: Mapping[Part, Amount]) -> None:
    """A part whose share came to no image in any class takes one, of the class and part that have most of them."""
    asked = amounts[part]
    others = [other for other, amount in amounts.items() if other != part and amount.count is None]
    most = max(((found[other][name], other, name) for other in others for name in found[other]), default=None)
    whole = sum((amounts[other].share or Fraction() for other in others), Fraction()) == 1
    if most and most[0] > 1 and not (asked.takes_rest and whole):
        found[most[1]][most[2]] -= 1
        found[part][most[2]] += 1
    elif asked.takes_rest:
        taken = sum(sum(of_class.values()) for of_class in found.values())
        raise UserError(
            f"nothing is left for --{part} rest: {taken} of {taken} images were asked for", hint="ask for fewer"
        )
