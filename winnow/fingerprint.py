"""A fingerprint of the code behind a program: what would change its results, and nothing else.

Snakemake sees a rule's command but not the modules that the program imports. Each rule therefore
carries this hash as a parameter. It covers the program and, through its imports, the modules of
this library, as syntax trees without docstrings, help texts and messages: a comment, a touch or a
reworded error reruns nothing. A user's own module is covered likewise, with its own messages.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIBRARY = Path(__file__).parent
PLUMBING = frozenset(
    f"winnow.{name}"
    for name in (
        "attempts",
        "command_line",
        "devices",
        "ending",
        "errors",
        "fingerprint",
        "journal",
        "jsonl",
        "pages",
        "plugins",
        "progress",
        "training.launch",
        "workers",
        "config",
        "schema",
        "scoring.reward_files",
        "selection.nothing_kept",
        "selection.rows_of_test_sets",
        "serving.causes",
        "serving.client",
        "serving.discovery",
        "serving.endpoint",
        "serving.flags",
        "serving.guard",
        "serving.server",
        "dataset_flags",
        "verdicts",
    )
)
"""Modules that carry records and messages but decide no result: improving them reruns nothing."""


Find = Callable[[str], Path | None]
"""Module → its file, or None for a module that a fingerprint does not cover."""


def fingerprint(program: str | Path) -> str:
    """A short hash of `program` and of the library modules that it imports, directly or not."""
    program = Path(program)
    return _digest(_code(program), _modules(program, "", _library))


def module_fingerprint(name: str, file: Path) -> str:
    """A short hash of a user's module, of those beside it that it imports, and of ours behind them.

    Beside it lie the modules of its own top-level package and, outside site-packages, whatever can be
    imported from the folder that holds this package.
    """
    return _digest(_user_code(file), _modules(file, name, _beside(name, file)))


def closure(program: Path) -> set[str]:
    """Names of the library modules behind a program, `PLUMBING` left out."""
    return set(_modules(program, "", _library))


def _digest(code: str, modules: dict[str, Path]) -> str:
    digest = hashlib.sha256(code.encode())
    for module, path in sorted(modules.items()):
        text = _code(path) if _is_ours(module) else _user_code(path)
        digest.update(f"\n{module}\n{text}".encode())
    return digest.hexdigest()[:16]


def _modules(path: Path, name: str, find: Find) -> dict[str, Path]:
    """The modules behind a file that `find` covers, `PLUMBING` left out, by name."""
    seen: dict[str, Path] = {}
    waiting = list(_imports(path, name, find))
    while waiting:
        module, file = waiting.pop()
        if module in seen or module in PLUMBING:
            continue
        seen[module] = file
        waiting.extend(_imports(file, module, find))
    return seen


def source(folder: Path, module: str) -> Path | None:
    """The file of a module below `folder`, or None."""
    base = folder.joinpath(*module.split("."))
    return next((path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()), None)


def _is_ours(module: str) -> bool:
    return module.split(".")[0] == "winnow"


def _library(module: str) -> Path | None:
    return source(LIBRARY.parent, module) if _is_ours(module) else None


def _beside(name: str, file: Path) -> Find:
    top, *inner = name.split(".")
    folder = file.parents[len(inner) + (file.name == "__init__.py")]
    installed = not {"site-packages", "dist-packages"}.isdisjoint(folder.parts)

    def find(module: str) -> Path | None:
        if _is_ours(module):
            return _library(module)
        return source(folder, module) if module.split(".")[0] == top or not installed else None

    return find


def _imports(path: Path, importer: str, find: Find) -> Iterator[tuple[str, Path]]:
    """The modules that a file imports, at its top or inside a function, and that `find` covers."""
    package = importer.split(".") if path.name == "__init__.py" else importer.split(".")[:-1]
    for level, module, names in _read(path, _is_ours(importer) or not importer).imports:
        above = package[: len(package) + 1 - level] if level else []
        origin = ".".join([*above, *([module] if module else [])])
        for name in (origin, *(f"{origin}.{name}" for name in names)):
            if name and name != importer and (file := find(name)):
                yield name, file


def _code(path: Path) -> str:
    return _read(path, True).code


def _user_code(path: Path) -> str:
    # What speaks to people in our modules may be a prompt or a detail in a user's: only docstrings go.
    return _read(path, False).code


@dataclass(frozen=True, slots=True)
class _Reading:
    """A file's code, and (level, module, names) of each of its import statements."""

    code: str
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]


# Every start of Snakemake asks for ten programs that share their modules: each is read and walked once,
# by hand: `ast.walk` and `ast.unparse` take twice as long.
@functools.cache
def _read(path: Path, ours: bool) -> _Reading:
    words: list[str] = []
    imports: list[tuple[int, str, tuple[str, ...]]] = []
    _write(ast.parse(path.read_bytes(), str(path)), words.append, imports, ours)
    return _Reading(" ".join(words), tuple(imports))


def _write(node: ast.AST, put: Callable[[str], None], imports: list[Any], ours: bool) -> None:
    """Append a node and all below it; what is empty is left out, so that a newer Python writes the same."""
    if isinstance(node, ast.Import):
        imports += [(0, alias.name, ()) for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        imports.append((node.level, node.module or "", tuple(alias.name for alias in node.names)))
    elif isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        node.body = [n for n in node.body if not _is_text(n)] or [ast.Pass()]
    elif ours and isinstance(node, ast.Call):
        _drop_words(node)
    put(f"({node.__class__.__name__}")
    for name in node._fields:
        value = None if name in UNSAID else getattr(node, name, None)
        if value is None or value == []:
            continue
        put(f"{name}=")
        for item in value if isinstance(value, list) else (value,):
            if isinstance(item, ast.AST):
                _write(item, put, imports, ours)
            else:
                put(repr(item))
    put(")")


UNSAID = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
"""Fields of syntax trees that say nothing that their place does not."""


def _drop_words(call: ast.Call) -> None:
    """Leave out what a call only says to people: help texts, error messages, log lines."""
    call.keywords = [k for k in call.keywords if k.arg not in ("help", "description")]
    speaks = isinstance(call.func, ast.Name) and call.func.id == "UserError"
    logger = call.func.value if isinstance(call.func, ast.Attribute) else None
    if speaks or (isinstance(logger, ast.Name) and logger.id == "log"):
        call.args, call.keywords = [], []


def _is_text(node: ast.stmt) -> bool:
    """A bare string: a docstring, or the description under an attribute."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
