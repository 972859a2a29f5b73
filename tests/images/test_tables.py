"""Tables: whatever wrote them, a row means the same image and label; what contradicts itself or is cut is refused."""

import datetime
import os
import shlex
import unicodedata
from pathlib import Path

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.cli.main import run
from pellucid.errors import UserError
from pellucid.images.labels import clean, look, parse_map
from pellucid.images.manifest import write_manifest
from pellucid.images.samples import Samples, Source
from pellucid.images.sources import read_samples
from pellucid.images.split import split
from pellucid.uses.inputs import expand_inputs
from pellucid.uses.predict import Failure
from tests.images.test_layout import lay


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lay("i/0.png", "i/1.png", "i/2.png", "i/3.png", "a b.png")


def table(text: str, name: str = "t.csv", encoding: str = "utf-8") -> str:
    Path(name).write_bytes(text.encode(encoding))
    return name


def read(text: str, encoding: str = "utf-8", **source: object) -> Samples:
    return read_samples(table(text, encoding=encoding), Source(**source))  # type: ignore[arg-type]


def refused(text: str, **source: object) -> str:
    with pytest.raises(UserError) as caught:
        read(text, **source)
    return str(caught.value)


def labels(samples: Samples) -> dict[str, str]:
    return {sample.path.as_posix(): sample.label for sample in samples}


PLAIN = "path,label\ni/0.png,cat\ni/1.png,dog\n"
SPELLED = {
    "spaces": "path, label\n i/0.png, cat\ni/1.png ,dog \n",
    "quotes": '"path" ,"label"\n"i/0.png","cat"\n"i/1.png", "dog"\n',
    "byte order mark": "\ufeff" + PLAIN,
    "carriage returns": PLAIN.replace("\n", "\r\n"),
    "old carriage returns": PLAIN.replace("\n", "\r"),
    "semicolons": PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "bars": PLAIN.replace(",", "|"),
    "separator said": "sep=;\n" + PLAIN.replace(",", ";"),
    "separator of its own": "sep=:\n" + PLAIN.replace(",", ":"),
    "comments": "# made by hand\n\n" + PLAIN.replace("i/1", "# nothing here\ni/1") + "#i/2.png,cat\n",
    "ruled lines": PLAIN.replace("i/0", "----,-----\ni/0"),
    "empty rows": PLAIN + ",\n\n,\n",
    "trailing commas": PLAIN.replace("\n", ",,\n"),
    "unseen characters": "pa\u200bth,\ufefflabel\u00a0\ni/0.png\u200b,c\u200bat\ni/1.png\0,do\0g\u2060\n",
    "windows": PLAIN.replace("i/", "i\\"),
    "dots": PLAIN.replace("i/", "./i//../i/"),
    "file addresses": "path,label\nfile://HERE/i/0.png,cat\nfile://HERE/i/1.png,dog\n",
    "escaped as addresses": PLAIN.replace("i/", "%69/"),
    "absolute": "path,label\nHERE/i/0.png,cat\nHERE/i/1.png,dog\n",
}


@pytest.mark.parametrize("how", SPELLED)
def test_a_row_means_the_same_however_it_is_written(how):
    text = SPELLED[how].replace("HERE", str(Path.cwd()))
    samples = read(text)
    assert {os.path.realpath(path): label for path, label in labels(samples).items()} == {
        str(Path("i/0.png").resolve()): "cat",
        str(Path("i/1.png").resolve()): "dog",
    }
    # what `split` reads, `predict` reads as well
    found = list(expand_inputs(["t.csv"], standard_input=[]))
    assert [os.path.realpath(path) for path in found if isinstance(path, Path)] == [
        str(Path(f"i/{number}.png").resolve()) for number in (0, 1)
    ]
    assert not any(isinstance(each, Failure) for each in found)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_every_unicode_encoding_is_read(encoding):
    assert read(PLAIN, encoding).classes == ("cat", "dog")


def test_home_is_understood(monkeypatch):
    monkeypatch.setenv("HOME", str(Path.cwd()))
    assert read(PLAIN.replace("i/", "~/i/")).classes == ("cat", "dog")


