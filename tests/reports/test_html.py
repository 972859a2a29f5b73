"""report.html: what it says, what it loads, and how large it may be. Images are real files."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from pellucid.reports.html import write_report
from pellucid.reports.tiles import CLASS_BYTES, IMAGE_BYTES
from pellucid.runs.evaluation import LeftOut
from pellucid.runs.run_folder import create_run
from tests.reports.made import CONFIG, NASTY, PROVENANCE, card, evaluation, page, split, training, write_images


class Page(HTMLParser):
    """What a browser would find: elements with their attributes, ids, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("dd", "td", "li", "p", "figcaption", "br", "summary"):
            self.words.append(" ")

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return re.sub(r"[\s\u00a0]+", " ", "".join(self.words))


def test_the_report_loads_nothing_from_anywhere(photos: Path) -> None:
    text = page(photos)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[\w+/=]+", "", text))
    for _, attributes in Page(text).elements:
        assert (attributes.get("href") or "#").startswith("#")
        assert (attributes.get("src") or "data:image/webp").startswith("data:image/webp")
        assert "srcset" not in attributes


def test_every_link_arrives_and_every_image_has_words(photos: Path) -> None:
    report = Page(page(photos))
    ids = [attributes["id"] for _, attributes in report.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) == 8
    assert {attributes["href"] for attributes in report.all("a")} == {f"#{id}" for id in ids}
    thumbnails = [image for image in report.all("img") if "src" in image]
    assert thumbnails
    assert all(image["alt"] and image["loading"] == "lazy" for image in thumbnails)
    assert all("aria-label" in drawing for drawing in report.all("svg"))


def test_the_report_says_the_accuracy_with_its_interval(photos: Path) -> None:
    text = Page(page(photos)).text
    # Wilson's interval for 17 of 20, from R: prop.test(17, 20, correct = FALSE)
    assert "85.0 % accuracy [64.0, 94.8], n = 20 on the test images" in text
    assert "The model was right about 17 of 20 images." in text
    assert "it would be right about 64 to 95 of every 100" in text
    assert "Always answering the commonest class would be right for 50.0 % of these images." in text
    assert "✗ said bees 61 % is ● ants" in text


def test_settings_that_somebody_chose_come_before_the_usual(photos: Path) -> None:
    config = CONFIG | {"augmentation": {"flip": 0.5, "scale": [0.35, 1.0]}}
    chosen, usual = Page(page(photos, config=config)).text.split("The settings #")[1].split("All other settings")
    assert "model small" in chosen
    assert "learning.epochs 3" in chosen
    assert "learning.clip 2" in chosen
    assert "augmentation.scale 0.35, 1" in usual


def test_a_setting_says_what_it_does(photos: Path) -> None:
    titles = [name["title"] for name in Page(page(photos)).all("dt") if "title" in name]
    assert any(said.startswith("How many times training goes through all training images.") for said in titles if said)
    own = Page(page(photos, config={**CONFIG, "options": {"mine": 3, "width": 0.5}})).all("dt")
    assert [name.get("title", "")[:8] for name in own[-20:] if name.get("title", "").startswith("A factor")] == [
        "A factor"
    ]


def test_words_from_outside_are_escaped(tmp_path: Path) -> None:
    classes = (NASTY.replace("/", "|"), "bees")
    root = write_images(tmp_path, [f"{name}/{n}.png" for name in classes for n in range(12)])
    text = page(
        root,
        split=split(train=12, classes=classes, root=str(root)),
        evaluation=evaluation([[9, 1], [2, 8]], classes, data=str(root), left_out=(LeftOut(path=NASTY, reason=NASTY),)),
        card=card(classes=classes),
        config=CONFIG | {"model": NASTY},
        provenance=PROVENANCE | {"commit": NASTY},
    )
    assert "<script>alert" not in text
    assert text.count("<script>") == 1
    assert classes[0] in Page(text).text


