"""The verb about recipes: which there are, what each does, and all that one of them sets."""

import re
import sys
import textwrap
from typing import Any, Literal

from pellucid.training.recipes import Recipe, recipe
from pellucid.training.recipes import recipes as names

WIDTH = 100
ELSEWHERE = ("data", "runs")  # of a configuration: where images and runs lie, which no recipe knows


def recipes(name: str | None = None, /, *, format: Literal["text", "json"] = "text") -> None:
    """What `train --recipe` knows: what each recipe does, and what we would do instead.

    With NAME, every setting that it comes to, as a file for --recipe: copy it and change what you like.

    Parameters
    ----------
    name
        The recipe to show whole.
    format
        text (of one recipe: TOML), or json: one object per line, of name, about, instead and settings.
    """
    if format == "json":
        for found in [recipe(name)] if name else map(recipe, names()):
            print(found.model_copy(update={"settings": _settings(found)}).model_dump_json())
    elif name:
        print(_file(recipe(name)), end="")
    else:
        _list([recipe(each) for each in names()])


def _list(found: list[Recipe]) -> None:
    from pellucid.cli.show import aside, say
    from pellucid.reports.text import recipes_text

    say(recipes_text([(each.name, each.about, each.instead) for each in found]))
    if sys.stdout.isatty():
        aside().print(
            "`pellucid recipes NAME` shows all that one sets; `pellucid train DATA --recipe NAME` trains by it"
        )


def _settings(found: Recipe) -> dict[str, Any]:
    """Every setting, by table, of a training by this recipe alone."""
    from pellucid.training.configure import configure

    values = configure(".", recipe=found.name).model_dump(mode="json")
    return {name: value for name, value in values.items() if name not in ELSEWHERE}


def _file(found: Recipe) -> str:
    """The recipe as a file that does the same; what it leaves at the default is marked."""
    from pellucid.runs.run_folder import to_toml

    words = [found.about, *([f"What we would do instead: {found.instead}"] if found.instead else [])]
    head = [line for text in words for line in textwrap.wrap(text, WIDTH - 2)]
    lines, table = [f"# {line}".rstrip() for line in [found.name, *head]], ""
    settings = _settings(found)
    said = found.settings
    # A list is one line here, as people write it.
    for line in re.sub(r"\[\n\s+(.*?),\n\]", _on_one_line, to_toml(settings), flags=re.DOTALL).splitlines():
        if line.startswith("["):
            table = line.strip("[]")
        key, equals, _ = line.partition(" = ")
        usual = equals and key not in (said.get(table, {}) if table else said)
        lines.append(f"{line}  # the default" if usual else line)
    return "\n".join(lines) + "\n"


def _on_one_line(found: re.Match[str]) -> str:
    return "[" + ", ".join(part.strip() for part in found[1].split(",\n")) + "]"