def test_a_composed_name_finds_the_decomposed_file_and_the_other_way_round():
    lay("i/cafe\u0301.png", "i/\u00fc.png")
    assert read("path,label\ni/caf\u00e9.png,a\ni/u\u0308.png,b\n").classes == ("a", "b")


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("C:\\photos\\0.png", "drive letters are of another machine"),
        ("https://example.org/0.png", "download them"),
        ("file:///gone/0.png", "another machine"),
        ("i/0", "lack their suffix: i/0.png"),
        ("3.png", "it lies in a folder below: . with --labels t.csv"),
        ("3", "it lies in a folder below: . with --labels t.csv"),
        ("elsewhere/a b.png", "without folders"),
        ("/i/0.png", "without the slash in front: i/0.png"),
        ("nowhere.png", "from the table's folder"),
    ],
)
def test_paths_that_lead_nowhere_are_told_with_what_may_be_wrong(path, hint):
    assert hint in refused(f"path,label\n{path},cat\n")


@pytest.mark.parametrize("flag", ["split_column", "group_column"])
def test_a_column_that_was_named_has_to_be_there(flag):
    said = refused("path,label,part,patient\ni/0.png,cat,train,p1\ni/1.png,dog,test,p2\n", **{flag: "prat"})
    assert "no column 'prat'" in said and f"--{flag.replace('_', '-')} part" in said
    assert len(read(PLAIN)) == 2  # the usual ones need not be
    # at the command line too
    assert run(["split", "t.csv", "s.json", f"--{flag.replace('_', '-')}", "prat"]) == 2


def test_a_column_of_a_usual_name_can_be_declined():
    text = "path,label,split\ni/0.png,cat,7\ni/1.png,dog,8\n"
    assert "--split-column ''" in refused(text)
    assert {sample.part for sample in read(text, split_column="")} == {None}
    assert read(text, label_column="split").classes == ("7", "8")


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ("i/0.png,cat,train,p1\ni/0.png,cat,test,p1\n", "two parts: train in line 2 and test in line 3"),
        ("i/0.png,cat,train,p1\ni/0.png,cat,train,p2\n", "two groups: p1 in line 2 and p2 in line 3"),
        ("i/0.png,cat,train,p1\ni/0.png,dog,train,p1\n", "two labels: cat in line 2 and dog in line 3"),
        ("i/0.png,cat,train,p1\n./i/0.png,cat,test,p1\n", "two parts"),
        ("i/0.png,cat,train,p1\ni//0.png,cat,test,p1\n", "two parts"),
        ("i/0.png,cat,train,p1\nHERE/i/0.png,cat,test,p1\n", "two parts"),
        ("i/0.png,cat,train,p1\ni/../i/0.png,cat,test,p1\n", "two parts"),
        ("i/0.png,cat,train,p1\nlink.png,cat,test,p1\n", "which line 3 calls link.png"),
        ("i/0.png,cat,train,p1\ni\\0.png,cat,test,p1\n", "two parts"),
        ("i/0.png,cat,train,p1\ni/0.png,cat,,p1\n", "two parts: train in line 2 and none in line 3"),
    ],
)
def test_what_is_said_of_an_image_twice_has_to_be_the_same(rows, what):
    Path("link.png").symlink_to("i/0.png")
    assert what in refused("path,label,split,group\n" + rows.replace("HERE", str(Path.cwd())))


def test_an_image_that_is_named_again_alike_counts_once_and_is_told():
    samples = read(PLAIN + "./i/0.png,cat \n")
    assert len(samples) == 2 and any("name an image again" in note for note in samples.notes)


def test_two_columns_of_one_name_are_refused():
    assert "2 columns named 'label'" in refused("path,label,label\ni/0.png,cat,dog\n")
    frame = pandas.DataFrame([["i/0.png", "cat", "dog"]], columns=["path", "label", "label"])
    frame.to_excel("t.xlsx", index=False)
    with pytest.raises(UserError, match="2 columns named 'label'"):
        read_samples("t.xlsx")


