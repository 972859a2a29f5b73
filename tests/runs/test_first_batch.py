"""What a network sees of its first images is what it learns from, pixel by pixel, and what the pictures show."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from torch import nn

import pellucid as pl
from pellucid.cli.main import run as command
from pellucid.errors import UserError
from pellucid.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, normalise, unnormalised
from pellucid.runs.first_batch import FILE, read_first_batch
from pellucid.runs.run_folder import RunFolder
from pellucid.training import train as training
from tests.pictures import make_classes

SMALL: dict[str, Any] = {"model": "small", "size": 24, "epochs": 1, "batch": 8, "workers": 0}


class Recorder(nn.Module):
    """Keeps what it is given in training mode."""

    given: ClassVar[list[torch.Tensor]] = []
    size = 24

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(3, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.given.append(x.detach().clone())
        return self.fc(x.mean(dim=(2, 3)))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classes(tmp_path_factory.mktemp("photos") / "photos", images=20)


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return pl.train(photos, **SMALL, runs=tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"augmentation": {"mixup": 0.4, "cutmix": 1.0}},
        {"input": {"channels": "BGR", "mean": IMAGENET_MEAN, "std": IMAGENET_STD}, "balanced_sampling": True},
    ],
    ids=["plain", "mixed", "as-others-want-it"],
)
def test_the_batch_that_a_run_keeps_is_what_its_first_step_learned_from(
    photos: Path, tmp_path: Path, said: dict[str, Any]
) -> None:
    Recorder.given.clear()
    said = SMALL | {"model": Recorder, "machine": {"precision": "float32"}} | said
    run = pl.train(photos, **said, runs=tmp_path)
    kept = read_first_batch(run.path)
    assert kept is not None
    wanted = Preprocessing.model_validate(run.provenance()["chosen"]["preprocessing"])
    mean, std = (np.array(three)[:, None, None] for three in (wanted.mean, wanted.std))
    # Other than the first of all calls, the trial before training: those of whole batches of such pixels.
    seen = [
        given.numpy()[:, ["RGB".index(letter) for letter in wanted.channels]]
        for given in Recorder.given
        if not given.is_meta
    ]
    levels = [np.clip(np.round(255 * (batch * std + mean)), 0, 255).astype(np.uint8) for batch in seen]
    assert any(np.array_equal(kept.pixels.transpose(0, 3, 1, 2), batch[: len(kept.pixels)]) for batch in levels)
    again = pl.first_batch(photos, **said)
    assert again.shown == kept.shown
    assert np.array_equal(again.pixels, kept.pixels)
    assert all(label in ("grainy", "smooth") or " % " in label for label in kept.shown.labels)
    assert ("augmentation" in said) == any(" % " in label for label in kept.shown.labels)


@pytest.mark.parametrize("views", [1, 3])
def test_where_features_take_the_place_of_images_it_is_what_they_were_made_of(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, views: int
) -> None:
    jobs = []

    def fit(job: Any, **options: Any) -> Iterator[Any]:
        jobs.append(job)
        yield from real(job, **options)

    real = training.fit
    monkeypatch.setattr(training, "fit", fit)
    probe = SMALL | {"mode": "probe", "weights": "none", "optimizer": "adamw", "views": views}
    run = pl.train(photos, **probe, runs=tmp_path)
    (job,) = jobs
    kept = read_first_batch(run.path)
    assert kept is not None
    job.data.train.show(epoch=0, order=job.order(0).tolist())
    features, labels, _ = next(iter(job.data.train.batches(8)))
    with torch.inference_mode():
        made = job.halves.frozen.eval()(torch.from_numpy(normalise(kept.pixels, job.data.preprocessing)))
    assert torch.allclose(made.flatten(1), features.flatten(1), rtol=0.02, atol=0.02)  # kept in half precision
    assert [job.data.classes[label] for label in labels.tolist()] == list(kept.shown.labels)
    assert np.array_equal(pl.first_batch(photos, **probe).pixels, kept.pixels)
    assert ("without random changes" in kept.shown.how) == (views == 1)


@settings(max_examples=30, deadline=None)
@given(
    pixels=arrays(np.uint8, (2, 4, 4, 3)),
    mean=st.tuples(*[st.floats(0, 1)] * 3),
    std=st.tuples(*[st.floats(0.05, 1)] * 3),
    channels=st.sampled_from(["RGB", "BGR"]),
)
def test_normalisation_is_undone_to_the_very_pixels(pixels: Any, mean: Any, std: Any, channels: Any) -> None:
    wanted = Preprocessing(
        resize=None, interpolation=None, size=4, background=(0, 0, 0), mean=mean, std=std, channels=channels
    )
    assert np.array_equal(unnormalised(normalise(pixels, wanted), wanted), pixels)


def test_files_and_what_is_seen_of_them_stand_side_by_side(trained: RunFolder) -> None:
    kept = pl.first_batch(trained)
    figure = pl.show(kept)
    files, seen = figure.subfigs
    assert len(files.axes) == len(seen.axes) == len(kept.shown.files) == 8
    assert [axes.get_title() for axes in files.axes] == list(kept.shown.classes)
    for place, axes in enumerate(seen.axes):
        assert np.array_equal(np.asarray(axes.images[0].get_array()), kept.pixels[place])
    for place, axes in enumerate(files.axes):
        assert np.array_equal(np.asarray(axes.images[0].get_array()), np.asarray(Image.open(kept.file(place))))


def test_the_report_shows_what_the_network_saw(trained: RunFolder) -> None:
    text = pl.write_report(trained).read_text(encoding="utf-8")
    assert "What the network saw of it" in text
    assert "all 8 images of the first batch" in " ".join(text.split())
    assert text.count("as the network saw it") == 3 * 8  # its title, and its words in two places


def test_a_damaged_batch_is_refused_by_name_and_none_is_no_fault(trained: RunFolder, tmp_path: Path) -> None:
    assert read_first_batch(tmp_path) is None
    whole = (trained.path / FILE).read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"no picture"):
        (tmp_path / FILE).write_bytes(content)
        with pytest.raises(UserError, match=FILE):
            read_first_batch(tmp_path)
    Image.new("RGB", (24, 24)).save(tmp_path / FILE)
    with pytest.raises(UserError, match=FILE):
        read_first_batch(tmp_path)


def test_show_writes_pictures_from_the_command_line(
    trained: RunFolder, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, said in enumerate(
        [
            [str(photos)],
            [str(photos), "--of", "first-batch", "--model", "small", "--size", "24", "--augmentation.flip", "1"],
            [str(trained.path)],
            [str(trained.path), "--every", "2"],
            [str(trained.path), "--of", "first-batch", "--most", "4"],
        ]
    ):  # fmt: skip
        out = tmp_path / f"{number}.png"
        assert command(["show", *said, "--out", str(out)]) == 0, capsys.readouterr().err
        assert Image.open(out).width > 300
    assert "the first 4 of the 8 images" in capsys.readouterr().err


def test_show_says_that_no_more_than_the_first_images_of_a_batch_are_kept(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = [str(photos), "--of", "first-batch", "--model", "small", "--size", "24", "--batch", "20", "--most", "20"]
    assert command(["show", *said, "--out", str(tmp_path / "batch.png")]) == 0
    assert "the first 16 of the 20 images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (["photos", "--out", "a.gif"], "no name for a picture"),
        (["photos", "--of", "curves"], "no run"),
        (["photos", "--epochs", "3"], "--epochs changes nothing about the files"),
        (["run", "--seed", "3"], "has its settings"),
        (["run", "--of", "files"], "is a run, not images"),
        (["photos", "--of", "first-batch", "--budget", "5m"], "budget"),
        (["photos", "--most", "0"], "1 to 400"),
        (["run", "--every", "0"], "1 batch or more"),
        (["photos", "--every", "3"], "--every is for the curves of a run"),
    ],
)
def test_what_cannot_be_drawn_is_refused_from_the_command_line(
    trained: RunFolder, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], said: list[str], words: str
) -> None:
    places = {"photos": str(photos), "run": str(trained.path)}
    given = [places.get(word, word) for word in said]
    given += [] if "--out" in given else ["--out", str(tmp_path / "picture.png")]
    assert command(["show", *given]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "picture.png").exists()


@pytest.mark.parametrize("of", [[], ["--of", "curves"], ["--of", "first-batch"], ["--of", "results"]])
def test_a_run_that_lacks_its_settings_is_not_taken_for_images(
    trained: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str], of: list[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained.path, run)
    (run / "config.toml").unlink()
    assert command(["show", str(run), *of, "--out", str(tmp_path / "picture.png")]) == 2
    assert f"{run} is a run that lacks config.toml" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"is a run that lacks config\.toml"):
        pl.show(run)


def predict(trained: RunFolder, *arguments: str) -> int:
    return command(["predict", str(trained.path), *arguments])


@pytest.mark.parametrize("kind", ["folders", "table", "columns", "class"])
def test_predictions_are_drawn_with_their_truth(
    trained: RunFolder, photos: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [photos / "grainy/000.png", photos / "smooth/001.png", photos / "smooth/002.png"]
    table = tmp_path / "truth.csv"
    table.write_text(
        f"{'file' if kind == 'columns' else 'path'},kind\n"
        + "".join(f"{path},{path.parent.name}\n" for path in images[:2])
    )
    truth = {
        "folders": ["folders"],
        "table": [str(table), "--label-column", "kind"],
        "columns": [str(table), "--label-column", "kind", "--path-column", "file"],
        "class": ["smooth"],
    }[kind]
    out = tmp_path / "grid.png"
    assert predict(trained, *map(str, images), "--grid", str(out), "--truth", *truth) == 0
    assert Image.open(out).width > 300
    assert ("1 image without a label" in capsys.readouterr().err) == (kind in ("table", "columns"))


def test_a_table_of_images_and_one_of_labels_may_call_their_paths_otherwise(
    trained: RunFolder, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = photos / "grainy/000.png"
    (tmp_path / "images.csv").write_text(f"file\n{image}\n")
    (tmp_path / "truth.csv").write_text(f"path,label\n{image},grainy\n")
    said = [str(tmp_path / "images.csv"), "--path-column", "file", "--truth", str(tmp_path / "truth.csv")]
    assert predict(trained, *said, "--grid", str(tmp_path / "grid.png")) == 0
    assert "without a label" not in capsys.readouterr().err


def test_a_grid_is_drawn_though_nobody_reads_the_predictions_on(
    trained: RunFolder, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Head(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Head())
    assert predict(trained, str(photos), "--grid", str(tmp_path / "grid.png"), "--truth", "folders") == 0
    assert Image.open(tmp_path / "grid.png").width > 300


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (["--truth", "folders"], "add --grid"),
        (["--most", "3"], "add --grid"),
        (["--grid", "a.bmp"], "no name for a picture"),
        (["--grid", "a.png", "--truth", "smoth"], "did you mean smooth?"),
        (["--grid", "a.png", "--truth", "folder"], "did you mean folders?"),
        (["--grid", "a.png", "--label-column", "x"], "name the table"),
    ],
)
def test_a_grid_that_cannot_be_made_is_refused_before_anything_is_computed(
    trained: RunFolder, photos: Path, capsys: pytest.CaptureFixture[str], said: list[str], words: str
) -> None:
    assert predict(trained, str(photos / "grainy/000.png"), *said) == 2
    told = capsys.readouterr()
    assert words in " ".join(told.err.split())
    assert told.out == ""


def test_a_grid_with_images_that_cannot_be_read_and_classes_that_nobody_knows(
    trained: RunFolder, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "moth").mkdir()
    (tmp_path / "moth/a.png").write_bytes((photos / "grainy/000.png").read_bytes())
    (tmp_path / "moth/b.png").write_bytes(b"no image")
    assert predict(trained, str(tmp_path / "moth"), "--grid", str(tmp_path / "g.png"), "--truth", "folders") == 2
    assert "2 images of no class that the model knows (moth)" in capsys.readouterr().err
    assert (tmp_path / "g.png").is_file()
