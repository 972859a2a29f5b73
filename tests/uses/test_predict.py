"""Predicting: what comes in at the door, what comes out, and in which order."""

import csv
import gc
import json
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import UserError
from pellucid.images.decode import Unreadable
from pellucid.uses.ahead import ahead, windows
from pellucid.uses.inputs import expand_inputs
from pellucid.uses.predict import COLUMNS, Failure, Prediction, load, predict_stream
from tests import golden
from tests.brightness import SIZE, classifier, image, probability, save


@pytest.fixture(autouse=True)
def _inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def bright_or_dark(tmp_path: Path):
    return classifier(tmp_path / "model.safetensors")


# The door


def test_a_prediction_names_the_best_class_and_ranks_all(bright_or_dark):
    save(Path("a.png"), 255)
    [predicted] = bright_or_dark.predict(["a.png"])
    assert (predicted.name, predicted.best, predicted.sure) == ("a.png", "bright", False)
    assert predicted.probability == pytest.approx(1 / (1 + np.exp(-4)))
    assert predicted.ranking == (("bright", predicted.probability), ("dark", pytest.approx(1 / (1 + np.exp(4)))))


def test_paths_bytes_pictures_and_pixels_are_the_same_image_to_it(bright_or_dark):
    path = save(Path("a.png"), 77)
    pixels = np.full((SIZE, SIZE, 3), 77, dtype=np.uint8)
    predictions = bright_or_dark.predict(["a.png", path, path.read_bytes(), image(77), pixels])
    assert [each.name for each in predictions] == ["a.png", "a.png", None, None, None]
    assert {each.ranking for each in predictions} == {predictions[0].ranking}
    assert dict(predictions[0].ranking)["bright"] == pytest.approx(probability(77))


def test_no_images_are_no_predictions(bright_or_dark):
    assert bright_or_dark.predict([]) == []
    assert list(predict_stream(bright_or_dark, [])) == []


def test_numbers_and_other_things_that_are_no_images_are_refused(bright_or_dark):
    import torch

    bad = [np.zeros((3, SIZE, SIZE), dtype=np.float32), torch.zeros(3, SIZE, SIZE), 5, None]
    texts = []
    for thing in bad:
        with pytest.raises(UserError) as refused:
            bright_or_dark.predict([image(0), thing])
        texts.append(str(refused.value))
    with pytest.raises(UserError) as refused:
        bright_or_dark.predict([np.zeros((SIZE, SIZE), dtype=np.uint8)])
    golden.check("uses/not-images", "\n\n".join([*texts, str(refused.value)]))


def test_one_image_alone_and_a_batch_of_none_are_refused(bright_or_dark):
    with pytest.raises(UserError) as alone:
        bright_or_dark.predict("a.png")
    with pytest.raises(UserError) as empty:
        bright_or_dark.predict([image(0)], batch=0)
    golden.check("uses/predict-refuses", f"{alone.value}\n\n{empty.value}")


def test_the_first_unreadable_image_is_named(bright_or_dark):
    Path("b.jpg").write_text("no picture")
    with pytest.raises(Unreadable, match=r"b\.jpg: not an image"):
        bright_or_dark.predict([save(Path("a.png"), 3), "b.jpg"])
    with pytest.raises(Unreadable, match=r"images\[1\]: not an image"):
        bright_or_dark.predict([image(3), b"no picture"])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_outputs_that_are_no_numbers_are_not_passed_on(tmp_path):
    broken = classifier(tmp_path / "model.safetensors", temperature=1e-320)
    with pytest.raises(UserError) as refused:
        broken.predict([image(255)])
    golden.check("uses/not-finite", str(refused.value))


# What is called


@pytest.mark.parametrize(("threshold", "best"), [(None, "bright"), (0.95, "dark"), (0.9, "bright")])
def test_a_threshold_decides_where_the_card_has_one(tmp_path, threshold, best):
    decided = classifier(tmp_path / "model.safetensors", threshold=threshold)
    [predicted] = decided.predict([image(200)])  # bright with 0.907
    assert predicted.best == best
    assert predicted.probability == dict(predicted.ranking)[best]
    assert predicted.ranking[0] == ("bright", pytest.approx(probability(200)))


