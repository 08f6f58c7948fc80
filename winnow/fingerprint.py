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
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

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
        "dataset_flags",
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
    for name in _imported(path, importer):
        if name != importer and (file := find(name)):
            yield name, file


# A pipeline asks for ten programs that share their modules: each file is read once, and walked once.
@functools.cache
def _imported(path: Path, importer: str) -> tuple[str, ...]:
    """All names that a file's import statements may mean, in order."""
    package = importer.split(".") if path.name == "__init__.py" else importer.split(".")[:-1]
    names: list[str] = []
    for node in _nodes(path):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            names += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return tuple(dict.fromkeys(names))


@functools.cache
def _nodes(path: Path) -> tuple[ast.AST, ...]:
    """The syntax tree of a file, itself first, then all of its nodes."""
    return tuple(ast.walk(_tree(path)))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


@functools.cache
def _code(path: Path) -> str:
    # What is dropped holds no import: the nodes serve `_imported` before and after.
    nodes = _nodes(path)
    _drop_docstrings(nodes)
    for node in nodes:
        if isinstance(node, ast.Call):
            _drop_words(node)
    return ast.unparse(nodes[0])


@functools.cache
def _user_code(path: Path) -> str:
    # What speaks to people in our modules may be a prompt or a detail in a user's: only docstrings go.
    tree = _tree(path)
    _drop_docstrings(ast.walk(tree))
    return ast.unparse(tree)


def _drop_docstrings(nodes: Iterable[ast.AST]) -> None:
    for node in nodes:
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            node.body = [n for n in node.body if not _is_text(n)] or [ast.Pass()]


def _drop_words(call: ast.Call) -> None:
    """Leave out what a call only says to people: help texts, error messages, log lines."""
    call.keywords = [k for k in call.keywords if k.arg not in ("help", "description")]
    speaks = isinstance(call.func, ast.Name) and call.func.id == "UserError"
    logs = isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "log"
    if speaks or logs:
        call.args, call.keywords = [], []


def _is_text(node: ast.stmt) -> bool:
    """A bare string: a docstring, or the description under an attribute."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
