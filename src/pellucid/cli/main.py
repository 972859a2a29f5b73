"""`pellucid`: flags in, one library call, results to stdout, all else to stderr. Heavy imports inside the verbs."""

import os
import shlex
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise

from cyclopts import App, CycloptsError, MissingArgumentError, Parameter, UnusedCliTokensError, ValidationError

from pellucid.cli.loading import announce
from pellucid.cli.quiet import quieten
from pellucid.cli.whole import whole
from pellucid.errors import DONE, OUR_FAULT, USER_FAULT, UserError, named, of_missing, of_system
from pellucid.names import forgive_streams
from pellucid.spelling import in_a_shell

app = App(
    name="pellucid",
    help="Train image classifiers that you can see through, on a folder of labelled images. Start: `pellucid demo`.",
    version_flags=["--version"],
    help_format="plaintext",
    default_parameter=Parameter(negative_iterable=(), converter=whole, show_default=False),  # the help's own words do
    suppress_keyboard_interrupt=False,  # told below; cyclopts would end without a word
)
# Each verb is imported when it is called, so that `--help` and `structure` answer at once. A test compares these
# lines with the verbs' own.
VERBS = {
    "demo": (
        "runs",
        "Try everything on a small data set that comes with Pellucid: train, measure, report, in a minute or a few.",
    ),
    "models": ("networks", "List the networks that can be trained, with their size, cost and published weights."),
    "structure": (
        "networks",
        "Show what a network is made of: output, parameters, cost and receptive field of each part.",
    ),
    "bench": ("bench", "Measure how many images per second a model computes in each engine, or a network by its name."),
    "parity": (
        "networks",
        "Compare a network with another implementation of it: where they first differ, and what may be the cause.",
    ),
    "split": ("data", "Divide images into a train, a validation and a test part."),
    "train": ("runs", "Train a classifier on a folder of labelled images, and report how good it is."),
    "recipes": ("runs", "List the recipes, which are settings of a training that go together, and what each is for."),
    "resume": ("runs", "Go on with a training that was interrupted."),
    "runs": ("runs", "List the trainings in a folder, one line each, with their accuracy."),
    "adopt": ("models", "Make a model file from weights that others trained: published ones, or those in a file."),
    "show": ("data", "Draw a picture: of labelled images, of what a network sees of them, or of a training."),
    "evaluate": ("models", "Measure how often a model is right about labelled images, with 95 % intervals."),
    "predict": ("predict", "Say which class each image is of, and with what probability."),
    "ensemble": ("models", "Join several models into one, an ensemble, and measure what each of them adds."),
    "export": (
        "models",
        "Write a model as a file that needs no torch: .onnx, .xml for OpenVINO, or a page for a browser.",
    ),
    "report": ("runs", "Write the report of a training, report.html in its run folder, anew."),
    "verify": ("predict", "Check that a model still answers as when it was saved, and show what it knows of itself."),
}
for verb, (module, summary) in VERBS.items():
    app.command(f"pellucid.cli.{module}:{verb}", name=verb, help=summary, sort_key=list(VERBS).index(verb))


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: run, and exit with the code of errors.py."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _stop)
    quieten()
    announce()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it would look through all that is installed for some
    code = run(sys.argv[1:] if arguments is None else list(arguments))
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):  # told already
        _discard_output()
    sys.exit(code)


def _stop(*_: object) -> None:
    """A scheduler's word is as good as Ctrl-C."""
    raise KeyboardInterrupt


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code. Errors are told on stderr, without a traceback."""
    if sys.stderr is None:  # `2>&-`: nobody wants to hear
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - it is open until we end
    forgive_streams()
    if os.environ.get("COLUMNS", "").strip() == "0":  # nobody knows how many, to all but rich, which would say nothing
        del os.environ["COLUMNS"]
    with in_a_shell():
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    try:
        _check_given(arguments)
        if {"--help", "-h"} & set(arguments):
            _unwrap(arguments[0])
        code = app(_with_truths(arguments), exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()  # a full disk shows here, and not when nobody can tell of it any more
    except UserError as error:
        return tell(error)
    except CycloptsError as error:
        if isinstance(error, ValidationError) and error.argument:
            return tell(_values_that_do_not_fit(error, error.argument.name))
        if isinstance(error, UnusedCliTokensError):
            return tell(_nobody_takes(error.unused_tokens or [], arguments))
        if isinstance(error, MissingArgumentError) and (told := _taken_for_a_flag(error, arguments)):
            return tell(told)
        first, *rest = [line.strip() for line in str(error).split("\n") if line.strip()]
        verb = f" {arguments[0]}" if arguments and arguments[0] in VERBS else ""
        return tell(UserError(_lower(first), rest, hint=f"`pellucid{verb} --help` lists what there is"))
    except KeyboardInterrupt:
        _say("stopped")
        return USER_FAULT
    except BrokenPipeError:  # the reader of our output has enough (`| head`)
        _discard_output()
        return DONE
    except OSError as error:
        if error.errno is None:
            return _our_fault(error)
        if not error.filename:  # the system names files that it opens, and none that it writes to
            _discard_output()
        what = "" if error.filename else "a file, or the output,"
        return tell(of_system(error, what, doing="read or written"))
    except ModuleNotFoundError as error:
        told = of_missing(error)
        return tell(told) if told else _our_fault(error)
    except Exception as error:
        return _our_fault(error)
    return code if isinstance(code, int) else DONE


def _unwrap(verb: str) -> None:
    """Let a terminal break the lines of the verb's help, where it ends."""
    if verb in VERBS:
        from pellucid.cli.flags import defaults, unwrapped

        function = getattr(import_module(f"pellucid.cli.{VERBS[verb][0]}"), verb)
        function.__doc__ = unwrapped(function.__doc__ or "", defaults(function))
        app[verb].help = function.__doc__.partition("\nParameters\n")[0]