def test_the_report_stays_under_5_mb(tmp_path: Path) -> None:
    classes = tuple(f"class {index:02}" for index in range(40))
    root = write_images(tmp_path, [f"{name}/{n}.png" for name in classes for n in range(3)], side=400)
    confusion = (np.eye(40, dtype=int) * 2 + np.eye(40, k=3, dtype=int)).tolist()
    text = page(
        root,
        split=split(train=3, validation=0, test=0, classes=classes, root=str(root)),
        evaluation=evaluation(confusion, classes, data=str(root)),
        card=card(classes=classes, threshold=None),
    )
    assert len(text.encode()) < 5_000_000
    assert len(Page(text).all("img")) > 80


def test_a_thousand_classes_leave_room_for_images(photos: Path) -> None:
    classes = tuple(f"class number {index}" for index in range(1000))
    text = page(
        photos,
        split=split(1, 1, 1, classes, root=str(photos)),
        evaluation=evaluation((np.eye(1000, dtype=int) + np.eye(1000, k=1, dtype=int)).tolist(), classes),
        card=card(classes=classes, threshold=None),
    )
    assert len(text.encode()) < 5_000_000 - (IMAGE_BYTES - 1000 * CLASS_BYTES)
    assert "40 of 999 confused pairs" in Page(text).text


def test_the_confusion_matrix_is_a_table_of_counts(photos: Path) -> None:
    cells = re.findall(r'<td class="(good|bad|none)"[^>]*>([\d,]+)', page(photos))
    assert cells == [("good", "9"), ("bad", "1"), ("bad", "2"), ("good", "8")]


def test_a_report_without_mistakes(photos: Path) -> None:
    text = Page(page(photos, evaluation=evaluation([[10, 0], [0, 10]], data=str(photos)))).text
    # Wilson's lower bound for 20 of 20: 20 / (20 + 1.96 ** 2) = 0.839
    assert "The model was wrong about none of the 20 images." in text
    assert "up to 16.1 % wrong answers in the long run" in text


def test_a_report_of_one_epoch_shows_dots(photos: Path) -> None:
    text = page(photos, events=training(1))
    assert "<polyline" not in text
    assert "whisker is the 95 % interval" in Page(text).text


def test_a_report_says_over_what_images_are_spread(photos: Path) -> None:
    text = Page(page(photos, evaluation=evaluation([[12, 0], [2, 12]], data=str(photos)))).text
    assert "(16 of 24 images, spread evenly over the list of right answers of each class)" in text
    assert "(24 of 60 training images, spread evenly over the list of files of each class)" in text


def test_a_report_says_what_batch_norms_scale_by(photos: Path) -> None:
    first, *rest = training()
    begun = first.model_copy(update={"fresh_norms": 5, "norms_keep": 0.9})
    text = Page(page(photos, events=[begun, *rest])).text
    assert "5 batch normalisation layers of the network scale by a running mean and variance." in text
    assert "the running value becomes 0.9 of itself plus 0.1 of the batch's value" in text


def test_a_report_before_anything_was_measured(photos: Path) -> None:
    text = Page(page(photos, events=training()[:1], card=None, evaluation=None)).text
    assert "No epoch was finished" in text
    assert "Class by class" not in text


def test_a_report_of_an_interrupted_run_flatters_no_one(photos: Path) -> None:
    text = Page(page(photos, events=training(why="interrupted"), evaluation=None)).text
    assert "on the validation images, while it was trained" in text
    assert "The best weights have not been evaluated" in text


def test_an_image_that_went_missing_is_named(photos: Path) -> None:
    (photos / "ants/9.png").unlink()  # the one mistake among the ants
    assert "ants/9.png: " in Page(page(photos)).text


def test_write_report_reads_the_run_folder(photos: Path, tmp_path: Path) -> None:
    run = create_run(
        tmp_path / "runs", "photos-small", config=CONFIG, provenance=PROVENANCE, split=split(root=str(photos))
    )
    for event in training():
        run.note(event)
    run.evaluation_path.write_text(evaluation([[9, 1], [2, 8]], data=str(photos)).to_json())
    assert write_report(run) == run.report_path
    text = Page(run.report_path.read_text(encoding="utf-8")).text
    assert run.path.name in text
    assert "85.0 %" in text
