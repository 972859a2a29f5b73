"""A recipe written out: every setting that a training by it has, and the file that `pellucid recipes NAME` shows."""

import re
import textwrap
from typing import Any

from pellucid.runs.run_folder import to_toml
from pellucid.training.configure import configure
from pellucid.training.recipes import Recipe

WIDTH = 100
ELSEWHERE = ("data", "runs")  # of a configuration: where images and runs lie, which no recipe knows


def every_setting(found: Recipe) -> dict[str, Any]:
    """Every setting, by table, of a training by this recipe alone."""
    values = configure(".", recipe=found.name).model_dump(mode="json")
    return {name: value for name, value in values.items() if name not in ELSEWHERE}


def as_file(found: Recipe) -> str:
    """The recipe as a file that does the same; what it leaves at the default is marked."""
    words = [found.about, *([f"What we would do instead: {found.instead}"] if found.instead else [])]
    head = [line for text in words for line in textwrap.wrap(text, WIDTH - 2)]
    lines, table = [f"# {line}".rstrip() for line in [found.name, *head]], ""
    settings = every_setting(found)
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
