"""What libraries say to those who write programs is no answer to anybody who types a command.

Their warnings, logs, and what they write by themselves are not shown; what matters of it pellucid says in its own
words. What one's own code warns of is shown, and everything is to whoever asks: `PYTHONWARNINGS=default pellucid ...`.
"""

import logging
import os
import site
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

QUIET = {  # what they look at before they speak, in this process and in those that it starts
    "PYTHONWARNINGS": "ignore",  # of processes alone: ours was started
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GLOG_minloglevel": "2",  # paddle
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_VERBOSITY": "error",
    "TQDM_DISABLE": "1",
}


def quieten() -> None:
    """Let libraries be silent for the rest of this process; nothing, where somebody asked Python for warnings."""
    if sys.warnoptions:
        return
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.lastResort = logging.NullHandler()  # else whatever nobody handles goes to stderr
    tell, theirs = warnings.showwarning, tuple(_homes_of_libraries())

    def told(message: Warning | str, category: type[Warning], filename: str, *rest: Any) -> None:
        if not os.path.realpath(filename).startswith(theirs) and not filename.startswith("<"):
            tell(message, category, filename, *rest)

    warnings.showwarning = told  # type: ignore[assignment]


def _homes_of_libraries() -> Iterator[str]:
    """Folders whose code is nobody's own: of Python, of what is installed, and of ourselves."""
    yield str(Path(__file__).resolve().parents[1])
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield sysconfig.get_path(name)
    yield from (*site.getsitepackages(), site.getusersitepackages())
