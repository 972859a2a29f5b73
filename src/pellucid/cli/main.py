"""`pellucid`: flags in, one library call, results to stdout, all else to stderr. Heavy imports inside the verbs."""

import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from cyclopts import App, CycloptsError
from rich.console import Console
from rich.text import Text

from pellucid.cli import data, models, runs
from pellucid.errors import DONE, OUR_FAULT, USER_FAULT, UserError

app = App(
    name="pellucid",
    help="Point it at a folder of images and get a classifier that you can see through.",
    version_flags=["--version"],
)
for verb in (*runs.VERBS, *data.VERBS, *models.VERBS):
    app.command(verb, name=verb.__name__.rstrip("_"))


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: run, and exit with the code of errors.py."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code. Errors are told on stderr, without a traceback."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        code = app(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    except UserError as error:
        return tell(console, error)
    except CycloptsError as error:
        first, *rest = [line.strip() for line in str(error).splitlines() if line.strip()]
        verb = f" {arguments[0]}" if arguments and arguments[0] in app else ""
        return tell(console, UserError(_lower(first), rest, hint=f"`pellucid{verb} --help` lists what there is"))
    except KeyboardInterrupt:
        console.print(Text("stopped"))
        return USER_FAULT
    except BrokenPipeError:  # the reader of our output has enough (`| head`)
        sys.stderr.close()
        return DONE
    except Exception as error:
        with tempfile.NamedTemporaryFile("w", prefix="pellucid-", suffix=".txt", delete=False) as file:
            traceback.print_exc(file=file)
        where = Path(file.name)
        console.print(Text(f"error: this is our fault: {type(error).__name__}: {error}; the traceback is in {where}"))
        return OUR_FAULT
    return code if isinstance(code, int) else DONE


def tell(console: Console, error: UserError) -> int:
    """Show what is wrong, where, and what to do next."""
    head, *rest = str(error).splitlines()
    console.print(Text("error: ", style="bold red") + Text(head))
    for line in rest:
        console.print(Text(line))
    return USER_FAULT


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]


if __name__ == "__main__":
    main()