@pytest.mark.parametrize(
    "text",
    [
        'path,label\ni/0.png,"cat\ni/1.png,dog\ni/2.png,cat\n',
        'path,label\ni/0.png,"cat\ni/1.png,"dog\ni/2.png,cat\n',
        'path,label\ni/0.png,cat\n"i/1.png,dog\n',
        'path,label,notes\ni/0.png,cat,"nice\ni/1.png,dog,ok\ni/2.png,cat,ok\n',
        'path,label,notes\ni/0.png,cat,"nice\ni/1.png,dog,"ok\ni/2.png,cat,ok\n',
        'path,label\ni/0.png,"cat\n' + "i/1.png,dog\n" * 20_000,
    ],
)
def test_a_quote_that_is_never_closed_does_not_swallow_the_rest(text):
    said = refused(text)
    assert "has a quote in line" in said or "is there a quote that is never closed?" in said


def test_notes_of_several_lines_are_no_fault():
    assert read('path,label,notes\ni/0.png,cat,"one, two\nthree, four, five"\ni/1.png,dog,\n').classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("path,label\ni/0.png,cat, black\n", "line 2 has 3 cells"),
        ("path,label\ni/0.png\n", "without a label"),
        ("path,label\ni/0.png,\u200b\n", "without a label"),
        ("path,label\n,cat\n", "without a path"),
        ("i/0.png,cat\ni/1.png,dog\n", "its first line looks like a row"),
        (" path , Labels\ni/0.png,cat\n", "--label-column Labels"),
        ("path,the label\ni/0.png,cat\n", "--label-column 'the label'"),
        ("path,label\ni/0.png," + "x" * 300 + "\n", "a label of 300 characters"),
        ("path,label\n" + "x" * 300 + ".png,cat\n", "not to be found"),
        ("path,label\ni/0.png,cat\ufbc3\n", "a letter that does not exist"),
        ("path,label\ni/0.png,caf\ufffd\n", "a letter that does not exist"),
    ],
)
def test_rows_that_cannot_be_meant_are_told(text, what):
    said = refused(text)
    assert what in said
    hint = said.rpartition("hint: ")[2]
    assert not hint.startswith("--") or len(shlex.split(hint)) == 2  # it can be typed


FOLDED = {
    "spaces": ("cat", "cat ", " cat"),
    "spaces between": ("big cat", "big  cat", "big\u00a0cat"),
    "without width": ("cat", "cat\u200b", "\ufeffcat", "c\u2060at", "cat\0"),
    "composed": ("caf\u00e9", "cafe\u0301"),
    "decimals": ("1", "1.0", "1.00"),
}


@pytest.mark.parametrize("how", FOLDED)
def test_spellings_that_nobody_can_see_are_one_class_and_told(how):
    spellings = FOLDED[how]
    files = [f"i/f{number}.png" for number in range(len(spellings))]
    lay(*files)
    rows = "".join(f'{file},"{label}"\n' for file, label in zip(files, spellings, strict=True))
    samples = read(f"path,label\ni/0.png,other\n{rows}")
    assert samples.classes == tuple(sorted((spellings[0], "other")))
    assert any("taken for one class" in note for note in samples.notes)


@given(st.text(st.sampled_from("aé \u200b\u200d\u0301e\0\t\u00a0\ufeff\u06cc10.\udce9") | st.characters(), max_size=9))
def test_a_folded_label_is_as_it_is_seen_and_folded_no_further(label):
    folded = clean(label)
    assert clean(folded) == folded == unicodedata.normalize("NFC", folded) == " ".join(folded.split())
    assert look(folded) == look(clean(label))
    assert clean(f" {label}\u200b ") == folded


def test_folders_are_folded_as_labels_are():
    lay("d/caf\u00e9/1.png", "d/cafe\u0301/2.png", "d/dog /3.png")
    samples = read_samples("d")
    assert samples.counts() == {"caf\u00e9": 2, "dog": 1} and "taken for one class" in samples.notes[0]