def test_sure_is_from_the_probability_that_the_card_says(tmp_path):
    for sure_from, sure in ((None, [False, False]), (0.97, [True, False]), (0.5, [True, True])):
        judge = classifier(tmp_path / "model.safetensors", sure_from=sure_from)
        assert [each.sure for each in judge.predict([image(255), image(180)])] == sure  # 0.982 and 0.838


def test_one_logit_is_the_second_class(tmp_path):
    judge = classifier(tmp_path / "model.safetensors", one_logit=True)
    [predicted] = judge.predict([image(255)])
    assert (predicted.best, predicted.probability) == ("bright", pytest.approx(probability(255)))


def test_the_temperature_of_the_card_softens_the_probability(tmp_path):
    judge = classifier(tmp_path / "model.safetensors", temperature=2.0)
    assert judge.predict([image(255)])[0].probability == pytest.approx(1 / (1 + np.exp(-4 / 2)))


# The stream


def test_a_failure_stands_in_the_place_of_what_cannot_be_read(bright_or_dark):
    Path("b.jpg").write_text("no picture")
    elsewhere = Failure(name="*.gif", error="no file matches this pattern")
    inputs = [save(Path("a.png"), 255), Path("b.jpg"), elsewhere, Path("gone.png"), save(Path("z.png"), 0)]
    for batch in (1, 2, 5, 32):
        results = list(predict_stream(bright_or_dark, inputs, batch=batch))
        assert [type(each) for each in results] == [Prediction, Failure, Failure, Failure, Prediction]
        assert [each.name for each in results] == ["a.png", "b.jpg", "*.gif", "gone.png", "z.png"]
        assert [each.best for each in results if isinstance(each, Prediction)] == ["bright", "dark"]
    golden.check("uses/failures", "\n".join(each.line() for each in results if isinstance(each, Failure)))


def test_an_address_is_told_as_it_was_written():
    web, file = "https://example.com/a%20b.jpg", "file:///photos/a%20b.jpg"
    for found in (expand_inputs([web, file], standard_input=[]), expand_inputs(["-"], standard_input=[web, file])):
        first, second = found
        assert isinstance(first, Failure) and isinstance(second, Failure)
        assert (first.name, second.name) == (web, file) and "download it" in first.error
        assert second.error.endswith("paths are wanted: /photos/a b.jpg")


def test_results_come_while_inputs_are_still_being_read(bright_or_dark):
    taken = []

    def endless() -> Iterator[bytes]:
        while True:
            taken.append(1)
            yield content

    content = save(Path("a.png"), 9).read_bytes()
    stream = predict_stream(bright_or_dark, endless(), batch=4)
    assert isinstance(next(stream), Prediction)
    assert len(taken) <= 8
    stream.close()


def test_images_are_computed_in_batches_of_the_size_that_was_asked_for(bright_or_dark):
    bright_or_dark.predict([image(1)] * 7, batch=3)
    assert bright_or_dark.engine.batches == [3, 3, 1]


def test_a_line_is_json_and_a_row_fits_the_columns():
    predicted = Prediction(name="a.png", best="b", probability=0.75, sure=True, ranking=(("b", 0.75), ("c", 0.25)))
    failed = Failure(name="x\ny.png", error="not an image")
    assert json.loads(predicted.line()) == {
        "name": "a.png",
        "best": "b",
        "probability": 0.75,
        "sure": True,
        "ranking": [["b", 0.75], ["c", 0.25]],
    }
    assert json.loads(failed.line()) == {"name": "x\ny.png", "error": "not an image"}
    assert "\n" not in predicted.line() + failed.line()
    file = StringIO()
    writer = csv.DictWriter(file, COLUMNS)
    writer.writerows([predicted.row(), failed.row()])
    assert file.getvalue().splitlines() == ["a.png,b,0.75,True,", '"x', 'y.png",,,,not an image']


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers()), st.integers(1, 5))
def test_working_ahead_keeps_the_order(numbers, depth):
    assert list(ahead(lambda number: number + 1, numbers, depth=depth)) == [number + 1 for number in numbers]


