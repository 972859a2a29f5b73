"""Programs that use an exported file without Pellucid, made of its card: in Python, JavaScript, C++ and C#.

For files with their preprocessing inside. Each needs ONNX Runtime and a decoder of images, and nothing else.
"""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pellucid.errors import UserError
from pellucid.runs.card import Card

Language = Literal["python", "javascript", "cpp", "csharp"]
PROGRAMS: dict[Language, str] = {
    "python": "predict.py",
    "javascript": "predict.mjs",
    "cpp": "predict.cpp",
    "csharp": "predict.cs",
}


def snippet(card: Card, path: Path, language: Language) -> str:
    """A whole program in `language` that classifies the images it is given with the file at `path`.

    Raises UserError for a file that takes prepared pixels: who has no Pellucid cannot prepare them.
    """
    if not card.inside:
        raise UserError(
            f"{path} takes pixels that Pellucid prepared, so no program can use it without Pellucid",
            hint="`pellucid export MODEL --out model.onnx --inside` writes one that takes whole images",
        )
    if path.suffix.lower() == ".xml":
        raise UserError(
            f"{path} is OpenVINO's, and these programs use ONNX Runtime",
            hint="`pellucid export MODEL --out model.onnx --inside` writes a file for them",
        )
    text = (files("pellucid.exports") / "programs" / f"{PROGRAMS[language]}.txt").read_text(encoding="utf-8")
    for mark, value in _values(card, path).items():
        text = text.replace(f"@{mark}@", value)
    return text


def _values(card: Card, path: Path) -> dict[str, str]:
    """What stands for each mark in the programs."""
    red, green, blue = card.preprocessing.background
    names = [json.dumps(name) for name in card.classes]
    spelled = [_in_cpp(name) for name in card.classes]
    title = f"Classifies images as one of {len(card.classes)} classes. Made by Pellucid from the card of {path.name}."
    return {
        "TITLE": title.replace("\n", " "),
        "FILE": json.dumps(path.name),
        "FILE_CPP": _in_cpp(path.name),
        "CLASSES_PYTHON": json.dumps(list(card.classes), ensure_ascii=False),
        "CLASSES_JSON": f"[{', '.join(names)}]",
        "CLASSES_CPP": f"{{{', '.join(spelled)}}}",
        "CLASSES_CSHARP": f"{{ {', '.join(names)} }}",
        "BACKGROUND": f"{red}, {green}, {blue}",
        "RED": str(red),
        "GREEN": str(green),
        "BLUE": str(blue),
        "SURE": "2.0" if card.sure_from is None else f"{card.sure_from!r}",
        **_best(card),
    }


def _in_cpp(text: str) -> str:
    """As JSON, but for letters, which C++ takes as they are, and for signs of control, which it takes in octal."""
    return re.sub(r"\\u00(..)", lambda found: f"\\{int(found[1], 16):03o}", json.dumps(text, ensure_ascii=False))


def _best(card: Card) -> dict[str, str]:
    """How each language finds the class that is called: by the threshold, or the most probable."""
    if card.threshold is not None:
        level = repr(card.threshold)
        return {
            "BEST_PYTHON": f"int(probabilities[0, 1] >= {level})",
            "BEST_JAVASCRIPT": f"all[1] >= {level} ? 1 : 0",
            "BEST_CPP": f"all[1] >= {level} ? 1 : 0",
            "BEST_CSHARP": f"all[1] >= {level} ? 1 : 0",
        }
    return {
        "BEST_PYTHON": "int(probabilities[0].argmax())",
        "BEST_JAVASCRIPT": "all.indexOf(Math.max(...all))",
        "BEST_CPP": f"int(std::max_element(all, all + {len(card.classes)}) - all)",
        "BEST_CSHARP": "Array.IndexOf(all, all.Max())",
    }