def _check_given(arguments: Sequence[str]) -> None:
    """Refuse what no verb can do anything with, wherever it was given."""
    if sys.stdout is None:
        raise UserError(
            "standard output is closed, so results have nowhere to go", hint="send them to a file: > results.txt"
        )
    if any(not argument and not before.startswith("-") for before, argument in pairwise(["", *arguments])):
        raise UserError("one of the arguments is empty", hint="give it a value (is a variable of the shell not set?)")
    if nul := [argument for argument in arguments if "\0" in argument]:
        raise UserError(f"{nul[0]!r} cannot be used: it holds a NUL character", hint="remove that character")


def _with_truths(arguments: Sequence[str]) -> list[str]:
    """`--flag true` as `--flag=true`, which is the same, and is understood of flags that need no word as well."""
    joined: list[str] = []
    for place, argument in enumerate(arguments):
        before = joined[-1] if joined else ""
        if argument == "--":
            return [*joined, *arguments[place:]]
        if argument in ("true", "false") and before.startswith("--") and "=" not in before:
            joined[-1] = f"{before}={argument}"
        else:
            joined.append(argument)
    return joined


def _our_fault(error: Exception) -> int:
    """An error that nobody foresaw: one line, and where the traceback is."""
    told = f"error: this is our fault: {type(error).__name__}: {error}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="pellucid-", suffix=".txt", delete=False, errors="replace"
        ) as file:
            traceback.print_exc(file=file)
        _say(f"{told}; the traceback is in {file.name}")
    except OSError:  # there is no room for it
        _say(f"{told}\n{traceback.format_exc()}")
    return OUR_FAULT


def _discard_output() -> None:
    """Let what still waits for an output that takes no more go nowhere, or Python would complain of it when it ends."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # it is no file of the system
        return


def _taken_for_a_flag(error: MissingArgumentError, arguments: Sequence[str]) -> UserError | None:
    """A value that begins with a hyphen, and was to be that of the flag before it."""
    for before, word in pairwise(arguments):
        if before == error.keyword and word.startswith("-"):
            problem = f"{before} wants a value, and {word} looks like another flag"
            return UserError(problem, hint=f"if that is the value, write {shlex.quote(f'{before}={word}')}")
    return None


def _nobody_takes(words: Sequence[str], arguments: Sequence[str]) -> UserError:
    """Words that belong to nothing, and what the flag before them takes: three numbers, where there were two."""
    verb = arguments[0]
    place = next((n for n in range(len(arguments)) if list(arguments[n : n + len(words)]) == list(words)), 0)
    before = next((word for word in reversed(arguments[:place]) if word.startswith("-")), "").partition("=")[0]
    flags = app[verb].assemble_argument_collection()
    takes = next((flag.parameter.metavar for flag in flags if before.replace("_", "-") in flag.names), None)
    details = [f"{before} takes {takes}"] if takes else []
    return UserError(f"nothing takes {named(words)}", details, hint=f"`pellucid {verb} --help` lists what there is")


def _values_that_do_not_fit(error: ValidationError, flag: str) -> UserError:
    """A record's refusal of the values that flags such as --learning.rate gave it."""
    import pydantic

    from pellucid.records import Record, refusal

    if isinstance(error.__cause__, pydantic.ValidationError):
        return refusal(Record, error.__cause__, flag)
    return UserError(f"{flag} cannot be used: {_lower(str(error))}")


def tell(error: UserError) -> int:
    """Show what is wrong, where, and what to do next."""
    head, *rest = str(error).split("\n")
    _say(head, before="error: ")
    for line in rest:
        _say(line)
    return USER_FAULT


def _say(words: str, *, before: str = "") -> None:
    """A line on stderr, `before` it in bold red. Only then rich is imported, which a good answer does not wait for."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text(before, style="bold red") + Text(words))


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]
