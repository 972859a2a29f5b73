"""Colours that can be read, and told apart by every eye."""

from typing import Any

import numpy as np
import pytest

from pellucid.reports import palette


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
@pytest.mark.parametrize("text", ["ink", "muted", "link", "right-text", "wrong-text"])
@pytest.mark.parametrize("ground", ["paper", "raised"])
def test_text_has_the_contrast_that_wcag_asks_for(colours: dict[str, str], text: str, ground: str) -> None:
    assert contrast(colours[text], colours[ground]) >= 4.5


@pytest.mark.parametrize("colours", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
@pytest.mark.parametrize("fill", ["right", "wrong"])
def test_the_deepest_cells_of_the_confusion_matrix_can_be_read(colours: dict[str, str], fill: str) -> None:
    paper, deep = (np.array([int(colours[name][i : i + 2], 16) for i in (1, 3, 5)]) for name in ("paper", fill))
    cell = "#" + "".join(f"{level:02x}" for level in np.round(0.6 * deep + 0.4 * paper).astype(int))
    assert contrast(colours["ink"], cell) >= 4.5


def test_40_classes_look_different() -> None:
    assert len({palette.look(index) for index in range(40)}) == 40


# How eyes without one kind of cones see linear RGB (Machado, Oliveira and Fernandes 2009, severity 1).
BLIND = {
    "red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "none": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
}


def lab(colour: str, eye: str) -> Any:
    """CIE L*a*b* (D65) of a colour as that eye sees it."""
    light = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    light = np.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(BLIND[eye]) @ light, 0, 1)
    white = np.array([0.9505, 1.0, 1.089])
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ seen / white
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("colours", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
@pytest.mark.parametrize("kind", ["", "-text"])
def test_wrong_is_red_and_right_green_to_every_eye(colours: dict[str, str], kind: str) -> None:
    right, wrong = colours[f"right{kind}"], colours[f"wrong{kind}"]
    for eye in BLIND:
        assert np.linalg.norm(lab(right, eye) - lab(wrong, eye)) > 15  # 2.3 can just be told apart
    hue = {name: np.degrees(np.arctan2(*lab(colour, "none")[:0:-1])) for name, colour in (("r", right), ("w", wrong))}
    assert 15 < hue["w"] < 50  # pure red has 40, Okabe and Ito's vermillion 58
    assert 140 < hue["r"] < 185
