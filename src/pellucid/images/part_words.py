"""The words by which folders are called as parts: "seg_train", "TrainingSet", "01-val (2)", in several languages."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TRAIN = "train training trainings trainval entrainement apprentissage entrenamiento treino 训练 训练集"
VALIDATION = """
    val valid validation validate validating dev devel development validierung validierungs validacion validacao
    validazione 验证 验证集
"""
TEST = "test tests testing holdout heldout prueba pruebas teste 测试 测试集"
# What `--part` and people call the parts.
PARTS = {
    word: part
    for part, words in {"train": TRAIN, "validation": VALIDATION, "test": TEST}.items()
    for word in words.split()
}
EITHER = frozenset({"eval", "evals", "evaluation", "evaluating"})  # a test where there is none, else validation
# Too short to mean it, but where all folders are called so.
SHORTEST = {"train": "tr trn", "validation": "va vl", "test": "te ts tst"}
SHORT = {word: part for part, words in SHORTEST.items() for word in words.split()}
PICTURES = """
    image images img imgs picture pictures pic pics photo photos jpegimages jpgs jpg jpegs jpeg png pngs rgb
    input inputs
"""
ANNOTATIONS = """
    label labels labeltxt annotation annotations annot annots mask masks segmentation segmentations segmentationclass
    segmentationobject seg segs ground truth groundtruth gt bbox bboxes boxes lbl lbls xml xmls txt txts json target
    targets output outputs depth
"""
OTHER_WORDS = """
    set sets data dataset datasets daten datos samples sample split splits part parts dir folder folders file files sub
    subset all new old final raw full copy only resized cropped processed original originals x version v a b
"""
LOTS = "part parts batch batches chunk chunks fold folds folder dir data dataset set file files"
ASIDE = "unlabeled unlabelled unsorted unannotated uncategorized uncategorised untagged todo backup trash duplicates"
SET_ASIDE = frozenset(ASIDE.split())  # by people who sort images, and no class of theirs
TIMES = "cam camera session day week month year seq sequence clip video shot view scan take run site series"
TAKEN = frozenset(TIMES.split())  # with a number: when and with what images were taken
IMAGES, MARKS = frozenset(PICTURES.split()), frozenset(ANNOTATIONS.split())
FILLING = IMAGES | frozenset(OTHER_WORDS.split())
SERIES = IMAGES | frozenset(LOTS.split())  # with a number: what is filed in lots, whatever it shows
LONGEST = 40  # letters of a word that is taken to pieces


@dataclass(frozen=True)
class PartWords:
    """A name that has the word of a part in it: which, and the words that are neither that nor filling."""

    part: str  # train, validation, test or either
    rest: tuple[str, ...]
    weak: bool  # says so in two letters, or is one word with another ("dogtrain"): not by itself


def recognised(names: Iterable[str], *, short: bool = True) -> dict[str, str]:
    """The part that each of `names` means, of those that look like parts among these neighbours.

    A name with more words than a part's ("seg_train") counts where another has the same and another part ("seg_test").
    """
    names = list(names)
    found = {name: words for name in names if (words := words_in(name))}
    partners = defaultdict(set)
    for words in found.values():
        partners[words.rest].add(words.part)
    likely = {name: words for name, words in found.items() if not words.rest or len(partners[words.rest]) > 1}
    if not short or len(likely) < len(names) or len({words.part for words in likely.values()}) < 2:
        likely = {name: words for name, words in likely.items() if not words.weak or words.rest}
    parts = {words.part for words in likely.values()}
    either = "test" if "test" not in parts else "validation"
    return {name: either if words.part == "either" else words.part for name, words in likely.items()}


def words_in(name: str) -> PartWords | None:
    """The part that a name says, and what else it says; None where it says none, or several."""
    parts, rest, weak = [], [], False
    joined = " ".join(words_of(name)).replace("hold out", "holdout").replace("held out", "heldout").split()
    for word in joined:
        if word in PARTS or word in EITHER:
            parts.append(PARTS.get(word, "either"))
        elif word in SHORT:
            parts.append(SHORT[word])
            weak = True
        elif not (word.isdigit() or word in FILLING):
            rest.append(word)
    if set(parts) == {"train", "validation"}:
        parts = ["train"]  # train_val
    if not parts and rest:
        parts, rest, weak = [*_glued(rest), True]
    return PartWords(parts[0], tuple(rest), weak) if len(set(parts)) == 1 else None


def _glued(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The part in words such as `dogtrain` and `minival`, and what is left of the words without it."""
    for at, word in enumerate(words):
        for known in sorted(PARTS, key=len, reverse=True):
            if len(known) < len(word) and word.endswith(known):
                return [PARTS[known]], [*words[:at], word.removesuffix(known), *words[at + 1 :]]
    return [], list(words)


def words_of(name: str) -> list[str]:
    """`TrainingSet 01`: training, set, 01; `trainset`: train, set. Without accents, in small letters."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    found = []
    for run in re.findall(r"[A-Za-z]+|\d+|[^\W\d_A-Za-z]+", plain):
        found += _pieces(run.lower()) or [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\W+", run)]
    return found


def _pieces(run: str) -> list[str]:
    """A run of letters that is made of the word of a part and of filling, in pieces; else none."""
    known = PARTS.keys() | EITHER | {word for word in FILLING if len(word) > 1} | {"x"}
    if run in known or len(run) > LONGEST or run.isdigit():
        return [run]
    ends: dict[int, list[str]] = {0: []}
    for start in range(len(run)):
        for end in range(start + 1, len(run) + 1) if start in ends else ():
            if run[start:end] in known:
                ends.setdefault(end, [*ends[start], run[start:end]])
    pieces = ends.get(len(run), [])
    return pieces if any(piece in PARTS or piece in EITHER for piece in pieces) else []
