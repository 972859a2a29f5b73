"""The files that somebody's own network is in: where each finds what it imports, and which of those lie beside it."""

import ast
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def places(path: Path) -> list[Path]:
    """Where a file finds what it imports: beside it, above the package that it is in, in the folder one is in."""
    file = path.expanduser().resolve()
    with suppress(OSError):
        return [file.parent, file.parents[len(package(file, file.read_bytes()))], Path.cwd()]
    return [file.parent, Path.cwd()]


def package(file: Path, text: bytes) -> list[str]:
    """The packages that a file is in, the outermost first; at least as many folders as its relative imports go up."""
    levels = [0, *(node.level for node in _imports(text) if isinstance(node, ast.ImportFrom))]
    inside = list(file.parents[:-1])
    count = max(levels)
    while count < len(inside) and (inside[count] / "__init__.py").is_file():
        count += 1
    return [folder.name for folder in reversed(inside[:count])]


def copies(path: Path) -> dict[str, bytes]:
    """A file and all that it imports from beside it, as a folder that it can be imported from again.

    The names are relative to the folder that reaches all of them: the file's own, the one above its package, or the
    one that the user is in, where the file lies inside that. Packages are marked as such on the way down to it.
    """
    file = path.expanduser().resolve()
    roots = [place for place in dict.fromkeys(places(file)) if place in file.parents]
    found: dict[Path, Path] = {file: file.parent}  # each with the folder that it was reached from
    waiting = [file]
    while waiting:
        for each, root in _imported_by(waiting.pop(), roots):
            if each not in found:
                found[each] = root
                waiting.append(each)
    base = min(found.values(), key=lambda root: len(root.parts))
    between = list(file.relative_to(base).parents)[:-1]
    marks = {(folder / "__init__.py").as_posix(): b"" for folder in between}
    return marks | {each.relative_to(base).as_posix(): each.read_bytes() for each in found}


def _imports(text: bytes) -> list[ast.Import | ast.ImportFrom]:
    """Every import of a file, also inside functions; none where it cannot be read."""
    with suppress(SyntaxError, ValueError):
        return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    return []


def _imported_by(file: Path, roots: list[Path]) -> Iterator[tuple[Path, Path]]:
    """The files that `file` imports, each with the root that it is reached from."""
    for node in _imports(file.read_bytes()):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _absolute(alias.name.split("."), roots)
            continue
        words = node.module.split(".") if node.module else []
        for last in ([], *([alias.name] for alias in node.names)):
            if not node.level:
                yield from _absolute([*words, *last], roots)
                continue
            from_here = file.parents[node.level - 1]
            above = next((root for root in roots if root in from_here.parents), None)
            if above is not None:  # what is imported relatively is imported by its whole name
                yield from _module([*from_here.relative_to(above).parts, *words, *last], above)


def _absolute(words: list[str], roots: list[Path]) -> Iterator[tuple[Path, Path]]:
    """The files of a module by its whole name, from the first place that has it."""
    loaded = getattr(sys.modules.get(words[0]), "__file__", None)
    for root in roots:
        files = list(_module(words, root))
        if files:
            if loaded is None or Path(loaded).resolve() == files[0][0]:
                yield from files
            return


def _module(words: list[str], root: Path) -> Iterator[tuple[Path, Path]]:
    """The files that importing a.b.c from `root` runs: a/__init__.py, a/b/__init__.py, a/b/c.py."""
    folder = root
    for word in words:
        whole, alone = folder / word / "__init__.py", folder / f"{word}.py"
        if whole.is_file():
            yield whole, root
        elif alone.is_file():
            yield alone, root
            return
        folder = folder / word