@pytest.mark.parametrize(
    "pair",
    [
        ("Cat", "cat"),
        ("no_mask", "no mask"),
        ("cat", "c\u0430t"),
        ("01", "1"),
        ("CAT", "Cat"),
        ("\uff43\uff41\uff54", "cat"),
    ],
)
def test_labels_that_look_alike_are_refused_with_the_maps_that_join_them_and_keep_them_apart(pair):
    lay(*(f"d/{name}/1.png" for name in (*pair, "dog")))
    with pytest.raises(UserError, match="look alike") as caught:
        read_samples("d")
    words = shlex.split(str(caught.value.hint))
    join, apart = (words[at + 1] for at, word in enumerate(words) if word == "--map")
    assert run(["split", "d", "m.json", "--train", "1", "--test", "rest", "--map", join]) in (0, 2)
    assert len(read_samples("d", Source(map=parse_map(join))).classes) == 2
    assert read_samples("d", Source(map=parse_map(apart))).classes == tuple(sorted((*pair, "dog")))
    named = {pair[0]: "one", pair[1]: "two", "dog": "dog"}
    assert read_samples("d", Source(map=named)).classes == ("dog", "one", "two")
    # the classes of a model, and of a manifest that was made so, are what they are
    assert len(read_samples("d", known=[*pair, "dog"]).classes) == 3
    write_manifest(split(read_samples("d", Source(map=parse_map(apart))), train="rest"), Path("m.json"))
    assert len(read_samples("m.json").classes) == 3
    with pytest.raises(UserError, match="look alike"):  # a slip in the map itself
        read_samples("d", Source(map={pair[0]: "Pm", pair[1]: "pm", "dog": "dog"}))


def test_letters_and_ranges_are_classes_of_their_own():
    lay(*(f"d/{name}/1.png" for name in ("A", "a", "B", "b", "1-2", "12", "1.5", "15")))
    assert len(read_samples("d").classes) == 8


def test_a_map_is_for_every_kind_of_data_and_complete():
    lay("d/cat/", "d/dog/")
    assert read_samples("d", Source(map={"cat": "pet", "dog": "pet"})).classes == ("pet",)
    assert read_samples("d", Source(map={"cat": "dog"})).classes == ("dog",)  # what something means may mean itself
    with pytest.raises(UserError, match="does not say what 1 label means"):
        read_samples("d", Source(map={"cat": "animal"}))
    assert "does not say what 1 label means" in refused(PLAIN, map={"cat": "animal"})
    for where in (lambda source: read_samples("d", source), lambda source: read(PLAIN, **source.model_dump())):
        with pytest.raises(UserError, match="no such label") as caught:
            where(Source(map={"cat": "a", "dog": "b", "catt": "c"}))
        assert "did you mean cat?" in str(caught.value)


def frames(values: list[object], suffix: str) -> Samples:
    frame = pandas.DataFrame({"path": [f"i/{number}.png" for number in range(len(values))], "label": values})
    name = f"t{suffix}"
    {".csv": lambda: frame.to_csv(name, index=False), ".xlsx": lambda: frame.to_excel(name, index=False)}.get(
        suffix, lambda: frame.to_parquet(name)
    )()
    return read_samples(name)


@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".parquet"])
@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["None", "NA", "nan", "x"], ("NA", "None", "nan", "x")),
        (["N/A", "null", "NULL?", "-"], ("-", "N/A", "NULL?", "null")),
        ([1, 2, 1, 2], ("1", "2")),
        ([1.0, 2.0, 1.0, 2.0], ("1", "2")),
        ([0.5, 1.0, 1.5, 2.0], ("0.5", "1", "1.5", "2")),
        ([True, False, True, False], ("False", "True")),
        ([datetime.datetime(2024, 1, 5), datetime.datetime(2024, 1, 6)] * 2, ("2024-01-05", "2024-01-06")),
    ],
)
def test_labels_are_the_same_in_every_format(values, classes, suffix):
    assert frames(values, suffix).classes == classes


def test_a_cell_of_several_values_is_no_label():
    with pytest.raises(UserError, match="several values in one cell of line 2"):
        frames([["a", "b"], ["c"]], ".parquet")


