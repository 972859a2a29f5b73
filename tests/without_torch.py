"""A plugin that runs what needs no torch: `pytest -p tests.without_torch`. A test that asks for torch is skipped.

Torch takes seconds to import in each process; what is tested without it answers at once, in scripts/check.
"""

import sys
from collections.abc import Generator, Sequence
from importlib.machinery import ModuleSpec
from typing import Any

import pytest

TORCH = "torch"


class Refused:
    """Stands before all that finds modules, and says that torch is not there. `asked` for by which files of tests."""

    def __init__(self) -> None:
        self.asked = False
        self.files: set[str] = set()  # whose shared fixtures asked for it, once for all

    def find_spec(self, name: str, _path: Sequence[str] | None = None, _target: Any = None) -> ModuleSpec | None:
        if name.partition(".")[0] == TORCH:
            self.asked = True
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


REFUSED = Refused()
sys.meta_path.insert(0, REFUSED)  # type: ignore[arg-type]


def skipped(report: Any) -> None:
    report.outcome, report.longrepr = "skipped", (str(report.nodeid), 0, "Skipped: it needs torch")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    REFUSED.asked = False
    report = yield
    if report.failed and REFUSED.asked:
        skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    file = item.nodeid.partition("::")[0]
    if report.failed and (REFUSED.asked or (call.when == "setup" and file in REFUSED.files)):
        REFUSED.files.add(file)
        skipped(report)
    if call.when != "setup":  # what was asked for in setup counts for the call as well
        REFUSED.asked = False
    return report
