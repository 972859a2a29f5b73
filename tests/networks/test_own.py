"""One's own network by its name: found where it is named, run only then, and shown as it is."""

from collections.abc import Callable
from pathlib import Path

import pytest

import pellucid as pl
from pellucid.cli.main import run as command
from pellucid.errors import UserError
from pellucid.runs.card import read_card
from pellucid.runs.run_folder import RunFolder
from tests.networks.own_nets import FILE, Small, Tuple


def test_structure_shows_what_is_trained_and_by_the_same_names(
    run: RunFolder, elsewhere: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    made, given = pl.structure(Small, classes=2, size=32), pl.structure(Small(), size=32)
    assert made.rows == given.rows and made.totals.parameters == sum(p.numel() for p in Small().parameters())
    ends = [end.name for end in made.ends]
    assert ends[:5] == list(pl.network(Small, 2, size=32).end_point_names[:5])
    assert [end.name for end in pl.structure(Tuple, classes=2, size=32).ends][:5] == ends[:5]  # what cannot be trained
    elsewhere()
    assert command(["structure", str(run.path)]) == 2
    assert "which is run only when you name it" in capsys.readouterr().err
    assert command(["structure", str(run.path), "--model-code", "tests.networks.own_nets:Small"]) == 0
    capsys.readouterr()
    assert command(["structure", "tests.networks.own_nets:Small", "--size", "32", "--width", "4", "--end-points"]) == 0
    assert capsys.readouterr().out.split() == ends
    with pytest.raises(UserError, match=r"width: .*Small is a module"):
        pl.structure(Small(), width=4)


def test_what_a_model_file_names_is_never_imported(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: Callable[[], None]
) -> None:
    from safetensors.torch import load_file, save_file

    from pellucid.runs.card import sealed
    from pellucid.runs.containers import CARD

    monkeypatch.chdir(tmp_path)
    Path("evil.py").write_text("open('run', 'w')\n\ndef Net(classes): ...\n", encoding="utf-8")
    card = read_card(run.model)
    for name in ("evil.py:Net", "evil:Net", f"{tmp_path}/evil.py:Net"):
        for options in (card.options, {}, card.options | {"code": card.options["code"] | {"path": name}}):
            elsewhere()
            edited = sealed(card.model_copy(update={"architecture": name, "options": options}))  # as an attacker would
            save_file(load_file(run.model), "edited.safetensors", metadata={CARD: edited.model_dump_json()})
            with pytest.raises(UserError, match="run only when you name it"):
                pl.load("edited.safetensors")
            with pytest.raises(UserError):
                pl.structure("edited.safetensors")
    assert not Path("run").exists()


def test_a_file_is_read_with_care(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text(FILE, encoding="utf-8")
    with pytest.raises(UserError, match="is a file: which network of it") as caught:
        pl.network(str(file), 2)
    assert caught.value.details == ("bend", "Net") and caught.value.hint.endswith("net.py:bend")
    with pytest.raises(UserError, match="has no Nett") as caught:
        pl.network(f"{file}:Nett", 2)
    assert "did you mean" in caught.value.hint and "Net" in caught.value.hint
    with pytest.raises(UserError, match="is of type float, and no network"):
        pl.network(f"{file}:SLOPE", 2)
    file.write_text("import nothing_there\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"cannot be imported: ModuleNotFoundError: .*nothing_there") as caught:
        pl.network(f"{file}:Net", 2)
    assert caught.value.details == ("net.py, line 1, in <module>",)
    file.write_text("class Net(:\n", encoding="utf-8")
    with pytest.raises(UserError, match="SyntaxError"):
        pl.network(f"{file}:Net", 2)
