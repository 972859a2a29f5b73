"""What reports do without."""

import subprocess
import sys


def test_reports_need_neither_torch_nor_pyplot() -> None:
    rooms = ", ".join(f"pellucid.reports.{room}" for room in ("html", "pictures", "text", "live_table"))
    heavy = ["torch", "torchvision", "timm", "sklearn", "pandas", "matplotlib.pyplot"]
    program = f"import sys, {rooms}; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