def test_a_folder_is_no_table():
    with pytest.raises(UserError, match="i is no file"):
        read_samples("i", Source(kind="table"))


def test_only_the_first_sheet_is_read_and_that_is_told():
    with pandas.ExcelWriter("t.xlsx") as book:
        for name in ("one", "two"):
            pandas.DataFrame({"path": ["i/0.png", "i/1.png"], "label": ["a", name]}).to_excel(
                book, sheet_name=name, index=False
            )
    assert any("2 sheets" in note for note in read_samples("t.xlsx").notes)


@pytest.mark.parametrize("path", ["i/0.png", "HERE/i/0.png", "../HERE_NAME/i/0.png", "link/0.png"])
def test_groups_are_found_in_paths_of_every_spelling(path):
    Path("link").symlink_to("i")
    path = path.replace("HERE_NAME", Path.cwd().name).replace("HERE", str(Path.cwd()))
    samples = read(f"path,label\n{path},cat\ni/1.png,dog\n", group_from=r"(?P<group>\d)\.png")
    assert [sample.group for sample in sorted(samples, key=lambda sample: sample.label)] == ["0", "1"]


def test_groups_that_look_alike_are_told():
    samples = read("path,label,group\ni/0.png,cat,P1\ni/1.png,dog,p1\ni/2.png,cat,p2 \ni/3.png,dog,p2\n")
    assert [sample.group for sample in samples] == ["P1", "p1", "p2", "p2"]
    assert any("P1 and p1" in note and "p2" not in note for note in samples.notes)


def test_a_pattern_that_finds_no_group_or_an_empty_one_is_refused():
    assert "2 paths do not match" in refused(PLAIN, group_from="(?P<group>z)")
    assert "without a letter in 2 paths" in refused(PLAIN, group_from="(?P<group>z*)")


@pytest.mark.parametrize(
    ("data", "source"),
    [
        ("d", {"group_column": "patient"}),
        ("d", {"split_column": "part"}),
        ("d", {"label_column": "label", "label_from": "(?P<label>.)"}),
        ("t.csv", {"label_from": "(?P<label>.)"}),
        ("t.csv", {"labels": "u.csv"}),
        ("d", {"labels": "t.csv", "label_from": "(?P<label>.)"}),
        ("d", {"kind": "class-folders", "label_from": "(?P<label>.)"}),
        ("t.csv", {"group_column": "label", "group_from": "(?P<group>.)"}),
    ],
)
def test_what_has_no_meaning_for_the_data_is_refused_and_not_passed_over(data, source):
    lay("d/cat/", "d/dog/")
    table(PLAIN)
    with pytest.raises(UserError, match="leave"):
        read_samples(data, Source(**source))


@pytest.mark.parametrize("word", ["training", "Train", "TRAINING SET", "tr"])
def test_words_for_parts_are_understood_in_a_column(word):
    samples = read(f"path,label,split\ni/0.png,cat,{word}\ni/1.png,dog,dev\ni/2.png,cat,eval\ni/3.png,dog,{word}\n")
    assert [sample.part for sample in samples] == ["train", "validation", "test", "train"]


@pytest.mark.parametrize("row", ["i/2.png,#N/A,p", "i/2.png,#NV,p", "i/2.png,#REF!,p", "i/2.png,a,#NAME?", "#N/A,a,p"])
def test_a_formula_that_failed_is_no_class_no_group_and_no_comment(row):
    said = refused(f"path,label,group\ni/0.png,a,p\ni/1.png,b,q\n{row}\n")
    assert "formula failed" in said and "line 4" in said


def test_images_without_a_group_among_others_are_told():
    """Cells that were merged in a spreadsheet say their group in the first of them alone."""
    samples = read("path,label,group\ni/0.png,a,p\ni/1.png,b,\ni/2.png,a,\ni/3.png,b,q\n")
    assert "2 images of 4 have no group" in "\n".join(samples.notes)


