"""Golden texts: what a person is shown, compared word for word. PELLUCID_GOLDEN=write makes them anew."""

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def check(name: str, text: str) -> None:
    """`text` is what tests/golden/NAME.txt says."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("PELLUCID_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    assert path.exists(), f"no golden text {name}: set PELLUCID_GOLDEN=write, then read what it wrote"
    assert text.rstrip("\n") == path.read_text(encoding="utf-8").rstrip("\n")