@given(st.lists(st.integers()), st.integers(1, 5))
def test_windows_lose_nothing(numbers, size):
    cut = list(windows(numbers, size))
    assert [number for window in cut for number in window] == numbers
    assert all(len(window) == size for window in cut[:-1])


def test_an_error_is_raised_in_its_place_and_no_thread_is_left():
    before = threading.active_count()
    results = ahead(lambda number: 1 // number, [1, 1, 0, 1], depth=4)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert threading.active_count() == before


# What a command line names


def expanded(*arguments: str, standard_input: str = "", path_column: str = "path") -> list[str]:
    found = expand_inputs(arguments, standard_input=StringIO(standard_input), path_column=path_column)
    return [f"failure: {each.name}: {each.error}" if isinstance(each, Failure) else each.as_posix() for each in found]


def test_files_folders_and_patterns_come_in_the_order_given_and_sorted_within():
    for name in ("one.png", "folder/b.png", "folder/deeper/a.png", "folder/B.png", "x/2.png", "x/1.png"):
        save(Path(name), 0)
    Path("x/1.txt").touch()
    assert expanded("x/*.png", "one.png", "folder", "x/**/1.*") == [
        "x/1.png",
        "x/2.png",
        "one.png",
        "folder/B.png",
        "folder/b.png",
        "folder/deeper/a.png",
        "x/1.png",
        "x/1.txt",
    ]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file():
    save(Path("a[1].png"), 0)
    save(Path("a1.png"), 0)
    assert expanded("a[1].png") == ["a[1].png"]


def test_a_pattern_that_matches_folders_takes_what_is_in_them():
    save(Path("shots/monday/1.png"), 0)
    save(Path("shots/tuesday/1.png"), 0)
    assert expanded("shots/*") == ["shots/monday/1.png", "shots/tuesday/1.png"]


def test_a_table_gives_paths_relative_to_it():
    Path("lists").mkdir()
    Path("lists/a.csv").write_text('\ufeffpath,label\n1.png,x\n"with, comma.png",y\n', encoding="utf-8")
    Path("lists/b.tsv").write_text("id\tfile\n7\t/abs/2.png\n", encoding="utf-8")
    assert expanded("lists/a.csv") == ["lists/1.png", "lists/with, comma.png"]
    assert expanded("lists/b.tsv", path_column="file") == ["/abs/2.png"]


def test_standard_input_gives_a_path_a_line_in_its_place():
    assert expanded("a.png", "-", "b.png", standard_input="1.png\r\n\n two words.png \n") == [
        "a.png",
        "1.png",
        " two words.png ",
        "b.png",
    ]


def test_standard_input_is_read_no_further_than_needed():
    def endless() -> Iterator[str]:
        number = 0
        while True:
            number += 1
            yield f"{number}.png\n"

    found = expand_inputs(["-"], standard_input=endless())
    assert [next(found), next(found)] == [Path("1.png"), Path("2.png")]


def test_what_names_no_image_is_a_failure_in_its_place():
    Path("empty").mkdir()
    Path("nothing.csv").touch()
    Path("other.csv").write_text("Paths,label\nx.png,y\n")
    Path("holes.csv").write_text("path,label\n1.png,a\n,b\n3.png,c\n")
    Path("binary.csv").write_bytes(b"path\n\xff\xfe\x00\n")
    lines = expanded("empty", "*.gif", "nothing.csv", "other.csv", "holes.csv", "binary.csv", "gone.csv", "gone.png")
    golden.check("uses/inputs", "\n".join(lines))


# Opening a model


def test_what_is_no_model_is_refused():
    Path("notes.txt").write_text("hello")
    Path("broken.safetensors").write_text("hello")
    Path("folder").mkdir()
    texts = []
    for model in ("gone", "notes.txt", "folder"):
        with pytest.raises(UserError) as refused:
            load(model)
        texts.append(str(refused.value))
    golden.check("uses/no-model", "\n\n".join(texts))


def test_predicting_imports_neither_torch_nor_scikit_learn():
    code = (
        "import sys, pellucid.uses.predict, pellucid.uses.evaluate, pellucid.uses.inputs, pellucid.uses.requirements\n"
        "assert not {'torch', 'torchvision', 'timm', 'sklearn', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A real model file of the small network; its weights are random."""
    import torch

    from pellucid.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
    from pellucid.networks.build import network
    from pellucid.runs.model_file import logits_of, save_model_file
    from pellucid.runs.proof import take
    from tests.brightness import card

    torch.manual_seed(0)
    net = network("small", 2, size=32).eval()
    preprocessing = Preprocessing(
        resize=36, interpolation="bilinear", size=32, background=(0, 0, 0), mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    settled = card(architecture=net.name, options=net.options, preprocessing=preprocessing)
    taken = take(
        logits_of(net, preprocessing),
        classes=settled.classes,
        one_logit=False,
        preprocessing=preprocessing,
        temperature=1.0,
    )
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model_file(path, net, settled.model_copy(update={"proof": taken}))
    return path


def noise(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (40 + seed, 50, 3), dtype=np.uint8)
    from PIL import Image

    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_real_model_gives_what_its_network_gives_for_the_prepared_image(trained):
    import torch
    from PIL import Image

    from pellucid.images.preprocessing import prepare
    from pellucid.runs.model_file import load_model_file

    judge = load(trained, device="cpu")
    [predicted] = judge.predict([noise(3)])
    picture = Image.open(BytesIO(noise(3)))
    inputs = torch.from_numpy(prepare(picture, judge.card.preprocessing))[None]
    with torch.no_grad():
        expected = load_model_file(trained).network(inputs).double().softmax(dim=1)[0].tolist()
    assert dict(predicted.ranking) == pytest.approx(dict(zip(judge.classes, expected, strict=True)), abs=1e-6)
    assert predicted.best == judge.classes[int(np.argmax(expected))]


def test_results_do_not_depend_on_the_batch(trained):
    judge = load(trained)
    images = [noise(seed) for seed in range(17)]
    alone, together = judge.predict(images, batch=1), judge.predict(images, batch=7)
    assert [each.best for each in alone] == [each.best for each in together]
    for one, other in zip(alone, together, strict=True):
        assert dict(one.ranking) == pytest.approx(dict(other.ranking), abs=1e-6)


def test_a_device_that_is_not_there_is_refused(trained):
    texts = []
    for device in ("gpu", "cuda:99"):
        with pytest.raises(UserError) as refused:
            load(trained, device=device)
        texts.append(str(refused.value))
    golden.check("uses/no-device", "\n\n".join(texts))


def test_the_proof_is_replayed_once_when_a_model_is_opened(trained, monkeypatch):
    from pellucid.engines import engine
    from pellucid.runs import model_file, proof

    replays = []

    def replay(*given, **settings):
        replays.append(given[2])
        proof.replay(*given, **settings)

    monkeypatch.setattr(model_file, "replay", replay)
    monkeypatch.setattr(engine, "replay", replay)
    load(trained, device="cpu")
    assert replays == [str(trained)]


def test_a_thousand_images_more_take_no_memory(bright_or_dark):
    content = [save(Path(f"{grey}.png"), grey).read_bytes() for grey in range(16)]
    stream = predict_stream(bright_or_dark, (content[number % 16] for number in range(1600)), batch=8)
    tracemalloc.start()
    try:
        held = []
        for number, _ in enumerate(stream):
            if number in (500, 1500):
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[1] - held[0] < 50_000  # bytes: 50 for each image, which is less than its name