@pytest.mark.parametrize("names", [("0", "1", "a b"), ("0.png", "1.png", "a b.png"), ("0", " 1.png", "i/2.png")])
def test_a_table_of_labels_may_say_names_without_folders_and_suffixes(names):
    """As Kaggle's do: image_id, and the images lie in several folders."""
    table("image_id,dx\n" + "".join(f"{name},{dx}\n" for name, dx in zip(names, "aba", strict=True)))
    samples = read_samples(".", Source(labels="t.csv", path_column="image_id", label_column="dx"))
    assert len(samples) == 3 and "by its name alone" in "\n".join(samples.notes)


def test_a_name_that_several_images_have_is_refused():
    lay("j/0.png")
    table("path,label\n0,a\n1,b\n")
    with pytest.raises(UserError, match="1 row that may mean several files") as caught:
        read_samples(".", Source(labels="t.csv"))
    assert "i/0.png and j/0.png" in str(caught.value)


def test_headings_are_found_in_capitals_also():
    samples = read("Path;LABEL;Split\ni/0.png;a;train\ni/1.png;b;test\n")
    assert {sample.part for sample in samples} == {"train", "test"}
    assert list(expand_inputs(["t.csv"], standard_input=())) == [Path("i/0.png"), Path("i/1.png")]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Study 12,\n,\npath,label\ni/0.png,a\n", "line 3 names them"),
        ("path label\ni/0.png a\n", "put a comma between cells"),
        ('"path,label"\n"i/0.png,a"\n', "not around a line"),
    ],
)
def test_a_heading_that_is_not_where_it_belongs_is_told(text, hint):
    assert hint in refused(text)


def test_a_column_that_is_on_another_sheet_is_told():
    with pandas.ExcelWriter("t.xlsx") as book:
        pandas.DataFrame({"About": ["x"]}).to_excel(book, sheet_name="Notes", index=False)
        pandas.DataFrame({"path": ["i/0.png"], "label": ["a"]}).to_excel(book, sheet_name="Data", index=False)
    with pytest.raises(UserError, match="no column 'path'") as caught:
        read_samples("t.xlsx")
    assert "of the 2 sheets of t.xlsx the first was read" in str(caught.value)


@pytest.mark.parametrize("labels", ["Tomato_healthy Tomato__healthy", "a-b a--b"])
def test_marks_between_words_look_alike_however_many_there_are(labels):
    one, other = labels.split()
    assert "look alike" in refused(f"path,label\ni/0.png,{one}\ni/1.png,{other}\n")


def test_a_data_frame_is_read_as_pandas_writes_it():
    """A column of whole numbers may lack some, and the paths may be its index."""
    labels = pandas.array([1, 2, None], dtype="Int64")
    pandas.DataFrame({"path": ["i/0.png", "i/1.png", "i/2.png"], "label": labels}).to_parquet("t.parquet")
    with pytest.raises(UserError, match="1 row without a label"):
        read_samples("t.parquet")
    index = pandas.Index(["i/0.png", "i/1.png"], name="path")
    pandas.DataFrame({"label": ["a", "b"]}, index=index).to_parquet("t.parquet")
    assert read_samples("t.parquet").classes == ("a", "b")


@pytest.mark.parametrize(
    "start", [b"PK\x03\x04", b"\x1f\x8b\x08", b"<!DOCTYPE html>", b"version https://git-lfs.github.com/"]
)
def test_what_is_no_text_is_told_by_its_content(start):
    Path("t.csv").write_bytes(start + bytes(40))
    with pytest.raises(UserError, match="is no table, but"):
        read_samples("t.csv")


def test_a_quote_that_swallows_a_row_is_told_as_one():
    assert "not closed" in refused('path,label\n"i/0.png","a\n"i/1.png","b"\ni/2.png,a\n')


@pytest.mark.parametrize("labels", [("2", "\uff12"), ("A", "\u0410")])
def test_letters_that_are_drawn_alike_are_refused_and_capitals_are_not(labels):
    assert "look alike" in refused(f"path,label\ni/0.png,{labels[0]}\ni/1.png,{labels[1]}\n")
    assert read("path,label\ni/0.png,A\ni/1.png,a\n").classes == ("A", "a")
