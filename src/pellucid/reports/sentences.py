"""What records say, in sentences for somebody new to classifiers; the terminal and the report share them."""

from pellucid.errors import counted
from pellucid.measures.intervals import Measured
from pellucid.reports.words import listed_words, percent
from pellucid.runs.card import Card


def accuracy_in_words(accuracy: Measured) -> str:
    """How often it was right, and how often it will be, without a word of statistics but "confidence"."""
    if accuracy.value is None or accuracy.low is None or accuracy.high is None:
        return "No image was measured, so nothing is known of the model's accuracy."
    right = round(accuracy.value * accuracy.n)
    low, high = round(100 * accuracy.low), round(100 * accuracy.high)
    among = f"{low}" if low == high else f"{low} to {high}"
    return (
        f"The model was right about {right:,} of {counted(accuracy.n, 'image')}. Of many more images like these, "
        f"it would be right about {among} of every 100 (with 95 % confidence)."
    )


def decision(card: Card) -> list[str]:
    """How the model turns its scores into an answer: threshold, temperature, and when it calls itself sure."""
    if card.threshold is not None:
        negative, positive = card.classes
        rule = f"The model says {positive} where the probability of {positive} is at least {percent(card.threshold)}, "
        rule += f"and {negative} otherwise."
    else:
        rule = "The model says the class with the highest probability."
    if card.members:
        scores = (
            f"Its probabilities are the mean of those of its {counted(len(card.members), 'member')}, each calibrated "
            "as it was when it stood alone."
        )
    elif card.temperature == 1:
        scores = "Its raw scores become probabilities as they are (temperature 1): they were not calibrated."
    else:
        what = "less" if card.temperature > 1 else "more"
        scores = (
            f"Its raw scores are divided by {card.temperature:.2f} (the temperature) before they become probabilities, "
            f"which makes the probabilities {what} extreme. The temperature was chosen on the validation images so "
            "that, as nearly as one number can do it, answers with a probability of 90 % are right nine times in ten."
        )
    if card.members and card.sure_from is None:
        sure = "No answer is called sure: nobody measured from which probability on it could be."
    elif card.sure_from is None:
        sure = (
            "No answer is called sure: there is no probability from which on 95 % of the answers on the validation "
            "images were right."
        )
    else:
        sure = (
            f"An answer is called sure where its probability is at least {percent(card.sure_from)}: "
            "of such answers on the validation images, at least 95 % were right."
        )
    return [rule, scores, sure]


def _colour(background: tuple[int, int, int]) -> str:
    red, green, blue = background
    known = {(255, 255, 255): "white", (0, 0, 0): "black"}.get(background)
    return known or f"a colour (red {red}, green {green}, blue {blue}, each of 255)"


def preprocessing(card: Card) -> str:
    """How an image reaches the network, in a sentence."""
    p = card.preprocessing
    if p.resize is None:
        resized = "kept at its own resolution"
    elif isinstance(p.resize, tuple):
        resized = f"resized to {p.resize[1]} x {p.resize[0]} pixels ({p.interpolation})"
    else:
        resized = f"resized to {p.resize} pixels on its shorter side ({p.interpolation})"
    mean, std = (listed_words([f"{value:g}" for value in values]) for values in (p.mean, p.std))
    cut = f"{p.size} x {p.size} pixels are cut from its centre"
    if p.crops > 1:
        crops = f"{p.crops**2} crops of {p.size} x {p.size} pixels, spread over {p.seen} x {p.seen} at its centre,"
        cut = f"{crops} are evaluated, and their outputs averaged"
    seen = "" if p.channels == "RGB" else " The network sees blue first, then green, then red."
    return (
        f"An image is turned upright, {resized}, and {cut}. "
        f"Red, green and blue are scaled to 0..1; {mean} are subtracted, and the results divided by {std}.{seen} "
        f"Where pixels are transparent, {_colour(p.background)} shows through."
    )
